//! `/receipt` and `/read_markers`.

use wardroom_testkit::{Actor, Reply, User, Value, events, joined, json, v3};

use crate::{SOON, ward};

fn receipt(user: &User, room: &str, kind: &str, event: &str) -> Reply {
    user.post(v3(&["rooms", room, "receipt", kind, event]), json!({}))
}

/// The receipts of a room in a sync answer: the content of its `m.receipt` event.
fn receipts(sync: &Value, room: &str) -> Value {
    let ephemeral = events(&joined(sync, room)["ephemeral"]["events"]);
    ephemeral.iter().find(|event| event["type"] == "m.receipt").map_or(Value::Null, |event| event["content"].clone())
}

#[test]
fn a_read_receipt_reaches_the_room() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_public_room(&[&bob]);
    let message = alice.say(&room, "read me");
    let mut sync = ward().follow(&alice);
    receipt(&bob, &room, "m.read", &message).ok();
    let answer = sync.until("the receipt", SOON, |sync| !receipts(sync, &room).is_null());
    let of_bob = &receipts(&answer, &room)[&message]["m.read"][&bob.id];
    assert!(of_bob["ts"].as_u64().is_some_and(|ms| ms > 1_600_000_000_000), "{answer}");
    assert!(of_bob.get("thread_id").is_none(), "{answer}");
    assert_eq!(receipts(&alice.initial_sync(), &room)[&message]["m.read"][&bob.id]["ts"], of_bob["ts"]);

    let newer = alice.say(&room, "and me");
    receipt(&bob, &room, "m.read", &newer).ok();
    let everything = receipts(&alice.initial_sync(), &room);
    assert!(everything[&newer]["m.read"].get(&bob.id).is_some(), "{everything}");
    assert!(everything[&message]["m.read"].get(&bob.id).is_none(), "only the newest counts: {everything}");
}

#[test]
fn a_receipt_does_not_go_backwards() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_public_room(&[&bob]);
    let (older, newer) = (alice.say(&room, "one"), alice.say(&room, "two"));
    receipt(&bob, &room, "m.read", &newer).ok();
    receipt(&bob, &room, "m.read", &older).ok();
    let everything = receipts(&alice.initial_sync(), &room);
    assert!(everything[&newer]["m.read"].get(&bob.id).is_some(), "{everything}");
}

#[test]
fn a_private_receipt_is_for_its_owner_only() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let desk = bob.other_device();
    let room = alice.create_public_room(&[&bob]);
    let message = alice.say(&room, "read me");
    let mut own = ward().follow(&desk);
    let mut other = ward().follow(&alice);
    receipt(&bob, &room, "m.read.private", &message).ok();
    let answer = own.until("the private receipt", SOON, |sync| !receipts(sync, &room).is_null());
    assert!(receipts(&answer, &room)[&message]["m.read.private"].get(&bob.id).is_some(), "{answer}");
    // Something that comes after it: by then the receipt would have shown.
    bob.say(&room, "marker");
    let seen = other.until("the marker", SOON, |sync| !joined(sync, &room).is_null());
    assert!(receipts(&seen, &room).is_null(), "{seen}");
    assert!(!alice.initial_sync().to_string().contains("m.read.private"));
}

#[test]
fn receipts_of_threads_are_kept_apart() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_public_room(&[&bob]);
    let root = alice.say(&room, "root");
    let in_thread = json!({
        "msgtype": "m.text", "body": "in the thread", "m.relates_to": { "rel_type": "m.thread", "event_id": root },
    });
    let reply =
        alice.try_send(&room, "m.room.message", &wardroom_testkit::unique("txn"), in_thread).ok()["event_id"].clone();
    let post = |event: &str, thread: Value| {
        bob.post(v3(&["rooms", &room, "receipt", "m.read", event]), json!({ "thread_id": thread }))
    };
    post(reply.as_str().unwrap(), json!(root)).ok();
    post(&root, json!("main")).ok();
    let everything = receipts(&alice.initial_sync(), &room);
    assert_eq!(everything[reply.as_str().unwrap()]["m.read"][&bob.id]["thread_id"], root.as_str(), "{everything}");
    assert_eq!(everything[&root]["m.read"][&bob.id]["thread_id"], "main", "{everything}");
    post(&root, json!("")).refused(400, "M_INVALID_PARAM");
    post(&root, json!(7)).refused_with_one_of(400, &["M_INVALID_PARAM", "M_BAD_JSON"]);
}

#[test]
fn the_fully_read_marker_is_the_users_own_account_data() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_public_room(&[&bob]);
    let message = bob.say(&room, "read me");
    let mut sync = ward().follow(&alice);
    alice.post(v3(&["rooms", &room, "read_markers"]), json!({ "m.fully_read": message, "m.read": message })).ok();
    let mut marker = Value::Null;
    let mut receipt_seen = false;
    sync.until("marker and receipt", SOON, |sync| {
        let data = events(&joined(sync, &room)["account_data"]["events"]);
        if let Some(event) = data.iter().find(|event| event["type"] == "m.fully_read") {
            marker = event["content"]["event_id"].clone();
        }
        receipt_seen |= !receipts(sync, &room)[&message]["m.read"][&alice.id].is_null();
        marker.is_string() && receipt_seen
    });
    assert_eq!(marker, message.as_str());
    assert!(receipts(&bob.initial_sync(), &room)[&message]["m.read"].get(&alice.id).is_some());
    assert!(!bob.initial_sync().to_string().contains("m.fully_read"), "nobody else sees the marker");

    let later = bob.say(&room, "and me");
    receipt(&alice, &room, "m.fully_read", &later).ok();
    let data = alice.get(v3(&["user", &alice.id, "rooms", &room, "account_data", "m.fully_read"])).ok();
    assert_eq!(data["event_id"], later.as_str());
}

#[test]
fn receipts_that_are_none_are_refused() {
    let (alice, stranger) = (ward().user("alice"), ward().user("stranger"));
    let room = alice.create_room(json!({}));
    let message = alice.say(&room, "hello");
    receipt(&stranger, &room, "m.read", &message).refused(403, "M_FORBIDDEN");
    receipt(&alice, &room, "m.seen", &message).refused(400, "M_INVALID_PARAM");
    let unknown = receipt(&alice, &room, "m.read", "$unknown");
    assert!([400, 404].contains(&unknown.status), "{}", unknown.story());
    let markers = |user: &User, body| user.post(v3(&["rooms", &room, "read_markers"]), body);
    markers(&stranger, json!({ "m.read": message })).refused(403, "M_FORBIDDEN");
    markers(&alice, json!({ "m.read": 7 })).refused(400, "M_BAD_JSON");
    assert!(receipts(&alice.initial_sync(), &room).is_null());
}
