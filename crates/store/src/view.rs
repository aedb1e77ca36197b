//! Reading.

use std::{fmt, sync::Arc};

use bytes::Bytes;

use crate::{
    Key, Position, Scan, Table, TableSpec, Value,
    engine::{Fault, Range, Reach, Read},
    keyring::Unread,
    store::Core,
};

/// Why a value could not be read.
#[derive(Debug, Clone, Eq, PartialEq, thiserror::Error)]
pub enum ReadError {
    /// The engine failed.
    #[error("the storage engine failed: {0}")]
    Engine(Arc<str>),
    /// A row was altered, or is not what its table says.
    #[error("a row of table {table:?} is corrupt")]
    Corrupt {
        /// The row's table.
        table: &'static str,
    },
    /// The data key of the value was destroyed: the value is gone for good.
    #[error("the data key of the value was destroyed")]
    Shredded,
}

impl Unread {
    /// The error for whoever read this table.
    pub(crate) fn of(self, table: &'static str) -> ReadError {
        match self {
            Self::Fault(Fault::Incomplete) => ReadError::Engine("a read was not completed".into()),
            Self::Fault(Fault::NoSpace) => ReadError::Engine("no space left".into()),
            Self::Fault(Fault::Engine(message)) => ReadError::Engine(message),
            Self::Corrupt => ReadError::Corrupt { table },
            Self::Shredded => ReadError::Shredded,
        }
    }
}

/// What a view looks at.
#[derive(Clone)]
enum Source {
    Latest,
    Snapshot(Arc<dyn Read>),
}

/// The store's data: the newest, or as of one position. Cheap to clone.
#[derive(Clone)]
pub struct View {
    core: Arc<Core>,
    source: Source,
    position: Position,
}

impl View {
    pub(crate) fn latest(core: Arc<Core>) -> Self {
        let position = core.position();
        Self { core, source: Source::Latest, position }
    }

    pub(crate) fn snapshot(core: Arc<Core>) -> Self {
        let (position, snapshot) = core.published();
        Self { core, source: Source::Snapshot(snapshot), position }
    }

    /// The position that the view shows: a snapshot exactly this one, [`crate::Store::latest`] this one or a later.
    pub fn position(&self) -> Position {
        self.position
    }

    /// The value of a key.
    ///
    /// # Errors
    /// When the value cannot be read; absence is none.
    pub async fn get<K: Key, V: Value>(&self, table: &Table<K, V>, key: &K) -> Result<Option<V>, ReadError> {
        Ok(self.get_versioned(table, key).await?.map(|(value, _)| value))
    }

    /// The value of a key, and the commit that wrote it.
    ///
    /// # Errors
    /// When the value cannot be read; absence is none.
    pub async fn get_versioned<K: Key, V: Value>(
        &self,
        table: &Table<K, V>,
        key: &K,
    ) -> Result<Option<(V, Position)>, ReadError> {
        let spec = *table.spec();
        let row_key = table.row_key(key);
        let read = move |core: &Core, source: &dyn Read, reach| match source.get(spec.profile, &row_key, reach)? {
            None => Ok(None),
            Some(sealed) => core.keyring().open(&row_key, sealed, reach).map(Some),
        };
        match self.read(spec.name, read).await? {
            None => Ok(None),
            Some((bytes, version)) => Ok(Some((decode(&spec, bytes)?, version))),
        }
    }

    /// The values of many keys, in their order, in one call of the engine.
    ///
    /// # Errors
    /// When one of the values cannot be read.
    pub async fn multi_get<K: Key, V: Value>(
        &self,
        table: &Table<K, V>,
        keys: &[K],
    ) -> Result<Vec<Option<V>>, ReadError> {
        let rows = self.multi_get_versioned(table, keys).await?;
        Ok(rows.into_iter().map(|row| row.map(|(value, _)| value)).collect())
    }

    /// As [`Self::multi_get`], each value with the commit that wrote it.
    ///
    /// # Errors
    /// When one of the values cannot be read.
    pub async fn multi_get_versioned<K: Key, V: Value>(
        &self,
        table: &Table<K, V>,
        keys: &[K],
    ) -> Result<Vec<Option<(V, Position)>>, ReadError> {
        let spec = *table.spec();
        let row_keys: Vec<Vec<u8>> = keys.iter().map(|key| table.row_key(key)).collect();
        let read = move |core: &Core, source: &dyn Read, reach| {
            let sealed = source.multi_get(spec.profile, &row_keys, reach)?;
            let open = |(row_key, sealed): (&Vec<u8>, Option<Vec<u8>>)| {
                sealed.map(|sealed| core.keyring().open(row_key, sealed, reach)).transpose()
            };
            row_keys.iter().zip(sealed).map(open).collect::<Result<Vec<_>, Unread>>()
        };
        let rows = self.read(spec.name, read).await?;
        let decode = |(bytes, version)| decode(&spec, bytes).map(|value| (value, version));
        rows.into_iter().map(|row| row.map(decode).transpose()).collect()
    }

    /// The rows of a part of the table.
    ///
    /// # Errors
    /// When one of the rows cannot be read.
    pub async fn scan<K: Key, V: Value>(&self, table: &Table<K, V>, scan: Scan) -> Result<Vec<(K, V)>, ReadError> {
        let rows = self.scan_versioned(table, scan).await?;
        Ok(rows.into_iter().map(|(key, value, _)| (key, value)).collect())
    }

    /// The rows of a part of the table, each with the commit that wrote it.
    ///
    /// # Errors
    /// When one of the rows cannot be read.
    pub async fn scan_versioned<K: Key, V: Value>(
        &self,
        table: &Table<K, V>,
        scan: Scan,
    ) -> Result<Vec<(K, V, Position)>, ReadError> {
        let spec = *table.spec();
        let range = range(&spec, &scan);
        let read = move |core: &Core, source: &dyn Read, reach| {
            let mut sealed = Vec::new();
            source.scan(&range, reach, &mut |key, value| sealed.push((key.to_vec(), value.to_vec())))?;
            let open = |(key, sealed): (Vec<u8>, Vec<u8>)| {
                let (bytes, version) = core.keyring().open(&key, sealed, reach)?;
                Ok((key, bytes, version))
            };
            sealed.into_iter().map(open).collect::<Result<Vec<_>, Unread>>()
        };
        let rows = self.read(spec.name, read).await?;
        let decode =
            |(key, bytes, version): (Vec<u8>, _, _)| Ok((decode_key(&spec, &key)?, decode(&spec, bytes)?, version));
        rows.into_iter().map(decode).collect()
    }

    /// The keys of a part of the table; values are not opened.
    ///
    /// # Errors
    /// When the engine fails, or a key is none of this table.
    pub async fn scan_keys<K: Key, V>(&self, table: &Table<K, V>, scan: Scan) -> Result<Vec<K>, ReadError> {
        let spec = *table.spec();
        let range = range(&spec, &scan);
        let read = move |_: &Core, source: &dyn Read, reach| {
            let mut keys = Vec::new();
            source.scan(&range, reach, &mut |key, _| keys.push(key.to_vec()))?;
            Ok(keys)
        };
        let keys = self.read(spec.name, read).await?;
        keys.iter().map(|key| decode_key(&spec, key)).collect()
    }

    /// Reads what is in memory on this thread, and starts over on the blocking pool if that does not suffice.
    async fn read<T: Send + 'static>(
        &self,
        table: &'static str,
        job: impl Fn(&Core, &dyn Read, Reach) -> Result<T, Unread> + Send + 'static,
    ) -> Result<T, ReadError> {
        match job(&self.core, self.source(), Reach::Memory) {
            Err(Unread::Fault(Fault::Incomplete)) => {}
            done => {
                self.core.counters.reads_inline.add(1);
                return done.map_err(|unread| unread.of(table));
            }
        }
        self.core.counters.reads_blocking.add(1);
        let view = self.clone();
        let done = tokio::task::spawn_blocking(move || job(&view.core, view.source(), Reach::Disk)).await;
        done.map_err(|_| ReadError::Engine("a read was interrupted".into()))?.map_err(|unread| unread.of(table))
    }

    fn source(&self) -> &dyn Read {
        match &self.source {
            Source::Latest => self.core.engine(),
            Source::Snapshot(snapshot) => &**snapshot,
        }
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").field("position", &self.position).finish_non_exhaustive()
    }
}

fn range(spec: &TableSpec, scan: &Scan) -> Range {
    let (start, end) = scan.bounds(spec.id);
    Range { profile: spec.profile, start, end, reverse: scan.reverse, limit: scan.limit }
}

fn decode<V: Value>(spec: &TableSpec, bytes: Bytes) -> Result<V, ReadError> {
    V::decode(bytes).map_err(|_| ReadError::Corrupt { table: spec.name })
}

fn decode_key<K: Key>(spec: &TableSpec, row_key: &[u8]) -> Result<K, ReadError> {
    let corrupt = || ReadError::Corrupt { table: spec.name };
    let mut key = row_key.get(2..).ok_or_else(corrupt)?;
    K::decode(&mut key).ok().filter(|_| key.is_empty()).ok_or_else(corrupt)
}
