//! Waiting for what moves.

use std::time::Duration;

use tokio::time::timeout;
use wardroom_store::{Batch, Position, Store, WatchKey};

use crate::{POINTS, on_both_engines};

on_both_engines!(
    a_touch_wakes_those_who_wait_for_its_key,
    a_touch_between_registration_and_waiting_is_not_missed,
    who_registers_before_the_publishing_is_woken,
    the_last_touch_is_remembered,
    a_failed_commit_touches_nothing,
    who_is_woken_sees_the_commit,
    followers_see_every_position_or_a_later_one,
);

/// Much longer than anything here takes.
const SOON: Duration = Duration::from_secs(20);

fn room(id: u64) -> WatchKey {
    WatchKey { kind: 1, id }
}

async fn touch(store: &Store, key: WatchKey) -> Position {
    let mut batch = Batch::default();
    batch.touch(key);
    store.commit(batch).await.unwrap()
}

async fn a_touch_wakes_those_who_wait_for_its_key(store: Store) {
    let mut both = store.watches().waiter([room(1), room(2)]);
    let mut other = store.watches().waiter([room(3)]);
    let mut same = store.watches().waiter([room(2)]);
    touch(&store, room(2)).await;
    timeout(SOON, both.changed()).await.unwrap();
    timeout(SOON, same.changed()).await.unwrap();
    drop(same);
    touch(&store, room(1)).await;
    timeout(SOON, both.changed()).await.unwrap();
    // Each touch was told once, and the other key was none of them.
    tokio::select! {
        biased;
        () = both.changed() => panic!("woken twice"),
        () = other.changed() => panic!("woken for another key"),
        () = std::future::ready(()) => {}
    }
    touch(&store, room(3)).await;
    timeout(SOON, other.changed()).await.unwrap();
}

async fn a_touch_between_registration_and_waiting_is_not_missed(store: Store) {
    let mut waiter = store.watches().waiter([room(1)]);
    touch(&store, room(1)).await;
    touch(&store, room(1)).await;
    timeout(SOON, waiter.changed()).await.unwrap();
}

async fn the_last_touch_is_remembered(store: Store) {
    assert_eq!(store.watches().last(room(1)), Position::ZERO);
    let waiter = store.watches().waiter([room(1)]);
    assert_eq!(store.watches().last(room(1)), Position::ZERO);
    let first = touch(&store, room(1)).await;
    let second = touch(&store, room(2)).await;
    drop(waiter);
    assert_eq!(store.watches().last(room(1)), first);
    assert_eq!(store.watches().last(room(2)), second);
    assert!(first > store.opened_at());
}

async fn a_failed_commit_touches_nothing(store: Store) {
    let mut waiter = store.watches().waiter([room(1)]);
    let mut batch = Batch::default();
    batch.touch(room(1));
    batch.expect_version(&POINTS, &1, Some(Position::new(1)));
    store.commit(batch).await.unwrap_err();
    assert_eq!(store.watches().last(room(1)), Position::ZERO);
    tokio::select! {
        biased;
        () = waiter.changed() => panic!("woken by a failed commit"),
        () = std::future::ready(()) => {}
    }
}

async fn who_is_woken_sees_the_commit(store: Store) {
    let waiters: Vec<_> = (0..50)
        .map(|_| {
            let mut waiter = store.watches().waiter([room(1), room(2)]);
            let store = store.clone();
            tokio::spawn(async move {
                waiter.changed().await;
                assert!(store.position() >= store.watches().last(room(1)));
                store.snapshot().get(&POINTS, &1).await.unwrap()
            })
        })
        .collect();
    let mut batch = Batch::default();
    batch.put(&POINTS, &1, &"here".to_owned());
    batch.touch(room(1));
    store.commit(batch).await.unwrap();
    for waiter in waiters {
        assert_eq!(timeout(SOON, waiter).await.unwrap().unwrap().as_deref(), Some("here"));
    }
}

async fn followers_see_every_position_or_a_later_one(store: Store) {
    let mut follower = store.published();
    assert_eq!(*follower.borrow_and_update(), store.opened_at());
    for _ in 0..3 {
        let position = touch(&store, room(1)).await;
        timeout(SOON, follower.changed()).await.unwrap().unwrap();
        assert_eq!(*follower.borrow_and_update(), position);
    }
}

/// A waiter that is registered after a touch was noted and before it is published: here, by the hook of a later batch of
/// the same group. The committer is held until both batches wait for it.
async fn who_registers_before_the_publishing_is_woken(store: Store) {
    let (started, is_started) = std::sync::mpsc::channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let mut hold = Batch::default();
    hold.on_commit(move |_| {
        started.send(()).unwrap();
        released.lock().unwrap().recv().unwrap();
    });
    let mut touching = Batch::default();
    touching.touch(room(1));
    let slot = std::sync::Arc::new(std::sync::Mutex::new(None));
    let mut registering = Batch::default();
    let (watches, place) = (store.watches().clone(), std::sync::Arc::clone(&slot));
    registering.on_commit(move |_| *place.lock().unwrap() = Some(watches.waiter([room(1)])));

    let (mut held, mut first, mut second) =
        (Box::pin(store.commit(hold)), Box::pin(store.commit(touching)), Box::pin(store.commit(registering)));
    // Polled once, each is in the committer's queue.
    tokio::select! { biased; _ = &mut held => panic!("held"), () = std::future::ready(()) => {} }
    is_started.recv_timeout(SOON).unwrap();
    tokio::select! { biased; _ = &mut first => panic!("held"), () = std::future::ready(()) => {} }
    tokio::select! { biased; _ = &mut second => panic!("held"), () = std::future::ready(()) => {} }
    release.send(()).unwrap();
    held.await.unwrap();
    first.await.unwrap();
    second.await.unwrap();
    let mut waiter = slot.lock().unwrap().take().unwrap();
    timeout(SOON, waiter.changed()).await.unwrap();
}
