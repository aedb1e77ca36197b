//! Thumbnails (client-server API, section "Thumbnails").

mod render;
mod sizes;

use std::{
    num::NonZero,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use quick_cache::sync::Cache;
use tokio::sync::Semaphore;
use wardroom_store::{Batch, CommitError, Packed, Scan};

use self::render::{Outcome, Refusal};
pub(crate) use self::render::{guarded, inspect};
pub use self::sizes::{Method, Size, THUMBNAIL_SIZES_DEFAULT};
use crate::{
    Content, Media, MediaError,
    blobs::{BlobWriter, NewBlob},
    keyed_locks::KeyedLocks,
    tables::{ContentRow, MEDIA, MediaKey, REMOTE_MEDIA, THUMBNAILS, ThumbnailKey, ThumbnailRow},
};

/// Most images that are decoded at the same time: half as many as there are processors, for messages need some too.
const RENDERS_MAX: usize = 4;
/// Images with more pixels are decoded one at a time, for their memory.
const LARGE_PIXELS: u64 = 16_000_000;
/// Wishes that wait for their turn.
const WAITING_MAX: usize = 256;
/// Longest image file that is read for a thumbnail, in bytes.
const SOURCE_BYTES_MAX: u64 = 32 << 20;
/// Thumbnails kept of one media. A client may crop in any shape; more than these are made and not kept.
const KEPT_PER_MEDIA_MAX: usize = 32;
/// Media remembered of which no thumbnails can be made, about 30 bytes each.
const REFUSED_MAX: usize = 4_096;
/// When to try again if too many wait.
const BUSY_RETRY: Duration = Duration::from_secs(2);
/// How often a thumbnail is kept whose media changed meanwhile.
const KEEP_TRIES_MAX: usize = 8;
/// What a thumbnail is called.
const FILENAME: &str = "thumbnail";

/// A wish for a thumbnail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thumbnail {
    /// At least so large, if the image is.
    pub size: Size,
    /// Whether it may move.
    pub animated: bool,
}

/// Makes thumbnails, a few at a time.
#[derive(Debug)]
pub(crate) struct Thumbnailer {
    sizes: Vec<Size>,
    renders: Arc<Semaphore>,
    /// Held by who decodes a large image, beside one of `renders`.
    large: Arc<Semaphore>,
    waiting: AtomicUsize,
    making: KeyedLocks<ThumbnailKey>,
    refused: Cache<MediaKey, Refusal>,
}

/// A place among those that wait.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Thumbnailer {
    pub(crate) fn new(sizes: Vec<Size>) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
        Self {
            sizes,
            renders: Arc::new(Semaphore::new((processors / 2).clamp(1, RENDERS_MAX))),
            large: Arc::new(Semaphore::new(1)),
            waiting: AtomicUsize::new(0),
            making: KeyedLocks::default(),
            refused: Cache::new(REFUSED_MAX),
        }
    }

    fn wait(&self) -> Result<Waiting<'_>, MediaError> {
        let waiting = Waiting(&self.waiting);
        if self.waiting.fetch_add(1, Ordering::Relaxed) < WAITING_MAX {
            Ok(waiting)
        } else {
            Err(MediaError::Busy { retry_after: BUSY_RETRY })
        }
    }
}

impl From<Refusal> for MediaError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotAnImage => Self::NotAnImage,
            Refusal::TooLarge => Self::TooLargeToThumbnail,
        }
    }
}

impl Media {
    /// A thumbnail of a content: one that was made before, or a new one; the content itself where it is small enough.
    ///
    /// # Errors
    /// `NotAnImage`, `TooLargeToThumbnail`, or `Busy` when too many are wanted at once.
    pub async fn thumbnail(&self, content: &Content, wanted: Thumbnail) -> Result<Content, MediaError> {
        if let Some(refusal) = self.0.thumbnailer.refused.get(&content.media) {
            return Err(refusal.into());
        }
        let size = sizes::snapped(wanted.size, &self.0.thumbnailer.sizes);
        let wanted = Thumbnail { size, animated: wanted.animated };
        if let Some(made) = self.made(content, wanted).await? {
            return Ok(made);
        }
        // A task of its own: once begun it is made for whoever asks next, also if this client hangs up.
        let (media, content) = (self.clone(), content.clone());
        tokio::spawn(async move { media.make(&content, wanted).await }).await?
    }

    /// A thumbnail that was made before.
    async fn made(&self, content: &Content, wanted: Thumbnail) -> Result<Option<Content>, MediaError> {
        let view = self.0.store.latest();
        let mut wanted = wanted;
        // The wish for a moving one may have led to the still one; that leads nowhere else.
        for _ in 0..2 {
            let row = view.get(&THUMBNAILS, &key(content, wanted)).await?;
            match row {
                Some(Packed(ThumbnailRow::Made { blob, content_type })) => {
                    let row = ContentRow { blob, content_type, filename: Some(FILENAME.to_owned()) };
                    return Ok(Some(Content::new(self, content.media, row)));
                }
                Some(Packed(ThumbnailRow::Original { content_type })) => {
                    return Ok(Some(content.as_type(content_type)));
                }
                Some(Packed(ThumbnailRow::Still)) => wanted.animated = false,
                None => return Ok(None),
            }
        }
        Ok(None)
    }

    async fn make(&self, content: &Content, wanted: Thumbnail) -> Result<Content, MediaError> {
        let thumbnailer = &self.0.thumbnailer;
        let waiting = thumbnailer.wait()?;
        let wanted = self.within_bounds(content, wanted).await?;
        let _making = thumbnailer.making.lock(&key(content, wanted)).await;
        if let Some(made) = self.made(content, wanted).await? {
            return Ok(made);
        }
        let permit = thumbnailer.renders.clone().acquire_owned().await.map_err(|_| MediaError::Stopped)?;
        drop(waiting);
        let Some(source) = content.whole(SOURCE_BYTES_MAX).await? else {
            return Err(self.refuse(content, Refusal::TooLarge));
        };
        let inspect = move || (inspect(&source), source);
        let (head, source) = tokio::task::spawn_blocking(inspect).await?;
        let head = head.map_err(|refusal| self.refuse(content, refusal))?;
        let large = match head.pixels() > LARGE_PIXELS {
            true => Some(thumbnailer.large.clone().acquire_owned().await.map_err(|_| MediaError::Stopped)?),
            false => None,
        };
        let render = move || {
            let outcome = guarded(&source, wanted.size, wanted.animated);
            drop((source, large, permit));
            outcome
        };
        match tokio::task::spawn_blocking(render).await? {
            Err(refusal) => Err(self.refuse(content, refusal)),
            Ok(Outcome::Original { content_type }) => {
                let content_type = content_type.to_owned();
                let row = ThumbnailRow::Original { content_type: content_type.clone() };
                self.keep(content, wanted, &row, None).await?;
                Ok(content.as_type(content_type))
            }
            Ok(Outcome::Image { bytes, content_type, animated }) => {
                if wanted.animated && !animated {
                    self.keep(content, wanted, &ThumbnailRow::Still, None).await?;
                }
                let made = Thumbnail { animated, ..wanted };
                self.keep_image(content, made, &bytes, content_type).await
            }
        }
    }

    /// Stores a new thumbnail, or finds that somebody else was faster.
    async fn keep_image(
        &self,
        content: &Content,
        wanted: Thumbnail,
        bytes: &[u8],
        content_type: &str,
    ) -> Result<Content, MediaError> {
        let mut writer = BlobWriter::create(&self.0.blobs, content.blob.number).await?;
        writer.write(bytes).await?;
        let file = writer.finish(&self.0.keys).await?;
        let (blob, content_type) = (file.row().clone(), content_type.to_owned());
        let row = ThumbnailRow::Made { blob: blob.clone(), content_type: content_type.clone() };
        let kept = self.keep(content, wanted, &row, Some(file)).await;
        if matches!(kept, Err(MediaError::NotFound)) && !self.is_there(content).await? {
            // Deleted meanwhile: a key that was made since is nobody's.
            self.0.keys.give_up(content.blob.number).await;
        }
        if kept? {
            let row = ContentRow { blob, content_type, filename: Some(FILENAME.to_owned()) };
            return Ok(Content::new(self, content.media, row));
        }
        self.made(content, wanted).await?.ok_or(MediaError::NotFound)
    }

    /// A wish that leads to no more than so many thumbnails of one media.
    async fn within_bounds(&self, content: &Content, wanted: Thumbnail) -> Result<Thumbnail, MediaError> {
        let sizes = &self.0.thumbnailer.sizes;
        if sizes.contains(&wanted.size) || wanted.size == Size::WHOLE {
            return Ok(wanted);
        }
        let kept = Scan::prefix(&content.media).limit(KEPT_PER_MEDIA_MAX);
        let kept = self.0.store.latest().scan_keys(&THUMBNAILS, kept).await?;
        if kept.len() < KEPT_PER_MEDIA_MAX {
            return Ok(wanted);
        }
        let size = sizes::snapped(Size { method: Method::Scale, ..wanted.size }, sizes);
        Ok(Thumbnail { size, ..wanted })
    }

    /// Remembers what became of a wish. Answers false if that is known already.
    ///
    /// # Errors
    /// `NotFound` when the media went away or was hidden meanwhile.
    async fn keep(
        &self,
        content: &Content,
        wanted: Thumbnail,
        row: &ThumbnailRow,
        file: Option<NewBlob>,
    ) -> Result<bool, MediaError> {
        let mut file = file;
        for _ in 0..KEEP_TRIES_MAX {
            let view = self.0.store.latest();
            let mut batch = Batch::default();
            self.expect_visible(&mut batch, &content.media).await?;
            if view.get(&THUMBNAILS, &key(content, wanted)).await?.is_some() {
                return Ok(false);
            }
            batch.expect_absent(&THUMBNAILS, &key(content, wanted));
            batch.put(&THUMBNAILS, &key(content, wanted), &Packed(row.clone()));
            if let Some(file) = &mut file {
                self.put_blob(&mut batch, file);
                file.keep();
            }
            match self.0.store.commit(batch).await {
                Ok(_) => return Ok(true),
                Err(CommitError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(MediaError::Busy { retry_after: BUSY_RETRY })
    }

    /// Lets the batch fail if the media is deleted or hidden meanwhile, be it this server's or another's.
    async fn expect_visible(&self, batch: &mut Batch, media: &MediaKey) -> Result<(), MediaError> {
        let view = self.0.store.latest();
        if let Some((Packed(row), version)) = view.get_versioned(&MEDIA, media).await? {
            batch.expect_version(&MEDIA, media, Some(version));
            return if row.quarantined_ms.is_none() { Ok(()) } else { Err(MediaError::NotFound) };
        }
        let remote = view.get_versioned(&REMOTE_MEDIA, media).await?;
        let visible = remote.filter(|(Packed(row), _)| row.quarantined_ms.is_none() && row.content.is_some());
        let (_, version) = visible.ok_or(MediaError::NotFound)?;
        batch.expect_version(&REMOTE_MEDIA, media, Some(version));
        Ok(())
    }

    /// Whether the media still has this content.
    async fn is_there(&self, content: &Content) -> Result<bool, MediaError> {
        let view = self.0.store.latest();
        let local = view.get(&MEDIA, &content.media).await?.and_then(|Packed(row)| row.content);
        let remote = view.get(&REMOTE_MEDIA, &content.media).await?.and_then(|Packed(row)| row.content);
        Ok(local.into_iter().chain(remote).any(|now| now.blob.number == content.blob.number))
    }

    fn refuse(&self, content: &Content, refusal: Refusal) -> MediaError {
        self.0.thumbnailer.refused.insert(content.media, refusal);
        refusal.into()
    }
}

fn key(content: &Content, wanted: Thumbnail) -> ThumbnailKey {
    let Size { width, height, method } = wanted.size;
    (content.media, method.number(), width, height, wanted.animated)
}
