//! Coming into a room without the role in an emergency ("break-glass"), where its policy says so: with a reason, for a
//! while, seen by everybody, and reviewed afterwards.
//!
//! An emergency is a record, which stays for ever. While it goes on, the gate lets its user join, read and send
//! ([`crate::Judge`]), and compares times itself: at the end of its time nothing more is let pass, whoever has not left
//! yet. What is done about it is done in an order in which nothing is lost where the server stops in between:
//!
//! 1. the record, in one commit with the mark that it goes on;
//! 2. the user is let in by the server; the room and those whom its policy names are told;
//! 3. the end, in one commit with the record;
//! 4. the user is put out, the room is told; then the mark goes.
//!
//! Each step can be done twice. What is left to do is seen in the marks ([`crate::Care::run_emergencies`]).
//!
//! Who may is decided by the roles as they are known here: nothing is asked of anybody.

mod begin;
mod effects;
mod going_on;
mod grants;
mod record;
mod review;
mod tables;
#[cfg(test)]
mod tests;
mod when;

use serde::{Deserialize, Serialize};

pub use self::{
    begin::{EMERGENCIES_PER_HOUR_MAX, PATIENT_REF_BYTES_MAX, REASON_TEXT_CHARS_MAX},
    review::{EmergencyPage, EmergencyQuery, NOTE_CHARS_MAX},
};
pub(crate) use self::{
    effects::is_passing,
    grants::{Grants, Pass},
    tables::{BY_ROOM, BY_USER, EmergencyRow, GOING_ON, RECORDS, UNREVIEWED},
    when::utc,
};

/// Type of the state event that tells a room of an emergency. Its state key is `_` and the user's id: one that is a user
/// id alone only that user could send.
pub const BREAK_GLASS: &str = "org.wardroom.break_glass";

/// Why somebody comes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmergencyReason {
    /// One of the codes of the room's policy.
    pub code: String,
    /// In words.
    pub text: String,
    /// Whom it is about, in the hospital's own terms.
    pub patient_ref: Option<String>,
}

/// Why an emergency ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EndedWhy {
    /// Its time was over.
    Expired,
    /// The user ended it, or left the room.
    EndedByUser,
    /// An administrator ended it.
    EndedByAdmin,
    /// The user has the role now, and stays.
    RoleGained,
    /// The room's policy allows none any more.
    PolicyChanged,
    /// Somebody in the room put the user out.
    Removed,
    /// The account was closed or suspended, or a directory says that the user is not there any more.
    AccountClosed,
    /// The user could not be let in.
    Failed,
}

impl EndedWhy {
    /// The name in answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::EndedByUser => "ended_by_user",
            Self::EndedByAdmin => "ended_by_admin",
            Self::RoleGained => "role_gained",
            Self::PolicyChanged => "policy_changed",
            Self::Removed => "removed",
            Self::AccountClosed => "account_closed",
            Self::Failed => "failed",
        }
    }
}

/// What a reviewer found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReviewVerdict {
    /// There was an emergency.
    Justified,
    /// There was none.
    NotJustified,
}

impl ReviewVerdict {
    /// The name in answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Justified => "justified",
            Self::NotJustified => "not_justified",
        }
    }
}

/// A review. Times are milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Review {
    /// Who reviewed.
    pub by: String,
    /// When.
    pub ts: u64,
    /// What they found.
    pub verdict: ReviewVerdict,
    /// In words.
    pub note: String,
}

/// An emergency as it is shown. Times are milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Emergency {
    /// By which it is found.
    pub id: String,
    /// The room.
    pub room_id: String,
    /// Who came in.
    pub user_id: String,
    /// The code of the reason.
    pub reason_code: String,
    /// The reason in words.
    pub reason_text: String,
    /// Whom it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patient_ref: Option<String>,
    /// When it began.
    pub began_ts: u64,
    /// When its time is over.
    pub expires_ts: u64,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_ts: Option<u64>,
    /// Why it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_why: Option<EndedWhy>,
    /// Which administrator ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_by: Option<String>,
    /// What came of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub review: Option<Review>,
}

impl Emergency {
    fn of(id: u64, row: EmergencyRow) -> Self {
        Self {
            id: id.to_string(),
            room_id: row.room_id,
            user_id: row.user_id,
            reason_code: row.reason_code,
            reason_text: row.reason_text,
            patient_ref: row.patient_ref,
            began_ts: row.began_ms,
            expires_ts: row.until_ms,
            ended_ts: row.end.as_ref().map(|end| end.at_ms),
            ended_why: row.end.as_ref().map(|end| end.why),
            ended_by: row.end.and_then(|end| end.by),
            review: row.review,
        }
    }
}
