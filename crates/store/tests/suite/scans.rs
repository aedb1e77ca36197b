//! Views and scans.

use wardroom_store::{Batch, Position, Scan, Store};

use crate::{LINES, POINTS, TEXTS, on_both_engines};

on_both_engines!(
    a_snapshot_does_not_move,
    the_position_of_a_snapshot_is_exactly_what_it_shows,
    many_keys_are_read_in_their_order,
    scans_stay_within_their_bounds,
    pages_continue_where_the_last_one_ended,
    tables_do_not_see_each_other,
);

async fn fill(store: &Store, keys: impl IntoIterator<Item = u64>) {
    let mut batch = Batch::default();
    for key in keys {
        batch.put(&POINTS, &key, &key.to_string());
    }
    store.commit(batch).await.unwrap();
}

async fn keys(store: &Store, scan: Scan) -> Vec<u64> {
    let keys = store.latest().scan_keys(&POINTS, scan.clone()).await.unwrap();
    let rows = store.snapshot().scan(&POINTS, scan).await.unwrap();
    assert_eq!(rows, keys.iter().map(|key| (*key, key.to_string())).collect::<Vec<_>>());
    keys
}

async fn a_snapshot_does_not_move(store: Store) {
    fill(&store, 0..5).await;
    let before = store.snapshot();
    let mut batch = Batch::default();
    batch.put(&POINTS, &0, &"changed".to_owned());
    batch.delete(&POINTS, &1);
    batch.delete_prefix(&POINTS, &4_u64);
    batch.put(&POINTS, &9, &"new".to_owned());
    store.commit(batch).await.unwrap();
    fill(&store, 20..30).await;

    let then: Vec<_> = (0..5_u64).map(|key| (key, key.to_string())).collect();
    assert_eq!(before.scan(&POINTS, Scan::all()).await.unwrap(), then);
    assert_eq!(before.get(&POINTS, &0).await.unwrap().as_deref(), Some("0"));
    assert_eq!(before.get(&POINTS, &9).await.unwrap(), None);
    let some = before.multi_get(&POINTS, &[1, 9, 4]).await.unwrap();
    assert_eq!(some, [Some("1".to_owned()), None, Some("4".to_owned())]);
    assert_eq!(store.snapshot().get(&POINTS, &0).await.unwrap().as_deref(), Some("changed"));
    assert_eq!(store.snapshot().get(&POINTS, &1).await.unwrap(), None);
}

/// While others write, each snapshot shows all commits up to its position and none behind it.
async fn the_position_of_a_snapshot_is_exactly_what_it_shows(store: Store) {
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                for _ in 0..50 {
                    let mut batch = Batch::default();
                    batch.put(&LINES, &(1, Position::COMMIT), &format!("writer {writer}"));
                    store.commit(batch).await.unwrap();
                }
            })
        })
        .collect();
    let first = store.opened_at().get() + 1;
    loop {
        let done = writers.iter().all(|writer| writer.is_finished());
        let snapshot = store.snapshot();
        let shown = snapshot.scan_keys(&LINES, Scan::all()).await.unwrap();
        let expected: Vec<_> = (first..=snapshot.position().get()).map(|number| (1, Position::new(number))).collect();
        assert_eq!(shown, expected);
        if done {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(store.position().get(), first + 399);
}

async fn many_keys_are_read_in_their_order(store: Store) {
    fill(&store, [3, 1, 2]).await;
    let read = store.latest().multi_get(&POINTS, &[2, 8, 1, 2]).await.unwrap();
    assert_eq!(read, [Some("2".to_owned()), None, Some("1".to_owned()), Some("2".to_owned())]);
    assert_eq!(store.latest().multi_get(&POINTS, &[]).await.unwrap(), Vec::<Option<String>>::new());
}

async fn scans_stay_within_their_bounds(store: Store) {
    fill(&store, 0..10).await;
    fill(&store, [u64::MAX, 1 << 40]).await;
    assert_eq!(keys(&store, Scan::all().limit(3)).await, [0, 1, 2]);
    assert_eq!(keys(&store, Scan::all().reverse().limit(3)).await, [u64::MAX, 1 << 40, 9]);
    assert_eq!(keys(&store, Scan::range(&3_u64, &6_u64)).await, [3, 4, 5]);
    assert_eq!(keys(&store, Scan::range(&3_u64, &6_u64).reverse()).await, [5, 4, 3]);
    assert_eq!(keys(&store, Scan::range(&6_u64, &3_u64)).await, [0; 0]);
    assert_eq!(keys(&store, Scan::range(&3_u64, &8_u64).after(&3_u64).before(&6_u64)).await, [4, 5]);
    assert_eq!(keys(&store, Scan::all().from(&9_u64).before(&(1_u64 << 40))).await, [9]);
    assert_eq!(keys(&store, Scan::all().after(&u64::MAX)).await, [0; 0]);
    assert_eq!(keys(&store, Scan::prefix(&[0xFF_u8; 8])).await, [u64::MAX]);
    assert_eq!(keys(&store, Scan::prefix(&0_u32).after(&8_u64)).await, [9]);
    assert_eq!(keys(&store, Scan::all().limit(0)).await, [0; 0]);
}

async fn pages_continue_where_the_last_one_ended(store: Store) {
    fill(&store, 0..25).await;
    let mut up = keys(&store, Scan::all().limit(10)).await;
    while let Some(last) = up.last().copied().filter(|_| up.len() % 10 == 0) {
        up.extend(keys(&store, Scan::all().after(&last).limit(10)).await);
    }
    assert_eq!(up, (0..25).collect::<Vec<_>>());
    let mut down = keys(&store, Scan::all().reverse().limit(10)).await;
    while let Some(last) = down.last().copied().filter(|_| down.len() % 10 == 0) {
        down.extend(keys(&store, Scan::all().before(&last).reverse().limit(10)).await);
    }
    assert_eq!(down, (0..25).rev().collect::<Vec<_>>());
}

async fn tables_do_not_see_each_other(store: Store) {
    let mut batch = Batch::default();
    batch.put(&POINTS, &u64::MAX, &"point".to_owned());
    batch.put(&LINES, &(0, Position::ZERO), &"line".to_owned());
    batch.put(&TEXTS, &0, &"text".to_owned());
    store.commit(batch).await.unwrap();
    let mut batch = Batch::default();
    batch.delete_prefix(&TEXTS, &());
    store.commit(batch).await.unwrap();
    assert_eq!(store.latest().scan_keys(&POINTS, Scan::all()).await.unwrap(), [u64::MAX]);
    assert_eq!(store.latest().scan_keys(&LINES, Scan::all().reverse()).await.unwrap(), [(0, Position::ZERO)]);
    assert_eq!(store.latest().scan_keys(&TEXTS, Scan::all()).await.unwrap(), [0; 0]);
}
