//! What legal holds keep from being deleted.

use ruma::UserId;
use wardroom_holds::{Guard, Verdict};

use crate::{
    Media, MediaError,
    tables::{MediaRow, Origin, RemoteRow},
};

/// Names of users, as the interner of the store numbers them.
const NS_USER: u8 = 1;

impl Media {
    /// Refuses to delete a file of this server that a hold covers. What nobody uploaded is none.
    pub(crate) async fn check_not_held(&self, guard: &Guard, row: &MediaRow) -> Result<(), MediaError> {
        if row.content.is_none() || row.origin != Origin::Upload || !guard.is_any() {
            return Ok(());
        }
        let owner = self.0.store.interner().resolve(NS_USER, row.owner).await?;
        let owner = owner.as_deref().and_then(|owner| <&UserId>::try_from(owner).ok());
        refuse(guard.upload(self.0.server_name.as_str(), &row.id, owner, row.created_ms))
    }

    /// Refuses to delete the copy of another server's file that a hold names.
    pub(crate) fn check_copy_not_held(guard: &Guard, row: &RemoteRow) -> Result<(), MediaError> {
        if row.content.is_none() {
            return Ok(());
        }
        refuse(guard.upload(&row.server, &row.id, None, row.fetched_ms))
    }
}

fn refuse(verdict: Verdict) -> Result<(), MediaError> {
    verdict.hold().map_or(Ok(()), |hold| Err(MediaError::Held(hold)))
}
