//! Rooms that administrators of this server have blocked: nobody here joins them or is invited to them. A room can be
//! blocked before this server has heard of it.

use ruma::{OwnedUserId, RoomId};
use serde::{Deserialize, Serialize};
use wardroom_audit::Act;
use wardroom_store::{Batch, Packed, Profile, Seal, Table};

use crate::{
    Engine, Rooms,
    error::RoomError,
    ids::{NS_ROOM, RoomNid, UserNid},
};

/// Room to who blocked it.
pub(crate) const BLOCKED: Table<RoomNid, Packed<Block>> =
    Table::new(0x0280, "blocked_rooms", Profile::Point, Seal::System);

/// Who blocked a room, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Block {
    by: UserNid,
    at_ms: u64,
}

impl Engine {
    /// Refuses what nobody may do with a blocked room.
    pub(crate) async fn check_unblocked(&self, room: RoomNid) -> Result<(), RoomError> {
        match self.store.latest().get(&BLOCKED, &room).await? {
            Some(_) => Err(RoomError::Forbidden("This room has been blocked on this server.".to_owned())),
            None => Ok(()),
        }
    }

    /// Blocks a room as part of a batch.
    pub(crate) async fn put_block(&self, batch: &mut Batch, room: &RoomId, by: UserNid) -> Result<(), RoomError> {
        let nid = RoomNid::new(self.store.interner().intern(batch, NS_ROOM, room.as_str()).await?);
        batch.put(&BLOCKED, &nid, &Packed(Block { by, at_ms: self.clock.now_ms() }));
        Ok(())
    }
}

impl Rooms {
    /// Refuses to let a blocked room in, also one that this server has not got.
    ///
    /// # Errors
    /// [`RoomError::Forbidden`]; when the store fails.
    pub async fn check_unblocked_id(&self, room: &RoomId) -> Result<(), RoomError> {
        match self.room_nid(room).await? {
            Some(nid) => self.engine.check_unblocked(nid).await,
            None => Ok(()),
        }
    }

    /// Blocks a room, or ends that. Who is in it stays in it.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn set_blocked(&self, room: &RoomId, by: UserNid, blocked: bool) -> Result<(), RoomError> {
        let mut batch = Batch::default();
        if blocked {
            if self.blocked_by(room).await?.is_some() {
                return Ok(());
            }
            self.engine.put_block(&mut batch, room, by).await?;
        } else {
            let Some(nid) = self.room_nid(room).await? else { return Ok(()) };
            batch.delete(&BLOCKED, &nid);
        }
        let what = if blocked { "block" } else { "unblock" };
        self.engine.record_change(&mut batch, Act::RoomChange, room, what);
        self.engine.store.commit(batch).await?;
        Ok(())
    }

    /// Who blocked a room; none where it is not blocked.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn blocked_by(&self, room: &RoomId) -> Result<Option<OwnedUserId>, RoomError> {
        let Some(nid) = self.room_nid(room).await? else { return Ok(None) };
        match self.engine.store.latest().get(&BLOCKED, &nid).await? {
            Some(Packed(block)) => Ok(self.user_ids(&[block.by]).await?.pop()),
            None => Ok(None),
        }
    }
}
