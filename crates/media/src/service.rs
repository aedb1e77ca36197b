//! The service.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use ruma::OwnedServerName;
use tokio::sync::Semaphore;
use wardroom_audit::AuditLog;
use wardroom_clock::SharedClock;
use wardroom_holds::Holds;
use wardroom_outbound::Outbound;
use wardroom_store::{Batch, Scan, Store};

use crate::{
    MediaError, MediaId, PreviewSettings, Size,
    blobs::Blobs,
    content::PAGE_ROWS,
    keyed_locks::KeyedLocks,
    previews::Previews,
    tables::{BLOBS, BlobRow, MediaKey, domain},
    thumbnails::Thumbnailer,
    upload::{UPLOADS_MAX, Uploading},
};

/// How the content repository works.
#[derive(Debug)]
pub struct Settings {
    /// Name of this server.
    pub server_name: OwnedServerName,
    /// Directory of the files; made if it is not there.
    pub dir: PathBuf,
    /// Whether a file is on stable storage before an upload is answered.
    pub sync: bool,
    /// Largest upload, in bytes.
    pub upload_bytes_max: u64,
    /// What one user may store, in bytes; none for as much as there is space.
    pub user_bytes_max: Option<u64>,
    /// Largest content that is taken from another server, in bytes.
    pub remote_bytes_max: u64,
    /// How long a content of another server is kept that nobody looks at, in days; none for ever.
    pub remote_cache_days: Option<u32>,
    /// Sizes in which thumbnails are made.
    pub thumbnail_sizes: Vec<Size>,
    /// Previews of pages, and who asks for them; none for no previews.
    pub previews: Option<(Outbound, PreviewSettings)>,
    /// What must not be deleted.
    pub holds: Holds,
}

/// The content repository. Clones share everything.
#[derive(Clone, Debug)]
pub struct Media(pub(crate) Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) store: Store,
    pub(crate) clock: SharedClock,
    pub(crate) audit: AuditLog,
    pub(crate) holds: Holds,
    pub(crate) server_name: OwnedServerName,
    pub(crate) blobs: Blobs,
    pub(crate) upload_bytes_max: u64,
    pub(crate) user_bytes_max: Option<u64>,
    pub(crate) remote_bytes_max: u64,
    pub(crate) remote_cache_days: Option<u32>,
    pub(crate) fetching: KeyedLocks<MediaKey>,
    pub(crate) uploads: Arc<Semaphore>,
    pub(crate) uploading: Mutex<Uploading>,
    pub(crate) thumbnailer: Thumbnailer,
    pub(crate) previews: Option<Previews>,
    pub(crate) counters: Arc<Counters>,
}

/// What is stored, counted as commits happen.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    files: AtomicU64,
    bytes: AtomicU64,
}

/// What is stored: uploads, thumbnails, images of previews, and what was fetched from other servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// Files.
    pub files: u64,
    /// Bytes of content.
    pub bytes: u64,
}

impl Media {
    /// Opens the repository: removes what a crash left half-written, and counts what is there.
    ///
    /// # Errors
    /// When the directory cannot be made or the store not be read.
    pub async fn open(
        store: Store,
        clock: SharedClock,
        audit: AuditLog,
        settings: Settings,
    ) -> Result<Self, MediaError> {
        let (dir, sync) = (settings.dir, settings.sync);
        let blobs = tokio::task::spawn_blocking(move || Blobs::open(&dir, sync)).await?;
        let media = Self(Arc::new(Inner {
            store,
            clock,
            audit,
            holds: settings.holds,
            server_name: settings.server_name,
            blobs: blobs?,
            upload_bytes_max: settings.upload_bytes_max,
            user_bytes_max: settings.user_bytes_max,
            remote_bytes_max: settings.remote_bytes_max,
            remote_cache_days: settings.remote_cache_days,
            fetching: KeyedLocks::default(),
            uploads: Arc::new(Semaphore::new(UPLOADS_MAX)),
            uploading: Mutex::default(),
            thumbnailer: Thumbnailer::new(settings.thumbnail_sizes),
            previews: settings.previews.map(|(outbound, previews)| Previews::new(outbound, &previews)),
            counters: Arc::default(),
        }));
        media.count().await?;
        Ok(media)
    }

    /// Largest upload, in bytes (`m.upload.size`).
    pub fn upload_bytes_max(&self) -> u64 {
        self.0.upload_bytes_max
    }

    /// What is stored.
    pub fn totals(&self) -> Totals {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Totals { files: load(&self.0.counters.files), bytes: load(&self.0.counters.bytes) }
    }

    async fn count(&self) -> Result<(), MediaError> {
        let view = self.0.store.latest();
        let mut scan = Scan::all().limit(PAGE_ROWS);
        loop {
            let page = view.scan(&BLOBS, scan).await?;
            for (_, bytes) in &page {
                self.0.counters.add(*bytes);
            }
            match page.last() {
                Some((name, _)) if page.len() == PAGE_ROWS => scan = Scan::all().after(name).limit(PAGE_ROWS),
                _ => return Ok(()),
            }
        }
    }

    /// The key of a media of this server.
    ///
    /// # Errors
    /// `NotFound` for those of others.
    pub(crate) fn local_key(&self, media: &MediaId) -> Result<MediaKey, MediaError> {
        if self.is_local(media) { Ok(self.key(media)) } else { Err(MediaError::NotFound) }
    }

    pub(crate) fn key(&self, media: &MediaId) -> MediaKey {
        // A server's name holds no slash.
        let name = format!("{}/{}", media.server(), media.id());
        self.0.store.keyed_hash(domain::MEDIA, name.as_bytes())
    }

    /// Names a file in the batch.
    pub(crate) fn put_blob(&self, batch: &mut Batch, blob: &BlobRow) {
        batch.put(&BLOBS, &blob.name, &blob.length);
        let (counters, bytes) = (Arc::clone(&self.0.counters), blob.length);
        batch.on_commit(move |_| counters.add(bytes));
    }

    /// Takes a file's row away. The file itself goes after the commit.
    pub(crate) fn delete_blob(&self, batch: &mut Batch, blob: &BlobRow) {
        batch.delete(&BLOBS, &blob.name);
        let (counters, bytes) = (Arc::clone(&self.0.counters), blob.length);
        batch.on_commit(move |_| counters.remove(bytes));
    }
}

impl Counters {
    fn add(&self, bytes: u64) {
        self.files.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn remove(&self, bytes: u64) {
        self.files.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}
