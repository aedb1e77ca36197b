//! Data keys: one per scope, destroyed for good.

use wardroom_store::{Batch, CommitError, DataKey, ReadError, Scan, Scope, Store};

use crate::{POINTS, SECRETS, Site, on_both_engines};

on_both_engines!(
    a_scope_has_one_key,
    many_who_ask_at_once_get_the_same_key,
    what_a_destroyed_key_sealed_is_gone_everywhere,
    a_destroyed_key_seals_nothing_more,
    hashes_differ_by_domain,
);

fn day(day: u64) -> Scope {
    Scope { kind: 1, a: 42, b: day }
}

async fn keep(store: &Store, id: u64, text: &str, key: &DataKey) -> Result<(), CommitError> {
    let mut batch = Batch::default();
    batch.put_sealed(&SECRETS, &id, &text.to_owned(), key);
    store.commit(batch).await.map(drop)
}

async fn a_scope_has_one_key(store: Store) {
    let first = store.data_key(day(1)).await.unwrap();
    let again = store.data_key(day(1)).await.unwrap();
    let other = store.data_key(day(2)).await.unwrap();
    assert_eq!(format!("{first:?}"), format!("{again:?}"));
    assert_ne!(format!("{first:?}"), format!("{other:?}"));
    keep(&store, 1, "secret", &first).await.unwrap();
    assert_eq!(store.latest().get(&SECRETS, &1).await.unwrap().as_deref(), Some("secret"));
}

async fn many_who_ask_at_once_get_the_same_key(store: Store) {
    let tasks: Vec<_> = (0..32)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { format!("{:?}", store.data_key(day(1)).await.unwrap()) })
        })
        .collect();
    let mut keys = Vec::new();
    for task in tasks {
        keys.push(task.await.unwrap());
    }
    keys.dedup();
    assert_eq!(keys.len(), 1);
}

async fn what_a_destroyed_key_sealed_is_gone_everywhere(store: Store) {
    let (first, second) = (store.data_key(day(1)).await.unwrap(), store.data_key(day(2)).await.unwrap());
    keep(&store, 1, "one", &first).await.unwrap();
    keep(&store, 2, "two", &second).await.unwrap();
    let before = store.snapshot();
    store.destroy_data_keys(&[day(1), day(9)]).await.unwrap();
    for view in [before, store.latest(), store.snapshot()] {
        assert_eq!(view.get(&SECRETS, &1).await, Err(ReadError::Shredded));
        assert_eq!(view.scan(&SECRETS, Scan::all()).await, Err(ReadError::Shredded));
        assert_eq!(view.get(&SECRETS, &2).await.unwrap().as_deref(), Some("two"));
        assert_eq!(view.scan_keys(&SECRETS, Scan::all()).await.unwrap(), [1, 2]);
    }
    let fresh = store.data_key(day(1)).await.unwrap();
    assert_ne!(format!("{fresh:?}"), format!("{first:?}"));
    keep(&store, 1, "anew", &fresh).await.unwrap();
    assert_eq!(store.latest().get(&SECRETS, &1).await.unwrap().as_deref(), Some("anew"));
}

async fn a_destroyed_key_seals_nothing_more(store: Store) {
    let key = store.data_key(day(1)).await.unwrap();
    store.destroy_data_keys(&[day(1)]).await.unwrap();
    let error = keep(&store, 1, "late", &key).await.unwrap_err();
    assert!(matches!(error, CommitError::KeyDestroyed { table: "secrets" }), "{error}");
    assert_eq!(store.latest().get(&SECRETS, &1).await.unwrap(), None);
}

async fn hashes_differ_by_domain(store: Store) {
    assert_eq!(store.keyed_hash(1, b"name"), store.keyed_hash(1, b"name"));
    assert_ne!(store.keyed_hash(1, b"name"), store.keyed_hash(2, b"name"));
    assert_ne!(store.keyed_hash(1, b"name"), store.keyed_hash(1, b"game"));
    let other = Store::in_memory(crate::catalogue());
    assert_ne!(store.keyed_hash(1, b"name"), other.keyed_hash(1, b"name"));
}

#[tokio::test]
async fn keys_and_hashes_outlive_the_process() {
    let site = Site::new();
    let store = site.open().await;
    let key = format!("{:?}", store.data_key(day(1)).await.unwrap());
    keep(&store, 1, "one", &store.data_key(day(1)).await.unwrap()).await.unwrap();
    keep(&store, 2, "two", &store.data_key(day(2)).await.unwrap()).await.unwrap();
    let hash = store.keyed_hash(1, b"name");
    store.destroy_data_keys(&[day(2)]).await.unwrap();
    store.close().await;

    let store = site.open().await;
    assert_eq!(store.keyed_hash(1, b"name"), hash);
    assert_eq!(store.latest().get(&SECRETS, &1).await.unwrap().as_deref(), Some("one"));
    assert_eq!(store.latest().get(&SECRETS, &2).await, Err(ReadError::Shredded));
    assert_eq!(format!("{:?}", store.data_key(day(1)).await.unwrap()), key);
    let new = format!("{:?}", store.data_key(day(2)).await.unwrap());
    assert_ne!(new, key);
}

/// The wrapped key itself is gone from every file: nobody who later gets the master key can unwrap it.
#[tokio::test]
async fn a_destroyed_key_is_in_no_file() {
    let site = Site::new();
    let store = site.open().await;
    store.data_key(day(1)).await.unwrap();
    let mut batch = Batch::default();
    batch.put(&POINTS, &1, &"other data, which pins the log".to_owned());
    store.commit(batch).await.unwrap();
    store.close().await;

    // The newest key has the largest id: the last row of the store's table of keys, below its 0xF003.
    let wrapped = {
        let options = rocksdb::Options::default();
        let db = rocksdb::DB::open_cf_for_read_only(&options, site.keys().join("db"), ["default", "point"], false);
        let db = db.unwrap();
        let end = rocksdb::IteratorMode::From(&[0xF0, 0x04], rocksdb::Direction::Reverse);
        let (key, value) = db.iterator_cf(db.cf_handle("point").unwrap(), end).next().unwrap().unwrap();
        assert_eq!(key[..2], [0xF0, 0x03]);
        value[25..].to_vec()
    };
    let store = site.open().await;
    assert!(site.holds(&wrapped));
    store.destroy_data_keys(&[day(1)]).await.unwrap();
    assert!(!site.holds(&wrapped), "while it is open");
    store.close().await;
    assert!(!site.holds(&wrapped));
}
