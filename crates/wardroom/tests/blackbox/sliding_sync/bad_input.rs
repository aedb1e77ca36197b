//! Requests that are wrong, or too much.

use std::time::Duration;

use wardroom_testkit::{Actor, Body, Value, json, raw};

use super::{Connection, all};
use crate::ward;

const PATH: &str = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync";

#[test]
fn strangers_and_other_methods_are_refused() {
    ward().anonymous().post(raw(PATH), json!({})).refused(401, "M_MISSING_TOKEN");
    let alice = ward().user("alice");
    alice.get(raw(PATH)).refused(405, "M_UNRECOGNIZED");
    alice.request("POST", &raw(PATH), Body::from(json!([]))).refused_somehow();
    alice.post(raw(PATH).query("set_presence", "asleep"), json!({})).refused(400, "M_INVALID_PARAM");
    alice.post(raw(PATH).query("timeout", "soon"), json!({})).refused(400, "M_INVALID_PARAM");
    alice.post(raw(PATH), json!({})).ok();
}

#[test]
fn wrong_types_are_named() {
    let alice = ward().user("alice");
    let list = |change: &dyn Fn(&mut Value)| {
        let mut list = json!({ "ranges": [[0, 1]], "timeline_limit": 1, "filters": {} });
        change(&mut list);
        json!({ "lists": { "a": list } })
    };
    let cases = [
        json!({ "lists": [] }),
        json!({ "lists": { "a": 7 } }),
        json!({ "conn_id": 7 }),
        json!({ "room_subscriptions": { "junk": { "timeline_limit": 1 } } }),
        json!({ "extensions": { "typing": true } }),
        list(&|list| list["ranges"] = json!([[0]])),
        list(&|list| list["ranges"] = json!([[-1, 2]])),
        list(&|list| list["ranges"] = json!([[0, 1, 2]])),
        list(&|list| list["timeline_limit"] = json!("many")),
        list(&|list| list["required_state"] = json!([["m.room.name"]])),
        list(&|list| list["required_state"] = json!("*")),
        list(&|list| list["filters"]["is_dm"] = json!("yes")),
        list(&|list| list["filters"]["spaces"] = json!("!a:b")),
        list(&|list| list["filters"]["tags"] = json!([7])),
        list(&|list| list["filters"]["room_name_like"] = json!({})),
    ];
    for body in cases {
        let refusal = alice.post(raw(PATH), body.clone()).refused(400, "M_BAD_JSON");
        assert!(refusal["error"].as_str().is_some_and(|sentence| sentence.len() > 20), "{body}: {refusal}");
    }
}

#[test]
fn too_much_is_refused() {
    let alice = ward().user("alice");
    alice.create_room(json!({}));
    let many = |count: usize, value: &dyn Fn(usize) -> Value| (0..count).map(value).collect::<Vec<_>>();
    let map = |count: usize, name: &dyn Fn(usize) -> String, value: &Value| {
        let entries = (0..count).map(|number| (name(number), value.clone()));
        Value::Object(entries.collect())
    };
    let list = |field: &str, value: Value| {
        let mut list = json!({ "ranges": [[0, 1]], "timeline_limit": 1 });
        list[field] = value;
        json!({ "lists": { "a": list } })
    };
    let cases = [
        json!({ "lists": map(5_000, &|number| number.to_string(), &all(9, 1)) }),
        json!({ "room_subscriptions": map(101, &|number| format!("!{number}:a.b"), &json!({ "timeline_limit": 1 })) }),
        list("ranges", json!(many(101, &|number| json!([number, number])))),
        list("ranges", json!([[2, 1]])),
        list("required_state", json!(many(10_001, &|number| json!(["m.x", number.to_string()])))),
        list("required_state", json!([["m.x", "x".repeat(256)]])),
        list("filters", json!({ "tags": many(101, &|number| json!(number.to_string())) })),
        list("filters", json!({ "room_name_like": "x".repeat(256) })),
        json!({ "conn_id": "x".repeat(256) }),
        json!({ "txn_id": "x".repeat(256) }),
        json!({ "extensions": { "typing": { "lists": many(201, &|number| json!(number.to_string())) } } }),
    ];
    for body in cases {
        let refusal = alice.post(raw(PATH), body).refused(400, "M_INVALID_PARAM");
        assert!(refusal["error"].as_str().is_some_and(|sentence| sentence.contains(':')), "{refusal}");
    }
    // What is at its limit is served.
    let lists = map(100, &|number| number.to_string(), &all(9, 1_000_000));
    let answer = Connection::new(&alice, json!({ "lists": lists })).ask(Duration::ZERO).ok();
    assert_eq!(answer["lists"].as_object().map(|lists| lists.len()), Some(100));
}
