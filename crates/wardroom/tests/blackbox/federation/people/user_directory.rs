//! Users of other servers in the user directory.

use wardroom_testkit::{Actor, Peer, User, Value, json, v3, wait_until};

use super::super::sites::Site;
use crate::SOON;

fn find(user: &User, term: &str) -> Vec<Value> {
    let found = user.post(v3(&["user_directory", "search"]), json!({ "search_term": term })).ok();
    found["results"].as_array().unwrap().clone()
}

#[test]
fn whom_one_meets_in_rooms_is_found() {
    let (mut site, peer) = (Site::start(), Peer::start());
    let (alice, carol) = (site.user("alice"), site.user("carol"));
    let room = alice.create_room(json!({ "preset": "private_chat", "room_version": "11" }));
    let bob = peer.user("bob");
    alice.set_state(&room, "m.room.join_rules", "", json!({ "join_rule": "public" }));
    peer.join(&site.server, &room, &bob);
    alice.set_state(&room, "m.room.join_rules", "", json!({ "join_rule": "invite" }));
    let named = json!({ "membership": "join", "displayname": "Dr. Robert Quux" });
    let named = peer.make(&room, &bob, "m.room.member", Some(&bob), &named);
    peer.send(&site.server, &[named], &[]).ok();
    let by_name = || find(&alice, "quux");
    let found = wait_until("the name", SOON, || by_name().pop());
    assert_eq!((&found["user_id"], &found["display_name"]), (&json!(bob), &json!("Dr. Robert Quux")));
    assert_eq!(find(&alice, &bob).len(), 1, "by the whole id");
    assert!(find(&alice, "@bob:elsewhere.example").is_empty());
    assert!(find(&carol, "quux").is_empty(), "who shares no room with somebody does not find them");
    // After a restart the rooms are read again.
    site.server.restart();
    wait_until("the name after a restart", SOON, || by_name().pop());
}

#[test]
fn who_is_met_in_no_room_any_more_is_not_found() {
    let (site, peer) = (Site::start(), Peer::start());
    let alice = site.user("alice");
    let boss = peer.user("boss");
    let room = peer.create_room(&boss, "11", "public");
    let named = json!({ "membership": "join", "displayname": "Dr. Gregoria Quuz" });
    peer.make(&room, &boss, "m.room.member", Some(&boss), &named);
    alice.post(v3(&["join", &room]).query("via", peer.name()), json!({})).ok();
    wait_until("the name", SOON, || find(&alice, "quuz").pop());
    alice.leave(&room);
    assert!(find(&alice, "quuz").is_empty(), "the room is open, but nobody here knows who is in it now");
}
