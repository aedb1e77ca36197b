//! From a directory to a store.

use std::{
    collections::HashMap,
    fmt,
    fs::DirBuilder,
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use crate::{
    Batch, Catalogue, Interner, MasterKey, Migration, POSITION_LEAP, Packed, Position, Store, TableSpec,
    disk::DiskGate,
    engine::{Engine, Fault, Memory, OpenFault, Range, Reach, Rocks},
    internal::{LOG, LogRecord, NAMES, SCHEMA},
    keyring::{Keyring, SYSTEM_KEY_AGE_SECONDS_MAX, Unread},
    schema::{self, SCHEMA_FIRST},
    sealing::{Nonces, Unsealable},
    store::Core,
    vault::VaultPlace,
};

/// Where the database lies in the directory of a store.
pub const DATABASE_DIR: &str = "store";
/// Where the keys of scopes and the shred journal lie in the directory of a store.
pub const KEYS_DIR: &str = "keys";

/// How a store works.
#[derive(Clone)]
pub struct Options {
    /// Whether commits are on stable storage when they are acknowledged. Off, a crash of the machine loses the last
    /// ones, never their order.
    pub sync: bool,
    /// Writes are refused while the file system has less free space.
    pub min_free_bytes: u64,
    /// Memory for blocks read from disk, with their indexes and filters.
    pub block_cache_bytes: usize,
    /// Memory for what is written and not yet in tables.
    pub write_buffer_bytes: usize,
    /// The way from older schemas to the present one, oldest first.
    pub migrations: Vec<Migration>,
    /// The time, from which the age of the system key is counted.
    pub now_unix_seconds: u64,
}

impl Default for Options {
    #[expect(clippy::disallowed_methods, reason = "a default for callers without a clock")]
    fn default() -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self {
            sync: true,
            min_free_bytes: 64 << 20,
            block_cache_bytes: 16 << 20,
            write_buffer_bytes: 16 << 20,
            migrations: Vec::new(),
            now_unix_seconds: now.as_secs(),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("sync", &self.sync)
            .field("min_free_bytes", &self.min_free_bytes)
            .field("block_cache_bytes", &self.block_cache_bytes)
            .field("write_buffer_bytes", &self.write_buffer_bytes)
            .finish_non_exhaustive()
    }
}

/// Why a store does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store was made with another master key.
    #[error("the master key is not the one that this store was made with")]
    WrongMasterKey,
    /// Another process, or another handle of this one, has it open.
    #[error("the store is in use")]
    Locked,
    /// A later version of the program has written it.
    #[error("the store has schema version {found}, this program knows versions up to {known}")]
    NewerSchema {
        /// Version of the store.
        found: u64,
        /// Newest version that the program knows.
        known: u32,
    },
    /// The list of migrations has a gap.
    #[error("a migration from version {expected} was expected, the list has one from {found}")]
    Migrations {
        /// Version that comes next.
        expected: u32,
        /// What the list says.
        found: u32,
    },
    /// A migration failed; the store is at the version before it.
    #[error("migration {name:?} failed")]
    Migration {
        /// Its name.
        name: &'static str,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// There is a database, and no keys of scopes for it.
    #[error("the keys in {} are missing, without which nothing can be read: put them back", .0.display())]
    NoKeys(PathBuf),
    /// The keys of scopes belong to another store.
    #[error("the keys belong to another store")]
    OtherKeys,
    /// There are keys of scopes, and no database that they belong to.
    #[error("there are keys, but the data that they belong to is missing: put it back")]
    KeysWithoutStore,
    /// The keys of scopes are an older copy: keys that were made since are missing.
    #[error("the keys are older than the data: put the newest copy of the keys back")]
    KeysBehind,
    /// The shred journal cannot be used.
    #[error("the shred journal: {0}")]
    Journal(Arc<str>),
    /// The store's own rows were altered.
    #[error("the store's own tables are corrupt")]
    Corrupt,
    /// The disk is full.
    #[error("the disk is full")]
    DiskFull,
    /// The operating system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The engine failed.
    #[error("the storage engine failed: {0}")]
    Engine(Arc<str>),
}

impl From<Fault> for OpenError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::NoSpace => Self::DiskFull,
            Fault::Incomplete => Self::Engine("a read was not completed".into()),
            Fault::Engine(message) => Self::Engine(message),
        }
    }
}

impl From<OpenFault> for OpenError {
    fn from(fault: OpenFault) -> Self {
        match fault {
            OpenFault::Locked => Self::Locked,
            OpenFault::Fault(fault) => fault.into(),
        }
    }
}

impl From<Unread> for OpenError {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Fault(fault) => fault.into(),
            Unread::Corrupt | Unread::Shredded => Self::Corrupt,
        }
    }
}

impl From<Unsealable> for OpenError {
    fn from(_: Unsealable) -> Self {
        Self::Engine("a value could not be sealed".into())
    }
}

impl Store {
    /// Opens the store in a directory, or makes one there: the database in [`DATABASE_DIR`], the keys of scopes with the
    /// shred journal in [`KEYS_DIR`].
    ///
    /// # Errors
    /// See [`OpenError`]; nothing was changed, except by migrations that succeeded.
    pub async fn open(
        dir: &Path,
        master: &MasterKey,
        catalogue: Catalogue,
        options: Options,
    ) -> Result<Self, OpenError> {
        let known = schema::newest(&options.migrations)?;
        let migrations = options.migrations.clone();
        let (dir, master) = (dir.to_owned(), master.clone());
        let opening = move || {
            let (database, keys) = (dir.join(DATABASE_DIR), dir.join(KEYS_DIR));
            // Nobody else's business, although it is sealed.
            DirBuilder::new().recursive(true).mode(0o700).create(&database)?;
            let engine: Arc<dyn Engine> = Arc::new(Rocks::open(&database, &options)?);
            let disk = DiskGate::new(dir, options.min_free_bytes);
            let now_unix_seconds = options.now_unix_seconds;
            let place = VaultPlace { dir: Some(&keys), master: &master, now_unix_seconds };
            start(&engine, &place, catalogue, known, &options, Some(disk))
        };
        let opened = tokio::task::spawn_blocking(opening).await;
        let (store, found) = opened.map_err(|_| OpenError::Engine("the opening was interrupted".into()))??;
        schema::migrate(&store, found, &migrations).await?;
        Ok(store)
    }

    /// A store that forgets everything when it is dropped: the same committer and the same sealing over ordered maps
    /// in memory, for unit tests.
    #[expect(clippy::expect_used, reason = "memory does not fail, and for tests a missing thread is worth a panic")]
    pub fn in_memory(catalogue: Catalogue) -> Self {
        let engine: Arc<dyn Engine> = Arc::new(Memory::default());
        let master = MasterKey::generate();
        let options = Options::default();
        let place = VaultPlace { dir: None, master: &master, now_unix_seconds: options.now_unix_seconds };
        start(&engine, &place, catalogue, SCHEMA_FIRST, &options, None).expect("a store in memory opens").0
    }
}

/// Reads what the store remembers of itself, writes that it is open again, and starts it. Answers the version of the
/// schema that was found, too.
fn start(
    engine: &Arc<dyn Engine>,
    place: &VaultPlace<'_>,
    catalogue: Catalogue,
    known: u32,
    options: &Options,
    disk: Option<DiskGate>,
) -> Result<(Store, u32), OpenError> {
    let mut first = Batch::default();
    let now = options.now_unix_seconds;
    let is_new = match Keyring::recognises(&**engine, place.master)? {
        Some(false) => return Err(OpenError::WrongMasterKey),
        Some(true) => false,
        None => true,
    };
    let keyring = if is_new {
        Keyring::create(Arc::clone(engine), place, &mut first)?
    } else {
        Keyring::load(Arc::clone(engine), place)?
    };
    let found = if is_new { known } else { read_schema(&**engine, &keyring, known)? };
    let mut log = LogRecord::default();
    if !is_new {
        log = read_log(&**engine, &keyring)?;
        keyring.resume(log)?;
        if now.saturating_sub(keyring.system_created_unix_seconds()?) > SYSTEM_KEY_AGE_SECONDS_MAX {
            let next = keyring.next_system(now, &mut first)?;
            keyring.install(next);
        }
    }
    let opened_at = Position::new(log.position + POSITION_LEAP);
    let core = Core::new(Arc::clone(engine), keyring, opened_at, now);
    if is_new {
        core.put_schema(&mut first, known);
    }
    first.put(&LOG, &(), &Packed(core.keyring().log_record(opened_at)));
    first.seal(opened_at, &core.keyring().system(), &mut Nonces::default())?;
    // The leap is durable before anybody gets a position beyond it, also where commits are not.
    engine.write(&mut first.changes(), true)?;
    core.publish(opened_at, true);
    let last_nids = last_nids(&**engine)?;
    let store = Store::start(core, catalogue, |core| Interner::new(core, last_nids), disk, options.sync)?;
    Ok((store, found))
}

fn read_schema(engine: &dyn Engine, keyring: &Keyring, known: u32) -> Result<u32, OpenError> {
    let version: u64 = read_own(engine, keyring, SCHEMA.spec(), &SCHEMA.row_key(&()))?;
    u32::try_from(version)
        .ok()
        .filter(|version| *version <= known)
        .ok_or(OpenError::NewerSchema { found: version, known })
}

fn read_log(engine: &dyn Engine, keyring: &Keyring) -> Result<LogRecord, OpenError> {
    let Packed(log) = read_own(engine, keyring, LOG.spec(), &LOG.row_key(&()))?;
    Ok(log)
}

/// Reads a row that must be there.
fn read_own<V: crate::Value>(
    engine: &dyn Engine,
    keyring: &Keyring,
    table: &TableSpec,
    row_key: &[u8],
) -> Result<V, OpenError> {
    let sealed = engine.get(table.profile, row_key, Reach::Disk)?.ok_or(OpenError::Corrupt)?;
    let (bytes, _) = keyring.open(row_key, sealed, Reach::Disk)?;
    V::decode(bytes).map_err(|_| OpenError::Corrupt)
}

/// The largest number of each namespace, by stepping backwards from one namespace to the next.
fn last_nids(engine: &dyn Engine) -> Result<HashMap<u8, u64>, OpenError> {
    let table = NAMES.spec();
    let start = table.id.to_be_bytes().to_vec();
    let mut end = (table.id + 1).to_be_bytes().to_vec();
    let mut last = HashMap::new();
    loop {
        let range = Range { profile: table.profile, start: start.clone(), end: end.clone(), reverse: true, limit: 1 };
        let mut found = None;
        engine.scan(&range, Reach::Disk, &mut |key, _| found = Some(key.to_vec()))?;
        let Some(row_key) = found else { return Ok(last) };
        let mut key = row_key.get(start.len()..).unwrap_or_default();
        let (ns, nid) = <(u8, u64) as crate::Key>::decode(&mut key).map_err(|_| OpenError::Corrupt)?;
        last.insert(ns, nid);
        end = NAMES.row_key(&(ns, 0));
    }
}
