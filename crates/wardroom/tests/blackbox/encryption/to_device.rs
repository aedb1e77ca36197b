//! `PUT /sendToDevice/{eventType}/{txnId}`, and how messages reach their device.

use std::thread;

use wardroom_testkit::{Actor, Config, Follower, Reply, User, Value, events, json, unique, v3};

use crate::{SOON, server_with, ward};

const KIND: &str = "m.x.test";

fn send(user: &User, messages: Value) -> Reply {
    let mut body = json!({});
    body["messages"] = messages;
    user.put(v3(&["sendToDevice", KIND, &unique("txn")]), body)
}

/// Sends a numbered message to a device.
fn number(from: &User, to: &User, n: u64) {
    send(from, json!({ to.id.as_str(): { to.device.as_str(): { "n": n } } })).ok();
}

fn numbers(sync: &Value) -> Vec<u64> {
    events(&sync["to_device"]["events"]).iter().map(|event| event["content"]["n"].as_u64().unwrap()).collect()
}

#[test]
fn a_message_comes_as_it_was_sent_and_wakes_its_device_alone() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let desk = bob.other_device();
    let (mut of_bob, mut of_desk) = (ward().follow(&bob), ward().follow(&desk));
    let content = json!({ "text": "ü \u{1f600}", "nested": { "n": [1, 2.5, null] } });
    send(&alice, json!({ bob.id.as_str(): { bob.device.as_str(): content } })).ok();
    let answer = of_bob.until("the message", SOON, |sync| !events(&sync["to_device"]["events"]).is_empty());
    assert_eq!(answer["to_device"]["events"], json!([{ "type": KIND, "sender": alice.id, "content": content }]));
    assert!(of_desk.now()["to_device"].is_null());
    assert!(of_bob.now()["to_device"].is_null(), "told once");
}

#[test]
fn a_lost_answer_is_repeated_and_an_acknowledged_one_is_not() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let since = bob.initial_sync()["next_batch"].as_str().unwrap().to_owned();
    number(&alice, &bob, 1);
    number(&alice, &bob, 2);
    for _ in 0..3 {
        let mut lost = Follower::since(&bob, &since);
        assert_eq!(numbers(&lost.now()), [1, 2]);
    }
    assert_eq!(numbers(&bob.initial_sync()), [1, 2], "who starts anew gets what was not acknowledged");
    let mut sync = Follower::since(&bob, &since);
    sync.now();
    number(&alice, &bob, 3);
    assert_eq!(numbers(&sync.now()), [3]);
    assert_eq!(numbers(&bob.initial_sync()), [3], "what was acknowledged is gone");
    sync.now();
    assert_eq!(numbers(&bob.initial_sync()), [0_u64; 0]);
}

#[test]
fn many_messages_come_in_order_none_lost_also_over_a_crash() {
    const MESSAGES: u64 = 350;
    let mut server = server_with(Config::default());
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room = bob.create_room(json!({}));
    let mut since = bob.initial_sync()["next_batch"].as_str().unwrap().to_owned();
    for n in 0..MESSAGES {
        number(&alice, &bob, n);
    }
    // Other news do not make the rest be passed over.
    bob.say(&room, "in between");
    let mut got = Vec::new();
    let mut first = true;
    while (got.len() as u64) < MESSAGES {
        let mut sync = Follower::since(&bob, &since);
        let answer = sync.now();
        let batch = numbers(&answer);
        assert!(batch.len() <= 100, "at most a hundred in an answer, not {}", batch.len());
        assert!(!batch.is_empty(), "the rest is there: {answer}");
        got.extend(batch);
        since = sync.token().to_owned();
        // A token with a rest is one for pagination too.
        bob.try_messages(&room, "b", Some(&since), "1").ok();
        if first {
            server.kill9();
            server.start_again();
            first = false;
        }
    }
    assert_eq!(got, (0..MESSAGES).collect::<Vec<_>>());
    let mut sync = Follower::since(&bob, &since);
    assert_eq!(numbers(&sync.now()), [0_u64; 0]);
    number(&alice, &bob, MESSAGES);
    assert_eq!(numbers(&sync.now()), [MESSAGES]);
}

#[test]
fn nothing_is_lost_between_senders_at_the_same_time() {
    const SENDERS: u64 = 8;
    const EACH: u64 = 25;
    let bob = ward().user("bob");
    let mut sync = ward().follow(&bob);
    let senders: Vec<User> = (0..SENDERS).map(|_| ward().user("sender")).collect();
    let mut got = Vec::new();
    thread::scope(|scope| {
        for (sender, first) in senders.iter().zip((0..).step_by(1_000)) {
            let bob = &bob;
            scope.spawn(move || (first..first + EACH).for_each(|n| number(sender, bob, n)));
        }
        sync.until("all messages", SOON, |sync| {
            got.extend(numbers(sync));
            got.len() as u64 >= SENDERS * EACH
        });
    });
    for first in (0..).step_by(1_000).take(usize::try_from(SENDERS).unwrap()) {
        let of_one: Vec<u64> = got.iter().copied().filter(|n| (first..first + 1_000).contains(n)).collect();
        assert_eq!(of_one, (first..first + EACH).collect::<Vec<_>>(), "in the order of each sender, each once");
    }
}

#[test]
fn a_transaction_is_sent_once() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let desk = alice.other_device();
    let mut sync = ward().follow(&bob);
    let body = |n: u64| json!({ "messages": { bob.id.as_str(): { bob.device.as_str(): { "n": n } } } });
    let txn = unique("txn");
    let target = |kind: &str| v3(&["sendToDevice", kind, &txn]);
    for n in [1, 2] {
        alice.put(target(KIND), body(n)).ok();
    }
    alice.put(target("m.x.other"), body(3)).ok();
    desk.put(target(KIND), body(4)).ok();
    let mut got = Vec::new();
    sync.until("three messages", SOON, |sync| {
        got.extend(numbers(sync));
        got.len() >= 3
    });
    assert_eq!(got, [1, 3, 4], "a repeated request is none; another type or device is another transaction");
}

#[test]
fn a_star_is_every_device_and_who_does_not_exist_is_passed_over() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let desk = bob.other_device();
    let (mut of_bob, mut of_desk) = (ward().follow(&bob), ward().follow(&desk));
    let nobody = format!("@nobody-at-all:{}", ward().name());
    send(
        &alice,
        json!({
            bob.id.as_str(): { "*": { "n": 1 }, desk.device.as_str(): { "n": 2 }, "NONE": { "n": 3 } },
            nobody.as_str(): { "*": { "n": 4 } },
            "@x:elsewhere.example": { "A": { "n": 5 } },
        }),
    )
    .ok();
    assert_eq!((numbers(&of_bob.now()), numbers(&of_desk.now())), (vec![1], vec![2]));
    send(&alice, json!({ alice.id.as_str(): { "*": { "n": 6 } } })).ok();
    assert_eq!(numbers(&alice.initial_sync()), [6]);
}

#[test]
fn an_inbox_ends_with_its_device() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let desk = bob.other_device();
    number(&alice, &desk, 1);
    desk.post(v3(&["logout"]), json!({})).ok();
    let body = json!({
        "type": "m.login.password", "device_id": desk.device, "password": bob.password,
        "identifier": { "type": "m.id.user", "user": bob.id },
    });
    let again = User::from_answer(ward().http(), &bob.anonymous().post(v3(&["login"]), body).ok(), &bob.password);
    assert_eq!(again.device, desk.device);
    assert_eq!(numbers(&again.initial_sync()), [0_u64; 0]);
    number(&alice, &again, 2);
    assert_eq!(numbers(&again.initial_sync()), [2]);
}

#[test]
fn what_is_no_message_is_refused() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let to_bob = |content: Value| json!({ bob.id.as_str(): { bob.device.as_str(): content } });
    send(&alice, to_bob(json!("text"))).refused_with_one_of(400, &["M_INVALID_PARAM", "M_BAD_JSON"]);
    send(&alice, to_bob(json!({ "x": "x".repeat(70_000) }))).refused(413, "M_TOO_LARGE");
    send(&alice, json!({ "nobody": {} })).refused(400, "M_BAD_JSON");
    send(&alice, json!({ bob.id.as_str(): 7 })).refused(400, "M_BAD_JSON");
    alice.put(v3(&["sendToDevice", KIND, "1"]), json!({})).refused(400, "M_BAD_JSON");
    let long = "x".repeat(300);
    alice.put(v3(&["sendToDevice", &long, "1"]), json!({ "messages": to_bob(json!({})) })).refused(413, "M_TOO_LARGE");
    alice.anonymous().put(v3(&["sendToDevice", KIND, "1"]), json!({})).refused(401, "M_MISSING_TOKEN");
    assert!(bob.initial_sync()["to_device"].is_null(), "nothing came");
}
