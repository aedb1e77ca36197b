//! The one writer: takes the batches that wait, gives them positions, writes them with one fsync, tells everybody.
//!
//! A group goes through four steps, each over all its batches in order:
//!
//! 1. *admit*: give a position, check preconditions against the engine and the group so far;
//! 2. *write*: seal all values, write all batches and the log record as one engine write, synced;
//! 3. *publish*: run the hooks, note the touches, then make the position visible;
//! 4. *answer*: tell the callers, wake the waiters.
//!
//! While the engine syncs one group, the queue gathers the next.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Instant,
};

use tokio::sync::{mpsc, oneshot};

use crate::{
    Batch, POSITION_LEAP, Position, ReadError,
    disk::DiskGate,
    engine::Fault,
    internal::LOG,
    overlay::{Overlay, Verdict},
    sealing::{Nonces, Unsealable},
    store::Core,
    watch::Awake,
};

/// Largest batch, keys and sealed values together.
pub const COMMIT_BYTES_MAX: usize = 64 << 20;
/// Most batches under one fsync.
pub const GROUP_BATCHES_MAX: usize = 512;
/// A group takes no further batch beyond this size.
pub const GROUP_BYTES_MAX: usize = 8 << 20;
/// Batches that may wait for the committer; further callers wait to get into the queue.
pub(crate) const QUEUE_BATCHES_MAX: usize = 1024;
/// Commits without writes after which the log record is written all the same, so that they never use up the leap.
const UNLOGGED_COMMITS_MAX: u64 = POSITION_LEAP / 2;

/// Why a batch was not committed. Nothing of it is visible then.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CommitError {
    /// A precondition does not hold.
    #[error("a row of table {table:?} is not at the expected version")]
    Conflict {
        /// The row's table.
        table: &'static str,
    },
    /// There is no space for writes; reads go on.
    #[error("the disk is full")]
    DiskFull,
    /// The batch exceeds [`COMMIT_BYTES_MAX`].
    #[error("the batch is too large")]
    TooLarge,
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
    /// A data key that the batch uses was destroyed meanwhile.
    #[error("a data key for table {table:?} was destroyed")]
    KeyDestroyed {
        /// The table of the value.
        table: &'static str,
    },
    /// The catalogue does not declare this table, or the batch uses the wrong kind of data key for it.
    #[error("table {table:?} is not declared like this")]
    WrongTable {
        /// The table.
        table: &'static str,
    },
    /// Something that had to be read first could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The engine failed.
    #[error("the storage engine failed: {0}")]
    Engine(Arc<str>),
}

impl From<Fault> for CommitError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::NoSpace => Self::DiskFull,
            Fault::Incomplete => Self::Engine("a read was not completed".into()),
            Fault::Engine(message) => Self::Engine(message),
        }
    }
}

impl From<Unsealable> for CommitError {
    fn from(_: Unsealable) -> Self {
        Self::Engine("a value could not be sealed".into())
    }
}

type Answer = oneshot::Sender<Result<Position, CommitError>>;

/// A batch and who waits for it.
pub(crate) struct Request {
    pub(crate) batch: Batch,
    pub(crate) answer: Answer,
}

/// What the queue carries.
pub(crate) enum Message {
    Commit(Request),
    /// Commit what is before this, refuse what comes behind.
    Close(oneshot::Sender<()>),
}

/// A batch that will be part of the log.
struct Admitted {
    position: Position,
    batch: Batch,
    answer: Answer,
}

pub(crate) struct Committer {
    core: Arc<Core>,
    queue: mpsc::Receiver<Message>,
    /// Taken from the queue, not yet part of a group.
    inbox: VecDeque<Message>,
    disk: Option<DiskGate>,
    sync: bool,
    nonces: Nonces,
    /// The last position given.
    last: Position,
    /// The last position that is in a written log record.
    logged: Position,
}

impl Committer {
    pub(crate) fn new(core: Arc<Core>, queue: mpsc::Receiver<Message>, disk: Option<DiskGate>, sync: bool) -> Self {
        let last = core.position();
        Self { core, queue, inbox: VecDeque::new(), disk, sync, nonces: Nonces::default(), last, logged: last }
    }

    /// Works until the store is closed or its last handle is dropped.
    pub(crate) fn run(mut self) {
        let mut closed = None;
        while closed.is_none() && self.wait() {
            let (group, close) = self.gather();
            self.commit(group);
            closed = close;
        }
        self.queue.close();
        self.inbox.clear();
        if let Err(fault) = self.core.engine().flush() {
            tracing::warn!(?fault, "the store was closed without a flush; the next start replays the log");
        }
        if let Some(closed) = closed {
            let _ = closed.send(());
        }
    }

    /// Waits for work; false when nobody can send any more.
    fn wait(&mut self) -> bool {
        if self.inbox.is_empty() {
            let mut arrived = Vec::new();
            self.queue.blocking_recv_many(&mut arrived, GROUP_BATCHES_MAX);
            self.inbox.extend(arrived);
        }
        !self.inbox.is_empty()
    }

    /// Takes the next group, and the request to close if it is right behind.
    fn gather(&mut self) -> (Vec<Request>, Option<oneshot::Sender<()>>) {
        while self.inbox.len() < GROUP_BATCHES_MAX
            && let Ok(message) = self.queue.try_recv()
        {
            self.inbox.push_back(message);
        }
        let mut group = Vec::with_capacity(self.inbox.len());
        let mut bytes = 0;
        while group.len() < GROUP_BATCHES_MAX
            && bytes < GROUP_BYTES_MAX
            && let Some(message) = self.inbox.pop_front()
        {
            match message {
                Message::Commit(request) => {
                    bytes += request.batch.bytes();
                    group.push(request);
                }
                Message::Close(closed) => return (group, Some(closed)),
            }
        }
        (group, None)
    }

    fn commit(&mut self, group: Vec<Request>) {
        let mut group = self.admit(group);
        if group.is_empty() {
            return;
        }
        match self.write(&mut group) {
            Ok(()) => self.publish(group),
            Err(error) => {
                if matches!(error, CommitError::DiskFull)
                    && let Some(disk) = &mut self.disk
                {
                    disk.complain();
                }
                self.core.counters.failures.add(group.len() as u64);
                for admitted in group {
                    let _ = admitted.answer.send(Err(error.clone()));
                }
            }
        }
    }

    /// Gives positions to the batches that can be committed, and refuses the others.
    fn admit(&mut self, mut group: Vec<Request>) -> Vec<Admitted> {
        let has_space = self.disk.as_mut().is_none_or(DiskGate::is_open);
        let checks = group.iter().any(|request| request.batch.expects_anything());
        let mut overlay = Overlay::default();
        let mut verdicts = Vec::with_capacity(group.len());
        let mut position = self.last;
        for request in &mut group {
            let next = position.plus(1);
            request.batch.stamp(next);
            let batch = &request.batch;
            let verdict = self.judge(batch, &overlay, has_space);
            if verdict.is_ok() {
                position = next;
                if checks {
                    overlay.add(batch, next);
                }
            }
            verdicts.push(verdict.map(|()| next));
        }
        // A position is never given twice, not even when the write of this one fails halfway.
        self.last = position;
        let mut admitted = Vec::with_capacity(group.len());
        for (Request { batch, answer }, verdict) in group.into_iter().zip(verdicts) {
            match verdict {
                Ok(position) => admitted.push(Admitted { position, batch, answer }),
                Err(error) => {
                    let counters = &self.core.counters;
                    let conflict = matches!(error, CommitError::Conflict { .. });
                    if conflict { &counters.conflicts } else { &counters.failures }.add(1);
                    let _ = answer.send(Err(error));
                }
            }
        }
        admitted
    }

    fn judge(&self, batch: &Batch, overlay: &Overlay<'_>, has_space: bool) -> Result<(), CommitError> {
        if batch.writes_anything() && !has_space {
            return Err(CommitError::DiskFull);
        }
        let keyring = self.core.keyring();
        if let Some((table, _)) = batch.data_keys().find(|(_, key)| keyring.is_destroyed(key.id())) {
            return Err(CommitError::KeyDestroyed { table: table.name });
        }
        match overlay.judge(self.core.engine(), batch)? {
            Verdict::Holds => Ok(()),
            Verdict::Conflict(table) => Err(CommitError::Conflict { table }),
        }
    }

    /// Seals the group and writes it with the log record; nothing to do for a group without writes.
    fn write(&mut self, group: &mut [Admitted]) -> Result<(), CommitError> {
        let unlogged = self.last.get() - self.logged.get();
        if unlogged < UNLOGGED_COMMITS_MAX && !group.iter().any(|admitted| admitted.batch.writes_anything()) {
            return Ok(());
        }
        let keyring = self.core.keyring();
        let system = keyring.system();
        let mut own = Batch::default();
        let next_system = if keyring.system_key_is_worn() {
            // Its age counts from the last opening: early rather than late.
            Some(keyring.next_system(self.core.opened_unix_seconds(), &mut own)?)
        } else {
            None
        };
        let mut sealed = 1;
        for Admitted { batch, position, .. } in &mut *group {
            sealed += batch.seal(*position, &system, &mut self.nonces)?;
        }
        keyring.count_seals(sealed);
        own.put(&LOG, &(), &crate::Packed(keyring.log_record(self.last)));
        own.seal(self.last, &system, &mut self.nonces)?;

        let bytes = own.bytes() + group.iter().map(|admitted| admitted.batch.bytes()).sum::<usize>();
        let mut changes = group.iter().flat_map(|admitted| admitted.batch.changes()).chain(own.changes());
        let started = Instant::now();
        self.core.engine().write(&mut changes, self.sync)?;
        let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);

        self.logged = self.last;
        if let Some(key) = next_system {
            keyring.install(key);
        }
        if let Some(disk) = &mut self.disk {
            disk.wrote(bytes as u64);
        }
        self.core.counters.groups.add(1);
        self.core.counters.bytes_written.add(bytes as u64);
        self.core.counters.write_micros.add(micros);
        Ok(())
    }

    /// The group is durable: brings memory up to it, makes it visible, tells everybody.
    fn publish(&mut self, mut group: Vec<Admitted>) {
        let mut awake = Awake::default();
        for Admitted { batch, position, .. } in &mut group {
            for hook in batch.take_hooks() {
                if catch_unwind(AssertUnwindSafe(|| hook(*position))).is_err() {
                    tracing::error!(position = position.get(), "a hook of a commit panicked");
                }
            }
            self.core.watches.note(batch.touches(), *position, &mut awake);
        }
        self.core.publish(self.last, self.logged == self.last);
        self.core.counters.commits.add(group.len() as u64);
        for admitted in group {
            let _ = admitted.answer.send(Ok(admitted.position));
        }
        awake.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Catalogue, Packed, Store, internal::LogRecord, keyring::SYSTEM_KEY_SEALS_MAX};

    /// A committer without thread and queue.
    fn committer(core: &Arc<Core>) -> Committer {
        Committer::new(Arc::clone(core), mpsc::channel(1).1, None, true)
    }

    fn request(batch: Batch) -> (Request, oneshot::Receiver<Result<Position, CommitError>>) {
        let (answer, answered) = oneshot::channel();
        (Request { batch, answer }, answered)
    }

    async fn logged(core: &Arc<Core>) -> LogRecord {
        let Packed(record) = crate::View::latest(Arc::clone(core)).get(&LOG, &()).await.unwrap().unwrap();
        record
    }

    #[tokio::test]
    async fn commits_without_writes_never_use_up_the_leap() {
        let store = Store::in_memory(Catalogue::new(&[]).unwrap());
        let mut committer = committer(store.core());
        let before = logged(store.core()).await;
        committer.commit(vec![request(Batch::default()).0]);
        assert_eq!(logged(store.core()).await.position, before.position);
        committer.last = committer.logged.plus(UNLOGGED_COMMITS_MAX - 1);
        committer.commit(vec![request(Batch::default()).0]);
        assert_eq!(logged(store.core()).await.position, before.position + UNLOGGED_COMMITS_MAX);
        assert!(UNLOGGED_COMMITS_MAX + (GROUP_BATCHES_MAX as u64) < POSITION_LEAP);
    }

    #[tokio::test]
    async fn a_worn_system_key_is_replaced() {
        let store = Store::in_memory(Catalogue::new(&[]).unwrap());
        let keyring = store.core().keyring();
        let worn = keyring.system().id();
        keyring.count_seals(SYSTEM_KEY_SEALS_MAX);
        let mut batch = Batch::default();
        let nid = store.interner().intern(&mut batch, 1, "name").await.unwrap();
        store.commit(batch).await.unwrap();
        assert_ne!(keyring.system().id(), worn);
        assert!(!keyring.system_key_is_worn());
        let mut batch = Batch::default();
        store.interner().intern(&mut batch, 1, "other").await.unwrap();
        store.commit(batch).await.unwrap();
        let names = store.latest().scan(&crate::internal::NAMES, crate::Scan::all()).await.unwrap();
        assert_eq!(names[0], ((1, nid), "name".to_owned()), "sealed with the old key");
        assert_eq!(names[1].1, "other");
    }

    #[tokio::test]
    async fn a_group_is_bounded_and_closes_in_order() {
        let store = Store::in_memory(Catalogue::new(&[]).unwrap());
        let mut committer = committer(store.core());
        for _ in 0..GROUP_BATCHES_MAX + 1 {
            committer.inbox.push_back(Message::Commit(request(Batch::default()).0));
        }
        let (closed, mut wait) = oneshot::channel();
        committer.inbox.push_back(Message::Close(closed));
        let (behind, mut refused) = request(Batch::default());
        committer.inbox.push_back(Message::Commit(behind));

        assert_eq!(committer.gather().0.len(), GROUP_BATCHES_MAX);
        committer.run();
        assert!(wait.try_recv().is_ok());
        assert!(refused.try_recv().is_err(), "dropped without an answer");
    }

    #[tokio::test]
    async fn hooks_may_own_the_last_handle() {
        let store = Store::in_memory(Catalogue::new(&[]).unwrap());
        let (done, wait) = oneshot::channel();
        let mut batch = Batch::default();
        let last = store.clone();
        batch.on_commit(move |position| {
            let _ = done.send(position);
            drop(last);
        });
        let commit = store.commit(batch);
        let position = commit.await.unwrap();
        drop(store);
        assert_eq!(wait.await, Ok(position));
    }
}
