//! Random work on both engines, compared with ordered maps.

use std::collections::BTreeMap;

use proptest::prelude::*;
use wardroom_store::{Batch, CommitError, Options, Position, Scan, Store, View};

use crate::{Site, TEXTS};

/// Few keys, so that work meets.
const KEYS: u64 = 12;

#[derive(Debug, Clone)]
enum Change {
    Put(u64, String),
    Delete(u64),
    /// Keys that begin with all but the last byte of this one: all of them.
    DeleteAll,
}

#[derive(Debug, Clone)]
enum Step {
    /// Changes, if these keys are present or absent as said.
    Commit(Vec<Change>, Vec<(u64, bool)>),
    Snapshot,
    Reopen,
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        6 => (0..KEYS, "[a-z]{0,4}").prop_map(|(key, word)| Change::Put(key, word.repeat(60))),
        3 => (0..KEYS).prop_map(Change::Delete),
        1 => Just(Change::DeleteAll),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let commit = (prop::collection::vec(change(), 0..6), prop::collection::vec((0..KEYS, any::<bool>()), 0..2));
    prop_oneof![
        12 => commit.prop_map(|(changes, expected)| Step::Commit(changes, expected)),
        2 => Just(Step::Snapshot),
        1 => Just(Step::Reopen),
    ]
}

type Model = BTreeMap<u64, (String, Position)>;

async fn compare(view: &View, model: &Model) {
    let rows = view.scan(&TEXTS, Scan::all()).await.unwrap();
    let expected: Vec<_> = model.iter().map(|(key, (value, _))| (*key, value.clone())).collect();
    assert_eq!(rows, expected);
    let back = view.scan_keys(&TEXTS, Scan::range(&3_u64, &9_u64).reverse()).await.unwrap();
    assert_eq!(back, model.range(3..9).rev().map(|(key, _)| *key).collect::<Vec<_>>());
    for key in 0..KEYS {
        assert_eq!(view.get_versioned(&TEXTS, &key).await.unwrap().as_ref(), model.get(&key));
    }
}

async fn commit(store: &Store, model: &mut Model, changes: &[Change], expected: &[(u64, bool)]) {
    let mut batch = Batch::default();
    let mut holds = true;
    for (key, present) in expected {
        let version = model.get(key).map(|(_, version)| *version);
        if *present {
            batch.expect_version(&TEXTS, key, version.or(Some(Position::new(1))));
            holds &= version.is_some();
        } else {
            batch.expect_absent(&TEXTS, key);
            holds &= version.is_none();
        }
    }
    for change in changes {
        match change {
            Change::Put(key, value) => batch.put(&TEXTS, key, value),
            Change::Delete(key) => batch.delete(&TEXTS, key),
            Change::DeleteAll => batch.delete_prefix(&TEXTS, &[0_u8; 7]),
        }
    }
    match store.commit(batch).await {
        Ok(position) => {
            assert!(holds);
            for change in changes {
                match change {
                    Change::Put(key, value) => drop(model.insert(*key, (value.clone(), position))),
                    Change::Delete(key) => drop(model.remove(key)),
                    Change::DeleteAll => model.clear(),
                }
            }
        }
        Err(error) => assert!(!holds && matches!(error, CommitError::Conflict { .. }), "{error}"),
    }
}

async fn play(steps: Vec<Step>, site: Option<Site>) {
    let open = async || match &site {
        Some(site) => site.try_open(Options { sync: false, ..Options::default() }).await.unwrap(),
        None => Store::in_memory(crate::catalogue()),
    };
    let mut store = open().await;
    let mut model = Model::new();
    let mut snapshots: Vec<(View, Model)> = Vec::new();
    for step in steps {
        match step {
            Step::Commit(changes, expected) => commit(&store, &mut model, &changes, &expected).await,
            Step::Snapshot => snapshots.push((store.snapshot(), model.clone())),
            Step::Reopen if site.is_some() => {
                // Views keep the engine open.
                snapshots.clear();
                store.close().await;
                store = open().await;
            }
            Step::Reopen => snapshots.clear(),
        }
        compare(&store.latest(), &model).await;
        compare(&store.snapshot(), &model).await;
    }
    for (view, model) in &snapshots {
        compare(view, model).await;
    }
}

fn run(steps: Vec<Step>, site: Option<Site>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(play(steps, site));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn the_memory_engine_is_an_ordered_map(steps in prop::collection::vec(step(), 1..40)) {
        run(steps, None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn the_rocksdb_engine_is_an_ordered_map(steps in prop::collection::vec(step(), 1..40)) {
        run(steps, Some(Site::new()));
    }
}
