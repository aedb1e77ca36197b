//! What administrators do with many media at once, and what they decide about single ones.

use std::collections::HashSet;

use wardroom_store::{Batch, CommitError, Packed, Scan};

use crate::{
    Media, MediaError, MediaId, MediaInfo, UserNid,
    content::PAGE_ROWS,
    remote::DAY_MS,
    tables::{MEDIA, MEDIA_MARKS, MEDIA_OF_USER, MEDIA_USED, MarksRow, MediaKey, Origin, REMOTE_MEDIA_BY_USE, USAGE},
};

/// Media of one user that are listed.
pub const MEDIA_LISTED_MAX: usize = 100_000;
/// How often a change is tried that others got in the way of.
const TRIES_MAX: usize = 16;

/// What a user has stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// The user.
    pub user: UserNid,
    /// Files.
    pub files: u64,
    /// Bytes.
    pub bytes: u64,
}

/// Whether it was deleted; what a legal hold keeps is passed over where much is deleted at once.
fn unless_held(deleted: Result<bool, MediaError>) -> Result<bool, MediaError> {
    match deleted {
        Err(MediaError::Held(_)) => Ok(false),
        deleted => deleted,
    }
}

impl Media {
    /// Notes, once a day, that somebody looked at a media of this server.
    pub(crate) async fn note_local_use(&self, key: &MediaKey) -> Result<(), MediaError> {
        let today = self.today();
        let noted = self.0.store.latest().get_versioned(&MEDIA_USED, key).await?;
        if noted.is_some_and(|(day, _)| day >= today) {
            return Ok(());
        }
        let mut batch = Batch::default();
        batch.expect_version(&MEDIA_USED, key, noted.map(|(_, version)| version));
        batch.put(&MEDIA_USED, key, &today);
        match self.0.store.commit(batch).await {
            // With a full disk what is here can still be looked at.
            Ok(_) | Err(CommitError::Conflict { .. } | CommitError::DiskFull) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn change_marks(&self, media: &MediaId, change: impl Fn(&mut MarksRow)) -> Result<(), MediaError> {
        let key = self.key(media);
        for _ in 0..TRIES_MAX {
            let found = self.0.store.latest().get_versioned(&MEDIA_MARKS, &key).await?;
            let (mut marks, version) = match found {
                Some((Packed(marks), version)) => (marks, Some(version)),
                None => (MarksRow::default(), None),
            };
            change(&mut marks);
            let mut batch = Batch::default();
            batch.expect_version(&MEDIA_MARKS, &key, version);
            batch.put(&MEDIA_MARKS, &key, &Packed(marks));
            match self.0.store.commit(batch).await {
                Ok(_) => return Ok(()),
                Err(CommitError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(MediaError::Busy { retry_after: std::time::Duration::from_secs(1) })
    }

    /// Has a media of this server not be hidden with others, or lets it be hidden again. Answers whether there is such
    /// a media.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn set_protected(&self, media: &MediaId, protected: bool) -> Result<bool, MediaError> {
        if self.info(media).await?.is_none() {
            return Ok(false);
        }
        self.change_marks(media, |marks| marks.protected = protected).await?;
        Ok(true)
    }

    /// As [`Media::set_quarantine`], with a note of who wanted it. What is protected is not hidden.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn set_quarantine_by(&self, media: &MediaId, by: UserNid, quarantined: bool) -> Result<bool, MediaError> {
        let marks = self.0.store.latest().get(&MEDIA_MARKS, &self.key(media)).await?;
        if quarantined && marks.is_some_and(|Packed(marks)| marks.protected) {
            return Ok(false);
        }
        if !self.set_quarantine(media, quarantined).await? {
            return Ok(false);
        }
        self.change_marks(media, |marks| marks.quarantined_by = quarantined.then_some(by.get())).await?;
        Ok(true)
    }

    /// Everything that a user uploaded, oldest first: at most [`MEDIA_LISTED_MAX`].
    ///
    /// # Errors
    /// When the store fails.
    pub async fn all_of_user(&self, user: UserNid) -> Result<Vec<MediaInfo>, MediaError> {
        let mut all: Vec<MediaInfo> = Vec::new();
        while all.len() < MEDIA_LISTED_MAX {
            let page = self.of_user(user, all.last(), PAGE_ROWS).await?;
            if page.is_empty() {
                break;
            }
            all.extend(page);
        }
        Ok(all)
    }

    /// What each user has stored who has stored anything; `period` counts only what was uploaded in it, from and up to
    /// these milliseconds since 1970.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn usage_of_all(&self, period: Option<(u64, u64)>) -> Result<Vec<Usage>, MediaError> {
        let (mut found, mut scan) = (Vec::new(), Scan::all().limit(PAGE_ROWS));
        loop {
            let page = self.0.store.latest().scan(&USAGE, scan).await?;
            let Some((last, _)) = page.last() else { return Ok(found) };
            scan = Scan::all().after(last).limit(PAGE_ROWS);
            for (user, Packed(row)) in page {
                let user = UserNid::new(user);
                let usage = match period {
                    None => Usage { user, files: row.files, bytes: row.bytes },
                    Some(period) => self.usage_in(user, period).await?,
                };
                if usage.files > 0 {
                    found.push(usage);
                }
            }
            tokio::task::consume_budget().await;
        }
    }

    async fn usage_in(&self, user: UserNid, (from_ms, until_ms): (u64, u64)) -> Result<Usage, MediaError> {
        let range = (user.get(), from_ms);
        let mut scan = Scan::prefix(&user.get()).from(&range).limit(PAGE_ROWS);
        let mut usage = Usage { user, files: 0, bytes: 0 };
        loop {
            let view = self.0.store.latest();
            let keys = view.scan_keys(&MEDIA_OF_USER, scan).await?;
            let Some(last) = keys.last().copied() else { return Ok(usage) };
            let keys: Vec<MediaKey> =
                keys.into_iter().filter(|(_, at_ms, _)| *at_ms <= until_ms).map(|(_, _, key)| key).collect();
            for Packed(row) in view.multi_get(&MEDIA, &keys).await?.into_iter().flatten() {
                let Some(content) = row.content else { continue };
                usage.files += 1;
                usage.bytes += content.blob.length;
            }
            scan = Scan::prefix(&user.get()).after(&last).limit(PAGE_ROWS);
        }
    }

    /// Deletes uploads that nobody looked at since a time, in milliseconds since 1970, of more than so many bytes, but
    /// those whose `mxc://` URI is to be kept. Answers their ids.
    ///
    /// # Errors
    /// When the store fails; some may be deleted then.
    pub async fn delete_unused(
        &self,
        before_ms: u64,
        more_than_bytes: u64,
        kept: &HashSet<String>,
    ) -> Result<Vec<String>, MediaError> {
        let (mut deleted, mut scan) = (Vec::new(), Scan::all().limit(PAGE_ROWS));
        loop {
            let view = self.0.store.latest();
            let page = view.scan(&MEDIA, scan).await?;
            let Some((last, _)) = page.last() else { return Ok(deleted) };
            scan = Scan::all().after(last).limit(PAGE_ROWS);
            for (key, Packed(row)) in page {
                let Some(content) = &row.content else { continue };
                let used_day = view.get(&MEDIA_USED, &key).await?;
                // Looked at on a day may be at its very end.
                let used_ms = used_day.map_or(row.created_ms, |day| (day + 1).saturating_mul(DAY_MS));
                let uri = MediaId::known(self.0.server_name.clone(), row.id.clone()).uri();
                if row.origin == Origin::Upload
                    && used_ms < before_ms
                    && content.blob.length > more_than_bytes
                    && !kept.contains(&uri)
                    && unless_held(self.delete_key(&key, None, |_| true).await)?
                {
                    deleted.push(row.id);
                }
            }
            tokio::task::consume_budget().await;
        }
    }

    /// Deletes what was fetched from other servers and nobody looked at since a time, in milliseconds since 1970.
    /// Answers how many.
    ///
    /// # Errors
    /// When the store fails; some may be deleted then.
    pub async fn purge_remote(&self, before_ms: u64) -> Result<u64, MediaError> {
        let end = (before_ms / DAY_MS, [0_u8; 16]);
        let (mut count, mut scan) = (0, Scan::all().before(&end).limit(PAGE_ROWS));
        loop {
            let page = self.0.store.latest().scan_keys(&REMOTE_MEDIA_BY_USE, scan).await?;
            let Some(last) = page.last().copied() else { return Ok(count) };
            for (day, key) in &page {
                let unused = |row: &crate::tables::RemoteRow| row.used_day == *day && row.content.is_some();
                count += u64::from(unless_held(self.delete_remote(key, None, unused).await)?);
            }
            scan = Scan::all().before(&end).after(&last).limit(PAGE_ROWS);
        }
    }
}
