//! Transaction ids: a retry is the same event, per device and endpoint, also after a restart.

use wardroom_testkit::{Actor, Config, User, Value, json, text, unique, v3};

use crate::{server_with, ward};

fn send(user: &User, room: &str, txn: &str, body: &str) -> Value {
    user.try_send(room, "m.room.message", txn, text(body)).ok()["event_id"].clone()
}

#[test]
fn a_retry_gives_the_same_event_and_adds_none() {
    let alice = ward().user("alice");
    let (room, other) = (alice.create_room(json!({})), alice.create_room(json!({})));
    let txn = unique("retry");
    let first = send(&alice, &room, &txn, "once");
    for _ in 0..3 {
        assert_eq!(send(&alice, &room, &txn, "once"), first);
    }
    assert_eq!(send(&alice, &room, &txn, "a different body changes nothing"), first);
    let history = alice.history(&room);
    assert_eq!(history.iter().filter(|event| event["type"] == "m.room.message").count(), 1);
    // Another room is another request path.
    assert_ne!(send(&alice, &other, &txn, "once"), first);
}

#[test]
fn a_transaction_belongs_to_its_device_and_endpoint() {
    let phone = ward().user("alice");
    let desk = phone.other_device();
    let room = phone.create_room(json!({}));
    let txn = unique("device");
    let first = send(&phone, &room, &txn, "from the phone");
    assert_ne!(send(&desk, &room, &txn, "from the desk"), first);
    let redaction = phone.try_redact(&room, first.as_str().unwrap(), &txn).ok()["event_id"].clone();
    assert_ne!(redaction, first);
    assert_eq!(phone.try_redact(&room, first.as_str().unwrap(), &txn).ok()["event_id"], redaction);
}

#[test]
fn the_sender_sees_the_transaction_id_and_nobody_else_does() {
    let (phone, bob) = (ward().user("alice"), ward().user("bob"));
    let desk = phone.other_device();
    let room = phone.create_public_room(&[&bob]);
    let mut syncs = [ward().follow(&phone), ward().follow(&desk), ward().follow(&bob)];
    let txn = unique("echo");
    let id = send(&phone, &room, &txn, "echo");
    let mut seen = syncs.iter_mut().map(|sync| {
        let answer = sync.until("the message", crate::SOON, |sync| !wardroom_testkit::joined(sync, &room).is_null());
        let event =
            wardroom_testkit::timeline(&answer, &room).iter().find(|event| event["event_id"] == id).unwrap().clone();
        event["unsigned"]["transaction_id"].clone()
    });
    assert_eq!(seen.next(), Some(json!(txn)), "the sending device");
    assert_eq!(seen.next(), Some(Value::Null), "another device of the sender");
    assert_eq!(seen.next(), Some(Value::Null), "another user");
    assert_eq!(phone.try_event(&room, id.as_str().unwrap()).ok()["unsigned"]["transaction_id"], txn.as_str());
}

#[test]
fn a_refreshed_token_keeps_the_devices_transactions() {
    let body = json!({ "username": unique("txn"), "password": "secret", "refresh_token": true });
    let answer = ward().anonymous().try_register(body).ok();
    let alice = User::from_answer(ward().http(), &answer, "secret");
    let room = alice.create_room(json!({}));
    let txn = unique("refreshed");
    let first = send(&alice, &room, &txn, "once");
    let fresh = alice.anonymous().post(v3(&["refresh"]), json!({ "refresh_token": alice.refresh_token })).ok();
    let alice = alice.with_token(fresh["access_token"].as_str().unwrap());
    assert_eq!(send(&alice, &room, &txn, "once"), first);
}

#[test]
fn a_restart_forgets_no_transaction() {
    let mut server = server_with(Config::default());
    let alice = server.user("alice");
    let room = alice.create_room(json!({}));
    let txns: Vec<String> = (0..5).map(|_| unique("restart")).collect();
    let before: Vec<Value> = txns.iter().map(|txn| send(&alice, &room, txn, "once")).collect();
    server.restart();
    let after: Vec<Value> = txns.iter().map(|txn| send(&alice, &room, txn, "once")).collect();
    assert_eq!(after, before);
    server.kill9();
    server.start_again();
    let after: Vec<Value> = txns.iter().map(|txn| send(&alice, &room, txn, "once")).collect();
    assert_eq!(after, before);
    let history = alice.history(&room);
    assert_eq!(history.iter().filter(|event| event["type"] == "m.room.message").count(), txns.len());
}

#[test]
fn retries_that_race_are_one_event() {
    let alice = ward().user("alice");
    let room = alice.create_room(json!({}));
    for _ in 0..5 {
        let txn = unique("race");
        let ids: Vec<Value> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| send(&alice, &room, &txn, "race"))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(ids.iter().all(|id| id == &ids[0]), "{ids:?}");
    }
    let history = alice.history(&room);
    assert_eq!(history.iter().filter(|event| event["type"] == "m.room.message").count(), 5);
}
