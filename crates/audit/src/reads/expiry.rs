//! The end of evidence: what reached which device, and what was read, is kept as long as records are.
//!
//! A few rows are looked at each time, from where it stopped the time before, so that an old server does not stand still for
//! it; a row may therefore stay for some weeks after its time.

use serde::{Deserialize, Serialize};
use wardroom_store::{Batch, Hash16, Key, Packed, Profile, Scan, Seal, Table, Value};

use super::evidence::{LAST_READS, READ_MARKS, READERS, RECEIVED, SEEN_MS};
use crate::{AuditLog, error::AuditError, log::Inner, retention::kept_from_ms};

/// Rows of each kind that are looked at in one go.
const LOOKED_AT_MAX: usize = 50_000;
/// Rows that are looked at, and deleted, in one commit.
const ROWS_AT_ONCE: usize = 2_000;

/// How far evidence has been looked through: one row.
pub(crate) const SWEPT: Table<(), Packed<Swept>> =
    Table::new(0x081A, "audit_evidence_swept", Profile::Point, Seal::System);

/// The last row of each kind that was looked at; none where the next is the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Swept {
    received: Option<(u64, Hash16, u64)>,
    readers: Option<Hash16>,
    marks: Option<(u64, u64, u64, u64, u16)>,
    last: Option<(Hash16, Hash16)>,
}

impl AuditLog {
    /// Deletes evidence whose time is over, as far as one go gets; how many rows.
    ///
    /// # Errors
    /// When the store fails. What is left is deleted by later calls.
    pub async fn expire_evidence(&self) -> Result<u64, AuditError> {
        let Some(inner) = self.inner() else { return Ok(0) };
        let Some(kept_from_ms) = kept_from_ms(inner) else { return Ok(0) };
        let before = inner.store.latest().get(&SWEPT, &()).await?.map(|Packed(swept)| swept).unwrap_or_default();
        let (mut swept, mut deleted) = (before, 0);
        (swept.received, deleted) =
            inner.sweep(&RECEIVED, (swept.received, deleted), |Packed(row)| row.last_ms() < kept_from_ms).await?;
        (swept.readers, deleted) = inner
            .sweep(&READERS, (swept.readers, deleted), |Packed(row)| row.2.saturating_add(SEEN_MS) < kept_from_ms)
            .await?;
        (swept.marks, deleted) =
            inner.sweep(&READ_MARKS, (swept.marks, deleted), |at_ms| *at_ms < kept_from_ms).await?;
        (swept.last, deleted) = inner.sweep(&LAST_READS, (swept.last, deleted), |at_ms| *at_ms < kept_from_ms).await?;
        if swept != before {
            let mut batch = Batch::default();
            batch.put(&SWEPT, &(), &Packed(swept));
            inner.store.commit(batch).await?;
        }
        Ok(deleted)
    }
}

impl Inner {
    /// Deletes rows that are over, from the one behind `after` on; the last one that was looked at, where there are more.
    async fn sweep<K: Key + Copy, V: Value>(
        &self,
        table: &Table<K, V>,
        (mut after, mut deleted): (Option<K>, u64),
        is_over: impl Fn(&V) -> bool,
    ) -> Result<(Option<K>, u64), AuditError> {
        for _ in 0..LOOKED_AT_MAX / ROWS_AT_ONCE {
            // Windows that are closed meanwhile might count on a row that goes.
            let _alone = self.windows.turn.lock().await;
            let scan = after.map_or_else(Scan::all, |after| Scan::all().after(&after)).limit(ROWS_AT_ONCE);
            let rows = self.store.latest().scan(table, scan).await?;
            let mut batch = Batch::default();
            for (key, _) in rows.iter().filter(|(_, row)| is_over(row)) {
                batch.delete(table, key);
                deleted += 1;
            }
            if !batch.is_empty() {
                self.store.commit(batch).await?;
            }
            after = rows.last().filter(|_| rows.len() == ROWS_AT_ONCE).map(|(key, _)| *key);
            if after.is_none() {
                break;
            }
        }
        Ok((after, deleted))
    }
}
