//! The end of old records: with their time over, a period of them is deleted and its key destroyed. Their hashes and all
//! checkpoints stay, so that what is left can still be proved.

use std::sync::Arc;

use wardroom_store::{Batch, Packed, Position, Scan};

use crate::{
    Act, AuditLog, Record,
    error::AuditError,
    hours::{HOUR_MS, hour_of},
    index::ShortLists,
    log::{Inner, PERIOD_MS, scope},
    postings::Period,
    sequence::to_the_end,
    tables::{HOURS, INDEX, NUMBERED, PERIODS, RECORDS, STATE},
};

/// Records that are deleted in one commit.
const DELETED_AT_ONCE: usize = 2_000;
/// How far into a period its first records may still be sealed under the key before: much more than it takes to see that a
/// period began. So a key is destroyed with the period after its own.
const KEY_LATE_MS_MAX: u64 = HOUR_MS;
/// A year in milliseconds, as long as any.
const YEAR_MS: u64 = 366 * 24 * HOUR_MS;

/// From when on records are kept, in milliseconds since 1970; none where they are for ever.
pub(crate) fn kept_from_ms(inner: &Inner) -> Option<u64> {
    let years = inner.settings.retention_years?;
    Some(inner.now_ms().saturating_sub(u64::from(years).saturating_mul(YEAR_MS)))
}

impl AuditLog {
    /// Deletes the records whose time is over, a whole period after the other; how many there were.
    ///
    /// # Errors
    /// When the store fails. What is left is deleted by the next call.
    pub async fn expire(&self) -> Result<u64, AuditError> {
        let Some(inner) = self.inner() else { return Ok(0) };
        let Some(kept_from_ms) = kept_from_ms(inner) else { return Ok(0) };
        let state = inner.catch_up().await?;
        let periods = inner.periods(&state).await?;
        let mut deleted = 0;
        // What is not ended by a later period may still grow.
        for pair in periods.windows(2) {
            let [period, next] = pair else { break };
            let over = (period.period + 1).saturating_mul(PERIOD_MS) <= kept_from_ms && next.first < state.size;
            if !over {
                break;
            }
            deleted += period.end.saturating_sub(period.first.max(state.first));
            let (inner, period) = (Arc::clone(inner), *period);
            to_the_end(async move { inner.end(period).await }).await?;
        }
        Ok(deleted)
    }
}

impl Inner {
    /// Deletes a period, which is the oldest.
    async fn end(self: Arc<Self>, period: Period) -> Result<(), AuditError> {
        loop {
            let scan = Scan::all().before(&period.end).limit(DELETED_AT_ONCE);
            let rows = self.store.latest().scan(&NUMBERED, scan).await?;
            let Some((last, _)) = rows.last() else { break };
            let mut batch = Batch::default();
            for (number, Packed((position, within))) in &rows {
                batch.delete(&NUMBERED, number);
                batch.delete(&RECORDS, &(Position::new(*position), *within));
            }
            self.forget(batch, last + 1).await?;
        }
        let back_ms = self.state().await?.back_ms.max(KEY_LATE_MS_MAX);
        let over = ((period.period + 1).saturating_mul(PERIOD_MS).saturating_sub(back_ms)) / PERIOD_MS;
        self.store.destroy_data_keys(&(0..over).map(scope).collect::<Vec<_>>()).await?;
        let mut batch = Batch::default();
        batch.delete_prefix(&INDEX, &period.period);
        let hours = Scan::all().before(&hour_of((period.period + 1).saturating_mul(PERIOD_MS)));
        for hour in self.store.latest().scan_keys(&HOURS, hours).await? {
            batch.delete(&HOURS, &hour);
        }
        batch.delete(&PERIODS, &period.period);
        let count = period.end.saturating_sub(period.first);
        self.add(&mut batch, Record::of(Act::RetentionShred).detail("audit").count(count));
        self.forget(batch, period.end).await
    }

    /// Commits the deletion of everything before a number.
    async fn forget(&self, mut batch: Batch, first: u64) -> Result<(), AuditError> {
        let mut slot = self.sequence.0.lock().await;
        let mut head = self.head(&mut slot).await?;
        head.state.first = head.state.first.max(first);
        // None of what was deleted is written again.
        head.lists = ShortLists::default();
        batch.put(&STATE, &(), &Packed(head.state));
        self.store.commit(batch).await?;
        *slot = Some(head);
        Ok(())
    }
}
