//! Aliases and published rooms.

use serde_json::json;

use crate::world::{World, refused};

#[tokio::test]
async fn an_alias_is_set_resolved_listed_and_removed() {
    let world = World::new().await;
    let (alice, bob) = (world.user("alice").await, world.user("bob").await);
    let room = alice.room(json!({})).await;
    let (alias, path) = ("#ward:a.example", "directory/room/#ward:a.example");
    refused(world.anonymous("GET", path).await, 404, "M_NOT_FOUND", "alias");
    refused(bob.put(path, json!({"room_id": room})).await, 403, "M_FORBIDDEN", "");
    assert_eq!(alice.put(path, json!({"room_id": room})).await, (200, json!({})));
    refused(alice.put(path, json!({"room_id": room})).await, 409, "M_UNKNOWN", "");
    let resolved = world.anonymous("GET", path).await;
    assert_eq!(resolved, (200, json!({"room_id": room, "servers": ["a.example"]})));
    let aliases = alice.get(&format!("rooms/{room}/aliases")).await;
    assert_eq!(aliases, (200, json!({"aliases": [alias]})));
    refused(bob.get(&format!("rooms/{room}/aliases")).await, 403, "M_FORBIDDEN", "");
    refused(bob.raw("DELETE", path, "").await, 403, "M_FORBIDDEN", "");
    assert_eq!(alice.raw("DELETE", path, "").await, (200, json!({})));
    refused(alice.raw("DELETE", path, "").await, 404, "M_NOT_FOUND", "alias");

    let foreign = alice.put("directory/room/#x:b.example", json!({"room_id": room})).await;
    refused(foreign, 400, "M_INVALID_PARAM", "room_alias");
    refused(alice.put("directory/room/x", json!({"room_id": room})).await, 400, "M_INVALID_PARAM", "room_alias");
    refused(alice.put(path, json!({})).await, 400, "M_BAD_JSON", "room_id");
    refused(alice.put(path, json!({"room_id": "x"})).await, 400, "M_BAD_JSON", "sigil");
}

#[tokio::test]
async fn rooms_are_published_and_found() {
    let world = World::new().await;
    let (alice, bob) = (world.user("alice").await, world.user("bob").await);
    let kitchen = alice.room(json!({"preset": "public_chat", "name": "Kitchen"})).await;
    let ward = alice.room(json!({"visibility": "public", "name": "Ward"})).await;
    let listing = format!("directory/list/room/{kitchen}");
    assert_eq!(world.anonymous("GET", &listing).await, (200, json!({"visibility": "private"})));
    refused(bob.put(&listing, json!({"visibility": "public"})).await, 403, "M_FORBIDDEN", "");
    refused(alice.put(&listing, json!({"visibility": "x"})).await, 400, "M_INVALID_PARAM", "visibility");
    assert_eq!(alice.put(&listing, json!({"visibility": "public"})).await, (200, json!({})));
    refused(world.anonymous("GET", "directory/list/room/!no:a.example").await, 404, "M_NOT_FOUND", "");

    let (status, page) = world.anonymous("GET", "publicRooms?limit=1").await;
    assert_eq!((status, &page["total_room_count_estimate"]), (200, &json!(2)));
    let next = page["next_batch"].as_str().unwrap();
    let (_, second) = world.anonymous("GET", &format!("publicRooms?since={next}&server=a.example")).await;
    assert_eq!(second["chunk"].as_array().unwrap().len(), 1);
    let found = bob.post("publicRooms", json!({"filter": {"generic_search_term": "WARD"}})).await.1;
    assert_eq!((&found["chunk"][0]["room_id"], &found["chunk"][1]), (&json!(ward), &json!(null)));
    let none = bob.post("publicRooms", json!({"third_party_instance_id": "irc"})).await;
    assert_eq!(none, (200, json!({"chunk": []})));
    refused(bob.post("publicRooms?server=b.example", json!({})).await, 403, "M_FORBIDDEN", "server");
    refused(bob.post("publicRooms", json!({"since": "junk"})).await, 400, "M_INVALID_PARAM", "since");
    refused(bob.post("publicRooms", json!({"limit": -1})).await, 400, "M_BAD_JSON", "limit");
    refused(world.anonymous("GET", "publicRooms?limit=x").await, 400, "M_INVALID_PARAM", "limit");
}
