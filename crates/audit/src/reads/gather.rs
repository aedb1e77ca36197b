//! One commit for the reads of many who are answered at the same moment.
//!
//! A message wakes everybody who waits for it, and no answer leaves before its rows are on the disk. Whoever is the first of
//! them opens a group and lets those who are ready to run add theirs: an idle server commits at once, a busy one waits for
//! the disk once for all of them. The group is committed by a task of its own: whoever gives up waiting takes nothing away
//! from the others.

use std::sync::Arc;

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
}

/// The group that reads may still join.
#[derive(Default)]
pub(crate) struct Gathering(parking_lot::Mutex<Option<Group>>);

impl Gathering {
    /// Whether a group with so many more rows would be too large.
    fn is_full(&self, rows: usize) -> bool {
        self.0.lock().as_ref().map_or(0, |group| group.news.len()).saturating_add(rows) > GROUP_ROWS_MAX
    }

    /// Adds rows to the open group, and tells whether that is a new one.
    fn join(&self, batch: Batch, news: Vec<News>) -> (watch::Receiver<Written>, bool) {
        let mut open = self.0.lock();
        if let Some(group) = &mut *open {
            group.batch.append(batch);
            group.news.extend(news);
            return (group.written.subscribe(), false);
        }
        let (written, told) = watch::channel(None);
        *open = Some(Group { batch, news, written });
        (told, true)
    }
}

impl Inner {
    /// Makes rows durable, with those of others; then what they say is known.
    pub(super) async fn settle_together(self: &Arc<Self>, batch: Batch, news: Vec<News>) -> Result<(), AuditError> {
        if batch.is_empty() {
            return Ok(());
        }
        if self.gathering.is_full(news.len()) {
            return self.settle(batch, news).await;
        }
        let (mut told, is_first) = self.gathering.join(batch, news);
        if is_first {
            tokio::spawn(Arc::clone(self).write_group());
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

    async fn write_group(self: Arc<Self>) {
        // Those who are ready to run go first: what woke this one has woken them too.
        tokio::task::yield_now().await;
        let Some(Group { batch, news, written }) = self.gathering.0.lock().take() else { return };
        let outcome = self.store.commit(batch).await.map(drop);
        if outcome.is_ok() {
            for News { window, numbers } in news {
                self.windows.remember(&window, numbers);
            }
        }
        written.send_replace(Some(outcome));
    }
}
