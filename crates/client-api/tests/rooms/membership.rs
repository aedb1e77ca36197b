//! Joining, leaving, and putting others in and out.

use serde_json::json;

use crate::world::{World, refused};

#[tokio::test]
async fn a_public_room_is_joined_by_id_and_by_alias() {
    let world = World::new().await;
    let (alice, bob, carol) = (world.user("alice").await, world.user("bob").await, world.user("carol").await);
    let room = alice.room(json!({"preset": "public_chat", "room_alias_name": "ward"})).await;
    let joined = (200, json!({"room_id": room}));
    assert_eq!(bob.post("join/#ward:a.example", json!({})).await, joined);
    for path in [format!("rooms/{room}/join"), format!("join/{room}")] {
        assert_eq!(bob.raw("POST", &path, "").await, joined, "{path}");
    }
    assert_eq!(carol.post(&format!("rooms/{room}/join"), json!({"reason": "shift"})).await, joined);
    let carols = carol.get(&format!("rooms/{room}/state/m.room.member/{}", carol.id)).await.1;
    assert_eq!((&carols["membership"], &carols["reason"]), (&json!("join"), &json!("shift")));
    assert_eq!(bob.get("joined_rooms").await, (200, json!({"joined_rooms": [room]})));
    let members = alice.get(&format!("rooms/{room}/joined_members")).await.1;
    assert_eq!(members["joined"].as_object().unwrap().len(), 3);

    for nowhere in ["!nowhere:a.example", "!nowhere:b.example", "#no:a.example", "#no:b.example"] {
        refused(bob.post(&format!("join/{nowhere}"), json!({})).await, 404, "M_NOT_FOUND", "");
        refused(bob.post(&format!("knock/{nowhere}"), json!({})).await, 404, "M_NOT_FOUND", "");
    }
    refused(bob.post("join/nowhere", json!({})).await, 400, "M_INVALID_PARAM", "room_id_or_alias");
    refused(bob.post(&format!("join/{room}"), json!({"reason": 5})).await, 400, "M_BAD_JSON", "reason");
}

#[tokio::test]
async fn a_private_room_takes_an_invitation() {
    let world = World::new().await;
    let (alice, bob) = (world.user("alice").await, world.user("bob").await);
    let room = alice.room(json!({})).await;
    let invite = format!("rooms/{room}/invite");
    refused(bob.post(&format!("join/{room}"), json!({})).await, 403, "M_FORBIDDEN", "");
    refused(bob.post(&invite, json!({"user_id": bob.id})).await, 403, "M_FORBIDDEN", "");
    assert_eq!(alice.post(&invite, json!({"user_id": bob.id, "reason": "come"})).await, (200, json!({})));
    bob.join(&room).await;
    refused(alice.post(&invite, json!({"user_id": bob.id})).await, 403, "M_FORBIDDEN", "");

    refused(alice.post(&invite, json!({"user_id": 5})).await, 400, "M_BAD_JSON", "user_id");
    refused(alice.post(&invite, json!({"user_id": "bob"})).await, 400, "M_BAD_JSON", "sigil");
    refused(alice.post(&invite, json!({})).await, 400, "M_BAD_JSON", "user_id");
    refused(alice.post(&invite, json!({"user_id": "@no:a.example"})).await, 404, "M_NOT_FOUND", "user_id");
    refused(alice.post(&invite, json!({"user_id": "@x:b.example"})).await, 403, "M_FORBIDDEN", "other servers");
    let by_mail = json!({"id_server": "x", "id_access_token": "y", "medium": "email", "address": "z@z.example"});
    refused(alice.post(&invite, by_mail).await, 403, "M_THREEPID_DENIED", "");
    let nowhere = alice.post("rooms/!no:a.example/invite", json!({"user_id": bob.id})).await;
    refused(nowhere, 403, "M_FORBIDDEN", "");
}

#[tokio::test]
async fn members_are_put_out_and_let_in_again() {
    let world = World::new().await;
    let (alice, bob) = (world.user("alice").await, world.user("bob").await);
    let room = alice.room(json!({"preset": "public_chat"})).await;
    bob.join(&room).await;
    let user = json!({"user_id": bob.id, "reason": "noise"});
    let done = (200, json!({}));
    refused(bob.post(&format!("rooms/{room}/kick"), json!({"user_id": alice.id})).await, 403, "M_FORBIDDEN", "");
    assert_eq!(alice.post(&format!("rooms/{room}/kick"), user.clone()).await, done);
    refused(alice.post(&format!("rooms/{room}/kick"), user.clone()).await, 403, "M_FORBIDDEN", "user_id");
    refused(alice.post(&format!("rooms/{room}/unban"), user.clone()).await, 403, "M_FORBIDDEN", "user_id");
    assert_eq!(alice.post(&format!("rooms/{room}/ban"), user.clone()).await, done);
    refused(bob.post(&format!("join/{room}"), json!({})).await, 403, "M_FORBIDDEN", "");
    let member = alice.get(&format!("rooms/{room}/state/m.room.member/{}", bob.id)).await.1;
    assert_eq!((&member["membership"], &member["reason"]), (&json!("ban"), &json!("noise")));
    assert_eq!(alice.post(&format!("rooms/{room}/unban"), user).await, done);
    bob.join(&room).await;
    refused(alice.post(&format!("rooms/{room}/ban"), json!({})).await, 400, "M_BAD_JSON", "user_id");
    refused(alice.post("rooms/!no:a.example/ban", json!({"user_id": bob.id})).await, 403, "M_FORBIDDEN", "");
}

#[tokio::test]
async fn who_has_left_can_forget() {
    let world = World::new().await;
    let (alice, bob) = (world.user("alice").await, world.user("bob").await);
    let room = alice.room(json!({"preset": "public_chat"})).await;
    bob.join(&room).await;
    refused(bob.post(&format!("rooms/{room}/forget"), json!({})).await, 400, "M_UNKNOWN", "");
    assert_eq!(bob.raw("POST", &format!("rooms/{room}/leave"), "").await, (200, json!({})));
    assert_eq!(bob.get(&format!("rooms/{room}/messages?dir=b")).await.0, 200);
    assert_eq!(bob.post(&format!("rooms/{room}/forget"), json!({})).await, (200, json!({})));
    refused(bob.get(&format!("rooms/{room}/messages?dir=b")).await, 403, "M_FORBIDDEN", "");
    refused(bob.post("rooms/!no:a.example/leave", json!({})).await, 403, "M_FORBIDDEN", "");
    refused(bob.post("rooms/!no:a.example/forget", json!({})).await, 403, "M_FORBIDDEN", "");
}

#[tokio::test]
async fn a_knock_is_answered_by_an_invitation() {
    let world = World::new().await;
    let (alice, bob) = (world.user("alice").await, world.user("bob").await);
    let rules = json!([{"type": "m.room.join_rules", "content": {"join_rule": "knock"}}]);
    let room = alice.room(json!({"initial_state": rules, "room_alias_name": "door"})).await;
    assert_eq!(bob.post("knock/#door:a.example", json!({"reason": "me"})).await, (200, json!({"room_id": room})));
    let knocks = alice.get(&format!("rooms/{room}/members?membership=knock")).await.1;
    assert_eq!(knocks["chunk"][0]["content"]["reason"], "me");
    assert_eq!(alice.post(&format!("rooms/{room}/invite"), json!({"user_id": bob.id})).await.0, 200);
    bob.join(&room).await;
    let private = alice.room(json!({})).await;
    refused(bob.post(&format!("knock/{private}"), json!({})).await, 403, "M_FORBIDDEN", "");
}
