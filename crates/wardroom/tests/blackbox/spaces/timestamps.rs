//! `GET /rooms/{roomId}/timestamp_to_event`.

use wardroom_testkit::{Actor, Target, User, json, raw, unique, v1};

use crate::{server_with, ward};

fn path(room: &str, time: u64, dir: &str) -> Target {
    v1(&["rooms", room, "timestamp_to_event"]).query("ts", &time.to_string()).query("dir", dir)
}

fn time_of(user: &User, room: &str, event: &str) -> u64 {
    user.try_event(room, event).ok()["origin_server_ts"].as_u64().unwrap()
}

/// Two messages of different times: says and waits until the clock has moved.
fn two_messages(user: &User, room: &str) -> (String, String) {
    let first = user.say(room, "first");
    let time = time_of(user, room, &first);
    loop {
        let second = user.say(room, "second");
        if time_of(user, room, &second) > time {
            return (first, second);
        }
    }
}

#[test]
fn the_closest_event_in_a_direction_is_found() {
    let alice = ward().user("alice");
    let room = alice.create_room(json!({}));
    let create = alice.history(&room)[0]["event_id"].clone();
    let (_, last) = two_messages(&alice, &room);
    let time = time_of(&alice, &room, &last);
    let expected = json!({ "event_id": last, "origin_server_ts": time });
    for (from, dir) in [(time, "b"), (time + 1, "b"), (u64::from(u32::MAX) * 1_000, "b"), (time, "f")] {
        assert_eq!(alice.get(path(&room, from, dir)).ok(), expected, "{from} {dir}");
    }
    assert_ne!(alice.get(path(&room, time - 1, "b")).ok()["event_id"], expected["event_id"]);
    assert_eq!(alice.get(path(&room, 0, "f")).ok()["event_id"], create);
    alice.get(path(&room, time + 1, "f")).refused(404, "M_NOT_FOUND");
    alice.get(path(&room, 0, "b")).refused(404, "M_NOT_FOUND");
    let old = format!("/_matrix/client/unstable/org.matrix.msc3030/rooms/{room}/timestamp_to_event?ts={time}&dir=f");
    assert_eq!(alice.get(raw(&old)).ok(), expected);
    let context = v1(&["rooms", &room, "timestamp_to_event"]);
    alice.get(context).refused_with_one_of(400, &["M_INVALID_PARAM", "M_MISSING_PARAM"]);
    for (ts, dir) in [("x", "f"), ("-1", "f"), ("1", "up"), ("1.5", "b")] {
        let target = v1(&["rooms", &room, "timestamp_to_event"]).query("ts", ts).query("dir", dir);
        alice.get(target).refused_with_one_of(400, &["M_INVALID_PARAM", "M_BAD_JSON"]);
    }
}

#[test]
fn what_its_reader_does_not_see_is_passed_over() {
    let (alice, bob, eve) = (ward().user("alice"), ward().user("bob"), ward().user("eve"));
    let visibility = json!({ "type": "m.room.history_visibility", "content": { "history_visibility": "joined" } });
    let room = alice.create_room(json!({ "preset": "public_chat", "initial_state": [visibility] }));
    let before = alice.say(&room, "before bob");
    let before = time_of(&alice, &room, &before);
    eve.get(path(&room, 0, "f")).refused(403, "M_FORBIDDEN");
    eve.get(path(&format!("!{}:{}", unique("nowhere"), ward().name()), 0, "f")).refused(403, "M_FORBIDDEN");
    bob.join(&room);
    let first = bob.get(path(&room, before, "f")).ok()["event_id"].as_str().unwrap().to_owned();
    let event = bob.try_event(&room, &first).ok();
    assert_eq!((&event["type"], &event["state_key"]), (&json!("m.room.member"), &json!(bob.id)));
    bob.leave(&room);
    alice.say(&room, "after bob");
    let last = bob.get(path(&room, u64::from(u32::MAX) * 1_000, "b")).ok();
    let last = bob.try_event(&room, last["event_id"].as_str().unwrap()).ok();
    assert_eq!((&last["type"], &last["content"]["membership"]), (&json!("m.room.member"), &json!("leave")));
}

#[test]
fn events_are_found_by_time_after_a_restart() {
    let mut server = server_with(wardroom_testkit::Config::default());
    let alice = server.user("alice");
    let room = alice.create_room(json!({}));
    let (_, last) = two_messages(&alice, &room);
    let time = time_of(&alice, &room, &last);
    server.kill9();
    server.start_again();
    assert_eq!(alice.get(path(&room, time, "f")).ok()["event_id"], last.as_str());
}
