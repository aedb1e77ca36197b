//! What part of a table to read.

use crate::{Key, KeyBuf, key::successor};

/// Rows that a [`Scan`] returns unless it says otherwise; callers page beyond it.
pub const SCAN_LIMIT_DEFAULT: usize = 10_000;

/// A range of a table's keys, a direction and a limit. Bounds are in key order, whatever the direction, and each
/// further bound narrows the range.
#[derive(Debug, Clone)]
pub struct Scan {
    /// Smallest key, without the table's prefix.
    start: Vec<u8>,
    /// Smallest key beyond the range; none reaches to the end of the table.
    end: Option<Vec<u8>>,
    pub(crate) reverse: bool,
    pub(crate) limit: usize,
}

impl Scan {
    /// The whole table.
    pub fn all() -> Self {
        Self { start: Vec::new(), end: None, reverse: false, limit: SCAN_LIMIT_DEFAULT }
    }

    /// The keys that start with the encoding of `prefix`.
    pub fn prefix(prefix: &impl Key) -> Self {
        let start = encoded(prefix);
        let end = successor(&start);
        Self { start, end, ..Self::all() }
    }

    /// The keys from `start` up to, not including, `end`.
    pub fn range(start: &impl Key, end: &impl Key) -> Self {
        Self::all().from(start).before(end)
    }

    /// Only keys at or behind `key`.
    #[must_use]
    pub fn from(self, key: &impl Key) -> Self {
        self.starting(encoded(key))
    }

    /// Only keys behind `key`: where a page continues.
    #[must_use]
    pub fn after(self, key: &impl Key) -> Self {
        let mut start = encoded(key);
        start.push(0);
        self.starting(start)
    }

    /// Only keys before `key`: where a reverse page continues.
    #[must_use]
    pub fn before(mut self, key: &impl Key) -> Self {
        let end = encoded(key);
        if self.end.as_ref().is_none_or(|current| end < *current) {
            self.end = Some(end);
        }
        self
    }

    /// From the largest key down.
    #[must_use]
    pub fn reverse(mut self) -> Self {
        self.reverse = true;
        self
    }

    /// At most `rows` rows.
    #[must_use]
    pub fn limit(mut self, rows: usize) -> Self {
        self.limit = rows;
        self
    }

    fn starting(mut self, start: Vec<u8>) -> Self {
        self.start = self.start.max(start);
        self
    }

    /// The bounds as keys of the engine: the first key, and the first beyond.
    pub(crate) fn bounds(&self, table: u16) -> (Vec<u8>, Vec<u8>) {
        let within = |key: &[u8]| [&table.to_be_bytes(), key].concat();
        let end = self.end.as_ref().map_or_else(|| (table + 1).to_be_bytes().to_vec(), |end| within(end));
        (within(&self.start), end)
    }
}

fn encoded(key: &impl Key) -> Vec<u8> {
    let mut out = KeyBuf::default();
    key.encode(&mut out);
    out.bytes
}
