//! Setting, showing and releasing holds.

use wardroom_testkit::{Actor, Config, User, Value, json, peer::now_ms, wait_until};

use super::{covered, hold, holds, release, release_by};
use crate::{
    SOON,
    admin::{admin_of, own},
    audit::records,
    server_with, ward,
};

#[track_caller]
fn listed(admin: &User, state: &str) -> Vec<String> {
    let (mut ids, mut from) = (Vec::new(), String::new());
    loop {
        let answer = admin.get(holds().query("state", state).query("limit", "2").query("from", &from)).ok();
        ids.extend(answer["holds"].as_array().unwrap().iter().map(|hold| hold["id"].as_str().unwrap().to_owned()));
        match answer["next_token"].as_str() {
            Some(next) => from = next.to_owned(),
            None => return ids,
        }
    }
}

#[test]
fn two_administrators_are_needed_for_a_release() {
    let mut server = server_with(Config::default());
    let (first, second) = (admin_of(&server), admin_of(&server));
    let scope = json!({ "room_id": "!any:a.example", "user_id": first.id, "from_ts": 1, "to_ts": 2 });
    let id = hold(&first, &scope);
    let shown = first.get(own(&["holds", &id])).ok();
    assert_eq!((&shown["scope"], &shown["created_by"]), (&scope, &json!(first.id)));
    assert_eq!(shown["reason"], "a complaint of a patient");
    assert_eq!(listed(&second, "in_force"), [&*id]);
    let asked = release(&first, &id).ok();
    assert_eq!((&asked["release_requested_by"], &asked["released_ts"]), (&json!(first.id), &Value::Null));
    let refused = release(&first, &id).refused(409, "M_UNKNOWN");
    assert!(refused["error"].as_str().unwrap().contains("another administrator"), "{refused}");
    server.stop();
    server.start_again();
    assert_eq!(listed(&first, "in_force"), [&*id], "asking releases nothing");
    assert_eq!(release(&second, &id).ok()["released_by"], second.id);
    release(&first, &id).refused(409, "M_UNKNOWN");
    first.get(own(&["holds", &id, "events"])).refused(409, "M_UNKNOWN");
    let others: Vec<String> = (0..3).map(|_| hold(&second, &scope)).collect();
    assert_eq!(listed(&first, "released"), [&*id]);
    assert_eq!(listed(&first, "all"), [&*others[2], &*others[1], &*others[0], &*id]);
    let set = records(&first, &[("act", "hold.set"), ("user_id", &first.id)]);
    assert_eq!((set[0]["on"]["name"].as_str(), set[0]["who"]["user"].as_str()), (Some(&*id), Some(&*first.id)));
    assert_eq!(set[0]["why"], "court, 7 O 12/26: a complaint of a patient");
    assert_eq!((&set[0]["on"]["room"], &set[0]["on"]["since"]), (&json!("!any:a.example"), &json!(1)));
    let ends = records(&first, &[("act", "hold.release")]);
    let told = |record: &Value| (record["on"]["detail"].clone(), record["who"]["user"].clone());
    assert_eq!(
        ends.iter().map(told).collect::<Vec<_>>(),
        [(json!("requested"), json!(first.id)), (json!("released"), json!(second.id))]
    );
    assert!(!server.log().contains("a complaint of a patient") && !server.log().contains("7 O 12/26"));
}

#[test]
fn one_is_enough_where_the_configuration_says_so_and_a_time_ends_by_itself() {
    let server = server_with(Config::default().set("retention.hold_release_needs_two", "false"));
    let admin = admin_of(&server);
    let id = hold(&admin, &json!({ "user_id": "@a:a.example" }));
    assert!(release(&admin, &id).ok()["released_ts"].is_u64());
    let short = json!({
        "scope": { "user_id": "@a:a.example" }, "reason": "r", "authority": "a", "expires_ts": now_ms() + 500,
    });
    let short = admin.post(holds(), short).ok()["id"].as_str().unwrap().to_owned();
    let ended = wait_until("the end of the hold", SOON, || {
        let shown = admin.get(own(&["holds", &short])).ok();
        shown["released_ts"].is_u64().then_some(shown)
    });
    assert_eq!(ended.get("released_by"), None);
    let ends = records(&admin, &[("act", "hold.release")]);
    let last = ends.last().unwrap();
    assert_eq!((&last["on"]["detail"], &last["who"]), (&json!("expired"), &json!({ "service": "holds" })));
}

#[test]
fn what_makes_no_sense_is_refused_with_the_field_named() {
    let (server, admin) = (ward(), admin_of(ward()));
    let refused = |scope: Value, change: Value| {
        let mut body = json!({ "scope": scope, "reason": "r", "authority": "a" });
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        admin.post(holds(), body)
    };
    let room = || json!({ "room_id": "!r:a.example" });
    for (scope, change, field) in [
        (json!({}), json!({}), "scope"),
        (json!({ "media": "https://a.example/x" }), json!({}), "scope.media"),
        (json!({ "from_ts": 2, "to_ts": 1 }), json!({}), "scope.to_ts"),
        (json!({ "from_ts": 1_u64 << 53 }), json!({}), "scope.from_ts"),
        (room(), json!({ "reason": "" }), "reason"),
        (room(), json!({ "reason": "x".repeat(2_049) }), "reason"),
        (room(), json!({ "authority": "a\u{0}" }), "authority"),
        (room(), json!({ "authority": "x".repeat(513) }), "authority"),
        (room(), json!({ "expires_ts": 1 }), "expires_ts"),
    ] {
        let answer = refused(scope, change).refused(400, "M_INVALID_PARAM");
        assert!(answer["error"].as_str().unwrap().starts_with(&format!("{field}:")), "{answer}");
    }
    for (scope, change) in [
        (json!({ "room": "!r:a.example" }), json!({})),
        (json!({ "room_id": "no room" }), json!({})),
        (json!({ "from_ts": -1 }), json!({})),
        (json!({ "to_ts": 1.5 }), json!({})),
        (room(), json!({ "reason": 7 })),
        (room(), json!({ "expires_ts": "soon" })),
        (room(), json!({ "more": true })),
    ] {
        refused(scope, change).refused(400, "M_BAD_JSON");
    }
    admin.post(holds(), json!({ "scope": room(), "reason": "r" })).refused(400, "M_BAD_JSON");
    admin.get(own(&["holds", "no ulid"])).refused(404, "M_NOT_FOUND");
    admin.get(own(&["holds", "01ARZ3NDEKTSV4RRFFQ69G5FAV"])).refused(404, "M_NOT_FOUND");
    release(&admin, "01ARZ3NDEKTSV4RRFFQ69G5FAV").refused(404, "M_NOT_FOUND");
    admin.get(holds().query("state", "lost")).refused(400, "M_INVALID_PARAM");
    admin.get(holds().query("from", "x")).refused(400, "M_INVALID_PARAM");
    let id = hold(&admin, &json!({ "media": "mxc://a.example/none" }));
    admin.delete(own(&["holds", &id])).refused(400, "M_BAD_JSON");
    admin.get(own(&["holds", &id, "events"]).query("from", "x")).refused(400, "M_INVALID_PARAM");
    assert_eq!(covered(&admin, &id), Vec::<Value>::new());
    let (other, helper) = (admin_of(ward()), admin_of(ward()));
    release_by([&admin, &other], &id);
    admin.put(own(&["users", &helper.id, "scopes"]), json!({ "scopes": ["users", "rooms", "audit"] })).ok();
    helper.get(holds()).refused(403, "M_FORBIDDEN");
    server.user("curious").get(holds()).refused(403, "M_FORBIDDEN");
}
