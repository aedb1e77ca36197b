//! Changes that become visible together.

use std::fmt;

use crate::{
    DataKey, Key, KeyBuf, Position, Seal, Table, TableSpec, Value, WatchKey,
    committer::COMMIT_BYTES_MAX,
    engine::Change,
    key::successor,
    sealing::{self, Format, HEADER_BYTES, Header, Nonces, TAG_BYTES, Unsealable},
};

/// A part of the batch's bytes.
type Span = std::ops::Range<usize>;
type Hook = Box<dyn FnOnce(Position) + Send + Sync>;

/// What one write does to its key.
#[derive(Clone)]
enum Action {
    /// The row, key to tag, ends here. Without a data key the system key seals it.
    Put {
        end: usize,
        format: Format,
        with: Option<DataKey>,
    },
    Delete,
    /// Everything from the key up to the one in this span.
    DeletePrefix {
        end: Span,
    },
}

struct Write {
    table: TableSpec,
    key: Span,
    action: Action,
}

/// A condition on the state before the batch.
struct Expectation {
    table: TableSpec,
    key: Span,
    version: Option<Position>,
}

/// What makes a batch impossible to commit, found while it was built.
#[derive(Debug, Copy, Clone, Eq, PartialEq)]
pub(crate) enum Flaw {
    TooLarge,
    /// `put` on a scoped table, or `put_sealed` on one of the system key.
    WrongSeal(&'static str),
}

/// Changes of any number of tables, preconditions, and what else happens with the commit. Nothing of it is visible
/// until [`crate::Store::commit`] succeeds.
///
/// All keys and values lie in one buffer, each value between room for its header and its tag: the committer stamps
/// and seals in place, without copying.
#[derive(Default)]
pub struct Batch {
    rows: KeyBuf,
    writes: Vec<Write>,
    expectations: Vec<Expectation>,
    touches: Vec<WatchKey>,
    hooks: Vec<Hook>,
    flaw: Option<Flaw>,
}

impl Batch {
    /// Sets the value of a key in a table of [`Seal::System`].
    pub fn put<K: Key, V: Value>(&mut self, table: &Table<K, V>, key: &K, value: &V) {
        self.set(table.spec(), Seal::System, key, value, None);
    }

    /// Sets the value of a key in a table of [`Seal::Scoped`], sealed with a data key of [`crate::Store::data_key`].
    pub fn put_sealed<K: Key, V: Value>(&mut self, table: &Table<K, V>, key: &K, value: &V, with: &DataKey) {
        self.set(table.spec(), Seal::Scoped, key, value, Some(with.clone()));
    }

    /// Removes a key.
    pub fn delete<K: Key, V>(&mut self, table: &Table<K, V>, key: &K) {
        let key = self.row_key(table.spec(), key);
        self.writes.push(Write { table: *table.spec(), key, action: Action::Delete });
    }

    /// Removes every key that starts with the encoding of `prefix`. Costs one tombstone whatever the number of keys;
    /// meant for what is rare, since each tombstone slows later reads a little until compaction.
    pub fn delete_prefix<K, V>(&mut self, table: &Table<K, V>, prefix: &impl Key) {
        let key = self.row_key(table.spec(), prefix);
        let start = self.rows.bytes.len();
        // Table ids end far below the largest number, so there always is a successor.
        let successor = successor(&self.rows.bytes[key.clone()]).unwrap_or_default();
        self.rows.extend(&successor);
        let end = start..self.rows.bytes.len();
        self.writes.push(Write { table: *table.spec(), key, action: Action::DeletePrefix { end } });
    }

    /// The commit fails if the key exists.
    pub fn expect_absent<K: Key, V>(&mut self, table: &Table<K, V>, key: &K) {
        self.expect_version(table, key, None);
    }

    /// The commit fails unless the key's value is the one that the commit at `version` wrote; none means no value.
    pub fn expect_version<K: Key, V>(&mut self, table: &Table<K, V>, key: &K, version: Option<Position>) {
        let key = self.row_key(table.spec(), key);
        self.expectations.push(Expectation { table: *table.spec(), key, version });
    }

    /// Wakes those who wait for this key when the commit is published.
    pub fn touch(&mut self, key: WatchKey) {
        self.touches.push(key);
    }

    /// Runs `f` on the committer, in commit order, after the commit is durable and before its position is published.
    /// It must be short and must not block: every commit waits for it.
    pub fn on_commit(&mut self, f: impl FnOnce(Position) + Send + Sync + 'static) {
        self.hooks.push(Box::new(f));
    }

    /// Whether there is nothing to commit.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
            && self.expectations.is_empty()
            && self.touches.is_empty()
            && self.hooks.is_empty()
            && self.flaw.is_none()
    }

    /// Adds everything of `other`, behind what is here.
    pub fn append(&mut self, other: Self) {
        let shift = self.rows.bytes.len();
        let moved = |span: Span| span.start + shift..span.end + shift;
        self.rows.extend(&other.rows.bytes);
        self.rows.stamps.extend(other.rows.stamps.into_iter().map(|at| at + shift));
        self.writes.extend(other.writes.into_iter().map(|write| Write {
            key: moved(write.key),
            action: match write.action {
                Action::Put { end, format, with } => Action::Put { end: end + shift, format, with },
                Action::Delete => Action::Delete,
                Action::DeletePrefix { end } => Action::DeletePrefix { end: moved(end) },
            },
            table: write.table,
        }));
        self.expectations.extend(
            other.expectations.into_iter().map(|expected| Expectation { key: moved(expected.key), ..expected }),
        );
        self.touches.extend(other.touches);
        self.hooks.extend(other.hooks);
        self.flaw = self.flaw.or(other.flaw);
        self.check_size();
    }

    fn set<K: Key, V: Value>(&mut self, table: &TableSpec, seal: Seal, key: &K, value: &V, with: Option<DataKey>) {
        if table.seal != seal {
            self.flaw = self.flaw.or(Some(Flaw::WrongSeal(table.name)));
        }
        let key = self.row_key(table, key);
        let bytes = &mut self.rows.bytes;
        let payload = key.end + HEADER_BYTES;
        bytes.resize(payload, 0);
        value.encode(bytes);
        let format = if table.compress { sealing::compress(bytes, payload) } else { Format::Plain };
        let end = bytes.len() + TAG_BYTES;
        bytes.resize(end, 0);
        self.writes.push(Write { table: *table, key, action: Action::Put { end, format, with } });
        self.check_size();
    }

    fn row_key(&mut self, table: &TableSpec, key: &impl Key) -> Span {
        let start = self.rows.bytes.len();
        self.rows.extend(&table.id.to_be_bytes());
        key.encode(&mut self.rows);
        start..self.rows.bytes.len()
    }

    /// A batch that cannot be committed need not keep its bytes.
    fn check_size(&mut self) {
        if self.bytes() > COMMIT_BYTES_MAX {
            self.flaw = Some(Flaw::TooLarge);
            self.rows = KeyBuf::default();
            self.writes.clear();
            self.expectations.clear();
        }
    }
}

/// What the committer does with a batch.
impl Batch {
    pub(crate) fn flaw(&self) -> Option<Flaw> {
        self.flaw.or((self.bytes() > COMMIT_BYTES_MAX).then_some(Flaw::TooLarge))
    }

    pub(crate) fn bytes(&self) -> usize {
        self.rows.bytes.len()
    }

    pub(crate) fn writes_anything(&self) -> bool {
        !self.writes.is_empty()
    }

    pub(crate) fn expects_anything(&self) -> bool {
        !self.expectations.is_empty()
    }

    pub(crate) fn touches(&self) -> &[WatchKey] {
        &self.touches
    }

    pub(crate) fn take_hooks(&mut self) -> Vec<Hook> {
        std::mem::take(&mut self.hooks)
    }

    /// Every table that the batch names.
    pub(crate) fn tables(&self) -> impl Iterator<Item = &TableSpec> {
        let written = self.writes.iter().map(|write| &write.table);
        written.chain(self.expectations.iter().map(|expected| &expected.table))
    }

    /// The data keys that the writer named, with the tables they are for.
    pub(crate) fn data_keys(&self) -> impl Iterator<Item = (&TableSpec, &DataKey)> {
        self.writes.iter().filter_map(|write| match &write.action {
            Action::Put { with: Some(key), .. } => Some((&write.table, key)),
            _ => None,
        })
    }

    /// The preconditions: table, key, expected version.
    pub(crate) fn expectations(&self) -> impl Iterator<Item = (&TableSpec, &[u8], Option<Position>)> {
        self.expectations
            .iter()
            .map(|expected| (&expected.table, &self.rows.bytes[expected.key.clone()], expected.version))
    }

    /// Gives the batch its position: completes its keys. May be repeated with another position.
    pub(crate) fn stamp(&mut self, position: Position) {
        self.rows.stamp(position);
    }

    /// Seals all values in place, once, after the last [`Self::stamp`]. Answers how many the system key sealed.
    pub(crate) fn seal(&mut self, version: Position, system: &DataKey, nonces: &mut Nonces) -> Result<u64, Unsealable> {
        let mut by_system = 0;
        for write in &self.writes {
            let Action::Put { end, format, with } = &write.action else { continue };
            by_system += u64::from(with.is_none());
            let key = with.as_ref().unwrap_or(system);
            let header = Header { format: *format, version, key_id: key.id() };
            let row = &mut self.rows.bytes[write.key.start..*end];
            sealing::seal(row, write.key.len(), header, key.cipher(), nonces)?;
        }
        Ok(by_system)
    }

    /// What the engine has to do, in order.
    pub(crate) fn changes(&self) -> impl Iterator<Item = Change<'_>> {
        let bytes = &self.rows.bytes;
        self.writes.iter().map(move |write| {
            let (profile, key) = (write.table.profile, &bytes[write.key.clone()]);
            match &write.action {
                Action::Put { end, .. } => Change::Put { profile, key, value: &bytes[write.key.end..*end] },
                Action::Delete => Change::Delete { profile, key },
                Action::DeletePrefix { end } => Change::DeleteRange { profile, start: key, end: &bytes[end.clone()] },
            }
        })
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("writes", &self.writes.len())
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}
