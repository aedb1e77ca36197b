//! The keys of an open store.
//!
//! A wrapped data key is an ordinary sealed value of the table `store.keys`, sealed with the *wrapping key*, which is
//! derived from the master key and has id 0. So there is one format at rest and one way to open it. The store's own keys
//! lie in its database, those of scopes in the [`Vault`].

use std::{
    collections::HashSet,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};

use aws_lc_rs::hmac;
use bytes::Bytes;
use parking_lot::RwLock;
use quick_cache::sync::Cache;

use crate::{
    Batch, CodecError, CommitError, DataKey, Hash16, MasterKey, OpenError, Packed, Position, Scope, Value,
    engine::{Engine, Fault, Reach},
    internal::{KEYS, LogRecord, ROOTS, Roots, SCHEMA},
    keys::{KeyRecord, Purpose, WRAPPING_KEY_ID},
    sealing::{self, Header, Unsealable},
    vault::{SCOPED_KEY_ID_MIN, ScopeRange, Vault, VaultPlace, read_key},
};

/// Opened data keys kept in memory, about 1 KiB each.
const DATA_KEYS_CACHED_MAX: usize = 4096;
/// Random nonces stay collision-free (below 2^-32) up to this many values under one key (NIST SP 800-38D, 8.3).
pub(crate) const SYSTEM_KEY_SEALS_MAX: u64 = 1 << 31;
/// Age at which the system key is replaced when the store opens.
pub(crate) const SYSTEM_KEY_AGE_SECONDS_MAX: u64 = 30 * 24 * 60 * 60;
/// Why a value could not be read.
#[derive(Debug, Clone, Eq, PartialEq)]
pub(crate) enum Unread {
    Fault(Fault),
    Corrupt,
    Shredded,
}

impl From<Fault> for Unread {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<CodecError> for Unread {
    fn from(_: CodecError) -> Self {
        Self::Corrupt
    }
}

impl From<Unsealable> for Unread {
    fn from(_: Unsealable) -> Self {
        Self::Corrupt
    }
}

/// The keys of an open store.
pub(crate) struct Keyring {
    engine: Arc<dyn Engine>,
    vault: Arc<Vault>,
    wrapping: DataKey,
    index: hmac::Key,
    index_id: u32,
    system: RwLock<DataKey>,
    system_seals: AtomicU64,
    next_id: AtomicU32,
    opened: Cache<u32, DataKey>,
    scoped: Cache<Scope, DataKey>,
    /// Keys destroyed in this run. Handles and caches may outlive a key; this set decides.
    destroyed: RwLock<HashSet<u32>>,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").finish_non_exhaustive()
    }
}

/// The first id of data keys that are not the store's own.
const FIRST_KEY_ID: u32 = WRAPPING_KEY_ID + 1;

impl Keyring {
    /// Whether the store was made with another master key; none if it was never made.
    pub(crate) fn recognises(engine: &dyn Engine, master: &MasterKey) -> Result<Option<bool>, Fault> {
        let key = SCHEMA.row_key(&());
        let Some(sealed) = engine.get(SCHEMA.spec().profile, &key, Reach::Disk)? else { return Ok(None) };
        Ok(Some(sealing::open(&key, sealed, master.wrapping_key().cipher()).is_ok()))
    }

    /// The keyring of a store that was made before.
    pub(crate) fn load(engine: Arc<dyn Engine>, place: &VaultPlace<'_>) -> Result<Self, OpenError> {
        let wrapping = place.master.wrapping_key();
        let roots = read_roots(&*engine, &wrapping)?;
        let own = |id| read_key(&*engine, &wrapping, id, Reach::Disk)?.ok_or(Unread::Corrupt);
        let (index, system) = (own(roots.index_key)?, own(roots.system_key)?);
        let system = DataKey::new(roots.system_key, &system.material)?;
        let vault = place.open(roots.store_id)?;
        Ok(Self::of(engine, vault, wrapping, (roots.index_key, &index), system))
    }

    /// The keyring of a new store; `first` gets what has to be written.
    pub(crate) fn create(
        engine: Arc<dyn Engine>,
        place: &VaultPlace<'_>,
        first: &mut Batch,
    ) -> Result<Self, OpenError> {
        let wrapping = place.master.wrapping_key();
        let (index_id, system_id) = (FIRST_KEY_ID, FIRST_KEY_ID + 1);
        let index = KeyRecord::random(Purpose::Index)?;
        let created_unix_seconds = place.now_unix_seconds;
        let system = KeyRecord::random(Purpose::System { created_unix_seconds })?;
        let system_key = DataKey::new(system_id, &system.material)?;
        let keyring = Self::of(engine, place.make()?, wrapping, (index_id, &index), system_key);
        keyring.next_id.store(system_id + 1, Ordering::Relaxed);
        keyring.wrap(first, index_id, index);
        keyring.wrap(first, system_id, system);
        keyring.point_to(first, system_id);
        Ok(keyring)
    }

    fn of(engine: Arc<dyn Engine>, vault: Vault, wrapping: DataKey, index: (u32, &KeyRecord), system: DataKey) -> Self {
        Self {
            engine,
            vault: Arc::new(vault),
            wrapping,
            index: hmac::Key::new(hmac::HMAC_SHA256, &index.1.material),
            index_id: index.0,
            system: RwLock::new(system),
            system_seals: AtomicU64::new(0),
            next_id: AtomicU32::new(FIRST_KEY_ID),
            opened: Cache::new(DATA_KEYS_CACHED_MAX),
            scoped: Cache::new(DATA_KEYS_CACHED_MAX),
            destroyed: RwLock::default(),
        }
    }

    /// Puts the wrapped key into the batch.
    fn wrap(&self, batch: &mut Batch, id: u32, record: KeyRecord) {
        batch.put_sealed(&KEYS, &id, &Packed(record), &self.wrapping);
    }

    fn point_to(&self, batch: &mut Batch, system_key: u32) {
        let roots = Roots { index_key: self.index_id, system_key, store_id: self.vault.store_id() };
        batch.put_sealed(&ROOTS, &(), &Packed(roots), &self.wrapping);
    }

    pub(crate) fn wrapping(&self) -> &DataKey {
        &self.wrapping
    }

    /// The key that seals values of tables with [`crate::Seal::System`].
    pub(crate) fn system(&self) -> DataKey {
        self.system.read().clone()
    }

    /// A system key to follow the present one; [`Self::install`] it when `batch` is written.
    pub(crate) fn next_system(&self, now_unix_seconds: u64, batch: &mut Batch) -> Result<DataKey, Unsealable> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let record = KeyRecord::random(Purpose::System { created_unix_seconds: now_unix_seconds })?;
        let key = DataKey::new(id, &record.material)?;
        self.wrap(batch, id, record);
        self.point_to(batch, id);
        Ok(key)
    }

    /// Makes `key` the system key.
    pub(crate) fn install(&self, key: DataKey) {
        *self.system.write() = key;
        self.system_seals.store(0, Ordering::Relaxed);
    }

    /// When the present system key was made.
    pub(crate) fn system_created_unix_seconds(&self) -> Result<u64, Unread> {
        let record = read_key(&*self.engine, &self.wrapping, self.system().id(), Reach::Disk)?;
        match record.ok_or(Unread::Corrupt)?.purpose {
            Purpose::System { created_unix_seconds } => Ok(created_unix_seconds),
            Purpose::Index | Purpose::Scope(_) => Err(Unread::Corrupt),
        }
    }

    /// Counts values sealed with the system key.
    pub(crate) fn count_seals(&self, seals: u64) {
        self.system_seals.fetch_add(seals, Ordering::Relaxed);
    }

    pub(crate) fn system_key_is_worn(&self) -> bool {
        self.system_seals.load(Ordering::Relaxed) >= SYSTEM_KEY_SEALS_MAX
    }

    /// What the log has to remember of the keyring.
    pub(crate) fn log_record(&self, position: Position) -> LogRecord {
        LogRecord {
            position: position.get(),
            system_seals: self.system_seals.load(Ordering::Relaxed),
            next_key_id: self.next_id.load(Ordering::Relaxed),
            next_scoped_id: self.vault.next_id(),
        }
    }

    /// Goes on where the log says.
    ///
    /// # Errors
    /// When the vault is older than the database.
    pub(crate) fn resume(&self, log: LogRecord) -> Result<(), OpenError> {
        if self.vault.next_id() < log.next_scoped_id {
            return Err(OpenError::KeysBehind);
        }
        self.system_seals.store(log.system_seals, Ordering::Relaxed);
        self.next_id.store(log.next_key_id, Ordering::Relaxed);
        Ok(())
    }

    /// HMAC-SHA256 under the index key, truncated; domains (all of one length) keep equal bytes of different meaning
    /// apart.
    pub(crate) fn keyed_hash(&self, domain: [u8; 2], bytes: &[u8]) -> Hash16 {
        let mut context = hmac::Context::with_key(&self.index);
        context.update(&domain);
        context.update(bytes);
        let mut hash = [0; 16];
        hash.copy_from_slice(&context.sign().as_ref()[..16]);
        hash
    }

    /// The scope's key, if it was used lately.
    pub(crate) fn cached(&self, scope: &Scope) -> Option<DataKey> {
        self.scoped.get(scope)
    }

    /// Keys of scopes.
    pub(crate) fn vault(&self) -> &Arc<Vault> {
        &self.vault
    }

    /// The scope's key, if there is one.
    pub(crate) fn of_scope(&self, scope: &Scope, reach: Reach) -> Result<Option<DataKey>, Unread> {
        let Some(id) = self.vault.id_of(scope, reach)? else { return Ok(None) };
        let key = self.by_id(id, reach)?;
        self.scoped.insert(*scope, key.clone());
        Ok(Some(key))
    }

    pub(crate) fn remember(&self, scope: Scope, key: &DataKey) {
        self.opened.insert(key.id(), key.clone());
        self.scoped.insert(scope, key.clone());
    }

    /// Destroys the keys of these scopes but for the last step, [`Vault::erase`]. Nobody may make keys meanwhile.
    pub(crate) fn destroy(&self, ranges: &[ScopeRange]) -> Result<(), CommitError> {
        let (mut keys, mut noted) = (Vec::new(), Vec::new());
        for range in ranges {
            let found = self.vault.living(*range)?;
            if !found.is_empty() {
                noted.push(*range);
                keys.extend(found);
            }
        }
        if keys.is_empty() {
            return Ok(());
        }
        self.forget(&keys);
        if let Err(error) = self.vault.note(&noted) {
            self.spare(&keys);
            return Err(error);
        }
        self.vault.delete(&keys)
    }

    /// Nothing is sealed or opened with these keys from here on.
    fn forget(&self, keys: &[(Scope, u32)]) {
        self.destroyed.write().extend(keys.iter().map(|(_, id)| *id));
        for (scope, id) in keys {
            self.scoped.remove(scope);
            self.opened.remove(id);
        }
    }

    /// Takes [`Self::forget`] back: the keys could not be destroyed.
    fn spare(&self, keys: &[(Scope, u32)]) {
        let mut destroyed = self.destroyed.write();
        for (_, id) in keys {
            destroyed.remove(id);
        }
    }

    pub(crate) fn is_destroyed(&self, id: u32) -> bool {
        self.destroyed.read().contains(&id)
    }

    /// Opens a value read from the engine.
    pub(crate) fn open(&self, row_key: &[u8], sealed: Vec<u8>, reach: Reach) -> Result<(Bytes, Position), Unread> {
        let Header { version, key_id, .. } = Header::of(&sealed)?;
        let key = self.by_id(key_id, reach)?;
        Ok((sealing::open(row_key, sealed, key.cipher())?, version))
    }

    fn by_id(&self, id: u32, reach: Reach) -> Result<DataKey, Unread> {
        if id == WRAPPING_KEY_ID {
            return Ok(self.wrapping.clone());
        }
        if self.is_destroyed(id) {
            return Err(Unread::Shredded);
        }
        if let Some(key) = self.opened.get(&id) {
            return Ok(key);
        }
        let key = if id >= SCOPED_KEY_ID_MIN {
            self.vault.key(id, reach)?
        } else {
            let record = read_key(&*self.engine, &self.wrapping, id, reach)?.ok_or(Unread::Corrupt)?;
            DataKey::new(id, &record.material)?
        };
        self.opened.insert(id, key.clone());
        if self.is_destroyed(id) {
            // Destroyed while it was read: nothing may keep it.
            self.opened.remove(&id);
            return Err(Unread::Shredded);
        }
        Ok(key)
    }
}

fn read_roots(engine: &dyn Engine, wrapping: &DataKey) -> Result<Roots, Unread> {
    let key = ROOTS.row_key(&());
    let sealed = engine.get(ROOTS.spec().profile, &key, Reach::Disk)?.ok_or(Unread::Corrupt)?;
    let Packed(roots) = Packed::<Roots>::decode(sealing::open(&key, sealed, wrapping.cipher())?)?;
    Ok(roots)
}
