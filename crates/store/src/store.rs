//! The store's handle.

use std::{
    fmt, io,
    path::Path,
    sync::Arc,
    thread::{self, JoinHandle},
};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    Batch, Catalogue, CommitError, Interner, KeysCopy, Position, Stats, View, Watches,
    batch::Flaw,
    committer::{Committer, Message, QUEUE_BATCHES_MAX, Request},
    disk::DiskGate,
    engine::{Engine, Fault, Read},
    keyring::Keyring,
    scopes::ScopeLock,
    stats::Counters,
};

/// The newest position, and the data as it was then.
struct Published {
    position: Position,
    snapshot: Arc<dyn Read>,
}

/// What the handle, its views and the committer share.
pub(crate) struct Core {
    engine: Arc<dyn Engine>,
    keyring: Keyring,
    pub(crate) watches: Watches,
    pub(crate) counters: Counters,
    published: RwLock<Published>,
    followers: watch::Sender<Position>,
    opened_at: Position,
    opened_unix_seconds: u64,
}

impl Core {
    pub(crate) fn new(
        engine: Arc<dyn Engine>,
        keyring: Keyring,
        opened_at: Position,
        opened_unix_seconds: u64,
    ) -> Self {
        let published = Published { position: opened_at, snapshot: engine.snapshot() };
        Self {
            engine,
            keyring,
            watches: Watches::new(),
            counters: Counters::default(),
            published: RwLock::new(published),
            followers: watch::Sender::new(opened_at),
            opened_at,
            opened_unix_seconds,
        }
    }

    pub(crate) fn engine(&self) -> &dyn Engine {
        &*self.engine
    }

    pub(crate) fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    pub(crate) fn opened_unix_seconds(&self) -> u64 {
        self.opened_unix_seconds
    }

    pub(crate) fn position(&self) -> Position {
        self.published.read().position
    }

    /// The newest position with its data.
    pub(crate) fn published(&self) -> (Position, Arc<dyn Read>) {
        let published = self.published.read();
        (published.position, Arc::clone(&published.snapshot))
    }

    /// Makes a position visible. Position and snapshot move together: the snapshot is taken by the committer between
    /// two writes, so it shows exactly the commits up to its position.
    pub(crate) fn publish(&self, position: Position, data_moved: bool) {
        let snapshot = data_moved.then(|| self.engine.snapshot());
        let previous = {
            let mut published = self.published.write();
            published.position = position;
            snapshot.map(|snapshot| std::mem::replace(&mut published.snapshot, snapshot))
        };
        drop(previous);
        self.followers.send_replace(position);
    }
}

/// Waits for the committer when the last handle goes.
struct CommitterThread(Mutex<Option<JoinHandle<()>>>);

impl Drop for CommitterThread {
    fn drop(&mut self) {
        let Some(committer) = self.0.get_mut().take() else { return };
        // A hook may own the last handle: the committer does not wait for itself.
        if committer.thread().id() != thread::current().id() && committer.join().is_err() {
            tracing::error!("the committer panicked");
        }
    }
}

/// Fields are dropped in this order: without senders the committer ends, then its end is awaited.
struct Handle {
    queue: mpsc::Sender<Message>,
    _committer: CommitterThread,
    core: Arc<Core>,
    catalogue: Catalogue,
    interner: Interner,
    scope_lock: ScopeLock,
}

/// An open store. Clones are handles of the same store.
#[derive(Clone)]
pub struct Store(Arc<Handle>);

impl Store {
    /// Starts the committer over what was opened.
    pub(crate) fn start(
        core: Core,
        catalogue: Catalogue,
        interner: impl FnOnce(Arc<Core>) -> Interner,
        disk: Option<DiskGate>,
        sync: bool,
    ) -> io::Result<Self> {
        let core = Arc::new(core);
        let (sender, receiver) = mpsc::channel(QUEUE_BATCHES_MAX);
        let committer = Committer::new(Arc::clone(&core), receiver, disk, sync);
        let thread = thread::Builder::new().name("store-commit".to_owned()).spawn(|| committer.run())?;
        Ok(Self(Arc::new(Handle {
            queue: sender,
            _committer: CommitterThread(Mutex::new(Some(thread))),
            interner: interner(Arc::clone(&core)),
            core,
            catalogue,
            scope_lock: ScopeLock::default(),
        })))
    }

    /// Commits what was handed in before and refuses what comes later, from any handle. When this was the last handle
    /// and no view is left, the directory is free to be opened again.
    pub async fn close(self) {
        let (closed, wait) = oneshot::channel();
        if self.0.queue.send(Message::Close(closed)).await.is_ok() {
            let _ = wait.await;
        }
        // Joining the committer and closing the engine block.
        let _ = tokio::task::spawn_blocking(move || drop(self)).await;
    }

    /// The newest published position.
    pub fn position(&self) -> Position {
        self.0.core.position()
    }

    /// The first position of this run; [`Self::watches`] know nothing of what was touched before.
    pub fn opened_at(&self) -> Position {
        self.0.core.opened_at
    }

    /// Follows the published position, for those who tail the log.
    pub fn published(&self) -> watch::Receiver<Position> {
        self.0.core.followers.subscribe()
    }

    /// The newest committed data, at each read; pins nothing.
    pub fn latest(&self) -> View {
        View::latest(Arc::clone(&self.0.core))
    }

    /// The data as of the newest published position. Holding it keeps old versions of rows on disk: not for long.
    pub fn snapshot(&self) -> View {
        View::snapshot(Arc::clone(&self.0.core))
    }

    /// Commits a batch: durable, visible and in the log when it returns. Once handed to the committer it is committed
    /// even if the caller stops waiting.
    ///
    /// # Errors
    /// When the batch cannot be committed; nothing of it is visible then.
    pub async fn commit(&self, batch: Batch) -> Result<Position, CommitError> {
        match batch.flaw() {
            Some(Flaw::TooLarge) => return Err(CommitError::TooLarge),
            Some(Flaw::WrongSeal(table)) => return Err(CommitError::WrongTable { table }),
            None => {}
        }
        if let Some(table) = batch.tables().find(|table| !self.0.catalogue.declares(table)) {
            return Err(CommitError::WrongTable { table: table.name });
        }
        let (answer, answered) = oneshot::channel();
        let request = Message::Commit(Request { batch, answer });
        self.0.queue.send(request).await.map_err(|_| CommitError::Closed)?;
        answered.await.map_err(|_| CommitError::Closed)?
    }

    /// Who waits for what.
    pub fn watches(&self) -> &Watches {
        &self.0.core.watches
    }

    /// Names to numbers.
    pub fn interner(&self) -> &Interner {
        &self.0.interner
    }

    /// HMAC-SHA256 under the store's own index key, truncated to 16 bytes: for keys that must not show what they
    /// stand for. Domains keep equal bytes of different meaning apart.
    pub fn keyed_hash(&self, domain: u8, bytes: &[u8]) -> [u8; 16] {
        self.0.core.keyring.keyed_hash([HASH_DOMAIN, domain], bytes)
    }

    /// Copies the database as it is now into a new directory, while it is in use, but for the keys of scopes: what these
    /// sealed can be read only with a copy of the keys that was made later. On one file system it costs hard links.
    ///
    /// # Errors
    /// When the engine cannot copy, for instance because the directory exists.
    pub async fn checkpoint(&self, dir: &Path) -> Result<(), CheckpointError> {
        let (core, dir) = (Arc::clone(&self.0.core), dir.to_owned());
        let copied = tokio::task::spawn_blocking(move || core.engine.checkpoint(&dir)).await;
        copied.map_err(|_| CheckpointError("it was interrupted".into()))?.map_err(CheckpointError::from)
    }

    /// Copies the keys of scopes and the shred journal as they are now into a new directory, while they are in use.
    /// A copy of the database that was made before opens with them.
    ///
    /// # Errors
    /// When they cannot be copied, for instance because the directory exists.
    pub async fn copy_keys(&self, dir: &Path) -> Result<KeysCopy, CheckpointError> {
        let undisturbed = Arc::clone(&self.0.scope_lock).read_owned().await;
        let (core, dir) = (Arc::clone(&self.0.core), dir.to_owned());
        let work = move || {
            let copied = core.keyring.vault().copy(&dir);
            drop(undisturbed);
            copied
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| CheckpointError("it was interrupted".into()))?
    }

    /// Keeps an entry beside the keys, durably: it is there also where an older copy of the data is restored with newer keys.
    /// Entries are never deleted.
    ///
    /// # Errors
    /// When it cannot be written, or has more than 65,536 bytes; it is not there then.
    pub async fn keep(&self, entry: Bytes) -> Result<(), CommitError> {
        self.beside_keys(move |core| core.keyring.vault().keep(entry)).await
    }

    /// Everything that was kept beside the keys, in the order in which it was.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn kept(&self) -> Result<Vec<Bytes>, CommitError> {
        self.beside_keys(|core| core.keyring.vault().kept()).await
    }

    async fn beside_keys<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Core) -> Result<T, CommitError> + Send + 'static,
    ) -> Result<T, CommitError> {
        let core = Arc::clone(&self.0.core);
        let done = tokio::task::spawn_blocking(move || work(&core)).await;
        done.map_err(|_| CommitError::Engine("what is kept beside the keys was interrupted".into()))?
    }

    /// What was counted since opening.
    pub fn stats(&self) -> Stats {
        self.0.core.counters.stats()
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.0.core
    }

    pub(crate) fn scope_lock(&self) -> &ScopeLock {
        &self.0.scope_lock
    }
}

/// Keeps the hashes of callers apart from those of the store.
const HASH_DOMAIN: u8 = 1;

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("position", &self.position()).finish_non_exhaustive()
    }
}

/// The store could not be copied.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the copy failed: {0}")]
pub struct CheckpointError(pub(crate) Arc<str>);

impl From<Fault> for CheckpointError {
    fn from(fault: Fault) -> Self {
        CommitError::from(fault).into()
    }
}

impl From<CommitError> for CheckpointError {
    fn from(error: CommitError) -> Self {
        Self(error.to_string().into())
    }
}

impl From<io::Error> for CheckpointError {
    fn from(error: io::Error) -> Self {
        Self(error.to_string().into())
    }
}
