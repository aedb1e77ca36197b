//! History, single events, members and state.

use serde_json::{Value, json};

use crate::world::{User, World, refused};

async fn bodies(user: &User, path: &str) -> (Vec<String>, Option<String>) {
    let (status, page) = user.get(path).await;
    assert_eq!(status, 200, "{page}");
    assert!(page["start"].is_string());
    let chunk = page["chunk"].as_array().unwrap();
    let bodies = chunk.iter().filter_map(|event| Some(event["content"]["body"].as_str()?.to_owned()));
    (bodies.collect(), page["end"].as_str().map(str::to_owned))
}

#[tokio::test]
async fn history_is_read_in_pages_both_ways() {
    let world = World::new().await;
    let alice = world.user("alice").await;
    let room = alice.room(json!({})).await;
    for number in 0..7 {
        alice.say(&room, &number.to_string(), &number.to_string()).await;
    }
    let base = format!("rooms/{room}/messages?filter={{\"types\":[\"m.room.message\"]}}&limit=3");
    let (first, end) = bodies(&alice, &format!("{base}&dir=b")).await;
    assert_eq!(first, ["6", "5", "4"]);
    let (second, end) = bodies(&alice, &format!("{base}&dir=b&from={}", end.unwrap())).await;
    assert_eq!(second, ["3", "2", "1"]);
    let (third, _) = bodies(&alice, &format!("{base}&dir=f&from={}", end.unwrap())).await;
    assert_eq!(third, ["1", "2", "3"]);
    let (all, end) = bodies(&alice, &format!("rooms/{room}/messages?dir=f&limit=100000")).await;
    assert_eq!((all.len(), end), (7, None));
    let few = format!("rooms/{room}/messages?dir=b&limit=100&filter={{\"limit\":2}}");
    assert_eq!(bodies(&alice, &few).await.0, ["6", "5"]);
}

#[tokio::test]
async fn what_is_wrong_with_a_page_is_named() {
    let world = World::new().await;
    let (alice, bob) = (world.user("alice").await, world.user("bob").await);
    let room = alice.room(json!({})).await;
    let base = format!("rooms/{room}/messages");
    for (query, errcode, named) in [
        ("", "M_MISSING_PARAM", "dir"),
        ("?dir=x", "M_INVALID_PARAM", "dir"),
        ("?dir=b&from=junk", "M_INVALID_PARAM", "from"),
        ("?dir=b&to=junk", "M_INVALID_PARAM", "to"),
        ("?dir=b&limit=-1", "M_INVALID_PARAM", "limit"),
        ("?dir=b&limit=x", "M_INVALID_PARAM", "limit"),
        ("?dir=b&filter={", "M_INVALID_PARAM", "filter"),
        ("?dir=b&filter={\"types\":5}", "M_INVALID_PARAM", "filter"),
    ] {
        refused(alice.get(&format!("{base}{query}")).await, 400, errcode, named);
    }
    refused(bob.get(&format!("{base}?dir=b")).await, 403, "M_FORBIDDEN", "");
    refused(bob.get("rooms/!no:a.example/messages?dir=b").await, 403, "M_FORBIDDEN", "");
    refused(alice.get(&format!("rooms/{room}/members?at=junk")).await, 400, "M_INVALID_PARAM", "at");
}

#[tokio::test]
async fn context_has_both_sides_and_the_state() {
    let world = World::new().await;
    let alice = world.user("alice").await;
    let room = alice.room(json!({})).await;
    let mut events = Vec::new();
    for number in 0..5 {
        events.push(alice.say(&room, &number.to_string(), &number.to_string()).await);
    }
    let (status, context) = alice.get(&format!("rooms/{room}/context/{}?limit=4", events[2])).await;
    assert_eq!(status, 200, "{context}");
    let ids = |list: &Value| -> Vec<Value> {
        list.as_array().unwrap().iter().map(|event| event["event_id"].clone()).collect()
    };
    assert_eq!(context["event"]["event_id"], json!(events[2]));
    assert_eq!(ids(&context["events_before"]), [json!(events[1]), json!(events[0])]);
    assert_eq!(ids(&context["events_after"]), [json!(events[3]), json!(events[4])]);
    assert!(ids(&context["state"]).len() > 4);
    let alone = alice.get(&format!("rooms/{room}/context/{}?limit=0", events[2])).await.1;
    assert_eq!((&alone["events_before"], &alone["events_after"]), (&json!([]), &json!([])));
    let (start, end) = (context["start"].as_str().unwrap(), context["end"].as_str().unwrap());
    for (dir, from) in [("b", start), ("f", end)] {
        assert_eq!(alice.get(&format!("rooms/{room}/messages?dir={dir}&from={from}")).await.0, 200);
    }
    refused(alice.get(&format!("rooms/{room}/context/$no")).await, 404, "M_NOT_FOUND", "");
}

#[tokio::test]
async fn an_event_is_for_who_may_see_it() {
    let world = World::new().await;
    let (alice, bob) = (world.user("alice").await, world.user("bob").await);
    let (room, other) = (alice.room(json!({})).await, alice.room(json!({})).await);
    let event = alice.say(&room, "1", "secret").await;
    assert_eq!(alice.get(&format!("rooms/{room}/event/{event}")).await.0, 200);
    refused(bob.get(&format!("rooms/{room}/event/{event}")).await, 404, "M_NOT_FOUND", "");
    refused(alice.get(&format!("rooms/{other}/event/{event}")).await, 404, "M_NOT_FOUND", "");
    refused(alice.get(&format!("rooms/{room}/event/$no")).await, 404, "M_NOT_FOUND", "");
    refused(alice.get(&format!("rooms/{room}/event/no")).await, 400, "M_INVALID_PARAM", "event_id");
    refused(bob.get(&format!("rooms/{room}/state")).await, 403, "M_FORBIDDEN", "");
    refused(bob.get(&format!("rooms/{room}/members")).await, 403, "M_FORBIDDEN", "");
    refused(bob.get(&format!("rooms/{room}/joined_members")).await, 403, "M_FORBIDDEN", "");
}

#[tokio::test]
async fn members_are_listed_by_membership_and_time() {
    let world = World::new().await;
    let (alice, bob) = (world.user("alice").await, world.user("bob").await);
    let room = alice.room(json!({"preset": "public_chat"})).await;
    let before = alice.get(&format!("rooms/{room}/messages?dir=b&limit=1")).await.1["start"].clone();
    bob.join(&room).await;
    assert_eq!(bob.post(&format!("rooms/{room}/leave"), json!({})).await.0, 200);
    let count = async |query: &str| {
        let (status, members) = alice.get(&format!("rooms/{room}/members{query}")).await;
        assert_eq!(status, 200, "{members}");
        members["chunk"].as_array().unwrap().len()
    };
    assert_eq!(count("").await, 2);
    assert_eq!(count("?membership=join").await, 1);
    assert_eq!(count("?not_membership=join").await, 1);
    assert_eq!(count(&format!("?at={}", before.as_str().unwrap())).await, 1);
    let state = alice.get(&format!("rooms/{room}/state")).await.1;
    assert!(state.as_array().unwrap().iter().any(|event| event["type"] == "m.room.create"));
}
