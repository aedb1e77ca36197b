//! Opening an account again that was closed, and making devices for users: for administrators.

use ruma::{DeviceId, UserId};
use wardroom_store::{Batch, Packed};

use crate::{
    AccountError, Accounts, LoginRequest, User,
    deeds::Entrance,
    error::{CONFLICT_ROUNDS_MAX, settled},
    tables::{PERSONS, PROFILES, USERS},
};

impl Accounts {
    /// Opens an account again that was closed: its user starts anew, under the old name. Without a password nobody can
    /// log in with one.
    ///
    /// # Errors
    /// [`AccountError::UnknownUser`], [`AccountError::UnusablePassword`], [`AccountError::Busy`], or the store's.
    pub async fn reopen(&self, user: &UserId, password: Option<&str>) -> Result<User, AccountError> {
        let password = match password {
            Some(password) => Some(self.0.passwords.hash(password).await?),
            None => None,
        };
        for _ in 0..CONFLICT_ROUNDS_MAX {
            let (nid, mut row, version) = self.user_row(user).await?.ok_or(AccountError::UnknownUser)?;
            if !row.deactivated {
                return Ok(User::from_row(user.to_owned(), nid, &row));
            }
            (row.deactivated, row.password) = (false, password.clone());
            let user_now = User::from_row(user.to_owned(), nid, &row);
            let mut batch = Batch::default();
            batch.expect_version(&USERS, &nid.get(), Some(version));
            batch.put(&USERS, &nid.get(), &Packed(row));
            self.record_change(&mut batch, user, "reactivate");
            let profile = crate::Profile { displayname: Some(user.localpart().to_owned()), avatar_url: None };
            let key = self.person_key(nid).await?;
            batch.put_sealed(&PERSONS, &nid.get(), &(), &key);
            batch.put_sealed(&PROFILES, &nid.get(), &Packed(profile), &key);
            self.put_default_push_rules(&mut batch, &user_now, &key)?;
            self.0.directory.put_on_commit(&mut batch, nid, user, None);
            self.0.listing.changed_on_commit(&mut batch, nid);
            batch.touch(nid.watch_key());
            if settled(self.0.store.commit(batch).await)?.is_some() {
                return Ok(user_now);
            }
        }
        Err(AccountError::Contended)
    }

    /// Makes a device for a user, as existing scripts do for bots; one that is there stays as it is. The token that
    /// comes with it is given to nobody: who wants to use the device logs in on it.
    ///
    /// # Errors
    /// Those of [`Accounts::login_as`].
    pub async fn create_device(&self, user: &UserId, device: &DeviceId) -> Result<(), AccountError> {
        let (nid, ..) = self.active_row(user).await?;
        if self.device(nid, device).await?.is_none() {
            let request = LoginRequest { device_id: Some(device), ..LoginRequest::default() };
            self.login_by(user, &request, Entrance::Device).await?;
        }
        Ok(())
    }
}
