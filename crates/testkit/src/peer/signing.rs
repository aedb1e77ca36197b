//! Keys, canonical JSON, hashes and signatures, written anew from the specification: what the server does must agree
//! with this without sharing code with it.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

/// A signing key of a server.
#[derive(Clone, Debug)]
pub struct Key {
    /// The key id with its algorithm: `ed25519:abc`.
    pub id: String,
    key: SigningKey,
}

impl Key {
    /// A new key with an id, which is given without the algorithm.
    pub fn generate(id: &str) -> Self {
        Self { id: format!("ed25519:{id}"), key: SigningKey::from_bytes(&rand::random()) }
    }

    /// The public key in unpadded base64.
    pub fn public(&self) -> String {
        STANDARD_NO_PAD.encode(self.key.verifying_key().as_bytes())
    }

    /// The signature of bytes in unpadded base64.
    pub fn sign(&self, bytes: &[u8]) -> String {
        STANDARD_NO_PAD.encode(self.key.sign(bytes).to_bytes())
    }

    /// Adds a signature of `server` to a JSON object.
    pub fn sign_json(&self, server: &str, object: &mut Value) {
        let signature = self.sign(&canonical(&without(object, &["signatures", "unsigned"])));
        object["signatures"][server][&self.id] = json!(signature);
    }

    /// Adds the content hash and a signature of `server` to an event of a room version.
    pub fn sign_event(&self, server: &str, event: &mut Value, version: &str) {
        event["hashes"] = json!({ "sha256": content_hash(event) });
        self.add_signature(server, event, version);
    }

    /// Adds a further signature to an event and leaves its hash as it is.
    pub fn add_signature(&self, server: &str, event: &mut Value, version: &str) {
        let signed = without(&redacted(event, version), &["signatures", "unsigned"]);
        event["signatures"][server][&self.id] = json!(self.sign(&canonical(&signed)));
    }
}

/// Canonical JSON.
pub fn canonical(value: &Value) -> Vec<u8> {
    fn write(value: &Value, out: &mut Vec<u8>) {
        match value {
            Value::Object(map) => {
                let mut keys: Vec<&String> = map.keys().collect();
                keys.sort();
                out.push(b'{');
                for (index, key) in keys.into_iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    out.extend(Value::String(key.clone()).to_string().bytes());
                    out.push(b':');
                    write(&map[key], out);
                }
                out.push(b'}');
            }
            Value::Array(items) => {
                out.push(b'[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    write(item, out);
                }
                out.push(b']');
            }
            plain => out.extend(plain.to_string().bytes()),
        }
    }
    let mut out = Vec::new();
    write(value, &mut out);
    out
}

/// An object without some of its keys.
pub fn without(object: &Value, keys: &[&str]) -> Value {
    let mut rest = object.clone();
    if let Some(map) = rest.as_object_mut() {
        map.retain(|key, _| !keys.contains(&key.as_str()));
    }
    rest
}

/// The SHA-256 that stands in an event's `hashes`.
pub fn content_hash(event: &Value) -> String {
    STANDARD_NO_PAD.encode(Sha256::digest(canonical(&without(event, &["unsigned", "signatures", "hashes"]))))
}

/// The id of an event of room versions from 4 on.
pub fn event_id(event: &Value, version: &str) -> String {
    let hashed = canonical(&without(&redacted(event, version), &["signatures", "unsigned", "age_ts"]));
    format!("${}", URL_SAFE_NO_PAD.encode(Sha256::digest(hashed)))
}

/// An event as redaction leaves it, in room versions 8 to 12.
pub fn redacted(event: &Value, version: &str) -> Value {
    const KEPT: [&str; 12] = [
        "event_id",
        "type",
        "room_id",
        "sender",
        "state_key",
        "content",
        "hashes",
        "signatures",
        "depth",
        "prev_events",
        "auth_events",
        "origin_server_ts",
    ];
    const KEPT_BEFORE_11: [&str; 3] = ["origin", "membership", "prev_state"];
    let new = matches!(version, "11" | "12");
    let kept = |key: &str| KEPT.contains(&key) || (!new && KEPT_BEFORE_11.contains(&key));
    let mut kept: Map<String, Value> = event
        .as_object()
        .expect("an event is an object")
        .iter()
        .filter(|(key, _)| kept(key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    if let Some(content) = kept.get_mut("content") {
        *content = redacted_content(event["type"].as_str().unwrap_or_default(), content, new);
    }
    Value::Object(kept)
}

fn redacted_content(event_type: &str, content: &Value, new: bool) -> Value {
    let levels =
        ["ban", "events", "events_default", "kick", "redact", "state_default", "users", "users_default", "invite"];
    let keys: &[&str] = match event_type {
        "m.room.create" if new => return content.clone(),
        "m.room.create" => &["creator"],
        "m.room.member" => &["membership", "join_authorised_via_users_server"],
        "m.room.join_rules" => &["join_rule", "allow"],
        "m.room.power_levels" if new => &levels,
        "m.room.power_levels" => &levels[..8],
        "m.room.history_visibility" => &["history_visibility"],
        "m.room.redaction" if new => &["redacts"],
        _ => &[],
    };
    let mut kept = Map::new();
    for key in keys {
        if let Some(value) = content.get(key) {
            kept.insert((*key).to_owned(), value.clone());
        }
    }
    if new
        && event_type == "m.room.member"
        && let Some(signed) = content["third_party_invite"].get("signed")
    {
        kept.insert("third_party_invite".to_owned(), json!({ "signed": signed }));
    }
    Value::Object(kept)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Key, canonical, content_hash};

    #[test]
    fn json_is_canonical() {
        let value = json!({ "b": [1, "ü\n"], "a": { "y": null, "x": true } });
        assert_eq!(String::from_utf8(canonical(&value)).unwrap(), "{\"a\":{\"x\":true,\"y\":null},\"b\":[1,\"ü\\n\"]}");
    }

    #[test]
    fn hashes_are_those_of_the_specification() {
        // Appendices, "Cryptographic test vectors".
        let event = json!({
            "room_id": "!x:domain", "sender": "@a:domain", "origin": "domain", "origin_server_ts": 1_000_000,
            "signatures": {}, "hashes": {}, "type": "X", "content": {}, "prev_events": [], "auth_events": [],
            "depth": 3, "unsigned": { "age_ts": 1_000_000 },
        });
        assert_eq!(content_hash(&event), "5jM4wQpv6lnBo7CLIghJuHdW+s2CMBJPUOGOC89ncos");
        let mut signed = event;
        Key::generate("1").sign_event("domain", &mut signed, "10");
        assert!(signed["signatures"]["domain"]["ed25519:1"].is_string());
    }
}
