//! One commit for the reads of many who are answered at the same moment.
//!
//! A message wakes everybody who waits for it, and no answer leaves before its rows are on the disk. Whoever is the first of
//! them opens a group and lets those who are ready to run add theirs: an idle server commits at once, a busy one waits for
//! the disk once for all of them. The group is committed by a task of its own: whoever gives up waiting takes nothing away
//! from the others.
//!
//! Where the settings say that answers need not wait, they do not: groups are written one after another, the next one
//! gathers what comes meanwhile, and who finds it full waits. When a group could not be written, answers wait again until
//! one is.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::watch;
use wardroom_store::{Batch, CommitError};

use super::News;
use crate::{error::AuditError, log::Inner};

/// Rows of one group, from which on reads are written by themselves. A row has some hundred bytes: far from what one commit
/// may have.
const GROUP_ROWS_MAX: usize = 1_000;

/// What became of a group: none as long as it is not written.
type Written = Option<Result<(), CommitError>>;

/// Reads that are written together.
struct Group {
    batch: Batch,
    news: Vec<News>,
    written: watch::Sender<Written>,
    /// How many of them were answered before.
    answered: u64,
}

/// Reads that wait to be written.
#[derive(Default)]
pub(crate) struct Gathering {
    /// The group that reads may still join.
    open: parking_lot::Mutex<Option<Group>>,
    /// Held by whoever writes a group that not everybody waits for.
    turn: tokio::sync::Mutex<()>,
    /// Whether the last group could not be written.
    failing: AtomicBool,
}

impl Gathering {
    /// Whether a group with so many more rows would be too large.
    fn is_full(&self, rows: usize) -> bool {
        self.open.lock().as_ref().map_or(0, |group| group.news.len()).saturating_add(rows) > GROUP_ROWS_MAX
    }

    /// Adds rows of somebody who waits for them, or who is answered before; and tells whether the group is a new one.
    fn join(&self, batch: Batch, news: Vec<News>, waits: bool) -> (watch::Receiver<Written>, bool) {
        let mut open = self.open.lock();
        if let Some(group) = &mut *open {
            group.batch.append(batch);
            group.news.extend(news);
            group.answered = group.answered.saturating_add(u64::from(!waits));
            return (group.written.subscribe(), false);
        }
        let (written, told) = watch::channel(None);
        *open = Some(Group { batch, news, written, answered: u64::from(!waits) });
        (told, true)
    }
}

impl Inner {
    /// Makes rows durable, with those of others; then what they say is known. Waits for it, where the settings say so.
    pub(super) async fn settle_together(self: &Arc<Self>, batch: Batch, news: Vec<News>) -> Result<(), AuditError> {
        if batch.is_empty() {
            return Ok(());
        }
        if self.gathering.is_full(news.len()) {
            return self.settle(batch, news).await;
        }
        let waits = self.settings.reads_before_answers || self.gathering.failing.load(Ordering::Relaxed);
        let (mut told, is_first) = self.gathering.join(batch, news, waits);
        if is_first {
            let inner = Arc::clone(self);
            tokio::spawn(async move { inner.write_group().await });
        }
        if !waits {
            return Ok(());
        }
        let written = match told.wait_for(Option::is_some).await {
            Ok(written) => (*written).clone(),
            Err(_) => None,
        };
        self.or_go_on(match written {
            Some(written) => written.map_err(AuditError::from),
            None => Err(AuditError::Interrupted),
        })
    }

    /// Writes the open group, and where answers do not wait, after the one before it: then nothing that was answered until
    /// now is left in memory.
    pub(super) async fn write_group(&self) {
        // Those who are ready to run go first: what woke this one has woken them too.
        tokio::task::yield_now().await;
        let _turn = match self.settings.reads_before_answers {
            true => None,
            false => Some(self.gathering.turn.lock().await),
        };
        let Some(Group { batch, news, written, answered }) = self.gathering.open.lock().take() else { return };
        let outcome = self.store.commit(batch).await.map(drop);
        self.gathering.failing.store(outcome.is_err(), Ordering::Relaxed);
        if let (Err(error), 1..) = (&outcome, answered) {
            self.note_missing(&AuditError::from(error.clone()), answered);
        }
        if outcome.is_ok() {
            for News { window, numbers } in news {
                self.windows.remember(&window, numbers);
            }
        }
        written.send_replace(Some(outcome));
    }
}
