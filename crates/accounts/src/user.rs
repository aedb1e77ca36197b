//! Users: making, finding, closing.

use ruma::{DeviceId, OwnedUserId, UserId};
use wardroom_store::{Batch, Packed, Position, Scan, WatchKey};

use crate::{
    AccountError, Accounts,
    deeds::Ending,
    dehydrated::DEHYDRATED,
    error::{CONFLICT_ROUNDS_MAX, settled},
    tables::{
        ACCESS_TOKENS, ADMIN_SCOPES, DEVICES, DEVICES_SEEN, MODERATION, NOTICE_ROOMS, NS_USER, REFRESH_TOKENS, USERS,
        UserRow, WATCH_USER,
    },
    user_name::new_user_id,
};

/// The number of a user in keys, the same in all crates (namespace [`NS_USER`] of the interner).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserNid(u64);

impl UserNid {
    /// A number that the interner gave out in [`NS_USER`].
    pub const fn new(nid: u64) -> Self {
        Self(nid)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// What to watch, and to touch, for changes that concern this user alone.
    pub const fn watch_key(self) -> WatchKey {
        WatchKey { kind: WATCH_USER, id: self.0 }
    }
}

/// A user of this server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The full id.
    pub id: OwnedUserId,
    /// The user's number.
    pub nid: UserNid,
    /// Milliseconds since the epoch.
    pub created_ms: u64,
    /// Administrator of this server.
    pub admin: bool,
    /// Guest: may do little, has no password.
    pub guest: bool,
    /// Closed for good.
    pub deactivated: bool,
}

impl User {
    pub(crate) fn from_row(id: OwnedUserId, nid: UserNid, row: &UserRow) -> Self {
        let UserRow { created_ms, admin, guest, deactivated, password: _ } = *row;
        Self { id, nid, created_ms, admin, guest, deactivated }
    }
}

impl Accounts {
    /// Whether the id ends in this server's name. The user may not exist.
    pub fn is_local(&self, user: &UserId) -> bool {
        user.server_name() == self.0.settings.server_name
    }

    /// The user of this server with that id.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn user(&self, user: &UserId) -> Result<Option<User>, AccountError> {
        Ok(self.user_row(user).await?.map(|(nid, row, _)| User::from_row(user.to_owned(), nid, &row)))
    }

    /// The user of this server with that number.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn user_by_nid(&self, nid: UserNid) -> Result<Option<User>, AccountError> {
        let Some(Packed(row)) = self.0.store.latest().get(&USERS, &nid.get()).await? else { return Ok(None) };
        Ok(Some(User::from_row(self.user_id(nid).await?, nid, &row)))
    }

    /// Whether a user of this server with that id can act: exists and is not deactivated.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn is_active(&self, user: &UserId) -> Result<bool, AccountError> {
        Ok(self.user_row(user).await?.is_some_and(|(_, row, _)| !row.deactivated))
    }

    /// Whether a new user could have that name.
    ///
    /// # Errors
    /// [`AccountError::InvalidUsername`], [`AccountError::UserInUse`], or the store's.
    pub async fn check_username(&self, localpart: &str) -> Result<(), AccountError> {
        let id = new_user_id(localpart, &self.0.settings.server_name)?;
        if self.is_own_user(&id) || self.user_row(&id).await?.is_some() { Err(AccountError::UserInUse) } else { Ok(()) }
    }

    /// Whether this user acts for the server itself.
    pub fn is_own_user(&self, user: &UserId) -> bool {
        self.0.settings.own_users.iter().any(|own| own == user)
    }

    /// The account of one of the server's own users, made on first use. Nobody signs in to it.
    ///
    /// # Errors
    /// [`AccountError::Contended`], or the store's.
    pub async fn own_user(&self, user: &UserId) -> Result<User, AccountError> {
        for _ in 0..CONFLICT_ROUNDS_MAX {
            if let Some(found) = self.user(user).await? {
                return Ok(found);
            }
            if let Some(made) = self.make_user(user, &crate::NewUser::named(user.localpart()), None, None).await? {
                return Ok(made.user);
            }
            // Somebody else needs it at this moment and makes it, or another account is being made.
        }
        Err(AccountError::Contended)
    }

    /// Makes a user; without a password nobody can log in as them with one.
    ///
    /// # Errors
    /// [`AccountError::InvalidUsername`], [`AccountError::UserInUse`], [`AccountError::UnusablePassword`],
    /// [`AccountError::Busy`], or the store's.
    pub async fn create_user(
        &self,
        localpart: &str,
        password: Option<&str>,
        admin: bool,
    ) -> Result<User, AccountError> {
        let new = crate::NewUser { password, admin, ..crate::NewUser::named(localpart) };
        Ok(self.register(new, None).await?.user)
    }

    /// Makes the user an administrator of this server, or ends that.
    ///
    /// # Errors
    /// [`AccountError::UnknownUser`], [`AccountError::Deactivated`], or the store's.
    pub async fn set_admin(&self, user: &UserId, admin: bool) -> Result<(), AccountError> {
        for _ in 0..CONFLICT_ROUNDS_MAX {
            let (nid, mut row, version) = self.active_row(user).await?;
            row.admin = admin;
            let mut batch = Batch::default();
            batch.expect_version(&USERS, &nid.get(), Some(version));
            batch.put(&USERS, &nid.get(), &Packed(row));
            self.record_change(&mut batch, user, if admin { "admin.give" } else { "admin.take" });
            self.forget_sessions_of(&mut batch, nid);
            self.0.listing.changed_on_commit(&mut batch, nid);
            if settled(self.0.store.commit(batch).await)?.is_some() {
                return Ok(());
            }
        }
        Err(AccountError::Contended)
    }

    /// Closes an account for good: no token, no device, no password, no profile, no account data, no key backup is left; only
    /// the name stays taken.
    ///
    /// # Errors
    /// [`AccountError::UnknownUser`], [`AccountError::Deactivated`] when it already is, or the store's.
    pub async fn deactivate(&self, user: &UserId) -> Result<(), AccountError> {
        self.close(user, true).await
    }

    /// Closes an account for good as [`Accounts::deactivate`] does, but keeps what is known of the person, which nobody is
    /// shown any more, until [`Accounts::forget_person`].
    ///
    /// # Errors
    /// As there.
    pub async fn deactivate_keeping_data(&self, user: &UserId) -> Result<(), AccountError> {
        self.close(user, false).await
    }

    async fn close(&self, user: &UserId, forget: bool) -> Result<(), AccountError> {
        for _ in 0..CONFLICT_ROUNDS_MAX {
            let (nid, mut row, version) = self.active_row(user).await?;
            row.deactivated = true;
            row.admin = false;
            row.password = None;
            let key = nid.get();
            let mut batch = Batch::default();
            // A login expects this version too: none slips in between.
            batch.expect_version(&USERS, &key, Some(version));
            batch.put(&USERS, &key, &Packed(row));
            self.record_change(&mut batch, user, "deactivate");
            for (place, Packed(device)) in self.0.store.latest().scan(&DEVICES, Scan::prefix(&key)).await? {
                self.record_end(&mut batch, &place, &device, Ending::Account).await?;
                self.end_inbox(&mut batch, device.nid);
                for pair in device.pairs() {
                    batch.delete(&ACCESS_TOKENS, &pair.access);
                    if let Some(refresh) = &pair.refresh {
                        batch.delete(&REFRESH_TOKENS, refresh);
                    }
                }
            }
            self.end_pushers(&mut batch, nid, |_| true).await?;
            batch.delete_prefix(&DEVICES, &key);
            batch.delete_prefix(&DEVICES_SEEN, &key);
            batch.delete_prefix(&DEHYDRATED, &key);
            if forget {
                self.end_person(&mut batch, nid).await?;
            }
            self.end_all_keys(&mut batch, nid).await?;
            self.announce_devices(&mut batch, nid).await?;
            batch.delete(&MODERATION, &key);
            batch.delete(&NOTICE_ROOMS, &key);
            batch.delete(&ADMIN_SCOPES, &key);
            self.0.listing.changed_on_commit(&mut batch, nid);
            self.end_sso_origins(&mut batch, nid).await?;
            batch.touch(nid.watch_key());
            self.forget_sessions_of(&mut batch, nid);
            self.0.rulesets.forget_on_commit(&mut batch, nid);
            self.0.directory.remove_on_commit(&mut batch, nid);
            self.0.contact_rules.forget_all_on_commit(&mut batch, nid);
            self.0.presence.forget_on_commit(&mut batch, nid);
            if settled(self.0.store.commit(batch).await)?.is_some() {
                return Ok(());
            }
        }
        Err(AccountError::Contended)
    }

    /// Gives the user a new password, and logs devices out as told.
    ///
    /// # Errors
    /// [`AccountError::UnknownUser`], [`AccountError::Deactivated`], [`AccountError::GuestForbidden`],
    /// [`AccountError::UnusablePassword`], [`AccountError::Busy`], or the store's.
    pub async fn set_password(
        &self,
        user: &UserId,
        password: &str,
        logout: LogoutDevices<'_>,
    ) -> Result<(), AccountError> {
        let hash = self.0.passwords.hash(password).await?;
        for _ in 0..CONFLICT_ROUNDS_MAX {
            let (nid, mut row, version) = self.active_row(user).await?;
            if row.guest {
                return Err(AccountError::GuestForbidden);
            }
            row.password = Some(hash.clone());
            let lock = self.0.key_locks.lock(nid).await;
            let mut batch = Batch::default();
            batch.expect_version(&USERS, &nid.get(), Some(version));
            batch.put(&USERS, &nid.get(), &Packed(row));
            self.record_change(&mut batch, user, "password");
            if let LogoutDevices::AllBut(kept) = logout {
                self.end_devices(&mut batch, nid, kept, None, Ending::Password).await?;
            }
            if let Some(position) = settled(self.0.store.commit(batch).await)? {
                // A login with the old password may have been committed between the look at the devices and this commit.
                // None can be after it: a login expects the version of the user's row that it verified.
                drop(lock);
                if let LogoutDevices::AllBut(kept) = logout {
                    self.log_out_older(nid, kept, position).await?;
                }
                return Ok(());
            }
        }
        Err(AccountError::Contended)
    }

    /// The number of a user id that this server has heard of, local or not.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn user_nid(&self, user: &UserId) -> Result<Option<UserNid>, AccountError> {
        Ok(self.0.store.interner().lookup(NS_USER, user.as_str()).await?.map(UserNid))
    }

    /// The ids of users of this server, by their numbers; without those that nobody has.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn user_ids(&self, nids: &[UserNid]) -> Result<Vec<(UserNid, OwnedUserId)>, AccountError> {
        let numbers: Vec<u64> = nids.iter().map(|nid| nid.get()).collect();
        let names = self.0.store.interner().resolve_many(NS_USER, &numbers).await?;
        let named = nids.iter().zip(names);
        Ok(named.filter_map(|(nid, name)| Some((*nid, UserId::parse(&*name?).ok()?))).collect())
    }

    pub(crate) async fn user_id(&self, nid: UserNid) -> Result<OwnedUserId, AccountError> {
        let name = self.0.store.interner().resolve(NS_USER, nid.get()).await?;
        let name = name.ok_or(AccountError::Damaged("user number"))?;
        UserId::parse(&*name).map_err(|_| AccountError::Damaged("user id"))
    }

    /// Number, row and the row's version of a user that exists here.
    pub(crate) async fn user_row(&self, user: &UserId) -> Result<Option<(UserNid, UserRow, Position)>, AccountError> {
        if !self.is_local(user) {
            return Ok(None);
        }
        let Some(nid) = self.user_nid(user).await? else { return Ok(None) };
        let found = self.0.store.latest().get_versioned(&USERS, &nid.get()).await?;
        Ok(found.map(|(Packed(row), version)| (nid, row, version)))
    }

    pub(crate) async fn active_row(&self, user: &UserId) -> Result<(UserNid, UserRow, Position), AccountError> {
        let found = self.user_row(user).await?.ok_or(AccountError::UnknownUser)?;
        if found.1.deactivated { Err(AccountError::Deactivated) } else { Ok(found) }
    }
}

/// Which devices a change of password logs out.
#[derive(Clone, Copy, Debug)]
pub enum LogoutDevices<'a> {
    /// None.
    Keep,
    /// All but the given one, usually that of the request.
    AllBut(Option<&'a DeviceId>),
}
