//! Waiting: a request returns when something happened for its connection, and only then.

use std::{sync::mpsc, thread, time::Duration};

use wardroom_testkit::{Actor, Value, bodies, events, json, v3};

use super::{Connection, all, room, told};
use crate::{SOON, ward};

/// A wait that must not be ended by anything.
const QUIET: Duration = Duration::from_millis(1_500);
/// A wait that must be ended by something long before it is over.
const LONG: Duration = Duration::from_secs(50);

/// Starts a long poll, does something once the poll is on its way, and gives the answer.
fn wake(connection: &mut Connection<'_>, action: impl FnOnce()) -> Value {
    thread::scope(|scope| {
        let (started, on_its_way) = mpsc::channel();
        let poll = scope.spawn(move || {
            started.send(()).unwrap();
            connection.poll(LONG)
        });
        on_its_way.recv().unwrap();
        // Whether the request reaches the server before or after the action makes no difference to what must come
        // back; waiting here makes it likely that it is before.
        thread::sleep(Duration::from_millis(100));
        action();
        poll.join().unwrap()
    })
}

#[test]
fn what_concerns_a_connection_ends_the_wait() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let id = alice.create_public_room(&[&bob]);
    let unseen = alice.create_public_room(&[&bob]);
    let message = alice.say(&id, "on top");
    let extensions =
        json!({ "account_data": { "enabled": true }, "receipts": { "enabled": true }, "typing": { "enabled": true } });
    let mut connection = Connection::new(&alice, json!({ "lists": { "a": all(0, 5) }, "extensions": extensions }));
    connection.next();
    let answer = wake(&mut connection, || drop(bob.say(&id, "hello")));
    assert_eq!(bodies(events(&room(&answer, &id)["timeline"])), ["hello"], "{answer}");
    let answer = wake(&mut connection, || {
        bob.post(v3(&["rooms", &id, "receipt", "m.read", &message]), json!({})).ok();
    });
    assert!(answer["extensions"]["receipts"]["rooms"][&id].is_object(), "{answer}");
    let answer = wake(&mut connection, || {
        bob.put(v3(&["rooms", &id, "typing", &bob.id]), json!({ "typing": true, "timeout": 60_000 })).ok();
    });
    assert!(answer["extensions"]["typing"]["rooms"][&id].is_object(), "{answer}");
    let answer = wake(&mut connection, || {
        alice.put(v3(&["user", &alice.id, "account_data", "org.example.x"]), json!({})).ok();
    });
    assert!(answer["extensions"]["account_data"]["global"].is_array(), "{answer}");
    let answer = wake(&mut connection, || drop(bob.say(&unseen, "into the window")));
    assert_eq!((&room(&answer, &unseen)["initial"], told(&answer).len()), (&json!(true), 1), "{answer}");
    let private = bob.create_room(json!({}));
    let answer = wake(&mut connection, || bob.invite(&private, &alice));
    assert!(room(&answer, &private)["invite_state"].is_array(), "{answer}");
    // A room that is joined while waiting is listened to.
    let joined = bob.create_public_room(&[]);
    let answer = wake(&mut connection, || alice.join(&joined));
    assert_eq!(room(&answer, &joined)["membership"], "join", "{answer}");
    let answer = wake(&mut connection, || drop(bob.say(&joined, "welcome")));
    assert_eq!(bodies(events(&room(&answer, &joined)["timeline"])), ["welcome"], "{answer}");
}

#[test]
fn what_does_not_concern_a_connection_does_not() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let id = alice.create_public_room(&[&bob]);
    let body = json!({ "room_subscriptions": { &id: { "timeline_limit": 1 } } });
    let mut connection = Connection::new(&bob, body);
    connection.next();
    let other = alice.create_public_room(&[&bob]);
    let answer = thread::scope(|scope| {
        let poll = scope.spawn(|| connection.poll(QUIET));
        alice.say(&other, "elsewhere");
        alice.put(v3(&["rooms", &id, "typing", &alice.id]), json!({ "typing": true, "timeout": 60_000 })).ok();
        poll.join().unwrap()
    });
    assert_eq!((told(&answer).len(), &answer["extensions"]), (0, &json!({})), "{answer}");
    alice.say(&id, "here");
    let answer = connection.poll(LONG);
    assert_eq!(bodies(events(&room(&answer, &id)["timeline"])), ["here"], "{answer}");
}

#[test]
fn nobody_misses_anything_under_load() {
    const MESSAGES: usize = 120;
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let ids: Vec<String> = (0..3).map(|_| alice.create_public_room(&[&bob])).collect();
    let mut connection = Connection::new(&bob, json!({ "lists": { "a": all(9, 100) } }));
    connection.next();
    let mut heard = Vec::new();
    thread::scope(|scope| {
        scope.spawn(|| (0..MESSAGES).for_each(|number| drop(alice.say(&ids[number % 3], &number.to_string()))));
        connection.until("all messages", SOON, |answer| {
            for id in &ids {
                assert!(room(answer, id)["limited"].is_null(), "{answer}");
                heard.extend(bodies(events(&room(answer, id)["timeline"])));
            }
            heard.len() >= MESSAGES
        });
    });
    let mut numbers: Vec<usize> = heard.iter().map(|body| body.parse().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..MESSAGES).collect::<Vec<_>>(), "each once");
}
