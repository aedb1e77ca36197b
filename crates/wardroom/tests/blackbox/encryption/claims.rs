//! One-time and fallback keys: `POST /keys/upload`, `POST /keys/claim` and what a sync says of them.

use std::{collections::BTreeSet, thread};

use wardroom_testkit::{Actor, Config, User, json, v3};

use super::{KeyPair, claim, claimed, device_keys, one_time_keys, upload};
use crate::{SOON, server_with, ward};

const KIND: &str = "signed_curve25519";

fn left(user: &User) -> u64 {
    user.initial_sync()["device_one_time_keys_count"][KIND].as_u64().expect("the count is always there")
}

#[test]
fn each_key_is_given_out_once_whoever_asks_at_the_same_time() {
    const KEYS: u32 = 40;
    const CLAIMERS: u32 = 32;
    let alice = ward().user("alice");
    upload(&alice, json!({ "one_time_keys": one_time_keys(0, KEYS) })).ok();
    let claimers: Vec<User> = (0..CLAIMERS).map(|_| ward().user("claimer")).collect();
    let given: Vec<String> = thread::scope(|scope| {
        let claims: Vec<_> = claimers
            .iter()
            .map(|claimer| scope.spawn(|| claimed(&claim(claimer, &alice, &alice.device, KIND), &alice, &alice.device)))
            .collect();
        claims.into_iter().filter_map(|claim| claim.join().unwrap()).collect()
    });
    assert_eq!(given.len(), CLAIMERS as usize, "everybody got one");
    assert_eq!(given.iter().collect::<BTreeSet<_>>().len(), CLAIMERS as usize, "nobody got another's: {given:?}");
    assert_eq!(left(&alice), u64::from(KEYS - CLAIMERS));
    let rest: Vec<_> = (0..KEYS - CLAIMERS + 3)
        .filter_map(|_| claimed(&claim(&claimers[0], &alice, &alice.device, KIND), &alice, &alice.device))
        .collect();
    let all: BTreeSet<_> = given.iter().chain(&rest).collect();
    assert_eq!(all.len(), KEYS as usize, "all of them, each once");
    assert_eq!(left(&alice), 0);
}

#[test]
fn keys_are_given_out_in_the_order_of_their_uploads() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    for first in [50, 10, 30] {
        upload(&alice, json!({ "one_time_keys": one_time_keys(first, 2) })).ok();
    }
    let given: Vec<_> =
        (0..6).map(|_| claimed(&claim(&bob, &alice, &alice.device, KIND), &alice, &alice.device).unwrap()).collect();
    let uploads: Vec<BTreeSet<&str>> = given.chunks(2).map(|pair| pair.iter().map(String::as_str).collect()).collect();
    for (upload, first) in uploads.iter().zip([50, 10, 30]) {
        let expected = one_time_keys(first, 2);
        let expected: BTreeSet<&str> = expected.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(*upload, expected, "{given:?}");
    }
    assert_eq!(claim(&bob, &alice, &alice.device, KIND)["one_time_keys"], json!({}));
}

#[test]
fn a_key_cannot_become_another_one() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let keys = one_time_keys(0, 2);
    upload(&alice, json!({ "one_time_keys": keys })).ok();
    assert_eq!(
        upload(&alice, json!({ "one_time_keys": keys })).ok()["one_time_key_counts"][KIND],
        2,
        "the same again is fine"
    );
    let mut changed = one_time_keys(5, 1);
    changed["signed_curve25519:K000001"] = json!({ "key": KeyPair::of(77).public, "signatures": {} });
    let refused = upload(&alice, json!({ "one_time_keys": changed })).refused(400, "M_INVALID_PARAM");
    let sentence = refused["error"].as_str().unwrap();
    assert!(sentence.starts_with("One time key signed_curve25519:K000001 already exists"), "{sentence}");
    assert_eq!(left(&alice), 2, "nothing of the upload was kept");
    // A key that was given out is not there for a second time, however often it is uploaded.
    let given = claimed(&claim(&bob, &alice, &alice.device, KIND), &alice, &alice.device).unwrap();
    assert_eq!(upload(&alice, json!({ "one_time_keys": keys })).ok()["one_time_key_counts"][KIND], 1);
    let other = claimed(&claim(&bob, &alice, &alice.device, KIND), &alice, &alice.device).unwrap();
    assert_ne!(given, other);
    assert_eq!(claim(&bob, &alice, &alice.device, KIND)["one_time_keys"], json!({}));
}

#[test]
fn a_claim_wakes_the_device_with_the_new_count() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let mut sync = ward().follow(&alice);
    assert_eq!(alice.initial_sync()["device_one_time_keys_count"], json!({ KIND: 0 }));
    upload(&alice, json!({ "one_time_keys": one_time_keys(0, 3) })).ok();
    sync.until("own upload", SOON, |sync| sync["device_one_time_keys_count"][KIND] == 3);
    assert_eq!(sync.now()["device_one_time_keys_count"][KIND], 3, "it is in every answer");
    claim(&bob, &alice, &alice.device, KIND);
    sync.until("the claim", SOON, |sync| sync["device_one_time_keys_count"][KIND] == 2);
}

#[test]
fn a_fallback_key_is_given_out_when_no_other_is_left() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let key = |seed| json!({ "key": KeyPair::of(seed).public, "fallback": true, "signatures": {} });
    let unused = |user: &User| user.initial_sync()["device_unused_fallback_key_types"].clone();
    assert_eq!(unused(&alice), json!([]));
    let body = json!({ "one_time_keys": one_time_keys(0, 1), "fallback_keys": { "signed_curve25519:F1": key(1) } });
    upload(&alice, body).ok();
    assert_eq!((unused(&alice), left(&alice)), (json!([KIND]), 1), "a fallback key does not count as a one-time key");
    assert_eq!(
        claimed(&claim(&bob, &alice, &alice.device, KIND), &alice, &alice.device).unwrap(),
        "signed_curve25519:K000000"
    );
    assert_eq!(unused(&alice), json!([KIND]));
    let mut sync = ward().follow(&alice);
    for _ in 0..3 {
        let answer = claim(&bob, &alice, &alice.device, KIND);
        assert_eq!(answer["one_time_keys"][&alice.id][&alice.device]["signed_curve25519:F1"], key(1), "{answer}");
    }
    sync.until("the use", SOON, |sync| sync["device_unused_fallback_key_types"] == json!([]));
    upload(&alice, json!({ "fallback_keys": { "signed_curve25519:F1": key(1) } })).ok();
    assert_eq!(unused(&alice), json!([]), "the same key is still a used one");
    upload(&alice, json!({ "fallback_keys": { "signed_curve25519:F2": key(2) } })).ok();
    assert_eq!(unused(&alice), json!([KIND]));
    let answer = claim(&bob, &alice, &alice.device, KIND);
    assert!(answer["one_time_keys"][&alice.id][&alice.device]["signed_curve25519:F2"].is_object(), "{answer}");
    let two = json!({ "fallback_keys": { "signed_curve25519:F3": key(3), "signed_curve25519:F4": key(4) } });
    upload(&alice, two).refused(400, "M_INVALID_PARAM");
}

#[test]
fn what_does_not_exist_is_not_claimed() {
    let alice = ward().user("alice");
    upload(&alice, json!({ "one_time_keys": one_time_keys(0, 1) })).ok();
    let nobody = format!("@nobody-at-all:{}", ward().name());
    let body = json!({ "one_time_keys": {
        alice.id.as_str(): { "NONE": KIND, alice.device.as_str(): "curve25519" },
        nobody.as_str(): { "A": KIND },
        "@x:elsewhere.example": { "A": KIND },
    } });
    let answer = alice.post(v3(&["keys", "claim"]), body).ok();
    assert_eq!(answer["one_time_keys"], json!({}), "{answer}");
    assert!(answer["failures"]["elsewhere.example"].is_object(), "{answer}");
    assert_eq!(left(&alice), 1);
    alice.post(v3(&["keys", "claim"]), json!({})).refused(400, "M_BAD_JSON");
    alice.post(v3(&["keys", "claim"]), json!({ "one_time_keys": { "x": {} } })).refused(400, "M_BAD_JSON");
}

#[test]
fn a_device_keeps_no_more_keys_than_it_may() {
    let alice = ward().user("alice");
    upload(&alice, json!({ "one_time_keys": one_time_keys(0, 600) })).ok();
    upload(&alice, json!({ "one_time_keys": one_time_keys(600, 600) })).refused(413, "M_TOO_LARGE");
    assert_eq!(left(&alice), 600);
}

#[test]
fn keys_survive_a_restart_and_end_with_their_device() {
    let mut server = server_with(Config::default());
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let key = json!({ "key": KeyPair::of(1).public, "fallback": true, "signatures": {} });
    let body = json!({
        "device_keys": device_keys(&alice, &KeyPair::of(1)),
        "one_time_keys": one_time_keys(0, 5),
        "fallback_keys": { "signed_curve25519:F": key },
    });
    upload(&alice, body).ok();
    server.kill9();
    server.start_again();
    assert_eq!(left(&alice), 5);
    assert!(claimed(&claim(&bob, &alice, &alice.device, KIND), &alice, &alice.device).is_some());
    alice.post(v3(&["logout"]), json!({})).ok();
    assert_eq!(claim(&bob, &alice, &alice.device, KIND)["one_time_keys"], json!({}));
    assert_eq!(super::query(&bob, &alice)["device_keys"][&alice.id], json!({}));
    // The same device id later is another device.
    let body = json!({
        "type": "m.login.password", "device_id": alice.device, "password": alice.password,
        "identifier": { "type": "m.id.user", "user": alice.id },
    });
    let again = server.anonymous().post(v3(&["login"]), body).ok();
    let again = User::from_answer(server.http(), &again, &alice.password);
    assert_eq!((left(&again), again.device.as_str()), (0, alice.device.as_str()));
    assert_eq!(again.initial_sync()["device_unused_fallback_key_types"], json!([]));
    assert_eq!(super::query(&bob, &alice)["device_keys"][&alice.id], json!({}));
    // Other identity keys make the old one-time keys useless.
    upload(
        &again,
        json!({ "device_keys": device_keys(&again, &KeyPair::of(2)), "one_time_keys": one_time_keys(0, 3) }),
    )
    .ok();
    let new = json!({ "device_keys": device_keys(&again, &KeyPair::of(3)), "one_time_keys": one_time_keys(100, 1) });
    assert_eq!(upload(&again, new).ok()["one_time_key_counts"][KIND], 1);
}
