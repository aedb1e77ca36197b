//! Signatures of foreign events.

use ruma::{OwnedServerName, ServerName, server_name};
use serde_json::{Value, json};
use wardroom_event::{Pdu, PublicKey, PublicKeys, RoomVersion, SigningKey, Verified, required_servers, verify};

use crate::room::{ALICE, BOB, DAVE, Room, key};

fn keys(entries: &[(&ServerName, &SigningKey, u64)]) -> PublicKeys {
    let mut keys = PublicKeys::new();
    for (server, key, valid_until_ts) in entries {
        let public = PublicKey { key: key.public_key(), valid_until_ts: *valid_until_ts };
        keys.insert((*server).to_owned(), key.key_id().clone(), public);
    }
    keys
}

fn one() -> &'static ServerName {
    server_name!("one.example")
}

fn two() -> &'static ServerName {
    server_name!("two.example")
}

fn changed(pdu: &Pdu, change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut json: Value = serde_json::from_slice(pdu.json()).unwrap();
    change(&mut json);
    json.to_string().into_bytes()
}

#[test]
fn tells_whole_changed_and_forged_events_apart() {
    for version in RoomVersion::ALL {
        let mut room = Room::with_create(version, &json!({}));
        let message = room.message(ALICE).unwrap();
        let good = keys(&[(one(), &key(), u64::MAX)]);
        assert_eq!(verify(message.json(), &good, version).unwrap(), Verified::All);
        assert_eq!(verify(room.create.json(), &good, version).unwrap(), Verified::All);
        let unsigned = changed(&message, |json| json["unsigned"] = json!({"age": 1}));
        assert_eq!(verify(&unsigned, &good, version).unwrap(), Verified::All);
        let other_body = changed(&message, |json| json["content"]["body"] = json!("other"));
        assert_eq!(verify(&other_body, &good, version).unwrap(), Verified::Signatures);
        let other_sender = changed(&message, |json| json["sender"] = json!(BOB));
        verify(&other_sender, &good, version).unwrap_err();
        let other_key = SigningKey::from_seed([8; 32], "a_1").unwrap();
        verify(message.json(), &keys(&[(one(), &other_key, u64::MAX)]), version).unwrap_err();
        verify(message.json(), &keys(&[(two(), &key(), u64::MAX)]), version).unwrap_err();
        verify(message.json(), &PublicKeys::new(), version).unwrap_err();
        let bare = changed(&message, |json| json["signatures"] = json!({}));
        verify(&bare, &good, version).unwrap_err();
        assert!(good.contains(one()) && !good.contains(two()));
    }
}

#[test]
fn keys_count_while_they_are_valid() {
    let mut room = Room::with_create(RoomVersion::V6, &json!({}));
    let message = room.message(ALICE).unwrap();
    let ts = message.origin_server_ts();
    assert!(verify(message.json(), &keys(&[(one(), &key(), ts)]), room.version).is_ok());
    verify(message.json(), &keys(&[(one(), &key(), ts - 1)]), room.version).unwrap_err();
}

#[test]
fn restricted_joins_are_signed_by_the_authorizing_server_too() {
    for version in RoomVersion::ALL {
        let room = Room::with_create(version, &json!({}));
        let servers = |kind: &str, membership: &str| -> Vec<OwnedServerName> {
            let content = json!({"membership": membership, "join_authorised_via_users_server": DAVE});
            let pdu = room.sign(room.draft(ALICE, kind, Some(ALICE), &content));
            // Another server's signature is asked for exactly where it is required.
            let alone = verify(pdu.json(), &keys(&[(one(), &key(), u64::MAX)]), version);
            let required: Vec<_> = required_servers(pdu.json(), version).unwrap().into_iter().collect();
            assert_eq!(alone.is_err(), required.contains(&two().to_owned()), "{version} {kind} {membership}");
            required
        };
        let both = if version >= RoomVersion::V8 { vec![one(), two()] } else { vec![one()] };
        assert_eq!(servers("m.room.member", "join"), both);
        assert_eq!(servers("m.room.member", "leave"), [one()]);
        assert_eq!(servers("m.room.message", "join"), [one()]);
    }
}

#[test]
fn junk_is_refused() {
    let none = PublicKeys::new();
    for junk in ["", "[]", "{}", r#"{"origin_server_ts":-1}"#, r#"{"origin_server_ts":1,"type":"x"}"#] {
        verify(junk.as_bytes(), &none, RoomVersion::V11).unwrap_err();
    }
}

#[test]
fn a_second_signature_changes_nothing_else() {
    for version in RoomVersion::ALL {
        let mut room = Room::with_create(version, &json!({}));
        let message = room.message(ALICE).unwrap();
        let other_key = SigningKey::from_seed([8; 32], "b_2").unwrap();
        let cosigned = message.cosigned(two(), &other_key).unwrap();
        assert_eq!(cosigned.event_id(), message.event_id());
        let both = keys(&[(one(), &key(), u64::MAX), (two(), &other_key, u64::MAX)]);
        assert_eq!(verify(cosigned.json(), &both, version).unwrap(), Verified::All);
        let forged = keys(&[(one(), &key(), u64::MAX), (two(), &key(), u64::MAX)]);
        let other_signature: Value = serde_json::from_slice(cosigned.json()).unwrap();
        assert_ne!(other_signature["signatures"]["two.example"]["ed25519:b_2"], Value::Null);
        assert_eq!(verify(cosigned.json(), &forged, version).unwrap(), Verified::All, "only the sender's counts");
        let mut plain: Value = serde_json::from_slice(cosigned.json()).unwrap();
        plain["signatures"].as_object_mut().unwrap().remove("two.example");
        assert_eq!(plain, serde_json::from_slice::<Value>(message.json()).unwrap());
        assert_eq!(cosigned.cosigned(two(), &other_key).unwrap().json(), cosigned.json());
        assert_eq!(Pdu::parse(cosigned.json(), version).unwrap().json(), cosigned.json());
    }
}
