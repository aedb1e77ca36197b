//! `POST /keys/upload` and `POST /keys/query`: identity keys.

use wardroom_testkit::{Actor, json, raw, v3};

use super::{KeyPair, device_keys, query, upload};
use crate::ward;

#[test]
fn identity_keys_are_given_to_everybody() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let keys = device_keys(&alice, &KeyPair::of(1));
    assert_eq!(
        upload(&alice, json!({ "device_keys": keys })).ok(),
        json!({ "one_time_key_counts": { "signed_curve25519": 0 } })
    );
    for asker in [&alice, &bob] {
        let mut seen = query(asker, &alice)["device_keys"][&alice.id][&alice.device].clone();
        assert!(seen["unsigned"].as_object().unwrap().is_empty(), "{seen}");
        seen.as_object_mut().unwrap().remove("unsigned");
        assert_eq!(seen, keys);
    }
    alice.put(v3(&["devices", &alice.device]), json!({ "display_name": "Ward tablet" })).ok();
    let seen = query(&bob, &alice);
    assert_eq!(
        seen["device_keys"][&alice.id][&alice.device]["unsigned"],
        json!({ "device_display_name": "Ward tablet" })
    );
    assert!(seen["failures"].as_object().is_none_or(serde_json::Map::is_empty), "{seen}");

    let other = alice.other_device();
    upload(&other, json!({ "device_keys": device_keys(&other, &KeyPair::of(2)) })).ok();
    let all = query(&bob, &alice)["device_keys"][&alice.id].as_object().unwrap().len();
    assert_eq!(all, 2);
    let one = json!({ "device_keys": { alice.id.as_str(): [other.device, "NONE"] } });
    let one = bob.post(v3(&["keys", "query"]), one).ok();
    let one = one["device_keys"][&alice.id].as_object().unwrap();
    assert_eq!(one.keys().collect::<Vec<_>>(), [&other.device]);
    // The old path works as well.
    let old = bob.post(raw("/_matrix/client/r0/keys/query"), json!({ "device_keys": { alice.id.as_str(): [] } })).ok();
    assert!(old["device_keys"][&alice.id].is_object());
}

#[test]
fn a_user_without_keys_has_none_and_an_unknown_one_is_not_named() {
    let alice = ward().user("alice");
    let nobody = format!("@nobody-at-all:{}", ward().name());
    let body = json!({ "device_keys": { alice.id.as_str(): [], nobody.as_str(): [], "@x:elsewhere.example": [] }, "timeout": 10 });
    let answer = alice.post(v3(&["keys", "query"]), body).ok();
    assert_eq!(answer["device_keys"], json!({ alice.id.as_str(): {} }));
    assert!(answer["failures"]["elsewhere.example"].is_object(), "{answer}");
}

#[test]
fn keys_of_somebody_else_are_refused() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let key = KeyPair::of(1);
    let mut keys = device_keys(&alice, &key);
    keys["user_id"] = json!(bob.id);
    let refused = upload(&alice, json!({ "device_keys": keys })).refused(400, "M_INVALID_PARAM");
    assert!(refused["error"].as_str().unwrap().contains("user_id"), "{refused}");
    let mut keys = device_keys(&alice, &key);
    keys["device_id"] = json!("OTHER");
    let refused = upload(&alice, json!({ "device_keys": keys })).refused(400, "M_INVALID_PARAM");
    assert!(refused["error"].as_str().unwrap().contains("device_id"), "{refused}");
    let mut keys = device_keys(&alice, &key);
    keys["keys"]["ed25519:OTHER"] = json!(key.public);
    upload(&alice, json!({ "device_keys": keys })).refused(400, "M_INVALID_PARAM");
    assert_eq!(query(&alice, &alice)["device_keys"][&alice.id], json!({}));
}

#[test]
fn what_is_no_key_is_refused_and_changes_nothing() {
    let alice = ward().user("alice");
    let keys = device_keys(&alice, &KeyPair::of(1));
    let valid = json!({ "key": KeyPair::of(2).public, "signatures": {} });
    for field in ["algorithms", "keys", "signatures", "user_id", "device_id"] {
        let mut without = keys.clone();
        without.as_object_mut().unwrap().remove(field);
        let body = json!({ "device_keys": without, "one_time_keys": { "signed_curve25519:A": valid } });
        upload(&alice, body).refused(400, "M_BAD_JSON");
    }
    let long = "x".repeat(300);
    for (one_time, errcode) in [
        (json!({ "nocolon": "x" }), "M_BAD_JSON"),
        (json!({ "signed_curve25519:A": 7 }), "M_BAD_JSON"),
        (json!({ "signed_curve25519:A": { "signatures": {} } }), "M_BAD_JSON"),
        (json!({ "signed_curve25519:A": "text" }), "M_BAD_JSON"),
        (json!({ "other:A": ["list"] }), "M_BAD_JSON"),
    ] {
        let body = json!({ "device_keys": keys, "one_time_keys": one_time });
        upload(&alice, body).refused(400, errcode);
    }
    let body = json!({ "device_keys": keys, "one_time_keys": { format!("other:{long}"): "x" } });
    upload(&alice, body).refused(413, "M_TOO_LARGE");
    let body = json!({ "device_keys": keys, "one_time_keys": { "other:A": "x".repeat(10_000) } });
    upload(&alice, body).refused(413, "M_TOO_LARGE");
    let mut large = keys;
    large["extra"] = json!("x".repeat(40_000));
    upload(&alice, json!({ "device_keys": large })).refused(413, "M_TOO_LARGE");
    assert_eq!(query(&alice, &alice)["device_keys"][&alice.id], json!({}), "nothing was kept");
    let counts = upload(&alice, json!({})).ok();
    assert_eq!(counts["one_time_key_counts"], json!({ "signed_curve25519": 0 }));
    alice.post(v3(&["keys", "query"]), json!({})).refused(400, "M_BAD_JSON");
    alice.post(v3(&["keys", "query"]), json!({ "device_keys": { "nobody": [] } })).refused(400, "M_BAD_JSON");
    alice.anonymous().post(v3(&["keys", "upload"]), json!({})).refused(401, "M_MISSING_TOKEN");
}
