//! The store's own tables.

use serde::{Deserialize, Serialize};

use crate::{Hash16, Packed, Profile, Scope, Seal, Table, TableSpec, keys::KeyRecord};

/// Version of the schema. Sealed with the wrapping key: whoever cannot open it has the wrong master key.
pub(crate) const SCHEMA: Table<(), u64> = Table::new(0xF000, "store.schema", Profile::Point, Seal::Scoped);
/// Which data keys the store itself uses. Sealed with the wrapping key.
pub(crate) const ROOTS: Table<(), Packed<Roots>> = Table::new(0xF001, "store.roots", Profile::Point, Seal::Scoped);
/// The committer's memory, part of every write.
pub(crate) const LOG: Table<(), Packed<LogRecord>> = Table::new(0xF002, "store.log", Profile::Point, Seal::System);
/// Data keys by id, sealed with the wrapping key: the store's own in its database, those of scopes in the vault. A
/// destroyed key is a missing row.
pub(crate) const KEYS: Table<u32, Packed<KeyRecord>> = Table::new(0xF003, "store.keys", Profile::Point, Seal::Scoped);
/// Data key ids by scope. In the vault.
pub(crate) const SCOPES: Table<Scope, u64> = Table::new(0xF004, "store.scopes", Profile::Point, Seal::System);
/// Numbers by namespace and keyed hash of the name.
pub(crate) const NIDS: Table<(u8, Hash16), u64> = Table::new(0xF005, "store.nids", Profile::Point, Seal::System);
/// Names by namespace and number.
pub(crate) const NAMES: Table<(u8, u64), String> = Table::new(0xF006, "store.names", Profile::Point, Seal::System);

/// Whose keys these are. In the vault.
pub(crate) const VAULT: Table<(), Packed<VaultRecord>> =
    Table::new(0xF007, "store.vault", Profile::Point, Seal::System);
/// No scoped key from this id on was ever made. In the vault.
pub(crate) const NEXT_KEY: Table<(), u64> = Table::new(0xF008, "store.next_key", Profile::Point, Seal::System);
/// Up to which destruction the shred journal is carried out. In the vault.
pub(crate) const ERASED: Table<(), u64> = Table::new(0xF009, "store.erased", Profile::Point, Seal::System);

pub(crate) const TABLES: &[TableSpec] = &[
    *SCHEMA.spec(),
    *ROOTS.spec(),
    *LOG.spec(),
    *KEYS.spec(),
    *SCOPES.spec(),
    *NIDS.spec(),
    *NAMES.spec(),
    *VAULT.spec(),
    *NEXT_KEY.spec(),
    *ERASED.spec(),
];

/// What binds a vault to its store.
#[derive(Debug, Copy, Clone, Serialize, Deserialize)]
pub(crate) struct VaultRecord {
    pub(crate) store_id: [u8; 16],
}

/// Ids of the store's own data keys.
#[derive(Debug, Copy, Clone, Serialize, Deserialize)]
pub(crate) struct Roots {
    /// Keys the hashes in keys.
    pub(crate) index_key: u32,
    /// Seals values of tables with [`Seal::System`].
    pub(crate) system_key: u32,
    /// Binds the database to its vault.
    pub(crate) store_id: [u8; 16],
}

/// What the committer must not forget.
#[derive(Debug, Copy, Clone, Default, Serialize, Deserialize)]
pub(crate) struct LogRecord {
    /// The last position of the group that this record was written with.
    pub(crate) position: u64,
    /// Values sealed with the present system key.
    pub(crate) system_seals: u64,
    /// No data key of the store's own from this id on was ever made.
    pub(crate) next_key_id: u32,
    /// A vault that has made no scoped key from an id below this one is older than the database.
    pub(crate) next_scoped_id: u32,
}
