//! Typing, receipts and presence between two Wardrooms.

use wardroom_testkit::{Actor as _, Value, events, json, v3};

use crate::{
    SOON,
    federation::sites::{Site, join_via, public_room, sees},
};

/// The content of an ephemeral event of a room in a sync.
fn ephemeral<'a>(sync: &'a Value, room: &str, kind: &str) -> Option<&'a Value> {
    let list = sync["rooms"]["join"][room]["ephemeral"]["events"].as_array()?;
    list.iter().find(|event| event["type"] == kind).map(|event| &event["content"])
}

#[test]
fn typing_is_shown_on_the_other_server() {
    let (here, there) = (Site::start(), Site::named());
    let (alice, bob) = (here.user("alice"), there.user("bob"));
    let room = public_room(&alice, "12");
    join_via(&bob, &room, &here);
    let typing = v3(&["rooms", &room, "typing", &bob.id]);
    let mut follower = here.server.follow(&alice);
    bob.put(typing.clone(), json!({ "typing": true, "timeout": 60_000 })).ok();
    follower.until("bob types", SOON, |sync| {
        ephemeral(sync, &room, "m.typing").is_some_and(|content| content["user_ids"] == json!([bob.id]))
    });
    bob.put(typing, json!({ "typing": false })).ok();
    follower.until("bob has stopped", SOON, |sync| {
        ephemeral(sync, &room, "m.typing").is_some_and(|content| content["user_ids"] == json!([]))
    });
}

#[test]
fn public_receipts_are_shown_on_the_other_server() {
    let (here, there) = (Site::start(), Site::named());
    let (alice, bob) = (here.user("alice"), there.user("bob"));
    let room = public_room(&alice, "11");
    join_via(&bob, &room, &here);
    let said = alice.say(&room, "read this");
    sees(&bob, &room, &said);
    let mut follower = here.server.follow(&alice);
    bob.post(v3(&["rooms", &room, "receipt", "m.read.private", &said]), json!({})).ok();
    bob.post(v3(&["rooms", &room, "receipt", "m.read", &said]), json!({ "thread_id": "main" })).ok();
    let told = follower.until("bob has read", SOON, |sync| ephemeral(sync, &room, "m.receipt").is_some());
    let receipt = &ephemeral(&told, &room, "m.receipt").unwrap()[&said];
    assert_eq!(receipt["m.read"][&bob.id]["thread_id"], "main");
    assert!(receipt["m.read"][&bob.id]["ts"].is_u64(), "{receipt}");
    assert!(receipt["m.read.private"].is_null(), "private receipts stay where they are: {receipt}");
}

#[test]
fn presence_is_shown_on_the_other_server() {
    let (here, there) = (Site::start(), Site::named());
    let (alice, bob) = (here.user("alice"), there.user("bob"));
    let room = public_room(&alice, "12");
    // Both are there before they meet.
    bob.initial_sync();
    let mut follower = here.server.follow(&alice);
    join_via(&bob, &room, &here);
    let of_bob = |sync: &Value| {
        let list = events(&sync["presence"]["events"]);
        list.iter().find(|event| event["sender"] == bob.id.as_str()).map(|event| event["content"].clone())
    };
    follower.until("bob is there", SOON, |sync| of_bob(sync).is_some_and(|content| content["presence"] == "online"));
    let status = v3(&["presence", &bob.id, "status"]);
    bob.put(status.clone(), json!({ "presence": "unavailable", "status_msg": "In theatre" })).ok();
    let told = follower
        .until("bob is busy", SOON, |sync| of_bob(sync).is_some_and(|content| content["presence"] == "unavailable"));
    assert_eq!(of_bob(&told).unwrap()["status_msg"], "In theatre");
    assert_eq!(alice.get(status).ok()["status_msg"], "In theatre");
    // And the other way round: alice was there when bob came.
    let mut follower = there.server.follow(&bob);
    alice.put(v3(&["presence", &alice.id, "status"]), json!({ "presence": "online", "status_msg": "On call" })).ok();
    follower.until("alice is there", SOON, |sync| {
        let list = events(&sync["presence"]["events"]);
        list.iter().any(|event| event["sender"] == alice.id.as_str() && event["content"]["status_msg"] == "On call")
    });
}
