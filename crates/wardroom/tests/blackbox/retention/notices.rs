//! Members are told before messages go, and when they are to go earlier.

use wardroom_testkit::{Actor, Config, User, bodies, json, wait_until};

use super::{HOUR, config};
use crate::{
    SOON,
    admin::{admin_of, own},
    server_with,
};

fn telling() -> Config {
    config().set("server_notices.localpart", r#""notices""#)
}

/// What the server has told a user.
fn told(user: &User) -> Vec<String> {
    let sync = user.initial_sync();
    if let Some(invited) = sync["rooms"]["invite"].as_object().and_then(|rooms| rooms.keys().next()) {
        user.join(invited);
    }
    let rooms = user.initial_sync()["rooms"]["join"].as_object().cloned().unwrap_or_default();
    let of_notices = rooms.iter().find(|(_, room)| room["account_data"].to_string().contains("m.server_notice"));
    of_notices.map(|(room, _)| bodies(&user.history(room))).unwrap_or_default()
}

#[track_caller]
pub(super) fn until_told(user: &User, count: usize) -> Vec<String> {
    wait_until("the notice", SOON, || Some(told(user)).filter(|told| told.len() >= count))
}

#[test]
fn members_are_told_once_of_the_first_purge_and_of_what_goes_earlier() {
    let mut server = server_with(telling());
    let (admin, alice, bob) = (admin_of(&server), server.user("alice"), server.user("bob"));
    let room = alice.create_public_room(&[&bob]);
    alice.set_state(&room, "m.room.name", "", json!({ "name": "Ward 7" }));
    alice.say(&room, "hello");
    // Messages are kept for six days: the first of them go within the seven days before which members are told.
    alice.set_state(&room, "m.room.retention", "", json!({ "max_lifetime": 6 * 24 * HOUR }));
    for user in [&alice, &bob] {
        let told = until_told(user, 1);
        assert!(told[0].contains("\"Ward 7\"") && told[0].contains("6 days"), "{told:?}");
    }
    admin.put(own(&["rooms", &room, "retention"]), json!({ "max_lifetime": 3 * 24 * HOUR })).ok();
    let told_alice = until_told(&alice, 2);
    assert!(told_alice[1].contains("3 days") && told_alice[1].contains("From now on"), "{told_alice:?}");
    admin.put(own(&["rooms", &room, "retention"]), json!({ "max_lifetime": 30 * 24 * HOUR })).ok();
    server.kill9();
    server.start_again();
    admin.put(own(&["rooms", &room, "retention"]), json!({ "max_lifetime": 24 * HOUR })).ok();
    for user in [&alice, &bob] {
        let told = until_told(user, 3);
        assert_eq!(told.len(), 3, "longer is no news, and neither is a start: {told:?}");
        assert!(told[2].contains("1 day"), "{told:?}");
    }
}

#[test]
fn what_ends_for_good_waits_until_members_were_told() {
    let server = server_with(telling().set("retention.inactive_rooms_seconds", "1"));
    let alice = server.user("alice");
    let room = alice.create_room(json!({ "preset": "private_chat", "name": "Ward 7" }));
    alice.say(&room, "hello");
    let told = until_told(&alice, 1);
    assert!(told[0].contains("Nobody has written") && told[0].contains("Ward 7"), "{told:?}");
    assert_eq!(bodies(&alice.history(&room)), ["hello"]);
}
