//! Witnesses of audit trails: this server looks at the trails of partners and cosigns them, and partners cosign its own
//! (`wardroom_audit`, `witness`). Only hashes and signatures leave a server.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures_util::future::{BoxFuture, join, join_all};
use parking_lot::Mutex;
use ruma::{OwnedServerName, ServerName};
use wardroom_audit::{AuditLog, Cosignature, Fault, Looked, NoteKey, Shown, Taken, origin_of, witness_of};
use wardroom_clock::SharedClock;

use crate::{Limits, PartnerError, Partners, Parts};

/// Where a witness asks for the newest checkpoint.
const CHECKPOINT: &str = "/_wardroom/federation/v1/audit/checkpoint";
/// Where it says what it saw.
const COSIGNATURE: &str = "/_wardroom/federation/v1/audit/cosignature";
/// How long a server may take.
const ANSWER_MAX: Duration = Duration::from_secs(20);
/// Longest answer: a key, a checkpoint and a proof.
const ANSWER_BYTES_MAX: usize = 32 * 1_024;
/// The longest time between two questions to a server that does not answer as it should.
const BACKOFF_MAX: Duration = Duration::from_secs(60 * 60);
/// How often it is looked whether anybody cosigns this server's trail.
const LOOK_EVERY: Duration = Duration::from_secs(10 * 60);
/// Without any cosignature for so long, a day, there is an alarm.
const UNWITNESSED_MS_MAX: u64 = 24 * 60 * 60 * 1_000;

/// Who witnesses whose audit trail.
#[derive(Clone, Debug, Default)]
pub struct WitnessSettings {
    /// Servers whose trails this one looks at and cosigns.
    pub watches: Vec<OwnedServerName>,
    /// How often.
    pub every: Duration,
    /// Servers that look at this one's trail.
    pub witnesses: Vec<OwnedServerName>,
    /// Keys of trails and witnesses that are known. Of others, the first that is seen is believed.
    pub keys: Vec<NoteKey>,
}

/// What an administrator has to hear of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WitnessAlarm<'a> {
    /// A partner's trail is not what it was.
    Faulty(&'a ServerName, Fault),
    /// A witness signs with another key than before.
    WitnessKey(&'a ServerName),
    /// Nobody has cosigned this server's trail for a day.
    Unwitnessed,
    /// Somebody cosigns it again.
    WitnessedAgain,
}

/// Tells administrators.
pub trait WitnessAlarms: fmt::Debug + Send + Sync {
    /// Raises the alarm, or takes it away.
    fn tell<'a>(&'a self, alarm: WitnessAlarm<'a>) -> BoxFuture<'a, ()>;
}

/// How it went with a server, since this one started. Times are milliseconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rounds {
    /// When it was asked last.
    pub asked_ms: u64,
    /// When its answer made sense last, whatever it said.
    pub answered_ms: u64,
    /// Failures in a row.
    pub failures: u32,
    /// Why it failed last.
    pub error: Option<String>,
}

/// What is measured of a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trail {
    /// The server.
    pub server: String,
    /// Records that are cosigned.
    pub records: u64,
    /// When they were, in milliseconds since 1970; 0 for never.
    pub cosigned_ms: u64,
    /// Failures in a row.
    pub failures: u64,
    /// Whether the trail is not what it was.
    pub is_faulty: bool,
}

/// What is measured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trails {
    /// Trails that this server looks at.
    pub watched: Vec<Trail>,
    /// Servers that look at this one's.
    pub witnesses: Vec<Trail>,
}

/// Why a cosignature was not taken.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// The server is none of the witnesses.
    #[error("your server is no witness of this one's audit trail")]
    NoWitness,
    /// Another key made it.
    #[error("key: your server used another key before")]
    KeyChanged,
    /// It is none.
    #[error("{0}")]
    Refused(&'static str),
    /// The trail cannot be read or written.
    #[error(transparent)]
    Audit(#[from] wardroom_audit::AuditError),
}

/// The witness that this server is, and its own witnesses. Clones share everything.
#[derive(Clone, Debug)]
pub struct Witness {
    partners: Partners,
    audit: AuditLog,
    clock: SharedClock,
    settings: Arc<WitnessSettings>,
    alarms: Arc<OnceLock<Arc<dyn WitnessAlarms>>>,
    rounds: Arc<Mutex<BTreeMap<OwnedServerName, Rounds>>>,
}

impl Witness {
    pub(crate) fn new(parts: &Parts, partners: &Partners, settings: WitnessSettings) -> Self {
        let rounds = settings.watches.iter().map(|server| (server.clone(), Rounds::default())).collect();
        Self {
            partners: partners.clone(),
            audit: parts.audit.clone(),
            clock: Arc::clone(&parts.clock),
            settings: Arc::new(settings),
            alarms: Arc::default(),
            rounds: Arc::new(Mutex::new(rounds)),
        }
    }

    /// Says, once, who tells administrators.
    pub fn alarm_by(&self, alarms: Arc<dyn WitnessAlarms>) {
        // Only the first is heard.
        let _ = self.alarms.set(alarms);
    }

    /// Who witnesses whose trail.
    pub fn settings(&self) -> &WitnessSettings {
        &self.settings
    }

    /// How it goes with the servers whose trails this one looks at.
    pub fn rounds(&self) -> BTreeMap<OwnedServerName, Rounds> {
        self.rounds.lock().clone()
    }

    /// Measurements.
    ///
    /// # Errors
    /// When the trail cannot be read.
    pub async fn trails(&self) -> Result<Trails, wardroom_audit::AuditError> {
        let rounds = self.rounds();
        let failures =
            |server: &str| rounds.iter().find(|(name, _)| *name == server).map_or(0, |(_, one)| one.failures);
        let watched = self.audit.watched().await?.into_iter().map(|row| {
            let (records, cosigned_ms) = row.cosigned().unwrap_or_default();
            let (is_faulty, failures) = (row.fault.is_some(), failures(&row.server).into());
            Trail { server: row.server, records, cosigned_ms, failures, is_faulty }
        });
        let witnesses = self.audit.cosigners().await?.into_iter().map(|row| Trail {
            server: row.server,
            records: row.size,
            cosigned_ms: row.at_ms,
            ..Trail::default()
        });
        Ok(Trails { watched: watched.collect(), witnesses: witnesses.collect() })
    }

    /// What is shown to a server that saw the trail when it had so many records.
    ///
    /// # Errors
    /// [`WitnessError::NoWitness`], which is recorded, or when the trail cannot be read.
    pub async fn show(&self, origin: &ServerName, from: Option<u64>) -> Result<Option<Shown>, WitnessError> {
        self.admit(origin).await?;
        Ok(self.audit.show(from).await?)
    }

    /// Keeps what a server says that it saw.
    ///
    /// # Errors
    /// As [`WitnessError`] says.
    pub async fn take(&self, origin: &ServerName, said: &Cosignature) -> Result<(), WitnessError> {
        self.admit(origin).await?;
        let key = self.key_named(&witness_of(origin.as_str()));
        match self.audit.take_cosignature(origin.as_str(), said, key).await? {
            Taken::Kept => Ok(()),
            Taken::Refused(why) => Err(WitnessError::Refused(why)),
            Taken::KeyChanged => {
                self.tell(WitnessAlarm::WitnessKey(origin)).await;
                Err(WitnessError::KeyChanged)
            }
        }
    }

    async fn admit(&self, origin: &ServerName) -> Result<(), WitnessError> {
        if self.settings.witnesses.iter().any(|witness| witness == origin) {
            return Ok(());
        }
        self.audit.refuse_witness(origin.as_str()).await?;
        Err(WitnessError::NoWitness)
    }

    fn key_named(&self, name: &str) -> Option<&NoteKey> {
        self.settings.keys.iter().find(|key| key.name == name)
    }

    async fn tell(&self, alarm: WitnessAlarm<'_>) {
        if let Some(alarms) = self.alarms.get() {
            alarms.tell(alarm).await;
        }
    }

    /// Looks at the trails of others, and whether they look at this one's, until the server stops.
    pub(crate) async fn run(self) {
        let watching = join_all(self.settings.watches.iter().map(|server| self.watch(server)));
        join(watching, self.be_witnessed()).await;
    }

    async fn watch(&self, server: &ServerName) {
        let mut failures = 0_u32;
        loop {
            let error = self.round(server).await.err();
            if let Some(error) = &error {
                tracing::info!(%server, error, "a partner's audit trail could not be cosigned");
            }
            failures = if error.is_some() { failures.saturating_add(1) } else { 0 };
            if let Some(rounds) = self.rounds.lock().get_mut(server) {
                (rounds.failures, rounds.error) = (failures, error);
            }
            tokio::time::sleep(self.pause(failures)).await;
        }
    }

    /// How long a server is left alone.
    fn pause(&self, failures: u32) -> Duration {
        let every = self.settings.every;
        let longer = every.saturating_mul(1 << failures.min(16)).min(BACKOFF_MAX.max(every));
        // Spread, so that not everybody asks at once.
        longer.mul_f64(rand::random_range(0.9..1.1))
    }

    /// Asks a server once, and cosigns what it shows.
    async fn round(&self, server: &ServerName) -> Result<(), String> {
        self.note(server, |rounds, now_ms| rounds.asked_ms = now_ms);
        let from = self.audit.cosigned_of(server.as_str()).await.map_err(|error| error.to_string())?;
        let path = from.map_or_else(|| CHECKPOINT.to_owned(), |from| format!("{CHECKPOINT}?from={from}"));
        let limits = Limits { timeout: ANSWER_MAX, answer_bytes_max: ANSWER_BYTES_MAX, ignore_backoff: false };
        let answer = self.partners.get_signed(server, &path, limits).await.map_err(|error| error.to_string())?;
        let shown: Shown = serde_json::from_slice(&answer).map_err(|error| format!("the answer: {error}"))?;
        let key = self.key_named(&origin_of(server.as_str()));
        let looked = self.audit.look_at(server.as_str(), &shown, key).await.map_err(|error| error.to_string())?;
        match looked {
            Looked::Unreadable(why) => return Err(why.to_owned()),
            Looked::Faulty(fault) => {
                tracing::error!(%server, fault = fault.word(), "a partner's audit trail is not what it was");
                self.tell(WitnessAlarm::Faulty(server, fault)).await;
            }
            Looked::NothingNew => {}
            // Behind this it is durable.
            Looked::Cosigned(said) => self.deliver(server, &said, limits).await.map_err(|error| error.to_string())?,
        }
        self.note(server, |rounds, now_ms| rounds.answered_ms = now_ms);
        Ok(())
    }

    async fn deliver(&self, server: &ServerName, said: &Cosignature, limits: Limits) -> Result<(), PartnerError> {
        let said_json = serde_json::to_vec(said).map_err(|error| PartnerError::Malformed(error.to_string()))?;
        self.partners.post_signed(server, COSIGNATURE, said_json, limits).await?;
        let delivered = self.audit.delivered(server.as_str(), said.size).await;
        delivered.map_err(|error| PartnerError::Store(error.to_string()))
    }

    fn note(&self, server: &ServerName, change: impl FnOnce(&mut Rounds, u64)) {
        if let Some(rounds) = self.rounds.lock().get_mut(server) {
            change(rounds, self.clock.now_ms());
        }
    }

    /// Looks whether anybody cosigns this server's trail.
    async fn be_witnessed(&self) {
        let witnesses: Vec<&str> = self.settings.witnesses.iter().map(|server| server.as_str()).collect();
        loop {
            let unwitnessed = async {
                self.audit.expect_witnesses(&witnesses).await?;
                self.audit.unwitnessed_ms(&witnesses).await
            };
            match unwitnessed.await {
                Ok(ms) if ms >= UNWITNESSED_MS_MAX => self.tell(WitnessAlarm::Unwitnessed).await,
                Ok(_) => self.tell(WitnessAlarm::WitnessedAgain).await,
                Err(error) => tracing::warn!(%error, "whether the audit trail is cosigned could not be looked at"),
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}
