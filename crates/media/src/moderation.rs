//! What operators do with media: looking, quarantine, deletion.

use wardroom_audit::{Act, Record};
use wardroom_store::{Batch, CommitError, Packed, ReadError, Scan};

use crate::{
    Media, MediaError, MediaId, UserNid,
    content::PAGE_ROWS,
    remote::DAY_MS,
    tables::{
        ContentRow, EXPIRING, MEDIA, MEDIA_MARKS, MEDIA_OF_USER, MEDIA_USED, MediaKey, MediaRow, REMOTE_MEDIA,
        RemoteRow, THUMBNAILS, ThumbnailRow, USAGE, watch_key,
    },
};

/// How often a change is tried that others got in the way of.
const TRIES_MAX: usize = 16;

/// What is known of a media, without its content.
#[derive(Clone, Debug)]
pub struct MediaInfo {
    /// Its address.
    pub media: MediaId,
    /// Who uploaded it; none for media of other servers.
    pub owner: Option<UserNid>,
    /// When its id was made, or when it was fetched from its server, in milliseconds since 1970.
    pub created_ms: u64,
    /// Bytes; none if it has not been uploaded yet.
    pub length: Option<u64>,
    /// The type that was given.
    pub content_type: Option<String>,
    /// The name that was given.
    pub filename: Option<String>,
    /// Since when nobody gets it.
    pub quarantined_ms: Option<u64>,
    /// Who hid it.
    pub quarantined_by: Option<UserNid>,
    /// It is not hidden.
    pub protected: bool,
    /// About when somebody last looked at it, in milliseconds since 1970, to the day.
    pub last_used_ms: Option<u64>,
}

impl Media {
    /// What is known of a media, quarantined or not; none if there is nothing.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn info(&self, media: &MediaId) -> Result<Option<MediaInfo>, MediaError> {
        let (view, key) = (self.0.store.latest(), self.key(media));
        if !self.is_local(media) {
            let row = view.get(&REMOTE_MEDIA, &key).await?;
            let Some(Packed(row)) = row else { return Ok(None) };
            let RemoteRow { content, fetched_ms, quarantined_ms, used_day, .. } = row;
            let mut found = info(media.clone(), None, fetched_ms, content, quarantined_ms);
            found.last_used_ms = Some(used_day.saturating_mul(DAY_MS));
            return Ok(Some(self.marked(&key, found).await?));
        }
        match view.get(&MEDIA, &key).await? {
            Some(Packed(row)) => Ok(Some(self.marked(&key, self.info_of(row)).await?)),
            None => Ok(None),
        }
    }

    /// What a user has stored: files, and bytes.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn usage_of(&self, user: UserNid) -> Result<(u64, u64), MediaError> {
        let usage = self.usage_versioned(user.get()).await?.0;
        Ok((usage.files, usage.bytes))
    }

    /// Media of a user, oldest first, at most `limit`; `after` is the last of the page before.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn of_user(
        &self,
        user: UserNid,
        after: Option<&MediaInfo>,
        limit: usize,
    ) -> Result<Vec<MediaInfo>, MediaError> {
        let after = after.map(|info| (info.created_ms, self.key(&info.media)));
        let rows = self.rows_of(user.get(), after, limit.min(PAGE_ROWS)).await?;
        let mut found = Vec::with_capacity(rows.len());
        for (key, row) in rows {
            found.push(self.marked(&key, self.info_of(row)).await?);
        }
        Ok(found)
    }

    /// Adds what stands elsewhere.
    async fn marked(&self, key: &MediaKey, mut info: MediaInfo) -> Result<MediaInfo, ReadError> {
        let view = self.0.store.latest();
        if let Some(Packed(marks)) = view.get(&MEDIA_MARKS, key).await? {
            info.protected = marks.protected;
            let hidden = info.quarantined_ms.is_some();
            info.quarantined_by = marks.quarantined_by.filter(|_| hidden).map(UserNid::new);
        }
        if let Some(day) = view.get(&MEDIA_USED, key).await? {
            info.last_used_ms = Some(day.saturating_mul(DAY_MS));
        }
        Ok(info)
    }

    /// Hides a media from everybody, or shows it again. Answers whether there is such a media; of another server's it
    /// is not known, so each can be hidden, also before somebody looked at it.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn set_quarantine(&self, media: &MediaId, quarantined: bool) -> Result<bool, MediaError> {
        match self.is_local(media) {
            true => self.quarantine_key(&self.key(media), quarantined).await,
            false => self.quarantine_remote(media, quarantined).await,
        }
    }

    /// Hides everything that a user uploaded, or shows it again. Answers how many media there are.
    ///
    /// # Errors
    /// When the store fails; some may be hidden then.
    pub async fn set_quarantine_of_user(&self, user: UserNid, quarantined: bool) -> Result<u64, MediaError> {
        let (mut after, mut count) = (None, 0);
        loop {
            let page = self.rows_of(user.get(), after, PAGE_ROWS).await?;
            let Some((last, row)) = page.last() else { return Ok(count) };
            after = Some((row.created_ms, *last));
            for (key, _) in &page {
                count += u64::from(self.quarantine_key(key, quarantined).await?);
            }
        }
    }

    /// Deletes a media with its thumbnails: the rows at once, then the files, and soon after the keys (see
    /// [`Media::run_shredding`]). Answers whether there was such a media.
    ///
    /// # Errors
    /// [`MediaError::Held`] where a legal hold keeps it; when the store fails; nothing is deleted then.
    pub async fn delete(&self, media: &MediaId) -> Result<bool, MediaError> {
        match self.is_local(media) {
            true => self.delete_key(&self.key(media), None, |_| true).await,
            false => self.delete_remote(&self.key(media), None, |_| true).await,
        }
    }

    /// Deletes a media if its row is one that `wanted` says; `why` is for the record.
    pub(crate) async fn delete_key(
        &self,
        key: &MediaKey,
        why: Option<&'static str>,
        wanted: impl Fn(&MediaRow) -> bool,
    ) -> Result<bool, MediaError> {
        for _ in 0..TRIES_MAX {
            let view = self.0.store.latest();
            let Some((Packed(row), version)) = view.get_versioned(&MEDIA, key).await? else { return Ok(false) };
            if !wanted(&row) {
                return Ok(false);
            }
            let guard = self.0.holds.nothing_changes().await;
            self.check_not_held(&guard, &row).await?;
            let (mut usage, usage_version) = self.usage_versioned(row.owner).await?;
            let thumbnails = view.scan(&THUMBNAILS, Scan::prefix(key)).await?;
            let mut files = Vec::new();
            let mut batch = Batch::default();
            // Whoever adds a thumbnail expects the row of its media unchanged, so none can be added now.
            batch.expect_version(&MEDIA, key, Some(version));
            batch.delete(&MEDIA, key);
            batch.delete(&MEDIA_OF_USER, &(row.owner, row.created_ms, *key));
            batch.delete(&MEDIA_MARKS, key);
            batch.delete(&MEDIA_USED, key);
            if let Some(at_ms) = row.expires_ms {
                batch.delete(&EXPIRING, &(at_ms, *key));
            }
            for (thumbnail, Packed(made)) in thumbnails {
                batch.delete(&THUMBNAILS, &thumbnail);
                if let ThumbnailRow::Made { blob, .. } = made {
                    files.push(blob);
                }
            }
            let uri = self.uri_of(&row);
            match row.content {
                Some(content) => {
                    let record = Record::of(Act::MediaDelete).media(uri);
                    self.0.audit.add(&mut batch, why.iter().fold(record, |record, why| record.detail(*why)));
                    usage.files = usage.files.saturating_sub(1);
                    usage.bytes = usage.bytes.saturating_sub(content.blob.length);
                    files.push(content.blob);
                }
                None => usage.pending = usage.pending.saturating_sub(1),
            }
            batch.expect_version(&USAGE, &row.owner, usage_version);
            batch.put(&USAGE, &row.owner, &Packed(usage));
            for blob in &files {
                self.delete_blob(&mut batch, blob);
            }
            batch.touch(watch_key(key));
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
        Err(MediaError::Busy { retry_after: std::time::Duration::from_secs(1) })
    }

    async fn quarantine_key(&self, key: &MediaKey, quarantined: bool) -> Result<bool, MediaError> {
        for _ in 0..TRIES_MAX {
            let Some((Packed(mut row), version)) = self.0.store.latest().get_versioned(&MEDIA, key).await? else {
                return Ok(false);
            };
            if row.quarantined_ms.is_some() == quarantined {
                return Ok(true);
            }
            row.quarantined_ms = quarantined.then(|| self.0.clock.now_ms());
            let mut batch = Batch::default();
            self.0.audit.add(&mut batch, record_of_hiding(self.uri_of(&row), quarantined));
            batch.expect_version(&MEDIA, key, Some(version));
            batch.put(&MEDIA, key, &Packed(row));
            batch.touch(watch_key(key));
            match self.0.store.commit(batch).await {
                Ok(_) => return Ok(true),
                Err(CommitError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(MediaError::Busy { retry_after: std::time::Duration::from_secs(1) })
    }

    /// Rows of a user's media behind a place, oldest first.
    pub(crate) async fn rows_of(
        &self,
        user: u64,
        after: Option<(u64, MediaKey)>,
        limit: usize,
    ) -> Result<Vec<(MediaKey, MediaRow)>, ReadError> {
        let mut scan = Scan::prefix(&user).limit(limit);
        if let Some((created_ms, key)) = after {
            scan = scan.after(&(user, created_ms, key));
        }
        let view = self.0.store.snapshot();
        let keys: Vec<MediaKey> =
            view.scan_keys(&MEDIA_OF_USER, scan).await?.into_iter().map(|(_, _, key)| key).collect();
        let rows = view.multi_get(&MEDIA, &keys).await?;
        let both = keys.into_iter().zip(rows);
        Ok(both.filter_map(|(key, row)| Some((key, row?.0))).collect())
    }

    /// The address of a media of this server.
    pub(crate) fn uri_of(&self, row: &MediaRow) -> String {
        MediaId::known(self.0.server_name.clone(), row.id.clone()).uri()
    }

    pub(crate) fn info_of(&self, row: MediaRow) -> MediaInfo {
        let media = MediaId::known(self.0.server_name.clone(), row.id);
        info(media, Some(UserNid::new(row.owner)), row.created_ms, row.content, row.quarantined_ms)
    }
}

fn info(
    media: MediaId,
    owner: Option<UserNid>,
    created_ms: u64,
    content: Option<ContentRow>,
    quarantined_ms: Option<u64>,
) -> MediaInfo {
    let (length, content_type, filename) = match content {
        Some(content) => (Some(content.blob.length), Some(content.content_type), content.filename),
        None => (None, None, None),
    };
    MediaInfo {
        media,
        owner,
        created_ms,
        length,
        content_type,
        filename,
        quarantined_ms,
        quarantined_by: None,
        protected: false,
        last_used_ms: None,
    }
}

/// The record that a media is hidden, or shown again.
pub(crate) fn record_of_hiding(uri: String, hidden: bool) -> Record {
    Record::of(Act::MediaHide).media(uri).detail(if hidden { "hidden" } else { "shown" })
}
