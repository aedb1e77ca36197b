//! What an administrator has to look at: policies that cannot be read, people who could not be put out, lists that would
//! take too much away. An alarm about the same thing counts up; it stays until somebody takes it away.

use ruma::{RoomId, ServerName, UserId};
use serde::Serialize;
use wardroom_clock::SharedClock;
use wardroom_store::{Batch, Packed, Scan, Store};

use crate::{
    CareError,
    tables::{ALARMS, AlarmRow},
};

/// Domain of the hashes that alarms are found by.
const ALARM_DOMAIN: u8 = 0x60;
/// Alarms kept; of more, the log tells alone.
const ALARMS_MAX: usize = 10_000;
/// Longest sentence that is kept, in characters.
const SENTENCE_CHARS_MAX: usize = 500;

/// What an alarm is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AlarmKind {
    /// A room's policy cannot be read: nobody comes in.
    UnreadablePolicy,
    /// Somebody who does not meet a policy could not be put out.
    CannotRemove,
    /// The server's own user is not in a room with a policy, or has no power there.
    ServiceUserWithoutPower,
    /// Somebody does not meet a policy that only has this told.
    RoleMissing,
    /// Somebody in the room, not an administrator of the server, took its policy away.
    PolicyRemoved,
    /// A room was replaced by one that does not have its policy.
    SuccessorWithoutPolicy,
    /// A source's list was not taken, since it would take too much away.
    Brake,
    /// Somebody left the space of a role that they have, and is not brought in again.
    SpaceLeft,
    /// Somebody who has a role could not be brought into its space.
    SpaceIncomplete,
    /// The space of a role cannot be kept any more.
    SpaceLost,
    /// A source fails again and again.
    SourceUnavailable,
    /// A partner does not say anew which roles its users have, and what it said ends soon.
    PartnerSilent,
    /// Somebody who is to hear of emergencies cannot be told.
    CannotTell,
    /// Emergencies wait for their review for too long.
    EmergencyUnreviewed,
    /// What could not be recorded was done all the same.
    AuditIncomplete,
    /// A partner's audit trail is not what it was.
    PartnerTrailChanged,
    /// A partner cosigns this server's audit trail with another key than before.
    WitnessKeyChanged,
    /// No partner has cosigned this server's audit trail for a day.
    AuditUnwitnessed,
}

impl AlarmKind {
    fn name(self) -> &'static str {
        match self {
            Self::UnreadablePolicy => "unreadable_policy",
            Self::CannotRemove => "cannot_remove",
            Self::ServiceUserWithoutPower => "service_user_without_power",
            Self::RoleMissing => "role_missing",
            Self::PolicyRemoved => "policy_removed",
            Self::SuccessorWithoutPolicy => "successor_without_policy",
            Self::Brake => "removal_brake",
            Self::SpaceLeft => "space_left",
            Self::SpaceIncomplete => "space_incomplete",
            Self::SpaceLost => "space_lost",
            Self::SourceUnavailable => "source_unavailable",
            Self::PartnerSilent => "partner_silent",
            Self::CannotTell => "cannot_tell",
            Self::EmergencyUnreviewed => "emergency_unreviewed",
            Self::AuditIncomplete => "audit_incomplete",
            Self::PartnerTrailChanged => "partner_trail_changed",
            Self::WitnessKeyChanged => "witness_key_changed",
            Self::AuditUnwitnessed => "audit_unwitnessed",
        }
    }
}

/// An alarm. Times are milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Alarm {
    /// By which it is taken away.
    pub id: String,
    /// What it is about.
    pub kind: String,
    /// In words.
    pub sentence: String,
    /// The room.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub room_id: Option<String>,
    /// The user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// When it came first.
    pub first_ts: u64,
    /// When it came last.
    pub last_ts: u64,
    /// How often it came.
    pub count: u64,
}

/// The alarms. Clones share everything.
#[derive(Clone, Debug)]
pub struct Alarms {
    store: Store,
    clock: SharedClock,
}

impl Alarms {
    /// The alarms in a store.
    pub fn new(store: Store, clock: SharedClock) -> Self {
        Self { store, clock }
    }

    /// Raises an alarm. That it could not be kept is in the log.
    pub(crate) async fn raise(&self, kind: AlarmKind, room: Option<&RoomId>, user: Option<&UserId>, sentence: &str) {
        tracing::warn!(kind = kind.name(), sentence, "an administrator is needed");
        let (room, user) = (room.map(ToString::to_string), user.map(ToString::to_string));
        let about = format!("{}\n{}\n{}", kind.name(), room.as_deref().unwrap_or(""), user.as_deref().unwrap_or(""));
        self.keep_or_log(kind, about, (room, user), sentence).await;
    }

    /// As [`Alarms::raise`], about another server.
    pub(crate) async fn raise_of_server(&self, kind: AlarmKind, server: &ServerName, sentence: &str) {
        tracing::warn!(kind = kind.name(), sentence, "an administrator is needed");
        self.keep_or_log(kind, format!("{}\n{server}", kind.name()), (None, None), sentence).await;
    }

    /// Raises the alarm that the audit trail is not complete: what could not be recorded was done all the same.
    pub async fn audit_incomplete(&self) {
        let sentence =
            "Audit records could not be written, and work went on without them: the log of the server says why.";
        self.raise(AlarmKind::AuditIncomplete, None, None, sentence).await;
    }

    /// Raises the alarm that a partner's audit trail is not what it was; `what` says how, as the end of a sentence.
    pub async fn partner_trail_changed(&self, server: &ServerName, what: &str) {
        let sentence = format!(
            "The audit trail of {server} {what}. Both signed checkpoints are kept as evidence; nothing of it is cosigned."
        );
        self.raise_of_server(AlarmKind::PartnerTrailChanged, server, &sentence).await;
    }

    /// Raises the alarm that a partner cosigns this server's audit trail with another key than before.
    pub async fn witness_key_changed(&self, server: &ServerName) {
        let sentence =
            format!("{server} cosigns the audit trail with another key than before: what it signs is refused.");
        self.raise_of_server(AlarmKind::WitnessKeyChanged, server, &sentence).await;
    }

    /// Raises the alarm that no partner has cosigned this server's audit trail for a day.
    pub async fn audit_unwitnessed(&self) {
        let sentence = "None of the servers in audit.witnesses has cosigned the audit trail for a day.";
        self.raise(AlarmKind::AuditUnwitnessed, None, None, sentence).await;
    }

    /// Takes that alarm away: somebody did.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn audit_witnessed(&self) -> Result<(), CareError> {
        let about = format!("{}\n\n", AlarmKind::AuditUnwitnessed.name());
        self.remove(&self.store.keyed_hash(ALARM_DOMAIN, about.as_bytes())).await.map(drop)
    }

    async fn keep_or_log(&self, kind: AlarmKind, about: String, of: (Option<String>, Option<String>), sentence: &str) {
        if let Err(error) = self.keep(kind, &about, of, sentence).await {
            tracing::error!(%error, "an alarm could not be kept");
        }
    }

    /// Raises an alarm about a source of roles.
    pub(crate) async fn raise_about_source(&self, kind: AlarmKind, source: &str, sentence: &str) {
        tracing::warn!(kind = kind.name(), source, sentence, "an administrator is needed");
        if let Err(error) = self.keep(kind, &about_source(kind, source), (None, None), sentence).await {
            tracing::error!(%error, "an alarm could not be kept");
        }
    }

    /// Takes an alarm about a source away: what it is about is over. Says whether there was one.
    pub(crate) async fn clear_about_source(&self, kind: AlarmKind, source: &str) -> Result<bool, CareError> {
        self.remove(&self.store.keyed_hash(ALARM_DOMAIN, about_source(kind, source).as_bytes())).await
    }

    async fn keep(
        &self,
        kind: AlarmKind,
        about: &str,
        (room, user): (Option<String>, Option<String>),
        sentence: &str,
    ) -> Result<(), CareError> {
        let key = self.store.keyed_hash(ALARM_DOMAIN, about.as_bytes());
        let now_ms = self.clock.now_ms();
        let before = self.store.latest().get(&ALARMS, &key).await?.map(|Packed(row)| row);
        if before.is_none() {
            let kept = self.store.latest().scan_keys(&ALARMS, Scan::all().limit(ALARMS_MAX)).await?.len();
            if kept >= ALARMS_MAX {
                return Ok(());
            }
        }
        let row = AlarmRow {
            kind: kind.name().to_owned(),
            sentence: sentence.chars().take(SENTENCE_CHARS_MAX).collect(),
            room,
            user,
            first_ms: before.as_ref().map_or(now_ms, |before| before.first_ms),
            last_ms: now_ms,
            count: before.map_or(0, |before| before.count).saturating_add(1),
        };
        let mut batch = Batch::default();
        batch.put(&ALARMS, &key, &Packed(row));
        self.store.commit(batch).await?;
        Ok(())
    }

    /// Every alarm, the newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn all(&self) -> Result<Vec<Alarm>, CareError> {
        let rows = self.store.latest().scan(&ALARMS, Scan::all().limit(ALARMS_MAX)).await?;
        let alarm = |(key, Packed(row)): ([u8; 16], Packed<AlarmRow>)| Alarm {
            id: hex(&key),
            kind: row.kind,
            sentence: row.sentence,
            room_id: row.room,
            user_id: row.user,
            first_ts: row.first_ms,
            last_ts: row.last_ms,
            count: row.count,
        };
        let mut alarms: Vec<Alarm> = rows.into_iter().map(alarm).collect();
        alarms.sort_by_key(|alarm| std::cmp::Reverse(alarm.last_ts));
        Ok(alarms)
    }

    /// Takes an alarm away. Says whether there was one.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn dismiss(&self, id: &str) -> Result<bool, CareError> {
        match unhex(id) {
            Some(key) => self.remove(&key).await,
            None => Ok(false),
        }
    }

    async fn remove(&self, key: &[u8; 16]) -> Result<bool, CareError> {
        if self.store.latest().get(&ALARMS, key).await?.is_none() {
            return Ok(false);
        }
        let mut batch = Batch::default();
        batch.delete(&ALARMS, key);
        self.store.commit(batch).await?;
        Ok(true)
    }
}

/// What an alarm about a source is found by.
fn about_source(kind: AlarmKind, source: &str) -> String {
    format!("{}\n\n\n{source}", kind.name())
}

fn hex(bytes: &[u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(*bytes))
}

fn unhex(text: &str) -> Option<[u8; 16]> {
    (text.len() == 32).then(|| u128::from_str_radix(text, 16).ok().map(u128::to_be_bytes)).flatten()
}
