//! What ends with messages, or with time, where nobody but the server as a whole sees all that counts: rooms know which
//! events name a file, accounts have profiles and key backups, and `media` has the files.
//!
//! A file ends with the last event that named it in the clear, or when it is as old as files may be. One that no event ever
//! named (it was sent encrypted, or not at all) ends when nobody has looked at it for as long as a message may last. What
//! a state event, a profile or an account's own pack of images names stays. Keys of a Megolm session end with the last
//! message that was encrypted with it, in the backups of everybody who is or was in the room.

use std::{collections::HashSet, time::Duration};

use ruma::RoomId;
use tracing::{info, warn};
use wardroom_accounts::{AccountError, Accounts, BackupError, UserNid as AccountNid};
use wardroom_client_api::ClientState;
use wardroom_holds::Holds;
use wardroom_media::{AgeOf, Aged, Media, MediaError, MediaId};
use wardroom_rooms::{Ending, Left, MediaUse, RoomError, Rooms, UserNid};

use crate::config::Config;

/// Between two pages of work, so that what people do comes first.
const PAUSE: Duration = Duration::from_millis(20);

/// How old files may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileTerms {
    /// Uploads, in milliseconds; none for as long as something may name them.
    pub(crate) uploads_ms: Option<u64>,
    /// What is here of other servers, in milliseconds; none for no limit.
    pub(crate) copies_ms: Option<u64>,
    /// From when on that is counted.
    pub(crate) age: AgeOf,
}

/// Ends what nobody names any more.
#[derive(Clone, Debug)]
pub(crate) struct Endings {
    rooms: Rooms,
    accounts: Accounts,
    media: Media,
    holds: Holds,
    terms: FileTerms,
}

/// Why something could not be ended.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Room(#[from] RoomError),
    #[error(transparent)]
    Account(#[from] AccountError),
    #[error(transparent)]
    Backup(#[from] BackupError),
    #[error(transparent)]
    Media(#[from] MediaError),
}

/// What became of an ending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Done {
    /// Something keeps it for now.
    Waits,
    /// It is over, and a file is not there any more.
    Gone,
    /// It is over, and a file stays.
    Stays,
}

impl Endings {
    /// As the configuration wants it.
    pub(crate) fn new(client: &ClientState, media: &Media, holds: Holds, config: &Config) -> Self {
        Self {
            rooms: client.rooms.clone(),
            accounts: client.accounts.clone(),
            media: media.clone(),
            holds,
            terms: config.retention.file_terms(),
        }
    }

    /// Ends what is to end at this time, in milliseconds since 1970. What fails is tried again the next time.
    pub(crate) async fn follow(self, now_ms: u64) {
        if let Err(error) = self.follow_events(now_ms).await {
            warn!(%error, "what purged messages have left could not be looked through");
        }
        match self.follow_time(now_ms).await {
            Ok(0) => {}
            Ok(files) => info!(files, "files whose time was over were deleted"),
            Err(error) => warn!(%error, "files whose time is over could not be deleted"),
        }
    }

    /// Ends what only events named that are not whole any more.
    async fn follow_events(&self, now_ms: u64) -> Result<(), Failure> {
        let mut after = None;
        loop {
            let page = self.rooms.leavings(after.as_ref()).await?;
            let Some(last) = page.last().cloned() else { return Ok(()) };
            self.end_page(page, now_ms).await?;
            after = Some(last);
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn end_page(&self, page: Vec<Left>, now_ms: u64) -> Result<(), Failure> {
        let mut endings = Vec::with_capacity(page.len());
        let mut uris = HashSet::new();
        for left in page {
            let ending = self.rooms.ending_of(&left, now_ms).await?;
            if let Ending::Media(uri) = &ending {
                uris.insert(uri.clone());
            }
            endings.push((left, ending));
        }
        let kept = self.accounts.naming_media(&uris).await?;
        for (left, ending) in endings {
            match self.carry_out(&ending, &kept).await {
                Ok(Done::Waits) => {}
                Ok(done) => self.rooms.settle(&left, done == Done::Gone).await?,
                Err(error) => warn!(%error, "something that purged messages named could not be ended"),
            }
        }
        Ok(())
    }

    async fn carry_out(&self, ending: &Ending, kept: &HashSet<String>) -> Result<Done, Failure> {
        match ending {
            Ending::Nothing => Ok(Done::Stays),
            Ending::Later => Ok(Done::Waits),
            Ending::Media(uri) if kept.contains(uri) => Ok(Done::Stays),
            Ending::Media(uri) => match parsed(uri) {
                Some(media) => self.end_file(&media, MediaUse::Nothing).await,
                // Nothing that this server could have.
                None => Ok(Done::Gone),
            },
            Ending::Session { room, session, users } => self.end_keys(room, session.as_deref(), users).await,
        }
    }

    /// Deletes a file, unless more than this names it, or a hold keeps it.
    async fn end_file(&self, media: &MediaId, named_at_most: MediaUse) -> Result<Done, Failure> {
        // Asked again right before: somebody may have sent it again.
        if self.rooms.media_use(&media.uri()).await? > named_at_most {
            return Ok(Done::Stays);
        }
        match self.media.end(media).await {
            Ok(_) => Ok(Done::Gone),
            Err(MediaError::Held(_)) => Ok(Done::Waits),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes the keys of a session, or of all of a room, out of the backups of these users.
    async fn end_keys(&self, room: &RoomId, session: Option<&str>, users: &[UserNid]) -> Result<Done, Failure> {
        let users: Vec<_> = users.iter().map(|user| AccountNid::new(user.get())).collect();
        for (user, name) in self.accounts.user_ids(&users).await? {
            let guard = self.holds.nothing_changes().await;
            if guard.room(room).is_held() || guard.user(&name).is_held() {
                return Ok(Done::Waits);
            }
            self.accounts.end_backup_keys(user, room, session).await?;
        }
        Ok(Done::Gone)
    }

    /// Deletes files that are as old as they may be; tells how many.
    async fn follow_time(&self, now_ms: u64) -> Result<u64, Failure> {
        let mut count = self.end_old_copies(now_ms).await?;
        count += match self.terms.uploads_ms {
            Some(max_ms) => self.end_uploads(now_ms.saturating_sub(max_ms), self.terms.age, MediaUse::Messages).await?,
            None => self.end_unnamed(now_ms).await?,
        };
        Ok(count)
    }

    async fn end_old_copies(&self, now_ms: u64) -> Result<u64, Failure> {
        let Some(max_ms) = self.terms.copies_ms else { return Ok(0) };
        let (before_ms, mut after, mut count) = (now_ms.saturating_sub(max_ms), None, 0);
        loop {
            let Aged { media, next } = self.media.copies_before(before_ms, self.terms.age, after).await?;
            for media in media {
                // Their own servers have them still, so it does not matter who names them.
                count += u64::from(self.end_file(&media, MediaUse::State).await? == Done::Gone);
            }
            if next.is_none() {
                return Ok(count);
            }
            after = next;
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Deletes uploads that no event names in the clear and at which nobody has looked for longer than any message lasts:
    /// an encrypted message that was sent with one is over.
    async fn end_unnamed(&self, now_ms: u64) -> Result<u64, Failure> {
        // No room's messages last for less than the server's own limit, so what is younger need not be looked at.
        let Some(default_ms) = self.rooms.retention().default.max_ms else { return Ok(0) };
        let before_ms = now_ms.saturating_sub(default_ms);
        let mut after = None;
        loop {
            let Aged { media, next } = self.media.uploads_before(before_ms, AgeOf::LastAccess, after).await?;
            if !media.is_empty() {
                break;
            }
            if next.is_none() {
                return Ok(0);
            }
            after = next;
        }
        match self.rooms.longest_lifetime().await? {
            Some(longest_ms) => {
                let before_ms = now_ms.saturating_sub(longest_ms.max(default_ms));
                self.end_uploads(before_ms, AgeOf::LastAccess, MediaUse::Nothing).await
            }
            None => Ok(0),
        }
    }

    async fn end_uploads(&self, before_ms: u64, age: AgeOf, named_at_most: MediaUse) -> Result<u64, Failure> {
        let (mut after, mut count) = (None, 0);
        loop {
            let Aged { media, next } = self.media.uploads_before(before_ms, age, after).await?;
            let uris = media.iter().map(MediaId::uri).collect();
            let kept = self.accounts.naming_media(&uris).await?;
            for media in media.iter().filter(|media| !kept.contains(&media.uri())) {
                count += u64::from(self.end_file(media, named_at_most).await? == Done::Gone);
            }
            if next.is_none() {
                return Ok(count);
            }
            after = next;
            tokio::time::sleep(PAUSE).await;
        }
    }
}

fn parsed(uri: &str) -> Option<MediaId> {
    let (server, id) = uri.strip_prefix("mxc://")?.split_once('/')?;
    MediaId::parse(server, id).ok()
}
