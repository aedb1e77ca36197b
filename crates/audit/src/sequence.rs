//! The numbers of records: each gets the next one, in the order in which they became durable.
//!
//! Records are written by whoever acts, under the position of their commit, and wait for nobody. Numbering them is a matter of
//! whoever reads, or of [`AuditLog::run`]: what was durable before is numbered when [`AuditLog::catch_up`] returns.

use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use wardroom_store::{Batch, Packed, Position, Scan};

use crate::{
    AuditLog,
    error::AuditError,
    log::Inner,
    tables::{CURSOR, NUMBERED, RECORDS, WATCH_AUDIT},
};

/// Records that are numbered in one commit.
const NUMBERED_AT_ONCE: usize = 1_000;

/// How far records are numbered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cursor {
    /// Records that have a number; the next one gets this.
    pub(crate) size: u64,
    /// The newest of them: position of its commit, and number within the run.
    pub(crate) newest: (u64, u32),
}

/// Who numbers records: one at a time.
#[derive(Debug, Default)]
pub(crate) struct Sequence(Mutex<()>);

impl AuditLog {
    /// Numbers every record that is durable now, and says how many have a number.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn catch_up(&self) -> Result<u64, AuditError> {
        match self.inner() {
            Some(inner) => inner.catch_up().await,
            None => Ok(0),
        }
    }

    /// Numbers records as they come, until the server stops.
    pub async fn run(&self) {
        let Some(inner) = self.inner() else { return };
        loop {
            let mut written = inner.store.watches().waiter([WATCH_AUDIT]);
            if let Err(error) = inner.catch_up().await {
                tracing::warn!(%error, "audit records could not be numbered yet");
            }
            if let Err(error) = inner.turn_key().await {
                tracing::warn!(%error, "the key of audit records could not be changed yet");
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
/// The longest: keys are changed by the clock.
const LOOK_EVERY: std::time::Duration = std::time::Duration::from_secs(60);

impl Inner {
    /// How far records are numbered.
    pub(crate) async fn cursor(&self) -> Result<Cursor, AuditError> {
        Ok(self.store.latest().get(&CURSOR, &()).await?.map(|Packed(cursor)| cursor).unwrap_or_default())
    }

    pub(crate) async fn catch_up(&self) -> Result<u64, AuditError> {
        let up_to = self.store.position();
        let _alone = self.sequence.0.lock().await;
        let mut cursor = self.cursor().await?;
        loop {
            let (position, number) = cursor.newest;
            let after = (Position::new(position), number);
            let scan = Scan::all().after(&after).limit(NUMBERED_AT_ONCE);
            let keys = self.store.latest().scan_keys(&RECORDS, scan).await?;
            let full = keys.len() == NUMBERED_AT_ONCE;
            if keys.is_empty() {
                return Ok(cursor.size);
            }
            let mut batch = Batch::default();
            for (position, number) in keys {
                batch.put(&NUMBERED, &cursor.size, &Packed((position.get(), number)));
                cursor = Cursor { size: cursor.size.saturating_add(1), newest: (position.get(), number) };
            }
            batch.put(&CURSOR, &(), &Packed(cursor));
            self.store.commit(batch).await?;
            if !full && cursor.newest.0 >= up_to.get() {
                return Ok(cursor.size);
            }
        }
    }
}
