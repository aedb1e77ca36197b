//! The numbers of records: each gets the next one, in the order in which they became durable.
//!
//! Records are written by whoever acts, under the position of their commit, and wait for nobody. Numbering them is a matter of
//! whoever reads, or of [`AuditLog::run`]: what was durable before is numbered when [`AuditLog::catch_up`] returns. The same
//! batch brings them into the Merkle tree and the indexes, and every [`RECORDS_PER_CHECKPOINT`] records a checkpoint.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::{sync::Mutex, time::Instant};
use wardroom_store::{Batch, Packed, Position, Scan};

use crate::{
    Act, AuditLog, Checkpoint,
    error::AuditError,
    hours::{Hour, hour_of, number_of},
    index::{Indexed, Lists, ShortLists},
    log::{Inner, PERIOD_MS},
    tables::{CHECKPOINTS, HOURS, NUMBERED, PERIODS, RECORDS, STATE, TILES, WATCH_AUDIT},
    tree::{self, Hash, Place, Tree, leaf_hash},
};

/// Records that are numbered in one commit.
const NUMBERED_AT_ONCE: usize = 2_000;
/// After so many records there is a checkpoint, whatever the time.
pub(crate) const RECORDS_PER_CHECKPOINT: u64 = 1_000;

/// How far records are numbered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    /// Records that have a number; the next one gets this.
    pub(crate) size: u64,
    /// The newest of them: position of its commit, and number within the run.
    pub(crate) newest: (u64, u32),
    /// The first that is still kept.
    pub(crate) first: u64,
    /// The latest time of a record, in milliseconds since 1970.
    pub(crate) latest_ms: u64,
    /// By how much a record was ever earlier than one before it.
    pub(crate) back_ms: u64,
}

/// Where numbering stands, in memory.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) state: State,
    tree: Tree,
    /// Size and hash of the newest checkpoint.
    checkpoint: Option<(u64, Hash)>,
    /// When that was made, or read.
    checkpoint_ms: u64,
    /// Whether anything behind it is worth the next one: records of cosigning alone are not, since the next checkpoint
    /// would be cosigned as well, and so on for ever.
    worth: bool,
    /// The current hour.
    hour: Option<(u32, Hour)>,
    /// What the index got lately.
    pub(crate) lists: ShortLists,
}

/// Who numbers records: one at a time. None: what is stored is to be read first.
#[derive(Debug, Default)]
pub(crate) struct Sequence(pub(crate) Mutex<Option<Head>>);

type Row = ((Position, u32), Bytes);

impl AuditLog {
    /// Numbers every record that is durable now, and says how many have a number.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn catch_up(&self) -> Result<u64, AuditError> {
        match self.inner() {
            Some(inner) => Ok(inner.catch_up().await?.size),
            None => Ok(0),
        }
    }

    /// Numbers records as they come, until the server stops.
    pub async fn run(&self) {
        let Some(inner) = self.inner() else { return };
        let mut looked = None::<Instant>;
        loop {
            let mut written = inner.store.watches().waiter([WATCH_AUDIT]);
            if let Err(error) = inner.catch_up().await {
                tracing::warn!(%error, "audit records could not be numbered yet");
            }
            if let Err(error) = inner.checkpoint(false).await {
                tracing::warn!(%error, "a checkpoint of the audit trail could not be made yet");
            }
            if let Err(error) = inner.turn_key().await {
                tracing::warn!(%error, "the key of audit records could not be changed yet");
            }
            if looked.is_none_or(|looked| looked.elapsed() >= EXPIRE_EVERY) {
                looked = Some(Instant::now());
                let expired = async { self.expire().await.and(self.expire_evidence().await) };
                if let Err(error) = expired.await {
                    tracing::warn!(%error, "old audit records could not be deleted yet");
                }
            }
            tokio::time::sleep(PAUSE).await;
            tokio::select! {
                () = written.changed() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }
}

/// The shortest time between two looks, so that busy times number many at once.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(200);
/// The longest: keys are changed and checkpoints made by the clock.
const LOOK_EVERY: std::time::Duration = std::time::Duration::from_secs(1);

/// How often records are looked for whose time is over.
const EXPIRE_EVERY: std::time::Duration = std::time::Duration::from_secs(60 * 60);

impl Inner {
    /// How far records are numbered.
    pub(crate) async fn state(&self) -> Result<State, AuditError> {
        Ok(self.store.latest().get(&STATE, &()).await?.map(|Packed(state)| state).unwrap_or_default())
    }

    /// Where numbering stands, taken out of its place: what fails half-way is read anew from the store.
    pub(crate) async fn head(&self, slot: &mut Option<Head>) -> Result<Head, AuditError> {
        match slot.take() {
            Some(head) => Ok(head),
            None => self.stored_head().await,
        }
    }

    /// What is stored of where numbering stands.
    async fn stored_head(&self) -> Result<Head, AuditError> {
        let state = self.state().await?;
        let view = self.store.latest();
        let mut levels = Vec::new();
        for (place, count) in tree::edge(state.size) {
            let tile = if count == 0 { Vec::new() } else { self.tile(place, count).await? };
            levels.push(tile);
        }
        let newest = view.scan(&CHECKPOINTS, Scan::all().reverse().limit(1)).await?.into_iter().next();
        let checkpoint = match newest {
            None => None,
            Some((size, note)) => {
                let text = note.rsplit_once("\n\n").map(|(text, _)| format!("{text}\n"));
                let read = text.and_then(|text| Checkpoint::of_text(&text).ok());
                Some((size, read.ok_or(AuditError::DamagedCheckpoint(size))?.hash()))
            }
        };
        let hour = view.scan(&HOURS, Scan::all().reverse().limit(1)).await?.into_iter().next();
        let hour = hour.map(|(hour, Packed(row))| (hour, row));
        let tree = Tree::restored(state.size, levels);
        Ok(Head {
            state,
            tree,
            checkpoint,
            checkpoint_ms: self.now_ms(),
            worth: true,
            hour,
            lists: ShortLists::default(),
        })
    }

    /// The first hashes of a tile.
    pub(crate) async fn tile(&self, place: Place, count: usize) -> Result<Vec<Hash>, AuditError> {
        let row = self.store.latest().get(&TILES, &place).await?;
        hashes(row.as_deref(), count).ok_or(AuditError::DamagedTree)
    }

    pub(crate) async fn catch_up(self: &Arc<Self>) -> Result<State, AuditError> {
        to_the_end(Arc::clone(self).number_all()).await
    }

    async fn number_all(self: Arc<Self>) -> Result<State, AuditError> {
        let up_to = self.store.position();
        let mut slot = self.sequence.0.lock().await;
        let mut head = self.head(&mut slot).await?;
        loop {
            let (position, number) = head.state.newest;
            let scan = Scan::all().after(&(Position::new(position), number)).limit(NUMBERED_AT_ONCE);
            let rows = self.store.latest().scan(&RECORDS, scan).await?;
            let full = rows.len() == NUMBERED_AT_ONCE;
            if !rows.is_empty() {
                head = self.numbering(head, rows).await?;
            }
            if !full && head.state.newest.0 >= up_to.get() || head.state.newest == (position, number) {
                let state = head.state;
                *slot = Some(head);
                return Ok(state);
            }
        }
    }

    /// Numbers these records in one commit.
    async fn numbering(self: &Arc<Self>, mut head: Head, rows: Vec<Row>) -> Result<Head, AuditError> {
        let inner = Arc::clone(self);
        let built = tokio::task::spawn_blocking(move || {
            let batch = head.add(&inner, &rows)?;
            Ok::<_, AuditError>((head, batch))
        });
        let (head, batch) = built.await.map_err(|_| AuditError::Interrupted)??;
        self.store.commit(batch).await?;
        Ok(head)
    }

    /// Makes a checkpoint if there is anything new and the time since the last is over, or at once.
    pub(crate) async fn checkpoint(self: &Arc<Self>, at_once: bool) -> Result<(), AuditError> {
        let inner = Arc::clone(self);
        to_the_end(async move {
            let mut slot = inner.sequence.0.lock().await;
            let mut head = inner.head(&mut slot).await?;
            let (now_ms, every_ms) = (inner.now_ms(), u64::from(inner.settings.checkpoint_seconds) * 1_000);
            // A clock that went back puts nothing off.
            let due = now_ms < head.checkpoint_ms || now_ms - head.checkpoint_ms >= every_ms;
            if at_once || due && head.worth {
                let mut batch = Batch::default();
                head.checkpoint(&inner, &mut batch);
                if !batch.is_empty() {
                    inner.store.commit(batch).await?;
                }
            }
            *slot = Some(head);
            Ok(())
        })
        .await
    }
}

/// Does work in a task of its own: whoever gives up waiting for it must not leave a commit of which memory knows nothing.
pub(crate) async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, AuditError>> + Send + 'static,
) -> Result<T, AuditError> {
    tokio::spawn(work).await.map_err(|_| AuditError::Interrupted)?
}

/// The first hashes of a stored tile.
pub(crate) fn hashes(row: Option<&[u8]>, count: usize) -> Option<Vec<Hash>> {
    let (hashes, rest) = row?.as_chunks::<32>();
    (rest.is_empty() && hashes.len() >= count).then(|| hashes[..count].to_vec())
}

impl Head {
    /// The batch that numbers these records.
    fn add(&mut self, inner: &Inner, rows: &[Row]) -> Result<Batch, AuditError> {
        let mut batch = Batch::default();
        let first = self.state.size;
        let damaged = |at: usize| AuditError::Damaged(first + at as u64);
        let mut records: Vec<Indexed<'_>> = Vec::with_capacity(rows.len());
        for (at, (_, json)) in rows.iter().enumerate() {
            records.push(serde_json::from_slice(json).map_err(|_| damaged(at))?);
        }
        let mut lists = Lists::default();
        for (record, ((position, within), json)) in records.iter().zip(rows) {
            let number = self.state.size;
            let put = |(level, at): Place, tile: &[Hash]| batch.put(&TILES, &(level, at), &Bytes::from(tile.concat()));
            self.tree.push(leaf_hash(json), put);
            batch.put(&NUMBERED, &number, &Packed((position.get(), *within)));
            self.clock(number, record, &mut batch);
            lists.add(self.state.latest_ms / PERIOD_MS, number, record);
            (self.state.size, self.state.newest) = (number + 1, (position.get(), *within));
            self.worth |= record.act() != number_of(Act::AuditCosign);
            if self.unsealed() >= RECORDS_PER_CHECKPOINT {
                self.checkpoint(inner, &mut batch);
            }
        }
        lists.write(&inner.store, &mut batch, &mut self.lists);
        for ((level, at), tile) in self.tree.tiles() {
            batch.put(&TILES, &(level, at), &Bytes::from(tile.concat()));
        }
        if let Some((hour, row)) = &self.hour {
            batch.put(&HOURS, hour, &Packed(row.clone()));
        }
        batch.put(&STATE, &(), &Packed(self.state));
        Ok(batch)
    }

    /// Files a record under its time.
    fn clock(&mut self, number: u64, record: &Indexed<'_>, batch: &mut Batch) {
        let state = &mut self.state;
        state.back_ms = state.back_ms.max(state.latest_ms.saturating_sub(record.at));
        let period = state.latest_ms / PERIOD_MS;
        state.latest_ms = state.latest_ms.max(record.at);
        if number == 0 || state.latest_ms / PERIOD_MS != period {
            batch.put(&PERIODS, &(state.latest_ms / PERIOD_MS), &number);
        }
        let hour = hour_of(state.latest_ms);
        if let Some((past, row)) = self.hour.take_if(|(known, _)| *known != hour) {
            batch.put(&HOURS, &past, &Packed(row));
        }
        let (_, row) = self.hour.get_or_insert_with(|| (hour, Hour { first: number, counts: Vec::new() }));
        row.count(record.act());
    }

    /// Records behind the newest checkpoint.
    fn unsealed(&self) -> u64 {
        self.state.size - self.checkpoint.map_or(0, |(size, _)| size).min(self.state.size)
    }

    /// Adds a checkpoint, if there is anything new.
    fn checkpoint(&mut self, inner: &Inner, batch: &mut Batch) {
        self.checkpoint_ms = inner.now_ms();
        if self.unsealed() == 0 {
            return;
        }
        let origin = inner.signer.key().name.clone();
        let previous = self.checkpoint.map(|(_, hash)| hash);
        let checkpoint = Checkpoint { origin, size: self.tree.size(), root: self.tree.root(), previous };
        batch.put(&CHECKPOINTS, &checkpoint.size, &checkpoint.signed(&inner.signer).to_string());
        self.checkpoint = Some((checkpoint.size, checkpoint.hash()));
        self.worth = false;
    }
}
