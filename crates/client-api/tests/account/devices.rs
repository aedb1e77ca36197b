//! Devices.

use serde_json::json;

use crate::world::{PASSWORD, code, password_login, world};

#[tokio::test]
async fn devices_are_shown_and_renamed() {
    let world = world().await;
    let alice = world.client("alice").await;
    let bob = world.client("bob").await;
    let path = format!("/v3/devices/{}", alice.device);
    assert_eq!(world.put(&path, &alice, json!({ "display_name": "Ward tablet" })).await, (200, json!({})));
    let (status, device) = world.get(&path, &alice).await;
    assert_eq!(
        (status, &device["display_name"], &device["device_id"]),
        (200, &json!("Ward tablet"), &json!(alice.device))
    );
    assert!(device["last_seen_ts"].is_u64() && device["last_seen_ip"].is_string());
    let (_, list) = world.get("/v3/devices", &alice).await;
    assert_eq!(list["devices"], json!([device]));
    for answer in [
        world.get(&path, &bob).await,
        world.put(&path, &bob, json!({ "display_name": "x" })).await,
        world.put(&path, &bob, json!({})).await,
    ] {
        assert_eq!(code(&answer), (404, "M_NOT_FOUND"));
    }
    assert_eq!(world.put(&path, &alice, json!({})).await, (200, json!({})));
    assert_eq!(world.get(&path, &alice).await.1["display_name"], "Ward tablet");
}

#[tokio::test]
async fn deleting_devices_takes_the_password() {
    let world = world().await;
    let alice = world.client("alice").await;
    let (two, three) = (world.sign_in("alice").await, world.sign_in("alice").await);
    let path = format!("/v3/devices/{}", two.device);
    let (status, challenge) = world.delete(&path, &alice, json!({})).await;
    assert_eq!(status, 401);
    let mut auth = password_login("alice", PASSWORD);
    auth["session"] = challenge["session"].clone();
    let other = format!("/v3/devices/{}", three.device);
    let stolen = world.delete(&other, &alice, json!({ "auth": auth })).await;
    assert_eq!(code(&stolen), (403, "M_FORBIDDEN"), "the session was begun for another device");
    assert_eq!(world.delete(&path, &alice, json!({ "auth": auth })).await, (200, json!({})));
    assert_eq!(world.get("/v3/account/whoami", &two).await.0, 401);
    assert_eq!(world.get("/v3/account/whoami", &three).await.0, 200);

    let body = json!({ "devices": [three.device, "NONE"], "auth": password_login("alice", PASSWORD) });
    assert_eq!(world.post("/v3/delete_devices", &alice, body).await, (200, json!({})));
    assert_eq!(world.get("/v3/account/whoami", &three).await.0, 401);
    assert_eq!(world.get("/v3/devices", &alice).await.1["devices"].as_array().unwrap().len(), 1);
}
