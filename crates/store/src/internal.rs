//! The store's own tables.

use serde::{Deserialize, Serialize};

use crate::{Hash16, Packed, Profile, Scope, Seal, Table, TableSpec, keys::KeyRecord};

/// Version of the schema. Sealed with the wrapping key: whoever cannot open it has the wrong master key.
pub(crate) const SCHEMA: Table<(), u64> = Table::new(0xF000, "store.schema", Profile::Point, Seal::Scoped);
/// Which data keys the store itself uses. Sealed with the wrapping key.
pub(crate) const ROOTS: Table<(), Packed<Roots>> = Table::new(0xF001, "store.roots", Profile::Point, Seal::Scoped);
/// The committer's memory, part of every write.
pub(crate) const LOG: Table<(), Packed<LogRecord>> = Table::new(0xF002, "store.log", Profile::Point, Seal::System);
/// Data keys by id, sealed with the wrapping key. A destroyed key is a missing row.
pub(crate) const KEYS: Table<u32, Packed<KeyRecord>> = Table::new(0xF003, "store.keys", Profile::Churn, Seal::Scoped);
/// Data key ids by scope.
pub(crate) const SCOPES: Table<Scope, u64> = Table::new(0xF004, "store.scopes", Profile::Point, Seal::System);
/// Numbers by namespace and keyed hash of the name.
pub(crate) const NIDS: Table<(u8, Hash16), u64> = Table::new(0xF005, "store.nids", Profile::Point, Seal::System);
/// Names by namespace and number.
pub(crate) const NAMES: Table<(u8, u64), String> = Table::new(0xF006, "store.names", Profile::Point, Seal::System);

pub(crate) const TABLES: &[TableSpec] =
    &[*SCHEMA.spec(), *ROOTS.spec(), *LOG.spec(), *KEYS.spec(), *SCOPES.spec(), *NIDS.spec(), *NAMES.spec()];

/// Ids of the store's own data keys.
#[derive(Debug, Copy, Clone, Serialize, Deserialize)]
pub(crate) struct Roots {
    /// Keys the hashes in keys.
    pub(crate) index_key: u32,
    /// Seals values of tables with [`Seal::System`].
    pub(crate) system_key: u32,
}

/// What the committer must not forget.
#[derive(Debug, Copy, Clone, Default, Serialize, Deserialize)]
pub(crate) struct LogRecord {
    /// The last position of the group that this record was written with.
    pub(crate) position: u64,
    /// Values sealed with the present system key.
    pub(crate) system_seals: u64,
    /// No data key from this id on was ever made.
    pub(crate) next_key_id: u32,
}
