//! What is told of a room: timeline, counts, names.

use wardroom_testkit::{Actor, bodies, events, json, v3};

use super::{Connection, all, room};
use crate::ward;

#[test]
fn a_higher_limit_brings_the_events_before() {
    let alice = ward().user("alice");
    let id = alice.create_room(json!({}));
    for text in ["A", "B", "C"] {
        alice.say(&id, text);
    }
    let mut connection = Connection::new(&alice, json!({ "lists": { "a": all(9, 1) } }));
    let first = connection.next();
    assert_eq!(bodies(events(&room(&first, &id)["timeline"])), ["C"]);
    alice.say(&id, "D");
    connection.next();
    // The client has the two newest: two more of limit bring nothing.
    connection.ask_for(json!({ "lists": { "a": all(9, 2) } }));
    assert!(room(&connection.next(), &id).is_null());
    connection.ask_for(json!({ "lists": { "a": all(9, 4) } }));
    let answer = connection.next();
    let told = room(&answer, &id);
    assert_eq!(bodies(events(&told["timeline"])), ["A", "B", "C", "D"], "{answer}");
    assert_eq!((&told["unstable_expanded_timeline"], &told["num_live"]), (&json!(true), &json!(0)));
    assert!(told["initial"].is_null() && told["limited"] == true, "{answer}");
    let page = alice.try_messages(&id, "b", told["prev_batch"].as_str(), "1").ok();
    assert_ne!(page["chunk"][0]["content"]["body"], "A");
    assert!(page["chunk"][0]["state_key"].is_string(), "what came before A: {page}");
    assert!(room(&connection.next(), &id).is_null(), "once is enough");
    connection.ask_for(json!({ "lists": { "a": all(9, 100) } }));
    let whole = connection.next();
    assert!(room(&whole, &id)["limited"].is_null(), "{whole}");
    assert_eq!(room(&whole, &id)["timeline"][0]["type"], "m.room.create");
    connection.ask_for(json!({ "lists": { "a": all(9, 50) } }));
    assert!(room(&connection.next(), &id).is_null(), "the client has all there is");
}

#[test]
fn a_gap_is_limited_and_can_be_paged_over() {
    let alice = ward().user("alice");
    let id = alice.create_room(json!({}));
    let mut connection = Connection::new(&alice, json!({ "lists": { "a": all(9, 2) } }));
    connection.next();
    for text in ["A", "B", "C"] {
        alice.say(&id, text);
    }
    let answer = connection.next();
    let told = room(&answer, &id);
    assert_eq!(bodies(events(&told["timeline"])), ["B", "C"]);
    assert_eq!((&told["limited"], &told["num_live"]), (&json!(true), &json!(2)));
    let page = alice.try_messages(&id, "b", told["prev_batch"].as_str(), "1").ok();
    assert_eq!(bodies(events(&page["chunk"])), ["A"]);
}

#[test]
fn members_and_heroes_are_told_when_they_change() {
    let (alice, bob, carol) = (ward().user("alice"), ward().user("bob"), ward().user("carol"));
    bob.put(v3(&["profile", &bob.id, "displayname"]), json!({ "displayname": "Dr Bob" })).ok();
    let id = alice.create_public_room(&[&bob]);
    let mut connection = Connection::of_all(&alice);
    let first = connection.next();
    let told = room(&first, &id);
    assert_eq!((&told["joined_count"], &told["invited_count"]), (&json!(2), &json!(0)));
    assert_eq!(told["heroes"], json!([{ "user_id": bob.id, "displayname": "Dr Bob" }]), "{first}");
    assert!(told.get("name").is_none() && told.get("is_dm").is_none());
    alice.say(&id, "no change");
    assert!(room(&connection.next(), &id).get("joined_count").is_none());
    alice.invite(&id, &carol);
    let answer = connection.next();
    let told = room(&answer, &id);
    assert_eq!((&told["joined_count"], &told["invited_count"]), (&json!(2), &json!(1)), "{answer}");
    assert_eq!(told["heroes"].as_array().map(Vec::len), Some(2));
    alice.set_state(&id, "m.room.name", "", json!({ "name": "Ward 7" }));
    let answer = connection.next();
    assert!(room(&answer, &id).get("heroes").is_none() && room(&answer, &id)["name"] == "Ward 7", "{answer}");
}

#[test]
fn unread_counts_follow_what_is_read() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let id = alice.create_public_room(&[&bob]);
    let mut connection = Connection::of_all(&alice);
    assert_eq!(room(&connection.next(), &id)["notification_count"], 0);
    let message = bob.say(&id, "hello");
    let answer = connection.next();
    let counts = |told: &wardroom_testkit::Value| (told["notification_count"].clone(), told["highlight_count"].clone());
    assert_eq!(counts(room(&answer, &id)), (json!(1), json!(0)), "{answer}");
    alice.other_device().post(v3(&["rooms", &id, "receipt", "m.read", &message]), json!({})).ok();
    let answer = connection.next();
    assert_eq!(counts(room(&answer, &id)), (json!(0), json!(0)), "{answer}");
    assert!(room(&answer, &id)["timeline"].is_null());
}

#[test]
fn own_events_carry_their_transaction() {
    let alice = ward().user("alice");
    let id = alice.create_room(json!({}));
    let mut connection = Connection::of_all(&alice);
    connection.next();
    alice.try_send(&id, "m.room.message", "txn-7", wardroom_testkit::text("hi")).ok();
    let answer = connection.next();
    assert_eq!(room(&answer, &id)["timeline"][0]["unsigned"]["transaction_id"], "txn-7", "{answer}");
}

#[test]
fn direct_chats_are_marked() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let id = alice.create_room(json!({}));
    let mut connection = Connection::of_all(&alice);
    connection.next();
    let direct = v3(&["user", &alice.id, "account_data", "m.direct"]);
    alice.put(direct.clone(), json!({ &bob.id: [id, "junk", 7], "@x:y": "junk" })).ok();
    let answer = connection.next();
    assert_eq!(room(&answer, &id)["is_dm"], true, "{answer}");
    assert_eq!(room(&Connection::of_all(&alice).next(), &id)["is_dm"], true);
    alice.put(direct, json!({})).ok();
    let answer = connection.next();
    assert_eq!(room(&answer, &id)["is_dm"], false, "{answer}");
}
