//! The two hashes of an event.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use ruma::{OwnedEventId, room_version_rules::RedactionRules};
use sha2::{Digest, Sha256};

use crate::{
    canonical::Object,
    redaction::{write_redacted, write_without},
};

/// The SHA-256 that stands in `hashes`: over everything but hashes, signatures and unsigned data, in unpadded base64.
///
/// [Calculating the content hash](https://spec.matrix.org/v1.19/server-server-api/#calculating-the-content-hash-for-an-event).
pub(crate) fn content_hash(event: &Object<'_>, buffer: &mut Vec<u8>) -> String {
    buffer.clear();
    write_without(buffer, event, &["hashes", "signatures", "unsigned"]);
    STANDARD_NO_PAD.encode(Sha256::digest(buffer))
}

/// The bytes that are signed, and whose SHA-256 is the reference hash: the redacted event without signatures.
///
/// [Signing events](https://spec.matrix.org/v1.19/server-server-api/#signing-events).
pub(crate) fn write_signed_form(event: &Object<'_>, rules: &RedactionRules, buffer: &mut Vec<u8>) {
    buffer.clear();
    write_redacted(buffer, event, rules, &["signatures", "unsigned"]);
}

/// The event id that belongs to a signed form.
///
/// [Event ids](https://spec.matrix.org/v1.19/rooms/v4/#event-ids) since room version 4.
pub(crate) fn event_id(signed_form: &[u8]) -> OwnedEventId {
    const HASH_CHARS: usize = 43;
    let mut id = String::with_capacity(1 + HASH_CHARS);
    id.push('$');
    URL_SAFE_NO_PAD.encode_string(Sha256::digest(signed_form), &mut id);
    #[expect(clippy::expect_used, reason = "a sigil and 43 characters of base64 are an event id")]
    OwnedEventId::try_from(id).expect("well-formed by construction")
}

#[cfg(test)]
mod tests {
    use ruma::{
        room_version_rules::RedactionRules,
        serde::{Base64, base64::Standard},
    };

    use super::*;
    use crate::{SigningKey, canonical::Json};

    /// The key of the specification's [test vectors](https://spec.matrix.org/v1.19/appendices/#cryptographic-test-vectors).
    fn key() -> SigningKey {
        // Written with stray bits at its end, which ruma's decoder passes over.
        let seed = Base64::<Standard, [u8; 32]>::parse("YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1").unwrap();
        SigningKey::from_seed(seed.into_inner(), "1").unwrap()
    }

    fn hash_and_sign(text: &str) -> (String, String) {
        let Json::Object(mut event) = Json::read(text.as_bytes()).unwrap() else { panic!("not an object") };
        let mut buffer = Vec::new();
        let hash = content_hash(&event, &mut buffer);
        let mut hashes = Object::default();
        hashes.insert("sha256", Json::String(hash.clone().into()));
        event.insert("hashes", Json::Object(hashes));
        write_signed_form(&event, &RedactionRules::V6, &mut buffer);
        (hash, STANDARD_NO_PAD.encode(key().sign(&buffer)))
    }

    #[test]
    fn signs_json_as_the_specification_does() {
        let examples = [
            ("{}", "K8280/U9SSy9IVtjBuVeLr+HpOB4BQFWbg+UZaADMtTdGYI7Geitb76LTrr5QV/7Xg4ahLwYGYZzuHGZKM5ZAQ"),
            (
                r#"{"one":1,"two":"Two"}"#,
                "KqmLSbO39/Bzb0QIYE82zqLwsA+PDzYIpIRA2sRQ4sL53+sN6/fpNSoqE7BP7vBZhG6kYdD13EIMJpvhJI+6Bw",
            ),
        ];
        for (json, signature) in examples {
            assert_eq!(STANDARD_NO_PAD.encode(key().sign(json.as_bytes())), signature);
            let mut object = serde_json::from_str(json).unwrap();
            ruma::signatures::sign_json("domain", key().pair(), &mut object).unwrap();
            let signed = serde_json::to_value(&object).unwrap();
            assert_eq!(signed["signatures"]["domain"]["ed25519:1"], signature);
        }
    }

    #[test]
    fn signs_events_as_the_specification_does() {
        let minimal = r#"{"room_id":"!x:domain","sender":"@a:domain","origin":"domain","origin_server_ts":1000000,
            "signatures":{},"hashes":{},"type":"X","content":{},"prev_events":[],"auth_events":[],"depth":3,
            "unsigned":{"age_ts":1000000}}"#;
        let expected = (
            "5jM4wQpv6lnBo7CLIghJuHdW+s2CMBJPUOGOC89ncos".to_owned(),
            "KxwGjPSDEtvnFgU00fwFz+l6d2pJM6XBIaMEn81SXPTRl16AqLAYqfIReFGZlHi5KLjAWbOoMszkwsQma+lYAg".to_owned(),
        );
        assert_eq!(hash_and_sign(minimal), expected);

        let redactable = r#"{"content":{"body":"Here is the message content"},"event_id":"$0:domain",
            "origin":"domain","origin_server_ts":1000000,"type":"m.room.message","room_id":"!r:domain",
            "sender":"@u:domain","signatures":{},"unsigned":{"age_ts":1000000}}"#;
        let expected = (
            "onLKD1bGljeBWQhWZ1kaP9SorVmRQNdN5aM2JYU2n/g".to_owned(),
            "Wm+VzmOUOz08Ds+0NTWb1d4CZrVsJSikkeRxh6aCcUwu6pNC78FunoD7KNWzqFn241eYHYMGCA5McEiVPdhzBA".to_owned(),
        );
        assert_eq!(hash_and_sign(redactable), expected);
    }
}
