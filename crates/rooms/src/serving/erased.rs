//! Users who have closed their account and want what they sent to be forgotten (client-server API, `POST
//! /account/deactivate`, `erase`): other servers get it redacted from then on. Nothing is redacted by that, and servers
//! that have it keep it.

use ruma::UserId;
use wardroom_store::{Profile, Seal, Table};

use crate::{Engine, Rooms, error::RoomError, ids::UserNid};

/// Users whose events other servers get redacted.
pub(crate) const ERASED: Table<UserNid, ()> = Table::new(0x0270, "erased_users", Profile::Point, Seal::System);

impl Rooms {
    /// Whether [`Rooms::erase_user`] was asked for.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn is_erased_user(&self, user: UserNid) -> Result<bool, RoomError> {
        Ok(self.engine.store.latest().get(&ERASED, &user).await?.is_some())
    }
}

impl Engine {
    /// Whether a user of this server wants to be forgotten. Of others, their servers know.
    pub(super) async fn is_erased(&self, user: &UserId) -> Result<bool, RoomError> {
        if user.server_name() != self.server_name {
            return Ok(false);
        }
        match self.user_nid(user).await? {
            Some(nid) => Ok(self.store.latest().get(&ERASED, &nid).await?.is_some()),
            None => Ok(false),
        }
    }
}
