//! `PUT /rooms/{roomId}/typing/{userId}`.

use wardroom_testkit::{Actor, Reply, User, Value, events, joined, json, v3};

use crate::{SOON, ward};

fn typing(user: &User, room: &str, who: &User, body: Value) -> Reply {
    user.put(v3(&["rooms", room, "typing", &who.id]), body)
}

/// Who a sync answer says is typing; `None` when it says nothing about it.
fn typists(sync: &Value, room: &str) -> Option<Value> {
    let ephemeral = events(&joined(sync, room)["ephemeral"]["events"]);
    Some(ephemeral.iter().find(|event| event["type"] == "m.typing")?["content"]["user_ids"].clone())
}

#[test]
fn typing_starts_and_stops() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_public_room(&[&bob]);
    let mut sync = ward().follow(&alice);
    typing(&bob, &room, &bob, json!({ "typing": true, "timeout": 30_000 })).ok();
    let answer = sync.until("bob types", SOON, |sync| typists(sync, &room).is_some());
    assert_eq!(typists(&answer, &room), Some(json!([bob.id])));
    typing(&bob, &room, &bob, json!({ "typing": false })).ok();
    let answer = sync.until("bob stops", SOON, |sync| typists(sync, &room).is_some());
    assert_eq!(typists(&answer, &room), Some(json!([])));
    assert!(sync.now()["rooms"]["join"].get(&room).is_none(), "nothing more to say");
}

#[test]
fn who_starts_anew_hears_that_typing_has_stopped() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_public_room(&[&bob]);
    assert_eq!(typists(&alice.initial_sync(), &room), None);
    typing(&bob, &room, &bob, json!({ "typing": true, "timeout": 30_000 })).ok();
    assert_eq!(typists(&alice.initial_sync(), &room), Some(json!([bob.id])));
    typing(&bob, &room, &bob, json!({ "typing": false })).ok();
    assert_eq!(typists(&alice.initial_sync(), &room), Some(json!([])));
}

#[test]
fn typing_ends_by_itself() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_public_room(&[&bob]);
    let mut sync = ward().follow(&alice);
    typing(&bob, &room, &bob, json!({ "typing": true, "timeout": 300 })).ok();
    sync.until("bob types", SOON, |sync| typists(sync, &room) == Some(json!([bob.id])));
    sync.until("bob's timeout passes", SOON, |sync| typists(sync, &room) == Some(json!([])));
}

#[test]
fn sending_and_leaving_do_not_leave_a_typist_behind() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_public_room(&[&bob]);
    let mut sync = ward().follow(&alice);
    typing(&bob, &room, &bob, json!({ "typing": true, "timeout": 30_000 })).ok();
    sync.until("bob types", SOON, |sync| typists(sync, &room) == Some(json!([bob.id])));
    bob.leave(&room);
    sync.until("bob is gone", SOON, |sync| typists(sync, &room) == Some(json!([])));
}

#[test]
fn only_members_type_and_only_for_themselves() {
    let (alice, bob, stranger) = (ward().user("alice"), ward().user("bob"), ward().user("stranger"));
    let room = alice.create_public_room(&[&bob]);
    let mut sync = ward().follow(&alice);
    let body = || json!({ "typing": true, "timeout": 30_000 });
    typing(&stranger, &room, &stranger, body()).refused(403, "M_FORBIDDEN");
    typing(&bob, &room, &alice, body()).refused(403, "M_FORBIDDEN");
    typing(&bob, &room, &bob, json!({})).refused_with_one_of(400, &["M_BAD_JSON", "M_MISSING_PARAM"]);
    typing(&bob, &room, &bob, json!({ "typing": "yes" })).refused(400, "M_BAD_JSON");
    assert_eq!(typists(&sync.now(), &room), None);
}
