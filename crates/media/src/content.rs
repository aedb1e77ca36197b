//! Contents on their way out.

use std::{ops::Range, time::Duration};

use bytes::Bytes;
use wardroom_store::{Packed, ReadError};

use crate::{
    Media, MediaError, MediaId,
    blobs::{BlobReader, Blobs},
    keys::FileKeys,
    tables::{BlobRow, ContentRow, MEDIA, MediaKey, MediaRow, watch_key},
};

/// How long a download waits for a content that was announced, unless it says otherwise, in milliseconds
/// (client-server API, `timeout_ms`).
pub const WAIT_DEFAULT_MS: u64 = 20_000;
/// How long it waits at most.
pub const WAIT_MAX_MS: u64 = 60_000;

/// A content that may be read.
#[derive(Debug, Clone)]
pub struct Content {
    blobs: Blobs,
    keys: FileKeys,
    pub(crate) media: MediaKey,
    pub(crate) blob: BlobRow,
    /// The media type that was given with it, or that its bytes say; always a valid header value.
    pub content_type: String,
    /// The name that was given with it.
    pub filename: Option<String>,
}

impl Content {
    pub(crate) fn new(media: &Media, key: MediaKey, row: ContentRow) -> Self {
        let (blobs, keys) = (media.0.blobs.clone(), media.0.keys.clone());
        Self { blobs, keys, media: key, blob: row.blob, content_type: row.content_type, filename: row.filename }
    }

    /// The same content under another name, or none.
    #[must_use]
    pub fn named(mut self, filename: Option<String>) -> Self {
        self.filename = filename;
        self
    }

    /// The same content as another type.
    pub(crate) fn as_type(&self, content_type: String) -> Self {
        let mut content = self.clone();
        content.content_type = content_type;
        content
    }

    /// Bytes.
    pub const fn length(&self) -> u64 {
        self.blob.length
    }

    /// What stays the same as long as the bytes do, and is different for any other content.
    pub fn tag(&self) -> String {
        self.blob.name[..8].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Reads a part of it. The first piece is read at once, so that a file that is damaged at its beginning is an
    /// error now and not an answer that breaks off.
    ///
    /// # Errors
    /// `NotFound` when it was deleted meanwhile; when the file is missing or damaged.
    pub async fn read(&self, range: Range<u64>) -> Result<ContentStream, MediaError> {
        let key = self.keys.key_of(&self.blob).await?;
        let mut reader = BlobReader::open(&self.blobs, &self.blob, &key, range).await?;
        let first = reader.next().await?;
        Ok(ContentStream { first, reader })
    }

    /// Reads all of it into memory.
    pub(crate) async fn whole(&self, bytes_max: u64) -> Result<Option<Vec<u8>>, MediaError> {
        if self.length() > bytes_max {
            return Ok(None);
        }
        let mut whole = Vec::with_capacity(usize::try_from(self.length()).unwrap_or(0));
        let mut stream = self.read(0..self.length()).await?;
        while let Some(piece) = stream.next().await? {
            whole.extend_from_slice(&piece);
        }
        Ok(Some(whole))
    }
}

/// The bytes of a content, piece by piece.
#[derive(Debug)]
pub struct ContentStream {
    first: Option<Bytes>,
    reader: BlobReader,
}

impl ContentStream {
    /// The next piece; none at the end.
    ///
    /// # Errors
    /// When the file is damaged.
    pub async fn next(&mut self) -> Result<Option<Bytes>, MediaError> {
        match self.first.take() {
            Some(first) => Ok(Some(first)),
            None => self.reader.next().await,
        }
    }
}

impl Media {
    /// The content of a media; waits for one that was announced (client-server API,
    /// `GET /_matrix/client/v1/media/download/{serverName}/{mediaId}`).
    ///
    /// # Errors
    /// `NotFound` for what is not there, has expired, is quarantined, or belongs to another server; `NotYetUploaded`
    /// when the content did not arrive in time.
    pub async fn content(&self, media: &MediaId, wait: Duration) -> Result<Content, MediaError> {
        let key = self.local_key(media)?;
        if let Some(content) = self.content_now(&key).await? {
            return Ok(content);
        }
        // Registered before the next look, so that an upload in between is not missed.
        let mut waiter = self.0.store.watches().waiter([watch_key(&key)]);
        let waiting = async {
            loop {
                if let Some(content) = self.content_now(&key).await? {
                    return Ok(content);
                }
                waiter.changed().await;
            }
        };
        let wait = wait.min(Duration::from_millis(WAIT_MAX_MS));
        tokio::time::timeout(wait, waiting).await.unwrap_or(Err(MediaError::NotYetUploaded))
    }

    /// The content, if it has arrived.
    async fn content_now(&self, key: &MediaKey) -> Result<Option<Content>, MediaError> {
        let row = self.visible(key).await?.ok_or(MediaError::NotFound)?;
        let Some(content) = row.content else { return Ok(None) };
        self.note_local_use(key).await?;
        Ok(Some(Content::new(self, *key, content)))
    }

    /// The row of a media that may be seen at all.
    pub(crate) async fn visible(&self, key: &MediaKey) -> Result<Option<MediaRow>, ReadError> {
        let row = self.0.store.latest().get(&MEDIA, key).await?.map(|Packed(row)| row);
        let now_ms = self.0.clock.now_ms();
        Ok(row.filter(|row| row.quarantined_ms.is_none() && row.expires_ms.is_none_or(|at_ms| at_ms > now_ms)))
    }
}

/// Rows read at a time where there may be many.
pub(crate) const PAGE_ROWS: usize = 1_000;
