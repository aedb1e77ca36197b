//! `POST /knock`.

use wardroom_testkit::{Actor, events, find_event, json, unique, v3};

use crate::{SOON, ward};

fn knock_room(owner: &wardroom_testkit::User) -> String {
    let rule = json!({ "type": "m.room.join_rules", "content": { "join_rule": "knock" } });
    owner.create_room(json!({ "name": "Theatre 2", "initial_state": [rule] }))
}

#[test]
fn a_knock_is_seen_answered_and_joined() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = knock_room(&alice);
    bob.try_join(&room).refused(403, "M_FORBIDDEN");
    let mut sync = ward().follow(&bob);
    let answer = bob.post(v3(&["knock", &room]), json!({ "reason": "I am on call" })).ok();
    assert_eq!(answer["room_id"], room.as_str());
    let member = alice.state(&room, "m.room.member", &bob.id);
    assert_eq!((&member["membership"], &member["reason"]), (&json!("knock"), &json!("I am on call")));

    let shown = sync.until("the knock in sync", SOON, |sync| !sync["rooms"]["knock"][&room].is_null());
    let state = events(&shown["rooms"]["knock"][&room]["knock_state"]["events"]);
    assert_eq!(find_event(state, "m.room.name", Some("")).unwrap()["content"]["name"], "Theatre 2");
    assert!(find_event(state, "m.room.member", Some(&bob.id)).is_some(), "{state:?}");

    alice.invite(&room, &bob);
    bob.join(&room);
    assert!(bob.is_in(&room));
}

#[test]
fn a_knock_is_taken_back_or_refused() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = knock_room(&alice);
    bob.try_knock(&room).ok();
    bob.leave(&room);
    assert_eq!(alice.state(&room, "m.room.member", &bob.id)["membership"], "leave");
    bob.try_knock(&room).ok();
    alice.on_member("kick", &room, &bob).ok();
    assert_eq!(alice.state(&room, "m.room.member", &bob.id)["membership"], "leave");
    bob.try_join(&room).refused(403, "M_FORBIDDEN");
}

#[test]
fn knocking_needs_a_room_that_allows_it() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let private = alice.create_room(json!({}));
    bob.try_knock(&private).refused(403, "M_FORBIDDEN");
    let knockable = knock_room(&alice);
    alice.on_member("ban", &knockable, &bob).ok();
    bob.try_knock(&knockable).refused(403, "M_FORBIDDEN");
    alice.try_knock(&knockable).refused(403, "M_FORBIDDEN");
    let unknown = format!("#{}:{}", unique("nowhere"), ward().name());
    bob.try_knock(&unknown).refused(404, "M_NOT_FOUND");
    let old = alice.create_room(json!({ "room_version": "6", "preset": "private_chat" }));
    bob.try_knock(&old).refused(403, "M_FORBIDDEN");
}

#[test]
fn who_knocked_reads_nothing() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = knock_room(&alice);
    let message = alice.say(&room, "for members");
    bob.try_knock(&room).ok();
    bob.try_messages(&room, "b", None, "5").refused(403, "M_FORBIDDEN");
    bob.try_event(&room, &message).refused_with_one_of(404, &["M_NOT_FOUND"]);
    bob.try_send(&room, "m.room.message", &unique("txn"), wardroom_testkit::text("hi")).refused(403, "M_FORBIDDEN");
}
