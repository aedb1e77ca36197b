//! The room in which the server speaks to a user: section "Server Notices".

use wardroom_store::Batch;

use crate::{AccountError, Accounts, UserNid, error::settled, tables::NOTICE_ROOMS};

impl Accounts {
    /// The number of the room in which the server speaks to the user, if there is one.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn notice_room(&self, user: UserNid) -> Result<Option<u64>, AccountError> {
        Ok(self.0.store.latest().get(&NOTICE_ROOMS, &user.get()).await?)
    }

    /// Notes the room in which the server speaks to the user.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn set_notice_room(&self, user: UserNid, room: u64) -> Result<(), AccountError> {
        let mut batch = Batch::default();
        batch.put(&NOTICE_ROOMS, &user.get(), &room);
        settled(self.0.store.commit(batch).await).map(drop)
    }
}
