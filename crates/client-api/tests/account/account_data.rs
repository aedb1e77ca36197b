//! Account data, tags and filters.

use serde_json::{Value, json};

use crate::world::{code, world};

#[tokio::test]
async fn account_data_is_kept_per_user_and_per_room() {
    let world = world().await;
    let (alice, bob) = (world.client("alice").await, world.client("bob").await);
    let room = world.room(&alice).await;
    let global = format!("/v3/user/{}/account_data/org.example", alice.user);
    let in_room = format!("/v3/user/{}/rooms/{room}/account_data/org.example", alice.user);
    for (n, path) in [&global, &in_room].into_iter().enumerate() {
        assert_eq!(code(&world.get(path, &alice).await), (404, "M_NOT_FOUND"));
        assert_eq!(world.put(path, &alice, json!({ "n": n, "x": 1.5 })).await, (200, json!({})));
        assert_eq!(world.get(path, &alice).await, (200, json!({ "n": n, "x": 1.5 })));
        assert_eq!(code(&world.get(path, &bob).await), (403, "M_FORBIDDEN"));
        assert_eq!(code(&world.put(path, &bob, json!({})).await), (403, "M_FORBIDDEN"));
        assert_eq!(code(&world.put(path, &alice, json!([])).await), (400, "M_BAD_JSON"));
    }
    assert_eq!(world.get(&global, &alice).await.1["n"], 0);
    for path in ["account_data/m.push_rules", "account_data/m.fully_read"] {
        let answer = world.put(&format!("/v3/user/{}/{path}", alice.user), &alice, json!({})).await;
        assert_eq!(code(&answer), (405, "M_BAD_JSON"));
    }
    let rules = world.get(&format!("/v3/user/{}/account_data/m.push_rules", alice.user), &alice).await;
    assert!(rules.1["global"]["override"].is_array());
    let unknown = format!("/v3/user/{}/rooms/!x:hospital-a.example/account_data/org.example", alice.user);
    assert_eq!(code(&world.put(&unknown, &alice, json!({})).await), (404, "M_NOT_FOUND"));
}

#[tokio::test]
async fn rooms_are_tagged() {
    let world = world().await;
    let (alice, bob) = (world.client("alice").await, world.client("bob").await);
    let room = world.room(&alice).await;
    let tags = format!("/v3/user/{}/rooms/{room}/tags", alice.user);
    assert_eq!(world.get(&tags, &alice).await, (200, json!({ "tags": {} })));
    let favourite = format!("{tags}/m.favourite");
    assert_eq!(world.put(&favourite, &alice, json!({ "order": 0.25, "org.x": [1] })).await, (200, json!({})));
    assert_eq!(world.put(&format!("{tags}/u.work"), &alice, Value::Null).await, (200, json!({})));
    let expected = json!({ "tags": { "m.favourite": { "order": 0.25, "org.x": [1] }, "u.work": {} } });
    assert_eq!(world.get(&tags, &alice).await, (200, expected));
    assert_eq!(world.delete(&favourite, &alice, Value::Null).await, (200, json!({})));
    assert_eq!(world.get(&tags, &alice).await, (200, json!({ "tags": { "u.work": {} } })));
    assert_eq!(code(&world.put(&favourite, &alice, json!({ "order": [] })).await), (400, "M_BAD_JSON"));
    for answer in [
        world.get(&tags, &bob).await,
        world.put(&favourite, &bob, json!({})).await,
        world.delete(&favourite, &bob, Value::Null).await,
    ] {
        assert_eq!(code(&answer), (403, "M_FORBIDDEN"));
    }
}

#[tokio::test]
async fn filters_are_kept() {
    let world = world().await;
    let (alice, bob) = (world.client("alice").await, world.client("bob").await);
    let path = format!("/v3/user/{}/filter", alice.user);
    let filter = json!({ "room": { "timeline": { "limit": 10 } }, "event_fields": ["type"] });
    let (status, created) = world.post(&path, &alice, filter.clone()).await;
    let id = created["filter_id"].as_str().unwrap();
    assert_eq!((status, world.post(&path, &alice, filter.clone()).await.1["filter_id"].as_str()), (200, Some(id)));
    assert_eq!(world.get(&format!("{path}/{id}"), &alice).await, (200, filter));
    assert_eq!(code(&world.get(&format!("{path}/nothing"), &alice).await), (404, "M_NOT_FOUND"));
    assert_eq!(code(&world.get(&format!("{path}/{id}"), &bob).await), (403, "M_FORBIDDEN"));
    assert_eq!(code(&world.post(&path, &bob, json!({})).await), (403, "M_FORBIDDEN"));
    assert_eq!(code(&world.post(&path, &alice, json!({ "room": 5 })).await), (400, "M_BAD_JSON"));
}
