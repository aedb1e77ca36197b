//! What the files show, and what happens to who changes them.

use rocksdb::DB;
use wardroom_store::{Batch, Position, ReadError, Scan, Scope};

use crate::{LINES, POINTS, SECRETS, Site, TEXTS};

const SENTENCE: &str = "the patient in room twelve sleeps well";

/// Changes rows behind the store's back.
fn meddle(site: &Site, change: impl FnOnce(&DB)) {
    let db = DB::open_cf(&rocksdb::Options::default(), site.database(), ["default", "point", "scan", "churn", "blob"]);
    change(&db.unwrap());
}

/// A row's key in the engine.
fn row(table: u16, key: u64) -> Vec<u8> {
    [&table.to_be_bytes()[..], &key.to_be_bytes()].concat()
}

#[tokio::test]
async fn no_plaintext_is_in_any_file() {
    let site = Site::new();
    let store = site.open().await;
    let scope = Scope { kind: 1, a: 1, b: 1 };
    for round in 0..3_u64 {
        let mut batch = Batch::default();
        batch.put(&POINTS, &round, &SENTENCE.to_owned());
        batch.put(&LINES, &(1, Position::COMMIT), &SENTENCE.to_owned());
        batch.put(&TEXTS, &round, &SENTENCE.repeat(20));
        batch.put_sealed(&SECRETS, &round, &SENTENCE.repeat(100), &store.data_key(scope).await.unwrap());
        store.interner().intern(&mut batch, 1, &format!("@nurse{round}:hospital.example")).await.unwrap();
        store.commit(batch).await.unwrap();
        for needle in ["patient", "sleeps", "nurse", "hospital"] {
            assert!(!site.holds(needle.as_bytes()), "{needle} in the log");
        }
    }
    assert!(site.holds(b"rocksdb"), "the search finds what is there");
    store.close().await;
    for needle in ["patient", "sleeps", "nurse", "hospital"] {
        assert!(!site.holds(needle.as_bytes()), "{needle} in a table");
    }
    let store = site.open().await;
    assert_eq!(store.latest().get(&TEXTS, &1).await.unwrap(), Some(SENTENCE.repeat(20)));
    assert_eq!(store.latest().get(&SECRETS, &1).await.unwrap(), Some(SENTENCE.repeat(100)));
}

#[tokio::test]
async fn compression_makes_rows_smaller() {
    let site = Site::new();
    let store = site.open().await;
    let text = SENTENCE.repeat(50);
    let mut batch = Batch::default();
    batch.put(&TEXTS, &1, &text);
    batch.put(&TEXTS, &2, &"short".to_owned());
    store.commit(batch).await.unwrap();
    let written = store.stats().bytes_written;
    assert!(written < text.len() as u64 / 2, "{written} bytes for {}", text.len());
    assert_eq!(store.latest().get(&TEXTS, &1).await.unwrap(), Some(text));
    assert_eq!(store.latest().get(&TEXTS, &2).await.unwrap().as_deref(), Some("short"));
}

#[tokio::test]
async fn altered_values_are_corrupt() {
    let site = Site::new();
    let store = site.open().await;
    let mut batch = Batch::default();
    for key in 0..64_u64 {
        batch.put(&POINTS, &key, &SENTENCE.to_owned());
    }
    store.commit(batch).await.unwrap();
    store.close().await;
    // One byte of each row, over header, nonce, ciphertext and tag; and rows too short for a header.
    meddle(&site, |db| {
        let points = db.cf_handle("point").unwrap();
        for key in 0..60_u64 {
            let mut value = db.get_cf(points, row(1, key)).unwrap().unwrap();
            let at = usize::try_from(key).unwrap() * value.len() / 60;
            value[at] ^= 0x04;
            db.put_cf(points, row(1, key), value).unwrap();
        }
        db.put_cf(points, row(1, 60), b"").unwrap();
        db.put_cf(points, row(1, 61), [1; 40]).unwrap();
    });
    let store = site.open().await;
    let view = store.latest();
    for key in 0..62 {
        let read = view.get(&POINTS, &key).await;
        assert_eq!(read, Err(ReadError::Corrupt { table: "points" }), "row {key}");
    }
    assert_eq!(view.get(&POINTS, &62).await.unwrap().as_deref(), Some(SENTENCE));
    assert!(view.scan(&POINTS, Scan::all()).await.is_err());
    assert_eq!(view.scan_keys(&POINTS, Scan::all()).await.unwrap().len(), 64);
}

#[tokio::test]
async fn swapped_and_replayed_values_are_corrupt() {
    let site = Site::new();
    let store = site.open().await;
    let mut batch = Batch::default();
    for key in 0..4_u64 {
        batch.put(&POINTS, &key, &format!("value {key}"));
    }
    store.commit(batch).await.unwrap();
    store.close().await;
    meddle(&site, |db| {
        let (points, texts) = (db.cf_handle("point").unwrap(), db.cf_handle("churn").unwrap());
        let value = |key| db.get_cf(points, row(1, key)).unwrap().unwrap();
        let (first, second) = (value(0), value(1));
        db.put_cf(points, row(1, 0), second).unwrap();
        db.put_cf(points, row(1, 1), first).unwrap();
        db.put_cf(texts, row(4, 2), value(2)).unwrap();
        // Another version in the header.
        let mut aged = value(3);
        aged[8] ^= 1;
        db.put_cf(points, row(1, 3), aged).unwrap();
    });
    let store = site.open().await;
    let view = store.latest();
    for key in [0, 1, 3] {
        assert_eq!(view.get(&POINTS, &key).await, Err(ReadError::Corrupt { table: "points" }));
    }
    assert_eq!(view.get(&TEXTS, &2).await, Err(ReadError::Corrupt { table: "texts" }));
    assert_eq!(view.get(&POINTS, &2).await.unwrap().as_deref(), Some("value 2"));
}
