//! Who is in a room, by the hand of an administrator.

use wardroom_testkit::{Actor, json};

use super::{admin_of, own, synapse};
use crate::ward;

#[test]
fn users_are_joined_to_rooms() {
    let (server, admin) = (ward(), admin_of(ward()));
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let open = alice.create_public_room(&[]);
    let join = |room: &str| admin.post(synapse(&["v1", "join", room]), json!({ "user_id": bob.id }));
    assert_eq!(join(&open).ok(), json!({ "room_id": open }));
    assert!(bob.is_in(&open));
    let closed = alice.create_room(json!({ "preset": "private_chat" }));
    join(&closed).refused(403, "M_FORBIDDEN");
    alice.invite(&closed, &admin);
    admin.join(&closed);
    join(&closed).ok();
    assert!(bob.is_in(&closed), "by the administrator's invitation");
    join("!nowhere:hospital-a.example").refused(404, "M_NOT_FOUND");
    admin
        .post(synapse(&["v1", "join", &open]), json!({ "user_id": "@x:elsewhere.example" }))
        .refused(400, "M_INVALID_PARAM");
}

#[test]
fn somebody_gets_the_power_of_the_most_powerful() {
    let (server, admin) = (ward(), admin_of(ward()));
    for version in ["11", "12"] {
        let (alice, bob) = (server.user("alice"), server.user("bob"));
        let room = alice.create_room(json!({ "preset": "private_chat", "room_version": version }));
        admin.post(synapse(&["v1", "rooms", &room, "make_room_admin"]), json!({ "user_id": bob.id })).ok();
        bob.join(&room);
        assert_eq!(bob.state(&room, "m.room.power_levels", "")["users"][&bob.id], 100, "{version}");
        alice.leave(&room);
        bob.leave(&room);
        let again = admin.post(synapse(&["v1", "rooms", &room, "make_room_admin"]), json!({}));
        again.refused(403, "M_FORBIDDEN");
    }
}

#[test]
fn one_user_is_taken_out_of_one_room() {
    let (server, admin) = (ward(), admin_of(ward()));
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let (room, other) = (alice.create_public_room(&[&bob]), alice.create_public_room(&[&bob]));
    let remove =
        || admin.post(own(&["rooms", &room, "remove"]), json!({ "user_id": bob.id, "reason": "left the ward" }));
    remove().ok();
    assert_eq!(alice.members(&room, "join"), [alice.id.as_str()]);
    assert_eq!(alice.state(&room, "m.room.member", &bob.id)["reason"], "left the ward");
    assert!(bob.is_in(&other));
    remove().refused(404, "M_NOT_FOUND");
}
