//! Marks: rows without a value that say that something is to be done, until it was.
//!
//! Whoever works takes what is marked, does it, and takes away the marks as they were: what was marked again meanwhile
//! stays, so nothing is ever forgotten, also not by a crash.

use crate::{Batch, CommitError, Key, Position, ReadError, Scan, Store, Table};

impl Store {
    /// What is marked, at most so many, in the order of the keys.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn marks<K: Key>(&self, table: &Table<K, ()>, limit: usize) -> Result<Vec<(K, Position)>, ReadError> {
        let view = self.latest();
        let mut marks = Vec::new();
        for key in view.scan_keys(table, Scan::all().limit(limit)).await? {
            marks.extend(view.get_versioned(table, &key).await?.map(|((), version)| (key, version)));
        }
        Ok(marks)
    }

    /// Takes marks away, but for those that were set again.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn unmark<K: Key>(&self, table: &Table<K, ()>, marks: &[(K, Position)]) -> Result<(), CommitError> {
        if marks.is_empty() || self.commit(removal(table, marks)).await.is_ok() {
            return Ok(());
        }
        // Some of them were set again: each by itself.
        for mark in marks.chunks(1) {
            match self.commit(removal(table, mark)).await {
                Ok(_) | Err(CommitError::Conflict { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn removal<K: Key>(table: &Table<K, ()>, marks: &[(K, Position)]) -> Batch {
    let mut batch = Batch::default();
    for (key, version) in marks {
        batch.expect_version(table, key, Some(*version));
        batch.delete(table, key);
    }
    batch
}
