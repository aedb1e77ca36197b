//! What stays of an event when it is redacted.
//!
//! [Redactions](https://spec.matrix.org/v1.19/client-server-api/#redactions), and the "Redactions" section of each room
//! version. Reference hashes and signatures cover the redacted form, so this also decides event ids.

use bytes::Bytes;
use ruma::room_version_rules::RedactionRules;
use serde::{Serialize, Serializer, ser::SerializeMap};

use crate::{
    Pdu,
    canonical::{Json, Object},
    pdu_format::{self, ParseError},
};

/// Why an event cannot be redacted.
#[derive(Debug, thiserror::Error)]
pub enum RedactError {
    /// The event given as the reason is not a redaction of this event in this room.
    #[error("the given event does not redact this one")]
    NotItsRedaction,
    /// The stored JSON of the event is damaged.
    #[error("the event to redact is damaged: {0}")]
    Damaged(#[from] ParseError),
}

/// The redacted form of an event: the same id, hashes and signatures, and only what the room version protects.
///
/// Whether the redaction is allowed is the caller's question. `because`, when given, must be a redaction that names
/// this event; it is not written into the result, clients get it from [`crate::ClientFormat::redacted_because`].
pub fn redact(pdu: &Pdu, because: Option<&Pdu>) -> Result<Pdu, RedactError> {
    if let Some(because) = because
        && (because.redacts() != Some(pdu.event_id()) || because.room_id() != pdu.room_id())
    {
        return Err(RedactError::NotItsRedaction);
    }
    let event = pdu_format::read_object(pdu.json())?;
    let rules = &pdu.version().rules().redaction;
    let mut json = Vec::with_capacity(pdu.json().len());
    write_redacted(&mut json, &event, rules, &["unsigned"]);
    let redacted = Pdu::from_stored(Bytes::from(json), pdu.event_id().to_owned(), pdu.version())?;
    Ok(redacted.with_rejected(pdu.is_rejected()))
}

/// Writes the redacted form of `event` as canonical JSON, without the top-level fields in `without`.
pub(crate) fn write_redacted(out: &mut Vec<u8>, event: &Object<'_>, rules: &RedactionRules, without: &[&str]) {
    let kind = event.get("type").and_then(Json::as_str).unwrap_or_default();
    write(out, &Redacted { event, kind, rules, without });
}

/// Writes `event` as canonical JSON, without the top-level fields in `without`.
pub(crate) fn write_without(out: &mut Vec<u8>, event: &Object<'_>, without: &[&str]) {
    write(out, &Without { event, without });
}

pub(crate) fn write(out: &mut Vec<u8>, value: &impl Serialize) {
    // Writing to memory cannot fail, and numbers are checked before.
    #[expect(clippy::expect_used, reason = "serializing checked canonical JSON into memory has no way to fail")]
    serde_json::to_writer(out, value).expect("canonical JSON was checked");
}

struct Without<'t, 'a> {
    event: &'t Object<'a>,
    without: &'t [&'t str],
}

impl Serialize for Without<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.event.iter().filter(|(key, _)| !self.without.contains(key)))
    }
}

struct Redacted<'t, 'a> {
    event: &'t Object<'a>,
    kind: &'t str,
    rules: &'t RedactionRules,
    without: &'t [&'t str],
}

impl Serialize for Redacted<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (key, value) in self.event.iter() {
            if !keeps_top_level(self.rules, key) || self.without.contains(&key) {
                continue;
            }
            match value {
                Json::Object(content) if key == "content" => {
                    map.serialize_entry(key, &RedactedContent { content, kind: self.kind, rules: self.rules })?;
                }
                _ => map.serialize_entry(key, value)?,
            }
        }
        map.end()
    }
}

struct RedactedContent<'t, 'a> {
    content: &'t Object<'a>,
    kind: &'t str,
    rules: &'t RedactionRules,
}

impl Serialize for RedactedContent<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (key, value) in self.content.iter() {
            match (keeps_content(self.rules, self.kind, key), value) {
                (Keep::No, _) => {}
                (Keep::OnlySigned, Json::Object(invite)) => {
                    let signed = invite.iter().filter(|(key, _)| *key == "signed");
                    map.serialize_entry(key, &OnlyFields(signed.collect()))?;
                }
                (Keep::Yes | Keep::OnlySigned, value) => map.serialize_entry(key, value)?,
            }
        }
        map.end()
    }
}

struct OnlyFields<'t, 'a>(Vec<(&'t str, &'t Json<'a>)>);

impl Serialize for OnlyFields<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}

fn keeps_top_level(rules: &RedactionRules, key: &str) -> bool {
    match key {
        "event_id" | "type" | "room_id" | "sender" | "state_key" | "content" | "hashes" | "signatures" | "depth"
        | "prev_events" | "auth_events" | "origin_server_ts" => true,
        "origin" | "membership" | "prev_state" => rules.keep_origin_membership_prev_state,
        _ => false,
    }
}

enum Keep {
    No,
    Yes,
    /// Of a third-party invite, what the identity server signed.
    OnlySigned,
}

fn keeps_content(rules: &RedactionRules, kind: &str, key: &str) -> Keep {
    let keep = match (kind, key) {
        ("m.room.member", "membership")
        | ("m.room.join_rules", "join_rule")
        | ("m.room.history_visibility", "history_visibility")
        | (
            "m.room.power_levels",
            "ban" | "events" | "events_default" | "kick" | "redact" | "state_default" | "users" | "users_default",
        ) => true,
        ("m.room.member", "join_authorised_via_users_server") => {
            rules.keep_room_member_join_authorised_via_users_server
        }
        ("m.room.member", "third_party_invite") if rules.keep_room_member_third_party_invite_signed => {
            return Keep::OnlySigned;
        }
        ("m.room.create", key) => rules.keep_room_create_content || key == "creator",
        ("m.room.join_rules", "allow") => rules.keep_room_join_rules_allow,
        ("m.room.power_levels", "invite") => rules.keep_room_power_levels_invite,
        ("m.room.redaction", "redacts") => rules.keep_room_redaction_redacts,
        ("m.room.aliases", "aliases") => rules.keep_room_aliases_aliases,
        _ => false,
    };
    if keep { Keep::Yes } else { Keep::No }
}
