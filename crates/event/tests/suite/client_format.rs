//! What clients see.

use ruma::owned_event_id;
use serde_json::{Value, json, value::to_raw_value};
use wardroom_event::{ClientFormat, RoomVersion, client_json, redact, stripped_state, write_client_json};

use crate::room::{ALICE, Room};

fn read(raw: &serde_json::value::RawValue) -> Value {
    serde_json::from_str(raw.get()).unwrap()
}

#[test]
fn shows_the_fields_of_client_events_only() {
    for version in RoomVersion::ALL {
        let mut room = Room::with_create(version, &json!({}));
        let topic = room.state(ALICE, "m.room.topic", "", json!({"topic": "\"t\" \u{7}"})).unwrap();
        let mut expected = json!({
            "type": "m.room.topic",
            "state_key": "",
            "content": {"topic": "\"t\" \u{7}"},
            "event_id": topic.event_id(),
            "sender": ALICE,
            "origin_server_ts": topic.origin_server_ts(),
        });
        assert_eq!(read(&client_json(&topic, &ClientFormat::default())), expected);

        let (content, because, state) = (json!({"a": 1}), json!({"b": 2}), json!([]));
        let raw = [&content, &because, &state].map(|value| to_raw_value(value).unwrap());
        let replaced = owned_event_id!("$old");
        let format = ClientFormat {
            room_id: true,
            transaction_id: Some("t\"1"),
            age_ms: Some(5),
            redacted_because: Some(&raw[1]),
            redacted_by: Some(&replaced),
            prev_content: Some(&raw[0]),
            replaces_state: Some(&replaced),
            membership: Some("join"),
            relations: Some(&raw[1]),
            invite_room_state: Some(&raw[2]),
            knock_room_state: Some(&raw[2]),
        };
        expected["room_id"] = json!(room.room_id());
        expected["unsigned"] = json!({
            "transaction_id": "t\"1", "age": 5, "redacted_because": because, "redacted_by": "$old", "prev_content": content,
            "replaces_state": "$old", "membership": "join", "m.relations": because, "invite_room_state": [],
            "knock_room_state": [],
        });
        assert_eq!(read(&client_json(&topic, &format)), expected);
        let mut body = b"[".to_vec();
        write_client_json(&topic, &format, &mut body);
        assert_eq!(&body[1..], client_json(&topic, &format).get().as_bytes());
    }
}

#[test]
fn names_the_room_of_a_version_12_create_event() {
    let room = Room::with_create(RoomVersion::V12, &json!({}));
    let format = ClientFormat { room_id: true, ..ClientFormat::default() };
    assert_eq!(read(&client_json(&room.create, &format))["room_id"], json!(room.room_id()));
}

#[test]
fn shows_redacts_in_both_places() {
    for version in RoomVersion::ALL {
        let mut room = Room::with_create(version, &json!({}));
        let message = room.message(ALICE).unwrap();
        for content in [json!({}), json!({"reason": "r"}), json!({"zzz": 1, "reason": "r"})] {
            let mut draft = room.draft(ALICE, "m.room.redaction", None, &content);
            draft.redacts = Some(message.event_id().to_owned());
            let redaction = room.sign(draft);
            let client = read(&client_json(&redaction, &ClientFormat::default()));
            assert_eq!(client["redacts"], json!(message.event_id()));
            let mut expected = content;
            expected["redacts"] = json!(message.event_id());
            assert_eq!(client["content"], expected);
        }
    }
}

#[test]
fn shows_what_is_left_of_redacted_events() {
    let mut room = Room::with_create(RoomVersion::V11, &json!({}));
    let message = room.message(ALICE).unwrap();
    let mut draft = room.draft(ALICE, "m.room.redaction", None, &json!({"reason": "r"}));
    draft.redacts = Some(message.event_id().to_owned());
    let redaction = room.sign(draft);
    let because = client_json(&redaction, &ClientFormat::default());
    let redacted = redact(&message, Some(&redaction)).unwrap();
    let format = ClientFormat { redacted_because: Some(&because), ..ClientFormat::default() };
    let client = read(&client_json(&redacted, &format));
    assert_eq!(client["content"], json!({}));
    assert_eq!(client["unsigned"]["redacted_because"]["event_id"], json!(redaction.event_id()));
    assert_eq!(client["event_id"], json!(message.event_id()));
}

#[test]
fn strips_state() {
    let mut room = Room::with_create(RoomVersion::V12, &json!({}));
    let name = room.state(ALICE, "m.room.name", "", json!({"name": "n"})).unwrap();
    assert_eq!(
        read(&stripped_state(&name)),
        json!({"type": "m.room.name", "state_key": "", "sender": ALICE, "content": {"name": "n"}})
    );
}
