//! `PUT /rooms/{roomId}/redact`.

use wardroom_testkit::{bodies, event_ids, find_event, json, timeline, unique};

use crate::{SOON, ward};

#[test]
fn a_redacted_message_is_empty_everywhere() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_public_room(&[&bob]);
    let message = alice.say(&room, "wrong patient");
    let mut sync = ward().follow(&bob);
    let redaction = alice.redact(&room, &message);
    let answer =
        sync.until("the redaction", SOON, |sync| find_event(timeline(sync, &room), "m.room.redaction", None).is_some());
    assert_eq!(find_event(timeline(&answer, &room), "m.room.redaction", None).unwrap()["event_id"], redaction.as_str());

    let event = bob.try_event(&room, &message).ok();
    assert_eq!(event["content"], json!({}));
    assert_eq!(event["unsigned"]["redacted_because"]["event_id"], redaction.as_str(), "{event}");
    assert_eq!(event["unsigned"]["redacted_by"], redaction.as_str(), "{event}");
    assert_eq!(event["unsigned"]["redacted_because"]["content"]["reason"], "a test", "{event}");
    let history = bob.history(&room);
    assert!(bodies(&history).is_empty() && event_ids(&history).contains(&message), "{history:?}");
    let again = bob.initial_sync();
    assert!(bodies(timeline(&again, &room)).is_empty(), "{again}");
}

#[test]
fn redacted_state_keeps_what_the_room_stands_on() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_public_room(&[&bob]);
    let topic = alice.set_state(&room, "m.room.topic", "", json!({ "topic": "secret" }));
    alice.redact(&room, &topic);
    assert_eq!(bob.state(&room, "m.room.topic", ""), json!({}));

    let member = bob.history(&room).into_iter().rev().find(|event| event["state_key"] == bob.id.as_str()).unwrap();
    alice.redact(&room, member["event_id"].as_str().unwrap());
    let redacted = alice.state(&room, "m.room.member", &bob.id);
    assert_eq!(redacted["membership"], "join");
    assert!(bob.is_in(&room));
    bob.say(&room, "still here");
}

#[test]
fn a_redaction_of_nothing_is_refused_or_harmless() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_public_room(&[&bob]);
    let other = alice.create_room(json!({}));
    let elsewhere = alice.say(&other, "in another room");
    alice.try_redact(&room, "$nothing", &unique("txn")).refused(404, "M_NOT_FOUND");
    alice.try_redact(&room, &elsewhere, &unique("txn")).refused(404, "M_NOT_FOUND");
    assert_eq!(alice.try_event(&other, &elsewhere).ok()["content"]["body"], "in another room");
    let message = alice.say(&room, "alice's");
    bob.try_redact(&room, &message, &unique("txn")).refused(403, "M_FORBIDDEN");
    let stranger = ward().user("stranger");
    stranger.try_redact(&room, &message, &unique("txn")).refused(403, "M_FORBIDDEN");
    assert_eq!(alice.try_event(&room, &message).ok()["content"]["body"], "alice's");
}
