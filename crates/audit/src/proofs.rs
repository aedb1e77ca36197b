//! What others need to check the trail: checkpoints, proofs, hashes, and the records as they are hashed.

use std::collections::BTreeMap;

use bytes::Bytes;
use wardroom_store::{Packed, Position, Scan};

use crate::{
    AuditLog, ENTRIES_MAX,
    error::AuditError,
    log::Inner,
    sequence::hashes,
    tables::{CHECKPOINTS, NUMBERED, RECORDS, TILES},
    tree::{self, Hash, Place, Span, TILE},
};

/// Checkpoints that one read returns at most.
pub const CHECKPOINTS_MAX: usize = 1_000;
/// Hashes of records that one read returns at most.
pub const LEAVES_MAX: usize = 100_000;

impl AuditLog {
    /// The newest checkpoint, a signed note with what others cosigned, and its size; none before the first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn newest_checkpoint(&self) -> Result<Option<(u64, String)>, AuditError> {
        let Some(inner) = self.inner() else { return Ok(None) };
        let newest = Scan::all().reverse().limit(1);
        let mut notes = inner.store.latest().scan(&CHECKPOINTS, newest).await?;
        inner.with_cosignatures(&mut notes).await?;
        Ok(notes.pop())
    }

    /// Checkpoints of more records than `after`, the smallest first, at most [`CHECKPOINTS_MAX`], each with what others
    /// cosigned.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn checkpoints(&self, after: Option<u64>, limit: usize) -> Result<Vec<(u64, String)>, AuditError> {
        let Some(inner) = self.inner() else { return Ok(Vec::new()) };
        let scan = after.map_or_else(Scan::all, |after| Scan::all().after(&after));
        let mut notes = inner.store.latest().scan(&CHECKPOINTS, scan.limit(limit.min(CHECKPOINTS_MAX))).await?;
        inner.with_cosignatures(&mut notes).await?;
        Ok(notes)
    }

    /// What proves that a record is in the trail as it was when it had `size` records, and the hash of the record.
    ///
    /// # Errors
    /// [`AuditError::Beyond`] where there are not so many records, or when the store fails.
    pub async fn inclusion(&self, index: u64, size: u64) -> Result<(Hash, Vec<Hash>), AuditError> {
        let inner = self.inner().ok_or(AuditError::Beyond(0))?;
        inner.at_least(size).await?;
        if index >= size {
            return Err(AuditError::Beyond(size));
        }
        let mut spans = vec![(index, index + 1)];
        spans.extend(tree::inclusion(index, size));
        let mut path = inner.roots(&spans).await?;
        let leaf = path.remove(0);
        Ok((leaf, path))
    }

    /// What proves that the trail of `to` records continues that of `from` records.
    ///
    /// # Errors
    /// [`AuditError::Beyond`] where there are not so many records, or when the store fails.
    pub async fn consistency(&self, from: u64, to: u64) -> Result<Vec<Hash>, AuditError> {
        let inner = self.inner().ok_or(AuditError::Beyond(0))?;
        inner.at_least(to).await?;
        if from > to {
            return Err(AuditError::Beyond(to));
        }
        inner.roots(&tree::consistency(from, to)).await
    }

    /// Hashes of records from that number on, at most [`LEAVES_MAX`]. They are kept when the records are not.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn leaves(&self, from: u64, limit: usize) -> Result<Vec<Hash>, AuditError> {
        let Some(inner) = self.inner() else { return Ok(Vec::new()) };
        let size = inner.state().await?.size;
        let end = from.saturating_add(limit.min(LEAVES_MAX) as u64).min(size);
        let (tile, tiles) = (TILE as u64, from / TILE as u64..end.div_ceil(TILE as u64));
        let places: Vec<Place> = tiles.map(|number| (0, number)).collect();
        let rows = inner.store.latest().multi_get(&TILES, &places).await?;
        let mut leaves = Vec::new();
        for ((_, number), row) in places.into_iter().zip(rows) {
            let (first, last) = (number * tile, size.min((number + 1) * tile));
            let count = usize::try_from(last - first).unwrap_or(TILE);
            let hashes = hashes(row.as_deref(), count).ok_or(AuditError::DamagedTree)?;
            let wanted = (first..last).zip(hashes).filter(|(at, _)| (from..end).contains(at));
            leaves.extend(wanted.map(|(_, hash)| hash));
        }
        Ok(leaves)
    }

    /// Records from that number on as they are hashed: canonical JSON, at most [`ENTRIES_MAX`] of those before `end`.
    ///
    /// # Errors
    /// When the store fails, or a record is missing.
    pub async fn lines(&self, from: u64, end: u64, limit: usize) -> Result<Vec<(u64, Bytes)>, AuditError> {
        let Some(inner) = self.inner().filter(|_| from < end) else { return Ok(Vec::new()) };
        let scan = Scan::range(&from, &end).limit(limit.min(ENTRIES_MAX));
        let rows = inner.store.latest().scan(&NUMBERED, scan).await?;
        let keys: Vec<_> = rows.iter().map(|(_, Packed((at, within)))| (Position::new(*at), *within)).collect();
        let records = inner.store.latest().multi_get(&RECORDS, &keys).await?;
        let lines = rows.into_iter().zip(records);
        lines.map(|((number, _), json)| Ok((number, json.ok_or(AuditError::Damaged(number))?))).collect()
    }

    /// How many records have a number, and the number of the first that is kept.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn extent(&self) -> Result<(u64, u64), AuditError> {
        let Some(inner) = self.inner() else { return Ok((0, 0)) };
        let state = inner.state().await?;
        Ok((state.size, state.first))
    }
}

impl Inner {
    async fn at_least(&self, size: u64) -> Result<(), AuditError> {
        let known = self.state().await?.size;
        if size <= known { Ok(()) } else { Err(AuditError::Beyond(known)) }
    }

    /// The roots over spans of records. A tile holds at least what a tree of the size that was asked for has in it: tiles grow
    /// only.
    pub(crate) async fn roots(&self, spans: &[Span]) -> Result<Vec<Hash>, AuditError> {
        let mut tiles = BTreeMap::new();
        for node in spans.iter().copied().flat_map(tree::nodes) {
            tiles.insert(tree::place(node).0, Vec::new());
        }
        let places: Vec<Place> = tiles.keys().copied().collect();
        let rows = self.store.latest().multi_get(&TILES, &places).await?;
        for (place, row) in places.into_iter().zip(rows) {
            let row = row.ok_or(AuditError::DamagedTree)?;
            tiles.insert(place, hashes(Some(&row), row.len() / size_of::<Hash>()).ok_or(AuditError::DamagedTree)?);
        }
        let root = |node| {
            let (place, range) = tree::place(node);
            tiles.get(&place).and_then(|tile| tile.get(range)).map(tree::over).ok_or(AuditError::DamagedTree)
        };
        let span = |span: &Span| Ok(tree::root_of(tree::nodes(*span).into_iter().map(root).collect::<Result<_, _>>()?));
        spans.iter().map(span).collect()
    }
}
