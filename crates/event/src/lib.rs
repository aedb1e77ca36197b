//! Room events (PDUs) of room versions 6 to 12 as pure functions: canonical JSON, hashes, event ids, signatures,
//! redaction, authorization rules, state resolution, and the forms in which clients see events.
//!
//! Invariants:
//! - Nothing here does I/O, waits, reads a clock or knows a store: whatever is needed is passed in, events by closures.
//! - What differs between room versions is data ([`RoomVersion::rules`]), never a comparison of versions.
//! - A [`Pdu`] never changes, and its JSON is canonical: what was hashed and signed is what is kept.
//! - Input of peers and clients never panics and is never trusted to have the shapes that the specification gives it.

mod as_written;
mod auth;
mod canonical;
mod client_format;
mod cosign;
mod draft;
mod hash;
mod pdu;
mod pdu_format;
mod policy;
mod power;
mod redaction;
mod resolution;
mod room_version;
mod signatures;
mod signing_key;

pub use as_written::json_as_written;
pub use auth::{Rejection, auth_types, authorize, check_standalone};
pub use canonical::{Fault, canonical_json};
pub use client_format::{ClientFormat, client_json, stripped_state, write_client_json};
pub use draft::{BuildError, Draft};
pub use pdu::Pdu;
pub use pdu_format::{
    AUTH_EVENTS_MAX, DEPTH_MAX, FIELD_BYTES_MAX, PDU_BYTES_MAX, PREV_EVENTS_MAX, ParseError, RAW_PDU_BYTES_MAX,
};
pub use policy::RoomPolicy;
pub use power::{Action, PowerLevels, UserPower, level_for, power_of};
pub use redaction::{RedactError, redact};
pub use resolution::{AUTH_CHAIN_EVENTS_MAX, Conflict, ResolveError, StateMap, resolve, resolve_conflict};
pub use room_version::{RoomVersion, UnsupportedRoomVersion};
pub use signatures::{PublicKey, PublicKeys, Verified, VerifyError, required_servers, verify};
pub use signing_key::{KeyError, SigningKey, is_signature};
