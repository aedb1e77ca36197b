//! Who knows whom: rooms that two users share (specification, "Mutual rooms"), and whom a user may find in the user
//! directory.

use std::collections::HashSet;

use ruma::{OwnedRoomId, UserId};
use wardroom_store::Scan;

use crate::{
    Actor, Engine, Rooms,
    error::RoomError,
    ids::{RoomNid, UserNid},
    tables::{MEMBERS, MEMBERSHIPS, Membership},
};

/// Shared rooms that one answer lists.
const MUTUAL_ROOMS_PAGE: usize = 500;
/// Rooms of one user that are looked at in search of a shared or open one.
const ROOMS_PER_USER_MAX: usize = 10_000;

/// Users after which a search lets other requests go on.
const CANDIDATES_PER_BREATH: usize = 64;

/// A page of the rooms that two users share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MutualRooms {
    /// The rooms.
    pub joined: Vec<OwnedRoomId>,
    /// How many there are in all.
    pub count: u64,
    /// Where the next page begins, if there is one.
    pub next_batch: Option<String>,
}

impl Rooms {
    /// A page of the rooms in which both users are now. Nobody learns of rooms they are not in.
    ///
    /// # Errors
    /// [`RoomError::InvalidParam`] where `from` is not a token of an earlier page.
    pub async fn mutual_rooms(
        &self,
        actor: Actor<'_>,
        other: &UserId,
        from: Option<&str>,
    ) -> Result<MutualRooms, RoomError> {
        let after = from.map(|token| token.strip_prefix('m').and_then(|room| room.parse().ok()).map(RoomNid::new));
        if after == Some(None) {
            return Err(RoomError::InvalidParam("from: this is not a token that this server gave.".to_owned()));
        }
        let Some(other) = self.engine.user_nid(other).await? else {
            return Ok(MutualRooms { joined: Vec::new(), count: 0, next_batch: None });
        };
        let mut shared = Vec::new();
        for entry in self.memberships(actor.nid).await? {
            if entry.membership == Membership::Join && self.engine.has_joined(other, entry.room).await? {
                shared.push(entry.room);
            }
        }
        // In the order of their numbers, which never changes.
        shared.sort_unstable();
        let count = u64::try_from(shared.len()).unwrap_or(u64::MAX);
        let start = after.flatten().map_or(0, |last| shared.partition_point(|room| *room <= last));
        let page = &shared[start..shared.len().min(start + MUTUAL_ROOMS_PAGE)];
        let more = start + page.len() < shared.len();
        let next_batch = page.last().filter(|_| more).map(|last| format!("m{}", last.get()));
        let mut joined = Vec::with_capacity(page.len());
        for room in page {
            joined.push(self.view_of(*room).await?.id.clone());
        }
        Ok(MutualRooms { joined, count, next_batch })
    }

    /// Whether a user is in a room with a user of this server, other than the one named.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn shares_a_room_here(&self, user: UserNid, other_than: Option<RoomNid>) -> Result<bool, RoomError> {
        let scan = Scan::prefix(&user).limit(ROOMS_PER_USER_MAX);
        for (_, room) in self.engine.store.latest().scan_keys(&MEMBERSHIPS, scan).await? {
            if Some(room) != other_than && self.engine.has_joined(user, room).await? && self.is_resident(room).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Of these users, in their order, those whom another may find in the user directory: who shares a room with them
    /// now, and who is in a room that anybody may join or read (specification, `POST /user_directory/search`). Stops
    /// when there are `enough`. Ungated: it tells of no room.
    pub async fn acquaintances(
        &self,
        asker: UserNid,
        candidates: &[UserNid],
        enough: usize,
    ) -> Result<Vec<UserNid>, RoomError> {
        let own = self.memberships(asker).await?.into_iter();
        let own: HashSet<RoomNid> =
            own.filter(|entry| entry.membership == Membership::Join).map(|entry| entry.room).collect();
        let mut found = Vec::new();
        for (looked_at, candidate) in candidates.iter().enumerate() {
            if found.len() >= enough {
                break;
            }
            if looked_at % CANDIDATES_PER_BREATH == CANDIDATES_PER_BREATH - 1 {
                // What lies in memory never waits: let others have their turn.
                tokio::task::yield_now().await;
            }
            if self.engine.may_be_found(asker, &own, *candidate).await? {
                found.push(*candidate);
            }
        }
        Ok(found)
    }
}

impl Engine {
    /// Whether a user is joined to a room, by the index of members alone.
    async fn has_joined(&self, user: UserNid, room: RoomNid) -> Result<bool, RoomError> {
        Ok(self.store.latest().get(&MEMBERS, &(room, Membership::Join as u8, user)).await?.is_some())
    }

    async fn may_be_found(
        &self,
        asker: UserNid,
        own: &HashSet<RoomNid>,
        candidate: UserNid,
    ) -> Result<bool, RoomError> {
        let scan = Scan::prefix(&candidate).limit(ROOMS_PER_USER_MAX);
        for (_, room) in self.store.latest().scan_keys(&MEMBERSHIPS, scan).await? {
            // One's own rooms make one known to others, not to oneself.
            let shared = candidate != asker && own.contains(&room);
            // Of an open room that nobody here is in any more, this server does not hear who is in it.
            let view = self.room(room).await?.view();
            let known = shared || (view.is_open() && self.is_resident(&view).await?);
            if known && self.has_joined(candidate, room).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
