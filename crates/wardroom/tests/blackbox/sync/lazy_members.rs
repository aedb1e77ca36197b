//! Lazy-loaded members.

use wardroom_testkit::{Follower, User, Value, events, joined, json, timeline};

use crate::ward;

/// The members that a sync answer shows of a room, in state and timeline.
fn members(sync: &Value, room: &str) -> Vec<String> {
    let state = events(&joined(sync, room)["state"]["events"]);
    let mut ids: Vec<String> = state
        .iter()
        .chain(timeline(sync, room))
        .filter(|event| event["type"] == "m.room.member")
        .filter_map(|event| event["state_key"].as_str())
        .map(str::to_owned)
        .collect();
    ids.sort();
    ids.dedup();
    ids
}

/// A room with a name, so that no member is needed as a hero to name it.
fn named_room(owner: &User, members: &[&User]) -> String {
    let room = owner.create_room(json!({ "preset": "public_chat", "name": "Ward 7" }));
    for member in members {
        member.join(&room);
    }
    room
}

fn sorted(users: &[&User]) -> Vec<String> {
    let mut ids: Vec<String> = users.iter().map(|user| user.id.clone()).collect();
    ids.sort();
    ids
}

#[test]
fn only_the_members_who_spoke_are_sent() {
    let users: Vec<User> = (0..6).map(|_| ward().user("member")).collect();
    let alice = &users[0];
    let room = named_room(alice, &users[1..].iter().collect::<Vec<_>>());
    users[1].say(&room, "hello");
    let filter = json!({ "room": { "state": { "lazy_load_members": true }, "timeline": { "limit": 1 } } });
    let first = alice.try_sync(None, std::time::Duration::ZERO, Some(&filter.to_string())).ok();
    let shown = members(&first, &room);
    assert!(shown.contains(&users[1].id), "the sender: {first}");
    assert!(!shown.contains(&users[5].id), "a silent member: {first}");
    assert!(shown.iter().all(|id| id == &alice.id || id == &users[1].id), "{shown:?}");
    assert_eq!(joined(&first, &room)["summary"]["m.joined_member_count"], 6, "{first}");
    let everybody = alice.initial_sync();
    assert_eq!(members(&everybody, &room).len(), 6);
}

#[test]
fn a_member_who_speaks_later_comes_with_the_message() {
    let (alice, bob, carol) = (ward().user("alice"), ward().user("bob"), ward().user("carol"));
    let room = named_room(&alice, &[&bob, &carol]);
    alice.say(&room, "hello");
    let filter = json!({ "room": { "state": { "lazy_load_members": true }, "timeline": { "limit": 1 } } });
    let mut sync = Follower::start_filtered(&alice, Some(&filter));
    bob.say(&room, "I am Bob");
    let answer = sync.now();
    assert_eq!(members(&answer, &room), sorted(&[&bob]), "{answer}");
}

#[test]
fn heroes_name_a_room_without_a_name() {
    let (alice, bob, carol) = (ward().user("alice"), ward().user("bob"), ward().user("carol"));
    let room = alice.create_public_room(&[&bob]);
    alice.invite(&room, &carol);
    let filter = json!({ "room": { "state": { "lazy_load_members": true }, "timeline": { "limit": 1 } } });
    let first = alice.try_sync(None, std::time::Duration::ZERO, Some(&filter.to_string())).ok();
    let summary = &joined(&first, &room)["summary"];
    let mut heroes: Vec<&str> = events(&summary["m.heroes"]).iter().filter_map(Value::as_str).collect();
    heroes.sort_unstable();
    assert_eq!(heroes, sorted(&[&bob, &carol]), "{summary}");
    assert_eq!((&summary["m.joined_member_count"], &summary["m.invited_member_count"]), (&json!(2), &json!(1)));
    let shown = members(&first, &room);
    assert!(
        heroes.iter().all(|hero| shown.iter().any(|id| id == hero)),
        "heroes come with their member events: {first}"
    );
}
