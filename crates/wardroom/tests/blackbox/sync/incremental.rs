//! What happened since a token.

use std::time::Duration;

use wardroom_testkit::{Actor, Follower, bodies, event_ids, events, find_event, has_event, joined, json, timeline, v3};

use crate::{SOON, ward};

#[test]
fn each_event_comes_once_and_in_order() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_public_room(&[&bob]);
    let mut sync = ward().follow(&bob);
    let mut seen = Vec::new();
    let mut sent = Vec::new();
    for n in 0..12 {
        sent.push(alice.say(&room, &n.to_string()));
        if n % 3 == 0 {
            seen.extend(event_ids(timeline(&sync.now(), &room)));
        }
    }
    seen.extend(event_ids(timeline(&sync.now(), &room)));
    assert_eq!(seen, sent);
    assert!(joined(&sync.now(), &room).is_null(), "nothing more");
}

#[test]
fn an_acknowledged_change_is_in_the_next_sync() {
    let alice = ward().user("alice");
    let room = alice.create_room(json!({}));
    let mut sync = ward().follow(&alice);
    for n in 0..20 {
        let id = alice.say(&room, &n.to_string());
        assert!(has_event(timeline(&sync.now(), &room), &id), "message {n}: sync must see what was acknowledged");
    }
}

#[test]
fn state_changes_are_in_the_timeline_and_not_twice() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_public_room(&[&bob]);
    let mut sync = ward().follow(&bob);
    let topic = alice.set_state(&room, "m.room.topic", "", json!({ "topic": "new" }));
    let answer = sync.now();
    assert_eq!(event_ids(timeline(&answer, &room)), [topic]);
    assert!(events(&joined(&answer, &room)["state"]["events"]).is_empty(), "{answer}");
}

#[test]
fn a_room_joined_since_comes_with_its_state() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_room(json!({ "preset": "public_chat", "name": "Ward 7" }));
    for n in 0..30 {
        alice.say(&room, &n.to_string());
    }
    let mut sync = ward().follow(&bob);
    bob.join(&room);
    let answer = sync.now();
    let shown = joined(&answer, &room);
    let all: Vec<_> = events(&shown["state"]["events"]).iter().chain(timeline(&answer, &room)).cloned().collect();
    assert!(
        find_event(&all, "m.room.name", Some("")).is_some() && find_event(&all, "m.room.create", Some("")).is_some(),
        "{shown}"
    );
    assert!(find_event(timeline(&answer, &room), "m.room.member", Some(&bob.id)).is_some(), "{shown}");
    assert_eq!(shown["timeline"]["limited"], true, "more history is there: {shown}");
    let older = bob.try_messages(&room, "b", shown["timeline"]["prev_batch"].as_str(), "100").ok();
    let mut said = bodies(events(&older["chunk"]));
    said.reverse();
    said.extend(bodies(timeline(&answer, &room)));
    assert_eq!(said, (0..30).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[test]
fn a_room_left_since_is_shown_once_as_left() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_public_room(&[&bob]);
    let mut sync = ward().follow(&bob);
    alice.say(&room, "last words");
    alice.on_member("kick", &room, &bob).ok();
    alice.say(&room, "not for bob");
    let answer = sync.now();
    assert!(joined(&answer, &room).is_null(), "{answer}");
    let left = events(&answer["rooms"]["leave"][&room]["timeline"]["events"]);
    assert_eq!(bodies(left), ["last words"]);
    assert_eq!(left.last().unwrap()["content"]["membership"], "leave");
    alice.say(&room, "still not for bob");
    assert!(sync.now()["rooms"]["leave"].get(&room).is_none());
}

#[test]
fn leaving_and_coming_back_between_two_syncs_is_a_join() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_public_room(&[&bob]);
    let mut sync = ward().follow(&bob);
    bob.leave(&room);
    bob.join(&room);
    let said = alice.say(&room, "welcome back");
    let answer = sync.now();
    assert!(has_event(timeline(&answer, &room), &said), "{answer}");
    assert!(answer["rooms"]["leave"].get(&room).is_none(), "{answer}");
}

#[test]
fn a_token_can_be_used_again() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_public_room(&[&bob]);
    let mut sync = ward().follow(&bob);
    let token = sync.token().to_owned();
    let first = alice.say(&room, "first");
    sync.now();
    let second = alice.say(&room, "second");
    let again = Follower::since(&bob, &token).now();
    assert_eq!(event_ids(timeline(&again, &room)), [first, second]);
}

#[test]
fn devices_follow_independently() {
    let phone = ward().user("alice");
    let desk = phone.other_device();
    let room = phone.create_room(json!({}));
    let (mut on_phone, mut on_desk) = (ward().follow(&phone), ward().follow(&desk));
    let id = phone.say(&room, "hello");
    for sync in [&mut on_phone, &mut on_desk] {
        assert!(has_event(timeline(&sync.until("hello", SOON, |sync| !joined(sync, &room).is_null()), &room), &id));
    }
}

#[test]
fn a_token_survives_a_restart() {
    let mut server = crate::server_with(wardroom_testkit::Config::default());
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room = alice.create_public_room(&[&bob]);
    let token = server.follow(&bob).token().to_owned();
    let before = alice.say(&room, "before");
    server.restart();
    let after = alice.say(&room, "after");
    let answer = Follower::since(&bob, &token).now();
    assert_eq!(event_ids(timeline(&answer, &room)), [before, after]);
}

#[test]
fn rooms_of_others_never_show() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let mut sync = ward().follow(&bob);
    let room = alice.create_public_room(&[]);
    alice.say(&room, "private matters");
    alice.put(v3(&["user", &alice.id, "account_data", "example.private"]), json!({ "x": 1 })).ok();
    let answer = sync.poll(Duration::ZERO);
    let text = answer.to_string();
    assert!(!text.contains(&room) && !text.contains("private matters") && !text.contains("example.private"), "{text}");
}
