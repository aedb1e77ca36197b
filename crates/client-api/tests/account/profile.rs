//! Profiles.

use serde_json::{Value, json};

use crate::world::{code, world};

#[tokio::test]
async fn a_profile_is_public_and_its_owners() {
    let world = world().await;
    let (alice, bob) = (world.client("alice").await, world.client("bob").await);
    let path = format!("/v3/profile/{}", alice.user);
    let (name, url) = (format!("{path}/displayname"), format!("{path}/avatar_url"));
    let read = async |path: &str| world.call("GET", path, None, &Value::Null).await;
    assert_eq!(read(&path).await, (200, json!({ "displayname": "alice" })), "the user name, to begin with");
    assert_eq!(code(&read(&url).await), (404, "M_NOT_FOUND"));
    assert_eq!(world.put(&name, &alice, json!({ "displayname": "Dr. Alice" })).await, (200, json!({})));
    assert_eq!(world.put(&url, &alice, json!({ "avatar_url": "mxc://a.example/b" })).await, (200, json!({})));
    assert_eq!(read(&name).await, (200, json!({ "displayname": "Dr. Alice" })));
    assert_eq!(read(&url).await, (200, json!({ "avatar_url": "mxc://a.example/b" })));
    assert_eq!(read(&path).await, (200, json!({ "displayname": "Dr. Alice", "avatar_url": "mxc://a.example/b" })));

    assert_eq!(code(&world.put(&name, &bob, json!({ "displayname": "x" })).await), (403, "M_FORBIDDEN"));
    assert_eq!(code(&world.put(&url, &alice, json!({ "avatar_url": "http://x" })).await), (400, "M_INVALID_PARAM"));
    assert_eq!(code(&world.put(&name, &alice, json!({ "displayname": 5 })).await), (400, "M_BAD_JSON"));
    let long = json!({ "displayname": "x".repeat(300) });
    assert_eq!(code(&world.put(&name, &alice, long).await), (413, "M_TOO_LARGE"));
    assert_eq!(world.put(&url, &alice, json!({ "avatar_url": "" })).await, (200, json!({})));
    assert_eq!(read(&path).await, (200, json!({ "displayname": "Dr. Alice" })));
    for nobody in ["/v3/profile/@x:hospital-a.example", "/v3/profile/@alice:elsewhere.example"] {
        assert_eq!(code(&read(nobody).await), (404, "M_NOT_FOUND"));
    }
    assert_eq!(code(&read("/v3/profile/alice").await), (400, "M_INVALID_PARAM"));
}

#[tokio::test]
async fn a_new_name_reaches_the_rooms() {
    let world = world().await;
    let alice = world.client("alice").await;
    let room = world.room(&alice).await;
    let path = format!("/v3/profile/{}/displayname", alice.user);
    assert_eq!(world.put(&path, &alice, json!({ "displayname": "Dr. Alice" })).await.0, 200);
    let members = world.members(&room).await;
    assert_eq!((members.len(), &members[0]["displayname"]), (1, &json!("Dr. Alice")));
}
