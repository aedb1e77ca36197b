//! What is done now and then: ids and images whose time is over, and files that a crash left without a row.

use std::time::Duration;

use wardroom_store::{Batch, Scan};

use crate::{
    Media, MediaError,
    content::PAGE_ROWS,
    tables::{BLOBS, EXPIRING},
};

/// How often it is done.
const PERIOD: Duration = Duration::from_secs(60 * 60);

impl Media {
    /// Does the upkeep now and then, for as long as the server runs. To be cancelled between two steps.
    pub async fn run_upkeep(self) {
        let mut period = tokio::time::interval(PERIOD);
        loop {
            period.tick().await;
            if let Err(error) = self.expire().await {
                tracing::warn!(%error, "media that have expired could not be deleted");
            }
            match self.forget_remote().await {
                Ok(0) => {}
                Ok(media) => tracing::info!(media, "media of other servers that nobody looked at were removed"),
                Err(error) => tracing::warn!(%error, "media of other servers could not be deleted"),
            }
            match self.sweep().await {
                Ok(0) => {}
                Ok(files) => tracing::info!(files, "media files without a row were removed"),
                Err(error) => tracing::warn!(%error, "the media directory could not be swept"),
            }
        }
    }

    /// Deletes what has expired, and forgets previews; answers how many media.
    pub(crate) async fn expire(&self) -> Result<u64, MediaError> {
        if let Some(previews) = &self.0.previews {
            previews.forget(self.0.clock.now_ms());
        }
        let end = (self.0.clock.now_ms().saturating_add(1), [0_u8; 16]);
        let (mut count, mut scan) = (0, Scan::all().before(&end).limit(PAGE_ROWS));
        loop {
            let due = self.0.store.latest().scan_keys(&EXPIRING, scan).await?;
            let Some(last) = due.last().copied() else { return Ok(count) };
            for (at_ms, key) in &due {
                match self.delete_key(key, None, |row| row.expires_ms == Some(*at_ms)).await {
                    Ok(true) => count += 1,
                    // Nothing ends here any more: the mark alone goes, so that it is not met again.
                    Ok(false) => {
                        let mut batch = Batch::default();
                        batch.delete(&EXPIRING, &(*at_ms, *key));
                        self.0.store.commit(batch).await?;
                    }
                    Err(MediaError::Held(_)) => {}
                    Err(error) => return Err(error),
                }
            }
            scan = Scan::all().before(&end).after(&last).limit(PAGE_ROWS);
        }
    }

    /// Removes files that no row names; answers how many.
    pub(crate) async fn sweep(&self) -> Result<u64, MediaError> {
        let mut count = 0;
        for first in 0..=u8::MAX {
            let blobs = self.0.blobs.clone();
            // In flight is asked first, the store after that: what is in neither will never be named.
            let names = tokio::task::spawn_blocking(move || blobs.list(first)).await??;
            for page in names.chunks(PAGE_ROWS) {
                let rows = self.0.store.latest().multi_get(&BLOBS, page).await?;
                let unnamed: Vec<_> =
                    page.iter().zip(rows).filter_map(|(name, row)| row.is_none().then_some(*name)).collect();
                count += unnamed.len() as u64;
                let blobs = self.0.blobs.clone();
                let remove = move || unnamed.iter().try_for_each(|name| blobs.remove(name));
                tokio::task::spawn_blocking(remove).await??;
            }
        }
        Ok(count)
    }
}
