//! Snapshots that own what they borrow.
#![expect(clippy::mem_forget, reason = "the guards of self_cell, which keep the rest of the crate free of unsafe code")]

use std::sync::Arc;

use rocksdb::DB;
use self_cell::self_cell;

use super::{Fault, Range, Reach, Read, Row, get, multi_get, read_options, scan};
use crate::Profile;

pub(super) type BorrowedSnapshot<'a> = rocksdb::SnapshotWithThreadMode<'a, DB>;

self_cell! {
    /// A snapshot with the database that it borrows.
    pub(super) struct OwnedSnapshot {
        owner: Arc<DB>,
        #[covariant]
        dependent: BorrowedSnapshot,
    }
}

impl Read for OwnedSnapshot {
    fn get(&self, profile: Profile, key: &[u8], reach: Reach) -> Result<Option<Vec<u8>>, Fault> {
        get(self.borrow_owner(), &read_options(reach, Some(self.borrow_dependent())), profile, key)
    }

    fn multi_get(&self, profile: Profile, keys: &[Vec<u8>], reach: Reach) -> Result<Vec<Option<Vec<u8>>>, Fault> {
        multi_get(self.borrow_owner(), &read_options(reach, Some(self.borrow_dependent())), profile, keys)
    }

    fn scan(&self, range: &Range, reach: Reach, row: &mut Row<'_>) -> Result<(), Fault> {
        scan(self.borrow_owner(), read_options(reach, Some(self.borrow_dependent())), range, row)
    }
}
