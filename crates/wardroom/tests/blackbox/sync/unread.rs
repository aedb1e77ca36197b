//! Unread counts.

use wardroom_testkit::{Actor, User, Value, joined, json, unique, v3};

use crate::ward;

fn counts(user: &User, room: &str) -> (u64, u64) {
    let sync = user.initial_sync();
    let counts = &joined(&sync, room)["unread_notifications"];
    let count = |key: &str| counts[key].as_u64().unwrap_or_else(|| panic!("{key} is missing: {sync}"));
    (count("notification_count"), count("highlight_count"))
}

fn read(user: &User, room: &str, event: &str) {
    user.post(v3(&["rooms", room, "receipt", "m.read", event]), json!({})).ok();
}

fn mention(user: &User) -> Value {
    json!({ "msgtype": "m.text", "body": "please come", "m.mentions": { "user_ids": [user.id] } })
}

#[test]
fn messages_count_until_they_are_read() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_public_room(&[&bob]);
    assert_eq!(counts(&bob, &room).1, 0);
    let first = alice.say(&room, "one");
    read(&bob, &room, &first);
    assert_eq!(counts(&bob, &room), (0, 0));
    alice.say(&room, "two");
    let third = alice.say(&room, "three");
    assert_eq!(counts(&bob, &room), (2, 0));
    assert_eq!(counts(&alice, &room), (0, 0), "own messages are read");
    read(&bob, &room, &third);
    assert_eq!(counts(&bob, &room), (0, 0));
    let mut sync = ward().follow(&bob);
    alice.say(&room, "four");
    assert_eq!(joined(&sync.now(), &room)["unread_notifications"]["notification_count"], 1);
}

#[test]
fn mentions_are_highlights() {
    let (alice, bob, carol) = (ward().user("alice"), ward().user("bob"), ward().user("carol"));
    let room = alice.create_public_room(&[&bob, &carol]);
    let start = alice.say(&room, "start");
    read(&bob, &room, &start);
    read(&carol, &room, &start);
    alice.try_send(&room, "m.room.message", &unique("txn"), mention(&bob)).ok();
    assert_eq!(counts(&bob, &room), (1, 1));
    assert_eq!(counts(&carol, &room), (1, 0));
}

#[test]
fn push_rules_decide_what_counts() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_public_room(&[&bob]);
    let start = alice.say(&room, "start");
    read(&bob, &room, &start);
    let rule = v3(&["pushrules", "global", "room", &room]);
    bob.put(rule, json!({ "actions": [] })).ok();
    alice.say(&room, "muted");
    assert_eq!(counts(&bob, &room), (0, 0), "a room rule without actions mutes it");
    alice.try_send(&room, "m.room.message", &unique("txn"), mention(&bob)).ok();
    assert_eq!(counts(&bob, &room), (1, 1), "a mention still counts");
    let read_up_to = bob.say(&room, "here I am");
    read(&bob, &room, &read_up_to);
    alice.try_send(&room, "m.room.message", &unique("txn"), json!({ "msgtype": "m.notice", "body": "a bot" })).ok();
    assert_eq!(counts(&bob, &room), (0, 0), "notices do not notify");
}
