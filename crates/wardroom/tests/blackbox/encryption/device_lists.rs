//! Whose devices changed: `device_lists` of a sync, and `GET /keys/changes`.

use std::time::Duration;

use wardroom_testkit::{Actor, Config, Follower, User, Value, json, v3};

use super::{KeyPair, cross_signing_key, device_keys, lists, upload};
use crate::{SOON, server_with, ward};

fn changes(user: &User, from: &str, to: &str) -> Value {
    user.get(v3(&["keys", "changes"]).query("from", from).query("to", to)).ok()
}

fn names(list: &Value, user: &User) -> bool {
    list.as_array().unwrap().iter().any(|listed| listed == &user.id)
}

/// Asserts that `user` is told of `of` in a list within the time, by a sync and by `/keys/changes` between its tokens.
#[track_caller]
fn told(sync: &mut Follower<'_>, user: &User, list: &str, of: &User) {
    let from = sync.token().to_owned();
    sync.until(list, SOON, |sync| lists(sync, list, of));
    let changes = changes(user, &from, sync.token());
    assert!(names(&changes[list], of), "/keys/changes says as much: {changes}");
}

#[test]
fn who_shares_a_room_hears_of_changed_keys() {
    let (alice, bob, carol) = (ward().user("alice"), ward().user("bob"), ward().user("carol"));
    alice.create_public_room(&[&bob]);
    assert!(alice.initial_sync()["device_lists"].is_null(), "only incremental syncs have the section");
    let desk = bob.other_device();
    let (mut of_alice, mut of_bob, mut of_desk, mut of_carol) =
        (ward().follow(&alice), ward().follow(&bob), ward().follow(&desk), ward().follow(&carol));
    upload(&bob, json!({ "device_keys": device_keys(&bob, &KeyPair::of(1)) })).ok();
    told(&mut of_alice, &alice, "changed", &bob);
    told(&mut of_bob, &bob, "changed", &bob);
    told(&mut of_desk, &desk, "changed", &bob);
    assert!(of_alice.now()["device_lists"].is_null(), "told once");
    upload(&bob, json!({ "device_keys": device_keys(&bob, &KeyPair::of(1)) })).ok();
    assert!(of_alice.now()["device_lists"].is_null(), "the same keys again are no change");

    bob.put(v3(&["devices", &bob.device]), json!({ "display_name": "Tablet" })).ok();
    told(&mut of_alice, &alice, "changed", &bob);
    let master = json!({ "master_key": cross_signing_key(&bob, "master", &KeyPair::of(2)) });
    bob.post(v3(&["keys", "device_signing", "upload"]), master).ok();
    told(&mut of_alice, &alice, "changed", &bob);
    let mut signed = cross_signing_key(&bob, "master", &KeyPair::of(2));
    KeyPair::of(1).sign(&mut signed, &bob.id, &bob.device);
    let body = json!({ bob.id.as_str(): { KeyPair::of(2).public: signed } });
    bob.post(v3(&["keys", "signatures", "upload"]), body).ok();
    told(&mut of_alice, &alice, "changed", &bob);
    bob.post(v3(&["logout"]), json!({})).ok();
    told(&mut of_alice, &alice, "changed", &bob);
    told(&mut of_desk, &desk, "changed", &bob);
    assert!(of_carol.now()["device_lists"].is_null(), "strangers hear of nothing");
}

#[test]
fn a_change_wakes_a_waiting_sync() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    alice.create_public_room(&[&bob]);
    let mut sync = ward().follow(&alice);
    sync.now();
    std::thread::scope(|scope| {
        let poll = scope.spawn(move || sync.poll(Duration::from_secs(50)));
        upload(&bob, json!({ "device_keys": device_keys(&bob, &KeyPair::of(1)) })).ok();
        let answer = poll.join().unwrap();
        assert!(lists(&answer, "changed", &bob), "{answer}");
    });
}

#[test]
fn who_comes_to_share_a_room_is_news_for_both() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    upload(&bob, json!({ "device_keys": device_keys(&bob, &KeyPair::of(1)) })).ok();
    upload(&alice, json!({ "device_keys": device_keys(&alice, &KeyPair::of(2)) })).ok();
    let room = alice.create_public_room(&[]);
    let (mut of_alice, mut of_bob) = (ward().follow(&alice), ward().follow(&bob));
    bob.join(&room);
    told(&mut of_alice, &alice, "changed", &bob);
    told(&mut of_bob, &bob, "changed", &alice);
    // A change of the profile is no new member.
    bob.put(v3(&["profile", &bob.id, "displayname"]), json!({ "displayname": "Bob" })).ok();
    let answer = of_alice.until("the name", SOON, |sync| sync["rooms"]["join"].get(&room).is_some());
    assert!(answer["device_lists"].is_null(), "{answer}");
}

#[test]
fn who_leaves_the_last_shared_room_is_left_by_both() {
    let (alice, bob, carol) = (ward().user("alice"), ward().user("bob"), ward().user("carol"));
    let (first, second) = (alice.create_public_room(&[&bob, &carol]), alice.create_public_room(&[&bob]));
    let (mut of_alice, mut of_bob) = (ward().follow(&alice), ward().follow(&bob));
    bob.leave(&first);
    of_bob.until("carol is gone", SOON, |sync| {
        assert!(!lists(sync, "left", &alice), "they still share a room: {sync}");
        lists(sync, "left", &carol)
    });
    assert!(!lists(&of_alice.now(), "left", &bob));
    bob.leave(&second);
    told(&mut of_alice, &alice, "left", &bob);
    told(&mut of_bob, &bob, "left", &alice);
    // What bob changes meanwhile is told when he is back.
    upload(&bob, json!({ "device_keys": device_keys(&bob, &KeyPair::of(9)) })).ok();
    assert!(of_alice.now()["device_lists"].is_null());
    bob.join(&second);
    told(&mut of_alice, &alice, "changed", &bob);
}

#[test]
fn who_is_put_out_is_left_and_newcomers_after_that_are_not_named() {
    let (alice, bob, carol) = (ward().user("alice"), ward().user("bob"), ward().user("carol"));
    let room = alice.create_public_room(&[&bob]);
    let mut of_bob = ward().follow(&bob);
    alice.on_member("ban", &room, &bob).ok();
    carol.join(&room);
    let answer = of_bob.until("the ban", SOON, |sync| lists(sync, "left", &alice));
    assert!(!answer["device_lists"].to_string().contains(&carol.id), "{answer}");
}

#[test]
fn changes_behind_someones_back_are_told_after_leaving_and_coming_back() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_public_room(&[&bob]);
    let mut of_alice = ward().follow(&alice);
    bob.leave(&room);
    upload(&bob, json!({ "device_keys": device_keys(&bob, &KeyPair::of(1)) })).ok();
    bob.join(&room);
    let answer = of_alice.until("bob", SOON, |sync| lists(sync, "changed", &bob));
    assert!(!lists(&answer, "left", &bob), "{answer}");
}

#[test]
fn a_token_from_before_a_restart_misses_nothing() {
    let mut server = server_with(Config::default());
    let (alice, bob, carol) = (server.user("alice"), server.user("bob"), server.user("carol"));
    let room = alice.create_public_room(&[&bob]);
    let since = alice.initial_sync()["next_batch"].as_str().unwrap().to_owned();
    upload(&bob, json!({ "device_keys": device_keys(&bob, &KeyPair::of(1)) })).ok();
    carol.join(&room);
    server.kill9();
    server.start_again();
    let mut sync = Follower::since(&alice, &since);
    let answer = sync.now();
    assert!(lists(&answer, "changed", &bob) && lists(&answer, "changed", &carol), "{answer}");
    assert!(sync.now()["device_lists"].is_null());
    let changes = changes(&alice, &since, sync.token());
    assert!(names(&changes["changed"], &bob) && names(&changes["changed"], &carol), "{changes}");
}

#[test]
fn tokens_of_somebody_elses_making_are_refused() {
    let alice = ward().user("alice");
    let now = alice.initial_sync()["next_batch"].as_str().unwrap().to_owned();
    assert_eq!(changes(&alice, &now, &now), json!({ "changed": [], "left": [] }));
    for (from, to) in [("x", now.as_str()), (now.as_str(), "t1_1"), ("", "")] {
        alice.get(v3(&["keys", "changes"]).query("from", from).query("to", to)).refused(400, "M_INVALID_PARAM");
    }
    alice.get(v3(&["keys", "changes"]).query("from", &now)).refused(400, "M_MISSING_PARAM");
}
