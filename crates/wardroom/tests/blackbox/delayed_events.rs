//! Events that are sent later.

use wardroom_testkit::{Actor, Config, Reply, Target, User, Value, json, raw, unique, v3, wait_until};

use crate::{SOON, server_with, ward};

const DELAY: &str = "org.matrix.msc4140.delay";
const BASE: &str = "/_matrix/client/unstable/org.matrix.msc4140/delayed_events";
/// Long enough that no test sees it end.
const LONG_MS: &str = "1000000";

fn send_later(user: &User, room: &str, body: &str, delay_ms: &str) -> Reply {
    let target = v3(&["rooms", room, "send", "m.room.message", &unique("txn")]).query(DELAY, delay_ms);
    user.put(target, wardroom_testkit::text(body))
}

fn set_later(user: &User, room: &str, key: &str, content: Value, delay_ms: &str) -> Reply {
    user.put(v3(&["rooms", room, "state", "org.example.call", key]).query(DELAY, delay_ms), content)
}

#[track_caller]
fn id(reply: &Reply) -> String {
    let answer = reply.ok();
    assert!(answer["event_id"].is_null(), "{answer}");
    answer["delay_id"].as_str().unwrap_or_else(|| panic!("delay_id is missing: {answer}")).to_owned()
}

fn one(id: &str) -> Target {
    raw(&format!("{BASE}/{id}"))
}

#[track_caller]
fn waiting(user: &User) -> Vec<Value> {
    user.get(raw(BASE)).ok()["delayed_events"].as_array().unwrap().clone()
}

fn messages(user: &User, room: &str) -> Vec<String> {
    wardroom_testkit::bodies(&user.history(room))
}

#[test]
fn an_event_is_sent_when_its_time_has_come() {
    let alice = ward().user("alice");
    let room = alice.create_public_room(&[]);
    let message = id(&send_later(&alice, &room, "later", "300"));
    let state = id(&set_later(&alice, &room, "key", json!({ "hung_up": true }), "300"));
    wait_until("the message", SOON, || (messages(&alice, &room) == ["later"]).then_some(()));
    wait_until("the state", SOON, || (alice.try_state(&room, "org.example.call", "key").status == 200).then_some(()));
    assert_eq!(alice.state(&room, "org.example.call", "key"), json!({ "hung_up": true }));
    wait_until("both are final", SOON, || waiting(&alice).is_empty().then_some(()));
    for id in [message, state] {
        let event = alice.get(one(&id)).ok();
        assert!(event["event_id"].is_string() && event["finalised_ts"].is_u64(), "{event}");
    }
}

#[test]
fn what_waits_is_listed_to_its_user_alone() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_public_room(&[&bob]);
    let second = id(&send_later(&alice, &room, "second", "2000000"));
    let first = id(&set_later(&alice, &room, "", json!({ "a": 1 }), LONG_MS));
    let listed = waiting(&alice);
    assert_eq!(listed.len(), 2, "{listed:?}");
    let expected = [
        (&first, "org.example.call", json!({ "a": 1 })),
        (&second, "m.room.message", wardroom_testkit::text("second")),
    ];
    for (event, (id, kind, content)) in listed.iter().zip(expected) {
        assert_eq!((&event["delay_id"], &event["type"], &event["content"]), (&json!(id), &json!(kind), &content));
        assert_eq!(event["room_id"], room.as_str());
        assert!(event["running_since"].is_u64() && event["delay"].is_u64(), "{event}");
    }
    assert_eq!((&listed[0]["state_key"], listed[1].get("state_key")), (&json!(""), None));
    assert_eq!(alice.get(one(&first)).ok()["delay_id"], first.as_str());
    assert!(waiting(&bob).is_empty());
    bob.get(one(&first)).refused(404, "M_NOT_FOUND");
    bob.anonymous().get(raw(BASE)).refused(401, "M_MISSING_TOKEN");
}

#[test]
fn whoever_knows_the_id_sends_cancels_and_restarts() {
    let alice = ward().user("alice");
    let room = alice.create_public_room(&[]);
    let nobody = alice.anonymous();
    let act = |id: &str, action: &str| nobody.post(raw(&format!("{BASE}/{id}/{action}")), json!({}));
    let (sent, cancelled) =
        (id(&send_later(&alice, &room, "sent", LONG_MS)), id(&send_later(&alice, &room, "cancelled", LONG_MS)));
    let before = alice.get(one(&sent)).ok()["running_since"].as_u64().unwrap();
    act(&sent, "restart").ok();
    assert!(alice.get(one(&sent)).ok()["running_since"].as_u64().unwrap() >= before);
    act(&sent, "send").ok();
    act(&sent, "send").ok();
    act(&cancelled, "cancel").ok();
    act(&cancelled, "cancel").ok();
    assert_eq!(messages(&alice, &room), ["sent"]);
    assert!(waiting(&alice).is_empty());
    for (id, action) in [(&sent, "cancel"), (&sent, "restart"), (&cancelled, "send"), (&cancelled, "restart")] {
        act(id, action).refused(409, "M_UNKNOWN");
    }
    let event = alice.get(one(&cancelled)).ok();
    assert!(event["finalised_ts"].is_u64() && event.get("event_id").is_none() && event.get("error").is_none());
    act("unknown", "send").refused(404, "M_NOT_FOUND");
    act(&sent, "explode").refused(400, "M_INVALID_PARAM");
}

#[test]
fn the_action_may_stand_in_the_body() {
    let alice = ward().user("alice");
    let room = alice.create_public_room(&[]);
    let event = id(&send_later(&alice, &room, "hello", LONG_MS));
    for action in ["restart", "send"] {
        alice.post(one(&event), json!({ "action": action })).ok();
    }
    assert_eq!(messages(&alice, &room), ["hello"]);
    alice.post(one(&event), json!({})).refused(400, "M_BAD_JSON");
    alice.anonymous().post(one(&event), json!({ "action": "send" })).refused(401, "M_MISSING_TOKEN");
}

#[test]
fn the_newer_endpoint_schedules_too() {
    let alice = ward().user("alice");
    let room = alice.create_public_room(&[]);
    let target = |txn: &str| {
        let room = wardroom_testkit::encode(&room);
        let path = "/_matrix/client/unstable/org.matrix.msc4140/rooms";
        raw(&format!("{path}/{room}/delayed_event/org.example.note/{txn}"))
    };
    let body = json!({ "delay_ms": 1_000_000, "content": { "a": 1 } });
    let event = id(&alice.put(target("1"), body.clone()));
    assert_eq!(id(&alice.put(target("1"), body)), event, "a repeated request is recognized");
    let state = json!({ "delay_ms": 1_000_000, "state_key": "k", "content": { "a": 2 } });
    let state = id(&alice.put(target("2"), state));
    let listed = waiting(&alice);
    assert_eq!(listed.len(), 2);
    assert_eq!((&listed[1]["delay_id"], &listed[1]["state_key"]), (&json!(state), &json!("k")));
    alice.put(target("3"), json!({ "content": {} })).refused(400, "M_BAD_JSON");
    alice.put(target("3"), json!({ "delay_ms": 0, "content": {} })).refused(400, "M_INVALID_PARAM");
    alice.put(target("3"), json!({ "delay_ms": 5, "content": [] })).refused(400, "M_BAD_JSON");
    alice.put(target("3"), json!({ "delay_ms": 900_000_000, "content": {} })).refused(403, "M_FORBIDDEN");
}

#[test]
fn an_event_is_authorized_when_it_is_sent() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_public_room(&[&bob]);
    let event = id(&send_later(&bob, &room, "too late", LONG_MS));
    alice.on_member("kick", &room, &bob).ok();
    let send = || bob.post(raw(&format!("{BASE}/{event}/send")), json!({}));
    send().refused(403, "M_FORBIDDEN");
    assert_eq!(waiting(&bob).len(), 1, "it goes on waiting");
    bob.join(&room);
    send().ok();
    assert_eq!(messages(&alice, &room), ["too late"]);

    let due = id(&send_later(&bob, &room, "never", "400"));
    alice.on_member("kick", &room, &bob).ok();
    let failed = wait_until("the failure", SOON, || {
        let event = bob.get(one(&due)).ok();
        event["finalised_ts"].is_u64().then_some(event)
    });
    assert!(failed["error"]["error"].is_string() && failed.get("event_id").is_none(), "{failed}");
    send_later(&bob, &room, "x", LONG_MS).refused(403, "M_FORBIDDEN");
}

#[test]
fn bad_delays_are_refused() {
    let alice = ward().user("alice");
    let room = alice.create_public_room(&[]);
    for bad in ["0", "-1", "soon", "", "1.5"] {
        send_later(&alice, &room, "x", bad).refused(400, "M_INVALID_PARAM");
        set_later(&alice, &room, "", json!({}), bad).refused(400, "M_INVALID_PARAM");
    }
    let refused = send_later(&alice, &room, "x", "86400001").refused(400, "M_UNKNOWN");
    assert_eq!(refused["org.matrix.msc4140.errcode"], "M_MAX_DELAY_EXCEEDED");
    assert_eq!(refused["org.matrix.msc4140.max_delay"], 86_400_000);
    assert!(waiting(&alice).is_empty() && messages(&alice, &room).is_empty());
}

#[test]
fn a_user_has_so_many_at_most() {
    let server = server_with(Config::default().set("delayed_events.max_per_user", "2"));
    let alice = server.user("alice");
    let room = alice.create_public_room(&[]);
    let first = id(&send_later(&alice, &room, "1", LONG_MS));
    id(&send_later(&alice, &room, "2", LONG_MS));
    let refused = send_later(&alice, &room, "3", LONG_MS).refused(400, "M_UNKNOWN");
    assert_eq!(refused["org.matrix.msc4140.errcode"], "M_MAX_DELAYED_EVENTS_EXCEEDED");
    alice.post(raw(&format!("{BASE}/{first}/cancel")), json!({})).ok();
    id(&send_later(&alice, &room, "3", LONG_MS));
}

#[test]
fn what_came_due_while_the_server_was_down_is_sent_at_its_start() {
    let mut server = server_with(Config::default());
    let alice = server.user("alice");
    let room = alice.create_public_room(&[]);
    let (first, long) =
        (id(&send_later(&alice, &room, "due", "500")), id(&send_later(&alice, &room, "later", LONG_MS)));
    server.kill9();
    server.start_again();
    wait_until("the event that was due", SOON, || (messages(&alice, &room) == ["due"]).then_some(()));
    wait_until("its outcome", SOON, || alice.get(one(&first)).ok()["event_id"].is_string().then_some(()));
    assert_eq!(waiting(&alice)[0]["delay_id"], long.as_str());
    alice.post(raw(&format!("{BASE}/{long}/send")), json!({})).ok();
    assert_eq!(messages(&alice, &room), ["due", "later"]);
}
