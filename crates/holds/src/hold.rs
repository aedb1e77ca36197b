//! What a hold is.

use std::{fmt, str::FromStr};

use ruma::{MxcUri, OwnedMxcUri, OwnedRoomId, OwnedUserId};
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::{error::HoldError, tables::HoldKey};

/// Longest reason of a hold, in bytes.
pub const REASON_BYTES_MAX: usize = 2_048;
/// Longest name of who ordered a hold, in bytes.
pub const AUTHORITY_BYTES_MAX: usize = 512;
/// Longest reason of a release, in bytes.
pub const RELEASE_REASON_BYTES_MAX: usize = 2_048;
/// Latest time that a hold may name, in milliseconds since 1970: the largest integer of canonical JSON.
pub const TERM_MS_MAX: u64 = (1 << 53) - 1;

/// The id of a hold, a ULID. Later ones are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct HoldId(u128);

impl HoldId {
    /// A new id, made at this time.
    pub(crate) fn new(now_ms: u64) -> Self {
        Self(Ulid::from_parts(now_ms, rand::random()).0)
    }

    #[expect(clippy::cast_possible_truncation, reason = "the halves of the number are wanted")]
    pub(crate) fn key(self) -> HoldKey {
        ((self.0 >> 64) as u64, self.0 as u64)
    }

    pub(crate) fn of_key((high, low): HoldKey) -> Self {
        Self(u128::from(high) << 64 | u128::from(low))
    }
}

impl fmt::Display for HoldId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ulid(self.0).fmt(f)
    }
}

impl FromStr for HoldId {
    type Err = HoldError;

    fn from_str(text: &str) -> Result<Self, HoldError> {
        Ulid::from_string(text).map(|id| Self(id.0)).map_err(|_| HoldError::NoSuchHold)
    }
}

impl From<HoldId> for String {
    fn from(id: HoldId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for HoldId {
    type Error = HoldError;

    fn try_from(text: String) -> Result<Self, HoldError> {
        text.parse()
    }
}

/// What a hold covers: what everything that it names applies to.
///
/// Without `media` it covers events, and with them the room, the account and the files that they need. With `media` it
/// covers that file only: which events show a file cannot be told where they are encrypted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scope {
    /// In this room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room_id: Option<OwnedRoomId>,
    /// Sent by this user; the user's account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<OwnedUserId>,
    /// This file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media: Option<OwnedMxcUri>,
    /// Sent or received at this time or later, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_ts: Option<u64>,
    /// Sent or received at this time or earlier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_ts: Option<u64>,
}

impl Scope {
    /// Refuses what makes no sense, naming the field.
    fn check(&self) -> Result<(), String> {
        if *self == Self::default() {
            return Err("scope: must name a room, a user, a file or a time".to_owned());
        }
        if self.media.as_deref().is_some_and(|media| parts(media).is_none()) {
            return Err("scope.media: must be an mxc URI".to_owned());
        }
        for (name, time) in [("scope.from_ts", self.from_ts), ("scope.to_ts", self.to_ts)] {
            check_time(name, time)?;
        }
        match (self.from_ts, self.to_ts) {
            (Some(from), Some(to)) if from > to => Err("scope.to_ts: must not be before scope.from_ts".to_owned()),
            _ => Ok(()),
        }
    }

    /// Whether something that was sent and received at these times is in the hold's time.
    pub(crate) fn has_time(&self, received_ms: u64, sent_ms: u64) -> bool {
        self.meets(received_ms, received_ms) || self.meets(sent_ms, sent_ms)
    }

    /// Whether a stretch of time and the hold's time have a moment in common.
    pub(crate) fn meets(&self, from_ms: u64, to_ms: u64) -> bool {
        self.from_ts.is_none_or(|from| from <= to_ms) && self.to_ts.is_none_or(|to| from_ms <= to)
    }
}

/// Server and id of a file.
pub(crate) fn parts(media: &MxcUri) -> Option<(&str, &str)> {
    media.parts().ok().map(|(server, id)| (server.as_str(), id))
}

fn check_time(name: &str, time: Option<u64>) -> Result<(), String> {
    match time {
        Some(ms) if ms > TERM_MS_MAX => Err(format!("{name}: must be at most {TERM_MS_MAX}")),
        _ => Ok(()),
    }
}

/// A hold that somebody wants to set.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewHold {
    /// What it covers.
    pub scope: Scope,
    /// Why.
    pub reason: String,
    /// Who ordered it, and under which number.
    pub authority: String,
    /// When it ends by itself, in milliseconds since 1970; only by a release where there is none.
    #[serde(default)]
    pub expires_ts: Option<u64>,
}

impl NewHold {
    pub(crate) fn check(&self, now_ms: u64) -> Result<(), HoldError> {
        let checked = self
            .scope
            .check()
            .and_then(|()| check_text("reason", &self.reason, REASON_BYTES_MAX))
            .and_then(|()| check_text("authority", &self.authority, AUTHORITY_BYTES_MAX))
            .and_then(|()| check_time("expires_ts", self.expires_ts));
        checked.map_err(HoldError::Invalid)?;
        if self.expires_ts.is_some_and(|expires| expires <= now_ms) {
            return Err(HoldError::Invalid("expires_ts: must be in the future".to_owned()));
        }
        Ok(())
    }
}

/// Refuses a text that says nothing, is too long or has control characters.
pub(crate) fn check_text(name: &str, text: &str, bytes_max: usize) -> Result<(), String> {
    if text.trim().is_empty() {
        return Err(format!("{name}: must not be empty"));
    }
    if text.len() > bytes_max {
        return Err(format!("{name}: must have at most {bytes_max} bytes"));
    }
    if text.chars().any(char::is_control) {
        return Err(format!("{name}: must not have control characters"));
    }
    Ok(())
}

/// Which holds are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Those that are in force.
    #[default]
    InForce,
    /// Those that were released or ended by themselves.
    Released,
    /// All.
    All,
}

/// A hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Its id.
    pub id: HoldId,
    /// What it covers.
    pub scope: Scope,
    /// Why.
    pub reason: String,
    /// Who ordered it.
    pub authority: String,
    /// Who set it.
    pub created_by: OwnedUserId,
    /// When, in milliseconds since 1970.
    pub created_ts: u64,
    /// When it ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_ts: Option<u64>,
    /// Who asked for its release first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release_requested_by: Option<OwnedUserId>,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release_requested_ts: Option<u64>,
    /// Why, as who released it says, or who asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release_reason: Option<String>,
    /// Who released it; nobody where it ended by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released_by: Option<OwnedUserId>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released_ts: Option<u64>,
}

impl Hold {
    pub(crate) fn is(&self, state: State) -> bool {
        match state {
            State::InForce => self.released_ts.is_none(),
            State::Released => self.released_ts.is_some(),
            State::All => true,
        }
    }
}
