//! Opening, crashing, migrating, copying.

use std::time::Duration;

use wardroom_store::{
    Batch, CommitError, MasterKey, Migration, OpenError, Options, POSITION_LEAP, Position, Scan, Store, WatchKey,
};

use crate::{LINES, POINTS, Site, catalogue};

async fn line(store: &Store, text: &str) -> Position {
    let mut batch = Batch::default();
    batch.put(&LINES, &(1, Position::COMMIT), &text.to_owned());
    store.commit(batch).await.unwrap()
}

async fn lines(store: &Store) -> Vec<(Position, String)> {
    let rows = store.latest().scan(&LINES, Scan::all()).await.unwrap();
    rows.into_iter().map(|((_, position), text)| (position, text)).collect()
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_crash() {
    let site = Site::new();
    let store = site.open().await;
    let mut acknowledged = Vec::new();
    for number in 0..50 {
        let text = format!("line {number}");
        acknowledged.push((line(&store, &text).await, text));
        if number % 10 == 0 {
            let crashed = site.crashed();
            assert_eq!(lines(&crashed.open().await).await, acknowledged);
        }
    }
    // Dropped without being closed.
    drop(store);
    assert_eq!(lines(&site.open().await).await, acknowledged);
}

#[tokio::test]
async fn rows_that_are_not_there_are_not_found_in_cold_tables() {
    const ROWS: u64 = 20_000;
    let site = Site::new();
    let store = site.open().await;
    for first in (0..ROWS).step_by(1_000) {
        let mut batch = Batch::default();
        for row in first..first + 1_000 {
            batch.put(&POINTS, &(2 * row), &"there".to_owned());
        }
        store.commit(batch).await.unwrap();
    }
    drop(store);
    // What the log held lies in tables now, of which nothing is in memory.
    let store = site.open().await;
    for first in (0..ROWS).step_by(100) {
        let keys: Vec<u64> = (first..first + 100).map(|row| 2 * row + 1).collect();
        let found = store.latest().multi_get(&POINTS, &keys).await;
        assert_eq!(found, Ok(vec![None; keys.len()]), "from row {first}");
    }
}

#[tokio::test]
async fn a_torn_end_of_the_log_loses_only_what_was_torn() {
    let site = Site::new();
    let store = site.open().await;
    let mut acknowledged = Vec::new();
    for number in 0..20 {
        let text = format!("line {number}");
        acknowledged.push((line(&store, &text).await, text));
    }
    let crashed = site.crashed();
    let files = std::fs::read_dir(crashed.database()).unwrap().map(|file| file.unwrap().path());
    let log = files.filter(|path| path.extension().is_some_and(|end| end == "log")).max().unwrap();
    let log = std::fs::OpenOptions::new().write(true).open(log).unwrap();
    log.set_len(log.metadata().unwrap().len() - 10).unwrap();
    drop(log);
    assert_eq!(lines(&crashed.open().await).await, acknowledged[..19]);
}

#[tokio::test]
async fn positions_leap_over_those_that_a_crash_forgot() {
    let site = Site::new();
    let store = site.open().await;
    let durable = line(&store, "durable").await;
    for _ in 0..5 {
        store.commit(Batch::default()).await.unwrap();
    }
    let crashed = site.crashed();
    let reopened = crashed.open().await;
    assert_eq!(reopened.opened_at().get(), durable.get() + POSITION_LEAP);
    assert_eq!(reopened.position(), reopened.opened_at());
    assert!(line(&reopened, "next").await > store.position());
    // A run without any commit leaps as well: what it may have handed out is not known.
    let again = crashed.crashed();
    let before = reopened.position();
    assert_eq!(again.open().await.opened_at().get(), before.get() + POSITION_LEAP);
}

#[tokio::test]
async fn a_store_is_open_once() {
    let site = Site::new();
    let store = site.open().await;
    assert!(matches!(site.try_open(Options::default()).await, Err(OpenError::Locked)));
    store.close().await;
    site.open().await;
}

#[tokio::test]
async fn another_master_key_is_refused() {
    let mut site = Site::new();
    let store = site.open().await;
    let position = line(&store, "line").await;
    store.close().await;
    let key = std::mem::replace(&mut site.key, MasterKey::generate());
    assert!(matches!(site.try_open(Options::default()).await, Err(OpenError::WrongMasterKey)));
    site.key = MasterKey::from_base64(&key.to_base64()).unwrap();
    assert_eq!(lines(&site.open().await).await, [(position, "line".to_owned())]);
}

fn shout(
    store: &Store,
) -> std::pin::Pin<Box<dyn Future<Output = Result<(), wardroom_store::MigrationError>> + Send + '_>> {
    Box::pin(async move {
        let mut batch = Batch::default();
        for ((group, position), text) in store.latest().scan(&LINES, Scan::all()).await? {
            batch.put(&LINES, &(group, position), &text.to_uppercase());
        }
        store.commit(batch).await?;
        Ok(())
    })
}

fn fail(_: &Store) -> std::pin::Pin<Box<dyn Future<Output = Result<(), wardroom_store::MigrationError>> + Send + '_>> {
    Box::pin(async { Err("not today".into()) })
}

const SHOUT: Migration = Migration { from: 1, name: "shout", run: shout };
const FAIL: Migration = Migration { from: 2, name: "fail", run: fail };
const SHOUT_AGAIN: Migration = Migration { from: 2, name: "shout again", run: shout };

fn with(migrations: &[Migration]) -> Options {
    Options { migrations: migrations.to_vec(), ..Options::default() }
}

#[tokio::test]
async fn an_old_store_is_migrated_once() {
    let site = Site::new();
    let store = site.open().await;
    line(&store, "quiet").await;
    store.close().await;

    let error = site.try_open(with(&[SHOUT, FAIL])).await.unwrap_err();
    assert!(matches!(error, OpenError::Migration { name: "fail", .. }), "{error}");
    let store = site.try_open(with(&[SHOUT])).await.unwrap();
    assert_eq!(lines(&store).await[0].1, "QUIET");
    line(&store, "still quiet").await;
    store.close().await;
    let store = site.try_open(with(&[SHOUT])).await.unwrap();
    assert_eq!(lines(&store).await[1].1, "still quiet", "migrated once, not at each start");
    store.close().await;
    let store = site.try_open(with(&[SHOUT, SHOUT_AGAIN])).await.unwrap();
    assert_eq!(lines(&store).await[1].1, "STILL QUIET");
    store.close().await;

    let error = site.try_open(with(&[SHOUT])).await.unwrap_err();
    assert!(matches!(error, OpenError::NewerSchema { found: 3, known: 2 }), "{error}");
}

#[tokio::test]
async fn a_new_store_needs_no_migration() {
    let site = Site::new();
    site.try_open(with(&[SHOUT, FAIL])).await.unwrap().close().await;
    let error = site.try_open(with(&[SHOUT])).await.unwrap_err();
    assert!(matches!(error, OpenError::NewerSchema { found: 3, known: 2 }), "{error}");
    let gap = site.try_open(with(&[FAIL])).await.unwrap_err();
    assert!(matches!(gap, OpenError::Migrations { expected: 1, found: 2 }), "{gap}");
}

#[tokio::test]
async fn a_checkpoint_opens_like_the_original() {
    let site = Site::new();
    let store = site.open().await;
    let first = line(&store, "before").await;
    let copy = Site { dir: tempfile::tempdir().unwrap(), key: site.key.clone() };
    let writer = {
        let store = store.clone();
        tokio::spawn(async move {
            for number in 0..50 {
                line(&store, &format!("during {number}")).await;
            }
        })
    };
    store.checkpoint(&copy.database()).await.unwrap();
    store.copy_keys(&copy.keys()).await.unwrap();
    writer.await.unwrap();
    assert!(
        store.checkpoint(&copy.database()).await.is_err() && store.copy_keys(&copy.keys()).await.is_err(),
        "never over something else"
    );

    let opened = copy.open().await;
    let copied = lines(&opened).await;
    assert_eq!(copied[0], (first, "before".to_owned()));
    assert_eq!(copied, lines(&store).await[..copied.len()], "a prefix of the log");
    line(&opened, "a life of its own").await;
}

#[tokio::test]
async fn the_system_key_is_replaced_when_it_is_old() {
    let site = Site::new();
    let now = 1_700_000_000;
    let at = |seconds| Options { now_unix_seconds: seconds, ..Options::default() };
    let store = site.try_open(at(now)).await.unwrap();
    let first = line(&store, "old key").await;
    store.close().await;
    let month = Duration::from_secs(31 * 24 * 60 * 60).as_secs();
    for start in [now + 1, now + month, now + month + 1, now + 2 * month] {
        let store = site.try_open(at(start)).await.unwrap();
        line(&store, "newer key").await;
        store.close().await;
    }
    let store = site.open().await;
    assert_eq!(lines(&store).await[0], (first, "old key".to_owned()));
    assert_eq!(lines(&store).await.len(), 5);
}

#[tokio::test]
async fn writes_need_free_space_and_reads_do_not() {
    let site = Site::new();
    let store = site.open().await;
    let first = line(&store, "while there was space").await;
    store.close().await;
    let store = site.try_open(Options { min_free_bytes: u64::MAX, ..Options::default() }).await.unwrap();
    let mut batch = Batch::default();
    batch.put(&POINTS, &1, &"more".to_owned());
    assert!(matches!(store.commit(batch).await, Err(CommitError::DiskFull)));
    assert_eq!(lines(&store).await, [(first, "while there was space".to_owned())]);
    let mut ephemeral = Batch::default();
    ephemeral.touch(WatchKey { kind: 1, id: 1 });
    store.commit(ephemeral).await.unwrap();
}

#[tokio::test]
async fn a_directory_that_cannot_be_made_is_an_error() {
    let site = Site::new();
    let file = site.dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let opened = Store::open(&file.join("store"), &site.key, catalogue(), Options::default()).await;
    assert!(matches!(opened, Err(OpenError::Io(_))));
}

#[tokio::test]
async fn reads_from_disk_leave_the_callers_thread() {
    let site = Site::new();
    let store = site.open().await;
    let mut expected = Vec::new();
    for number in 0..100 {
        let text = format!("line {number}");
        expected.push((line(&store, &text).await, text));
    }
    store.close().await;
    let store = site.open().await;
    let key = (1, expected[50].0);
    let before = store.snapshot();
    assert_eq!(before.get(&LINES, &key).await.unwrap().as_ref(), Some(&expected[50].1));
    let cold = store.stats();
    assert!(cold.reads_blocking >= 1, "{cold:?}");
    assert_eq!(before.get(&LINES, &key).await.unwrap().as_ref(), Some(&expected[50].1));
    assert_eq!(lines(&store).await, expected);
    let warm = store.stats();
    assert!(warm.reads_inline > cold.reads_inline, "{warm:?}");
}
