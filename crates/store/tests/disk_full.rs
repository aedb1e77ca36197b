//! A disk that fills up and empties again, for real.
//!
//! Needs a file system of its own, so it runs on request only, as root:
//!
//! ```text
//! mount -t tmpfs -o size=160m tmpfs /mnt/small
//! WARDROOM_SMALL_DISK=/mnt/small cargo test -p wardroom-store --test disk_full -- --ignored
//! umount /mnt/small
//! ```
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    path::Path,
    time::{Duration, Instant},
};

use wardroom_store::{Batch, Catalogue, CommitError, MasterKey, Options, Profile, Scan, Seal, Store, Table, WatchKey};

const ROWS: Table<u64, Vec<u8>> = Table::new(1, "rows", Profile::Scan, Seal::System);
/// What a colleague keeps on the disk and removes in time.
const BALLAST_BYTES: usize = 60 << 20;
const ROW_BYTES: usize = 64 << 10;
/// RocksDB looks for space every five seconds.
const RECOVERY_MAX: Duration = Duration::from_secs(30);

async fn open(dir: &Path, key: &MasterKey, min_free_bytes: u64) -> Store {
    let catalogue = Catalogue::new(&[&[*ROWS.spec()]]).unwrap();
    let options = Options { min_free_bytes, write_buffer_bytes: 8 << 20, ..Options::default() };
    Store::open(dir, key, catalogue, options).await.unwrap()
}

async fn write(store: &Store, number: u64) -> Result<(), CommitError> {
    let mut batch = Batch::default();
    batch.put(&ROWS, &number, &vec![number.to_le_bytes()[0]; ROW_BYTES]);
    store.commit(batch).await.map(drop)
}

/// Fills the disk, lets space return, and checks that nothing acknowledged was lost and nothing else appeared.
async fn fill_and_recover(name: &str, min_free_bytes: u64) {
    let base = std::env::var("WARDROOM_SMALL_DISK").unwrap();
    let dir = Path::new(&base).join(name);
    let ballast = Path::new(&base).join("ballast");
    std::fs::write(&ballast, vec![1; BALLAST_BYTES]).unwrap();
    let key = MasterKey::generate();
    let store = open(&dir, &key, min_free_bytes).await;

    let mut acknowledged = Vec::new();
    let mut number = 0;
    let error = loop {
        match write(&store, number).await {
            Ok(()) => acknowledged.push(number),
            Err(error) => break error,
        }
        number += 1;
    };
    assert!(matches!(error, CommitError::DiskFull), "{error}");
    assert!(acknowledged.len() > 10);

    // While the disk is full: writes are refused, reads and commits without writes go on.
    for _ in 0..20 {
        number += 1;
        assert!(matches!(write(&store, number).await, Err(CommitError::DiskFull)));
    }
    assert_eq!(store.latest().scan_keys(&ROWS, Scan::all()).await.unwrap(), acknowledged);
    assert_eq!(store.latest().get(&ROWS, &3).await.unwrap(), Some(vec![3; ROW_BYTES]));
    let mut ephemeral = Batch::default();
    ephemeral.touch(WatchKey { kind: 1, id: 1 });
    store.commit(ephemeral).await.unwrap();

    std::fs::remove_file(&ballast).unwrap();
    let freed = Instant::now();
    loop {
        number += 1;
        match write(&store, number).await {
            Ok(()) => break acknowledged.push(number),
            Err(error) => assert!(matches!(error, CommitError::DiskFull), "{error}"),
        }
        assert!(freed.elapsed() < RECOVERY_MAX, "no recovery without a restart");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for _ in 0..20 {
        number += 1;
        write(&store, number).await.unwrap();
        acknowledged.push(number);
    }
    assert_eq!(store.latest().scan_keys(&ROWS, Scan::all()).await.unwrap(), acknowledged);
    store.close().await;

    let store = open(&dir, &key, 0).await;
    let rows = store.latest().scan(&ROWS, Scan::all()).await.unwrap();
    assert_eq!(rows.iter().map(|(key, _)| *key).collect::<Vec<_>>(), acknowledged);
    assert!(rows.iter().all(|(key, row)| *row == vec![key.to_le_bytes()[0]; ROW_BYTES]));
    store.close().await;
    std::fs::remove_dir_all(&dir).unwrap();
}

#[tokio::test]
#[ignore = "needs a small file system"]
async fn a_full_disk_refuses_writes_until_there_is_space() {
    // The store stops in time ...
    fill_and_recover("guarded", 32 << 20).await;
    // ... and survives when somebody else takes the last bytes.
    fill_and_recover("unguarded", 0).await;
}
