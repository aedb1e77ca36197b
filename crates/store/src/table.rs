//! Tables and the catalogue that declares them.

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    marker::PhantomData,
};

use crate::{Key, KeyBuf, internal};

/// Table ids from here on are the store's own.
pub(crate) const INTERNAL_TABLE_ID_MIN: u16 = 0xF000;

/// How a table is accessed; each profile is one column family of the engine, tuned for it.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub enum Profile {
    /// Looked up by whole key, values up to a few kilobytes: bloom filters, small blocks.
    Point,
    /// Read in ranges, in key order: larger blocks, no filters to pay for.
    Scan,
    /// Written, read soon and deleted (queues, to-device messages): compaction follows deletions.
    Churn,
    /// Large values, written once: kept apart from their keys, so that compaction does not copy them.
    Blob,
}

impl Profile {
    /// Every profile, in the order of their numbers.
    pub(crate) const ALL: [Self; 4] = [Self::Point, Self::Scan, Self::Churn, Self::Blob];

    /// The name of the profile's column family.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Point => "point",
            Self::Scan => "scan",
            Self::Churn => "churn",
            Self::Blob => "blob",
        }
    }
}

/// Which data key seals the values of a table.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Seal {
    /// The system data key, rotated by the store.
    System,
    /// A data key that the writer names per value, so that it can be destroyed with its scope.
    Scoped,
}

/// The declaration of a table, without its types.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct TableSpec {
    /// Prefix of the table's keys; never reused for another table.
    pub id: u16,
    /// Name in errors and tools.
    pub name: &'static str,
    /// Access profile.
    pub profile: Profile,
    /// Which data key seals the values.
    pub seal: Seal,
    /// Whether values are compressed when that makes them smaller.
    pub compress: bool,
}

/// A typed view of a table. Declared as a constant.
pub struct Table<K, V> {
    spec: TableSpec,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K, V> Table<K, V> {
    /// Declares a table; `id` below 0xF000.
    pub const fn new(id: u16, name: &'static str, profile: Profile, seal: Seal) -> Self {
        Self { spec: TableSpec { id, name, profile, seal, compress: false }, types: PhantomData }
    }

    /// The same table with compressed values.
    #[must_use]
    pub const fn compressed(mut self) -> Self {
        self.spec.compress = true;
        self
    }

    /// The declaration, for the catalogue.
    pub const fn spec(&self) -> &TableSpec {
        &self.spec
    }
}

impl<K: Key, V> Table<K, V> {
    /// The engine's key of a row: table id, then the key.
    pub(crate) fn row_key(&self, key: &K) -> Vec<u8> {
        let mut row = KeyBuf::default();
        row.extend(&self.spec.id.to_be_bytes());
        key.encode(&mut row);
        row.bytes
    }
}

impl<K, V> Copy for Table<K, V> {}

impl<K, V> Clone for Table<K, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, V> fmt::Debug for Table<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.spec.fmt(f)
    }
}

/// Two tables claim the same place, or one that is the store's own.
#[derive(Debug, Clone, Eq, PartialEq, thiserror::Error)]
pub enum CatalogueError {
    /// Two tables have the same id.
    #[error("tables {first:?} and {second:?} have the same id")]
    DuplicateId {
        /// Declared first.
        first: &'static str,
        /// Declared second.
        second: &'static str,
    },
    /// Two tables have the same name.
    #[error("two tables are named {0:?}")]
    DuplicateName(&'static str),
    /// The id is in the range of the store's own tables.
    #[error("table {0:?} has an id that is reserved for the store (0xF000 and above)")]
    ReservedId(&'static str),
}

/// Every table that a store holds.
#[derive(Debug, Clone)]
pub struct Catalogue {
    tables: BTreeMap<u16, TableSpec>,
}

impl Catalogue {
    /// The catalogue of these tables and of the store's own.
    ///
    /// # Errors
    /// When ids or names are not unique, or an id is reserved.
    pub fn new(specs: &[&[TableSpec]]) -> Result<Self, CatalogueError> {
        let mut tables: BTreeMap<u16, TableSpec> = internal::TABLES.iter().map(|spec| (spec.id, *spec)).collect();
        let mut names: HashSet<&str> = tables.values().map(|spec| spec.name).collect();
        for spec in specs.iter().copied().flatten() {
            if spec.id >= INTERNAL_TABLE_ID_MIN {
                return Err(CatalogueError::ReservedId(spec.name));
            }
            if let Some(first) = tables.insert(spec.id, *spec) {
                return Err(CatalogueError::DuplicateId { first: first.name, second: spec.name });
            }
            if !names.insert(spec.name) {
                return Err(CatalogueError::DuplicateName(spec.name));
            }
        }
        Ok(Self { tables })
    }

    /// All tables, by id.
    pub fn tables(&self) -> impl Iterator<Item = &TableSpec> {
        self.tables.values()
    }

    /// Whether exactly this table was declared.
    pub(crate) fn declares(&self, spec: &TableSpec) -> bool {
        self.tables.get(&spec.id) == Some(spec)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Table<u64, u64> = Table::new(1, "a", Profile::Point, Seal::System);

    #[test]
    fn ids_and_names_are_unique() {
        let same_id: Table<u64, u64> = Table::new(1, "b", Profile::Scan, Seal::System);
        let same_name: Table<u64, u64> = Table::new(2, "a", Profile::Scan, Seal::System);
        let reserved: Table<u64, u64> = Table::new(0xF000, "c", Profile::Scan, Seal::System);
        let of = |table: &Table<u64, u64>| Catalogue::new(&[&[*A.spec()], &[*table.spec()]]).map(drop);
        assert_eq!(of(&same_id), Err(CatalogueError::DuplicateId { first: "a", second: "b" }));
        assert_eq!(of(&same_name), Err(CatalogueError::DuplicateName("a")));
        assert_eq!(of(&reserved), Err(CatalogueError::ReservedId("c")));
    }

    #[test]
    fn a_catalogue_has_the_stores_own_tables() {
        let catalogue = Catalogue::new(&[&[*A.spec()]]).unwrap();
        assert!(catalogue.declares(A.spec()));
        assert!(!catalogue.declares(A.compressed().spec()));
        let ids: Vec<_> = catalogue.tables().map(|table| table.id).collect();
        assert_eq!(ids.len(), 1 + internal::TABLES.len());
        assert!(ids.is_sorted());
    }
}
