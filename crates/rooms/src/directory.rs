//! Room aliases (specification, "Room aliases").

use ruma::{OwnedRoomAliasId, OwnedRoomId, RoomAliasId};
use wardroom_store::{Batch, Json};

use crate::{
    Engine, Rooms,
    error::RoomError,
    ids::{RoomNid, UserNid},
    tables::{ALIASES, AliasRecord, ROOM_ALIASES},
};

/// Domain of the keyed hash of an alias.
const HASH_ALIAS: u8 = 4;

impl Engine {
    /// Gives a room an alias as part of a batch, which fails where the alias is in use.
    pub(crate) fn put_alias(&self, batch: &mut Batch, alias: &OwnedRoomAliasId, room: RoomNid, creator: UserNid) {
        let hash = self.store.keyed_hash(HASH_ALIAS, alias.as_bytes());
        batch.expect_absent(&ALIASES, &hash);
        batch.put(&ALIASES, &hash, &Json(AliasRecord { alias: alias.clone(), room, creator }));
        batch.put(&ROOM_ALIASES, &(room, hash), &());
    }
}

impl Rooms {
    /// The room that an alias of this server leads to.
    pub async fn resolve_alias(&self, alias: &RoomAliasId) -> Result<Option<OwnedRoomId>, RoomError> {
        let hash = self.engine.store.keyed_hash(HASH_ALIAS, alias.as_bytes());
        match self.engine.store.latest().get(&ALIASES, &hash).await? {
            Some(record) => Ok(Some(self.view_of(record.0.room).await?.id.clone())),
            None => Ok(None),
        }
    }
}
