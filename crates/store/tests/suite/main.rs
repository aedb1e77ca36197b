//! What a store promises, on both engines where it makes sense.

#![expect(clippy::unwrap_used, reason = "tests")]

mod at_rest;
mod commits;
mod interner;
mod keys;
mod model;
mod opening;
mod scans;
mod vault;
mod watches;

use std::{
    collections::BTreeSet,
    path::PathBuf,
    time::{Duration, Instant},
};

use wardroom_store::{
    Catalogue, DATABASE_DIR, KEYS_DIR, MasterKey, OpenError, Options, Position, Profile, Seal, Store, Table,
};

/// Looked up by key.
const POINTS: Table<u64, String> = Table::new(1, "points", Profile::Point, Seal::System);
/// Ordered by group and commit.
const LINES: Table<(u64, Position), String> = Table::new(2, "lines", Profile::Scan, Seal::System);
/// Sealed by scope.
const SECRETS: Table<u64, String> = Table::new(3, "secrets", Profile::Blob, Seal::Scoped);
/// Compressed.
const TEXTS: Table<u64, String> = Table::new(4, "texts", Profile::Churn, Seal::System).compressed();

fn catalogue() -> Catalogue {
    Catalogue::new(&[&[*POINTS.spec(), *LINES.spec()], &[*SECRETS.spec(), *TEXTS.spec()]]).unwrap()
}

/// How long the engine may take to come to rest, so that its files can be copied between two changes of their list.
const REST_MAX: Duration = Duration::from_secs(30);

/// A directory with a master key: a store that can be opened again.
struct Site {
    dir: tempfile::TempDir,
    key: MasterKey,
}

impl Site {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), key: MasterKey::generate() }
    }

    async fn open(&self) -> Store {
        self.try_open(Options::default()).await.unwrap()
    }

    async fn try_open(&self, options: Options) -> Result<Store, OpenError> {
        Store::open(self.dir.path(), &self.key, catalogue(), options).await
    }

    /// Where the database lies.
    fn database(&self) -> PathBuf {
        self.dir.path().join(DATABASE_DIR)
    }

    /// Where the keys of scopes lie.
    fn keys(&self) -> PathBuf {
        self.dir.path().join(KEYS_DIR)
    }

    /// The files as a crash at this moment would leave them.
    fn crashed(&self) -> Self {
        // Background work of the engine may add and remove files while they are copied: such a copy is of no moment.
        let begun = Instant::now();
        while begun.elapsed() < REST_MAX {
            let copy = Self { dir: tempfile::tempdir().unwrap(), key: self.key.clone() };
            let names = self.names();
            let whole = names.iter().all(|name| {
                let to = copy.dir.path().join(name);
                std::fs::create_dir_all(to.parent().unwrap()).unwrap();
                std::fs::copy(self.dir.path().join(name), to).is_ok()
            });
            if whole && names == self.names() {
                return copy;
            }
        }
        panic!("the files never rest");
    }

    /// The files, by their paths in the directory.
    fn names(&self) -> BTreeSet<PathBuf> {
        let mut names = BTreeSet::new();
        let mut dirs = vec![self.dir.path().to_owned()];
        while let Some(dir) = dirs.pop() {
            for entry in std::fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => dirs.push(path),
                    false => drop(names.insert(path.strip_prefix(self.dir.path()).unwrap().to_owned())),
                }
            }
        }
        names
    }

    /// The contents of all files.
    fn files(&self) -> Vec<Vec<u8>> {
        // The engine may remove files meanwhile.
        self.names().iter().filter_map(|name| std::fs::read(self.dir.path().join(name)).ok()).collect()
    }

    fn holds(&self, needle: &[u8]) -> bool {
        self.files().iter().any(|file| file.windows(needle.len()).any(|window| window == needle))
    }
}

/// Declares each of these functions, which take a store, as a test on each engine.
macro_rules! on_both_engines {
    ($($name:ident),* $(,)?) => {
        mod in_memory {
            $(
                #[tokio::test]
                async fn $name() {
                    super::$name(wardroom_store::Store::in_memory(crate::catalogue())).await;
                }
            )*
        }

        mod on_rocksdb {
            $(
                #[tokio::test]
                async fn $name() {
                    super::$name(crate::Site::new().open().await).await;
                }
            )*
        }
    };
}
pub(crate) use on_both_engines;
