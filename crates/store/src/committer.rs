//! The one writer: takes the batches that wait, gives them positions, writes them with one fsync, tells everybody.
//!
//! A group goes through four steps, each over all its batches in order:
//!
//! 1. *admit*: give a position, check preconditions against the engine and the group so far;
//! 2. *write*: seal all values, write all batches and the log record as one engine write, synced;
//! 3. *publish*: run the hooks, note the touches, then make the position visible;
//! 4. *answer*: wake the waiters, then tell the callers.
//!
//! While the engine syncs one group, the queue gathers the next.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use tokio::sync::{mpsc, oneshot};

use crate::{
    Batch, CommitError, POSITION_LEAP, Position,
    disk::DiskGate,
    internal::LOG,
    overlay::{Overlay, Verdict},
    sealing::Nonces,
    store::Core,
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

/// The committer waits up to this part of a write's time for a group to be as large as the one before ...
const PATIENCE_FRACTION: u32 = 8;
/// ... but never longer, however slow the disk.
const PATIENCE_MAX: Duration = Duration::from_millis(1);

/// Failures of the engine are logged this often.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(10);

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
    /// Batches that were together in the last group.
    last_group: usize,
    /// How long the last write took.
    last_write: Duration,
    /// When a failure was last logged.
    complaint: Option<Instant>,
}

impl Committer {
    pub(crate) fn new(core: Arc<Core>, queue: mpsc::Receiver<Message>, disk: Option<DiskGate>, sync: bool) -> Self {
        let last = core.position();
        Self {
            core,
            queue,
            inbox: VecDeque::new(),
            disk,
            sync,
            nonces: Nonces::default(),
            last,
            logged: last,
            last_group: 0,
            last_write: Duration::ZERO,
            complaint: None,
        }
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
        self.collect();
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

    /// Takes what is in the queue. Callers whose commits were just answered often come back with the next one at once:
    /// for as many as there were, it pays to wait a fraction of the write that they would miss.
    fn collect(&mut self) {
        let patience = (self.last_write / PATIENCE_FRACTION).min(PATIENCE_MAX);
        let started = Instant::now();
        while self.inbox.len() < GROUP_BATCHES_MAX {
            match self.queue.try_recv() {
                Ok(message) => self.inbox.push_back(message),
                Err(_) if self.inbox.len() < self.last_group && started.elapsed() < patience => thread::yield_now(),
                Err(_) => break,
            }
        }
    }

    fn commit(&mut self, group: Vec<Request>) {
        self.last_group = group.len();
        let mut group = self.admit(group);
        if group.is_empty() {
            return;
        }
        match self.write(&mut group) {
            Ok(()) => self.publish(group),
            Err(error) => {
                self.complain(&error);
                self.core.counters.failures.add(group.len() as u64);
                for admitted in group {
                    let _ = admitted.answer.send(Err(error.clone()));
                }
            }
        }
    }

    fn complain(&mut self, error: &CommitError) {
        match (error, &mut self.disk) {
            (CommitError::DiskFull, Some(disk)) => disk.complain(),
            _ if self.complaint.is_none_or(|last| last.elapsed() >= COMPLAINT_INTERVAL) => {
                self.complaint = Some(Instant::now());
                tracing::error!(%error, "a group of commits could not be written");
            }
            _ => {}
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
        self.last_write = started.elapsed();

        self.logged = self.last;
        if let Some(key) = next_system {
            keyring.install(key);
        }
        if let Some(disk) = &mut self.disk {
            disk.wrote(bytes as u64);
        }
        self.core.counters.groups.add(1);
        self.core.counters.bytes_written.add(bytes as u64);
        self.core.counters.write_micros.add(u64::try_from(self.last_write.as_micros()).unwrap_or(u64::MAX));
        Ok(())
    }

    /// The group is durable: brings memory up to it, makes it visible, tells everybody.
    fn publish(&mut self, mut group: Vec<Admitted>) {
        for Admitted { batch, position, .. } in &mut group {
            for hook in batch.take_hooks() {
                if catch_unwind(AssertUnwindSafe(|| hook(*position))).is_err() {
                    tracing::error!(position = position.get(), "a hook of a commit panicked");
                }
            }
            self.core.watches.note(batch.touches(), *position);
        }
        self.core.publish(self.last, self.logged == self.last);
        self.core.counters.commits.add(group.len() as u64);
        for Admitted { batch, position, answer } in group {
            // Before the answer, so that who waits only once told is not woken by the change just made.
            self.core.watches.wake(batch.touches());
            let _ = answer.send(Ok(position));
        }
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
    async fn a_group_is_judged_as_if_its_batches_came_one_by_one() {
        const ROWS: crate::Table<u64, u64> = crate::Table::new(1, "rows", crate::Profile::Point, crate::Seal::System);
        let store = Store::in_memory(Catalogue::new(&[&[*ROWS.spec()]]).unwrap());
        let mut committer = committer(store.core());
        let next = committer.last.plus(1);
        let mut group = Vec::new();
        let mut answers = Vec::new();
        let mut hand_in = |build: &dyn Fn(&mut Batch)| {
            let mut batch = Batch::default();
            build(&mut batch);
            let (request, answer) = request(batch);
            group.push(request);
            answers.push(answer);
        };
        hand_in(&|batch| batch.put(&ROWS, &1, &1));
        hand_in(&|batch| {
            batch.expect_absent(&ROWS, &1);
            batch.put(&ROWS, &2, &2);
        });
        hand_in(&|batch| {
            batch.expect_version(&ROWS, &1, Some(next));
            batch.expect_absent(&ROWS, &2);
            batch.delete(&ROWS, &1);
            batch.put(&ROWS, &3, &3);
        });
        hand_in(&|batch| {
            batch.expect_absent(&ROWS, &1);
            batch.expect_version(&ROWS, &3, Some(next.plus(1)));
            batch.delete_prefix(&ROWS, &());
            batch.put(&ROWS, &4, &4);
        });
        hand_in(&|batch| {
            batch.expect_absent(&ROWS, &3);
            batch.expect_version(&ROWS, &4, Some(next.plus(2)));
        });
        committer.commit(group);
        let answers: Vec<_> = answers.iter_mut().map(|answer| answer.try_recv().unwrap().ok()).collect();
        assert_eq!(answers, [Some(next), None, Some(next.plus(1)), Some(next.plus(2)), Some(next.plus(3))]);
        assert_eq!(store.position(), next.plus(3));
        assert_eq!(store.latest().scan(&ROWS, crate::Scan::all()).await.unwrap(), [(4, 4)]);
        assert_eq!(store.stats().groups, 1);
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
