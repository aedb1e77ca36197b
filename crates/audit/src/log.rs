//! Writing records.

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::sync::Mutex;
use ulid::Ulid;
use wardroom_clock::SharedClock;
use wardroom_store::{Batch, DataKey, Packed, Position, Scope, Store, Table};
use zeroize::Zeroizing;

use crate::{
    Act, Origin, Outcome, Record,
    checkpoint::origin_of,
    error::AuditError,
    note::{KeyKind, NoteKey, NoteSigner},
    reads::{Gathering, Windows},
    sequence::Sequence,
    tables::{KEY, RECORDS, WATCH_AUDIT},
    witness::{WITNESS_KEY, witness_of},
};

/// Kind of the [`Scope`] under which records of a period are sealed.
const SCOPE_PERIOD: u8 = 2;
/// Records of so many milliseconds share a key: 28 days.
pub(crate) const PERIOD_MS: u64 = 28 * 24 * 60 * 60 * 1_000;

/// What happens to a request whose record cannot be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// It is refused: nothing is seen without its record.
    #[default]
    Refuse,
    /// It is answered, and the failure is logged as an error.
    Continue,
}

/// How the trail is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditSettings {
    /// Whose trail it is: in the name of the log.
    pub server_name: String,
    /// What happens where a record cannot be written.
    pub on_failure: OnFailure,
    /// Whether what somebody is about to read is recorded durably before they get it, or while they do.
    pub reads_before_answers: bool,
    /// The longest time that new records wait for a checkpoint, in seconds.
    pub checkpoint_seconds: u32,
    /// For how many years (of 366 days) records are kept; for ever where there is none.
    pub retention_years: Option<u32>,
}

impl AuditSettings {
    /// The defaults, for the server of this name.
    pub fn new(server_name: impl Into<String>) -> Self {
        let server_name = server_name.into();
        Self {
            server_name,
            on_failure: OnFailure::default(),
            reads_before_answers: true,
            checkpoint_seconds: 60,
            retention_years: Some(6),
        }
    }
}

impl Default for AuditSettings {
    fn default() -> Self {
        Self::new("localhost")
    }
}

/// Records that could not be written while work went on. Times are milliseconds since 1970.
#[derive(Clone, Copy, Debug, Default)]
struct Gap {
    count: u64,
    since_ms: u64,
    until_ms: u64,
}

/// Told that a record is missing, when work goes on without it.
type OnMissing = Box<dyn Fn() + Send + Sync>;

pub(crate) struct Inner {
    pub(crate) store: Store,
    clock: SharedClock,
    pub(crate) settings: AuditSettings,
    /// The key of the current period, and which period that is.
    key: ArcSwap<(u64, DataKey)>,
    /// Keeps records of one commit apart, and in their order.
    next: AtomicU32,
    pub(crate) sequence: Sequence,
    pub(crate) signer: NoteSigner,
    /// Signs what others' trails are.
    pub(crate) witness: NoteSigner,
    /// Held by whoever changes what is known of others' trails, or others know of this one.
    pub(crate) witnessing: Mutex<()>,
    missing: OnceLock<OnMissing>,
    gap: parking_lot::Mutex<Gap>,
    pub(crate) windows: Windows,
    pub(crate) gathering: Gathering,
}

/// The audit trail. Clones share everything.
#[derive(Clone)]
pub struct AuditLog(Option<Arc<Inner>>);

impl fmt::Debug for AuditLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditLog").finish_non_exhaustive()
    }
}

pub(crate) fn scope(period: u64) -> Scope {
    Scope { kind: SCOPE_PERIOD, a: period, b: 0 }
}

impl AuditLog {
    /// Opens the trail of a store, whose catalogue must hold [`crate::TABLES`].
    ///
    /// # Errors
    /// When the key of the current period can neither be read nor made, or what a crash left open cannot be closed.
    pub async fn open(store: Store, clock: SharedClock, settings: AuditSettings) -> Result<Self, AuditError> {
        let period = clock.now_ms() / PERIOD_MS;
        let key = store.data_key(scope(period)).await?;
        let key = ArcSwap::from_pointee((period, key));
        let signer = NoteSigner::new(origin_of(&settings.server_name), &*signing_seed(&store, &KEY).await?);
        let witness = NoteSigner::new(witness_of(&settings.server_name), &*signing_seed(&store, &WITNESS_KEY).await?);
        let log = Self(Some(Arc::new(Inner {
            store,
            clock,
            settings,
            key,
            next: AtomicU32::new(0),
            sequence: Sequence::default(),
            signer,
            witness,
            witnessing: Mutex::default(),
            missing: OnceLock::new(),
            gap: parking_lot::Mutex::default(),
            windows: Windows::default(),
            gathering: Gathering::default(),
        })));
        log.close_left_windows().await?;
        Ok(log)
    }

    /// A trail that keeps nothing, for parts that are tested by themselves.
    pub const fn silent() -> Self {
        Self(None)
    }

    pub(crate) fn inner(&self) -> Option<&Arc<Inner>> {
        self.0.as_ref()
    }

    /// Says, once, who is told of records that are missing because work went on without them.
    pub fn tell_missing(&self, tell: impl Fn() + Send + Sync + 'static) {
        if let Some(inner) = &self.0 {
            // Only the first is heard.
            let _ = inner.missing.set(Box::new(tell));
        }
    }

    /// The key that checks checkpoints of this trail; none where nothing is kept.
    pub fn key(&self) -> Option<&NoteKey> {
        self.0.as_ref().map(|inner| inner.signer.key())
    }

    /// Records how many records are missing since the last time, and from when to when; nothing where none is.
    ///
    /// # Errors
    /// When that cannot be written either: then they are told of the next time.
    pub async fn record_gap(&self) -> Result<(), AuditError> {
        let Some(inner) = &self.0 else { return Ok(()) };
        let gap = std::mem::take(&mut *inner.gap.lock());
        if gap.count == 0 {
            return Ok(());
        }
        let record = Record::by(Act::AuditGap, Origin::default()).count(gap.count);
        let written = inner.write(record.between(gap.since_ms, gap.until_ms).outcome(Outcome::Major)).await;
        if written.is_err() {
            let mut after = inner.gap.lock();
            let until_ms = if after.count == 0 { gap.until_ms } else { after.until_ms };
            *after = Gap { count: gap.count.saturating_add(after.count), since_ms: gap.since_ms, until_ms };
        }
        written
    }

    /// The key by which others check what this server cosigned; none where nothing is kept.
    pub fn witness_key(&self) -> Option<NoteKey> {
        self.0.as_ref().map(|inner| inner.witness.key().for_kind(KeyKind::Witness))
    }

    /// Records that the trail begins, or goes on.
    ///
    /// # Errors
    /// When that cannot be written.
    pub async fn begin(&self) -> Result<(), AuditError> {
        self.write(Record::of(Act::AuditStart)).await
    }

    /// Records that the trail stops, and makes the last checkpoint, which is behind that record.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn end(&self) -> Result<(), AuditError> {
        let Some(inner) = &self.0 else { return Ok(()) };
        inner.write(Record::of(Act::AuditStop)).await?;
        inner.catch_up().await?;
        inner.checkpoint(true).await
    }

    /// Adds a record to the batch of the very change that it is about.
    pub fn add(&self, batch: &mut Batch, record: Record) {
        if let Some(inner) = &self.0 {
            inner.add(batch, record);
        }
    }

    /// Writes a record of something that changes nothing, durably. Where it cannot be written and the settings say that
    /// work goes on, this succeeds.
    ///
    /// # Errors
    /// When it cannot be written, and without a record there is to be no answer.
    pub async fn write(&self, record: Record) -> Result<(), AuditError> {
        let Some(inner) = &self.0 else { return Ok(()) };
        let written = inner.write(record).await;
        inner.or_go_on(written)
    }
}

impl Gap {
    fn add(&mut self, now_ms: u64, times: u64) {
        if self.count == 0 {
            self.since_ms = now_ms;
        }
        (self.count, self.until_ms) = (self.count.saturating_add(times), now_ms);
    }
}

/// The seed of a key that signs; the first use makes it.
async fn signing_seed(store: &Store, table: &Table<(), Packed<[u8; 32]>>) -> Result<Zeroizing<[u8; 32]>, AuditError> {
    if let Some(Packed(seed)) = store.latest().get(table, &()).await? {
        return Ok(Zeroizing::new(seed));
    }
    let seed = Zeroizing::new(rand::random());
    let mut batch = Batch::default();
    batch.expect_absent(table, &());
    batch.put(table, &(), &Packed(*seed));
    store.commit(batch).await?;
    Ok(seed)
}

impl Inner {
    pub(crate) fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    /// What a failure to write a record means for whoever waits for it.
    pub(crate) fn or_go_on(&self, written: Result<(), AuditError>) -> Result<(), AuditError> {
        match (written, self.settings.on_failure) {
            (Err(error), OnFailure::Continue) => {
                self.note_missing(&error, 1);
                Ok(())
            }
            (written, _) => written,
        }
    }

    /// Says that so many records are missing, of what was done all the same.
    pub(crate) fn note_missing(&self, error: &AuditError, times: u64) {
        tracing::error!(%error, "an audit record could not be written");
        self.gap.lock().add(self.now_ms(), times);
        if let Some(tell) = self.missing.get() {
            tell();
        }
    }

    pub(crate) fn add(&self, batch: &mut Batch, mut record: Record) {
        record.at = self.clock.now_ms();
        record.id = Ulid::from_parts(record.at, rand::random()).to_string();
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let key = self.key.load();
        batch.put_sealed(&RECORDS, &(Position::COMMIT, number), &Bytes::from(record.to_json()), &key.1);
        batch.touch(WATCH_AUDIT);
    }

    async fn write(&self, record: Record) -> Result<(), AuditError> {
        self.turn_key().await?;
        let mut batch = Batch::default();
        self.add(&mut batch, record);
        self.store.commit(batch).await?;
        Ok(())
    }

    /// Sees that records are sealed under the key of the current period.
    pub(crate) async fn turn_key(&self) -> Result<(), AuditError> {
        let period = self.clock.now_ms() / PERIOD_MS;
        // A clock that goes back leaves the key as it is.
        if period > self.key.load().0 {
            let key = self.store.data_key(scope(period)).await?;
            self.key.store(Arc::new((period, key)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use wardroom_clock::ManualClock;
    use wardroom_store::{Batch, Catalogue, Store};

    use super::{AuditLog, AuditSettings, PERIOD_MS};
    use crate::{Act, Query, Record, TABLES};

    #[tokio::test]
    async fn records_stand_in_the_order_in_which_they_were_written() {
        let store = Store::in_memory(Catalogue::new(&[TABLES]).unwrap());
        let clock = Arc::new(ManualClock::new(PERIOD_MS - 1));
        let log = AuditLog::open(store.clone(), clock.clone(), AuditSettings::default()).await.unwrap();
        log.write(Record::of(Act::ServerStart)).await.unwrap();
        clock.advance_ms(1);
        let mut batch = Batch::default();
        log.add(&mut batch, Record::of(Act::EventSend).room("!r").event("$e"));
        log.add(&mut batch, Record::of(Act::EventRedact).room("!r").event("$e"));
        store.commit(batch).await.unwrap();
        log.inner().unwrap().turn_key().await.unwrap();
        log.write(Record::of(Act::ServerStop)).await.unwrap();
        let entries = log.entries(0, 10).await.unwrap();
        assert_eq!(entries.iter().map(|entry| entry.number).collect::<Vec<_>>(), [0, 1, 2, 3]);
        let records: Vec<&Record> = entries.iter().map(|entry| &entry.record).collect();
        let acts: Vec<Act> = records.iter().map(|record| record.act).collect();
        assert_eq!(acts, [Act::ServerStart, Act::EventSend, Act::EventRedact, Act::ServerStop]);
        assert_eq!(
            records.iter().map(|record| record.at).collect::<Vec<_>>(),
            [PERIOD_MS - 1, PERIOD_MS, PERIOD_MS, PERIOD_MS]
        );
        assert!(records.iter().all(|record| record.id.len() == 26));
        let query = Query { room: Some("!r".to_owned()), newest_first: true, limit: 1, ..Query::default() };
        let found = log.search(&query).await.unwrap();
        assert_eq!((found.len(), found[0].number, found[0].record.act), (1, 2, Act::EventRedact));
        let found = log.search(&Query { after: Some(2), ..query }).await.unwrap();
        assert_eq!(found[0].number, 1);
        AuditLog::silent().write(Record::of(Act::Login)).await.unwrap();
    }
}
