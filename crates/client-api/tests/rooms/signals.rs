//! Receipts, read markers and typing.

use serde_json::json;

use crate::world::{World, refused};

#[tokio::test]
async fn receipts_of_all_kinds_are_taken() {
    let world = World::new().await;
    let (alice, bob) = (world.user("alice").await, world.user("bob").await);
    let room = alice.room(json!({})).await;
    let event = alice.say(&room, "1", "hello").await;
    let done = (200, json!({}));
    let path = |kind: &str, event: &str| format!("rooms/{room}/receipt/{kind}/{event}");
    for kind in ["m.read", "m.read.private", "m.fully_read"] {
        assert_eq!(alice.post(&path(kind, &event), json!({})).await, done, "{kind}");
        assert_eq!(alice.raw("POST", &path(kind, &event), "").await, done, "{kind}");
    }
    assert_eq!(alice.post(&path("m.read", &event), json!({"thread_id": "main"})).await, done);
    for thread in [json!(5), json!(""), json!("other"), json!("$"), json!([])] {
        let answer = alice.post(&path("m.read", &event), json!({"thread_id": thread})).await;
        refused(answer, 400, "M_INVALID_PARAM", "thread_id");
    }
    let answer = alice.post(&path("m.fully_read", &event), json!({"thread_id": "main"})).await;
    refused(answer, 400, "M_INVALID_PARAM", "thread_id");
    refused(alice.post(&path("m.seen", &event), json!({})).await, 400, "M_INVALID_PARAM", "receiptType");
    refused(alice.post(&path("m.fully_read", "$no"), json!({})).await, 404, "M_NOT_FOUND", "");
    refused(alice.post(&path("m.read", "no"), json!({})).await, 400, "M_INVALID_PARAM", "event_id");
    refused(bob.post(&path("m.read", &event), json!({})).await, 403, "M_FORBIDDEN", "");
    refused(bob.post(&path("m.fully_read", &event), json!({})).await, 403, "M_FORBIDDEN", "");
}

#[tokio::test]
async fn read_markers_are_set_all_or_none() {
    let world = World::new().await;
    let (alice, bob) = (world.user("alice").await, world.user("bob").await);
    let room = alice.room(json!({})).await;
    let event = alice.say(&room, "1", "hello").await;
    let path = format!("rooms/{room}/read_markers");
    refused(bob.post(&path, json!({"m.read": event})).await, 403, "M_FORBIDDEN", "");
    let all = json!({"m.fully_read": event, "m.read": event, "m.read.private": event});
    assert_eq!(alice.post(&path, all).await, (200, json!({})));
    assert_eq!(alice.post(&path, json!({})).await, (200, json!({})));
    refused(alice.post(&path, json!({"m.fully_read": event, "m.read": "$no"})).await, 404, "M_NOT_FOUND", "");
    refused(alice.post(&path, json!({"m.read": 5})).await, 400, "M_BAD_JSON", "m.read");
}

#[tokio::test]
async fn one_types_for_oneself() {
    let world = World::new().await;
    let (alice, bob) = (world.user("alice").await, world.user("bob").await);
    let room = alice.room(json!({})).await;
    let path = |user: &str| format!("rooms/{room}/typing/{user}");
    let typing = json!({"typing": true, "timeout": 30_000});
    assert_eq!(alice.put(&path(&alice.id), typing.clone()).await, (200, json!({})));
    assert_eq!(alice.put(&path(&alice.id), json!({"typing": false})).await, (200, json!({})));
    refused(alice.put(&path(&bob.id), typing.clone()).await, 403, "M_FORBIDDEN", "userId");
    refused(bob.put(&path(&bob.id), typing).await, 403, "M_FORBIDDEN", "");
    refused(alice.put(&path(&alice.id), json!({"typing": "yes"})).await, 400, "M_BAD_JSON", "typing");
    refused(alice.put(&path(&alice.id), json!({})).await, 400, "M_BAD_JSON", "typing");
    refused(alice.put(&path("alice"), json!({"typing": false})).await, 400, "M_INVALID_PARAM", "user_id");
}
