//! `POST /keys/device_signing/upload`.

use wardroom_testkit::{Actor, User, Value, json, v3};

use super::{KeyPair, cross_signing_key, query, signed_cross_signing_key};
use crate::ward;

fn target() -> wardroom_testkit::Target {
    v3(&["keys", "device_signing", "upload"])
}

/// A whole set of keys whose pairs have the seeds `seed`, `seed + 1` and `seed + 2`.
fn set_of(user: &User, seed: u8) -> Value {
    let master = KeyPair::of(seed);
    json!({
        "master_key": cross_signing_key(user, "master", &master),
        "self_signing_key": signed_cross_signing_key(user, "self_signing", &KeyPair::of(seed + 1), &master),
        "user_signing_key": signed_cross_signing_key(user, "user_signing", &KeyPair::of(seed + 2), &master),
    })
}

#[test]
fn the_first_keys_need_no_password_and_are_seen_as_they_should() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let keys = set_of(&alice, 1);
    assert_eq!(alice.post(target(), keys.clone()).ok(), json!({}));
    for (asker, sees_user_signing) in [(&alice, true), (&bob, false)] {
        let seen = query(asker, &alice);
        assert_eq!(seen["master_keys"][&alice.id], keys["master_key"]);
        assert_eq!(seen["self_signing_keys"][&alice.id], keys["self_signing_key"]);
        let user_signing = &seen["user_signing_keys"][&alice.id];
        assert_eq!(*user_signing, if sees_user_signing { keys["user_signing_key"].clone() } else { Value::Null });
    }
    assert_eq!(alice.post(target(), keys).ok(), json!({}), "the same again needs no password either");
}

#[test]
fn replacing_keys_needs_the_password() {
    let alice = ward().user("alice");
    alice.post(target(), set_of(&alice, 1)).ok();
    let asked = alice.post(target(), set_of(&alice, 11));
    assert_eq!(asked.status, 401, "{}", asked.story());
    assert!(asked.json()["session"].is_string() && asked.json()["flows"].is_array(), "{}", asked.story());
    assert_eq!(query(&alice, &alice)["master_keys"][&alice.id], set_of(&alice, 1)["master_key"], "nothing changed");
    alice.with_password_stage("POST", &target(), set_of(&alice, 11)).ok();
    let seen = query(&alice, &alice);
    assert_eq!(seen["master_keys"][&alice.id], set_of(&alice, 11)["master_key"]);
    assert_eq!(seen["user_signing_keys"][&alice.id], set_of(&alice, 11)["user_signing_key"]);

    // A key that comes to a master key that is there is new as well.
    let bob = ward().user("bob");
    let mut keys = set_of(&bob, 1);
    let later = json!({ "self_signing_key": keys["self_signing_key"].take() });
    keys.as_object_mut().unwrap().remove("self_signing_key");
    bob.post(target(), keys).ok();
    assert_eq!(bob.post(target(), later.clone()).status, 401);
    bob.with_password_stage("POST", &target(), later.clone()).ok();
    assert_eq!(query(&bob, &bob)["self_signing_keys"][&bob.id], later["self_signing_key"]);
    assert_eq!(bob.post(target(), later).ok(), json!({}));
}

#[test]
fn a_new_master_key_ends_what_the_old_one_signed() {
    let alice = ward().user("alice");
    alice.post(target(), set_of(&alice, 1)).ok();
    let master = json!({ "master_key": cross_signing_key(&alice, "master", &KeyPair::of(21)) });
    alice.with_password_stage("POST", &target(), master.clone()).ok();
    let seen = query(&alice, &alice);
    assert_eq!(seen["master_keys"][&alice.id], master["master_key"]);
    assert!(seen["self_signing_keys"][&alice.id].is_null() && seen["user_signing_keys"][&alice.id].is_null(), "{seen}");
}

#[test]
fn keys_must_be_signed_by_the_master_key() {
    let alice = ward().user("alice");
    let mut lone = set_of(&alice, 1);
    lone.as_object_mut().unwrap().remove("master_key");
    let refused = alice.post(target(), lone).refused(400, "M_MISSING_PARAM");
    assert!(refused["error"].as_str().unwrap().contains("master_key"), "{refused}");
    for field in ["self_signing_key", "user_signing_key"] {
        let mut keys = set_of(&alice, 1);
        keys[field].as_object_mut().unwrap().remove("signatures");
        let refused = alice.post(target(), keys).refused(400, "M_INVALID_SIGNATURE");
        assert!(refused["error"].as_str().unwrap().contains(field), "{refused}");
        let mut keys = set_of(&alice, 1);
        keys[field] =
            signed_cross_signing_key(&alice, field.trim_end_matches("_key"), &KeyPair::of(5), &KeyPair::of(6));
        alice.post(target(), keys).refused(400, "M_INVALID_SIGNATURE");
        let mut keys = set_of(&alice, 1);
        keys[field]["extra"] = json!("not covered");
        alice.post(target(), keys).refused(400, "M_INVALID_SIGNATURE");
    }
    assert!(query(&alice, &alice)["master_keys"][&alice.id].is_null(), "nothing was kept");
}

#[test]
fn what_is_no_key_is_refused() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let master = |change: fn(&mut Value)| {
        let mut key = cross_signing_key(&alice, "master", &KeyPair::of(1));
        change(&mut key);
        json!({ "master_key": key })
    };
    let wrong = [
        master(|key| key["usage"] = json!(["self_signing"])),
        master(|key| key["keys"] = json!({})),
        master(|key| key["keys"]["ed25519:AAAA"] = json!("AAAA")),
        master(|key| key["keys"] = json!({ "ed25519:AAAA": "BBBB" })),
        master(|key| key["keys"] = json!({ "ed25519:AAAA": "AAAA" })),
        json!({ "master_key": cross_signing_key(&bob, "master", &KeyPair::of(1)) }),
    ];
    for body in wrong {
        let refused = alice.post(target(), body).refused_with_one_of(400, &["M_INVALID_PARAM", "M_BAD_JSON"]);
        assert!(refused["error"].as_str().unwrap().contains("master_key"), "{refused}");
    }
    for body in [master(|key| drop(key.as_object_mut().unwrap().remove("keys"))), json!({ "master_key": 7 })] {
        alice.post(target(), body).refused(400, "M_BAD_JSON");
    }
    let large = master(|key| key["extra"] = json!("x".repeat(100_000)));
    alice.post(target(), large).refused(413, "M_TOO_LARGE");
    assert_eq!(alice.post(target(), json!({})).ok(), json!({}), "no keys are no change");
}

#[test]
fn devices_and_cross_signing_keys_have_different_names() {
    let alice = ward().user("alice");
    let login = |device: &str| {
        let body = json!({
            "type": "m.login.password", "device_id": device, "password": alice.password,
            "identifier": { "type": "m.id.user", "user": alice.id },
        });
        alice.anonymous().post(v3(&["login"]), body)
    };
    login(&KeyPair::of(1).public).ok();
    alice.post(target(), set_of(&alice, 1)).refused(403, "M_FORBIDDEN");
    alice.post(target(), set_of(&alice, 31)).ok();
    login(&KeyPair::of(31).public).refused(403, "M_FORBIDDEN");
}
