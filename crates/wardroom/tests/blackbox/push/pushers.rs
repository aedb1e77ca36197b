//! `GET /pushers` and `POST /pushers/set`.

use wardroom_testkit::{Actor, Value, json, unique, v3};

use super::{keys, pusher, set, ward};

const GATEWAY: &str = "https://gateway.example/_matrix/push/v1/notify";

fn changed(key: &str, change: impl FnOnce(&mut Value)) -> Value {
    let mut body = pusher(key, GATEWAY);
    change(&mut body);
    body
}

/// A pusher as it is listed.
fn shown(key: &str) -> Value {
    changed(key, |body| drop(body.as_object_mut().unwrap().remove("append")))
}

#[test]
fn a_pusher_is_set_shown_changed_and_deleted() {
    let bob = ward().user("bob");
    assert!(keys(&bob).is_empty());
    set(&bob, changed("one", |body| body["profile_tag"] = json!("tag")));
    let mut shown = shown("one");
    shown["profile_tag"] = json!("tag");
    assert_eq!(bob.get(v3(&["pushers"])).ok(), json!({ "pushers": [shown] }));
    set(&bob, changed("two", |body| body["data"]["format"] = json!("event_id_only")));
    assert_eq!(keys(&bob).len(), 2);
    set(&bob, changed("one", |body| body["lang"] = json!("de")));
    shown.as_object_mut().unwrap().remove("profile_tag");
    shown["lang"] = json!("de");
    let pushers = bob.get(v3(&["pushers"])).ok();
    assert!(pushers["pushers"].as_array().unwrap().contains(&shown), "{pushers}");
    assert_eq!(keys(&bob).len(), 2, "it was changed, not added");
    set(&bob, json!({ "kind": null, "app_id": "example.ward", "pushkey": "one" }));
    assert_eq!(keys(&bob), ["two"]);
    set(&bob, json!({ "kind": null, "app_id": "example.ward", "pushkey": "never set" }));
    assert_eq!(keys(&bob), ["two"]);
    let old = bob.get(wardroom_testkit::raw("/_matrix/client/r0/pushers")).ok();
    assert_eq!(old["pushers"][0]["data"]["format"], "event_id_only");
}

#[test]
fn what_is_no_pusher_is_refused_by_name() {
    let bob = ward().user("bob");
    let long = "x".repeat(600);
    for (field, value, errcodes) in [
        ("kind", json!("email"), &["M_INVALID_PARAM"][..]),
        ("kind", json!("pigeon"), &["M_INVALID_PARAM"]),
        ("kind", json!(7), &["M_BAD_JSON", "M_INVALID_PARAM"]),
        ("pushkey", json!(""), &["M_INVALID_PARAM"]),
        ("pushkey", json!(long), &["M_INVALID_PARAM"]),
        ("app_id", json!(&long[..65]), &["M_INVALID_PARAM"]),
        ("app_display_name", json!(long), &["M_INVALID_PARAM"]),
        ("device_display_name", json!(7), &["M_BAD_JSON"]),
        ("lang", json!(long), &["M_INVALID_PARAM"]),
        ("profile_tag", json!(long), &["M_INVALID_PARAM"]),
        ("url", json!({}), &["M_BAD_JSON", "M_INVALID_PARAM"]),
        ("data", json!({ "url": GATEWAY, "more": "x".repeat(9_000) }), &["M_INVALID_PARAM"]),
    ] {
        let answer = bob.post(
            v3(&["pushers", "set"]),
            changed("key", |body| {
                let field = if field == "url" { "data" } else { field };
                body[field] = value;
            }),
        );
        let error = answer.refused_with_one_of(400, errcodes);
        assert!(error["error"].as_str().unwrap().contains(field), "{field}: {error}");
    }
    for missing in ["app_display_name", "device_display_name", "lang", "data", "app_id", "pushkey"] {
        let body = changed("key", |body| drop(body.as_object_mut().unwrap().remove(missing)));
        bob.post(v3(&["pushers", "set"]), body).refused_with_one_of(400, &["M_BAD_JSON", "M_MISSING_PARAM"]);
    }
    assert!(keys(&bob).is_empty());
    ward().anonymous().get(v3(&["pushers"])).refused(401, "M_MISSING_TOKEN");
    ward().anonymous().post(v3(&["pushers", "set"]), pusher("key", GATEWAY)).refused(401, "M_MISSING_TOKEN");
}

#[test]
fn gateways_inside_the_network_are_refused() {
    let bob = crate::ward().user("bob");
    for url in [
        "https://127.0.0.1/_matrix/push/v1/notify",
        "https://localhost:8448/_matrix/push/v1/notify",
        "https://[::1]/_matrix/push/v1/notify",
        "https://2130706433/_matrix/push/v1/notify",
        "https://10.0.0.1/_matrix/push/v1/notify",
        "https://169.254.169.254/_matrix/push/v1/notify",
        "http://gateway.example/_matrix/push/v1/notify",
        "https://gateway.example/_matrix/push/v1/notify/more",
        "https://gateway.example/",
        "https://me:secret@gateway.example/_matrix/push/v1/notify",
        "file:///_matrix/push/v1/notify",
        "nonsense",
        "",
    ] {
        let answer = bob.post(v3(&["pushers", "set"]), pusher("key", url)).refused(400, "M_INVALID_PARAM");
        assert!(answer["error"].as_str().unwrap().contains("data.url"), "{url}: {answer}");
    }
    assert!(keys(&bob).is_empty());
}

#[test]
fn a_key_is_one_users_unless_it_is_appended() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let key = unique("key");
    let alone = |body: &mut Value| body["append"] = json!(false);
    set(&alice, changed(&key, alone));
    set(&bob, pusher(&key, GATEWAY));
    assert_eq!((keys(&alice).len(), keys(&bob).len()), (1, 1));
    set(&bob, changed(&key, alone));
    assert_eq!((keys(&alice).len(), keys(&bob).len()), (0, 1), "the phone is Bob's now");
    set(
        &alice,
        changed(&key, |body| {
            alone(body);
            body["app_id"] = json!("example.other");
        }),
    );
    assert_eq!((keys(&alice).len(), keys(&bob).len()), (1, 1), "another application's key is another key");
}

#[test]
fn there_is_a_limit() {
    let bob = ward().user("bob");
    for number in 0..100 {
        set(&bob, pusher(&format!("key{number}"), GATEWAY));
    }
    bob.post(v3(&["pushers", "set"]), pusher("one more", GATEWAY)).refused_somehow();
    set(&bob, changed("key7", |body| body["lang"] = json!("fr")));
    assert_eq!(keys(&bob).len(), 100);
}

#[test]
fn a_pusher_ends_with_its_device() {
    let bob = ward().user("bob");
    let (other, third) = (bob.other_device(), bob.other_device());
    set(&bob, pusher("of bob", GATEWAY));
    set(&other, pusher("of the other", GATEWAY));
    set(&third, pusher("of the third", GATEWAY));
    assert_eq!(keys(&bob).len(), 3, "all devices see all pushers");
    other.post(v3(&["logout"]), json!({})).ok();
    let mut left = keys(&bob);
    left.sort();
    assert_eq!(left, ["of bob", "of the third"]);
    let target = v3(&["devices", &third.device]);
    bob.with_password_stage("DELETE", &target, json!({})).ok();
    assert_eq!(keys(&bob), ["of bob"]);
}

#[test]
fn a_new_password_ends_the_pushers_of_other_devices() {
    let bob = ward().user("bob");
    let other = bob.other_device();
    set(&bob, pusher("of bob", GATEWAY));
    set(&other, pusher("of the other", GATEWAY));
    let target = v3(&["account", "password"]);
    bob.with_password_stage("POST", &target, json!({ "new_password": "a new password", "logout_devices": true })).ok();
    assert_eq!(keys(&bob), ["of bob"]);
}
