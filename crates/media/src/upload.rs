//! Contents on their way in.

use std::{collections::HashMap, time::Duration};

use tokio::sync::OwnedSemaphorePermit;
use wardroom_audit::{Act, Record};
use wardroom_store::{Batch, CommitError, Packed, Position, ReadError};

use crate::{
    Media, MediaError, MediaId, UserNid,
    blobs::{BlobWriter, NewBlob},
    random,
    tables::{ContentRow, EXPIRING, MEDIA, MEDIA_OF_USER, MediaKey, MediaRow, Origin, USAGE, UsageRow, watch_key},
};

/// Uploads at the same time; each holds about half a megabyte of memory.
pub const UPLOADS_MAX: usize = 64;
/// Uploads of one user at the same time.
pub const UPLOADS_PER_USER_MAX: usize = 8;
/// Ids without content that one user may have (client-server API, `POST /_matrix/media/v1/create`).
pub const PENDING_PER_USER_MAX: u32 = 100;
/// How long an id waits for its content, in milliseconds: 24 hours, as the specification recommends.
pub const PENDING_LIFE_MS: u64 = 24 * 60 * 60 * 1_000;
/// Longest file name, in characters.
pub const FILENAME_CHARS_MAX: usize = 255;

/// The type of content of which nothing is known.
const UNKNOWN_TYPE: &str = "application/octet-stream";
/// Longest media type that is kept, in bytes.
const CONTENT_TYPE_BYTES_MAX: usize = 255;
/// How often a commit is tried that others got in the way of. All uploads of one user change the same row.
const COMMIT_TRIES_MAX: usize = 32;
/// When to try again if too many uploads are going on.
const BUSY_RETRY: Duration = Duration::from_secs(2);
/// When to try again with too many ids without content.
const PENDING_RETRY: Duration = Duration::from_secs(60);

/// Uploads going on, by user.
pub(crate) type Uploading = HashMap<u64, usize>;

/// An upload that goes on. Dropping it ends it without a trace.
#[derive(Debug)]
pub struct Upload {
    writer: BlobWriter,
    target: Target,
    bytes_max: u64,
    slot: Slot,
}

/// What the content is for.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    /// A new id.
    New(MediaId, MediaRow),
    /// One that was created before.
    Created(MediaId),
}

/// One of the places for uploads; free again when dropped.
#[derive(Debug)]
struct Slot {
    media: Media,
    user: u64,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut uploading = self.media.0.uploading.lock();
        if let Some(count) = uploading.get_mut(&self.user) {
            *count -= 1;
            if *count == 0 {
                uploading.remove(&self.user);
            }
        }
    }
}

impl Media {
    /// Makes an id whose content comes later; answers until when it must have come, in milliseconds since 1970
    /// (client-server API, `POST /_matrix/media/v1/create`).
    ///
    /// # Errors
    /// `Busy` when the user has too many ids without content.
    pub async fn create(&self, user: UserNid) -> Result<(MediaId, u64), MediaError> {
        let mut swept = false;
        for _ in 0..COMMIT_TRIES_MAX {
            let (mut usage, version) = self.usage_versioned(user.get()).await?;
            if usage.pending >= PENDING_PER_USER_MAX {
                // Some may have expired since the last time that was looked.
                if !std::mem::replace(&mut swept, true) && self.expire().await? > 0 {
                    continue;
                }
                return Err(MediaError::Busy { retry_after: PENDING_RETRY });
            }
            usage.pending += 1;
            let expires_ms = self.0.clock.now_ms() + PENDING_LIFE_MS;
            let (media, mut row) = self.new_media(user.get(), Origin::Upload);
            row.expires_ms = Some(expires_ms);
            let key = self.key(&media);
            let mut batch = Batch::default();
            batch.expect_version(&USAGE, &user.get(), version);
            batch.put(&USAGE, &user.get(), &Packed(usage));
            batch.put(&EXPIRING, &(expires_ms, key), &());
            batch.put(&MEDIA_OF_USER, &(user.get(), row.created_ms, key), &());
            batch.put(&MEDIA, &key, &Packed(row));
            match self.0.store.commit(batch).await {
                Ok(_) => return Ok((media, expires_ms)),
                Err(CommitError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(MediaError::Busy { retry_after: BUSY_RETRY })
    }

    /// Begins an upload, to a new id or to one that the user created before; `announced` is the length that the
    /// client says it has (client-server API, `POST /_matrix/media/v3/upload` and
    /// `PUT /_matrix/media/v3/upload/{serverName}/{mediaId}`).
    ///
    /// # Errors
    /// When the user may not upload this, there or now.
    pub async fn upload(
        &self,
        user: UserNid,
        to: Option<&MediaId>,
        announced: Option<u64>,
    ) -> Result<Upload, MediaError> {
        let target = match to {
            Some(media) => {
                let row = self.visible(&self.local_key(media)?).await?;
                may_fill(row.as_ref(), user.get())?;
                Target::Created(media.clone())
            }
            None => {
                let (media, row) = self.new_media(user.get(), Origin::Upload);
                Target::New(media, row)
            }
        };
        let usage = self.usage_versioned(user.get()).await?.0;
        let announced = announced.unwrap_or(0);
        let bytes_max = self.0.upload_bytes_max;
        if announced > bytes_max {
            return Err(MediaError::TooLarge { bytes_max });
        }
        self.check_quota(&usage, announced)?;
        let slot = self.slot(user.get())?;
        Ok(Upload { writer: self.new_file().await?, target, bytes_max, slot })
    }

    fn slot(&self, user: u64) -> Result<Slot, MediaError> {
        let busy = || MediaError::Busy { retry_after: BUSY_RETRY };
        let permit = self.0.uploads.clone().try_acquire_owned().map_err(|_| busy())?;
        let mut uploading = self.0.uploading.lock();
        let count = uploading.entry(user).or_default();
        if *count >= UPLOADS_PER_USER_MAX {
            return Err(busy());
        }
        *count += 1;
        Ok(Slot { media: self.clone(), user, _permit: permit })
    }

    fn check_quota(&self, usage: &UsageRow, more: u64) -> Result<(), MediaError> {
        match self.0.user_bytes_max {
            Some(bytes_max) if usage.bytes.saturating_add(more) > bytes_max => {
                Err(MediaError::QuotaReached { bytes_max })
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn new_media(&self, owner: u64, origin: Origin) -> (MediaId, MediaRow) {
        let id = random::media_id();
        let row = MediaRow {
            id: id.clone(),
            origin,
            owner,
            created_ms: self.0.clock.now_ms(),
            content: None,
            expires_ms: None,
            quarantined_ms: None,
        };
        (MediaId::known(self.0.server_name.clone(), id), row)
    }

    pub(crate) async fn usage_versioned(&self, user: u64) -> Result<(UsageRow, Option<Position>), ReadError> {
        let row = self.0.store.latest().get_versioned(&USAGE, &user).await?;
        Ok(row.map_or_else(Default::default, |(Packed(usage), version)| (usage, Some(version))))
    }

    /// Commits the rows of a content whose file is in its place.
    pub(crate) async fn commit_content(
        &self,
        user: u64,
        target: &Target,
        content: ContentRow,
        file: NewBlob,
    ) -> Result<(), MediaError> {
        let number = file.row().number;
        let committed = self.try_commit(user, target, content, file).await;
        if committed.is_err() {
            self.0.keys.give_up(number).await;
        }
        committed
    }

    async fn try_commit(
        &self,
        user: u64,
        target: &Target,
        content: ContentRow,
        mut file: NewBlob,
    ) -> Result<(), MediaError> {
        for _ in 0..COMMIT_TRIES_MAX {
            let (mut usage, usage_version) = self.usage_versioned(user).await?;
            let mut batch = Batch::default();
            let (key, mut row) = match target {
                Target::New(media, row) => {
                    let key = self.key(media);
                    batch.expect_absent(&MEDIA, &key);
                    batch.put(&MEDIA_OF_USER, &(user, row.created_ms, key), &());
                    (key, row.clone())
                }
                Target::Created(media) => self.fill(&mut batch, media, user, &mut usage).await?,
            };
            if row.origin == Origin::Upload {
                self.check_quota(&usage, content.blob.length)?;
            }
            usage.files += 1;
            usage.bytes = usage.bytes.saturating_add(content.blob.length);
            row.content = Some(content.clone());
            batch.expect_version(&USAGE, &user, usage_version);
            batch.put(&USAGE, &user, &Packed(usage));
            if let Some(at_ms) = row.expires_ms {
                batch.put(&EXPIRING, &(at_ms, key), &());
            }
            let record = Record::of(Act::MediaCreate).media(self.uri_of(&row));
            let preview = row.origin == Origin::Preview;
            self.0.audit.add(&mut batch, if preview { record.detail("preview") } else { record });
            batch.put(&MEDIA, &key, &Packed(row));
            self.put_blob(&mut batch, &file);
            batch.touch(watch_key(&key));
            // From here on the file may have its row.
            file.keep();
            match self.0.store.commit(batch).await {
                Ok(_) => return Ok(()),
                Err(CommitError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(MediaError::Busy { retry_after: BUSY_RETRY })
    }

    /// The row of a created id that gets its content.
    async fn fill(
        &self,
        batch: &mut Batch,
        media: &MediaId,
        user: u64,
        usage: &mut UsageRow,
    ) -> Result<(MediaKey, MediaRow), MediaError> {
        let key = self.key(media);
        let found = self.0.store.latest().get_versioned(&MEDIA, &key).await?;
        let (Packed(mut row), version) = found.ok_or(MediaError::NotFound)?;
        may_fill(Some(&row), user)?;
        batch.expect_version(&MEDIA, &key, Some(version));
        // An upload that began in time may end a little late.
        if let Some(at_ms) = row.expires_ms.take() {
            batch.delete(&EXPIRING, &(at_ms, key));
        }
        usage.pending = usage.pending.saturating_sub(1);
        Ok((key, row))
    }
}

fn may_fill(row: Option<&MediaRow>, user: u64) -> Result<(), MediaError> {
    match row {
        Some(MediaRow { origin: Origin::Upload, owner, .. }) if *owner != user => Err(MediaError::NotCreator),
        Some(MediaRow { content: Some(_), .. }) => Err(MediaError::AlreadyUploaded),
        Some(_) => Ok(()),
        None => Err(MediaError::NotFound),
    }
}

impl Upload {
    /// Appends content.
    ///
    /// # Errors
    /// `TooLarge` beyond what an upload may have, or `DiskFull`.
    pub async fn write(&mut self, content: &[u8]) -> Result<(), MediaError> {
        if self.writer.length().saturating_add(content.len() as u64) > self.bytes_max {
            return Err(MediaError::TooLarge { bytes_max: self.bytes_max });
        }
        self.writer.write(content).await
    }

    /// Completes the upload: durable and visible to everybody when it returns. Goes on to the end even if the caller
    /// stops waiting.
    ///
    /// A type that is none becomes `application/octet-stream`, which the specification allows ("reasonably close").
    ///
    /// # Errors
    /// When the file name is too long, the user has no room left, or the id has got its content meanwhile.
    pub async fn finish(self, content_type: Option<&str>, filename: Option<&str>) -> Result<MediaId, MediaError> {
        let content_type = content_type_or_unknown(content_type);
        let filename = check_filename(filename)?.map(str::to_owned);
        let finishing = async move {
            let Self { writer, target, slot, .. } = self;
            let blob = writer.finish(&slot.media.0.keys).await?;
            let content = ContentRow { blob: blob.row().clone(), content_type, filename };
            slot.media.commit_content(slot.user, &target, content, blob).await?;
            let (Target::New(media, _) | Target::Created(media)) = target;
            Ok(media)
        };
        tokio::spawn(wardroom_audit::origin::carry(finishing)).await?
    }
}

/// A file name of a request; none if it is empty.
///
/// # Errors
/// When it is too long.
pub fn check_filename(filename: Option<&str>) -> Result<Option<&str>, MediaError> {
    match filename {
        Some(name) if name.chars().count() > FILENAME_CHARS_MAX => {
            Err(MediaError::FilenameTooLong { chars_max: FILENAME_CHARS_MAX })
        }
        name => Ok(name.filter(|name| !name.is_empty())),
    }
}

/// A media type that a header can say, whatever was given.
pub(crate) fn content_type_or_unknown(content_type: Option<&str>) -> String {
    content_type.filter(|text| is_media_type(text)).unwrap_or(UNKNOWN_TYPE).to_owned()
}

/// A file name that another server gives; none if it is empty or too long.
pub(crate) fn filename_if_short(filename: Option<&str>) -> Option<String> {
    check_filename(filename).ok().flatten().map(str::to_owned)
}

/// Whether this is a media type with parameters (RFC 9110, section 8.3.1) that a header can say.
fn is_media_type(text: &str) -> bool {
    let essence = text.split(';').next().unwrap_or_default().trim_end();
    let is_token = |part: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        !part.is_empty() && part.bytes().all(allowed)
    };
    text.len() <= CONTENT_TYPE_BYTES_MAX
        && text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
        && essence.split_once('/').is_some_and(|(kind, subtype)| is_token(kind) && is_token(subtype))
}

#[cfg(test)]
mod tests {
    use super::{check_filename, is_media_type};

    #[test]
    fn media_types_are_told_from_junk() {
        for good in ["image/png", "text/plain; charset=utf-8", "application/vnd.a+json", "x/y ; z=\"q\""] {
            assert!(is_media_type(good), "{good}");
        }
        for bad in ["", "png", "image/", "/png", "image/png\r\nx: y", "bild/größe", "a b/c", "<script>/x"] {
            assert!(!is_media_type(bad), "{bad}");
        }
        assert!(!is_media_type(&format!("a/{}", "b".repeat(300))));
    }

    #[test]
    fn file_names_have_a_length() {
        assert_eq!(check_filename(Some("")).unwrap(), None);
        assert_eq!(check_filename(Some(&"ä".repeat(255))).unwrap().unwrap().chars().count(), 255);
        assert!(check_filename(Some(&"a".repeat(256))).is_err());
    }
}
