//! Annotations, and what may not be sent twice; polls and places, which pass as they are.

use wardroom_testkit::{Actor, event_ids, events, has_event, json, text, unique, v3};

use super::{bundle, children, edit, react, reaction, relate, reply, send};
use crate::ward;

#[test]
fn the_same_annotation_is_refused_until_the_first_is_redacted() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_public_room(&[&bob]);
    let (message, other) = (alice.say(&room, "one"), alice.say(&room, "two"));
    let first = react(&bob, &room, &message, "👍");
    let again =
        |user: &wardroom_testkit::User| user.try_send(&room, "m.reaction", &unique("txn"), reaction(&message, "👍"));
    let before = alice.history(&room).len();
    again(&bob).refused(400, "M_DUPLICATE_ANNOTATION");
    assert_eq!(alice.history(&room).len(), before, "nothing of it is sent");
    again(&alice).ok();
    react(&bob, &room, &message, "👎");
    react(&bob, &room, &other, "👍");
    send(&bob, &room, "example.reaction", reaction(&message, "👍"));
    bob.redact(&room, &first);
    again(&bob).ok();
    again(&bob).refused(400, "M_DUPLICATE_ANNOTATION");
    assert!(bundle(&alice, &room, &message).is_null(), "annotations are not aggregated");
}

#[test]
fn a_retry_of_an_annotation_is_no_second_one() {
    let alice = ward().user("alice");
    let room = alice.create_room(json!({}));
    let message = alice.say(&room, "one");
    let put = || alice.put(v3(&["rooms", &room, "send", "m.reaction", "t1"]), reaction(&message, "👍")).ok();
    assert_eq!(put()["event_id"], put()["event_id"]);
}

#[test]
fn equal_annotations_at_once_leave_one() {
    let alice = ward().user("alice");
    let room = alice.create_room(json!({}));
    let message = alice.say(&room, "one");
    let answers: Vec<u16> = std::thread::scope(|scope| {
        let send = || alice.try_send(&room, "m.reaction", &unique("txn"), reaction(&message, "👍")).status;
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(send)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(answers.iter().filter(|status| **status == 200).count(), 1, "{answers:?}");
    let page = children(&alice, &room, &[&message, "m.annotation"], &[]);
    assert_eq!(events(&page["chunk"]).len(), 1, "{page}");
}

#[test]
fn a_thread_starts_off_no_child() {
    let alice = ward().user("alice");
    let room = alice.create_room(json!({}));
    let root = alice.say(&room, "root");
    let threaded = reply(&alice, &room, &root, "in the thread");
    let changed = edit(&alice, &room, &root, "changed");
    let reaction = react(&alice, &room, &root, "👍");
    for child in [&threaded, &changed, &reaction] {
        let content = super::related("m.thread", child, "nested");
        let answer = alice.try_send(&room, "m.room.message", &unique("txn"), content);
        assert!(answer.refused(400, "M_UNKNOWN")["error"].as_str().unwrap().contains("m.relates_to"));
    }
    let mut rich = text("a rich reply");
    rich["m.relates_to"] = json!({ "m.in_reply_to": { "event_id": root } });
    let rich = send(&alice, &room, "m.room.message", rich);
    reply(&alice, &room, &rich, "off a rich reply");
    assert_eq!(bundle(&alice, &room, &rich)["m.thread"]["count"], 1);
}

#[test]
fn relations_that_are_none_are_passed_on_and_ignored() {
    let alice = ward().user("alice");
    let (room, other) = (alice.create_room(json!({})), alice.create_room(json!({})));
    let (message, elsewhere) = (alice.say(&room, "here"), alice.say(&other, "elsewhere"));
    for junk in [
        json!(7),
        json!([]),
        json!({ "rel_type": "m.thread" }),
        json!({ "event_id": message }),
        json!({ "rel_type": 7, "event_id": message }),
        json!({ "rel_type": "m.thread", "event_id": "no event id" }),
        json!({ "rel_type": "m.thread", "event_id": format!("${}", "x".repeat(300)) }),
    ] {
        let mut content = text("junk");
        content["m.relates_to"] = junk;
        let id = send(&alice, &room, "m.room.message", content.clone());
        assert_eq!(alice.try_event(&room, &id).ok()["content"], content);
    }
    relate(&alice, &room, "m.thread", &elsewhere, "across rooms");
    relate(&alice, &room, "m.reference", "$nothing", "of nothing");
    assert!(bundle(&alice, &room, &message).is_null());
    assert!(bundle(&alice, &other, &elsewhere).is_null(), "a child stands in its parent's room");
    assert!(events(&children(&alice, &other, &[&elsewhere], &[])["chunk"]).is_empty());
}

#[test]
fn polls_and_places_pass_as_they_are() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_public_room(&[&bob]);
    let start = json!({
        "org.matrix.msc1767.text": "Lunch?\n1. Soup\n2. Salad",
        "org.matrix.msc3381.poll.start": {
            "kind": "org.matrix.msc3381.poll.disclosed", "max_selections": 1,
            "question": { "org.matrix.msc1767.text": "Lunch?" },
            "answers": [
                { "id": "a", "org.matrix.msc1767.text": "Soup" }, { "id": "b", "org.matrix.msc1767.text": "Salad" },
            ],
        },
    });
    let poll = send(&alice, &room, "org.matrix.msc3381.poll.start", start.clone());
    let vote = json!({
        "m.relates_to": { "rel_type": "m.reference", "event_id": poll },
        "org.matrix.msc3381.poll.response": { "answers": ["b"] },
    });
    let response = send(&bob, &room, "org.matrix.msc3381.poll.response", vote.clone());
    let end = json!({
        "m.relates_to": { "rel_type": "m.reference", "event_id": poll },
        "org.matrix.msc3381.poll.end": {}, "org.matrix.msc1767.text": "The poll has ended",
    });
    let end = send(&alice, &room, "org.matrix.msc3381.poll.end", end);
    let event = bob.try_event(&room, &poll).ok();
    assert_eq!(event["content"], start);
    let references = json!([{ "event_id": response }, { "event_id": end }]);
    assert_eq!(event["unsigned"]["m.relations"]["m.reference"]["chunk"], references);
    let votes =
        children(&alice, &room, &[&poll, "m.reference", "org.matrix.msc3381.poll.response"], &[("limit", "10")]);
    assert_eq!(event_ids(events(&votes["chunk"])), [response]);
    assert_eq!(votes["chunk"][0]["content"], vote);

    let info = json!({ "description": "Ward round", "timeout": 3_600_000, "live": true, "org.matrix.msc3488.ts": 1, "org.matrix.msc3488.asset": { "type": "m.self" } });
    let beacon = alice.set_state(&room, "org.matrix.msc3672.beacon_info", &alice.id, info.clone());
    let place = json!({
        "m.relates_to": { "rel_type": "m.reference", "event_id": beacon },
        "org.matrix.msc3488.location": { "uri": "geo:51.5008,0.1247;u=35" }, "org.matrix.msc3488.ts": 2,
    });
    let placed = send(&alice, &room, "org.matrix.msc3672.beacon", place.clone());
    assert_eq!(bob.state(&room, "org.matrix.msc3672.beacon_info", &alice.id), info);
    let history = bob.history(&room);
    assert!(has_event(&history, &placed));
    assert_eq!(bob.try_event(&room, &placed).ok()["content"], place);
    let page = children(&bob, &room, &[&beacon, "m.reference"], &[]);
    assert_eq!(event_ids(events(&page["chunk"])), [placed], "state events have children too");
    assert!(bundle(&bob, &room, &beacon).is_null(), "of which nothing is told with them");
}
