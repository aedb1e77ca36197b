//! Properties that hold for any content, and for junk.

use std::sync::Arc;

use proptest::{collection::vec, prelude::*};
use ruma::{CanonicalJsonObject, EventId, events::TimelineEventType, owned_event_id, server_name};
use serde_json::{Map, Value, json, value::to_raw_value};
use wardroom_event::{
    Action, ClientFormat, Draft, Pdu, PowerLevels, PublicKeys, RoomVersion, auth_types, authorize, canonical_json,
    check_standalone, client_json, level_for, redact, stripped_state, verify,
};

use crate::room::{ALICE, Room, key, user};

/// JSON that canonical JSON can hold.
fn canonical_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-9_007_199_254_740_991_i64..=9_007_199_254_740_991).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![vec(inner.clone(), 0..5).prop_map(Value::from), object_of(inner).prop_map(Value::from)]
    })
}

fn object_of(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Map<String, Value>> {
    let field = prop_oneof![
        any::<String>(),
        proptest::sample::select(vec!["membership", "users", "events", "redacts", "join_rule", "creator"])
            .prop_map(str::to_owned),
    ];
    vec((field, value), 0..6).prop_map(|fields| fields.into_iter().collect())
}

fn version() -> impl Strategy<Value = RoomVersion> {
    proptest::sample::select(RoomVersion::ALL.to_vec())
}

fn kind() -> impl Strategy<Value = TimelineEventType> {
    let known = [
        "m.room.message",
        "m.room.member",
        "m.room.power_levels",
        "m.room.join_rules",
        "m.room.redaction",
        "m.room.third_party_invite",
        "m.room.history_visibility",
    ];
    prop_oneof![
        proptest::sample::select(known.to_vec()).prop_map(TimelineEventType::from),
        "[a-z.\u{e9}\"\\\\]{0,20}".prop_map(TimelineEventType::from),
    ]
}

fn draft(room: &Room, kind: TimelineEventType, state_key: Option<String>, content: &Value) -> Draft {
    Draft {
        kind,
        state_key,
        redacts: Some(owned_event_id!("$target")),
        ..room.draft(ALICE, "m.room.message", None, content)
    }
}

/// Asks of an event all that can be asked without trusting it.
fn interrogate(pdu: &Arc<Pdu>, room: &Room) {
    let event = |id: &EventId| if id == pdu.event_id() { Some(Arc::clone(pdu)) } else { room.event(id) };
    let _ = check_standalone(pdu, event);
    let _ = authorize(pdu, |kind, state_key| room.current(kind, state_key));
    let _ = auth_types(pdu.version(), pdu.kind(), pdu.sender(), pdu.state_key(), pdu.content());
    // As a part of the state that others are judged by.
    let message = room.sign(room.draft(ALICE, "m.room.message", None, &json!({})));
    let _ = authorize(&message, |kind, state_key| {
        if kind.to_string() == pdu.kind().to_string() { Some(Arc::clone(pdu)) } else { room.current(kind, state_key) }
    });
    let levels = PowerLevels::new(Some(pdu), pdu);
    let _ = (levels.of(&user(ALICE)), levels.required(Action::NotifyRoom), level_for(Some(pdu), Action::Ban));
    let _ = (pdu.membership(), pdu.redacts(), redact(pdu, Some(pdu)).is_err(), redact(pdu, None).unwrap());
    let client: Value = serde_json::from_str(client_json(pdu, &ClientFormat::default()).get()).unwrap();
    assert_eq!(client["event_id"], json!(pdu.event_id()));
    let _: Value = serde_json::from_str(stripped_state(pdu).get()).unwrap();
    let _ = verify(pdu.json(), &PublicKeys::new(), pdu.version());
}

/// A field of an event, now and then with something else in it.
fn odd_event() -> impl Strategy<Value = (RoomVersion, Value)> {
    let field = proptest::sample::select(vec![
        "type",
        "sender",
        "room_id",
        "state_key",
        "content",
        "prev_events",
        "auth_events",
        "depth",
        "origin_server_ts",
        "hashes",
        "signatures",
        "unsigned",
        "redacts",
        "origin",
        "event_id",
    ]);
    let value = prop_oneof![
        canonical_value(),
        any::<f64>().prop_map(|float| json!(float)),
        any::<u64>().prop_map(Value::from),
        proptest::sample::select(vec!["m.room.create", "m.room.member", "m.room.power_levels", "!x", "$x", "@a:b"])
            .prop_map(Value::from),
        vec(any::<String>().prop_map(Value::from), 0..12).prop_map(Value::from),
    ];
    (version(), kind(), canonical_value(), vec((field, prop_oneof![1 => Just(None), 3 => value.prop_map(Some)]), 0..4))
        .prop_map(|(version, kind, content, changes)| {
            let room = Room::with_create(version, &json!({}));
            let pdu = room.sign(room.draft(ALICE, "m.room.topic", Some(""), &json!({})));
            let mut json: Value = serde_json::from_slice(pdu.json()).unwrap();
            json["type"] = json!(kind);
            json["content"] = content;
            for (field, value) in changes {
                match value {
                    Some(value) => json[field] = value,
                    None => drop(json.as_object_mut().unwrap().remove(field)),
                }
            }
            (version, json)
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_signed_reads_back(
        version in version(),
        kind in kind(),
        state_key in proptest::option::of("\\PC{0,40}"),
        content in object_of(canonical_value()),
    ) {
        let room = Room::with_create(version, &json!({}));
        let content = Value::from(content);
        let pdu = draft(&room, kind, state_key, &content).sign(version, server_name!("one.example"), &key()).unwrap();
        let parsed = Pdu::parse(pdu.json(), version).unwrap();
        prop_assert_eq!(parsed.json(), pdu.json());
        prop_assert_eq!(parsed.event_id(), pdu.event_id());
        prop_assert_eq!(parsed.content().get(), pdu.content().get());
        prop_assert_eq!(parsed.redacts(), pdu.redacts());
        prop_assert_eq!(parsed.membership(), pdu.membership());
        prop_assert_eq!(parsed.kind(), pdu.kind());
        prop_assert_eq!(parsed.state_key(), pdu.state_key());

        // Hashes, signatures and ids are those of ruma.
        let object: CanonicalJsonObject = serde_json::from_slice(pdu.json()).unwrap();
        prop_assert_eq!(serde_json::to_vec(&object).unwrap(), pdu.json().to_vec());
        let mut other = object.clone();
        other.remove("hashes");
        other.remove("signatures");
        let rules = version.rules();
        ruma::signatures::hash_and_sign_event("one.example", key().pair(), &mut other, &rules.redaction).unwrap();
        prop_assert_eq!(&other, &object);
        let hash = ruma::signatures::reference_hash(&object, rules).unwrap();
        prop_assert_eq!(pdu.event_id().as_str(), format!("${hash}"));
        ruma::state_res::check_pdu_format(&object, &rules.event_format).unwrap();
        let redacted = ruma::canonical_json::redact(object, &rules.redaction, None).unwrap();
        prop_assert_eq!(redact(&pdu, None).unwrap().json().to_vec(), serde_json::to_vec(&redacted).unwrap());
    }

    #[test]
    fn client_events_are_picked_from_the_event(
        version in version(),
        kind in kind(),
        state_key in proptest::option::of("\\PC{0,40}"),
        content in object_of(canonical_value()),
        transaction_id in proptest::option::of(any::<String>()),
    ) {
        let room = Room::with_create(version, &json!({}));
        let content = Value::from(content);
        let pdu = draft(&room, kind, state_key, &content).sign(version, server_name!("one.example"), &key()).unwrap();
        let json: Value = serde_json::from_slice(pdu.json()).unwrap();
        let mut expected = json!({"event_id": pdu.event_id()});
        for field in ["type", "content", "sender", "origin_server_ts", "state_key", "room_id"] {
            if let Some(value) = json.get(field) {
                expected[field] = value.clone();
            }
        }
        if *pdu.kind() == TimelineEventType::RoomRedaction {
            expected["redacts"] = json!("$target");
            expected["content"]["redacts"] = json!("$target");
        }
        if let Some(id) = &transaction_id {
            expected["unsigned"] = json!({"transaction_id": id});
        }
        let format = ClientFormat { room_id: true, transaction_id: transaction_id.as_deref(), ..Default::default() };
        let client: Value = serde_json::from_str(client_json(&pdu, &format).get()).unwrap();
        prop_assert_eq!(client, expected);
    }

    #[test]
    fn canonical_json_is_a_fixed_point(value in canonical_value()) {
        let text = serde_json::to_string_pretty(&value).unwrap();
        let canonical = canonical_json(text.as_bytes()).unwrap();
        prop_assert_eq!(&canonical_json(canonical.as_bytes()).unwrap(), &canonical);
        prop_assert_eq!(&serde_json::from_str::<Value>(&canonical).unwrap(), &value);
        let ruma: ruma::CanonicalJsonValue = value.try_into().unwrap();
        prop_assert_eq!(ruma.to_string(), canonical);
    }

    #[test]
    fn odd_events_are_read_or_refused((version, json) in odd_event()) {
        let text = json.to_string();
        let none = PublicKeys::new();
        let _ = verify(text.as_bytes(), &none, version);
        if let Ok(pdu) = Pdu::parse(text.as_bytes(), version) {
            let room = Room::with_create(version, &json!({}));
            let again = Pdu::parse(pdu.json(), version).unwrap();
            prop_assert_eq!(again.event_id(), pdu.event_id());
            // What is accepted is what ruma accepts.
            let object: CanonicalJsonObject = serde_json::from_str(&text).unwrap();
            ruma::state_res::check_pdu_format(&object, &version.rules().event_format).unwrap();
            interrogate(&Arc::new(pdu), &room);
        }
    }

    #[test]
    fn bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..200), version in version()) {
        let _ = Pdu::parse(&bytes, version);
        let _ = Pdu::from_stored(bytes.clone().into(), owned_event_id!("$x"), version);
        let _ = canonical_json(&bytes);
        let _ = verify(&bytes, &PublicKeys::new(), version);
    }

    #[test]
    fn damaged_events_are_read_or_refused(position in 0_usize..400, byte in any::<u8>(), version in version()) {
        let room = Room::with_create(version, &json!({}));
        let mut bytes = room.create.json().to_vec();
        let position = position % bytes.len();
        bytes[position] = byte;
        if let Ok(pdu) = Pdu::parse(&bytes, version) {
            interrogate(&Arc::new(pdu), &room);
        }
        let _ = Pdu::from_stored(bytes.into(), room.create.event_id().to_owned(), version);
    }

    #[test]
    fn drafts_are_signed_or_refused(version in version(), kind in kind(), content in canonical_value(), odd in any::<f64>()) {
        let room = Room::with_create(version, &json!({}));
        let state_key = Some(ALICE.to_owned());
        if let Ok(pdu) = draft(&room, kind.clone(), state_key.clone(), &content).sign(version, server_name!("one.example"), &key()) {
            interrogate(&Arc::new(pdu), &room);
        }
        let float = Draft { content: to_raw_value(&json!({"a": [odd]})).unwrap(), ..draft(&room, kind, state_key, &content) };
        let refused = float.sign(version, server_name!("one.example"), &key()).is_err();
        prop_assert_eq!(refused, odd.is_finite());
    }
}
