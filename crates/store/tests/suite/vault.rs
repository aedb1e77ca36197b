//! Keys apart from the data: what copies of either can do without the other, and what a crash leaves.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use proptest::prelude::*;
use wardroom_store::{Batch, MasterKey, OpenError, Options, ReadError, Scope, Store, replay_journal};

use crate::{SECRETS, Site, catalogue};

const JOURNAL: &str = "shred.journal";

fn day(room: u64, day: u64) -> Scope {
    Scope { kind: 1, a: room, b: day }
}

/// Keeps a text of a room and day under a number.
async fn keep(store: &Store, id: u64, scope: Scope) {
    let key = store.data_key(scope).await.unwrap();
    let mut batch = Batch::default();
    batch.put_sealed(&SECRETS, &id, &format!("text {id}"), &key);
    store.commit(batch).await.unwrap();
}

async fn read(store: &Store, id: u64) -> Result<Option<String>, ReadError> {
    store.latest().get(&SECRETS, &id).await
}

fn text(id: u64) -> Result<Option<String>, ReadError> {
    Ok(Some(format!("text {id}")))
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        match entry.path().is_dir() {
            true => copy_dir(&entry.path(), &to.join(entry.file_name())),
            false => assert!(fs::copy(entry.path(), to.join(entry.file_name())).is_ok()),
        }
    }
}

fn beside(site: &Site) -> Site {
    Site { dir: tempfile::tempdir().unwrap(), key: site.key.clone() }
}

#[tokio::test]
async fn an_older_copy_of_the_data_does_not_show_what_was_destroyed_since() {
    let site = Site::new();
    let store = site.open().await;
    for id in 0..3 {
        keep(&store, id, day(1, id)).await;
    }
    let old = beside(&site);
    store.checkpoint(&old.database()).await.unwrap();
    store.destroy_data_keys(&[day(1, 1)]).await.unwrap();
    keep(&store, 4, day(1, 4)).await;
    store.copy_keys(&old.keys()).await.unwrap();

    let restored = old.open().await;
    assert_eq!(read(&restored, 0).await, text(0));
    assert_eq!(read(&restored, 1).await, Err(ReadError::Shredded));
    assert_eq!(read(&restored, 2).await, text(2));
    assert_eq!(read(&restored, 4).await, Ok(None), "it was written later");
    // It lives on: what is made from here on meets nothing of what was.
    keep(&restored, 5, day(1, 1)).await;
    assert_eq!((read(&restored, 5).await, read(&restored, 1).await), (text(5), Err(ReadError::Shredded)));
}

#[tokio::test]
async fn an_older_copy_of_the_keys_is_brought_up_to_a_newer_journal() {
    let site = Site::new();
    let store = site.open().await;
    for id in 0..4 {
        keep(&store, id, day(id, 7)).await;
    }
    store.destroy_data_keys(&[day(0, 7)]).await.unwrap();
    let old = beside(&site);
    store.checkpoint(&old.database()).await.unwrap();
    let copied = store.copy_keys(&old.keys()).await.unwrap();
    assert_eq!(copied.destructions, 1);
    store.destroy_data_keys_of(&[1], 1).await.unwrap();
    store.close().await;
    let store = site.open().await;
    store.destroy_data_keys(&[day(2, 7)]).await.unwrap();
    // Made anew since: the journal does not destroy it, nor what the copy makes later.
    keep(&store, 9, day(2, 7)).await;
    store.close().await;

    let journal = site.keys().join(JOURNAL);
    for _ in 0..2 {
        let replayed = replay_journal(&old.keys(), &old.key, Some(&journal), 0).unwrap();
        assert_eq!((replayed.destructions, replayed.store_id), (3, copied.store_id));
    }
    let restored = old.open().await;
    for id in 0..3 {
        assert_eq!(read(&restored, id).await, Err(ReadError::Shredded), "{id}");
    }
    assert_eq!(read(&restored, 3).await, text(3));
    keep(&restored, 10, day(2, 7)).await;
    restored.destroy_data_keys(&[day(3, 7)]).await.unwrap();
    restored.close().await;
    let restored = old.open().await;
    assert_eq!((read(&restored, 10).await, read(&restored, 3).await), (text(10), Err(ReadError::Shredded)));
    restored.close().await;

    // The two lives have parted.
    keep_and_destroy(&site).await;
    let refused = replay_journal(&old.keys(), &old.key, Some(&journal), 0).unwrap_err();
    assert!(matches!(refused, OpenError::Journal(_)), "{refused}");
    let other = MasterKey::generate();
    let refused = replay_journal(&old.keys(), &other, Some(&journal), 0).unwrap_err();
    assert!(matches!(refused, OpenError::Journal(_)), "{refused}");
}

async fn keep_and_destroy(site: &Site) {
    let store = site.open().await;
    keep(&store, 20, day(20, 20)).await;
    store.destroy_data_keys(&[day(20, 20), day(3, 7)]).await.unwrap();
    store.close().await;
}

#[tokio::test]
async fn keys_and_data_that_do_not_belong_together_do_not_open() {
    let site = Site::new();
    let store = site.open().await;
    keep(&store, 1, day(1, 1)).await;
    let behind = beside(&site);
    store.copy_keys(&behind.keys()).await.unwrap();
    keep(&store, 2, day(1, 2)).await;
    store.checkpoint(&behind.database()).await.unwrap();
    store.close().await;
    let opened = |site: Site| async move { site.open_error().await };
    assert!(matches!(opened(behind).await, OpenError::KeysBehind));

    let without_keys = beside(&site);
    copy_dir(&site.database(), &without_keys.database());
    assert!(matches!(without_keys.open_error().await, OpenError::NoKeys(_)));
    assert!(!without_keys.keys().join("db").exists(), "nothing is made in their place");
    let other = Site::new();
    other.open().await.close().await;
    let strangers = Site { dir: tempfile::tempdir().unwrap(), key: site.key.clone() };
    copy_dir(&site.database(), &strangers.database());
    copy_dir(&other.keys(), &strangers.keys());
    assert!(matches!(strangers.open_error().await, OpenError::WrongMasterKey));
    let same_key = Site { dir: tempfile::tempdir().unwrap(), key: site.key.clone() };
    same_key.open().await.close().await;
    fs::remove_dir_all(same_key.keys()).unwrap();
    copy_dir(&site.keys(), &same_key.keys());
    assert!(matches!(same_key.open_error().await, OpenError::OtherKeys));

    let without_data = beside(&site);
    copy_dir(&site.keys(), &without_data.keys());
    assert!(matches!(without_data.open_error().await, OpenError::KeysWithoutStore));
    let unused = Site::new();
    unused.open().await.close().await;
    fs::remove_dir_all(unused.database()).unwrap();
    unused.open().await.close().await;

    for harm in [Harm::Cut, Harm::Altered, Harm::Removed] {
        let harmed = beside(&site);
        copy_dir(site.dir.path(), harmed.dir.path());
        keep_and_destroy(&harmed).await;
        harm.to(&harmed.keys().join(JOURNAL));
        let error = harmed.open_error().await;
        assert!(matches!(error, OpenError::Journal(_)), "{harm:?}: {error}");
    }
}

#[derive(Debug)]
enum Harm {
    Cut,
    Altered,
    Removed,
}

impl Harm {
    fn to(&self, journal: &Path) {
        let mut bytes = fs::read(journal).unwrap();
        match self {
            Self::Cut => bytes.truncate(bytes.len() - 1),
            Self::Altered => *bytes.iter_mut().nth_back(20).unwrap() ^= 1,
            Self::Removed => return fs::remove_file(journal).unwrap(),
        }
        fs::write(journal, bytes).unwrap();
    }
}

impl Site {
    async fn open_error(&self) -> OpenError {
        self.try_open(Options::default()).await.unwrap_err()
    }
}

/// Whatever the moment, a crash leaves a key or none: what was acknowledged as destroyed stays destroyed, the rest can be
/// read, and a key that was destroyed is in no file once the store is open again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_in_the_middle_of_destructions_leaves_all_or_nothing_of_a_key() {
    const KEYS: u64 = 60;
    let site = Site::new();
    let store = site.open().await;
    for id in 0..KEYS {
        keep(&store, id, day(id % 5, id)).await;
    }
    let acknowledged = Arc::new(AtomicU64::new(0));
    let destroying = {
        let (store, acknowledged) = (store.clone(), Arc::clone(&acknowledged));
        tokio::spawn(async move {
            for id in 0..KEYS {
                store.destroy_data_keys(&[day(id % 5, id)]).await.unwrap();
                acknowledged.store(id + 1, Ordering::SeqCst);
            }
        })
    };
    while !destroying.is_finished() {
        let destroyed = acknowledged.load(Ordering::SeqCst);
        let crashed = tokio::task::block_in_place(|| site.crashed());
        let under_way = acknowledged.load(Ordering::SeqCst);
        let opened = match crashed.try_open(Options::default()).await {
            Ok(opened) => opened,
            // A copy takes time, unlike a crash: the journal may have been copied before what is carried out of it.
            Err(OpenError::Journal(_)) => continue,
            Err(error) => panic!("{error}"),
        };
        for id in 0..KEYS {
            match read(&opened, id).await {
                Err(ReadError::Shredded) => assert!(id <= under_way, "{id} of {under_way}"),
                readable => {
                    assert_eq!(readable, text(id));
                    assert!(id >= destroyed, "{id} of {destroyed}");
                }
            }
        }
        keep(&opened, KEYS, day(0, 0)).await;
        assert_eq!(read(&opened, KEYS).await, text(KEYS));
    }
    destroying.await.unwrap();
}

#[derive(Debug, Clone)]
enum Step {
    Keep(Scope),
    Destroy(Vec<Scope>),
    DestroyRoom(u64),
    Reopen,
    Crash,
}

fn scope() -> impl Strategy<Value = Scope> {
    (0..3_u64, 0..4_u64).prop_map(|(room, of)| day(room, of))
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => scope().prop_map(Step::Keep),
        3 => prop::collection::vec(scope(), 1..4).prop_map(Step::Destroy),
        1 => (0..3_u64).prop_map(Step::DestroyRoom),
        1 => Just(Step::Reopen),
        1 => Just(Step::Crash),
    ]
}

/// Plays steps; `model` has what can be read by number, and its scope.
async fn play(steps: Vec<Step>, mut site: Option<Site>) {
    let mut store = match &site {
        Some(site) => site.open().await,
        None => Store::in_memory(catalogue()),
    };
    let mut model: BTreeMap<u64, Option<Scope>> = BTreeMap::new();
    for (number, step) in (0..).zip(steps) {
        match step {
            Step::Keep(scope) => {
                keep(&store, number, scope).await;
                model.insert(number, Some(scope));
            }
            Step::Destroy(scopes) => {
                store.destroy_data_keys(&scopes).await.unwrap();
                let gone = |scope: &&mut Option<Scope>| scope.is_some_and(|scope| scopes.contains(&scope));
                model.values_mut().filter(gone).for_each(|scope| *scope = None);
            }
            Step::DestroyRoom(room) => {
                store.destroy_data_keys_of(&[1], room).await.unwrap();
                let gone = |scope: &&mut Option<Scope>| scope.is_some_and(|scope| scope.a == room);
                model.values_mut().filter(gone).for_each(|scope| *scope = None);
            }
            Step::Reopen => {
                if let Some(site) = &site {
                    store.close().await;
                    store = site.open().await;
                }
            }
            Step::Crash => {
                if let Some(before) = &mut site {
                    let crashed = before.crashed();
                    store = crashed.open().await;
                    *before = crashed;
                }
            }
        }
        for (id, scope) in &model {
            let expected = if scope.is_some() { text(*id) } else { Err(ReadError::Shredded) };
            assert_eq!(read(&store, *id).await, expected, "{id}");
        }
    }
}

fn run(steps: Vec<Step>, site: Option<Site>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(play(steps, site));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn keys_in_memory_live_and_die_with_their_scopes(steps in prop::collection::vec(step(), 1..30)) {
        run(steps, None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    #[test]
    fn keys_in_files_live_and_die_with_their_scopes(steps in prop::collection::vec(step(), 1..30)) {
        run(steps, Some(Site::new()));
    }
}
