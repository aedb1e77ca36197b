//! What is signed here reads back as the same event.

use ruma::{events::TimelineEventType, owned_event_id, owned_room_id, owned_user_id, server_name};
use serde_json::{Value, json, value::to_raw_value};
use wardroom_event::{
    ClientFormat, Draft, Pdu, PublicKey, PublicKeys, RoomVersion, SigningKey, Verified, client_json, redact, verify,
};

fn draft(version: RoomVersion) -> Draft {
    Draft {
        room_id: Some(owned_room_id!("!room:one.example")),
        sender: owned_user_id!("@alice:one.example"),
        kind: TimelineEventType::RoomMessage,
        state_key: None,
        content: to_raw_value(&json!({"msgtype": "m.text", "body": "h\u{e9}llo \"you\"\u{1}", "n": -3})).unwrap(),
        redacts: None,
        prev_events: vec![owned_event_id!("$prev")],
        auth_events: vec![owned_event_id!("$auth1"), owned_event_id!("$auth2")],
        depth: 7,
        origin_server_ts: 1_700_000_000_000 + u64::from(version > RoomVersion::V6),
    }
}

fn key() -> SigningKey {
    SigningKey::from_seed([7; 32], "a_1").unwrap()
}

fn keys() -> PublicKeys {
    let mut keys = PublicKeys::new();
    let public = PublicKey { key: key().public_key(), valid_until_ts: 1_800_000_000_000 };
    keys.insert(server_name!("one.example").to_owned(), key().key_id().clone(), public);
    keys
}

#[test]
fn signed_events_read_back_and_verify() {
    for version in RoomVersion::ALL {
        let pdu = draft(version).sign(version, server_name!("one.example"), &key()).unwrap();
        let parsed = Pdu::parse(pdu.json(), version).unwrap();
        assert_eq!(parsed.json(), pdu.json());
        assert_eq!(parsed.event_id(), pdu.event_id());
        assert_eq!(parsed.content().get(), pdu.content().get());
        assert_eq!(verify(pdu.json(), &keys(), version).unwrap(), Verified::All);

        let redacted = redact(&pdu, None).unwrap();
        assert_eq!(redacted.content().get(), "{}");
        assert_eq!(Pdu::parse(redacted.json(), version).unwrap().event_id(), pdu.event_id());
        assert_eq!(verify(redacted.json(), &keys(), version).unwrap(), Verified::Signatures);

        let client: Value = serde_json::from_str(client_json(&pdu, &ClientFormat::default()).get()).unwrap();
        assert_eq!(
            client,
            json!({
                "type": "m.room.message",
                "content": {"msgtype": "m.text", "body": "h\u{e9}llo \"you\"\u{1}", "n": -3},
                "event_id": pdu.event_id(),
                "sender": "@alice:one.example",
                "origin_server_ts": pdu.origin_server_ts(),
            })
        );
    }
}
