//! `POST /createRoom`.

use serde_json::{Value, json};

use crate::world::{World, refused};

#[tokio::test]
async fn everything_that_was_asked_for_is_in_the_room() {
    let world = World::new().await;
    let (alice, bob) = (world.user("alice").await, world.user("bob").await);
    let room = alice
        .room(json!({
            "preset": "public_chat", "visibility": "public", "room_version": "11", "name": "Ward 7", "topic": "Beds",
            "room_alias_name": "ward-7", "invite": [bob.id, bob.id], "is_direct": true,
            "creation_content": {"m.federate": false, "type": "m.space"},
            "initial_state": [
                {"type": "m.room.guest_access", "state_key": "", "content": {"guest_access": "can_join"}},
                {"type": "x.bed", "state_key": "4", "content": {"free": true}},
            ],
            "power_level_content_override": {"events_default": 10},
        }))
        .await;
    let state = async |path: &str| alice.get(&format!("rooms/{room}/state/{path}")).await.1;
    assert_eq!(state("m.room.create").await["type"], "m.space");
    assert_eq!(state("m.room.create").await["room_version"], "11");
    assert_eq!(state("m.room.name/").await, json!({"name": "Ward 7"}));
    assert_eq!(state("m.room.topic").await["topic"], "Beds");
    assert_eq!(state("m.room.canonical_alias").await, json!({"alias": "#ward-7:a.example"}));
    assert_eq!(state("m.room.join_rules").await, json!({"join_rule": "public"}));
    assert_eq!(state("m.room.guest_access").await, json!({"guest_access": "can_join"}));
    assert_eq!(state("x.bed/4").await, json!({"free": true}));
    assert_eq!(state("m.room.power_levels").await["events_default"], 10);
    let invitation = state(&format!("m.room.member/{}", bob.id)).await;
    assert_eq!((&invitation["membership"], &invitation["is_direct"]), (&json!("invite"), &json!(true)));
    let listed = world.anonymous("GET", &format!("directory/list/room/{room}")).await;
    assert_eq!(listed, (200, json!({"visibility": "public"})));
}

#[tokio::test]
async fn the_defaults_are_those_of_a_private_room_of_the_newest_version() {
    let world = World::new().await;
    let alice = world.user("alice").await;
    for body in ["", "{}"] {
        let (status, answer) = alice.raw("POST", "createRoom", body).await;
        assert_eq!(status, 200, "{answer}");
        let room = answer["room_id"].as_str().unwrap();
        assert_eq!(alice.get(&format!("rooms/{room}/state/m.room.create")).await.1["room_version"], "12");
        let rules = alice.get(&format!("rooms/{room}/state/m.room.join_rules")).await.1;
        assert_eq!(rules, json!({"join_rule": "invite"}));
    }
}

#[tokio::test]
async fn what_is_wrong_is_named_and_leaves_nothing_behind() {
    let world = World::new().await;
    let alice = world.user("alice").await;
    let third_party = json!({"id_server": "x", "id_access_token": "y", "medium": "email", "address": "z@z.example"});
    let cases: [(Value, u16, &str, &str); 18] = [
        (json!({"preset": "party"}), 400, "M_INVALID_PARAM", "preset"),
        (json!({"preset": 5}), 400, "M_BAD_JSON", "preset"),
        (json!({"visibility": "secret"}), 400, "M_INVALID_PARAM", "visibility"),
        (json!({"room_version": "1"}), 400, "M_UNSUPPORTED_ROOM_VERSION", "1"),
        (json!({"room_version": "next"}), 400, "M_UNSUPPORTED_ROOM_VERSION", "next"),
        (json!({"room_version": 11}), 400, "M_BAD_JSON", "room_version"),
        (json!({"room_alias_name": "a:b"}), 400, "M_INVALID_PARAM", "room_alias_name"),
        (json!({"name": {}}), 400, "M_BAD_JSON", "name"),
        (json!({"invite": ["bob"]}), 400, "M_BAD_JSON", "invite"),
        (json!({"invite": ["@nobody:a.example"]}), 404, "M_NOT_FOUND", "invite"),
        (json!({"invite": ["@x:b.example"]}), 403, "M_FORBIDDEN", "other servers"),
        (json!({"invite_3pid": [third_party]}), 403, "M_THREEPID_DENIED", "e-mail"),
        (json!({"creation_content": [1]}), 400, "M_BAD_JSON", "creation_content"),
        (json!({"creation_content": {"x": 1.5}}), 400, "M_BAD_JSON", "content.x"),
        (json!({"power_level_content_override": "x"}), 400, "M_BAD_JSON", "power_level_content_override"),
        (
            json!({"power_level_content_override": {"state_default": 500, "users_default": 0}, "room_version": "11",
            "name": "x", "initial_state": []}),
            400,
            "M_INVALID_ROOM_STATE",
            "",
        ),
        (json!({"initial_state": [{"type": "t", "content": {"a": {"b": 0.5}}}]}), 400, "M_BAD_JSON", "content.a.b"),
        (json!({"initial_state": [{"type": "t"}]}), 400, "M_BAD_JSON", "initial_state[0].content"),
    ];
    for (body, status, errcode, named) in cases {
        refused(alice.post("createRoom", body).await, status, errcode, named);
    }
    refused(alice.raw("POST", "createRoom", "[]").await, 400, "M_BAD_JSON", "object");
    refused(alice.raw("POST", "createRoom", "{").await, 400, "M_NOT_JSON", "");
    assert_eq!(alice.get("joined_rooms").await, (200, json!({"joined_rooms": []})));
}

#[tokio::test]
async fn an_alias_is_given_once() {
    let world = World::new().await;
    let (alice, bob) = (world.user("alice").await, world.user("bob").await);
    alice.room(json!({"room_alias_name": "ward"})).await;
    refused(bob.post("createRoom", json!({"room_alias_name": "ward"})).await, 400, "M_ROOM_IN_USE", "");
    assert_eq!(bob.get("joined_rooms").await.1, json!({"joined_rooms": []}));
}

#[tokio::test]
async fn guests_make_no_rooms() {
    let world = World::new().await;
    let guest = world.guest().await;
    refused(guest.post("createRoom", json!({})).await, 403, "M_GUEST_ACCESS_FORBIDDEN", "");
}
