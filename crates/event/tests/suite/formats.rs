//! The event format, its limits, and how errors name fields.

use ruma::{
    OwnedEventId, RoomId, events::TimelineEventType, owned_event_id, owned_room_id, owned_user_id, server_name,
};
use serde_json::{Value, json, value::RawValue};
use wardroom_event::{
    AUTH_EVENTS_MAX, BuildError, Draft, PDU_BYTES_MAX, PREV_EVENTS_MAX, ParseError, Pdu, RoomVersion,
};

use crate::room::{ALICE, Room, key};

fn draft(content: &str) -> Draft {
    Draft {
        room_id: Some(owned_room_id!("!room:one.example")),
        sender: owned_user_id!("@alice:one.example"),
        kind: TimelineEventType::RoomMessage,
        state_key: None,
        content: RawValue::from_string(content.to_owned()).unwrap(),
        redacts: None,
        prev_events: vec![owned_event_id!("$prev")],
        auth_events: vec![owned_event_id!("$auth")],
        depth: 7,
        origin_server_ts: 1_700_000_000_000,
    }
}

fn sign(draft: Draft) -> Result<Pdu, BuildError> {
    draft.sign(RoomVersion::V11, server_name!("one.example"), &key())
}

/// The error of the event with one field changed.
fn parse_changed(version: RoomVersion, change: impl FnOnce(&mut Value)) -> Result<Pdu, ParseError> {
    let pdu = draft(r#"{"body":"x"}"#).sign(version, server_name!("one.example"), &key()).unwrap();
    let mut json: Value = serde_json::from_slice(pdu.json()).unwrap();
    change(&mut json);
    Pdu::parse(json.to_string().as_bytes(), version)
}

#[test]
fn signed_events_read_back_the_same() {
    for version in RoomVersion::ALL {
        let pdu = draft(r#" {"b": "h\u00e9 \"you\" \u0001", "a": [-3, {}]} "#)
            .sign(version, server_name!("one.example"), &key())
            .unwrap();
        assert_eq!(pdu.content().get(), r#"{"a":[-3,{}],"b":"hé \"you\" \u0001"}"#);
        let parsed = Pdu::parse(pdu.json(), version).unwrap();
        let stored = Pdu::from_stored(pdu.json().clone(), pdu.event_id().to_owned(), version).unwrap();
        for other in [parsed, stored] {
            assert_eq!(other.json(), pdu.json());
            assert_eq!(other.event_id(), pdu.event_id());
            assert_eq!(other.room_id(), pdu.room_id());
            assert_eq!(other.sender(), pdu.sender());
            assert_eq!(other.kind(), pdu.kind());
            assert_eq!(other.state_key(), pdu.state_key());
            assert_eq!(other.content().get(), pdu.content().get());
            assert_eq!((other.depth(), other.origin_server_ts()), (7, 1_700_000_000_000));
            assert!(other.prev_events().eq(["$prev"]) && other.auth_events().eq(["$auth"]));
        }
    }
}

#[test]
fn ids_are_reference_hashes() {
    for version in RoomVersion::ALL {
        let room = Room::with_create(version, &json!({}));
        let object = serde_json::from_slice(room.create.json()).unwrap();
        let hash = ruma::signatures::reference_hash(&object, version.rules()).unwrap();
        assert_eq!(room.create.event_id().as_str(), format!("${hash}"));
        assert_eq!(ruma::state_res::Event::room_id(&*room.create).is_none(), version >= RoomVersion::V12);
        if version >= RoomVersion::V12 {
            assert_eq!(room.create.room_id().as_str(), format!("!{hash}"));
            let stored =
                Pdu::from_stored(room.create.json().clone(), room.create.event_id().to_owned(), version).unwrap();
            assert_eq!(stored.room_id(), room.create.room_id());
            assert_eq!(Pdu::parse(room.create.json(), version).unwrap().room_id(), room.create.room_id());
        }
    }
}

#[test]
fn a_version_12_create_event_that_names_a_room_is_not_allowed() {
    let room = Room::with_create(RoomVersion::V12, &json!({}));
    let mut json: Value = serde_json::from_slice(room.create.json()).unwrap();
    json["room_id"] = json!("!other:one.example");
    let pdu = Pdu::parse(json.to_string().as_bytes(), RoomVersion::V12).unwrap();
    assert_eq!(pdu.room_id().as_str()[1..], pdu.event_id().as_str()[1..]);
    wardroom_event::check_standalone(&pdu, |_| None).expect_err("names a room");
    let mut named = draft("{}");
    named.kind = TimelineEventType::RoomCreate;
    assert!(matches!(
        named.clone().sign(RoomVersion::V12, server_name!("one.example"), &key()),
        Err(BuildError::RoomId)
    ));
    named.room_id = None;
    assert!(matches!(sign(named), Err(BuildError::RoomId)));
}

#[test]
fn unsigned_data_of_others_is_dropped_and_not_hashed() {
    let plain = parse_changed(RoomVersion::V11, |_| {}).unwrap();
    let with = parse_changed(RoomVersion::V11, |json| json["unsigned"] = json!({"redacted_because": {}})).unwrap();
    assert_eq!(plain.event_id(), with.event_id());
    assert_eq!(plain.json(), with.json());
}

#[test]
fn malformed_events_are_refused_with_the_field() {
    let refused = |change: fn(&mut Value), message: &str| {
        let error = parse_changed(RoomVersion::V11, change).expect_err(message);
        assert_eq!(error.to_string(), message);
    };
    refused(|json| json["type"] = json!(5), "type: not a string");
    refused(|json| drop(json.as_object_mut().unwrap().remove("type")), "type: missing");
    refused(|json| json["sender"] = json!("alice"), "sender: not a user id");
    refused(|json| json["room_id"] = json!("room"), "room_id: not a room id");
    refused(|json| drop(json.as_object_mut().unwrap().remove("room_id")), "room_id: missing");
    refused(|json| json["state_key"] = json!(null), "state_key: not a string");
    refused(|json| json["state_key"] = json!("x".repeat(256)), "state_key: longer than 255 bytes");
    refused(|json| json["type"] = json!("é".repeat(128)), "type: longer than 255 bytes");
    refused(|json| json["content"] = json!([]), "content: not an object");
    refused(|json| json["depth"] = json!(-1), "depth: not an integer from 0 on");
    refused(|json| json["depth"] = json!("1"), "depth: not an integer from 0 on");
    refused(|json| json["origin_server_ts"] = json!(-1), "origin_server_ts: not an integer from 0 on");
    refused(|json| json["prev_events"] = json!({}), "prev_events: not a list");
    refused(|json| json["prev_events"] = json!([["$x", {}]]), "prev_events: not a list of event ids");
    refused(|json| json["auth_events"] = json!(["x"]), "auth_events: not a list of event ids");
    refused(|json| json["auth_events"] = json!(vec!["$x"; 11]), "auth_events: more than 10 entries");
    refused(|json| json["prev_events"] = json!(vec!["$x"; 21]), "prev_events: more than 20 entries");
    refused(|json| json["event_id"] = json!("$x"), "event_id: not allowed in this room version");
    refused(
        |json| json["content"] = json!({"a": {"b": [0, 1.5]}}),
        "the event is not canonical JSON: content.a.b[1]: not an integer between -2^53+1 and 2^53-1",
    );
    assert!(matches!(Pdu::parse(b"[]", RoomVersion::V11), Err(ParseError::NotAnObject)));
    assert!(matches!(Pdu::parse(b"{", RoomVersion::V11), Err(ParseError::Json(_))));
    assert!(matches!(Pdu::parse(b"\xff", RoomVersion::V11), Err(ParseError::Json(_))));
}

#[test]
fn version_12_events_do_not_list_the_create_event() {
    let listed = |version| {
        parse_changed(version, |json| {
            json["room_id"] = json!("!hash");
            json["auth_events"] = json!(["$hash"]);
        })
    };
    assert!(listed(RoomVersion::V11).is_ok());
    assert!(matches!(listed(RoomVersion::V12), Err(ParseError::Invalid { field: "auth_events", .. })));
    assert!(RoomId::parse("!hash").is_ok());
}

#[test]
fn events_may_have_65536_bytes() {
    let frame = sign(draft(r#"{"body":""}"#)).unwrap().json().len();
    let body = |bytes: usize| format!(r#"{{"body":"{}"}}"#, "x".repeat(bytes - frame));
    let largest = sign(draft(&body(PDU_BYTES_MAX))).unwrap();
    assert_eq!(largest.json().len(), PDU_BYTES_MAX);
    assert_eq!(Pdu::parse(largest.json(), RoomVersion::V11).unwrap().event_id(), largest.event_id());
    // White space and escapes do not count.
    let spaced = format!("{}{}", " ".repeat(1000), std::str::from_utf8(largest.json()).unwrap());
    assert_eq!(Pdu::parse(spaced.as_bytes(), RoomVersion::V11).unwrap().json(), largest.json());

    let error = sign(draft(&body(PDU_BYTES_MAX + 1))).unwrap_err();
    assert!(matches!(error, BuildError::TooLarge { bytes: 65_537 }));
    let text = std::str::from_utf8(largest.json()).unwrap().replace(r#""body":"#, r#""bodY1":"#);
    let error = Pdu::parse(text.as_bytes(), RoomVersion::V11).unwrap_err();
    assert!(matches!(error, ParseError::TooLarge { bytes: 65_537 }));
    let huge = " ".repeat(wardroom_event::RAW_PDU_BYTES_MAX + 1);
    assert!(matches!(Pdu::parse(huge.as_bytes(), RoomVersion::V11), Err(ParseError::TooLarge { .. })));
}

#[test]
fn drafts_are_refused_with_the_field() {
    let refused = |draft: Draft, message: &str| assert_eq!(sign(draft).expect_err(message).to_string(), message);
    let number = |at: &str| format!("{at}: not an integer between -2^53+1 and 2^53-1");
    refused(draft(r#"{"power":1.5}"#), &number("content.power"));
    refused(draft(r#"{"a":{"b":[{"c":9007199254740992}]}}"#), &number("content.a.b[0].c"));
    refused(draft(r#"{"a":-9007199254740992}"#), &number("content.a"));
    refused(draft(r#"{"a":1e3}"#), &number("content.a"));
    refused(draft("[]"), "content: not an object");
    refused(draft("null"), "content: not an object");
    refused(
        draft(r#"{"$serde_json::private::RawValue":"{}"}"#),
        "content.$serde_json::private::RawValue: key is reserved",
    );
    assert!(matches!(sign(draft(r#"{"a":"\ud800"}"#)), Err(BuildError::Json(_))));
    let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(200), "]".repeat(200));
    assert!(matches!(sign(draft(&deep)), Err(BuildError::Json(_))));

    let long = "x".repeat(256);
    refused(Draft { state_key: Some(long.clone()), ..draft("{}") }, "state_key: longer than 255 bytes");
    refused(Draft { kind: long.as_str().into(), ..draft("{}") }, "type: longer than 255 bytes");
    let ids = |count| vec![owned_event_id!("$x") as OwnedEventId; count];
    refused(Draft { prev_events: ids(PREV_EVENTS_MAX + 1), ..draft("{}") }, "prev_events: more than 20 entries");
    refused(Draft { auth_events: ids(AUTH_EVENTS_MAX + 1), ..draft("{}") }, "auth_events: more than 10 entries");
    let late = Draft { origin_server_ts: 1 << 53, ..draft("{}") };
    refused(late, "origin_server_ts: larger than 2^53-1");
    assert_eq!(sign(Draft { depth: u64::MAX, ..draft("{}") }).unwrap().depth(), (1 << 53) - 1);
}

#[test]
fn redacts_stands_where_the_version_wants_it() {
    for version in RoomVersion::ALL {
        let redaction = Draft {
            kind: TimelineEventType::RoomRedaction,
            redacts: Some(owned_event_id!("$target")),
            ..draft(r#"{"reason":"r"}"#)
        };
        let pdu = redaction.sign(version, server_name!("one.example"), &key()).unwrap();
        let json: Value = serde_json::from_slice(pdu.json()).unwrap();
        let in_content = version >= RoomVersion::V11;
        assert_eq!(json["content"].get("redacts").is_some(), in_content, "{version}");
        assert_eq!(json.get("redacts").is_some(), !in_content, "{version}");
        let parsed = Pdu::parse(pdu.json(), version).unwrap();
        assert_eq!(parsed.redacts().unwrap(), "$target");
        assert_eq!(pdu.redacts(), parsed.redacts());
        // Whatever else stands there is no event id, and no reason to refuse the event.
        for value in [json!(5), json!("x"), json!(null), json!({})] {
            let odd = parse_changed(version, |json| {
                json["type"] = json!("m.room.redaction");
                json["redacts"] = value.clone();
                json["content"]["redacts"] = value;
            });
            assert_eq!(odd.unwrap().redacts(), None);
        }
        assert_eq!(parse_changed(version, |json| json["redacts"] = json!("$x")).unwrap().redacts(), None);
    }
}

#[test]
fn membership_is_that_of_member_events() {
    let room = Room::with_create(RoomVersion::V10, &json!({}));
    let join = room.current(&ruma::events::StateEventType::RoomMember, ALICE).unwrap();
    assert_eq!(join.membership(), Some("join".into()));
    assert!(join.is_state());
    assert_eq!(room.create.membership(), None);
    assert_eq!(
        draft(r#"{"membership":"join"}"#).sign(room.version, server_name!("one.example"), &key()).unwrap().membership(),
        None
    );
    for content in [json!({}), json!({"membership": 5})] {
        assert_eq!(room.sign(room.draft(ALICE, "m.room.member", Some(ALICE), &content)).membership(), None);
    }
}

#[test]
fn debug_output_says_no_more_than_ids() {
    let pdu = sign(draft(r#"{"body":"secret"}"#)).unwrap();
    let text = format!("{pdu:?}");
    assert!(text.contains(pdu.event_id().as_str()));
    assert!(!text.contains("secret") && !text.contains("alice") && !text.contains("room:"));
}
