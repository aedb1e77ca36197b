//! The tables of the audit trail (ids 0x0800 to 0x08FF) and what stands in them.

use bytes::Bytes;
use wardroom_store::{Packed, Position, Profile, Seal, Table, TableSpec, WatchKey};

use crate::{
    reads::{LAST_READS, READ_MARKS, READERS, RECEIVED, ROWS},
    sequence::Cursor,
};

/// Touched by every batch that has a record.
pub const WATCH_AUDIT: WatchKey = WatchKey { kind: 12, id: 0 };

/// Records in the order in which they became durable: (position of the commit, number within the run) to the canonical
/// JSON. Sealed under keys of the trail's own, one for each period.
pub(crate) const RECORDS: Table<(Position, u32), Bytes> =
    Table::new(0x0800, "audit_records", Profile::Scan, Seal::Scoped).compressed();

/// Number of a record to the key of its row in [`RECORDS`].
pub(crate) const NUMBERED: Table<u64, Packed<(u64, u32)>> =
    Table::new(0x0801, "audit_numbers", Profile::Scan, Seal::System);

/// How far records are numbered: one row.
pub(crate) const CURSOR: Table<(), Packed<Cursor>> = Table::new(0x0802, "audit_cursor", Profile::Point, Seal::System);

/// The tables of the audit trail, for the store's catalogue.
pub const TABLES: &[TableSpec] = &[
    *RECORDS.spec(),
    *NUMBERED.spec(),
    *CURSOR.spec(),
    *ROWS.spec(),
    *RECEIVED.spec(),
    *READERS.spec(),
    *READ_MARKS.spec(),
    *LAST_READS.spec(),
];
