//! Partners against a server on this machine that behaves as the test wants.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use http::Method;
use ruma::{
    CanonicalJsonObject, OwnedServerName, api::federation::query::get_profile_information::v1 as profile,
    owned_server_name, owned_user_id,
};
use serde_json::{json, value::to_raw_value};
use wardroom_audit::AuditLog;
use wardroom_clock::{Clock as _, ManualClock};
use wardroom_event::{RoomVersion, SigningKey};
use wardroom_outbound::Ranges;
use wardroom_store::{Catalogue, Store};

use super::{
    Limits, OwnKeys, Partner, PartnerError, PartnerSettings, Partners, RequestSignature, SignatureError,
    fake_server::{FakeServer, answer, encoded},
};

const NOW_MS: u64 = 1_700_000_000_000;

struct World {
    partners: Partners,
    clock: Arc<ManualClock>,
    store: Store,
}

fn world(settings: PartnerSettings) -> World {
    let store = Store::in_memory(Catalogue::new(&[crate::TABLES]).unwrap());
    with_store(settings, store)
}

fn with_store(settings: PartnerSettings, store: Store) -> World {
    let clock = Arc::new(ManualClock::new(NOW_MS));
    let key = Arc::new(SigningKey::from_seed([9; 32], "own").unwrap());
    let own = OwnKeys::new(owned_server_name!("own.example"), key, Vec::new(), clock.clone());
    let partners = Partners::assemble(own, store.clone(), clock.clone(), AuditLog::silent(), settings).unwrap();
    World { partners, clock, store }
}

fn trusting(servers: &[&FakeServer]) -> PartnerSettings {
    let extra_ca = servers.iter().map(|server| server.ca.clone()).collect();
    PartnerSettings { enabled: true, extra_ca, ..PartnerSettings::default() }
}

fn question() -> profile::Request {
    profile::Request::new(owned_user_id!("@a b:x.example"))
}

#[tokio::test]
async fn a_request_is_signed_and_sent_to_the_server_by_its_name() {
    let server = FakeServer::start();
    server.answers(|_| answer(200, br#"{"displayname":"A"}"#));
    let world = world(trusting(&[&server]));
    for _ in 0..3 {
        let reply = world.partners.request(&server.name, question(), Limits::default()).await.unwrap();
        assert_eq!(reply.get("displayname").and_then(|value| value.as_str()), Some("A"));
    }
    assert_eq!(server.connections.load(Ordering::Relaxed), 1, "the connection is used again");
    let asked = server.asked.lock()[0].clone();
    assert_eq!(asked.header("host"), Some(server.name.as_str()));
    // The other side proves it with the key that this server publishes.
    let mut headers = http::HeaderMap::new();
    headers.insert("authorization", asked.header("authorization").unwrap().parse().unwrap());
    let signature = RequestSignature::read(&headers).unwrap().remove(0);
    assert_eq!(signature.origin, "own.example");
    assert_eq!(signature.destination.as_deref(), Some(server.name.as_str()));
    let message = json!({
        "method": "GET", "uri": asked.path, "origin": "own.example", "destination": server.name,
    });
    let message = serde_json::to_vec(&serde_json::from_value::<CanonicalJsonObject>(message).unwrap()).unwrap();
    let key = SigningKey::from_seed([9; 32], "own").unwrap();
    assert!(wardroom_event::is_signature(&key.public_key(), &message, &signature.signature));
}

#[tokio::test]
async fn names_are_resolved_and_certificates_must_be_of_the_name() {
    let server = FakeServer::start();
    server.answers(|_| answer(200, b"{}"));
    let named = OwnedServerName::try_from(format!("localhost:{}", server.address.port())).unwrap();
    let world = world(trusting(&[&server]));
    world.partners.request(&named, question(), Limits::default()).await.unwrap();
    assert_eq!(server.asked.lock()[0].header("host"), Some(named.as_str()));
    // 127.0.0.2 is the same machine, and not in the certificate.
    let other = OwnedServerName::try_from(format!("127.0.0.2:{}", server.address.port())).unwrap();
    let refused = world.partners.request(&other, question(), Limits::default()).await;
    assert!(matches!(refused, Err(PartnerError::Unreachable(_))), "{refused:?}");
    let strangers = self::world(PartnerSettings { enabled: true, ..PartnerSettings::default() });
    let refused = strangers.partners.request(&server.name, question(), Limits::default()).await;
    assert!(matches!(refused, Err(PartnerError::Unreachable(_))), "{refused:?}");
}

#[tokio::test]
async fn refused_addresses_are_not_connected_to_however_they_are_named() {
    let server = FakeServer::start();
    let ranges = Ranges::new(vec!["127.0.0.0/8".parse().unwrap(), "::/127".parse().unwrap()], Vec::new());
    let world = world(PartnerSettings { ranges, ..trusting(&[&server]) });
    let port = server.address.port();
    for name in ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1", "127.1"] {
        let name = OwnedServerName::try_from(format!("{name}:{port}")).unwrap();
        let refused = world.partners.request(&name, question(), Limits::default()).await;
        assert!(matches!(refused, Err(PartnerError::Unreachable(_))), "{name}: {refused:?}");
    }
    assert_eq!(server.connections.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn errors_are_told_apart_and_answers_are_bounded_in_size_and_time() {
    let server = FakeServer::start();
    let world = world(trusting(&[&server]));
    let ask = |limits| world.partners.request(&server.name, question(), limits);
    let limits = Limits { timeout: Duration::from_millis(500), answer_bytes_max: 1_000, ignore_backoff: true };

    server.answers(|_| answer(403, br#"{"errcode":"M_FORBIDDEN","error":"no"}"#));
    match ask(limits).await {
        Err(PartnerError::Refused { status, errcode, message, .. }) => {
            assert_eq!((status.as_u16(), errcode.as_str(), message.as_str()), (403, "M_FORBIDDEN", "no"));
        }
        other => panic!("{other:?}"),
    }
    server.answers(|_| answer(500, b"<html>"));
    assert!(matches!(ask(limits).await, Err(PartnerError::Refused { body: None, .. })));
    server.answers(|_| answer(200, b"[1"));
    assert!(matches!(ask(limits).await, Err(PartnerError::Malformed(_))));
    server.answers(|_| answer(200, &[b'x'; 2_000]));
    assert!(matches!(ask(limits).await, Err(PartnerError::TooLong(1_000))));
    let elsewhere = format!("302 X\r\nlocation: https://{}/x\r\ncontent-length: 0\r\n\r\n", server.address);
    let elsewhere = elsewhere.into_bytes();
    server.answers(move |_| elsewhere.clone());
    assert!(matches!(ask(limits).await, Err(PartnerError::Malformed(_))), "redirections are not followed");
    server.answers(|_| {
        std::thread::sleep(Duration::from_secs(3));
        Vec::new()
    });
    let slow = ask(limits).await;
    assert!(matches!(slow, Err(PartnerError::Unreachable(_))), "{slow:?}");
    // The second failure in a row, and the server is left alone.
    assert!(matches!(ask(limits).await, Err(PartnerError::Unreachable(_))));
    assert!(world.partners.is_backing_off(&server.name));
    let patient = Limits { ignore_backoff: false, ..limits };
    assert!(matches!(ask(patient).await, Err(PartnerError::BackingOff)));
    world.partners.note_success(&server.name);
    server.answers(|_| answer(200, b"{}"));
    ask(patient).await.unwrap();
}

#[tokio::test]
async fn pinned_certificates_are_the_only_ones_believed() {
    use sha2::Digest as _;
    let server = FakeServer::start();
    server.answers(|_| answer(200, b"{}"));
    let partner = |pin| Partner { name: server.name.clone(), pins: vec![pin], requests_per_second: None };
    let good = sha2::Sha256::digest(&server.certificate).into();
    for (pin, reached) in [(good, true), ([0; 32], false)] {
        let world = world(PartnerSettings { partners: vec![partner(pin)], ..trusting(&[&server]) });
        let reply = world.partners.request(&server.name, question(), Limits::default()).await;
        assert_eq!(reply.is_ok(), reached, "{reply:?}");
        if let Err(error) = reply {
            assert!(error.to_string().contains("pinned"), "{error}");
        }
    }
}

/// The signature of a request by the fake server, as a header is read.
fn signature(server: &FakeServer, key: &SigningKey, message: &serde_json::Value) -> RequestSignature {
    let message = serde_json::to_vec(&serde_json::from_value::<CanonicalJsonObject>(message.clone()).unwrap()).unwrap();
    RequestSignature {
        origin: server.name.clone(),
        destination: Some("own.example".to_owned()),
        key_id: key.key_id().clone(),
        signature: key.sign(&message).to_vec(),
    }
}

#[tokio::test]
async fn requests_are_proven_by_the_keys_that_their_origin_publishes() {
    let server = FakeServer::start();
    let world = world(trusting(&[&server]));
    let body = bytes::Bytes::from_static(br#"{"a": 1}"#);
    let message = json!({
        "method": "PUT", "uri": "/x?y", "origin": server.name, "destination": "own.example", "content": {"a": 1},
    });
    let good = signature(&server, &server.key, &message);
    let prove = async |signatures: &[RequestSignature], uri: &str, body: &bytes::Bytes| {
        world.partners.verify_request(signatures, &Method::PUT, uri, body).await
    };
    prove(std::slice::from_ref(&good), "/x?y", &body).await.unwrap();
    assert!(matches!(prove(std::slice::from_ref(&good), "/x?z", &body).await, Err(SignatureError::Wrong(_))));
    let other = bytes::Bytes::from_static(br#"{"a":2}"#);
    assert!(matches!(prove(std::slice::from_ref(&good), "/x?y", &other).await, Err(SignatureError::Wrong(_))));
    let elsewhere = RequestSignature { destination: Some("x.example".to_owned()), ..good.clone() };
    assert!(matches!(prove(&[elsewhere], "/x?y", &body).await, Err(SignatureError::OtherDestination)));
    let stranger = SigningKey::generate("unknown").unwrap();
    let unknown = signature(&server, &stranger, &message);
    for _ in 0..10 {
        let refused = prove(std::slice::from_ref(&unknown), "/x?y", &body).await;
        assert!(matches!(refused, Err(SignatureError::UnknownKey(..))), "{refused:?}");
    }
    assert_eq!(server.paths().len(), 1, "asked once, and not again for each unknown key");
    // Later it is asked again, once.
    world.clock.advance_ms(60_000);
    for _ in 0..10 {
        prove(std::slice::from_ref(&unknown), "/x?y", &body).await.unwrap_err();
    }
    assert_eq!(server.paths().len(), 2);
    prove(&[unknown, good], "/x?y", &body).await.unwrap();
}

#[tokio::test]
async fn keys_outlive_a_restart_and_end_with_their_validity() {
    let server = FakeServer::start();
    let world = world(trusting(&[&server]));
    let document = server.key_document(NOW_MS + 1_000);
    server.answers(move |_| answer(200, document.to_string().as_bytes()));
    let message = json!({"method": "PUT", "uri": "/x", "origin": server.name, "destination": "own.example"});
    let signatures = [signature(&server, &server.key, &message)];
    let prove = async |world: &World| {
        world.partners.verify_request(&signatures, &Method::PUT, "/x", &bytes::Bytes::new()).await
    };
    prove(&world).await.unwrap();
    let again = with_store(trusting(&[&server]), world.store.clone());
    prove(&again).await.unwrap();
    assert_eq!(server.paths().len(), 1, "the second one had the key in its store");
    // The key has expired and the server publishes no longer validity.
    again.clock.advance_ms(10_000);
    assert!(matches!(prove(&again).await, Err(SignatureError::UnknownKey(..))));
    assert_eq!(server.paths().len(), 2);
    // A key that claims to be good for ever is believed for a week.
    let forever = server.key_document(u64::MAX >> 12);
    server.answers(move |_| answer(200, forever.to_string().as_bytes()));
    again.clock.advance_ms(400_000);
    prove(&again).await.unwrap();
    server.answers(|_| answer(404, b"{}"));
    again.clock.advance_ms(8 * 24 * 3_600 * 1_000);
    assert!(prove(&again).await.is_err());
}

#[tokio::test]
async fn hostile_key_documents_are_refused() {
    let server = FakeServer::start();
    let other = FakeServer::start();
    let stranger = SigningKey::generate("fake").unwrap();
    let of_other = other.key_document(u64::MAX >> 12).to_string();
    let mut forged = server.key_document(u64::MAX >> 12);
    forged["verify_keys"][server.key.key_id().as_str()]["key"] = json!(encoded(&stranger));
    let message = json!({"method": "PUT", "uri": "/x", "origin": server.name, "destination": "own.example"});
    let signatures = [signature(&server, &server.key, &message)];
    for body in [of_other, forged.to_string(), "[]".to_owned(), "x".repeat(1_000_000)] {
        let world = world(trusting(&[&server, &other]));
        server.answers(move |_| answer(200, body.as_bytes()));
        let refused = world.partners.verify_request(&signatures, &Method::PUT, "/x", &bytes::Bytes::new()).await;
        assert!(matches!(refused, Err(SignatureError::NoKeys(..))), "{refused:?}");
    }
}

#[tokio::test]
async fn a_notary_stands_in_for_a_server_that_is_gone_if_it_signs() {
    let (gone, notary) = (FakeServer::start(), FakeServer::start());
    gone.answers(|_| answer(500, b"{}"));
    let document = gone.key_document(NOW_MS + 1_000_000);
    let (signed, unsigned) = (notary.signed(&document), document);
    let message = json!({"method": "PUT", "uri": "/x", "origin": gone.name, "destination": "own.example"});
    let signatures = [signature(&gone, &gone.key, &message)];
    let own = notary.key_document(u64::MAX >> 12);
    for (document, proven) in [(unsigned, false), (signed, true)] {
        let own = own.clone();
        notary.answers(move |asked| match asked.path.as_str() {
            "/_matrix/key/v2/server" => answer(200, own.to_string().as_bytes()),
            _ => answer(200, json!({"server_keys": [document]}).to_string().as_bytes()),
        });
        let settings = PartnerSettings { notaries: vec![notary.name.clone()], ..trusting(&[&gone, &notary]) };
        let world = world(settings);
        let found = world.partners.verify_request(&signatures, &Method::PUT, "/x", &bytes::Bytes::new()).await;
        assert_eq!(found.is_ok(), proven, "{found:?}");
    }
}

#[tokio::test]
async fn events_are_checked_together_and_each_for_itself() {
    let server = FakeServer::start();
    let world = world(trusting(&[&server]));
    let message = |body: &str| {
        json!({
            "type": "m.room.message", "room_id": "!r:x.example", "sender": format!("@a:{}", server.name),
            "content": {"body": body}, "depth": 5, "origin_server_ts": NOW_MS, "prev_events": [], "auth_events": [],
        })
    };
    let sign = |event: &serde_json::Value, key: &SigningKey| {
        let mut object: CanonicalJsonObject = serde_json::from_value(event.clone()).unwrap();
        let rules = &RoomVersion::V11.rules().redaction;
        ruma::signatures::hash_and_sign_event(server.name.as_str(), key.pair(), &mut object, rules).unwrap();
        serde_json::to_value(object).unwrap()
    };
    let good = sign(&message("good"), &server.key);
    let mut changed = sign(&message("before"), &server.key);
    changed["content"]["body"] = json!("after");
    let mut moved = sign(&message("x"), &server.key);
    moved["depth"] = json!(6);
    let stranger = SigningKey::generate("other").unwrap();
    let mut late = message("late");
    late["origin_server_ts"] = json!(NOW_MS + 30 * 24 * 3_600 * 1_000);
    let events = [
        good.clone(),
        changed,
        moved,
        sign(&message("x"), &stranger),
        message("unsigned"),
        sign(&late, &server.key),
        json!({"type": 7}),
        json!([]),
        good,
    ];
    let raw = events.iter().map(|event| to_raw_value(event).unwrap()).collect();
    let checked = world.partners.check_events(RoomVersion::V11, raw).await;
    assert_eq!(checked.len(), events.len());
    for index in [0, 8] {
        assert_eq!(checked[index].as_ref().unwrap().content().get(), r#"{"body":"good"}"#);
    }
    assert_eq!(checked[1].as_ref().unwrap().content().get(), "{}", "a wrong hash redacts");
    for (index, checked) in checked.iter().enumerate().take(8).skip(2) {
        assert!(checked.is_err(), "{index}: {checked:?}");
    }
    assert_eq!(server.paths(), ["/_matrix/key/v2/server"], "one document for all of them");
    assert!(world.clock.now_ms() == NOW_MS);
}
