//! Extensions, one by one.

use wardroom_testkit::{Actor, Value, events, json, unique, v3};

use super::{Connection, all, told};
use crate::ward;

fn with(extensions: &Value) -> Value {
    json!({ "lists": { "a": all(9, 5) }, "extensions": extensions })
}

/// The types of events, in order of their names.
fn types(list: &Value) -> Vec<&str> {
    let mut types: Vec<_> = events(list).iter().filter_map(|event| event["type"].as_str()).collect();
    types.sort_unstable();
    types
}

#[test]
fn nothing_is_told_that_is_not_asked_for() {
    let alice = ward().user("alice");
    alice.create_room(json!({}));
    let off = json!({ "account_data": { "enabled": false }, "receipts": {}, "typing": { "rooms": ["*"] } });
    let answer = Connection::new(&alice, with(&off)).next();
    assert_eq!(answer["extensions"], json!({}), "{answer}");
}

#[test]
fn account_data_comes_globally_and_with_rooms() {
    let alice = ward().user("alice");
    let (id, other) = (alice.create_room(json!({})), alice.create_room(json!({})));
    let global = |kind: &str| v3(&["user", &alice.id, "account_data", kind]);
    let of_room = |id: &str, kind: &str| v3(&["user", &alice.id, "rooms", id, "account_data", kind]);
    alice.put(global("org.example.a"), json!({ "n": 1 })).ok();
    alice.put(of_room(&id, "org.example.r"), json!({})).ok();
    let mut connection = Connection::new(&alice, with(&json!({ "account_data": { "enabled": true } })));
    let first = connection.next();
    let data = &first["extensions"]["account_data"];
    assert!(types(&data["global"]).contains(&"org.example.a") && types(&data["global"]).contains(&"m.push_rules"));
    assert_eq!(types(&data["rooms"][&id]), ["org.example.r"], "{first}");
    assert!(data["rooms"].get(&other).is_none());
    alice.put(global("org.example.b"), json!({})).ok();
    alice.put(of_room(&other, "org.example.s"), json!({})).ok();
    let answer = connection.next();
    let data = &answer["extensions"]["account_data"];
    assert_eq!((types(&data["global"]), types(&data["rooms"][&other])), (vec!["org.example.b"], vec!["org.example.s"]));
    assert!(data["rooms"].get(&id).is_none() && told(&answer).is_empty(), "{answer}");
    assert_eq!(connection.next()["extensions"], json!({}));
    // A room that is out of sight when its data change tells all of them when it comes back.
    alice.say(&other, "on top");
    connection.ask_for(json!({ "lists": { "a": all(0, 5) }, "extensions": { "account_data": { "enabled": true } } }));
    alice.put(of_room(&id, "org.example.t"), json!({})).ok();
    assert!(connection.next()["extensions"]["account_data"]["rooms"].get(&id).is_none());
    connection.ask_for(with(&json!({ "account_data": { "enabled": true } })));
    let answer = connection.next();
    assert_eq!(types(&answer["extensions"]["account_data"]["rooms"][&id]), ["org.example.r", "org.example.t"]);
    // Switched off for a while, nothing is missed.
    connection.ask_for(with(&json!({})));
    alice.put(global("org.example.c"), json!({})).ok();
    connection.next();
    connection.ask_for(with(&json!({ "account_data": { "enabled": true, "lists": [], "rooms": [] } })));
    let answer = connection.next();
    assert_eq!(types(&answer["extensions"]["account_data"]["global"]), ["org.example.c"], "{answer}");
}

#[test]
fn receipts_come_with_their_events_and_when_they_move() {
    let (alice, bob, carol) = (ward().user("alice"), ward().user("bob"), ward().user("carol"));
    let id = alice.create_public_room(&[&bob, &carol]);
    let read = |user: &wardroom_testkit::User, kind: &str, event: &str| {
        user.post(v3(&["rooms", &id, "receipt", kind, event]), json!({})).ok();
    };
    let old = alice.say(&id, "old");
    read(&bob, "m.read", &old);
    read(&alice, "m.read.private", &old);
    (0..6).for_each(|_| drop(carol.say(&id, "more")));
    let new = alice.say(&id, "new");
    read(&carol, "m.read", &new);
    let mut connection = Connection::new(&alice, with(&json!({ "receipts": { "enabled": true } })));
    let first = connection.next();
    let content = &first["extensions"]["receipts"]["rooms"][&id]["content"];
    assert_eq!(first["extensions"]["receipts"]["rooms"][&id]["type"], "m.receipt", "{first}");
    assert!(content[&new]["m.read"][&carol.id]["ts"].is_u64(), "{first}");
    assert!(content[&old]["m.read.private"][&alice.id].is_object(), "one's own: {first}");
    assert!(content[&old].get("m.read").is_none(), "history that is not told: {first}");
    read(&bob, "m.read", &new);
    read(&bob, "m.read.private", &new);
    let answer = connection.next();
    let content = &answer["extensions"]["receipts"]["rooms"][&id]["content"];
    assert_eq!(content.as_object().map(|content| content.len()), Some(1), "{answer}");
    assert!(content[&new]["m.read"][&bob.id].is_object() && content[&new].get("m.read.private").is_none());
    assert!(connection.next()["extensions"].get("receipts").is_none());
    // A timeline that grows backwards brings the receipts of its events.
    connection.ask_for(json!({ "lists": { "a": all(9, 50) }, "extensions": { "receipts": { "enabled": true } } }));
    bob.say(&id, "answer");
    assert!(connection.next().to_string().contains("receipts"));
}

#[test]
fn typing_is_told_where_it_is_asked_for() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let (id, other) = (alice.create_public_room(&[&bob]), alice.create_public_room(&[&bob]));
    let typing = |id: &str, on: bool| {
        bob.put(v3(&["rooms", id, "typing", &bob.id]), json!({ "typing": on, "timeout": 60_000 })).ok();
    };
    typing(&id, true);
    typing(&other, true);
    let mut body = json!({ "lists": { "a": all(9, 1) }, "extensions": { "typing": { "enabled": true, "lists": [] } } });
    body["room_subscriptions"] = json!({ &id: { "timeline_limit": 1 } });
    let mut connection = Connection::new(&alice, body);
    let first = connection.next();
    let rooms = &first["extensions"]["typing"]["rooms"];
    assert_eq!(rooms[&id], json!({ "type": "m.typing", "content": { "user_ids": [bob.id] } }), "{first}");
    assert!(rooms.get(&other).is_none());
    typing(&id, false);
    let answer = connection.next();
    assert_eq!(answer["extensions"]["typing"]["rooms"][&id]["content"]["user_ids"], json!([]), "{answer}");
    assert!(connection.next()["extensions"].get("typing").is_none());
    bob.try_send(&id, "m.room.message", &unique("t"), wardroom_testkit::text("hi")).ok();
    assert!(connection.next()["extensions"].get("typing").is_none(), "nothing of it changed");
}

#[test]
fn subscriptions_to_threads_are_told_and_the_rest_can_be_paged() {
    let alice = ward().user("alice");
    let id = alice.create_room(json!({}));
    let roots: Vec<String> = (0..3).map(|number| alice.say(&id, &number.to_string())).collect();
    let thread = |root: &str| {
        let path = "/_matrix/client/unstable/io.element.msc4306/rooms";
        let (id, root) = (wardroom_testkit::encode(&id), wardroom_testkit::encode(root));
        wardroom_testkit::raw(&format!("{path}/{id}/thread/{root}/subscription"))
    };
    let name = "io.element.msc4308.thread_subscriptions";
    let mut connection = Connection::new(&alice, json!({ "extensions": { name: { "enabled": true, "limit": 2 } } }));
    assert_eq!(connection.next()["extensions"], json!({}));
    roots.iter().for_each(|root| drop(alice.put(thread(root), json!({})).ok()));
    let since = connection.pos.clone().unwrap();
    let answer = connection.next();
    let told = &answer["extensions"][name];
    let subscribed = told["subscribed"][&id].as_object().unwrap_or_else(|| panic!("{answer}"));
    assert!(subscribed.len() == 2 && subscribed.contains_key(&roots[2]), "the newest: {answer}");
    assert!(subscribed[&roots[2]]["automatic"] == false && subscribed[&roots[2]]["bump_stamp"].is_u64());
    let changes = wardroom_testkit::raw("/_matrix/client/unstable/io.element.msc4308/thread_subscriptions");
    let page = changes.query("dir", "b").query("from", told["prev_batch"].as_str().unwrap()).query("to", &since);
    let page = alice.get(page).ok();
    assert!(page["subscribed"][&id][&roots[0]].is_object() && page["subscribed"][&id].as_object().unwrap().len() == 1);
    alice.delete(thread(&roots[1])).ok();
    let answer = connection.next();
    assert!(answer["extensions"][name]["unsubscribed"][&id][&roots[1]]["bump_stamp"].is_u64(), "{answer}");
    assert_eq!(connection.next()["extensions"], json!({}));
}

#[test]
fn events_come_with_what_relates_to_them() {
    let alice = ward().user("alice");
    let id = alice.create_room(json!({}));
    let root = alice.say(&id, "root");
    let reply =
        json!({ "msgtype": "m.text", "body": "reply", "m.relates_to": { "rel_type": "m.thread", "event_id": root } });
    alice.try_send(&id, "m.room.message", &unique("txn"), reply).ok();
    let answer = Connection::new(&alice, json!({ "lists": { "a": all(9, 2) } })).next();
    let told = events(&answer["rooms"][&id]["timeline"]);
    assert_eq!(told[0]["unsigned"]["m.relations"]["m.thread"]["count"], 1, "{answer}");
}
