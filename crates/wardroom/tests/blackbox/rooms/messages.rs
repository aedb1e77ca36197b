//! `PUT /rooms/{roomId}/send`.

use wardroom_testkit::{Actor, Body, bodies, event_ids, has_event, json, text, unique, v3};

use crate::ward;

#[test]
fn messages_arrive_in_order_at_every_member() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_public_room(&[&bob]);
    let mut sent = Vec::new();
    for n in 0..10 {
        let from = if n % 2 == 0 { &alice } else { &bob };
        sent.push(from.say(&room, &format!("message {n}")));
    }
    for reader in [&alice, &bob] {
        let history = reader.history(&room);
        let ids: Vec<_> = event_ids(&history).into_iter().filter(|id| sent.contains(id)).collect();
        assert_eq!(ids, sent);
        assert_eq!(bodies(&history), (0..10).map(|n| format!("message {n}")).collect::<Vec<_>>());
    }
}

#[test]
fn content_comes_back_as_it_was_sent() {
    let alice = ward().user("alice");
    let room = alice.create_room(json!({}));
    let content = json!({
        "msgtype": "m.text", "body": "Zeile 1\nZeile 2 \u{0000} \" \\ 💉 \u{feff}", "example.unknown": { "deep": [null, true, -1, 9_007_199_254_740_991_i64, { "": [] }] },
        "m.mentions": {},
    });
    for kind in ["m.room.message", "example.custom", "m.sticker"] {
        let answer = alice.try_send(&room, kind, &unique("txn"), content.clone()).ok();
        let event = alice.try_event(&room, answer["event_id"].as_str().unwrap()).ok();
        assert_eq!(event["content"], content);
        assert_eq!(
            (&event["type"], &event["sender"], &event["room_id"]),
            (&json!(kind), &json!(alice.id), &json!(room))
        );
    }
}

#[test]
fn only_members_send() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_room(json!({ "preset": "private_chat" }));
    let before = alice.history(&room).len();
    let send = |what: &str| bob.try_send(&room, "m.room.message", &unique("txn"), text(what));
    send("stranger").refused(403, "M_FORBIDDEN");
    alice.invite(&room, &bob);
    send("invited").refused(403, "M_FORBIDDEN");
    bob.join(&room);
    send("member").ok();
    bob.leave(&room);
    send("left").refused(403, "M_FORBIDDEN");
    let unknown = format!("!{}:{}", unique("nowhere"), ward().name());
    let answer = alice.try_send(&unknown, "m.room.message", &unique("txn"), text("x"));
    answer.refused_with_one_of(403, &["M_FORBIDDEN"]);
    assert_eq!(alice.history(&room).len(), before + 4, "invite, join, message, leave");
}

#[test]
fn an_event_just_under_the_limit_is_taken_and_one_over_it_refused() {
    let alice = ward().user("alice");
    let room = alice.create_room(json!({}));
    let body = "x".repeat(60_000);
    let id = alice.say(&room, &body);
    assert_eq!(alice.try_event(&room, &id).ok()["content"]["body"], body);
    let before = alice.history(&room).len();
    for bytes in [65_536, 70_000, 1_000_000] {
        let answer = alice.try_send(&room, "m.room.message", &unique("txn"), text(&"x".repeat(bytes)));
        answer.refused(413, "M_TOO_LARGE");
    }
    assert_eq!(alice.history(&room).len(), before);
}

#[test]
fn many_senders_at_once_lose_and_repeat_nothing() {
    const SENDERS: usize = 6;
    const EACH: usize = 15;
    let users: Vec<_> = (0..SENDERS).map(|_| ward().user("sender")).collect();
    let room = users[0].create_public_room(&users[1..].iter().collect::<Vec<_>>());
    let sent: Vec<Vec<String>> = std::thread::scope(|scope| {
        let threads: Vec<_> = users
            .iter()
            .map(|user| scope.spawn(|| (0..EACH).map(|n| user.say(&room, &n.to_string())).collect::<Vec<_>>()))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let history = users[0].history(&room);
    let messages: Vec<_> = history.iter().filter(|event| event["type"] == "m.room.message").cloned().collect();
    assert_eq!(messages.len(), SENDERS * EACH);
    for (user, sent) in users.iter().zip(&sent) {
        let own: Vec<_> = messages.iter().filter(|event| event["sender"] == user.id.as_str()).cloned().collect();
        assert_eq!(&event_ids(&own), sent, "each sender's messages are in their order");
    }
    let mut forward = users[1].walk(&room, "f", |_| false);
    forward.retain(|event| event["type"] == "m.room.message");
    assert_eq!(event_ids(&forward), event_ids(&messages), "everybody sees one order");
}

#[test]
fn the_type_and_the_body_are_checked() {
    let alice = ward().user("alice");
    let room = alice.create_room(json!({}));
    let before = alice.history(&room);
    let target = || v3(&["rooms", &room, "send", "m.room.message", &unique("txn")]);
    let raw = |bytes: &str| alice.request("PUT", &target(), Body::Raw(bytes.as_bytes().to_vec(), "application/json"));
    raw("[]").refused(400, "M_BAD_JSON");
    raw("{").refused(400, "M_NOT_JSON");
    let long_type = "t".repeat(256);
    let answer = alice.try_send(&room, &long_type, &unique("txn"), json!({}));
    assert!([400, 413].contains(&answer.status), "{}", answer.story());
    let state =
        alice.put(v3(&["rooms", &room, "send", "m.room.member", &unique("txn")]), json!({ "membership": "join" }));
    assert!(state.status == 200 || (400..500).contains(&state.status), "{}", state.story());
    let after = alice.history(&room);
    assert!(!has_event(&before, "$x") && after.len() - before.len() <= 1);
}

/// Date and time of a message are the server's, whatever its sender would like them to be.
#[test]
fn nobody_chooses_the_time_of_a_message() {
    let alice = ward().user("alice");
    let room = alice.create_room(json!({}));
    let now = wardroom_testkit::peer::now_ms();
    for time in [0, now + 24 * 60 * 60 * 1_000, 4_102_488_000_000] {
        let target = v3(&["rooms", &room, "send", "m.room.message", &unique("t")]);
        let mut content = text("when?");
        content["origin_server_ts"] = json!(time);
        let sent = alice.put(target.query("ts", &time.to_string()), content).ok();
        let event = alice.try_event(&room, sent["event_id"].as_str().unwrap()).ok();
        let stamped = event["origin_server_ts"].as_u64().unwrap();
        assert!(stamped.abs_diff(now) < 60 * 60 * 1_000, "{time}: {event}");
    }
}
