//! What is told of an event's children with the event, wherever it is told.

use std::time::Duration;

use wardroom_testkit::{Actor, User, Value, bodies, event_ids, events, find_event, json, run, text, timeline, v1, v3};

use super::{bundle, children, edit, edit_of, relate, reply, send, threads};
use crate::{server_with, ward};

/// How long the check of a small store may take.
const FSCK_LIMIT: Duration = Duration::from_secs(60);

#[test]
fn the_newest_valid_edit_is_told_whole_and_the_event_left_as_it_is() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_public_room(&[&bob]);
    let message = alice.say(&room, "first");
    let one = edit(&alice, &room, &message, "second");
    let two = edit(&alice, &room, &message, "third");
    // None of these is a valid edit.
    edit(&bob, &room, &message, "by another");
    relate(&alice, &room, "m.replace", &message, "without new content");
    send(&alice, &room, "m.sticker", edit_of(&message, "of another type"));
    alice.set_state(&room, "m.room.message", "x", edit_of(&message, "a state event"));
    edit(&alice, &room, &one, "an edit of an edit");
    let event = bob.try_event(&room, &message).ok();
    assert_eq!(event["content"], text("first"), "the content is left as it is");
    let told = &event["unsigned"]["m.relations"]["m.replace"];
    assert_eq!((&told["event_id"], &told["sender"]), (&json!(two), &json!(alice.id)), "{event}");
    assert_eq!(told["content"], edit_of(&message, "third"));
    assert_eq!(told["room_id"], room);
    assert!(bundle(&bob, &room, &one).get("m.replace").is_none(), "edits are not edited");

    alice.redact(&room, &two);
    assert_eq!(bundle(&bob, &room, &message)["m.replace"]["event_id"], one.as_str(), "the one before counts again");
    alice.redact(&room, &one);
    assert!(bundle(&bob, &room, &message).get("m.replace").is_none());
    edit(&alice, &room, &message, "fourth");
    alice.redact(&room, &message);
    assert!(bundle(&bob, &room, &message).get("m.replace").is_none(), "not with a redacted event");
}

#[test]
fn an_encrypted_edit_counts_without_its_content_being_seen() {
    let alice = ward().user("alice");
    let room = alice.create_room(json!({}));
    let cipher = |relation: Value| {
        let mut content = json!({ "algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "AwgA", "session_id": "s" });
        if !relation.is_null() {
            content["m.relates_to"] = relation;
        }
        content
    };
    let message = send(&alice, &room, "m.room.encrypted", cipher(Value::Null));
    let relation = json!({ "rel_type": "m.replace", "event_id": message });
    let changed = send(&alice, &room, "m.room.encrypted", cipher(relation));
    assert_eq!(bundle(&alice, &room, &message)["m.replace"]["event_id"], changed.as_str());
    let in_thread = json!({ "rel_type": "m.thread", "event_id": message });
    let threaded = send(&alice, &room, "m.room.encrypted", cipher(in_thread));
    assert_eq!(bundle(&alice, &room, &message)["m.thread"]["latest_event"]["event_id"], threaded.as_str());
}

#[test]
fn references_are_listed_by_id() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_public_room(&[&bob]);
    let message = alice.say(&room, "first");
    let one = relate(&bob, &room, "m.reference", &message, "one");
    let two = relate(&alice, &room, "m.reference", &message, "two");
    let expected = json!({ "chunk": [{ "event_id": one }, { "event_id": two }] });
    assert_eq!(bundle(&alice, &room, &message)["m.reference"], expected);
    bob.redact(&room, &one);
    assert_eq!(bundle(&alice, &room, &message)["m.reference"]["chunk"], json!([{ "event_id": two }]));
    alice.redact(&room, &message);
    assert_eq!(bundle(&bob, &room, &message)["m.reference"]["chunk"], json!([{ "event_id": two }]));
    alice.redact(&room, &two);
    assert!(bundle(&bob, &room, &message).is_null());
}

#[test]
fn a_thread_is_told_with_its_root() {
    let (alice, bob, carol) = (ward().user("alice"), ward().user("bob"), ward().user("carol"));
    let room = alice.create_public_room(&[&bob, &carol]);
    let root = alice.say(&room, "root");
    let one = reply(&bob, &room, &root, "one");
    let two = reply(&bob, &room, &root, "two");
    let changed = edit(&bob, &room, &two, "two, changed");
    let of = |user: &User| bundle(user, &room, &root)["m.thread"].clone();
    for (user, participated) in [(&alice, true), (&bob, true), (&carol, false)] {
        let thread = of(user);
        assert_eq!(thread["count"], 2, "{thread}");
        assert_eq!(thread["current_user_participated"], participated, "{thread}");
        let latest = &thread["latest_event"];
        assert_eq!((&latest["event_id"], &latest["content"]["body"]), (&json!(two), &json!("two")));
        assert_eq!(latest["unsigned"]["m.relations"]["m.replace"]["event_id"], changed.as_str(), "{thread}");
    }
    reply(&carol, &room, &root, "three");
    assert_eq!(of(&carol)["current_user_participated"], true);
    let three = of(&alice)["latest_event"]["event_id"].as_str().unwrap().to_owned();
    carol.redact(&room, &three);
    let thread = of(&carol);
    assert_eq!((&thread["count"], &thread["latest_event"]["event_id"]), (&json!(2), &json!(two)));
    assert_eq!(thread["current_user_participated"], false, "{thread}");
    bob.redact(&room, &one);
    assert_eq!(of(&alice)["count"], 1);
    alice.redact(&room, &root);
    assert_eq!(of(&bob)["count"], 1, "a redacted root keeps its thread");
    bob.redact(&room, &two);
    assert!(of(&bob).is_null());
    assert!(events(&threads(&bob, &room, &[])["chunk"]).is_empty());
}

/// Asserts that an event bears its edit, wherever it was told.
#[track_caller]
fn bears(event: &Value, edit: &str, whence: &str) {
    assert_eq!(event["unsigned"]["m.relations"]["m.replace"]["event_id"], edit, "{whence}: {event}");
}

#[test]
fn bundles_are_told_everywhere() {
    let alice = ward().user("alice");
    let room = alice.create_room(json!({}));
    let root = alice.say(&room, "root");
    let message = reply(&alice, &room, &root, "message");
    let changed = edit(&alice, &room, &message, "changed");
    let in_list = |list: &Value| {
        let found = events(list).iter().find(|event| event["event_id"] == message.as_str());
        found.unwrap_or_else(|| panic!("the message is missing: {list}")).clone()
    };
    bears(&in_list(&alice.try_messages(&room, "b", None, "10").ok()["chunk"]), &changed, "messages");
    bears(&in_list(&alice.try_messages(&room, "f", None, "100").ok()["chunk"]), &changed, "messages forwards");
    let context = |event: &str| alice.get(v3(&["rooms", &room, "context", event])).ok();
    bears(&context(&message)["event"], &changed, "context");
    bears(&in_list(&context(&root)["events_after"]), &changed, "context after");
    bears(&in_list(&context(&changed)["events_before"]), &changed, "context before");
    bears(&in_list(&children(&alice, &room, &[&root], &[])["chunk"]), &changed, "relations");
    bears(&in_list(&json!(timeline(&alice.initial_sync(), &room))), &changed, "sync");
    let listed = threads(&alice, &room, &[]);
    let thread = &listed["chunk"][0]["unsigned"]["m.relations"]["m.thread"];
    bears(&thread["latest_event"], &changed, "threads");
    let synced = alice.initial_sync();
    let synced = timeline(&synced, &room).iter().find(|event| event["event_id"] == message.as_str()).unwrap();
    assert!(synced["unsigned"]["m.relations"]["m.replace"].get("room_id").is_none(), "{synced}");
}

#[test]
fn a_bundle_follows_what_happens() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_public_room(&[&bob]);
    let message = alice.say(&room, "message");
    let told = |user: &User| {
        let synced = user.initial_sync();
        let event = timeline(&synced, &room).iter().find(|event| event["event_id"] == message.as_str()).unwrap();
        event["unsigned"]["m.relations"]["m.replace"]["content"]["m.new_content"]["body"].clone()
    };
    assert!(told(&bob).is_null());
    for n in 0..5 {
        let body = n.to_string();
        edit(&alice, &room, &message, &body);
        assert_eq!((told(&alice), told(&bob)), (json!(body), json!(body)));
        assert_eq!(
            bundle(&bob, &room, &message)["m.replace"]["content"]["m.new_content"]["body"],
            json!(body),
            "what was kept in memory is renewed"
        );
    }
}

#[test]
fn relations_outlive_a_crash_and_are_sound() {
    let mut server = server_with(wardroom_testkit::Config::default());
    let alice = server.user("alice");
    let room = alice.create_room(json!({}));
    let root = alice.say(&room, "root");
    let one = reply(&alice, &room, &root, "one");
    let two = reply(&alice, &room, &root, "two");
    let changed = edit(&alice, &room, &root, "changed");
    let gone = reply(&alice, &room, &root, "gone");
    super::react(&alice, &room, &root, "👍");
    alice.redact(&room, &gone);
    server.kill9();
    server.start_again();
    let alice = server.anonymous().login(&alice.id, &alice.password);
    let told = bundle(&alice, &room, &root);
    assert_eq!(told["m.replace"]["event_id"], changed.as_str());
    assert_eq!(told["m.thread"]["count"], 2);
    assert_eq!(told["m.thread"]["latest_event"]["event_id"], two.as_str());
    let page = children(&alice, &room, &[&root, "m.thread"], &[]);
    assert_eq!(event_ids(events(&page["chunk"])), [two, one]);
    assert_eq!(bodies(events(&threads(&alice, &room, &[])["chunk"])), ["root"]);
    server.stop();
    let mut fsck = server.command(&["fsck", "--config"]);
    fsck.arg(server.config_path());
    run(fsck, FSCK_LIMIT).ok();
}

#[test]
fn state_events_bear_no_bundles() {
    let alice = ward().user("alice");
    let room = alice.create_room(json!({}));
    let topic = alice.set_state(&room, "m.room.topic", "", json!({ "topic": "t" }));
    let answer = reply(&alice, &room, &topic, "about the topic");
    assert!(bundle(&alice, &room, &topic).is_null());
    let page = alice.get(v1(&["rooms", &room, "relations", &topic])).ok();
    assert_eq!(event_ids(events(&page["chunk"])), [answer]);
    let synced = alice.initial_sync();
    let all = [timeline(&synced, &room), events(&synced["rooms"]["join"][&room]["state"]["events"])].concat();
    let topic = find_event(&all, "m.room.topic", Some("")).unwrap();
    assert!(topic["unsigned"].get("m.relations").is_none(), "{topic}");
}
