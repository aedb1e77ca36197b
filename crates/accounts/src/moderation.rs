//! Locked and suspended accounts: sections "Account locking" and "Account suspension". Both can be taken back, and
//! neither ends a session.

use ruma::UserId;
use serde::{Deserialize, Serialize};
use wardroom_store::{Batch, Packed, Position};

use crate::{
    AccountError, Accounts, UserNid,
    error::{CONFLICT_ROUNDS_MAX, settled},
    tables::{MODERATION, USERS},
};

/// What an administrator has taken from an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moderation {
    /// The account cannot be used.
    pub locked: bool,
    /// The account can read, and little else.
    pub suspended: bool,
}

impl Accounts {
    /// What was taken from a user; none when there is no such active user on this server.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn moderation(&self, user: &UserId) -> Result<Option<Moderation>, AccountError> {
        match self.user_row(user).await? {
            Some((nid, row, _)) if !row.deactivated => Ok(Some(self.moderation_of(nid).await?.0)),
            _ => Ok(None),
        }
    }

    pub(crate) async fn moderation_of(&self, user: UserNid) -> Result<(Moderation, Option<Position>), AccountError> {
        let stored = self.0.store.latest().get_versioned(&MODERATION, &user.get()).await?;
        Ok(stored.map_or((Moderation::default(), None), |(Packed(moderation), version)| (moderation, Some(version))))
    }

    /// Refuses a locked user a new session.
    pub(crate) async fn check_unlocked(&self, user: UserNid) -> Result<(), AccountError> {
        if self.moderation_of(user).await?.0.locked { Err(AccountError::Locked) } else { Ok(()) }
    }

    /// Changes what is taken from a user. Counts from the next request of any of the user's sessions.
    ///
    /// # Errors
    /// [`AccountError::UnknownUser`], [`AccountError::Deactivated`], or the store's.
    pub async fn moderate(&self, user: &UserId, change: impl Fn(&mut Moderation)) -> Result<Moderation, AccountError> {
        for _ in 0..CONFLICT_ROUNDS_MAX {
            let (nid, _, user_version) = self.active_row(user).await?;
            let (mut moderation, version) = self.moderation_of(nid).await?;
            let before = moderation;
            change(&mut moderation);
            let mut batch = Batch::default();
            if before.locked != moderation.locked {
                self.record_change(&mut batch, user, if moderation.locked { "lock" } else { "unlock" });
            }
            if before.suspended != moderation.suspended {
                self.record_change(&mut batch, user, if moderation.suspended { "suspend" } else { "unsuspend" });
            }
            batch.expect_version(&USERS, &nid.get(), Some(user_version));
            batch.expect_version(&MODERATION, &nid.get(), version);
            if moderation == Moderation::default() {
                batch.delete(&MODERATION, &nid.get());
            } else {
                batch.put(&MODERATION, &nid.get(), &Packed(moderation));
            }
            batch.touch(nid.watch_key());
            self.forget_sessions_of(&mut batch, nid);
            self.0.listing.changed_on_commit(&mut batch, nid);
            if settled(self.0.store.commit(batch).await)?.is_some() {
                return Ok(moderation);
            }
        }
        Err(AccountError::Contended)
    }
}
