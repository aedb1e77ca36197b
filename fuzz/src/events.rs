//! Events of other servers and of clients.

use ruma::event_id;
use serde_json::Value;
use wardroom_event::{ClientFormat, Pdu, PublicKeys, RoomVersion, client_json, redact, stripped_state, verify};

/// Canonical JSON is a fixed point, and says the same as what it was made from.
pub fn canonical_json(data: &[u8]) {
    let Ok(text) = wardroom_event::canonical_json(data) else { return };
    let again = wardroom_event::canonical_json(text.as_bytes()).expect("canonical JSON is taken");
    assert_eq!(again, text);
    let before: Value = serde_json::from_slice(data).expect("canonical JSON is made of JSON");
    let after: Value = serde_json::from_str(&text).expect("canonical JSON is JSON");
    assert_eq!(before, after);
}

/// An event of the version that the first byte chooses: read, redacted and shown to a client without a failure.
pub fn pdu(data: &[u8]) {
    let Some((choice, json)) = data.split_first() else { return };
    let version = RoomVersion::ALL[usize::from(*choice) % RoomVersion::ALL.len()];
    let _ = verify(json, &PublicKeys::new(), version);
    let _ = Pdu::from_stored(json.to_vec().into(), event_id!("$x").to_owned(), version);
    let Ok(pdu) = Pdu::parse(json, version) else { return };
    let again = Pdu::parse(pdu.json(), version).expect("what was read is read again");
    assert_eq!(again.event_id(), pdu.event_id());
    let redacted = redact(&pdu, None).expect("what was read can be redacted");
    for pdu in [&pdu, &redacted] {
        let client: Value = serde_json::from_str(client_json(pdu, &ClientFormat::default()).get()).expect("JSON");
        assert!(client["event_id"].is_string() && client["type"].is_string());
        let _ = stripped_state(pdu);
        let _ = (pdu.membership(), pdu.redacts(), pdu.room_id(), pdu.prev_events().len(), pdu.depth());
    }
}
