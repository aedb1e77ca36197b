//! Checking the signatures and the content hash of foreign events.

use std::collections::{BTreeMap, BTreeSet};

use ruma::{
    CanonicalJsonObject, OwnedServerName, OwnedServerSigningKeyId, ServerName,
    serde::Base64,
    signatures::{PublicKeyMap, VerificationError, required_server_signatures_to_verify_event, verify_event},
};

use crate::{
    RoomVersion,
    canonical::{Json, Object},
    pdu_format::{self, ParseError},
};

/// A public key of a server and how long it is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    /// The key.
    pub key: [u8; 32],
    /// The last moment at which events may be signed with it, in milliseconds since 1970: `valid_until_ts` of a
    /// current key (at most seven days ahead of when it was fetched), `expired_ts` of an old one.
    pub valid_until_ts: u64,
}

/// The public keys of servers by their ids, for [`verify`].
#[derive(Debug, Clone, Default)]
pub struct PublicKeys(BTreeMap<OwnedServerName, BTreeMap<OwnedServerSigningKeyId, PublicKey>>);

impl PublicKeys {
    /// No keys.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds or replaces a key.
    pub fn insert(&mut self, server: OwnedServerName, key_id: OwnedServerSigningKeyId, key: PublicKey) {
        self.0.entry(server).or_default().insert(key_id, key);
    }

    /// Whether any key of the server is known.
    pub fn contains(&self, server: &ServerName) -> bool {
        self.0.contains_key(server)
    }

    /// Those that were good at a moment, in the shape that ruma wants.
    fn valid_at(&self, ts: u64, enforce: bool) -> PublicKeyMap {
        let valid = |keys: &BTreeMap<OwnedServerSigningKeyId, PublicKey>| {
            keys.iter()
                .filter(|(_, key)| !enforce || key.valid_until_ts >= ts)
                .map(|(id, key)| (id.as_str().to_owned(), Base64::new(key.key.to_vec())))
                .collect()
        };
        self.0.iter().map(|(server, keys)| (server.as_str().to_owned(), valid(keys))).collect()
    }
}

/// What an event with valid signatures is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verified {
    /// Everything is as it was signed.
    All,
    /// The content hash is wrong: the event must be redacted before anything else is done with it.
    Signatures,
}

/// Why an event is not as its server signed it, or not provably so.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The JSON is no event.
    #[error(transparent)]
    Format(#[from] ParseError),
    /// A signature is missing, wrong, or made with a key that is unknown or had expired.
    #[error("{0}")]
    Signature(VerificationError),
}

/// The servers that have to have signed an event, whose keys [`verify`] then needs.
pub fn required_servers(pdu_json: &[u8], version: RoomVersion) -> Result<BTreeSet<OwnedServerName>, VerifyError> {
    let event = pdu_format::read_object(pdu_json)?;
    required_server_signatures_to_verify_event(
        &CanonicalJsonObject::from(&event),
        &rules_for(&event, version).signatures,
    )
    .map_err(VerifyError::Signature)
}

/// Checks the signatures of an event exactly as it was received, and its content hash.
///
/// Only keys that were valid at the event's `origin_server_ts` count. [Validating hashes and signatures][spec].
///
/// [spec]: https://spec.matrix.org/v1.19/server-server-api/#validating-hashes-and-signatures-on-received-events
pub fn verify(pdu_json: &[u8], keys: &PublicKeys, version: RoomVersion) -> Result<Verified, VerifyError> {
    let event = pdu_format::read_object(pdu_json)?;
    let ts = match event.get("origin_server_ts") {
        Some(Json::Integer(ts)) => u64::try_from(*ts).ok(),
        _ => None,
    };
    let ts = ts.ok_or(ParseError::Invalid { field: "origin_server_ts", expected: "an integer from 0 on" })?;
    let rules = rules_for(&event, version);
    let keys = keys.valid_at(ts, rules.enforce_key_validity);
    match verify_event(&keys, &CanonicalJsonObject::from(&event), &rules) {
        Ok(ruma::signatures::Verified::All) => Ok(Verified::All),
        Ok(ruma::signatures::Verified::Signatures) => Ok(Verified::Signatures),
        Err(error) => Err(VerifyError::Signature(error)),
    }
}

/// The version's rules, but the server of `join_authorised_via_users_server` has to sign joins only.
///
/// ruma-signatures 0.22 asks for that signature on any event whose content has such a field. Other servers do not, so
/// a peer could send events that they accept and we drop.
fn rules_for(event: &Object<'_>, version: RoomVersion) -> ruma::room_version_rules::RoomVersionRules {
    let text = |object: &Object<'_>, key: &str, value: &str| object.get(key).and_then(Json::as_str) == Some(value);
    let join = text(event, "type", "m.room.member")
        && event.get_object("content").is_some_and(|content| text(content, "membership", "join"));
    let mut rules = version.rules().clone();
    rules.signatures.check_join_authorised_via_users_server &= join;
    rules
}
