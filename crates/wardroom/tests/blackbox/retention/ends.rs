//! How rooms end by themselves, and what else goes by rules that a TI-Messenger service has.

use wardroom_testkit::{Actor, User, bodies, json, text, unique, wait_until};

use super::{HOUR, Ward, config};
use crate::{
    SOON,
    admin::{admin_of, own},
    audit::records,
    server_with,
};

/// Whether the server still has a room.
#[track_caller]
pub(super) fn is_there(admin: &User, room: &str) -> bool {
    let answer = admin.get(own(&["rooms", room, "retention"]));
    assert!([200, 404].contains(&answer.status), "{answer:?}");
    answer.status == 200
}

#[track_caller]
pub(super) fn until_gone(admin: &User, room: &str) {
    wait_until("the end of the room", SOON, || (!is_there(admin, room)).then_some(()));
}

#[test]
fn a_room_that_everybody_has_forgotten_goes() {
    let server = server_with(config().set("retention.forgotten_rooms_seconds", "1"));
    let (admin, alice, bob) = (admin_of(&server), server.user("alice"), server.user("bob"));
    let room = alice.create_public_room(&[&bob]);
    let kept = alice.create_public_room(&[&bob]);
    alice.say(&room, "hello");
    for user in [&alice, &bob] {
        user.leave(&room);
        assert!(is_there(&admin, &room));
        user.try_forget(&room).ok();
    }
    alice.leave(&kept);
    alice.try_forget(&kept).ok();
    bob.leave(&kept);
    until_gone(&admin, &room);
    assert!(is_there(&admin, &kept), "bob may still read what was said while he was there");
    let acts: Vec<String> = records(&admin, &[("act", "room.delete"), ("room_id", &room)])
        .iter()
        .filter_map(|record| record["on"]["detail"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(acts.first().map(String::as_str), Some("forgotten"), "{acts:?}");
}

#[test]
fn a_room_of_state_alone_goes_after_its_members() {
    let server = server_with(config().set("retention.state_only_rooms_seconds", "2"));
    let (admin, alice) = (admin_of(&server), server.user("alice"));
    let space = alice.create_room(json!({ "creation_content": { "type": "m.space" } }));
    let room = alice.create_room(json!({ "name": "Ward 7" }));
    until_gone(&admin, &room);
    assert!(!alice.is_in(&room) && alice.is_in(&space));
    let left = records(&admin, &[("act", "member.leave"), ("room_id", &room)]);
    assert_eq!(left.len(), 1, "{left:?}");
}

#[test]
fn what_was_said_long_ago_goes_and_nobody_is_put_out_or_told_elsewhere() {
    let ward = Ward::new(config().set("retention.inactive_rooms_seconds", "2"));
    let admin = admin_of(&ward.site.server);
    let kept = ward.alice.create_room(json!({ "preset": "private_chat" }));
    admin.put(own(&["rooms", &kept, "retention"]), json!({ "inactive_lifetime": 0 })).ok();
    admin.put(own(&["rooms", &kept, "retention"]), json!({ "inactive_lifetime": -1 })).refused_somehow();
    ward.alice.say(&kept, "to be kept");
    ward.alice.say(&ward.room, "what nobody needs any more");
    wait_until("the end of what was said", SOON, || ward.messages().is_empty().then_some(()));
    let purged = || records(&admin, &[("act", "retention.redact"), ("room_id", &ward.room)]);
    wait_until("the purge", SOON, || (!purged().is_empty()).then_some(()));
    let why = records(&admin, &[("act", "retention.purge"), ("room_id", &ward.room)]);
    assert_eq!(why[0]["on"]["detail"], "inactive", "{why:?}");
    assert_eq!(bodies(&ward.alice.history(&kept)), ["to be kept"], "switched off there");
    let mut members = ward.alice.members(&ward.room, "join");
    members.sort();
    assert_eq!(members.len(), 2, "{members:?}");
    assert!(ward.peer.pdus().iter().all(|pdu| pdu["type"] == "m.room.message"), "nobody hears of it");
    let said = unique("and on");
    ward.alice.say(&ward.room, &said);
    assert!(ward.alice.initial_sync().to_string().contains(&said));
}

#[test]
fn messages_are_redacted_for_a_day_and_not_later() {
    let ward = Ward::new(config().set("retention.redaction_max_age_seconds", "86400"));
    let old = ward.sent_before(25 * HOUR, &text("yesterday"));
    let young = ward.sent_before(23 * HOUR, &text("today"));
    let refused = ward.alice.try_redact(&ward.room, &old, &unique("t")).refused(403, "M_FORBIDDEN");
    assert!(refused["error"].as_str().unwrap().contains("event_id"), "{refused}");
    ward.alice.redact(&ward.room, &young);
    let stranger = ward.site.user("stranger");
    stranger.try_redact(&ward.room, &old, &unique("t")).refused(403, "M_FORBIDDEN");
}
