//! Media whose time is over. When that is, others decide.

use wardroom_store::{Packed, Scan};

use crate::{
    Media, MediaError, MediaId,
    content::PAGE_ROWS,
    remote::DAY_MS,
    tables::{MEDIA, MEDIA_USED, MediaKey, Origin, REMOTE_MEDIA},
};

/// What records say of media that went because their time was over.
const RETENTION: &str = "retention";

/// From when on the age of a media is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgeOf {
    /// From when it was uploaded, or came from its server.
    Receipt,
    /// From when somebody last looked at it, to the day: the end of that day.
    LastAccess,
}

impl AgeOf {
    const fn since_ms(self, received_ms: u64, used_day: Option<u64>) -> u64 {
        match (self, used_day) {
            (Self::LastAccess, Some(day)) => {
                let end_ms = day.saturating_add(1).saturating_mul(DAY_MS);
                if end_ms > received_ms { end_ms } else { received_ms }
            }
            _ => received_ms,
        }
    }
}

/// Where a page of media ends.
#[derive(Clone, Copy, Debug)]
pub struct AgedCursor(MediaKey);

/// Media of a certain age.
#[derive(Clone, Debug)]
pub struct Aged {
    /// Some of them, perhaps none.
    pub media: Vec<MediaId>,
    /// Where to go on; none at the end.
    pub next: Option<AgedCursor>,
}

impl Media {
    /// Uploads whose age counts from before a time, in milliseconds since 1970: a page of them.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn uploads_before(
        &self,
        time_ms: u64,
        age: AgeOf,
        after: Option<AgedCursor>,
    ) -> Result<Aged, MediaError> {
        let view = self.0.store.latest();
        let page = view.scan(&MEDIA, page_after(after)).await?;
        let next = page.last().filter(|_| page.len() == PAGE_ROWS).map(|(key, _)| AgedCursor(*key));
        let mut media = Vec::new();
        for (key, Packed(row)) in page {
            if row.origin != Origin::Upload || row.content.is_none() || row.created_ms >= time_ms {
                continue;
            }
            let used_day = match age {
                AgeOf::Receipt => None,
                AgeOf::LastAccess => view.get(&MEDIA_USED, &key).await?,
            };
            if age.since_ms(row.created_ms, used_day) < time_ms {
                media.push(MediaId::known(self.0.server_name.clone(), row.id));
            }
        }
        Ok(Aged { media, next })
    }

    /// As [`Media::uploads_before`], for what is here of other servers.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn copies_before(&self, time_ms: u64, age: AgeOf, after: Option<AgedCursor>) -> Result<Aged, MediaError> {
        let page = self.0.store.latest().scan(&REMOTE_MEDIA, page_after(after)).await?;
        let next = page.last().filter(|_| page.len() == PAGE_ROWS).map(|(key, _)| AgedCursor(*key));
        let old = page.into_iter().filter(|(_, Packed(row))| {
            row.content.is_some() && age.since_ms(row.fetched_ms, Some(row.used_day)) < time_ms
        });
        let media = old.filter_map(|(_, Packed(row))| MediaId::parse(&row.server, &row.id).ok()).collect();
        Ok(Aged { media, next })
    }

    /// Deletes a media whose time is over; tells whether it was there.
    ///
    /// # Errors
    /// When the store fails; nothing is deleted then.
    pub async fn end(&self, media: &MediaId) -> Result<bool, MediaError> {
        let key = self.key(media);
        match self.is_local(media) {
            true => self.delete_key(&key, Some(RETENTION), |_| true).await,
            false => self.delete_remote(&key, Some(RETENTION), |row| row.content.is_some()).await,
        }
    }
}

fn page_after(after: Option<AgedCursor>) -> Scan {
    let scan = match after {
        Some(AgedCursor(key)) => Scan::all().after(&key),
        None => Scan::all(),
    };
    scan.limit(PAGE_ROWS)
}

#[cfg(test)]
mod tests {
    use super::{AgeOf, DAY_MS};

    #[test]
    fn a_day_of_use_counts_whole() {
        let received_ms = 3 * DAY_MS + 5;
        assert_eq!(AgeOf::Receipt.since_ms(received_ms, Some(9)), received_ms);
        assert_eq!(AgeOf::LastAccess.since_ms(received_ms, None), received_ms);
        assert_eq!(AgeOf::LastAccess.since_ms(received_ms, Some(9)), 10 * DAY_MS);
        assert_eq!(AgeOf::LastAccess.since_ms(received_ms, Some(1)), received_ms);
    }
}
