//! Encryption keys, device lists and messages to devices.

mod claims;
mod cross_signing;
mod device_keys;
mod device_lists;
mod signatures;
mod to_device;

use base64::{Engine as _, prelude::BASE64_STANDARD_NO_PAD};
use ed25519_dalek::{Signer as _, SigningKey};
use wardroom_testkit::{Actor, Reply, User, Value, json, v3};

/// A key pair that signs JSON (appendix "Signing JSON").
#[derive(Debug)]
pub(crate) struct KeyPair {
    secret: SigningKey,
    pub(crate) public: String,
}

impl KeyPair {
    /// The pair of a seed: the same for the same number.
    pub(crate) fn of(seed: u8) -> Self {
        let secret = SigningKey::from_bytes(&[seed; 32]);
        let public = BASE64_STANDARD_NO_PAD.encode(secret.verifying_key().as_bytes());
        Self { secret, public }
    }

    /// Signs an object; `key` is the part of the key's id behind the colon.
    pub(crate) fn sign(&self, object: &mut Value, user: &str, key: &str) {
        let mut covered = object.clone();
        let fields = covered.as_object_mut().unwrap();
        fields.remove("signatures");
        fields.remove("unsigned");
        // Maps are sorted and texts are ASCII here, so this is canonical JSON.
        let signature = self.secret.sign(covered.to_string().as_bytes());
        let signature = BASE64_STANDARD_NO_PAD.encode(signature.to_bytes());
        object["signatures"][user][format!("ed25519:{key}")] = json!(signature);
    }
}

/// Identity keys of a user's device, signed by it.
pub(crate) fn device_keys(user: &User, key: &KeyPair) -> Value {
    let device = &user.device;
    let mut keys = json!({
        "user_id": user.id,
        "device_id": device,
        "algorithms": ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
        "keys": { format!("ed25519:{device}"): key.public, format!("curve25519:{device}"): KeyPair::of(99).public },
    });
    key.sign(&mut keys, &user.id, device);
    keys
}

/// A cross-signing key.
pub(crate) fn cross_signing_key(user: &User, usage: &str, key: &KeyPair) -> Value {
    json!({
        "user_id": user.id,
        "usage": [usage],
        "keys": { format!("ed25519:{}", key.public): key.public },
    })
}

/// A cross-signing key that a master key has signed.
pub(crate) fn signed_cross_signing_key(user: &User, usage: &str, key: &KeyPair, master: &KeyPair) -> Value {
    let mut object = cross_signing_key(user, usage, key);
    master.sign(&mut object, &user.id, &master.public);
    object
}

/// `n` signed one-time keys under names from `first` on. Their signatures are not checked by servers.
pub(crate) fn one_time_keys(first: u32, n: u32) -> Value {
    let keys = (first..first + n).map(|number| {
        let key = KeyPair::of(u8::try_from(number % 251).unwrap()).public;
        (
            format!("signed_curve25519:K{number:06}"),
            json!({ "key": key, "signatures": { "@x:y": { "ed25519:Z": "AAAA" } } }),
        )
    });
    Value::Object(keys.collect())
}

pub(crate) fn upload(user: &User, body: Value) -> Reply {
    user.post(v3(&["keys", "upload"]), body)
}

pub(crate) fn query(user: &User, of: &User) -> Value {
    user.post(v3(&["keys", "query"]), json!({ "device_keys": { of.id.as_str(): [] } })).ok()
}

pub(crate) fn claim(user: &User, of: &User, device: &str, algorithm: &str) -> Value {
    user.post(v3(&["keys", "claim"]), json!({ "one_time_keys": { of.id.as_str(): { device: algorithm } } })).ok()
}

/// The id of the key that a claim gave, if it gave one.
pub(crate) fn claimed(answer: &Value, of: &User, device: &str) -> Option<String> {
    let keys = answer["one_time_keys"][&of.id][device].as_object()?;
    assert_eq!(keys.len(), 1, "{answer}");
    keys.keys().next().cloned()
}

/// Whether a list of a sync's `device_lists` names a user.
pub(crate) fn lists(sync: &Value, list: &str, user: &User) -> bool {
    wardroom_testkit::events(&sync["device_lists"][list]).iter().any(|listed| listed == &user.id)
}
