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
