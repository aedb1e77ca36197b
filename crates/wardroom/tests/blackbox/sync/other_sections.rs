//! Invites, knocks, leaves, and the sections without rooms.

use wardroom_testkit::{Follower, bodies, events, find_event, json};

use crate::{SOON, ward};

#[test]
fn an_invite_shows_what_the_room_is_and_no_more() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_room(json!({ "name": "Ward 7", "topic": "Handover" }));
    alice.say(&room, "not for the invited");
    let mut sync = ward().follow(&bob);
    alice.invite(&room, &bob);
    let answer = sync.until("the invite", SOON, |sync| !sync["rooms"]["invite"][&room].is_null());
    let state = events(&answer["rooms"]["invite"][&room]["invite_state"]["events"]);
    assert_eq!(find_event(state, "m.room.name", Some("")).unwrap()["content"]["name"], "Ward 7");
    assert!(find_event(state, "m.room.join_rules", Some("")).is_some(), "{state:?}");
    assert!(find_event(state, "m.room.create", Some("")).is_some(), "{state:?}");
    let member = find_event(state, "m.room.member", Some(&bob.id)).expect("the invite itself");
    assert_eq!((&member["content"]["membership"], &member["sender"]), (&json!("invite"), &json!(alice.id)));
    assert!(bodies(state).is_empty() && !answer.to_string().contains("not for the invited"), "{answer}");

    alice.say(&room, "still not for the invited");
    assert!(sync.now()["rooms"]["invite"].get(&room).is_none(), "an invite is shown once");
    assert!(bob.initial_sync()["rooms"]["invite"].get(&room).is_some(), "and in every initial sync");
    bob.join(&room);
    let answer = sync.now();
    assert!(answer["rooms"]["join"].get(&room).is_some() && answer["rooms"]["invite"].get(&room).is_none(), "{answer}");
}

#[test]
fn an_invite_that_is_withdrawn_or_rejected_is_a_leave() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let (withdrawn, rejected) = (alice.create_room(json!({})), alice.create_room(json!({})));
    alice.invite(&withdrawn, &bob);
    alice.invite(&rejected, &bob);
    let mut sync = ward().follow(&bob);
    alice.on_member("kick", &withdrawn, &bob).ok();
    bob.leave(&rejected);
    let (mut seen_withdrawn, mut seen_rejected) = (false, false);
    sync.until("both leaves", SOON, |sync| {
        seen_withdrawn |= sync["rooms"]["leave"].get(&withdrawn).is_some();
        seen_rejected |= sync["rooms"]["leave"].get(&rejected).is_some();
        seen_withdrawn && seen_rejected
    });
    assert!(bob.initial_sync()["rooms"]["invite"].as_object().is_none_or(|rooms| rooms.is_empty()));
}

#[test]
fn a_left_room_keeps_its_history_up_to_the_leave() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_public_room(&[&bob]);
    alice.say(&room, "before");
    bob.leave(&room);
    alice.say(&room, "after");
    let filter = json!({ "room": { "include_leave": true } });
    let all = bob.try_sync(None, std::time::Duration::ZERO, Some(&filter.to_string())).ok();
    let left = events(&all["rooms"]["leave"][&room]["timeline"]["events"]);
    assert_eq!(bodies(left), ["before"], "{all}");
    assert_eq!(left.last().unwrap()["content"]["membership"], "leave");
}

#[test]
fn a_sync_says_what_clients_need_to_start() {
    let alice = ward().user("alice");
    let sync = alice.initial_sync();
    // Encryption comes later, but a client that has it must not be told nonsense.
    let counts = &sync["device_one_time_keys_count"];
    assert!(counts.is_null() || counts.is_object(), "{sync}");
    assert!(events(&sync["to_device"]["events"]).is_empty(), "{sync}");
    assert!(events(&sync["device_lists"]["changed"]).is_empty(), "{sync}");
    let mut follower = Follower::since(&alice, sync["next_batch"].as_str().unwrap());
    let next = follower.now();
    let quiet = |section: &str| next["rooms"][section].as_object().is_none_or(|rooms| rooms.is_empty());
    assert!(["join", "invite", "leave", "knock"].iter().all(|section| quiet(section)), "{next}");
    assert!(events(&next["account_data"]["events"]).is_empty(), "{next}");
}
