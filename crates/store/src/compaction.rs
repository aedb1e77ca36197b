//! Taking what is gone out of the files.
//!
//! A row that was deleted or written over stays in the files until they are rewritten, which may be never where nothing
//! else changes. This rewrites them.

use std::sync::Arc;

use crate::{CommitError, Scan, Store, Table};

impl Store {
    /// Rewrites the files that hold these ranges of a table, so that what was deleted or written over there is in no file
    /// any more, but for what snapshots still see. Reads and writes go on. Doing it twice does no harm. Callers that give
    /// up do not stop it.
    ///
    /// # Errors
    /// When what is in memory cannot be written.
    pub async fn compact<K, V>(&self, table: &Table<K, V>, ranges: &[Scan]) -> Result<(), CommitError> {
        let (profile, id) = (table.spec().profile, table.spec().id);
        let ranges = joined(ranges.iter().map(|range| range.bounds(id)).collect());
        let core = Arc::clone(self.core());
        let compacted = tokio::task::spawn_blocking(move || core.engine().compact(profile, &ranges)).await;
        compacted.map_err(|_| CommitError::Engine("the compaction was interrupted".into()))?.map_err(CommitError::from)
    }
}

/// Ranges that touch each other are one.
fn joined(mut ranges: Vec<(Vec<u8>, Vec<u8>)>) -> Vec<(Vec<u8>, Vec<u8>)> {
    ranges.sort_unstable();
    let mut apart: Vec<(Vec<u8>, Vec<u8>)> = Vec::with_capacity(ranges.len());
    for (start, end) in ranges {
        match apart.last_mut() {
            Some(last) if start <= last.1 => last.1 = end.max(std::mem::take(&mut last.1)),
            _ => apart.push((start, end)),
        }
    }
    apart
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use bytes::Bytes;

    use super::joined;
    use crate::{Batch, Catalogue, MasterKey, Options, Profile, Scan, Scope, Seal, Store, Table};

    const ROWS: Table<(u64, u64), Bytes> = Table::new(0x0201, "rows", Profile::Scan, Seal::Scoped);
    /// Rows of one room.
    const COUNT: u64 = 200;

    #[test]
    fn ranges_that_touch_are_one() {
        let range = |start: u8, end: u8| (vec![start], vec![end]);
        assert_eq!(joined(vec![range(5, 7), range(1, 3), range(3, 4), range(6, 9)]), [range(1, 4), range(5, 9)]);
        assert_eq!(joined(vec![range(1, 9), range(2, 3)]), [range(1, 9)]);
    }

    /// Whether a file of the database has these bytes.
    fn holds(dir: &Path, needle: &[u8]) -> bool {
        std::fs::read_dir(dir).unwrap().any(|entry| {
            let path = entry.unwrap().path();
            path.is_dir() && holds(&path, needle)
                || path.is_file() && std::fs::read(&path).unwrap().windows(needle.len()).any(|part| part == needle)
        })
    }

    #[tokio::test]
    async fn what_was_deleted_or_written_over_is_in_no_file_any_more() {
        let dir = tempfile::tempdir().unwrap();
        let catalogue = Catalogue::new(&[&[*ROWS.spec()]]).unwrap();
        let options = Options::default();
        let store = Store::open(dir.path(), &MasterKey::generate(), catalogue, options).await.unwrap();
        let key = store.data_key(Scope { kind: 1, a: 1, b: 1 }).await.unwrap();
        let mut batch = Batch::default();
        for number in 0..COUNT {
            let value = Bytes::from(vec![u8::try_from(number).unwrap(); 100]);
            batch.put_sealed(&ROWS, &(1, number), &value, &key);
            batch.put_sealed(&ROWS, &(2, number), &value, &key);
        }
        store.commit(batch).await.unwrap();
        let engine = store.core().engine();
        let sealed = |room: u64, number: u64| {
            let (key, _) = Scan::prefix(&(room, number)).bounds(0x0201);
            engine.get(Profile::Scan, &key, crate::engine::Reach::Disk).unwrap().unwrap()
        };
        // What was sealed, without what stands in front of it.
        let (deleted, over, kept) = (sealed(1, 3), sealed(1, 4), sealed(2, 4));
        let mut batch = Batch::default();
        batch.delete(&ROWS, &(1, 3));
        batch.put_sealed(&ROWS, &(1, 4), &Bytes::from_static(b"less"), &key);
        store.commit(batch).await.unwrap();
        assert!([&deleted, &over, &kept].iter().all(|row| holds(dir.path(), &row[row.len() - 60..])));
        for _ in 0..2 {
            store.compact(&ROWS, &[Scan::prefix(&1_u64)]).await.unwrap();
            let gone = [&deleted, &over].map(|row| holds(dir.path(), &row[row.len() - 60..]));
            assert_eq!(gone, [false, false]);
            assert!(holds(dir.path(), &kept[kept.len() - 60..]));
        }
        assert_eq!(store.latest().scan_keys(&ROWS, Scan::all()).await.unwrap().len(), 399);
        store.close().await;
    }
}
