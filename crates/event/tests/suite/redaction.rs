//! What redaction keeps, beside ruma's own redaction.

use ruma::CanonicalJsonObject;
use serde_json::{Value, json};
use wardroom_event::{Pdu, RedactError, RoomVersion, redact};

use crate::room::{ALICE, Room};

/// Content of each type with everything that some version keeps, and more.
fn contents() -> Vec<(&'static str, Value)> {
    let signed = json!({"signed": {"token": "t", "mxid": "@a:b"}, "display_name": "x"});
    vec![
        ("m.room.message", json!({"body": "x", "membership": "join"})),
        (
            "m.room.member",
            json!({"membership": "join", "displayname": "x", "join_authorised_via_users_server": "@a:b",
                   "third_party_invite": signed, "reason": "r"}),
        ),
        ("m.room.member", json!({"membership": "invite", "third_party_invite": "odd"})),
        ("m.room.create", json!({"creator": "@a:b", "room_version": "x", "m.federate": false, "type": "t"})),
        ("m.room.join_rules", json!({"join_rule": "restricted", "allow": [{"type": "x"}], "extra": 1})),
        (
            "m.room.power_levels",
            json!({"ban": 1, "events": {"a": 1}, "events_default": 1, "invite": 1, "kick": 1, "redact": 1,
                   "state_default": 1, "users": {"@a:b": 1}, "users_default": 1, "notifications": {"room": 1}}),
        ),
        ("m.room.history_visibility", json!({"history_visibility": "shared", "extra": 1})),
        ("m.room.aliases", json!({"aliases": ["#a:b"]})),
        ("m.room.redaction", json!({"redacts": "$x", "reason": "r"})),
        ("m.room.server_acl", json!({"allow": ["*"], "deny": []})),
        ("m.room.encryption", json!({"algorithm": "a"})),
        ("org.example.custom", json!({"creator": "@a:b", "membership": "join"})),
    ]
}

fn event(version: RoomVersion, kind: &str, content: &Value) -> Pdu {
    let room = Room::with_create(version, &json!({}));
    let mut json: Value =
        serde_json::from_slice(room.sign(room.draft(ALICE, "m.room.topic", Some("k"), &json!({}))).json()).unwrap();
    json["type"] = json!(kind);
    json["content"] = content.clone();
    for extra in ["origin", "membership", "prev_state", "redacts", "custom"] {
        json[extra] = json!("x");
    }
    if kind == "m.room.create" && version >= RoomVersion::V12 {
        json.as_object_mut().unwrap().remove("room_id");
    }
    Pdu::parse(json.to_string().as_bytes(), version).unwrap()
}

#[test]
fn agrees_with_ruma() {
    for version in RoomVersion::ALL {
        for (kind, content) in contents() {
            let pdu = event(version, kind, &content);
            let redacted = redact(&pdu, None).unwrap();
            let object: CanonicalJsonObject = serde_json::from_slice(pdu.json()).unwrap();
            let expected = ruma::canonical_json::redact(object, &version.rules().redaction, None).unwrap();
            let expected = serde_json::to_string(&expected).unwrap();
            assert_eq!(std::str::from_utf8(redacted.json()).unwrap(), expected, "{version} {kind}");
            assert_eq!(redacted.event_id(), pdu.event_id());
            // The id covers the redacted form only.
            assert_eq!(Pdu::parse(redacted.json(), version).unwrap().event_id(), pdu.event_id());
            assert_eq!(redact(&redacted, None).unwrap().json(), redacted.json());
        }
    }
}

/// The differences between versions as the specification tells them.
#[test]
fn keeps_what_each_version_keeps() {
    let keeps = |version: RoomVersion, kind: &str, pointer: &str| {
        let (_, content) = contents().into_iter().find(|(other, _)| *other == kind).unwrap();
        let redacted = redact(&event(version, kind, &content), None).unwrap();
        let json: Value = serde_json::from_slice(redacted.json()).unwrap();
        json.pointer(pointer).is_some()
    };
    for version in RoomVersion::ALL {
        let since = |first: RoomVersion| version >= first;
        assert!(!keeps(version, "m.room.message", "/content/body"));
        assert!(!keeps(version, "m.room.aliases", "/content/aliases"));
        assert!(keeps(version, "m.room.join_rules", "/content/join_rule"));
        assert_eq!(keeps(version, "m.room.join_rules", "/content/allow"), since(RoomVersion::V8));
        let via = "/content/join_authorised_via_users_server";
        assert_eq!(keeps(version, "m.room.member", via), since(RoomVersion::V9));
        let v11 = since(RoomVersion::V11);
        assert_eq!(keeps(version, "m.room.member", "/content/third_party_invite/signed/token"), v11);
        assert!(!keeps(version, "m.room.member", "/content/third_party_invite/display_name"));
        assert!(keeps(version, "m.room.create", "/content/creator"));
        assert_eq!(keeps(version, "m.room.create", "/content/room_version"), v11);
        assert_eq!(keeps(version, "m.room.power_levels", "/content/invite"), v11);
        assert!(!keeps(version, "m.room.power_levels", "/content/notifications"));
        assert_eq!(keeps(version, "m.room.redaction", "/content/redacts"), v11);
        assert!(!keeps(version, "m.room.redaction", "/redacts"));
        assert_eq!(keeps(version, "m.room.message", "/origin"), !v11);
        assert!(keeps(version, "m.room.message", "/state_key") && !keeps(version, "m.room.message", "/custom"));
    }
}

#[test]
fn the_reason_must_be_a_redaction_of_the_event() {
    for version in RoomVersion::ALL {
        let mut room = Room::with_create(version, &json!({}));
        let message = room.message(ALICE).unwrap();
        let mut draft = room.draft(ALICE, "m.room.redaction", None, &json!({}));
        draft.redacts = Some(message.event_id().to_owned());
        let redaction = room.sign(draft.clone());
        assert_eq!(redact(&message, Some(&redaction)).unwrap().content().get(), "{}");
        draft.redacts = Some(redaction.event_id().to_owned());
        let other = room.sign(draft);
        assert!(matches!(redact(&message, Some(&other)), Err(RedactError::NotItsRedaction)));
        assert!(matches!(redact(&message, Some(&message)), Err(RedactError::NotItsRedaction)));
    }
}

#[test]
fn rejection_survives() {
    let mut room = Room::with_create(RoomVersion::V11, &json!({}));
    let message = room.message(ALICE).unwrap();
    let copy = Pdu::parse(message.json(), room.version).unwrap().with_rejected(true);
    assert!(redact(&copy, None).unwrap().is_rejected());
    assert!(!redact(&message, None).unwrap().is_rejected());
}
