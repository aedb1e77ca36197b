//! What a sync answers over HTTP.

use serde_json::json;

use crate::world::{World, refused};

#[tokio::test]
async fn a_sync_goes_on_from_its_token() {
    let world = World::new().await;
    let (alice, bob) = (world.user("alice").await, world.user("bob").await);
    let room = alice.room(json!({"preset": "public_chat"})).await;
    bob.join(&room).await;
    let (status, first) = bob.get("sync").await;
    assert_eq!(status, 200, "{first}");
    assert!(first["rooms"]["join"][&room]["timeline"]["events"].is_array());
    let token = first["next_batch"].as_str().unwrap();
    let event = alice.say(&room, "1", "hello").await;
    let (status, second) = bob.get(&format!("sync?since={token}&timeout=30000")).await;
    assert_eq!((status, &second["rooms"]["join"][&room]["timeline"]["events"][0]["event_id"]), (200, &json!(event)));

    let filter = r#"{"room":{"timeline":{"limit":1}}}"#;
    let (status, limited) = bob.get(&format!("sync?filter={filter}&set_presence=offline&full_state=true")).await;
    assert_eq!(status, 200, "{limited}");
    assert_eq!(limited["rooms"]["join"][&room]["timeline"]["events"].as_array().unwrap().len(), 1);
    let id = alice.id.clone();
    let (_, stored) = alice.post(&format!("user/{id}/filter"), json!({"room": {"rooms": []}})).await;
    let stored = stored["filter_id"].as_str().unwrap();
    let (status, nothing) = alice.get(&format!("sync?filter={stored}")).await;
    assert_eq!((status, &nothing["rooms"]), (200, &json!(null)));
}

#[tokio::test]
async fn what_is_wrong_with_a_sync_is_said() {
    let world = World::new().await;
    let alice = world.user("alice").await;
    for since in ["x", "s", "s-1", "t1_1", "5"] {
        refused(alice.get(&format!("sync?since={since}")).await, 400, "M_INVALID_PARAM", "since");
    }
    for filter in ["nothing", "{", r#"{"room":5}"#] {
        refused(alice.get(&format!("sync?filter={filter}")).await, 400, "M_INVALID_PARAM", "filter");
    }
    refused(alice.get("sync?timeout=soon").await, 400, "M_INVALID_PARAM", "timeout");
    refused(world.anonymous("GET", "sync").await, 401, "M_MISSING_TOKEN", "");
}
