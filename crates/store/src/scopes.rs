//! Data keys of scopes: made on first use, destroyed for good.

use std::sync::Arc;

use tokio::sync::RwLock;

use crate::{
    CommitError, DataKey, ReadError, Scope, Store,
    engine::Reach,
    vault::{ScopeRange, ranges_of_scopes},
};

/// Held exclusively while keys are destroyed, and by all others who need them to stay.
pub(crate) type ScopeLock = Arc<RwLock<()>>;

impl Store {
    /// The data key of a scope. Its first use makes it, durably; whoever needs keys at the same time shares the write.
    ///
    /// # Errors
    /// When the key can neither be read nor made.
    pub async fn data_key(&self, scope: Scope) -> Result<DataKey, CommitError> {
        let keyring = self.core().keyring();
        if let Some(key) = keyring.cached(&scope) {
            return Ok(key);
        }
        let _present = self.scope_lock().read().await;
        if let Ok(Some(key)) = keyring.of_scope(&scope, Reach::Memory) {
            return Ok(key);
        }
        let key = keyring.vault().make(scope).await?;
        if keyring.is_destroyed(key.id()) {
            // Its destruction is not carried out yet.
            return Err(CommitError::Read(ReadError::Shredded));
        }
        keyring.remember(scope, &key);
        Ok(key)
    }

    /// Destroys the data keys of these scopes, if they have any: what was sealed with them can never be read again
    /// through any view, the keys are in no file when this returns, and the shred journal says so. A later use of a
    /// scope makes a new key. Callers that give up do not stop it.
    ///
    /// Files are rewritten once for each call, and for all calls that wait for that together: who has many scopes to
    /// destroy names them in one.
    ///
    /// # Errors
    /// When the journal cannot be written, the keys are as they were. When the files cannot be rewritten, the keys are
    /// destroyed, and the files follow with the next destruction or start.
    pub async fn destroy_data_keys(&self, scopes: &[Scope]) -> Result<(), CommitError> {
        self.destroy(ranges_of_scopes(scopes)).await
    }

    /// As [`Store::destroy_data_keys`], for every scope of these kinds with this first coordinate.
    ///
    /// # Errors
    /// As there.
    pub async fn destroy_data_keys_of(&self, kinds: &[u8], a: u64) -> Result<(), CommitError> {
        self.destroy(kinds.iter().map(|kind| ScopeRange { kind: *kind, a, from: 0, to: u64::MAX }).collect()).await
    }

    async fn destroy(&self, ranges: Vec<ScopeRange>) -> Result<(), CommitError> {
        let alone = Arc::clone(self.scope_lock()).write_owned().await;
        let core = Arc::clone(self.core());
        let work = move || {
            let destroyed = core.keyring().destroy(&ranges);
            // Files take long to rewrite; keys may be made meanwhile.
            drop(alone);
            let erased = core.keyring().vault().erase();
            destroyed.and(erased)
        };
        let destroyed = tokio::task::spawn_blocking(work).await;
        destroyed.map_err(|_| CommitError::Engine("the destruction was interrupted".into()))?
    }
}
