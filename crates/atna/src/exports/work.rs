//! The work on exports: counting what is in each file.

use std::time::Duration;

use wardroom_audit::Entry;
use wardroom_store::{Batch, Packed, Scan};

use super::{Conditions, ExportError, ExportFile, ExportRow, Exports, FILE_RECORDS_MAX, PAGE_RECORDS};
use crate::tables::EXPORTS;

/// Records after which it is written how far an export is.
const STEP_RECORDS: u64 = 20_000;
/// How often exports are looked for that are over.
const LOOK_EVERY: Duration = Duration::from_secs(600);
/// How long to wait after a failure of the store.
const FAILURE_PAUSE: Duration = Duration::from_secs(5);

impl Exports {
    /// Works on exports, in turns, for as long as it is polled.
    pub async fn run(&self) {
        loop {
            match self.step_all().await {
                Ok(true) => {}
                Ok(false) => {
                    // A notice that came in between is kept.
                    let _ = tokio::time::timeout(LOOK_EVERY, self.0.begun.notified()).await;
                }
                Err(error) => {
                    tracing::warn!(%error, "exports of the audit trail wait");
                    tokio::time::sleep(FAILURE_PAUSE).await;
                }
            }
        }
    }

    /// A step of each export. Whether there is more to do.
    pub(super) async fn step_all(&self) -> Result<bool, ExportError> {
        self.forget().await?;
        let mut more = false;
        for (id, row) in self.rows().await? {
            if row.next < row.to {
                more |= self.step(id, row).await?;
            }
        }
        Ok(more)
    }

    /// Looks at some more records for an export. Whether there are others.
    async fn step(&self, id: [u8; 16], mut row: ExportRow) -> Result<bool, ExportError> {
        let Ok(conditions) = Conditions::of(&row) else {
            // Of another version of this program.
            let mut batch = Batch::default();
            batch.delete(&EXPORTS, &id);
            self.0.store.commit(batch).await?;
            return Ok(false);
        };
        let stop = row.next.saturating_add(STEP_RECORDS).min(row.to);
        while row.next < stop {
            let page = self.0.trail.entries(row.next, PAGE_RECORDS).await?;
            // A trail that ends earlier than it did has nothing more to give.
            row.next = page.last().map_or(row.to, |last| last.number.saturating_add(1).min(row.to));
            count(&mut row, &page, &conditions);
            tokio::task::consume_budget().await;
        }
        let _alone = self.0.turn.lock().await;
        if self.0.store.latest().get(&EXPORTS, &id).await?.is_none() {
            // Deleted in the meantime.
            return Ok(false);
        }
        let more = row.next < row.to;
        let mut batch = Batch::default();
        batch.put(&EXPORTS, &id, &Packed(row));
        self.0.store.commit(batch).await?;
        Ok(more)
    }

    /// Drops exports that are over.
    async fn forget(&self) -> Result<(), ExportError> {
        let rows = self.0.store.latest().scan(&EXPORTS, Scan::all()).await?;
        let mut batch = Batch::default();
        for (id, Packed(row)) in &rows {
            if self.is_over(row) {
                batch.delete(&EXPORTS, id);
            }
        }
        if !batch.is_empty() {
            self.0.store.commit(batch).await?;
        }
        Ok(())
    }
}

/// Adds the records of a page to the files.
fn count(row: &mut ExportRow, page: &[Entry], conditions: &Conditions) {
    for entry in page.iter().filter(|entry| entry.number < row.to && conditions.are_met_by(entry)) {
        let to = entry.number.saturating_add(1);
        match row.files.last_mut().filter(|file| file.count < FILE_RECORDS_MAX) {
            Some(file) => (file.to, file.count) = (to, file.count.saturating_add(1)),
            None => row.files.push(ExportFile { from: entry.number, to, count: 1 }),
        }
    }
}
