//! Messages, state and redactions.

use serde_json::{Value, json};

use crate::world::{World, refused};

#[tokio::test]
async fn a_retry_is_the_same_event() {
    let world = World::new().await;
    let alice = world.user("alice").await;
    let room = alice.room(json!({})).await;
    let first = alice.say(&room, "1", "hello").await;
    assert_eq!(alice.say(&room, "1", "hello").await, first);
    assert_ne!(alice.say(&room, "2", "hello").await, first);
    let event = alice.get(&format!("rooms/{room}/event/{first}")).await.1;
    assert_eq!((&event["room_id"], &event["event_id"]), (&json!(room), &json!(first)));
    assert_eq!(event["unsigned"]["transaction_id"], "1");
    assert_eq!(event["content"], json!({"msgtype": "m.text", "body": "hello"}));
}

#[tokio::test]
async fn bad_content_is_refused_by_name() {
    let world = World::new().await;
    let (alice, bob) = (world.user("alice").await, world.user("bob").await);
    let room = alice.room(json!({})).await;
    let large = json!({"body": "x".repeat(66_000)}).to_string();
    let cases = [
        ("[1]", 400, "M_BAD_JSON", "object"),
        ("\"x\"", 400, "M_BAD_JSON", "object"),
        ("null", 400, "M_BAD_JSON", "object"),
        ("{\"a\":", 400, "M_NOT_JSON", ""),
        ("{\"a\": 1} x", 400, "M_NOT_JSON", ""),
        ("{\"a\": [0, {\"b\": 1.5}]}", 400, "M_BAD_JSON", "content.a[1].b"),
        ("{\"a\": 1e300}", 400, "M_BAD_JSON", "content.a"),
        ("{\"a\": 9007199254740992}", 400, "M_BAD_JSON", "content.a"),
        ("{\"a\": -9007199254740992}", 400, "M_BAD_JSON", "content.a"),
        (&large, 413, "M_TOO_LARGE", "65536"),
    ];
    for (content, status, errcode, named) in cases {
        for path in ["send/m.room.message/1", "state/x.y", "state/x.y/", "state/x.y/key"] {
            let answer = alice.raw("PUT", &format!("rooms/{room}/{path}"), content).await;
            refused(answer, status, errcode, named);
        }
    }
    let path = format!("rooms/{room}/send/m.room.message/2");
    refused(bob.put(&path, json!({"body": "x"})).await, 403, "M_FORBIDDEN", "");
    let unknown = "rooms/!no:a.example/send/m.room.message/2";
    refused(alice.put(unknown, json!({"body": "x"})).await, 403, "M_FORBIDDEN", "");
    refused(alice.put("rooms/no/send/m.room.message/2", json!({})).await, 400, "M_INVALID_PARAM", "room_id");
}

#[tokio::test]
async fn state_is_written_and_read_in_every_form_of_the_path() {
    let world = World::new().await;
    let alice = world.user("alice").await;
    let room = alice.room(json!({})).await;
    for (path, number) in [("state/x.y", 1), ("state/x.y/", 2), ("state/x.y/key", 3), ("state/x.y/a%2Fb", 4)] {
        let path = format!("rooms/{room}/{path}");
        let (status, sent) = alice.put(&path, json!({"n": number})).await;
        assert_eq!(status, 200, "{sent}");
        assert_eq!(alice.get(&path).await, (200, json!({"n": number})));
        let event = alice.get(&format!("{path}?format=event")).await.1;
        assert_eq!((&event["event_id"], &event["room_id"]), (&sent["event_id"], &json!(room)));
        assert_eq!(alice.get(&format!("{path}?format=content")).await.1, json!({"n": number}));
        refused(alice.get(&format!("{path}?format=x")).await, 400, "M_INVALID_PARAM", "format");
    }
    assert_eq!(alice.get(&format!("rooms/{room}/state/x.y/a%2Fb?format=event")).await.1["state_key"], "a/b");
    assert_eq!(alice.get(&format!("rooms/{room}/state/x.y")).await.1, json!({"n": 2}));
    refused(alice.get(&format!("rooms/{room}/state/x.z")).await, 404, "M_NOT_FOUND", "");
    refused(alice.get("rooms/!no:a.example/state/x.y").await, 403, "M_FORBIDDEN", "");
}

#[tokio::test]
async fn an_alias_in_state_must_lead_to_the_room() {
    let world = World::new().await;
    let alice = world.user("alice").await;
    let (room, path) = (alice.room(json!({})).await, "state/m.room.canonical_alias");
    let answer = alice.put(&format!("rooms/{room}/{path}"), json!({"alias": "#no:a.example"})).await;
    refused(answer, 400, "M_BAD_ALIAS", "#no:a.example");
    let answer = alice.put(&format!("rooms/{room}/{path}"), json!({"alt_aliases": ["no"]})).await;
    refused(answer, 400, "M_INVALID_PARAM", "no");
}

#[tokio::test]
async fn redactions_take_content_away_once() {
    let world = World::new().await;
    let (alice, bob) = (world.user("alice").await, world.user("bob").await);
    let room = alice.room(json!({"preset": "public_chat"})).await;
    bob.join(&room).await;
    let (event, other) = (alice.say(&room, "1", "secret").await, alice.say(&room, "2", "other").await);
    let path = format!("rooms/{room}/redact/{event}/7");
    refused(bob.put(&path, json!({})).await, 403, "M_FORBIDDEN", "");
    let (status, redaction) = alice.put(&path, json!({"reason": "oops"})).await;
    assert_eq!(status, 200, "{redaction}");
    assert_eq!(alice.put(&path, json!({"reason": "oops"})).await.1, redaction);
    let seen = bob.get(&format!("rooms/{room}/event/{event}")).await.1;
    assert_eq!(seen["content"], json!({}));
    assert_eq!(seen["unsigned"]["redacted_because"]["event_id"], redaction["event_id"]);
    let empty = alice.raw("PUT", &format!("rooms/{room}/redact/{other}/8"), "").await;
    assert_eq!(empty.0, 200);
    refused(
        alice.put(&format!("rooms/{room}/redact/$no/9"), Value::Object(Default::default())).await,
        404,
        "M_NOT_FOUND",
        "",
    );
    refused(alice.put(&path.replace("/7", "/10"), json!({"reason": 5})).await, 400, "M_BAD_JSON", "reason");
}
