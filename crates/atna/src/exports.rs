//! Exports of many records (FHIR Bulk Data Access): jobs that are kept, and files that are not.
//!
//! A job divides the records that were there when it began into files of a bounded number. A file is a range of numbers of
//! records: what is in it is read from the trail while it is downloaded, so there is nothing to store, to leak or to clean up,
//! and how far a job has come survives whatever happens to the server.

mod work;

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, Notify};
use wardroom_audit::{AuditError, AuditLog, Entry};
use wardroom_clock::SharedClock;
use wardroom_store::{Batch, CommitError, Packed, ReadError, Scan, Store};

use crate::{Misunderstood, Selection, tables::EXPORTS};

/// Records in one file at most.
const FILE_RECORDS_MAX: u64 = 100_000;
/// Exports of one administrator at the same time, those that are ready included.
pub const EXPORTS_PER_USER_MAX: usize = 5;
/// Exports of all administrators.
pub const EXPORTS_MAX: usize = 50;
/// How long an export is kept after it began, in milliseconds: a day.
pub const EXPORT_LIFE_MS: u64 = 24 * 60 * 60 * 1_000;
/// Records that are read from the trail at once.
const PAGE_RECORDS: usize = 500;
/// Bytes of the conditions of an export at most.
const CONDITIONS_BYTES_MAX: usize = 16 * 1_024;

/// Why an export cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// There are as many as there may be.
    #[error("there are too many exports already: delete one, or wait until it is over")]
    TooMany,
    /// The conditions are longer than is kept.
    #[error("the conditions are longer than {CONDITIONS_BYTES_MAX} bytes")]
    TooLong,
    /// The trail cannot be read.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The store cannot be read.
    #[error("the exports cannot be read")]
    Read(#[from] ReadError),
    /// The store cannot be written.
    #[error("the export cannot be written")]
    Commit(#[from] CommitError),
}

/// A file: the records with these numbers that meet the conditions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct ExportFile {
    /// The first number.
    pub from: u64,
    /// Behind the last number.
    pub to: u64,
    /// How many records it has.
    pub count: u64,
}

/// What is kept of an export. Times are milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct ExportRow {
    owner: String,
    request: String,
    /// Sets of conditions, of which a record has to meet one; all records where there is none.
    any_of: Vec<Vec<(String, String)>>,
    since_ms: Option<u64>,
    begun_ms: u64,
    /// Behind the last record that was there.
    to: u64,
    /// Up to where records were looked at.
    next: u64,
    files: Vec<ExportFile>,
}

/// What is to be exported.
#[derive(Clone, Debug, Default)]
pub struct ExportRequest {
    /// Whose it is.
    pub owner: String,
    /// The request, as its URL.
    pub request: String,
    /// Sets of search parameters, of which a record has to meet one; all records where there is none.
    pub any_of: Vec<Vec<(String, String)>>,
    /// Records of this time or later, in milliseconds since 1970.
    pub since_ms: Option<u64>,
}

/// How far an export is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportStatus {
    /// The request, as its URL.
    pub request: String,
    /// When it began, in milliseconds since 1970: records after that are not in it.
    pub begun_ms: u64,
    /// Records that were looked at.
    pub done: u64,
    /// Of how many.
    pub of: u64,
    /// The files, all of them when everything was looked at.
    pub files: Vec<ExportFile>,
}

impl ExportStatus {
    /// Whether everything was looked at.
    pub const fn is_complete(&self) -> bool {
        self.done == self.of
    }
}

/// A file that is being read.
#[derive(Clone, Debug)]
pub struct ExportReader {
    trail: AuditLog,
    conditions: Conditions,
    next: u64,
    to: u64,
}

/// Which records of a range are meant.
#[derive(Clone, Debug)]
struct Conditions(Vec<Selection>);

impl Conditions {
    fn of(row: &ExportRow) -> Result<Self, Misunderstood> {
        let selection = |parameters: &Vec<(String, String)>| {
            let mut selection = Selection::default();
            parameters.iter().try_for_each(|(name, value)| selection.add(name, value))?;
            Ok(selection)
        };
        let mut any_of = row.any_of.iter().map(selection).collect::<Result<Vec<_>, Misunderstood>>()?;
        if let Some(since_ms) = row.since_ms {
            if any_of.is_empty() {
                any_of.push(Selection::default());
            }
            any_of.iter_mut().for_each(|selection| selection.since(since_ms));
        }
        Ok(Self(any_of))
    }

    fn are_met_by(&self, entry: &Entry) -> bool {
        self.0.is_empty() || self.0.iter().any(|selection| selection.is_met_by(&entry.record))
    }
}

impl ExportReader {
    /// The next records, in their order; none at the end.
    ///
    /// # Errors
    /// When the trail cannot be read.
    pub async fn next(&mut self) -> Result<Option<Vec<Entry>>, AuditError> {
        while self.next < self.to {
            let page = self.trail.entries(self.next, PAGE_RECORDS).await?;
            let Some(last) = page.last() else { return Ok(None) };
            self.next = last.number.saturating_add(1);
            let (to, conditions) = (self.to, &self.conditions);
            let meant = page.into_iter().filter(|entry| entry.number < to && conditions.are_met_by(entry));
            let meant: Vec<Entry> = meant.collect();
            if !meant.is_empty() {
                return Ok(Some(meant));
            }
        }
        Ok(None)
    }
}

struct Inner {
    store: Store,
    clock: SharedClock,
    trail: AuditLog,
    /// Who counts exports and adds one, or writes how far one is: one at a time.
    turn: Mutex<()>,
    begun: Notify,
}

/// The exports. Clones share everything.
#[derive(Clone)]
pub struct Exports(Arc<Inner>);

impl fmt::Debug for Exports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exports").finish_non_exhaustive()
    }
}

impl Exports {
    /// The exports in a store, whose catalogue must hold [`crate::TABLES`].
    pub fn new(store: Store, clock: SharedClock, trail: AuditLog) -> Self {
        Self(Arc::new(Inner { store, clock, trail, turn: Mutex::new(()), begun: Notify::new() }))
    }

    /// Begins an export of what is there now, and says by which id it is known.
    ///
    /// # Errors
    /// [`ExportError::TooMany`], [`ExportError::TooLong`], or what the store or the trail has.
    pub async fn begin(&self, request: ExportRequest) -> Result<String, ExportError> {
        let ExportRequest { owner, request, any_of, since_ms } = request;
        let long: usize = any_of.iter().flatten().map(|(name, value)| name.len() + value.len()).sum();
        if long.saturating_add(request.len()) > CONDITIONS_BYTES_MAX {
            return Err(ExportError::TooLong);
        }
        let to = self.0.trail.catch_up().await?;
        let begun_ms = self.0.clock.now_ms();
        let _alone = self.0.turn.lock().await;
        let rows = self.rows().await?;
        let theirs = rows.iter().filter(|(_, row)| row.owner == owner).count();
        if theirs >= EXPORTS_PER_USER_MAX || rows.len() >= EXPORTS_MAX {
            return Err(ExportError::TooMany);
        }
        let id: [u8; 16] = rand::random();
        let row = ExportRow { owner, request, any_of, since_ms, begun_ms, to, next: 0, files: Vec::new() };
        let mut batch = Batch::default();
        batch.expect_absent(&EXPORTS, &id);
        batch.put(&EXPORTS, &id, &Packed(row));
        self.0.store.commit(batch).await?;
        self.0.begun.notify_one();
        Ok(shown(id))
    }

    /// How far an export of somebody is; none where they have none of this id.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn status(&self, owner: &str, id: &str) -> Result<Option<ExportStatus>, ExportError> {
        let row = self.row(owner, id).await?;
        Ok(row.map(|(_, ExportRow { request, begun_ms, next, to, files, .. })| ExportStatus {
            request,
            begun_ms,
            done: next,
            of: to,
            files,
        }))
    }

    /// Reads a file of a complete export; none where there is no such file.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn read(
        &self,
        owner: &str,
        id: &str,
        file: usize,
    ) -> Result<Option<(ExportFile, ExportReader)>, ExportError> {
        let Some((_, row)) = self.row(owner, id).await? else { return Ok(None) };
        let file = row.files.get(file).filter(|_| row.next == row.to).copied();
        // What was begun by another version of this program may not be understood any more.
        let (Some(file), Ok(conditions)) = (file, Conditions::of(&row)) else { return Ok(None) };
        let reader = ExportReader { trail: self.0.trail.clone(), conditions, next: file.from, to: file.to };
        Ok(Some((file, reader)))
    }

    /// Ends an export; false where there is none.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn delete(&self, owner: &str, id: &str) -> Result<bool, ExportError> {
        let _alone = self.0.turn.lock().await;
        let Some((id, _)) = self.row(owner, id).await? else { return Ok(false) };
        let mut batch = Batch::default();
        batch.delete(&EXPORTS, &id);
        self.0.store.commit(batch).await?;
        Ok(true)
    }

    async fn row(&self, owner: &str, id: &str) -> Result<Option<([u8; 16], ExportRow)>, ReadError> {
        let Some(id) = read_id(id) else { return Ok(None) };
        let row = self.0.store.latest().get(&EXPORTS, &id).await?.map(|Packed(row)| row);
        Ok(row.filter(|row| row.owner == owner && !self.is_over(row)).map(|row| (id, row)))
    }

    /// Every export that is not over.
    async fn rows(&self) -> Result<Vec<([u8; 16], ExportRow)>, ReadError> {
        let rows = self.0.store.latest().scan(&EXPORTS, Scan::all()).await?;
        Ok(rows.into_iter().map(|(id, Packed(row))| (id, row)).filter(|(_, row)| !self.is_over(row)).collect())
    }

    fn is_over(&self, row: &ExportRow) -> bool {
        self.0.clock.now_ms() >= row.begun_ms.saturating_add(EXPORT_LIFE_MS)
    }
}

fn shown(id: [u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(id))
}

fn read_id(text: &str) -> Option<[u8; 16]> {
    let good = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    good.then(|| u128::from_str_radix(text, 16).ok()).flatten().map(u128::to_be_bytes)
}

#[cfg(test)]
mod tests;
