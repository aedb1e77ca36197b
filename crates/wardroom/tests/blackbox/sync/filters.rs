//! Filters, inline and stored.

use std::time::Duration;

use wardroom_testkit::{Actor, User, Value, bodies, event_ids, events, find_event, joined, json, timeline, unique, v3};

use crate::ward;

fn sync(user: &User, filter: &Value) -> Value {
    user.try_sync(None, Duration::ZERO, Some(&filter.to_string())).ok()
}

#[test]
fn a_stored_filter_is_named_by_its_id() {
    let alice = ward().user("alice");
    let room = alice.create_room(json!({ "topic": "hidden" }));
    alice.say(&room, "shown");
    let filter = json!({ "room": { "timeline": { "types": ["m.room.message"] }, "state": { "types": [] } } });
    let id =
        alice.post(v3(&["user", &alice.id, "filter"]), filter.clone()).ok()["filter_id"].as_str().unwrap().to_owned();
    let stored = alice.try_sync(None, Duration::ZERO, Some(&id)).ok();
    let inline = sync(&alice, &filter);
    assert_eq!(event_ids(timeline(&stored, &room)), event_ids(timeline(&inline, &room)));
    assert_eq!(timeline(&stored, &room).len(), 1, "{stored}");
    assert!(events(&joined(&stored, &room)["state"]["events"]).is_empty(), "{stored}");
}

#[test]
fn timelines_are_filtered_by_type_sender_and_url() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_public_room(&[&bob]);
    alice.say(&room, "from alice");
    bob.say(&room, "from bob");
    alice
        .try_send(
            &room,
            "m.room.message",
            &unique("txn"),
            json!({ "msgtype": "m.file", "body": "file", "url": "mxc://x/y" }),
        )
        .ok();
    let said = |timeline_filter: Value| {
        let answer = sync(&alice, &json!({ "room": { "timeline": timeline_filter } }));
        bodies(timeline(&answer, &room))
    };
    assert_eq!(said(json!({ "senders": [bob.id] })), ["from bob"]);
    assert_eq!(said(json!({ "not_senders": [bob.id] })), ["from alice", "file"]);
    assert_eq!(said(json!({ "contains_url": true })), ["file"]);
    assert_eq!(said(json!({ "types": ["m.room.message"], "contains_url": false })), ["from alice", "from bob"]);
    assert_eq!(said(json!({ "types": ["m.room.*"] })).len(), 3);
    assert_eq!(said(json!({ "types": ["m.room.message"], "not_types": ["m.room.*"] })), [""; 0], "not_types wins");
    assert_eq!(said(json!({ "types": [] })), [""; 0]);
}

#[test]
fn rooms_are_chosen() {
    let alice = ward().user("alice");
    let (one, two) = (alice.create_room(json!({})), alice.create_room(json!({})));
    let shown = |filter: Value| {
        let answer = sync(&alice, &filter);
        [&one, &two].map(|room| !timeline(&answer, room).is_empty())
    };
    assert_eq!(shown(json!({})), [true, true]);
    assert_eq!(shown(json!({ "room": { "rooms": [one] } })), [true, false]);
    assert_eq!(shown(json!({ "room": { "not_rooms": [one] } })), [false, true]);
    assert_eq!(shown(json!({ "room": { "rooms": [one], "not_rooms": [one] } })), [false, false]);
    let answer = sync(&alice, &json!({ "room": { "timeline": { "not_rooms": [one] } } }));
    assert!(timeline(&answer, &one).is_empty() && !timeline(&answer, &two).is_empty(), "{answer}");
}

#[test]
fn state_and_account_data_are_filtered() {
    let alice = ward().user("alice");
    let room = alice.create_room(json!({ "name": "Ward 7", "topic": "Handover" }));
    for kind in ["example.one", "example.two"] {
        alice.put(v3(&["user", &alice.id, "account_data", kind]), json!({ "kind": kind })).ok();
        alice.put(v3(&["user", &alice.id, "rooms", &room, "account_data", kind]), json!({ "kind": kind })).ok();
    }
    let answer = sync(
        &alice,
        &json!({
            "account_data": { "types": ["example.one"] },
            "room": { "timeline": { "limit": 0 }, "state": { "types": ["m.room.name"] }, "account_data": { "not_types": ["example.one"] } },
        }),
    );
    let data = events(&answer["account_data"]["events"]);
    assert!(data.len() == 1 && data[0]["type"] == "example.one", "{data:?}");
    let shown = joined(&answer, &room);
    let state = events(&shown["state"]["events"]);
    assert!(state.len() == 1 && state[0]["type"] == "m.room.name", "{state:?}");
    let in_room = events(&shown["account_data"]["events"]);
    assert!(
        find_event(in_room, "example.two", None).is_some() && find_event(in_room, "example.one", None).is_none(),
        "{in_room:?}"
    );
}

#[test]
fn a_filter_that_hides_everything_still_moves_on() {
    let alice = ward().user("alice");
    let room = alice.create_room(json!({}));
    let filter = json!({ "room": { "timeline": { "types": ["example.none"] } } });
    let mut sync = wardroom_testkit::Follower::start_filtered(&alice, Some(&filter));
    alice.say(&room, "hidden");
    let answer = sync.now();
    assert!(timeline(&answer, &room).is_empty(), "{answer}");
    alice.try_send(&room, "example.none", &unique("txn"), json!({})).ok();
    assert_eq!(timeline(&sync.now(), &room).len(), 1);
}
