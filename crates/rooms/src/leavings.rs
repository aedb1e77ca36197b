//! What events that are not whole any more have left: media and keys of backups, which end with the last event that named
//! them. Rooms know the names only; who keeps the things takes a leaving, ends what it names, and settles it.
//!
//! A leaving is written in the batch that ends the event, and stays until it is settled, so a crash loses none. One that
//! was left again meanwhile is not settled, but looked at once more.

use ruma::{OwnedRoomId, events::StateEventType};
use serde::{Deserialize, Serialize};
use wardroom_store::{Batch, CommitError, Hash16, Json, Position, Profile, Scan, Seal, Table};

use crate::{
    Engine, MediaUse, Rooms,
    error::RoomError,
    ids::{NS_ROOM, RoomNid, UserNid},
    naming::NAMED_IN_ROOM,
    room_media::MEDIA_ROOMS,
    tables::{Membership, ROOMS},
};

/// (kind, hash of what was named) -> what was named.
static LEAVINGS: Table<(u8, Hash16), Json<Leaving>> = Table::new(0x0284, "leavings", Profile::Churn, Seal::System);

/// Its specification, for the catalogue.
pub(crate) const fn table() -> wardroom_store::TableSpec {
    *LEAVINGS.spec()
}

/// Leavings that one read returns at most.
pub const LEAVINGS_PAGE_MAX: usize = 500;
/// Members of a room that are read at a time.
const MEMBERS_PAGE: usize = 1_000;
/// Rooms that are read at a time.
const ROOMS_PAGE: usize = 1_000;
/// How long clients use a session where the room does not say, in milliseconds: a week (`m.room.encryption`).
const ROTATION_DEFAULT_MS: u64 = 7 * 24 * 60 * 60 * 1_000;

/// What was named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Leaving {
    /// A media.
    Media { uri: String },
    /// A Megolm session of a room, and when an event came that was encrypted with it.
    Session { room: RoomNid, session: String, received_ms: u64 },
    /// Every session of a room that was destroyed, for some of its members.
    Room { room: OwnedRoomId, users: Vec<UserNid> },
}

impl Leaving {
    const fn kind(&self) -> u8 {
        match self {
            Self::Media { .. } => 1,
            Self::Session { .. } => 2,
            Self::Room { .. } => 3,
        }
    }
}

/// What is to be done about a leaving.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Nothing: it is named still, or again.
    Nothing,
    /// Nothing yet: clients may go on to use the session for a while.
    Later,
    /// No event names this media in the clear any more.
    Media(String),
    /// Nothing that is whole is encrypted with this session, or any session, of the room: users may have its key in their
    /// backups.
    Session {
        /// The room.
        room: OwnedRoomId,
        /// The session; none for all.
        session: Option<String>,
        /// Users of this server who are or were in the room.
        users: Vec<UserNid>,
    },
}

/// Something that was named.
#[derive(Clone, Debug)]
pub struct Left {
    key: (u8, Hash16),
    version: Position,
    what: Leaving,
}

impl Engine {
    /// Leaves what an event named.
    pub(crate) fn leave(&self, batch: &mut Batch, hash: Hash16, what: Leaving) {
        batch.put(&LEAVINGS, &(what.kind(), hash), &Json(what));
    }

    /// Leaves the sessions of a room that is destroyed, for these members of it.
    pub(crate) fn leave_sessions(&self, batch: &mut Batch, room: &ruma::RoomId, users: Vec<UserNid>) {
        let Some(first) = users.first() else { return };
        // Of each page of members one.
        let hash = self.session_hash(RoomNid::new(first.get()), room.as_str());
        self.leave(batch, hash, Leaving::Room { room: room.to_owned(), users });
    }

    /// How long clients of a room use one session, in milliseconds.
    async fn rotation_ms(&self, room: RoomNid) -> Result<u64, RoomError> {
        let view = self.room(room).await?.view();
        let event = self.state_event(room, view.state, &StateEventType::RoomEncryption, "").await?;
        let content: Option<serde_json::Value> = event.and_then(|event| event.pdu.content_as().ok());
        let said = content.and_then(|content| content.get("rotation_period_ms")?.as_u64());
        Ok(said.unwrap_or(ROTATION_DEFAULT_MS))
    }
}

impl Rooms {
    /// What events have left, behind one of the page before; at most [`LEAVINGS_PAGE_MAX`].
    ///
    /// # Errors
    /// When the store fails.
    pub async fn leavings(&self, after: Option<&Left>) -> Result<Vec<Left>, RoomError> {
        let scan = match after {
            Some(left) => Scan::all().after(&left.key),
            None => Scan::all(),
        };
        let rows = self.engine.store.latest().scan_versioned(&LEAVINGS, scan.limit(LEAVINGS_PAGE_MAX)).await?;
        Ok(rows.into_iter().map(|(key, Json(what), version)| Left { key, version, what }).collect())
    }

    /// What is to be done about it at this time, in milliseconds since 1970.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn ending_of(&self, left: &Left, now_ms: u64) -> Result<Ending, RoomError> {
        match &left.what {
            Leaving::Media { uri } => Ok(match self.media_use(uri).await? {
                MediaUse::Nothing => Ending::Media(uri.clone()),
                MediaUse::Messages | MediaUse::State => Ending::Nothing,
            }),
            Leaving::Session { room, session, received_ms } => {
                self.ending_of_session(*room, session, *received_ms, now_ms).await
            }
            Leaving::Room { room, users } => {
                Ok(Ending::Session { room: room.clone(), session: None, users: users.clone() })
            }
        }
    }

    async fn ending_of_session(
        &self,
        room: RoomNid,
        session: &str,
        received_ms: u64,
        now_ms: u64,
    ) -> Result<Ending, RoomError> {
        let engine = &self.engine;
        if engine.is_session_live(room, session).await? {
            return Ok(Ending::Nothing);
        }
        let rotation_ms = match engine.rotation_ms(room).await {
            // Its end takes all its sessions along.
            Err(RoomError::NoSuchRoom) => return Ok(Ending::Nothing),
            rotation_ms => rotation_ms?,
        };
        // A session that was in use when an event came is not in use for longer than it may be from then on.
        if received_ms.saturating_add(rotation_ms) > now_ms {
            return Ok(Ending::Later);
        }
        let id = engine.store.interner().resolve(NS_ROOM, room.get()).await?;
        let id = id.and_then(|id| OwnedRoomId::try_from(&*id).ok());
        let id = id.ok_or_else(|| RoomError::inconsistent("room without id"))?;
        Ok(Ending::Session { room: id, session: Some(session.to_owned()), users: self.local_ever(room).await? })
    }

    /// Users of this server who are or were in a room, or were asked in.
    async fn local_ever(&self, room: RoomNid) -> Result<Vec<UserNid>, RoomError> {
        let mut found = Vec::new();
        for membership in [Membership::Join, Membership::Leave, Membership::Ban, Membership::Invite, Membership::Knock]
        {
            let mut after = None;
            loop {
                let page = self.members(room, membership, after, MEMBERS_PAGE).await?;
                let Some(last) = page.last().copied() else { break };
                after = Some(last);
                found.extend(self.local_among(&page).await?.into_iter().map(|(_, user)| user));
            }
        }
        Ok(found)
    }

    /// What was to be done about it is done; `deleted` says whether a media is not there any more.
    ///
    /// # Errors
    /// When the store fails; it is met again then.
    pub async fn settle(&self, left: &Left, deleted: bool) -> Result<(), RoomError> {
        let mut batch = Batch::default();
        batch.expect_version(&LEAVINGS, &left.key, Some(left.version));
        batch.delete(&LEAVINGS, &left.key);
        if let Leaving::Media { uri } = &left.what {
            self.close_media(&mut batch, left.key.1, uri, deleted).await?;
        }
        match self.engine.store.commit(batch).await {
            // It was left again meanwhile.
            Ok(_) | Err(CommitError::Conflict { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Drops the notes of rooms that named a media and do not any more. The notes say who may see it, so the last stay as
    /// long as it can be had: of this server's until it is deleted, of others', which can be fetched again, where it was
    /// never open to everybody.
    async fn close_media(&self, batch: &mut Batch, hash: Hash16, uri: &str, deleted: bool) -> Result<(), RoomError> {
        let engine = &self.engine;
        let rooms = engine.rooms_of_media(uri).await?;
        let mut over = Vec::new();
        for room in &rooms {
            let scan = Scan::prefix(&(*room, hash)).limit(1);
            if engine.store.latest().scan_keys(&NAMED_IN_ROOM, scan).await?.is_empty() {
                over.push(*room);
            }
        }
        if over.len() == rooms.len() {
            let own = uri.starts_with(&format!("mxc://{}/", engine.server_name));
            let gone = deleted && self.media_use(uri).await? == MediaUse::Nothing;
            if !(gone && (own || engine.is_open(&rooms).await?)) {
                return Ok(());
            }
        }
        for room in over {
            batch.delete(&MEDIA_ROOMS, &(hash, room));
        }
        Ok(())
    }

    /// The longest time for which a message of any room is kept, in milliseconds; none where one is kept for ever.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn longest_lifetime(&self) -> Result<Option<u64>, RoomError> {
        let default = self.engine.retention.lifetime(&crate::RetentionOf::default());
        let Some(mut longest) = default.max_ms.map(|max_ms| max_ms.max(default.min_ms)) else { return Ok(None) };
        let mut scan = Scan::all().limit(ROOMS_PAGE);
        loop {
            let rooms = self.engine.store.latest().scan_keys(&ROOMS, scan).await?;
            let Some(last) = rooms.last().copied() else { return Ok(Some(longest)) };
            for room in rooms {
                let lifetime = match self.engine.load(room).await {
                    Err(RoomError::NoSuchRoom) => continue,
                    view => view?.lifetime,
                };
                let Some(max_ms) = lifetime.max_ms else { return Ok(None) };
                longest = longest.max(max_ms).max(lifetime.min_ms);
            }
            scan = Scan::all().after(&last).limit(ROOMS_PAGE);
            tokio::task::consume_budget().await;
        }
    }
}

#[cfg(test)]
mod tests;
