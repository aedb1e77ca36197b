//! Rooms that everybody of this server who was in them has left and forgotten.

use futures_util::FutureExt as _;
use wardroom_store::{Batch, CommitError, Position, Scan};

use super::{FORGOTTEN, RoomEnd, ms};
use crate::{
    Rooms,
    error::RoomError,
    ids::{RoomNid, UserNid},
    tables::Membership,
};

/// Rooms read at a time.
const ROOMS_PAGE: usize = 1_000;
/// Members read at a time.
const MEMBERS_PAGE: usize = 1_000;

impl Rooms {
    /// Whether users of this server were in a room, and all of them have left and forgotten it.
    ///
    /// # Errors
    /// When the store fails.
    pub(crate) async fn is_left_and_forgotten(&self, room: RoomNid) -> Result<bool, RoomError> {
        if self.has_local_members(room).await? {
            return Ok(false);
        }
        let mut any = false;
        for membership in [Membership::Invite, Membership::Knock, Membership::Leave, Membership::Ban, Membership::Join]
        {
            let gone = matches!(membership, Membership::Leave | Membership::Ban);
            let mut after: Option<UserNid> = None;
            loop {
                let page = self.members(room, membership, after, MEMBERS_PAGE).await?;
                let Some(last) = page.last().copied() else { break };
                after = Some(last);
                for (_, user) in self.local_among(&page).await? {
                    any = true;
                    let entry = self.membership(user, room).await?;
                    if !(gone && entry.is_some_and(|entry| entry.forgotten)) {
                        return Ok(false);
                    }
                }
                tokio::task::consume_budget().await;
            }
        }
        Ok(any)
    }

    /// Whether a room has come to such an end. One that everybody has forgotten is closed then: nobody comes back while it is
    /// being destroyed.
    pub(crate) async fn is_at_end(&self, nid: RoomNid, end: RoomEnd) -> Result<bool, RoomError> {
        if end == RoomEnd::Unused {
            return Ok(!self.engine.has_talk(nid).await?);
        }
        let room = self.engine.room(nid).await?;
        let view = room.view();
        if room.is_closed() {
            return Ok(true);
        }
        if !self.is_left_and_forgotten(nid).await? {
            return Ok(false);
        }
        self.engine
            .write(&room, move |writer| {
                async move {
                    // Whoever comes in sends an event.
                    let same = writer.is_as_of(&view);
                    if same {
                        writer.close_room();
                    }
                    Ok(same)
                }
                .boxed()
            })
            .await
    }

    /// Destroys rooms that were forgotten long enough ago.
    pub(super) async fn end_forgotten(&self, now_ms: u64) -> Result<(), RoomError> {
        let Some(kept_ms) = ms(self.engine.retention.ends.forgotten) else { return Ok(()) };
        let mut scan = Scan::all().limit(ROOMS_PAGE);
        loop {
            let rows = self.engine.store.latest().scan_versioned(&FORGOTTEN, scan).await?;
            let Some((last, ..)) = rows.last() else { return Ok(()) };
            scan = Scan::all().after(last).limit(ROOMS_PAGE);
            for (room, at_ms, noted) in rows {
                if now_ms < at_ms.saturating_add(kept_ms) {
                    continue;
                }
                match self.end_if_forgotten(room, noted).await {
                    Ok(true) => {}
                    Ok(false) => return Ok(()),
                    Err(error) => tracing::error!(%error, room = room.get(), "a forgotten room could not end"),
                }
            }
        }
    }

    /// Tells whether there is room for another one.
    async fn end_if_forgotten(&self, room: RoomNid, noted: Position) -> Result<bool, RoomError> {
        if self.is_left_and_forgotten(room).await? {
            // The mark goes with the room.
            return match self.end(room, RoomEnd::Forgotten).await {
                Err(RoomError::NoSuchRoom) => self.unmark_forgotten(room, noted).await,
                ended => ended,
            };
        }
        self.unmark_forgotten(room, noted).await
    }

    /// Somebody has come back. Whoever forgets the room again marks it again.
    async fn unmark_forgotten(&self, room: RoomNid, noted: Position) -> Result<bool, RoomError> {
        let mut batch = Batch::default();
        batch.expect_version(&FORGOTTEN, &room, Some(noted));
        batch.delete(&FORGOTTEN, &room);
        match self.engine.store.commit(batch).await {
            Ok(_) | Err(CommitError::Conflict { .. }) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }
}
