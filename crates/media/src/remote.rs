//! Media of other servers, kept here for a while: what was fetched once is not fetched again as long as somebody looks
//! at it now and then.

use wardroom_audit::{Act, Record};
use wardroom_store::{Batch, CommitError, Packed, Position, ReadError, Scan};

use crate::{
    Content, Media, MediaError, MediaId,
    blobs::{BlobWriter, NewBlob},
    content::PAGE_ROWS,
    keyed_locks::KeyedGuard,
    moderation::record_of_hiding,
    tables::{ContentRow, MediaKey, REMOTE_MEDIA, REMOTE_MEDIA_BY_USE, RemoteRow, THUMBNAILS, ThumbnailRow, watch_key},
    upload::{content_type_or_unknown, filename_if_short},
};

/// How often a commit is tried that others got in the way of.
const COMMIT_TRIES_MAX: usize = 16;
/// When to try again after that.
const BUSY_RETRY: std::time::Duration = std::time::Duration::from_secs(1);
/// One day, in milliseconds: the grain in which it is noted when a media was last looked at.
pub(crate) const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// What is known of another server's media.
#[derive(Debug)]
pub enum Remote {
    /// It is here.
    Here(Content),
    /// It has to be fetched, into this.
    ToFetch(RemoteUpload),
}

/// A content on its way here from another server. Whoever else wants it waits until this ends. Dropping it ends it
/// without a trace.
#[derive(Debug)]
pub struct RemoteUpload {
    media: Media,
    id: MediaId,
    /// None until the first byte is there: those who wait for their turn hold no file.
    writer: Option<BlobWriter>,
    bytes_max: u64,
    _alone: KeyedGuard<MediaKey>,
}

impl RemoteUpload {
    /// Largest content that is taken, in bytes.
    pub const fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// Appends content.
    ///
    /// # Errors
    /// `RemoteTooLarge` beyond what is taken from other servers, or `DiskFull`.
    pub async fn write(&mut self, content: &[u8]) -> Result<(), MediaError> {
        let length = self.writer.as_ref().map_or(0, BlobWriter::length);
        if length.saturating_add(content.len() as u64) > self.bytes_max {
            return Err(MediaError::RemoteTooLarge { bytes_max: self.bytes_max });
        }
        let mut writer = self.take_writer().await?;
        writer.write(content).await?;
        self.writer = Some(writer);
        Ok(())
    }

    async fn take_writer(&mut self) -> Result<BlobWriter, MediaError> {
        match self.writer.take() {
            Some(writer) => Ok(writer),
            None => self.media.new_file().await,
        }
    }

    /// Completes it: durable and visible when it returns. What is said of it comes from another server, so a type that
    /// is none becomes `application/octet-stream`, and a name that is too long is left out.
    ///
    /// # Errors
    /// `NotFound` when it was quarantined meanwhile, or the store's.
    pub async fn finish(mut self, content_type: Option<&str>, filename: Option<&str>) -> Result<Content, MediaError> {
        let content_type = content_type_or_unknown(content_type);
        let filename = filename_if_short(filename);
        let keys = &self.media.0.keys.clone();
        let file = self.take_writer().await?.finish(keys).await?;
        let number = file.row().number;
        let content = ContentRow { blob: file.row().clone(), content_type, filename };
        let committed = self.media.commit_remote(&self.id, content, file).await;
        if committed.as_ref().map_or(true, |content| content.blob.number != number) {
            keys.give_up(number).await;
        }
        committed
    }
}

impl Media {
    /// Whether a media is one of this server's.
    pub fn is_local(&self, media: &MediaId) -> bool {
        *media.server() == *self.0.server_name
    }

    /// A media of another server, if it is here.
    ///
    /// # Errors
    /// `NotFound` for what is quarantined.
    pub async fn remote_now(&self, media: &MediaId) -> Result<Option<Content>, MediaError> {
        let key = self.key(media);
        let Some((row, version)) = self.remote_row(&key).await? else { return Ok(None) };
        if row.quarantined_ms.is_some() {
            return Err(MediaError::NotFound);
        }
        let Some(content) = row.content.clone() else { return Ok(None) };
        self.note_use(&key, row, version).await?;
        Ok(Some(Content::new(self, key, content)))
    }

    /// A media of another server, or the one place for fetching it. Waits while somebody else fetches it.
    ///
    /// # Errors
    /// `NotFound` for what is quarantined, or the store's.
    pub async fn remote(&self, media: &MediaId) -> Result<Remote, MediaError> {
        let alone = self.0.fetching.lock(&self.key(media)).await;
        if let Some(content) = self.remote_now(media).await? {
            return Ok(Remote::Here(content));
        }
        let (id, bytes_max) = (media.clone(), self.0.remote_bytes_max);
        Ok(Remote::ToFetch(RemoteUpload { media: self.clone(), id, writer: None, bytes_max, _alone: alone }))
    }

    async fn remote_row(&self, key: &MediaKey) -> Result<Option<(RemoteRow, Position)>, ReadError> {
        let found = self.0.store.latest().get_versioned(&REMOTE_MEDIA, key).await?;
        Ok(found.map(|(Packed(row), version)| (row, version)))
    }

    pub(crate) fn today(&self) -> u64 {
        self.0.clock.now_ms() / DAY_MS
    }

    fn new_remote_row(&self, media: &MediaId) -> RemoteRow {
        RemoteRow {
            server: media.server().to_string(),
            id: media.id().to_owned(),
            fetched_ms: self.0.clock.now_ms(),
            used_day: self.today(),
            content: None,
            quarantined_ms: None,
        }
    }

    /// Notes, once a day, that somebody looked at it. If another request does the same, one note is enough.
    async fn note_use(&self, key: &MediaKey, mut row: RemoteRow, version: Position) -> Result<(), MediaError> {
        let today = self.today();
        if row.used_day >= today {
            return Ok(());
        }
        let mut batch = Batch::default();
        batch.expect_version(&REMOTE_MEDIA, key, Some(version));
        batch.delete(&REMOTE_MEDIA_BY_USE, &(row.used_day, *key));
        batch.put(&REMOTE_MEDIA_BY_USE, &(today, *key), &());
        row.used_day = today;
        batch.put(&REMOTE_MEDIA, key, &Packed(row));
        match self.0.store.commit(batch).await {
            // With a full disk what is here can still be looked at.
            Ok(_) | Err(CommitError::Conflict { .. } | CommitError::DiskFull) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn commit_remote(&self, id: &MediaId, content: ContentRow, mut file: NewBlob) -> Result<Content, MediaError> {
        let key = self.key(id);
        for _ in 0..COMMIT_TRIES_MAX {
            let found = self.remote_row(&key).await?;
            let version = found.as_ref().map(|(_, version)| *version);
            let mut batch = Batch::default();
            batch.expect_version(&REMOTE_MEDIA, &key, version);
            let mut row = match found {
                Some((row, _)) if row.quarantined_ms.is_some() => return Err(MediaError::NotFound),
                Some((RemoteRow { content: Some(known), .. }, _)) => return Ok(Content::new(self, key, known)),
                Some((row, _)) => {
                    batch.delete(&REMOTE_MEDIA_BY_USE, &(row.used_day, key));
                    row
                }
                None => self.new_remote_row(id),
            };
            row.fetched_ms = self.0.clock.now_ms();
            row.used_day = self.today();
            row.content = Some(content.clone());
            batch.put(&REMOTE_MEDIA_BY_USE, &(row.used_day, key), &());
            batch.put(&REMOTE_MEDIA, &key, &Packed(row));
            self.put_blob(&mut batch, &file);
            // From here on the file may have its row.
            file.keep();
            match self.0.store.commit(batch).await {
                Ok(_) => return Ok(Content::new(self, key, content)),
                Err(CommitError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(MediaError::Busy { retry_after: BUSY_RETRY })
    }

    /// Hides another server's media, fetched or not, or shows it again.
    pub(crate) async fn quarantine_remote(&self, media: &MediaId, quarantined: bool) -> Result<bool, MediaError> {
        let key = self.key(media);
        for _ in 0..COMMIT_TRIES_MAX {
            let found = self.remote_row(&key).await?;
            let mut batch = Batch::default();
            batch.expect_version(&REMOTE_MEDIA, &key, found.as_ref().map(|(_, version)| *version));
            let mut row = match found {
                Some((row, _)) => row,
                // What nobody has looked at yet is hidden before somebody does.
                None if quarantined => self.new_remote_row(media),
                None => return Ok(false),
            };
            if row.quarantined_ms.is_some() == quarantined {
                return Ok(true);
            }
            row.quarantined_ms = quarantined.then(|| self.0.clock.now_ms());
            batch.put(&REMOTE_MEDIA_BY_USE, &(row.used_day, key), &());
            batch.put(&REMOTE_MEDIA, &key, &Packed(row));
            self.0.audit.add(&mut batch, record_of_hiding(media.uri(), quarantined));
            batch.touch(watch_key(&key));
            match self.0.store.commit(batch).await {
                Ok(_) => return Ok(true),
                Err(CommitError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(MediaError::Busy { retry_after: BUSY_RETRY })
    }

    /// Deletes another server's media if its row is one that `wanted` says, with its thumbnails; `why` is for the record.
    /// That it is quarantined stays known, or it would be fetched again.
    pub(crate) async fn delete_remote(
        &self,
        key: &MediaKey,
        why: Option<&'static str>,
        wanted: impl Fn(&RemoteRow) -> bool,
    ) -> Result<bool, MediaError> {
        for _ in 0..COMMIT_TRIES_MAX {
            let Some((mut row, version)) = self.remote_row(key).await? else { return Ok(false) };
            if !wanted(&row) {
                return Ok(false);
            }
            let guard = self.0.holds.nothing_changes().await;
            Self::check_copy_not_held(&guard, &row)?;
            let thumbnails = self.0.store.latest().scan(&THUMBNAILS, Scan::prefix(key)).await?;
            let mut files = Vec::new();
            let mut batch = Batch::default();
            // Whoever adds a thumbnail expects the row of its media unchanged, so none can be added now.
            batch.expect_version(&REMOTE_MEDIA, key, Some(version));
            batch.delete(&REMOTE_MEDIA_BY_USE, &(row.used_day, *key));
            for (thumbnail, Packed(made)) in thumbnails {
                batch.delete(&THUMBNAILS, &thumbnail);
                if let ThumbnailRow::Made { blob, .. } = made {
                    files.push(blob);
                }
            }
            if row.content.is_some() {
                // A copy: its server has it still.
                let record = Record::of(Act::MediaDelete).media(format!("mxc://{}/{}", row.server, row.id));
                self.0.audit.add(&mut batch, record.detail(why.unwrap_or("copy")));
            }
            files.extend(row.content.take().map(|content| content.blob));
            if row.quarantined_ms.is_some() {
                batch.put(&REMOTE_MEDIA, key, &Packed(row));
            } else {
                batch.delete(&REMOTE_MEDIA, key);
            }
            for blob in &files {
                self.delete_blob(&mut batch, blob);
            }
            batch.on_commit(move |_| drop(guard));
            match self.0.store.commit(batch).await {
                Ok(_) => {
                    let blobs = self.0.blobs.clone();
                    // What stays after a crash now has no row, and is swept.
                    let remove = move || files.iter().try_for_each(|blob| blobs.remove(&blob.name));
                    tokio::task::spawn_blocking(remove).await??;
                    return Ok(true);
                }
                Err(CommitError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(MediaError::Busy { retry_after: BUSY_RETRY })
    }

    /// Deletes what was fetched from other servers and nobody has looked at for long; answers how many.
    pub(crate) async fn forget_remote(&self) -> Result<u64, MediaError> {
        let Some(days) = self.0.remote_cache_days else { return Ok(0) };
        // Notes have the grain of a day: one more makes sure that they are whole days.
        let Some(first_kept) = self.today().checked_sub(u64::from(days)) else { return Ok(0) };
        let end = (first_kept, [0_u8; 16]);
        let (mut count, mut scan) = (0, Scan::all().before(&end).limit(PAGE_ROWS));
        loop {
            let old = self.0.store.latest().scan_keys(&REMOTE_MEDIA_BY_USE, scan).await?;
            let Some(last) = old.last().copied() else { return Ok(count) };
            for (day, key) in &old {
                match self.delete_remote(key, None, |row| row.used_day == *day).await {
                    Ok(true) => count += 1,
                    // Looked at meanwhile, or gone: the mark alone goes, so that it is not met again.
                    Ok(false) => {
                        let mut batch = Batch::default();
                        batch.delete(&REMOTE_MEDIA_BY_USE, &(*day, *key));
                        self.0.store.commit(batch).await?;
                    }
                    Err(MediaError::Held(_)) => {}
                    Err(error) => return Err(error),
                }
            }
            scan = Scan::all().before(&end).after(&last).limit(PAGE_ROWS);
        }
    }
}
