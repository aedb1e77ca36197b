//! The deletion concept of TI-Messenger, row by row, with `config/ti-messenger.toml` as it stands or with its times shortened.

use wardroom_testkit::{Actor, Config, bodies, json, text, unique, v3, wait_until};

use super::{
    HOUR, Ward,
    ends::{is_there, until_gone},
    files::{send_file, wait_gone},
    notices::until_told,
};
use crate::{
    SOON,
    admin::{admin_of, own},
    audit::records,
    federation::sites::{Site, join_via},
    media::upload,
    server_with,
};

const DAY: u64 = 24 * HOUR;
/// Keys whose values are times: these alone are changed by tests. In the file's order, what they are there, and shortened.
const TIMES: [(&str, &str, &str); 7] = [
    ("retention.inactive_rooms_seconds", "15811200", "6"),
    ("retention.notice_days_before", "7", "0"),
    ("retention.forgotten_rooms_seconds", "518400", "1"),
    ("retention.purge_every_seconds", "3600", "1"),
    ("retention.state_only_rooms_seconds", "3628800", "3"),
    ("retention.media_max_age_seconds", "15811200", "3"),
    ("retention.remote_media_max_age_seconds", "15811200", "3"),
];

/// The file's keys and values.
fn lines() -> Vec<(String, String)> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../config/ti-messenger.toml");
    let file: toml::Table = std::fs::read_to_string(path).unwrap().parse().unwrap();
    let sections = file.iter().filter_map(|(section, keys)| Some((section, keys.as_table()?)));
    let lines = sections.flat_map(|(section, keys)| {
        keys.iter().map(move |(key, value)| (format!("{section}.{key}"), value.to_string()))
    });
    lines.collect()
}

/// The file, with another name and these times shortened.
fn shortened(keys: &[&str]) -> Config {
    let mut config = lines().iter().fold(Config::default(), |config, (key, value)| config.set(key, value));
    for (key, value, short) in TIMES {
        assert!(lines().contains(&(key.to_owned(), value.to_owned())), "{key} is {value} in the file");
        if keys.contains(&key) {
            config = config.set(key, short);
        }
    }
    config
}

#[test]
fn the_file_as_it_stands() {
    let ward = Ward::new(shortened(&[]));
    let told = ward.alice.get(v3(&["retention", "configuration"])).ok();
    assert_eq!(told["limits"]["max_lifetime"], json!({ "min": DAY, "max": 183 * DAY }));
    // What is over is seen by nobody, and members hear a week before the rest goes.
    ward.sent_before(184 * DAY, &text("over"));
    ward.sent_before(177 * DAY, &text("for six more days"));
    assert_eq!(bodies(&ward.messages()), ["for six more days"]);
    // A message is redacted for 24 hours, by whomever.
    let old = ward.sent_before(25 * HOUR, &text("yesterday"));
    let young = ward.sent_before(23 * HOUR, &text("today"));
    ward.alice.try_redact(&ward.room, &old, &unique("t")).refused(403, "M_FORBIDDEN");
    ward.alice.redact(&ward.room, &young);
    // Who comes reads nothing from before, where nobody says otherwise.
    let room = ward.alice.create_room(json!({ "preset": "private_chat" }));
    let visibility = ward.alice.state(&room, "m.room.history_visibility", "");
    assert_eq!(visibility, json!({ "history_visibility": "invited" }));
    // Leaving is not forgetting (A_8).
    let admin = admin_of(&ward.site.server);
    ward.alice.leave(&room);
    assert!(is_there(&admin, &room));
    ward.alice.history(&room);
}

#[test]
fn members_are_told_before() {
    let server = server_with(shortened(&["retention.inactive_rooms_seconds", "retention.purge_every_seconds"]));
    let alice = server.user("alice");
    let room = alice.create_room(json!({ "preset": "private_chat", "name": "Ward 7" }));
    alice.say(&room, "hello");
    let told = until_told(&alice, 1);
    assert!(told[0].contains("Ward 7"), "{told:?}");
    assert_eq!(bodies(&alice.history(&room)), ["hello"], "nothing goes before");
}

#[test]
fn each_row_of_the_deletion_concept() {
    let ward = Ward::new(shortened(&TIMES.map(|(key, ..)| key)));
    let (admin, alice) = (admin_of(&ward.site.server), &ward.alice);
    let elsewhere = Site::named();
    let (carol, dave) = (ward.site.user("carol"), elsewhere.user("dave"));
    join_via(&dave, &ward.room, &ward.site);

    // The server deletes what was said: for itself, without a redaction, and puts nobody of another server out. An
    // administrator switches it off for a room.
    let kept = alice.create_room(json!({ "preset": "private_chat" }));
    admin.put(own(&["rooms", &kept, "retention"]), json!({ "inactive_lifetime": 0 })).ok();
    alice.say(&kept, "to be kept");
    let said = alice.say(&ward.room, "said long ago");
    let file = upload(alice, b"scan", "text/plain", None);
    send_file(alice, &kept, &file);
    let unsent = upload(alice, b"never sent", "text/plain", None);
    wait_until("the partner has it", SOON, || (dave.try_event(&ward.room, &said).status == 200).then_some(()));
    wait_until("the purge", SOON, || {
        (!records(&admin, &[("act", "retention.redact"), ("room_id", &ward.room)]).is_empty()).then_some(())
    });
    assert_eq!(bodies(&alice.history(&kept))[0], "to be kept");
    assert!(bodies(&dave.history(&ward.room)).contains(&"said long ago".to_owned()), "each server for itself");
    assert!(dave.is_in(&ward.room));
    let told = ward.peer.pdus();
    let harsh = |pdu: &&wardroom_testkit::Value| {
        pdu["type"] == "m.room.redaction" || (pdu["state_key"] == *ward.bob && pdu["sender"] != *ward.bob)
    };
    assert_eq!(told.iter().find(harsh), None);

    // Everybody here has left and forgotten it.
    let left = alice.create_public_room(&[&carol]);
    alice.say(&left, "hello");
    for user in [alice, &carol] {
        user.leave(&left);
        user.try_forget(&left).ok();
    }
    until_gone(&admin, &left);

    // Nothing but state is there.
    let empty = alice.create_room(json!({ "name": "Ward 7" }));
    until_gone(&admin, &empty);

    // Files, some time after they came.
    wait_gone(alice, &file);
    wait_gone(alice, &unsent);
    assert!(is_there(&admin, &kept));
}
