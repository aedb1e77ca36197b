//! Data keys of scopes: made on first use, destroyed for good.

use std::hash::{DefaultHasher, Hash, Hasher};

use tokio::sync::{Mutex, RwLock};

use crate::{
    Batch, CommitError, DataKey, ReadError, Scan, Scope, Store,
    engine::{Fault, Reach},
    internal::{KEYS, SCOPES},
    key::successor,
    keyring::Unread,
};

/// Scopes whose keys are made at the same time.
const STRIPES: usize = 64;

/// Scopes whose keys are destroyed in one commit.
const SCOPES_AT_ONCE: usize = 1_000;

/// Who may make and destroy keys.
pub(crate) struct ScopeLocks {
    /// Held exclusively while keys are destroyed.
    destruction: RwLock<()>,
    /// One maker per scope (and others of the same stripe).
    makers: [Mutex<()>; STRIPES],
}

impl Default for ScopeLocks {
    fn default() -> Self {
        Self { destruction: RwLock::default(), makers: std::array::from_fn(|_| Mutex::default()) }
    }
}

impl ScopeLocks {
    fn maker(&self, scope: Scope) -> &Mutex<()> {
        let mut hasher = DefaultHasher::new();
        scope.hash(&mut hasher);
        #[expect(clippy::cast_possible_truncation, reason = "any bits of the hash will do")]
        let stripe = hasher.finish() as usize % STRIPES;
        &self.makers[stripe]
    }
}

impl Store {
    /// The data key of a scope. Its first use makes it, durably, in a small commit of its own.
    ///
    /// # Errors
    /// When the key cannot be read or committed.
    pub async fn data_key(&self, scope: Scope) -> Result<DataKey, CommitError> {
        let keyring = self.core().keyring();
        if let Some(key) = keyring.cached(&scope) {
            return Ok(key);
        }
        let _present = self.scope_locks().destruction.read().await;
        let _maker = self.scope_locks().maker(scope).lock().await;
        if let Some(key) = keyring.cached(&scope) {
            return Ok(key);
        }
        if let Some(id) = self.latest().get(&SCOPES, &scope).await? {
            return self.load_data_key(scope, id).await;
        }
        let mut batch = Batch::default();
        let key = keyring.new_scoped(scope, &mut batch)?;
        self.commit(batch).await?;
        keyring.remember(scope, &key);
        Ok(key)
    }

    /// Destroys the data keys of these scopes, if they have any: what was sealed with them can never be read again
    /// through any view, and the keys leave the files at once, or, if an older snapshot is held, when the engine next
    /// compacts them. Copies of the store from before still have the wrapped keys. A later use of a scope makes a new
    /// key.
    ///
    /// # Errors
    /// When the destruction cannot be committed; the keys are as they were then.
    pub async fn destroy_data_keys(&self, scopes: &[Scope]) -> Result<(), CommitError> {
        let (store, scopes) = (self.clone(), scopes.to_vec());
        // A task of its own: half a destruction is none, so callers cannot give it up.
        let destroyed = tokio::spawn(async move { store.destroy(&scopes).await }).await;
        destroyed.map_err(|_| CommitError::Engine("the destruction was interrupted".into()))?
    }

    /// As [`Store::destroy_data_keys`], for every scope of this kind and first coordinate.
    ///
    /// # Errors
    /// When the scopes cannot be read, or a destruction not be committed; some keys may be destroyed then.
    pub async fn destroy_data_keys_of(&self, kind: u8, a: u64) -> Result<(), CommitError> {
        loop {
            let scan = Scan::prefix(&(kind, a)).limit(SCOPES_AT_ONCE);
            let scopes = self.latest().scan_keys(&SCOPES, scan).await?;
            if scopes.is_empty() {
                return Ok(());
            }
            self.destroy_data_keys(&scopes).await?;
        }
    }

    async fn destroy(&self, scopes: &[Scope]) -> Result<(), CommitError> {
        let _alone = self.scope_locks().destruction.write().await;
        let ids = self.latest().multi_get(&SCOPES, scopes).await?;
        let mut batch = Batch::default();
        let mut keys = Vec::new();
        for (scope, id) in scopes.iter().zip(ids) {
            let Some(id) = id else { continue };
            let id = key_id(id)?;
            batch.delete(&SCOPES, scope);
            batch.delete(&KEYS, &id);
            keys.push((*scope, id));
        }
        if keys.is_empty() {
            return Ok(());
        }
        let core = self.core();
        core.keyring().forget(&keys);
        if let Err(error) = self.commit(batch).await {
            core.keyring().spare(&keys);
            return Err(error);
        }
        let core = std::sync::Arc::clone(core);
        let purged = tokio::task::spawn_blocking(move || {
            let start = KEYS.spec().id.to_be_bytes();
            let end = successor(&start).unwrap_or_default();
            core.engine().purge(KEYS.spec().profile, &start, &end)
        })
        .await;
        purged.map_err(|_| CommitError::Engine("the destruction was interrupted".into()))?.map_err(CommitError::from)
    }

    async fn load_data_key(&self, scope: Scope, id: u64) -> Result<DataKey, CommitError> {
        let id = key_id(id)?;
        let unread = |unread: Unread| CommitError::Read(unread.of(KEYS.spec().name));
        match self.core().keyring().of_scope(scope, id, Reach::Memory) {
            Err(Unread::Fault(Fault::Incomplete)) => {}
            done => return done.map_err(unread),
        }
        let core = std::sync::Arc::clone(self.core());
        let loaded = tokio::task::spawn_blocking(move || core.keyring().of_scope(scope, id, Reach::Disk)).await;
        loaded.map_err(|_| CommitError::Engine("a read was interrupted".into()))?.map_err(unread)
    }
}

fn key_id(id: u64) -> Result<u32, ReadError> {
    u32::try_from(id).map_err(|_| ReadError::Corrupt { table: SCOPES.spec().name })
}
