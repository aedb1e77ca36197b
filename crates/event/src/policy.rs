//! Policy servers of rooms: which it is, and whether it has signed an event.
//!
//! [Policy Servers](https://spec.matrix.org/v1.19/server-server-api/#policy-servers).

use std::collections::BTreeMap;

use ruma::{
    CanonicalJsonObject, OwnedServerName, ServerName, SigningKeyAlgorithm,
    events::{
        TimelineEventType,
        room::policy::{POLICY_SERVER_ED25519_SIGNING_KEY_ID, RoomPolicyEventContent},
    },
    serde::Base64,
    signatures::verify_policy_server_signature,
};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    Pdu,
    pdu_format::{self, ParseError},
};

/// Type of the state event that names a policy server.
const ROOM_POLICY: &str = "m.room.policy";

/// What a room's `m.room.policy` says.
#[derive(Clone, Debug)]
pub struct RoomPolicy {
    via: OwnedServerName,
    /// None where the key cannot be read: then no signature is ever right.
    content: Option<RoomPolicyEventContent>,
}

impl RoomPolicy {
    /// Reads the event; none where it names no policy server, and the room has none.
    pub fn of(event: &Pdu) -> Option<Self> {
        #[derive(Deserialize)]
        struct Content {
            via: String,
            public_keys: BTreeMap<String, Value>,
        }
        let Content { via, public_keys } = event.content_as().ok()?;
        let via = OwnedServerName::try_from(via).ok()?;
        let key = public_keys.get("ed25519")?.as_str()?;
        let content = Base64::parse(key).ok().map(|key| RoomPolicyEventContent::new(via.clone(), key));
        Some(Self { via, content })
    }

    /// The policy server. It is one only while somebody of it is joined.
    pub fn via(&self) -> &ServerName {
        &self.via
    }

    /// Whether this is the key that the room knows of its policy server.
    pub fn is_key(&self, public_key: &[u8; 32]) -> bool {
        self.content.as_ref().is_some_and(|content| {
            content.public_keys.get(&SigningKeyAlgorithm::Ed25519).is_some_and(|key| key.as_bytes() == public_key)
        })
    }

    /// Whether the policy server has signed an event with the key that the room knows of it.
    pub fn has_signed(&self, event: &Pdu) -> bool {
        let Some(content) = &self.content else { return false };
        let Ok(object) = pdu_format::read_object(event.json()) else { return false };
        verify_policy_server_signature(content, &CanonicalJsonObject::from(&object), event.version().rules()).is_ok()
    }
}

impl Pdu {
    /// Whether the event is the room's `m.room.policy` itself: no policy server is asked about that.
    pub fn is_room_policy(&self) -> bool {
        *self.kind() == TimelineEventType::from(ROOM_POLICY) && self.state_key() == Some("")
    }

    /// The event with a policy server's signature beside the others.
    ///
    /// # Errors
    /// [`ParseError::TooLarge`] where there is no room for the signature.
    pub fn signed_by_policy_server(&self, server: &ServerName, signature: &str) -> Result<Self, ParseError> {
        self.with_signature(server, POLICY_SERVER_ED25519_SIGNING_KEY_ID, signature.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use ruma::{owned_room_id, owned_user_id, server_name};
    use serde_json::{json, value::to_raw_value};

    use super::*;
    use crate::{Draft, RoomVersion, SigningKey, hash};

    const VERSION: RoomVersion = RoomVersion::V11;

    fn event(kind: &str, state_key: Option<&str>, content: &Value) -> Pdu {
        let draft = Draft {
            room_id: Some(owned_room_id!("!a:a.example")),
            sender: owned_user_id!("@alice:a.example"),
            kind: kind.into(),
            state_key: state_key.map(str::to_owned),
            content: to_raw_value(content).unwrap(),
            redacts: None,
            prev_events: Vec::new(),
            auth_events: Vec::new(),
            depth: 1,
            origin_server_ts: 1,
        };
        draft.sign(VERSION, server_name!("a.example"), &SigningKey::from_seed([7; 32], "1").unwrap()).unwrap()
    }

    fn policy(content: &Value) -> Option<RoomPolicy> {
        RoomPolicy::of(&event("m.room.policy", Some(""), content))
    }

    #[test]
    fn a_policy_server_is_named_with_its_key() {
        let named = json!({ "via": "p.example", "public_keys": { "ed25519": "AAAA", "other": 7 } });
        assert_eq!(policy(&named).unwrap().via(), "p.example");
        for none in [
            json!({}),
            json!({ "via": "p.example" }),
            json!({ "via": 7, "public_keys": { "ed25519": "AAAA" } }),
            json!({ "via": "no server", "public_keys": { "ed25519": "AAAA" } }),
            json!({ "via": "p.example", "public_keys": { "ed25519": null } }),
        ] {
            assert!(policy(&none).is_none(), "{none}");
        }
        // A key that is none makes the room one with a policy server that signs nothing.
        let broken = json!({ "via": "p.example", "public_keys": { "ed25519": "!" } });
        assert!(!policy(&broken).unwrap().has_signed(&event("m.room.message", None, &json!({}))));
    }

    #[test]
    fn its_signature_counts_and_no_other() {
        let key = SigningKey::from_seed([9; 32], "policy_server").unwrap();
        let public = Base64::<ruma::serde::base64::Standard>::new(key.public_key().to_vec()).encode();
        let policy = policy(&json!({ "via": "p.example", "public_keys": { "ed25519": public } })).unwrap();
        let said = event("m.room.message", None, &json!({ "body": "hello" }));
        assert!(!policy.has_signed(&said));
        let mut form = Vec::new();
        let object = pdu_format::read_object(said.json()).unwrap();
        hash::write_signed_form(&object, &VERSION.rules().redaction, &mut form);
        let signature = Base64::<ruma::serde::base64::Standard>::new(key.sign(&form).to_vec()).encode();
        let signed = said.signed_by_policy_server(policy.via(), &signature).unwrap();
        assert!(policy.has_signed(&signed));
        assert_eq!(signed.event_id(), said.event_id());
        let elsewhere = said.signed_by_policy_server(server_name!("q.example"), &signature).unwrap();
        assert!(!policy.has_signed(&elsewhere));
        let other = event("m.room.message", None, &json!({ "body": "other" }));
        assert!(!policy.has_signed(&other.signed_by_policy_server(policy.via(), &signature).unwrap()));
        assert!(event("m.room.policy", Some(""), &json!({})).is_room_policy());
        assert!(!event("m.room.policy", Some("x"), &json!({})).is_room_policy());
        assert!(!said.is_room_policy());
    }
}
