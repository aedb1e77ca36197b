//! Keys of files. Each file is sealed with a key of its own. That key lies in a row which is sealed with the data key of
//! the file's *number*, and data keys of numbers lie in the key store, apart from the database. A media, its content and
//! its thumbnails, has one number. So with the data key destroyed nothing of the media can be read any more, whatever
//! copies there are of the database and of the files.
//!
//! Destroying keys rewrites files of the key store. So deletions are gathered: a media that is deleted is gone for
//! everybody at once, with the rows that hold the keys of its files, and its number waits in a queue, written in the same
//! batch, for [`Media::run_shredding`]. A crash at any moment leaves the number in the queue.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;
use wardroom_store::{
    Batch, CommitError, DataKey, Key, Packed, Profile, ReadError, Scan, Scope, Seal, Store, Table, Value,
};
use zeroize::{Zeroize as _, Zeroizing};

use crate::{
    Media, MediaError,
    blobs::{BlobName, NewBlob},
    content::PAGE_ROWS,
    seal::KEY_BYTES,
    tables::{BlobRow, ContentRow, MEDIA, MediaKey, REMOTE_MEDIA},
};

/// Scopes of numbers of media in the key store.
const MEDIA_NUMBER: u8 = 0x30;
/// Deletions are gathered for so long before their keys are destroyed together.
const GATHERING: Duration = Duration::from_secs(5);
/// What could not be destroyed is tried again after this.
const PERIOD: Duration = Duration::from_secs(60);
/// Keys that are destroyed in one go.
const DESTROYED_AT_ONCE: usize = 10_000;

/// (number of the media, file) -> key of the file, sealed with the data key of the number.
pub(crate) const FILE_KEYS: Table<(u64, BlobName), Vec<u8>> =
    Table::new(0x0314, "media_file_keys", Profile::Scan, Seal::Scoped);
/// Numbers of deleted media, whose data keys are to be destroyed.
pub(crate) const DOOMED: Table<u64, ()> = Table::new(0x0315, "media_doomed", Profile::Churn, Seal::System);

/// The keys of files. Clones share everything.
#[derive(Clone, Debug)]
pub(crate) struct FileKeys {
    store: Store,
    next: Arc<AtomicU64>,
    doomed: Arc<Notify>,
}

fn scope(number: u64) -> Scope {
    Scope { kind: MEDIA_NUMBER, a: 0, b: number }
}

impl FileKeys {
    pub(crate) async fn open(store: Store) -> Result<Self, ReadError> {
        let view = store.latest();
        let last = Scan::all().reverse().limit(1);
        let used = view.scan_keys(&FILE_KEYS, last.clone()).await?.pop().map(|(number, _)| number);
        // A number whose key is yet to be destroyed is not given to anything else.
        let doomed = view.scan_keys(&DOOMED, last).await?.pop();
        let next = used.max(doomed).map_or(1, |last| last + 1);
        Ok(Self { store, next: Arc::new(AtomicU64::new(next)), doomed: Arc::default() })
    }

    /// A number for a new media.
    pub(crate) fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// The data key of a number; made on first use, together with those that are wanted at the same time.
    pub(crate) async fn of(&self, number: u64) -> Result<DataKey, CommitError> {
        self.store.data_key(scope(number)).await
    }

    /// Keeps the key of a file.
    pub(crate) fn put(batch: &mut Batch, file: &NewBlob) {
        let row = file.row();
        batch.put_sealed(&FILE_KEYS, &(row.number, row.name), &file.key().to_vec(), file.sealed_with());
    }

    /// Takes the key of a file away, and has it destroyed with all others of its media.
    pub(crate) fn doom(&self, batch: &mut Batch, blob: &BlobRow) {
        batch.delete(&FILE_KEYS, &(blob.number, blob.name));
        batch.put(&DOOMED, &blob.number, &());
        let doomed = Arc::clone(&self.doomed);
        batch.on_commit(move |_| doomed.notify_one());
    }

    /// Has the key of a number destroyed that nothing was made of. If that fails, a key stays that opens nothing.
    pub(crate) async fn give_up(&self, number: u64) {
        let mut batch = Batch::default();
        batch.put(&DOOMED, &number, &());
        if self.store.commit(batch).await.is_ok() {
            self.doomed.notify_one();
        }
    }

    /// The key of a file.
    ///
    /// # Errors
    /// `NotFound` when it was deleted, or destroyed.
    pub(crate) async fn key_of(&self, blob: &BlobRow) -> Result<Zeroizing<[u8; KEY_BYTES]>, MediaError> {
        match self.store.latest().get(&FILE_KEYS, &(blob.number, blob.name)).await {
            Ok(Some(mut bytes)) => {
                let key = bytes.as_slice().try_into().map(Zeroizing::new).map_err(|_| MediaError::Damaged);
                bytes.zeroize();
                key
            }
            Ok(None) | Err(ReadError::Shredded) => Err(MediaError::NotFound),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether the file was destroyed while its rows are there.
    async fn is_destroyed(&self, blob: &BlobRow) -> Result<bool, ReadError> {
        match self.store.latest().get(&FILE_KEYS, &(blob.number, blob.name)).await {
            Err(ReadError::Shredded) => Ok(true),
            Ok(_) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl Media {
    /// Destroys the keys of what was deleted, soon after, as long as the server runs.
    pub async fn run_shredding(self) {
        loop {
            match self.shred().await {
                Ok(0) => {}
                Ok(media) => tracing::info!(media, "keys of deleted media were destroyed"),
                Err(error) => tracing::warn!(%error, "keys of deleted media could not be destroyed"),
            }
            let _ = tokio::time::timeout(PERIOD, self.0.keys.doomed.notified()).await;
            tokio::time::sleep(GATHERING).await;
        }
    }

    /// Destroys the keys of what was deleted; answers of how many media.
    ///
    /// # Errors
    /// When the key store or the store fails; doing it again goes on.
    pub async fn shred(&self) -> Result<u64, MediaError> {
        let mut count = 0;
        loop {
            let doomed = Scan::all().limit(DESTROYED_AT_ONCE);
            let doomed = self.0.store.latest().scan_keys(&DOOMED, doomed).await?;
            if doomed.is_empty() {
                return Ok(count);
            }
            let scopes: Vec<Scope> = doomed.iter().copied().map(scope).collect();
            self.0.store.destroy_data_keys(&scopes).await?;
            let mut batch = Batch::default();
            for number in &doomed {
                batch.delete(&DOOMED, number);
            }
            self.0.store.commit(batch).await?;
            count += doomed.len() as u64;
        }
    }

    /// Takes away the media whose keys were destroyed while the rest of them is there, as an older copy of the data has
    /// it beside newer keys. For a store that nobody else uses yet. Answers how many there were.
    ///
    /// # Errors
    /// When the store fails; doing it again goes on.
    pub async fn remove_remains(&self) -> Result<u64, MediaError> {
        let blob_of = |content: Option<ContentRow>| content.map(|content| content.blob);
        let mut count = 0;
        for key in self.destroyed(&MEDIA, |Packed(row)| blob_of(row.content)).await? {
            count += u64::from(self.delete_key(&key, Some("restore"), |_| true).await?);
        }
        for key in self.destroyed(&REMOTE_MEDIA, |Packed(row)| blob_of(row.content)).await? {
            count += u64::from(self.delete_remote(&key, Some("restore"), |_| true).await?);
        }
        Ok(count)
    }

    /// The rows of a table that name a file whose key was destroyed.
    async fn destroyed<V: Value + Send + 'static>(
        &self,
        table: &Table<MediaKey, V>,
        blob_of: impl Fn(V) -> Option<BlobRow>,
    ) -> Result<Vec<MediaKey>, MediaError>
    where
        MediaKey: Key,
    {
        let (mut found, mut scan) = (Vec::new(), Scan::all().limit(PAGE_ROWS));
        loop {
            let page = self.0.store.latest().scan(table, scan).await?;
            let Some((last, _)) = page.last() else { return Ok(found) };
            scan = Scan::all().after(last).limit(PAGE_ROWS);
            for (key, row) in page {
                let Some(blob) = blob_of(row) else { continue };
                if self.0.keys.is_destroyed(&blob).await? {
                    found.push(key);
                }
            }
        }
    }
}
