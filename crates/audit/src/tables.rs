//! The tables of the audit trail (ids 0x0800 to 0x08FF) and what stands in them.

use bytes::Bytes;
use wardroom_store::{Packed, Position, Profile, Seal, Table, TableSpec, WatchKey};

use crate::{
    hours::Hour,
    index::{IndexKey, Posting},
    reads::{LAST_READS, READ_MARKS, READERS, RECEIVED, ROWS, SWEPT},
    sequence::State,
    witness::{COSIGNATURES, COSIGNERS, EVIDENCE, WATCHED, WITNESS_KEY},
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

// 0x0802 was in use while the trail was made.

/// How far records are numbered: one row.
pub(crate) const STATE: Table<(), Packed<State>> = Table::new(0x0803, "audit_state", Profile::Point, Seal::System);

/// Tiles of the Merkle tree: (level, number from the left) to the hashes in it. Kept for ever.
pub(crate) const TILES: Table<(u8, u64), Bytes> = Table::new(0x0804, "audit_tiles", Profile::Point, Seal::System);

/// Size of the trail to the checkpoint of that size, a signed note. Kept for ever.
pub(crate) const CHECKPOINTS: Table<u64, String> = Table::new(0x0805, "audit_checkpoints", Profile::Scan, Seal::System);

/// The seed of the key that signs checkpoints: one row.
pub(crate) const KEY: Table<(), Packed<[u8; 32]>> = Table::new(0x0806, "audit_key", Profile::Point, Seal::System);

/// Where records of a user, a room, an act, a failure are: see [`IndexKey`].
pub(crate) const INDEX: Table<IndexKey, Packed<Vec<Posting>>> =
    Table::new(0x0807, "audit_index", Profile::Scan, Seal::System);

/// Hour (since 1970) to where its records begin, and what was done in it.
pub(crate) const HOURS: Table<u32, Packed<Hour>> = Table::new(0x0808, "audit_hours", Profile::Scan, Seal::System);

/// Period to the number of its first record.
pub(crate) const PERIODS: Table<u64, u64> = Table::new(0x0809, "audit_periods", Profile::Scan, Seal::System);

/// The tables of the audit trail, for the store's catalogue.
pub const TABLES: &[TableSpec] = &[
    *RECORDS.spec(),
    *NUMBERED.spec(),
    *STATE.spec(),
    *TILES.spec(),
    *CHECKPOINTS.spec(),
    *KEY.spec(),
    *INDEX.spec(),
    *HOURS.spec(),
    *PERIODS.spec(),
    *ROWS.spec(),
    *RECEIVED.spec(),
    *READERS.spec(),
    *READ_MARKS.spec(),
    *LAST_READS.spec(),
    *SWEPT.spec(),
    *WITNESS_KEY.spec(),
    *WATCHED.spec(),
    *EVIDENCE.spec(),
    *COSIGNERS.spec(),
    *COSIGNATURES.spec(),
];
