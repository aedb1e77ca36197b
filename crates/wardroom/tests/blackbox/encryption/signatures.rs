//! `POST /keys/signatures/upload`.

use wardroom_testkit::{Actor, User, Value, json, v3};

use super::{KeyPair, cross_signing_key, device_keys, query, signed_cross_signing_key, upload};
use crate::{SOON, admin::admin_of, audit::records, ward};

fn sign(user: &User, body: Value) -> Value {
    user.post(v3(&["keys", "signatures", "upload"]), body).ok()["failures"].clone()
}

/// Publishes device and cross-signing keys: the device has the seed `seed`, the others the next three.
fn set_up(user: &User, seed: u8) {
    upload(user, json!({ "device_keys": device_keys(user, &KeyPair::of(seed)) })).ok();
    let master = KeyPair::of(seed + 1);
    let body = json!({
        "master_key": cross_signing_key(user, "master", &master),
        "self_signing_key": signed_cross_signing_key(user, "self_signing", &KeyPair::of(seed + 2), &master),
        "user_signing_key": signed_cross_signing_key(user, "user_signing", &KeyPair::of(seed + 3), &master),
    });
    user.post(v3(&["keys", "device_signing", "upload"]), body).ok();
}

/// A device's keys with the signature of the user's self-signing key alone.
fn signed_device(user: &User, seed: u8) -> Value {
    let self_signing = KeyPair::of(seed + 2);
    let mut keys = device_keys(user, &KeyPair::of(seed));
    keys.as_object_mut().unwrap().remove("signatures");
    self_signing.sign(&mut keys, &user.id, &self_signing.public);
    keys
}

#[test]
fn a_device_is_signed_by_the_self_signing_key() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    set_up(&alice, 1);
    let signed = signed_device(&alice, 1);
    let body = json!({ alice.id.as_str(): { alice.device.as_str(): signed } });
    assert_eq!(sign(&alice, body.clone()), json!({}));
    let signatures =
        |asker: &User| query(asker, &alice)["device_keys"][&alice.id][&alice.device]["signatures"][&alice.id].clone();
    let by_self = format!("ed25519:{}", KeyPair::of(3).public);
    let own = format!("ed25519:{}", alice.device);
    for asker in [&alice, &bob] {
        let seen = signatures(asker);
        assert_eq!(seen[&by_self], signed["signatures"][&alice.id][&by_self], "{seen}");
        assert!(seen[&own].is_string(), "the device's own stays: {seen}");
    }
    assert_eq!(sign(&alice, body), json!({}), "again is fine");
    let verified = records(&admin_of(ward()), &[("act", "device.verify"), ("user_id", &alice.id)]);
    let on = json!({ "detail": "device", "device": alice.device, "user": alice.id });
    assert_eq!(verified.iter().filter(|record| record["on"] == on).count(), 1, "{verified:?}");
    // The device uploads its keys again, without that signature: it stays.
    upload(&alice, json!({ "device_keys": device_keys(&alice, &KeyPair::of(1)) })).ok();
    assert!(signatures(&bob)[&by_self].is_string());
    // Other keys under the same id are not what was signed.
    upload(&alice, json!({ "device_keys": device_keys(&alice, &KeyPair::of(50)) })).ok();
    assert!(signatures(&bob)[&by_self].is_null());
}

#[test]
fn a_master_key_is_signed_by_devices() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    set_up(&alice, 1);
    let mut master = cross_signing_key(&alice, "master", &KeyPair::of(2));
    KeyPair::of(1).sign(&mut master, &alice.id, &alice.device);
    assert_eq!(sign(&alice, json!({ alice.id.as_str(): { KeyPair::of(2).public: master } })), json!({}));
    for asker in [&alice, &bob] {
        assert_eq!(query(asker, &alice)["master_keys"][&alice.id], master);
    }
}

#[test]
fn only_who_signed_sees_a_signature_of_another_users_key() {
    let (alice, bob, carol) = (ward().user("alice"), ward().user("bob"), ward().user("carol"));
    set_up(&alice, 1);
    set_up(&bob, 11);
    let mut sync = ward().follow(&alice);
    let user_signing = KeyPair::of(4);
    let mut master = cross_signing_key(&bob, "master", &KeyPair::of(12));
    user_signing.sign(&mut master, &alice.id, &user_signing.public);
    assert_eq!(sign(&alice, json!({ bob.id.as_str(): { KeyPair::of(12).public: master } })), json!({}));
    assert_eq!(query(&alice, &bob)["master_keys"][&bob.id]["signatures"], master["signatures"]);
    for other in [&bob, &carol] {
        assert!(query(other, &bob)["master_keys"][&bob.id]["signatures"].is_null());
    }
    // The other devices of the signer hear of it, though the two share no room.
    sync.until("the signature", SOON, |sync| super::lists(sync, "changed", &bob));
    // With the master key goes what was signed.
    let master = json!({ "master_key": cross_signing_key(&bob, "master", &KeyPair::of(40)) });
    bob.with_password_stage("POST", &v3(&["keys", "device_signing", "upload"]), master).ok();
    assert!(query(&alice, &bob)["master_keys"][&bob.id]["signatures"].is_null());
}

#[test]
fn what_fails_is_told_and_the_rest_is_kept() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    set_up(&alice, 1);
    set_up(&bob, 11);
    let nobody = format!("@nobody-at-all:{}", ward().name());
    let master_id = KeyPair::of(2).public;
    let bobs_master_id = KeyPair::of(12).public;
    let mut forged = cross_signing_key(&alice, "master", &KeyPair::of(2));
    KeyPair::of(77).sign(&mut forged, &alice.id, &alice.device);
    let mut other = cross_signing_key(&bob, "master", &KeyPair::of(12));
    other["usage"] = json!(["master", "more"]);
    KeyPair::of(4).sign(&mut other, &alice.id, &KeyPair::of(4).public);
    let failures = sign(
        &alice,
        json!({
            alice.id.as_str(): {
                alice.device.as_str(): signed_device(&alice, 1),
                master_id.as_str(): forged,
                "NONE": signed_device(&alice, 1),
            },
            bob.id.as_str(): { bobs_master_id.as_str(): other, bob.device.as_str(): device_keys(&bob, &KeyPair::of(11)) },
            nobody.as_str(): { "A": {} },
            "@x:elsewhere.example": { "A": {} },
        }),
    );
    assert!(failures[&alice.id].get(&alice.device).is_none(), "{failures}");
    assert_eq!(failures[&alice.id][&master_id]["errcode"], "M_INVALID_SIGNATURE");
    assert!(failures[&alice.id][&master_id]["error"].is_string());
    assert_eq!(failures[&alice.id]["NONE"]["errcode"], "M_NOT_FOUND");
    assert_eq!(failures[&bob.id][&bobs_master_id]["errcode"], "M_INVALID_PARAM", "{failures}");
    assert_eq!(failures[&bob.id][&bob.device]["errcode"], "M_NOT_FOUND");
    assert_eq!(failures[&nobody]["A"]["errcode"], "M_NOT_FOUND");
    assert_eq!(failures["@x:elsewhere.example"]["A"]["errcode"], "M_NOT_FOUND");
    let by_self = format!("ed25519:{}", KeyPair::of(3).public);
    let seen = query(&bob, &alice);
    assert!(seen["device_keys"][&alice.id][&alice.device]["signatures"][&alice.id][&by_self].is_string(), "{seen}");
    assert!(seen["master_keys"][&alice.id]["signatures"].is_null(), "{seen}");
    alice.post(v3(&["keys", "signatures", "upload"]), json!({ "nobody": {} })).refused(400, "M_BAD_JSON");
    alice.post(v3(&["keys", "signatures", "upload"]), json!({ alice.id.as_str(): 7 })).refused(400, "M_BAD_JSON");
}
