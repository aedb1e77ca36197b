//! Documents in which servers publish their keys, and what of them is believed.

use std::collections::BTreeMap;

use bytes::Bytes;
use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, OwnedServerSigningKeyId, ServerName, SigningKeyAlgorithm,
    api::federation::discovery::ServerSigningKeys,
    serde::Base64,
    signatures::{PublicKeyMap, verify_json},
};

/// Current keys of one server that are looked at.
const CURRENT_KEYS_MAX: usize = 16;
/// Old keys of one server that are looked at.
const OLD_KEYS_MAX: usize = 64;

/// A document whose server's own keys have signed it.
#[derive(Clone, Debug)]
pub(crate) struct KeyDocument {
    /// As it came.
    pub(crate) json: Bytes,
    /// Until when it says that its keys are good.
    pub(crate) valid_until_ts: u64,
    /// The current keys that have signed the document.
    pub(crate) current: Vec<(OwnedServerSigningKeyId, [u8; 32])>,
    /// Old keys, each with the moment at which it expired.
    pub(crate) old: Vec<(OwnedServerSigningKeyId, [u8; 32], u64)>,
}

impl KeyDocument {
    /// Reads a document that is to be of `server`. Keys that have not signed it are left out; without any it is refused.
    /// What it says of other servers counts for nothing.
    pub(crate) fn read(server: &ServerName, json: Bytes) -> Result<Self, String> {
        let document: ServerSigningKeys = serde_json::from_slice(&json).map_err(|error| error.to_string())?;
        if document.server_name != server {
            return Err("it is about another server".to_owned());
        }
        let object: CanonicalJsonObject = serde_json::from_slice(&json).map_err(|error| error.to_string())?;
        let mut current = Vec::new();
        for (id, key) in document.verify_keys.iter().take(CURRENT_KEYS_MAX) {
            if let Some(key) = ed25519(id, &key.key)
                && is_signed_by(&object, server, id, &key)
            {
                current.push((id.clone(), key));
            }
        }
        if current.is_empty() {
            return Err("none of its keys has signed it".to_owned());
        }
        let old = document.old_verify_keys.iter().take(OLD_KEYS_MAX).filter_map(|(id, old)| {
            let key = ed25519(id, &old.key)?;
            Some((id.clone(), key, old.expired_ts.0.into()))
        });
        Ok(Self { valid_until_ts: document.valid_until_ts.0.into(), old: old.collect(), current, json })
    }

    /// The ids of its keys, old ones included.
    pub(crate) fn key_ids(&self) -> Vec<OwnedServerSigningKeyId> {
        let current = self.current.iter().map(|(id, _)| id);
        current.chain(self.old.iter().map(|(id, ..)| id)).cloned().collect()
    }

    /// Whether another server has signed the document with one of these keys.
    pub(crate) fn is_signed_by(
        &self,
        server: &ServerName,
        mut keys: impl Iterator<Item = (OwnedServerSigningKeyId, [u8; 32])>,
    ) -> bool {
        let Ok(object) = serde_json::from_slice::<CanonicalJsonObject>(&self.json) else { return false };
        keys.any(|(id, key)| is_signed_by(&object, server, &id, &key))
    }
}

/// The bytes of a key, if it is an ed25519 key.
fn ed25519(id: &OwnedServerSigningKeyId, key: &Base64) -> Option<[u8; 32]> {
    if id.algorithm() != SigningKeyAlgorithm::Ed25519 {
        return None;
    }
    key.as_bytes().try_into().ok()
}

/// Whether this one signature is there and good.
pub(crate) fn is_signed_by(
    object: &CanonicalJsonObject,
    server: &ServerName,
    id: &OwnedServerSigningKeyId,
    key: &[u8; 32],
) -> bool {
    let Some(CanonicalJsonValue::Object(all)) = object.get("signatures") else { return false };
    let Some(CanonicalJsonValue::Object(of_server)) = all.get(server.as_str()) else { return false };
    let Some(signature) = of_server.get(id.as_str()) else { return false };
    // Only this signature: others may be by keys that nobody knows.
    let one = CanonicalJsonObject::from([(id.to_string(), signature.clone())]);
    let mut signed = object.clone();
    signed.insert("signatures".to_owned(), CanonicalJsonObject::from([(server.to_string(), one.into())]).into());
    let keys = BTreeMap::from([(id.to_string(), Base64::new(key.to_vec()))]);
    verify_json(&PublicKeyMap::from([(server.to_string(), keys)]), &signed).is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ruma::{server_name, signatures::sign_json};
    use serde_json::{Value, json};
    use wardroom_event::SigningKey;

    use super::*;

    const DAY_MS: u64 = 24 * 3_600 * 1_000;

    fn base64(key: &SigningKey) -> String {
        Base64::<ruma::serde::base64::Standard, _>::new(key.public_key().to_vec()).encode()
    }

    fn signed(document: &Value, entity: &str, keys: &[&SigningKey]) -> Bytes {
        let mut object: CanonicalJsonObject = serde_json::from_value(document.clone()).unwrap();
        for key in keys {
            sign_json(entity, key.pair(), &mut object).unwrap();
        }
        Bytes::from(serde_json::to_vec(&object).unwrap())
    }

    #[test]
    fn only_keys_that_signed_a_document_of_the_asked_server_count() {
        let server = server_name!("a.example");
        let (first, second) = (SigningKey::generate("1").unwrap(), SigningKey::generate("2").unwrap());
        let document = json!({
            "server_name": "a.example",
            "valid_until_ts": DAY_MS,
            "verify_keys": {"ed25519:1": {"key": base64(&first)}, "ed25519:2": {"key": base64(&second)}},
            "old_verify_keys": {"ed25519:0": {"key": base64(&second), "expired_ts": 7}},
        });
        let both = KeyDocument::read(server, signed(&document, "a.example", &[&first, &second])).unwrap();
        assert_eq!(both.current.len(), 2);
        assert_eq!((both.valid_until_ts, both.old[0].2), (DAY_MS, 7));
        let one = KeyDocument::read(server, signed(&document, "a.example", &[&first])).unwrap();
        assert_eq!(one.current[0].1, first.public_key());
        assert_eq!(one.current.len(), 1);
        // Nobody's, somebody else's, and of another server.
        assert!(KeyDocument::read(server, signed(&document, "a.example", &[])).is_err());
        assert!(KeyDocument::read(server, signed(&document, "b.example", &[&first])).is_err());
        let other = SigningKey::generate("1").unwrap();
        assert!(KeyDocument::read(server, signed(&document, "a.example", &[&other])).is_err());
        assert!(KeyDocument::read(server_name!("b.example"), signed(&document, "a.example", &[&first])).is_err());
        assert!(both.is_signed_by(server, [(first.key_id().clone(), first.public_key())].into_iter()));
        assert!(!one.is_signed_by(server, [(second.key_id().clone(), second.public_key())].into_iter()));
    }

    proptest! {
        #[test]
        fn junk_is_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(KeyDocument::read(server_name!("a.example"), bytes.into()).is_err());
        }
    }
}
