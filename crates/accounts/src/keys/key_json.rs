//! Key objects as JSON: what they must have, what is kept of them, and whether they are signed.

use ruma::{
    CanonicalJsonObject, SigningKeyAlgorithm, UserId,
    serde::base64::{Base64, Standard},
    signatures::{to_canonical_json_string_for_signing, verify_canonical_json_bytes},
};
use serde_json::{Map, Value};

use crate::AccountError;

/// A JSON object.
pub(super) type Object = Map<String, Value>;

/// Length of an ed25519 public key.
const PUBLIC_KEY_BYTES: usize = 32;

/// Reads JSON that must be an object.
pub(super) fn object(field: &'static str, json: &str) -> Result<Object, AccountError> {
    match serde_json::from_str(json) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(AccountError::Malformed { field, problem: "must be an object".to_owned() }),
        Err(error) => Err(AccountError::Malformed { field, problem: error.to_string() }),
    }
}

/// Reads an object of the store.
pub(super) fn stored(json: &str) -> Result<Object, AccountError> {
    serde_json::from_str(json).map_err(|_| AccountError::Damaged("key"))
}

/// Writes an object.
pub(super) fn text(object: &Object) -> String {
    // A map of strings to values serializes into memory.
    serde_json::to_string(object).unwrap_or_default()
}

/// The signatures that a user's keys made, by key id.
pub(super) fn signatures_of(object: &Object, user: &UserId) -> Object {
    object
        .get("signatures")
        .and_then(|signatures| signatures.get(user.as_str()))
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default()
}

/// Sets the signatures to those of a user's keys alone.
pub(super) fn set_signatures(object: &mut Object, user: &UserId, signatures: Object) {
    if signatures.is_empty() {
        object.remove("signatures");
        return;
    }
    let by_user = Object::from_iter([(user.as_str().to_owned(), Value::Object(signatures))]);
    object.insert("signatures".to_owned(), Value::Object(by_user));
}

/// The part of an object that signatures cover.
pub(super) fn signed_part(object: &Object) -> Object {
    let covered = |name: &str| name != "signatures" && name != "unsigned";
    object.iter().filter(|(name, _)| covered(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Reads base64 with or without padding.
pub(super) fn base64(text: &str) -> Option<Vec<u8>> {
    Base64::<Standard>::parse(text).ok().map(Base64::into_inner)
}

/// Whether a text is an ed25519 public key.
pub(super) fn is_public_key(text: &str) -> bool {
    base64(text).is_some_and(|bytes| bytes.len() == PUBLIC_KEY_BYTES)
}

/// Whether the object is signed with an ed25519 key (appendix "Signing JSON").
pub(super) fn is_signed(object: &Object, public_key: &str, signature: &Value) -> bool {
    let check = || {
        let (key, signature) = (base64(public_key)?, base64(signature.as_str()?)?);
        let canonical: CanonicalJsonObject = serde_json::from_str(&text(&signed_part(object))).ok()?;
        let signed = to_canonical_json_string_for_signing(&canonical).ok()?;
        verify_canonical_json_bytes(&SigningKeyAlgorithm::Ed25519, &key, &signature, signed.as_bytes()).ok()
    };
    check().is_some()
}

#[cfg(test)]
mod tests {
    use ruma::user_id;
    use serde_json::{Value, json};

    use super::{Object, is_public_key, is_signed, set_signatures, signatures_of, signed_part};

    fn object(value: Value) -> Object {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn only_a_true_signature_counts() {
        // From the specification's appendix, "Test vectors": key and signature of an object with two fields.
        let key = "XGX0JRS2Af3be3knz2fBiRbApjm2Dh61gXDJA8kcJNI";
        let signature = json!("KqmLSbO39/Bzb0QIYE82zqLwsA+PDzYIpIRA2sRQ4sL53+sN6/fpNSoqE7BP7vBZhG6kYdD13EIMJpvhJI+6Bw");
        let mut signed = object(json!({ "one": 1, "two": "Two", "unsigned": { "x": 1 }, "signatures": {} }));
        assert!(is_public_key(key));
        assert!(is_signed(&signed, key, &signature));
        assert!(!is_signed(&signed, key, &json!(1)));
        assert!(!is_signed(&signed, "short", &signature));
        signed.insert("one".to_owned(), json!(2));
        assert!(!is_signed(&signed, key, &signature));
    }

    #[test]
    fn only_the_users_own_signatures_are_kept() {
        let alice = user_id!("@alice:x");
        let mut key = object(json!({ "a": 1, "signatures": { "@alice:x": { "k": "s" }, "@bob:x": { "k": "t" } } }));
        let own = signatures_of(&key, alice);
        set_signatures(&mut key, alice, own);
        assert_eq!(key, object(json!({ "a": 1, "signatures": { "@alice:x": { "k": "s" } } })));
        set_signatures(&mut key, alice, Object::new());
        assert_eq!(key, object(json!({ "a": 1 })));
        assert_eq!(signed_part(&object(json!({ "a": 1, "signatures": {}, "unsigned": {} }))), key);
    }
}
