//! `/profile/{userId}` and what it changes in rooms.

use wardroom_testkit::{Actor, find_event, joined, json, timeline, unique, v3};

use crate::{SOON, ward};

#[test]
fn a_profile_is_set_by_its_owner_and_read_by_everybody() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let avatar = format!("mxc://{}/portrait", ward().name());
    alice.put(v3(&["profile", &alice.id, "displayname"]), json!({ "displayname": "Dr Alice" })).ok();
    alice.put(v3(&["profile", &alice.id, "avatar_url"]), json!({ "avatar_url": avatar })).ok();
    let profile = bob.get(v3(&["profile", &alice.id])).ok();
    assert_eq!((&profile["displayname"], &profile["avatar_url"]), (&json!("Dr Alice"), &json!(avatar)));
    assert_eq!(bob.get(v3(&["profile", &alice.id, "displayname"])).ok(), json!({ "displayname": "Dr Alice" }));
    assert_eq!(bob.get(v3(&["profile", &alice.id, "avatar_url"])).ok(), json!({ "avatar_url": avatar }));
}

#[test]
fn nobody_sets_another_users_profile() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    alice.put(v3(&["profile", &alice.id, "displayname"]), json!({ "displayname": "Alice" })).ok();
    let target = || v3(&["profile", &alice.id, "displayname"]);
    bob.put(target(), json!({ "displayname": "Mallory" })).refused(403, "M_FORBIDDEN");
    bob.anonymous().put(target(), json!({ "displayname": "Mallory" })).refused(401, "M_MISSING_TOKEN");
    assert_eq!(bob.get(target()).ok()["displayname"], "Alice");
}

#[test]
fn an_unknown_user_has_no_profile() {
    let alice = ward().user("alice");
    let unknown = format!("@{}:{}", unique("unknown"), ward().name());
    alice.get(v3(&["profile", &unknown])).refused(404, "M_NOT_FOUND");
    alice.get(v3(&["profile", &unknown, "displayname"])).refused(404, "M_NOT_FOUND");
    alice.get(v3(&["profile", "no user id"])).refused(400, "M_INVALID_PARAM");
}

#[test]
fn a_new_name_reaches_rooms_and_their_members() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_public_room(&[&bob]);
    let mut sync = ward().follow(&bob);
    alice.put(v3(&["profile", &alice.id, "displayname"]), json!({ "displayname": "Dr Alice" })).ok();
    let answer = sync.until("the new name in the room", SOON, |sync| {
        find_event(timeline(sync, &room), "m.room.member", Some(&alice.id)).is_some()
    });
    let event = find_event(timeline(&answer, &room), "m.room.member", Some(&alice.id)).unwrap();
    assert_eq!(event["content"]["displayname"], "Dr Alice");
    assert_eq!(event["content"]["membership"], "join");
    assert_eq!(event["unsigned"]["prev_content"]["membership"], "join", "{event}");
    assert_eq!(bob.state(&room, "m.room.member", &alice.id)["displayname"], "Dr Alice");
    let members = bob.get(v3(&["rooms", &room, "joined_members"])).ok();
    assert_eq!(members["joined"][&alice.id]["display_name"], "Dr Alice", "{members}");
    assert!(joined(&answer, &room)["timeline"]["limited"] != json!(true));
}

#[test]
fn a_join_carries_the_profile() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    bob.put(v3(&["profile", &bob.id, "displayname"]), json!({ "displayname": "Nurse Bob" })).ok();
    let room = alice.create_public_room(&[&bob]);
    assert_eq!(alice.state(&room, "m.room.member", &bob.id)["displayname"], "Nurse Bob");
}
