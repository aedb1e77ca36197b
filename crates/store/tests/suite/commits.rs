//! Batches: all or nothing, in one order, under preconditions.

use std::sync::{Arc, Mutex};

use wardroom_store::{Batch, COMMIT_BYTES_MAX, CommitError, Packed, Position, Profile, Scan, Seal, Store, Table};

use crate::{LINES, POINTS, SECRETS, on_both_engines};

on_both_engines!(
    a_batch_is_visible_at_once_and_only_when_committed,
    later_changes_of_a_batch_win,
    a_failed_precondition_changes_nothing,
    versions_are_the_positions_of_commits,
    batches_of_one_group_see_each_other,
    a_deleted_prefix_is_absent_for_preconditions,
    keys_take_the_position_of_the_commit,
    a_batch_without_writes_gets_a_position,
    hooks_run_in_order_before_the_position_is_published,
    a_panicking_hook_stops_nothing,
    appended_batches_are_one,
    concurrent_commits_all_get_their_own_position,
    what_cannot_be_committed_is_refused,
    a_closed_store_refuses_commits_and_serves_reads,
);

fn point(key: u64, value: &str) -> Batch {
    let mut batch = Batch::default();
    batch.put(&POINTS, &key, &value.to_owned());
    batch
}

async fn read(store: &Store, key: u64) -> Option<String> {
    store.latest().get(&POINTS, &key).await.unwrap()
}

async fn a_batch_is_visible_at_once_and_only_when_committed(store: Store) {
    let mut batch = point(1, "one");
    batch.put(&LINES, &(7, Position::new(3)), &"line".to_owned());
    assert_eq!(read(&store, 1).await, None);
    let before = store.position();
    let position = store.commit(batch).await.unwrap();
    assert!(position > before);
    assert_eq!(store.position(), position);
    assert_eq!(read(&store, 1).await.as_deref(), Some("one"));
    assert_eq!(store.latest().get(&LINES, &(7, Position::new(3))).await.unwrap().as_deref(), Some("line"));
}

async fn later_changes_of_a_batch_win(store: Store) {
    let mut batch = point(1, "first");
    batch.put(&POINTS, &1, &"second".to_owned());
    batch.put(&POINTS, &2, &"gone".to_owned());
    batch.delete(&POINTS, &2);
    batch.delete_prefix(&POINTS, &());
    batch.put(&POINTS, &3, &"stays".to_owned());
    store.commit(point(4, "before")).await.unwrap();
    store.commit(batch).await.unwrap();
    let rows = store.latest().scan(&POINTS, Scan::all()).await.unwrap();
    assert_eq!(rows, [(3, "stays".to_owned())]);
}

async fn a_failed_precondition_changes_nothing(store: Store) {
    let version = store.commit(point(1, "one")).await.unwrap();
    let hooks = Arc::new(Mutex::new(0));

    let mut batch = point(2, "two");
    batch.expect_absent(&POINTS, &1);
    let count = Arc::clone(&hooks);
    batch.on_commit(move |_| *count.lock().unwrap() += 1);
    let error = store.commit(batch).await.unwrap_err();
    assert!(matches!(error, CommitError::Conflict { table: "points" }), "{error}");

    let mut batch = point(2, "two");
    batch.expect_version(&POINTS, &1, Some(Position::new(version.get() - 1)));
    assert!(matches!(store.commit(batch).await, Err(CommitError::Conflict { .. })));
    assert_eq!(read(&store, 2).await, None);
    assert_eq!(store.position(), version);

    let mut batch = point(1, "changed");
    batch.expect_version(&POINTS, &1, Some(version));
    batch.expect_absent(&POINTS, &2);
    let position = store.commit(batch).await.unwrap();
    assert_eq!(position.get(), version.get() + 1, "a refused batch takes no position");
    assert_eq!(read(&store, 1).await.as_deref(), Some("changed"));
    assert_eq!(*hooks.lock().unwrap(), 0);
    assert_eq!(store.stats().conflicts, 2);
}

async fn versions_are_the_positions_of_commits(store: Store) {
    let first = store.commit(point(1, "one")).await.unwrap();
    store.commit(point(2, "two")).await.unwrap();
    let read = store.latest().get_versioned(&POINTS, &1).await.unwrap();
    assert_eq!(read, Some(("one".to_owned(), first)));
    let third = store.commit(point(1, "uno")).await.unwrap();
    assert_eq!(store.latest().get_versioned(&POINTS, &1).await.unwrap(), Some(("uno".to_owned(), third)));
}

/// Of many that want to be first, sent at once, exactly one is.
async fn batches_of_one_group_see_each_other(store: Store) {
    let tasks: Vec<_> = (0..64)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut batch = point(1, &format!("writer {writer}"));
                batch.expect_absent(&POINTS, &1);
                store.commit(batch).await
            })
        })
        .collect();
    let mut winners = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => winners += 1,
            Err(error) => assert!(matches!(error, CommitError::Conflict { .. }), "{error}"),
        }
    }
    assert_eq!(winners, 1);
}

async fn a_deleted_prefix_is_absent_for_preconditions(store: Store) {
    store.commit(point(1, "one")).await.unwrap();
    let mut wipe = Batch::default();
    wipe.delete_prefix(&POINTS, &());
    let mut absent = point(2, "two");
    absent.expect_absent(&POINTS, &1);
    let mut present = Batch::default();
    present.expect_version(&POINTS, &2, None);
    // Likely, not certainly, one group; true in either case.
    let (wiped, first, second) = tokio::join!(store.commit(wipe), store.commit(absent), store.commit(present));
    wiped.unwrap();
    first.unwrap();
    assert!(matches!(second, Err(CommitError::Conflict { .. })));
}

async fn keys_take_the_position_of_the_commit(store: Store) {
    let mut batch = Batch::default();
    batch.put(&LINES, &(1, Position::COMMIT), &"first".to_owned());
    batch.put(&LINES, &(2, Position::COMMIT), &"elsewhere".to_owned());
    let first = store.commit(batch).await.unwrap();
    let mut batch = Batch::default();
    batch.put(&LINES, &(1, Position::COMMIT), &"second".to_owned());
    let second = store.commit(batch).await.unwrap();
    let rows = store.latest().scan(&LINES, Scan::prefix(&1_u64)).await.unwrap();
    assert_eq!(rows, [((1, first), "first".to_owned()), ((1, second), "second".to_owned())]);

    let mut batch = Batch::default();
    batch.delete(&LINES, &(1, first));
    store.commit(batch).await.unwrap();
    assert_eq!(store.latest().scan_keys(&LINES, Scan::prefix(&1_u64)).await.unwrap(), [(1, second)]);
}

async fn a_batch_without_writes_gets_a_position(store: Store) {
    let first = store.commit(Batch::default()).await.unwrap();
    let second = store.commit(Batch::default()).await.unwrap();
    assert_eq!(second.get(), first.get() + 1);
    assert_eq!(store.position(), second);
    assert_eq!(store.snapshot().position(), second);
    assert_eq!(store.stats().groups, 0, "nothing to write");
    assert_eq!(store.stats().commits, 2);
}

async fn hooks_run_in_order_before_the_position_is_published(store: Store) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let tasks: Vec<_> = (0..100)
        .map(|key| {
            let (store, seen, observer) = (store.clone(), Arc::clone(&seen), store.published());
            tokio::spawn(async move {
                let mut batch = if key % 3 == 0 { Batch::default() } else { point(key, "value") };
                batch.on_commit(move |position| {
                    assert!(*observer.borrow() < position, "not published yet");
                    seen.lock().unwrap().push(position);
                });
                store.commit(batch).await.unwrap()
            })
        })
        .collect();
    let mut positions = Vec::new();
    for task in tasks {
        positions.push(task.await.unwrap());
    }
    let seen = seen.lock().unwrap().clone();
    assert!(seen.is_sorted());
    positions.sort();
    assert_eq!(seen, positions);
    assert_eq!(Some(&store.position()), seen.last());
}

async fn a_panicking_hook_stops_nothing(store: Store) {
    let mut batch = point(1, "one");
    batch.on_commit(|_| panic!("a hook's mistake"));
    let ran = Arc::new(Mutex::new(false));
    let flag = Arc::clone(&ran);
    batch.on_commit(move |_| *flag.lock().unwrap() = true);
    let first = store.commit(batch).await.unwrap();
    let second = store.commit(point(2, "two")).await.unwrap();
    assert_eq!(second.get(), first.get() + 1);
    assert!(*ran.lock().unwrap());
}

async fn appended_batches_are_one(store: Store) {
    let mut first = point(1, "one");
    first.put(&LINES, &(1, Position::COMMIT), &"first".to_owned());
    let mut second = point(2, "two");
    second.put(&LINES, &(2, Position::COMMIT), &"second".to_owned());
    second.delete(&POINTS, &1);
    second.expect_absent(&POINTS, &9);
    let count = Arc::new(Mutex::new(0));
    for batch in [&mut first, &mut second] {
        let count = Arc::clone(&count);
        batch.on_commit(move |_| *count.lock().unwrap() += 1);
    }
    first.append(second);
    let position = store.commit(first).await.unwrap();
    assert_eq!(*count.lock().unwrap(), 2);
    assert_eq!(store.latest().scan_keys(&POINTS, Scan::all()).await.unwrap(), [2]);
    let lines = store.latest().scan(&LINES, Scan::all()).await.unwrap();
    assert_eq!(lines, [((1, position), "first".to_owned()), ((2, position), "second".to_owned())]);
}

async fn concurrent_commits_all_get_their_own_position(store: Store) {
    let tasks: Vec<_> = (0..200)
        .map(|key| {
            let store = store.clone();
            tokio::spawn(async move { store.commit(point(key, "value")).await.unwrap() })
        })
        .collect();
    let mut positions = Vec::new();
    for task in tasks {
        positions.push(task.await.unwrap().get());
    }
    positions.sort_unstable();
    let first = store.opened_at().get() + 1;
    assert_eq!(positions, (first..first + 200).collect::<Vec<_>>());
    assert_eq!(store.latest().scan_keys(&POINTS, Scan::all()).await.unwrap().len(), 200);
}

async fn what_cannot_be_committed_is_refused(store: Store) {
    let mut large = Batch::default();
    let piece = "x".repeat(COMMIT_BYTES_MAX / 4);
    for key in 0..5 {
        large.put(&POINTS, &key, &piece);
    }
    assert!(matches!(store.commit(large).await, Err(CommitError::TooLarge)));

    let mut deletions = Batch::default();
    for key in 0..=COMMIT_BYTES_MAX as u64 / 10 {
        deletions.delete(&POINTS, &key);
    }
    assert!(matches!(store.commit(deletions).await, Err(CommitError::TooLarge)));

    const UNKNOWN: Table<u64, Packed<u8>> = Table::new(99, "unknown", Profile::Point, Seal::System);
    let mut undeclared = Batch::default();
    undeclared.put(&UNKNOWN, &1, &Packed(1));
    assert!(matches!(store.commit(undeclared).await, Err(CommitError::WrongTable { table: "unknown" })));

    let mut unsealed = Batch::default();
    unsealed.put(&SECRETS, &1, &"secret".to_owned());
    assert!(matches!(store.commit(unsealed).await, Err(CommitError::WrongTable { table: "secrets" })));
    assert_eq!(store.position(), store.opened_at());
}

async fn a_closed_store_refuses_commits_and_serves_reads(store: Store) {
    store.commit(point(1, "one")).await.unwrap();
    let waiting: Vec<_> = (10..50)
        .map(|key| {
            let store = store.clone();
            tokio::spawn(async move { store.commit(point(key, "value")).await })
        })
        .collect();
    tokio::task::yield_now().await;
    store.clone().close().await;
    for (key, commit) in (10..50).zip(waiting) {
        // Either way the answer is true.
        let committed = commit.await.unwrap().is_ok();
        assert_eq!(read(&store, key).await.is_some(), committed);
    }
    assert!(matches!(store.commit(point(2, "two")).await, Err(CommitError::Closed)));
    assert_eq!(read(&store, 1).await.as_deref(), Some("one"));
}
