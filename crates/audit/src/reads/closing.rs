//! The end of windows: their rows become a record, and evidence of what was received.

use std::{collections::BTreeSet, time::Duration};

use wardroom_store::{Batch, Packed, Scan};

use super::window::{ROWS, Row};
use crate::{Act, AuditLog, Record, error::AuditError, log::Inner, tables::WATCH_AUDIT};

/// How often it is looked for windows that are over.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Windows that are closed in one commit.
const CLOSED_AT_ONCE: usize = 32;
/// Keys of rows that are read at a time.
const KEYS_AT_ONCE: usize = 1_000;

impl AuditLog {
    /// Closes windows as they end, until the server stops.
    pub async fn run_windows(&self) {
        let Some(inner) = self.inner() else { return };
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if let Err(error) = inner.close_windows(false).await {
                tracing::warn!(%error, "records of reads could not be written yet");
            }
        }
    }

    /// Closes all windows, over or not: what was read until now is to be in the trail, for a report or because the server
    /// stops. Of what is just being read, the window stays open.
    ///
    /// # Errors
    /// When the store fails. What is left is closed later, at the latest at the next start.
    pub async fn finish_windows(&self) -> Result<(), AuditError> {
        match self.inner() {
            Some(inner) => inner.close_windows(true).await,
            None => Ok(()),
        }
    }

    /// Closes the windows that were open when the server died.
    pub(crate) async fn close_left_windows(&self) -> Result<(), AuditError> {
        let Some(inner) = self.inner() else { return Ok(()) };
        let mut after = None::<(u64, u32)>;
        loop {
            let mut scan = Scan::all().limit(KEYS_AT_ONCE);
            if let Some(after) = &after {
                scan = scan.after(after);
            }
            let keys = inner.store.latest().scan_keys(&ROWS, scan).await?;
            let Some(last) = keys.last() else { return Ok(()) };
            let ids: BTreeSet<u64> = keys.iter().map(|(id, _)| *id).collect();
            // All rows of the last one are gone with it, also those of the next page.
            after = Some((last.0, u32::MAX));
            for ids in ids.into_iter().collect::<Vec<_>>().chunks(CLOSED_AT_ONCE) {
                inner.close(ids.iter().map(|id| (*id, (0, 0)))).await?;
            }
        }
    }
}

impl Inner {
    pub(super) async fn close_windows(&self, all: bool) -> Result<(), AuditError> {
        let _alone = self.windows.turn.lock().await;
        // Of whoever was answered before their rows were written.
        self.write_group().await;
        let over = self.windows.over(self.now_ms(), all);
        if over.is_empty() {
            return Ok(());
        }
        // Rows of whoever hung up in the middle are in the committer's queue at most: behind this they are in the store.
        let mut behind = Batch::default();
        behind.touch(WATCH_AUDIT);
        self.store.commit(behind).await?;
        for windows in over.chunks(CLOSED_AT_ONCE) {
            self.close(windows.iter().map(|window| (window.id, window.untold()))).await?;
            self.windows.forget(windows);
        }
        Ok(())
    }

    /// Closes windows, each with how often something happened that no row tells, and when it last did.
    async fn close(&self, windows: impl Iterator<Item = (u64, (u64, u64))>) -> Result<(), AuditError> {
        self.turn_key().await?;
        let mut batch = Batch::default();
        for (id, untold) in windows {
            let rows = self.store.latest().scan(&ROWS, Scan::prefix(&id)).await?;
            let rows: Vec<(u32, Row)> = rows.into_iter().map(|((_, number), Packed(row))| (number, row)).collect();
            let Some(head) = rows.iter().find_map(|(_, row)| row.head.as_deref()) else { continue };
            // What cannot be read is no record of this server's; it is kept where it is.
            let Ok(record) = serde_json::from_str::<Record>(head) else { continue };
            let rows_only = rows.iter().map(|(_, row)| row);
            if matches!(record.act, Act::RoomRead) {
                let of = (&record.who, record.on.room.as_deref());
                self.add_evidence(&mut batch, id, of, rows_only.clone()).await?;
            }
            for (number, _) in &rows {
                batch.delete(&ROWS, &(id, *number));
            }
            if let Some(record) = summed_up(record, rows_only, untold) {
                self.add(&mut batch, record);
            }
        }
        if !batch.is_empty() {
            self.store.commit(batch).await?;
        }
        Ok(())
    }
}

/// The record of a window; none where nothing happened after the one that was written when it opened.
fn summed_up<'a>(head: Record, rows: impl Iterator<Item = &'a Row> + Clone, untold: (u64, u64)) -> Option<Record> {
    let count = rows.clone().map(|row| row.count).fold(untold.0, u64::saturating_add);
    let times = rows.clone().map(|row| row.at_ms);
    let endpoints: BTreeSet<&str> =
        rows.clone().map(|row| row.endpoint.as_str()).filter(|name| !name.is_empty()).collect();
    let first = rows.clone().find_map(|row| row.first.clone());
    let last = rows.filter_map(|row| row.last.clone()).last();
    let mut record = head.count(count).between(times.clone().min()?, times.max()?.max(untold.1));
    if !endpoints.is_empty() {
        record.on.detail = Some(endpoints.into_iter().collect::<Vec<_>>().join(" "));
    }
    if first.is_some() {
        (record.on.event, record.on.last) = (first, last);
    }
    (count > 0).then_some(record)
}
