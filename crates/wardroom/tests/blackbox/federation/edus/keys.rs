//! End-to-end encryption between users of two Wardrooms: what clients need of both.

use std::time::Duration;

use wardroom_testkit::{Actor as _, Value, events, json, v3, wait_until};

use crate::{
    SOON,
    encryption::{
        KeyPair, claim, claimed, cross_signing_key, device_keys, lists, one_time_keys, query, signed_cross_signing_key,
        upload,
    },
    federation::sites::{Site, join_via, public_room},
};

const KIND: &str = "signed_curve25519";

#[test]
fn devices_are_followed_across_servers() {
    let (here, there) = (Site::start(), Site::named());
    let (alice, bob) = (here.user("alice"), there.user("bob"));
    let keys = device_keys(&bob, &KeyPair::of(1));
    upload(&bob, json!({ "device_keys": keys })).ok();
    let room = public_room(&alice, "12");
    let mut follower = here.server.follow(&alice);
    join_via(&bob, &room, &here);
    follower.until("bob shares a room", SOON, |sync| lists(sync, "changed", &bob));
    let found = query(&alice, &bob);
    assert_eq!(found["failures"], json!({}), "{found}");
    let device = &found["device_keys"][&bob.id][&bob.device];
    assert_eq!((&device["keys"], &device["signatures"]), (&keys["keys"], &keys["signatures"]));
    assert!(device["unsigned"]["device_display_name"].is_null(), "names of devices stay where they are");

    // A second device, a new name and the end of it.
    let tablet = bob.other_device();
    upload(&tablet, json!({ "device_keys": device_keys(&tablet, &KeyPair::of(2)) })).ok();
    let sees_tablet = || query(&alice, &bob)["device_keys"][&bob.id][&tablet.device].is_object();
    follower.until("the tablet", SOON, |sync| lists(sync, "changed", &bob) && sees_tablet());
    bob.put(v3(&["devices", &tablet.device]), json!({ "display_name": "Tablet" })).ok();
    follower.until("its name", SOON, |sync| lists(sync, "changed", &bob));
    tablet.post(v3(&["logout"]), json!({})).ok();
    follower.until("its end", SOON, |sync| lists(sync, "changed", &bob) && !sees_tablet());
    assert!(query(&alice, &bob)["device_keys"][&bob.id][&bob.device].is_object());

    bob.leave(&room);
    follower.until("bob left", SOON, |sync| lists(sync, "left", &bob));
}

#[test]
fn who_is_asked_in_or_came_back_is_told_of() {
    let (here, there) = (Site::start(), Site::named());
    let (alice, bob) = (here.user("alice"), there.user("bob"));
    upload(&bob, json!({ "device_keys": device_keys(&bob, &KeyPair::of(1)) })).ok();
    let room = public_room(&alice, "12");
    let mut follower = here.server.follow(&alice);
    alice.post(v3(&["rooms", &room, "invite"]), json!({ "user_id": bob.id })).ok();
    follower.until("bob is asked in", SOON, |sync| lists(sync, "changed", &bob));
    join_via(&bob, &room, &here);
    follower.until("bob shares a room", SOON, |sync| lists(sync, "changed", &bob));
    // Between two syncs bob leaves, has other devices, and comes back.
    let since = alice.initial_sync()["next_batch"].as_str().unwrap().to_owned();
    bob.leave(&room);
    wait_until("the leave arrives", SOON, || alice.members(&room, "leave").contains(&bob.id).then_some(()));
    let tablet = bob.other_device();
    upload(&tablet, json!({ "device_keys": device_keys(&tablet, &KeyPair::of(2)) })).ok();
    join_via(&bob, &room, &here);
    wait_until("the join arrives", SOON, || alice.members(&room, "join").contains(&bob.id).then_some(()));
    let after = alice.try_sync(Some(&since), Duration::ZERO, None).ok();
    assert!(lists(&after, "changed", &bob), "{after}");
}

#[test]
fn what_changed_while_no_room_was_shared_is_found_out() {
    let (here, there) = (Site::start(), Site::named());
    let (alice, bob) = (here.user("alice"), there.user("bob"));
    upload(&bob, json!({ "device_keys": device_keys(&bob, &KeyPair::of(1)) })).ok();
    let room = public_room(&alice, "12");
    join_via(&bob, &room, &here);
    wait_until("bob's keys are here", SOON, || {
        query(&alice, &bob)["device_keys"][&bob.id][&bob.device].is_object().then_some(())
    });
    bob.leave(&room);
    wait_until("the leave arrives", SOON, || alice.members(&room, "leave").contains(&bob.id).then_some(()));
    let tablet = bob.other_device();
    upload(&tablet, json!({ "device_keys": device_keys(&tablet, &KeyPair::of(2)) })).ok();
    join_via(&bob, &room, &here);
    wait_until("the join arrives", SOON, || alice.members(&room, "join").contains(&bob.id).then_some(()));
    let found = query(&alice, &bob);
    assert!(found["device_keys"][&bob.id][&tablet.device].is_object(), "{found}");
}

#[test]
fn strangers_are_asked_for_each_time() {
    let (here, there) = (Site::start(), Site::named());
    let (alice, bob) = (here.user("alice"), there.user("bob"));
    for seed in [1, 2] {
        let keys = device_keys(&bob, &KeyPair::of(seed));
        upload(&bob, json!({ "device_keys": keys })).ok();
        assert_eq!(query(&alice, &bob)["device_keys"][&bob.id][&bob.device]["keys"], keys["keys"]);
    }
}

#[test]
fn a_server_that_is_away_is_a_failure() {
    let (here, mut there) = (Site::start(), Site::named());
    let (alice, bob) = (here.user("alice"), there.user("bob"));
    let keys = device_keys(&bob, &KeyPair::of(1));
    upload(&bob, json!({ "device_keys": keys })).ok();
    let room = public_room(&alice, "12");
    join_via(&bob, &room, &here);
    wait_until("bob's keys are here", SOON, || {
        query(&alice, &bob)["device_keys"][&bob.id][&bob.device].is_object().then_some(())
    });
    let stranger = there.user("stranger");
    there.server.stop();
    let found = query(&alice, &bob);
    assert_eq!(found["device_keys"][&bob.id][&bob.device]["keys"], keys["keys"], "what is followed is known: {found}");
    assert_eq!(found["failures"], json!({}));
    let found = query(&alice, &stranger);
    assert!(found["failures"][there.name()].is_object(), "{found}");
    let found = claim(&alice, &bob, &bob.device, KIND);
    assert!(found["failures"][there.name()].is_object(), "{found}");
}

#[test]
fn one_time_keys_are_claimed_once_across_servers() {
    let (here, there) = (Site::start(), Site::named());
    let (alice, bob) = (here.user("alice"), there.user("bob"));
    upload(&bob, json!({ "one_time_keys": one_time_keys(0, 2) })).ok();
    let first = claimed(&claim(&alice, &bob, &bob.device, KIND), &bob, &bob.device).unwrap();
    let second = claimed(&claim(&alice, &bob, &bob.device, KIND), &bob, &bob.device).unwrap();
    assert_ne!(first, second);
    assert_eq!(claim(&alice, &bob, &bob.device, KIND)["one_time_keys"], json!({}));
    assert_eq!(bob.initial_sync()["device_one_time_keys_count"][KIND], 0);
}

fn messages_of(sync: &Value) -> Vec<Value> {
    events(&sync["to_device"]["events"]).to_vec()
}

#[test]
fn messages_reach_devices_of_other_servers_once() {
    let (here, there) = (Site::start(), Site::named());
    let (alice, bob) = (here.user("alice"), there.user("bob"));
    let tablet = bob.other_device();
    let (mut on_phone, mut on_tablet) = (there.server.follow(&bob), there.server.follow(&tablet));
    let send = |txn: &str, messages: Value| {
        let target = v3(&["sendToDevice", "m.room_key_request", txn]);
        alice.put(target, json!({ "messages": { bob.id.as_str(): messages } })).ok();
    };
    send("1", json!({ "*": { "n": 1 } }));
    send("1", json!({ "*": { "n": 1 } }));
    send("2", json!({ bob.device.as_str(): { "n": 2 } }));
    let mut seen = Vec::new();
    on_phone.until("both messages", SOON, |sync| {
        seen.extend(messages_of(sync));
        seen.iter().any(|event| event["content"]["n"] == 2)
    });
    let numbers: Vec<_> = seen.iter().map(|event| event["content"]["n"].clone()).collect();
    assert_eq!(numbers, [json!(1), json!(2)], "in their order, once each");
    assert_eq!((&seen[0]["sender"], &seen[0]["type"]), (&json!(alice.id), &json!("m.room_key_request")));
    let told = on_tablet.until("the message to all", SOON, |sync| !messages_of(sync).is_empty());
    assert_eq!(messages_of(&told).len(), 1);
}

#[test]
fn messages_wait_for_a_server_that_is_away() {
    let (here, mut there) = (Site::start(), Site::named());
    let (alice, bob) = (here.user("alice"), there.user("bob"));
    there.server.stop();
    // Large enough for more than one EDU.
    let content = json!({ "key": "k".repeat(40_000) });
    for number in 0..3 {
        let target = v3(&["sendToDevice", "m.room.encrypted", &number.to_string()]);
        let messages = json!({ bob.id.as_str(): { bob.device.as_str(): content, "OTHER": content } });
        alice.put(target, json!({ "messages": messages })).ok();
    }
    there.start_again();
    // Whoever hears of a server tries it again at once.
    bob.get(v3(&["profile", &alice.id])).ok();
    let mut count = 0;
    there.server.follow(&bob).until("all messages", 2 * SOON, |sync| {
        count += messages_of(sync).len();
        count >= 3
    });
    assert_eq!(count, 3);
}

#[test]
fn users_of_two_servers_verify_each_other() {
    let (here, there) = (Site::start(), Site::named());
    let (alice, bob) = (here.user("alice"), there.user("bob"));
    let room = public_room(&alice, "12");
    join_via(&bob, &room, &here);
    let mut follower = here.server.follow(&alice);
    let keys = |seed: u8| (KeyPair::of(seed), KeyPair::of(seed + 1), KeyPair::of(seed + 2));
    let publish = |user: &wardroom_testkit::User, master: &KeyPair, own: &KeyPair, others: &KeyPair| {
        let body = json!({
            "master_key": cross_signing_key(user, "master", master),
            "self_signing_key": signed_cross_signing_key(user, "self_signing", own, master),
            "user_signing_key": signed_cross_signing_key(user, "user_signing", others, master),
        });
        user.post(v3(&["keys", "device_signing", "upload"]), body).ok();
    };
    let (alice_master, alice_own, alice_others) = keys(10);
    publish(&alice, &alice_master, &alice_own, &alice_others);
    let (bob_master, bob_own, bob_others) = keys(20);
    publish(&bob, &bob_master, &bob_own, &bob_others);
    let master_of_bob = || query(&alice, &bob)["master_keys"][&bob.id].clone();
    follower.until("bob's keys", SOON, |sync| lists(sync, "changed", &bob) && master_of_bob().is_object());
    let found = query(&alice, &bob);
    assert!(found["self_signing_keys"][&bob.id].is_object(), "{found}");
    assert!(found["user_signing_keys"][&bob.id].is_null(), "that is bob's own business: {found}");

    // Alice signs bob's identity; only she sees that.
    let mut signed = cross_signing_key(&bob, "master", &bob_master);
    alice_others.sign(&mut signed, &alice.id, &alice_others.public);
    let body = json!({ bob.id.as_str(): { bob_master.public.as_str(): signed } });
    let answer = alice.post(v3(&["keys", "signatures", "upload"]), body).ok();
    assert_eq!(answer["failures"], json!({}), "{answer}");
    let key_id = format!("ed25519:{}", alice_others.public);
    assert!(master_of_bob()["signatures"][&alice.id][&key_id].is_string());
    follower.until("her signature", SOON, |sync| lists(sync, "changed", &bob));
    assert!(query(&bob, &bob)["master_keys"][&bob.id]["signatures"][&alice.id].is_null());

    // A signed device of bob's arrives with the signature.
    let mut device = device_keys(&bob, &KeyPair::of(30));
    upload(&bob, json!({ "device_keys": device })).ok();
    bob_own.sign(&mut device, &bob.id, &bob_own.public);
    let body = json!({ bob.id.as_str(): { bob.device.as_str(): device } });
    bob.post(v3(&["keys", "signatures", "upload"]), body).ok();
    let signer = format!("ed25519:{}", bob_own.public);
    wait_until("the signed device", SOON, || {
        let found = query(&alice, &bob);
        found["device_keys"][&bob.id][&bob.device]["signatures"][&bob.id][&signer].is_string().then_some(())
    });

    // With another identity of bob's the old signature is gone.
    let (bob_master, bob_own, bob_others) = keys(40);
    let body = json!({
        "master_key": cross_signing_key(&bob, "master", &bob_master),
        "self_signing_key": signed_cross_signing_key(&bob, "self_signing", &bob_own, &bob_master),
        "user_signing_key": signed_cross_signing_key(&bob, "user_signing", &bob_others, &bob_master),
    });
    bob.with_password_stage("POST", &v3(&["keys", "device_signing", "upload"]), body).ok();
    wait_until("the new identity", SOON, || {
        let master = master_of_bob();
        master["keys"][format!("ed25519:{}", bob_master.public)].is_string().then_some(())
    });
    assert!(master_of_bob()["signatures"][&alice.id].is_null());
}
