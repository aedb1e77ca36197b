//! Names and numbers.

use wardroom_store::{Batch, Position, Store};

use crate::{POINTS, Site, on_both_engines};

on_both_engines!(
    names_are_interned_once,
    namespaces_are_apart,
    a_name_stays_pending_when_its_batch_fails,
    names_interned_at_once_by_many_get_one_number,
    unknown_names_and_numbers_are_absent,
);

async fn intern(store: &Store, ns: u8, name: &str) -> u64 {
    let mut batch = Batch::default();
    let nid = store.interner().intern(&mut batch, ns, name).await.unwrap();
    store.commit(batch).await.unwrap();
    nid
}

async fn names_are_interned_once(store: Store) {
    assert_eq!(intern(&store, 1, "@alice:example.org").await, 1);
    assert_eq!(intern(&store, 1, "@bob:example.org").await, 2);
    let mut batch = Batch::default();
    assert_eq!(store.interner().intern(&mut batch, 1, "@alice:example.org").await.unwrap(), 1);
    assert!(batch.is_empty(), "a known name costs nothing");
    assert_eq!(store.interner().lookup(1, "@bob:example.org").await.unwrap(), Some(2));
    assert_eq!(store.interner().resolve(1, 2).await.unwrap().as_deref(), Some("@bob:example.org"));
    let names = store.interner().resolve_many(1, &[2, 7, 1]).await.unwrap();
    let names: Vec<_> = names.iter().map(|name| name.as_deref()).collect();
    assert_eq!(names, [Some("@bob:example.org"), None, Some("@alice:example.org")]);
}

async fn namespaces_are_apart(store: Store) {
    assert_eq!(intern(&store, 1, "same").await, 1);
    assert_eq!(intern(&store, 1, "other").await, 2);
    assert_eq!(intern(&store, 2, "same").await, 1);
    assert_eq!(store.interner().lookup(3, "same").await.unwrap(), None);
}

async fn a_name_stays_pending_when_its_batch_fails(store: Store) {
    let mut failing = Batch::default();
    let nid = store.interner().intern(&mut failing, 1, "name").await.unwrap();
    assert_eq!(store.interner().lookup(1, "name").await.unwrap(), None, "not committed yet");

    let mut other = Batch::default();
    assert_eq!(store.interner().intern(&mut other, 1, "name").await.unwrap(), nid);
    failing.expect_version(&POINTS, &1, Some(Position::new(1)));
    store.commit(failing).await.unwrap_err();
    assert_eq!(store.interner().lookup(1, "name").await.unwrap(), None);
    assert_eq!(store.interner().resolve(1, nid).await.unwrap(), None);

    store.commit(other).await.unwrap();
    assert_eq!(store.interner().lookup(1, "name").await.unwrap(), Some(nid));
    assert_eq!(store.interner().resolve(1, nid).await.unwrap().as_deref(), Some("name"));
}

async fn names_interned_at_once_by_many_get_one_number(store: Store) {
    let tasks: Vec<_> = (0..40)
        .map(|task| {
            let store = store.clone();
            tokio::spawn(async move { (task % 4, intern(&store, 1, &format!("name {}", task % 4)).await) })
        })
        .collect();
    let mut nids = [None; 4];
    for task in tasks {
        let (name, nid) = task.await.unwrap();
        assert_eq!(*nids[name].get_or_insert(nid), nid);
    }
    let mut given: Vec<_> = nids.into_iter().map(Option::unwrap).collect();
    given.sort_unstable();
    assert_eq!(given, [1, 2, 3, 4]);
}

async fn unknown_names_and_numbers_are_absent(store: Store) {
    assert_eq!(store.interner().lookup(1, "nobody").await.unwrap(), None);
    assert_eq!(store.interner().resolve(1, 1).await.unwrap(), None);
    assert_eq!(store.interner().resolve_many(1, &[]).await.unwrap(), []);
}

#[tokio::test]
async fn numbers_go_on_after_a_restart() {
    let site = Site::new();
    let store = site.open().await;
    for name in ["a", "b", "c"] {
        intern(&store, 1, name).await;
    }
    intern(&store, 200, "z").await;
    let mut lost = Batch::default();
    assert_eq!(store.interner().intern(&mut lost, 1, "never committed").await.unwrap(), 4);
    store.close().await;

    let store = site.open().await;
    assert_eq!(store.interner().lookup(1, "b").await.unwrap(), Some(2));
    assert_eq!(store.interner().resolve(200, 1).await.unwrap().as_deref(), Some("z"));
    assert_eq!(intern(&store, 1, "d").await, 4);
    assert_eq!(intern(&store, 200, "y").await, 2);
    assert_eq!(intern(&store, 7, "first").await, 1);
}
