//! Signing in: section "Login", legacy authentication API.

use std::fmt;

use ruma::{DeviceId, OwnedDeviceId, OwnedUserId, UserId};
use wardroom_store::{Batch, Packed, Scan};

use crate::{
    AccountError, Accounts, UserNid,
    deeds::{Ending, Entrance},
    device::{DEVICE_ID_BYTES_MAX, DEVICES_PER_USER_MAX, check_display_name},
    error::{CONFLICT_ROUNDS_MAX, settled},
    secret,
    sso::SsoOrigin,
    tables::{ACCESS_TOKENS, DEVICES, DeviceRow, PERSONS, REFRESH_TOKENS, TokenPair, TokenRow, USERS, UserRow, domain},
    user_name::typed_user_id,
};

const ACCESS_TOKEN_PREFIX: &str = "wda_";
const REFRESH_TOKEN_PREFIX: &str = "wdr_";

/// What a client says about itself when it signs in.
#[derive(Clone, Copy, Debug, Default)]
pub struct LoginRequest<'a> {
    /// Signs in on this device again, whose old token ends; a new one is made up without it.
    pub device_id: Option<&'a DeviceId>,
    /// Display name of the device, if it is new.
    pub display_name: Option<&'a str>,
    /// The client can refresh tokens.
    pub refresh: bool,
}

/// A new session's tokens, in the clear for the only time.
pub struct Login {
    /// Who signed in.
    pub user: OwnedUserId,
    /// The user's number.
    pub nid: UserNid,
    /// On which device.
    pub device: OwnedDeviceId,
    /// To be sent with every request.
    pub access_token: String,
    /// To get new tokens with, if asked for.
    pub refresh_token: Option<String>,
    /// How long the access token lives, in milliseconds; `None` is until logout.
    pub expires_in_ms: Option<u64>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("user", &self.nid.get()).finish_non_exhaustive()
    }
}

/// A new pair of tokens in the clear, with what the store keeps of it.
pub(crate) struct Minted {
    pub(crate) pair: TokenPair,
    pub(crate) access_token: String,
    pub(crate) refresh_token: Option<String>,
    pub(crate) expires_in_ms: Option<u64>,
}

impl Accounts {
    /// Signs in with name and password. `name` is a localpart or a full id of this server, in any case. A name that
    /// nobody has takes as long as a wrong password.
    ///
    /// # Errors
    /// [`AccountError::WrongPassword`], [`AccountError::Deactivated`], [`AccountError::Limit`],
    /// [`AccountError::Invalid`], [`AccountError::Busy`], or the store's.
    pub async fn login_with_password(
        &self,
        name: &str,
        password: &str,
        request: &LoginRequest<'_>,
    ) -> Result<Login, AccountError> {
        let user = self.typed_user(name);
        let login = self.verified_login(user.as_deref(), password, request).await;
        if let Err(error) = &login {
            let known = match &user {
                Some(user) => self.user_row(user).await?.is_some(),
                None => false,
            };
            let user = user.as_deref().filter(|_| known);
            self.record_refused(user, Some(name), "password", error).await?;
        }
        login
    }

    async fn verified_login(
        &self,
        user: Option<&UserId>,
        password: &str,
        request: &LoginRequest<'_>,
    ) -> Result<Login, AccountError> {
        let row = match user {
            Some(user) => self.user_row(user).await?.map(|(_, row, _)| row),
            None => None,
        };
        let verified = row.as_ref().and_then(|row| row.password.clone());
        let matches = self.0.passwords.verify(password, verified.as_deref()).await?;
        match (user, row) {
            (_, Some(row)) if row.deactivated => Err(AccountError::Deactivated),
            (Some(user), Some(_)) if matches => {
                // The password may be changed while this one is verified.
                self.sign_in_checked(user, request, None, Entrance::Password, |row| {
                    if row.password == verified { Ok(()) } else { Err(AccountError::WrongPassword) }
                })
                .await
            }
            _ => Err(AccountError::WrongPassword),
        }
    }

    /// Signs a user in who proved who they are in another way.
    ///
    /// # Errors
    /// [`AccountError::UnknownUser`], [`AccountError::Deactivated`], [`AccountError::Limit`],
    /// [`AccountError::Invalid`], or the store's.
    pub async fn login_as(&self, user: &UserId, request: &LoginRequest<'_>) -> Result<Login, AccountError> {
        self.login_by(user, request, Entrance::Password).await
    }

    /// As [`Accounts::login_as`], and says in which way.
    pub(crate) async fn login_by(
        &self,
        user: &UserId,
        request: &LoginRequest<'_>,
        by: Entrance,
    ) -> Result<Login, AccountError> {
        self.sign_in_checked(user, request, None, by, |_| Ok(())).await
    }

    /// The user of this server whom somebody means that types `name` to log in: a localpart or a full id, in any case.
    /// The user may not exist; `None` when no user of this server can have that name.
    pub fn typed_user(&self, name: &str) -> Option<OwnedUserId> {
        typed_user_id(name, &self.0.settings.server_name)
    }

    /// Whether this can become a password.
    ///
    /// # Errors
    /// [`AccountError::UnusablePassword`].
    pub fn check_password(password: &str) -> Result<(), AccountError> {
        crate::password::check(password)
    }

    /// Whether this is the user's password. Takes as long for users that do not exist.
    ///
    /// # Errors
    /// [`AccountError::Busy`], or the store's.
    pub async fn verify_password(&self, user: &UserId, password: &str) -> Result<bool, AccountError> {
        let row = self.user_row(user).await?.map(|(_, row, _)| row).filter(|row| !row.deactivated);
        let hash = row.and_then(|row| row.password);
        let right = self.0.passwords.verify(password, hash.as_deref()).await?;
        if !right {
            self.record_refused(Some(user), None, "confirmation", &AccountError::WrongPassword).await?;
        }
        Ok(right)
    }

    /// As [`Accounts::login_as`], of a user whom an identity provider vouched for.
    ///
    /// # Errors
    /// [`AccountError::UnknownLoginToken`] when the session at the provider has ended, and those of
    /// [`Accounts::login_as`].
    pub(crate) async fn login_from(
        &self,
        user: &UserId,
        request: &LoginRequest<'_>,
        origin: &SsoOrigin,
    ) -> Result<Login, AccountError> {
        let subject = match self.user_nid(user).await? {
            Some(nid) => self.subject_of(nid, origin).await?,
            None => None,
        };
        let by = Entrance::Provider(subject);
        let login = self.sign_in_checked(user, request, Some(origin), by, |_| Ok(())).await?;
        // The session may have ended after the look at the user and before the device could be found.
        if self.is_ended(origin) {
            self.end_named(login.nid, std::slice::from_ref(&login.device), Ending::Provider).await?;
            return Err(AccountError::UnknownLoginToken);
        }
        Ok(login)
    }

    async fn sign_in_checked(
        &self,
        user: &UserId,
        request: &LoginRequest<'_>,
        origin: Option<&SsoOrigin>,
        by: Entrance,
        check: impl Fn(&UserRow) -> Result<(), AccountError>,
    ) -> Result<Login, AccountError> {
        for _ in 0..CONFLICT_ROUNDS_MAX {
            let (nid, row, version) = self.active_row(user).await?;
            check(&row)?;
            let _lock = self.0.key_locks.lock(nid).await;
            self.check_unlocked(nid).await?;
            let mut batch = Batch::default();
            batch.expect_version(&USERS, &nid.get(), Some(version));
            let login = self.sign_in(&mut batch, (nid, user), request, true, &by).await?;
            self.put_sso_origin(&mut batch, &self.device_key(nid, &login.device), origin).await?;
            if settled(self.0.store.commit(batch).await)?.is_some() {
                return Ok(login);
            }
        }
        Err(AccountError::Contended)
    }

    /// Adds a signed-in device to the batch. `known` is false for a user who is made by the same batch.
    pub(crate) async fn sign_in(
        &self,
        batch: &mut Batch,
        (nid, user): (UserNid, &UserId),
        request: &LoginRequest<'_>,
        known: bool,
        by: &Entrance,
    ) -> Result<Login, AccountError> {
        if self.is_own_user(user) {
            return Err(AccountError::OwnUser);
        }
        let device = match request.device_id {
            Some(id) => checked_device_id(id)?,
            None => DeviceId::new(),
        };
        if let Some(name) = request.display_name {
            check_display_name(name)?;
        }
        let key = self.device_key(nid, &device);
        let view = self.0.store.latest();
        let existing = if known { view.get_versioned(&DEVICES, &key).await? } else { None };
        batch.expect_version(&DEVICES, &key, existing.as_ref().map(|(_, version)| *version));
        let minted = self.mint(request.refresh);
        let administrator = match by {
            Entrance::Administrator(admin) => Some(admin.get()),
            _ => None,
        };
        let row = match existing {
            Some((Packed(row), _)) => {
                if self.is_dehydrated(nid, row.nid).await? {
                    return Err(AccountError::KeyIdInUse);
                }
                for pair in row.pairs() {
                    self.end_pair(batch, pair);
                }
                DeviceRow { signed_in_ms: self.now_ms(), current: minted.pair, previous: None, administrator, ..row }
            }
            None => {
                if self.is_cross_signing_key(nid, &device).await? {
                    return Err(AccountError::KeyIdInUse);
                }
                // Nobody is woken: a device without keys is nobody's business yet.
                self.note_devices(batch, nid).await?;
                let scan = Scan::prefix(&nid.get()).limit(DEVICES_PER_USER_MAX);
                if known && view.scan_keys(&DEVICES, scan).await?.len() >= DEVICES_PER_USER_MAX {
                    let what = "The number of devices you are signed in on";
                    return Err(AccountError::Limit { what, limit: DEVICES_PER_USER_MAX });
                }
                DeviceRow {
                    nid: secret::device_number(),
                    device_id: device.as_str().to_owned(),
                    display_name: request.display_name.map(str::to_owned),
                    created_ms: self.now_ms(),
                    signed_in_ms: self.now_ms(),
                    current: minted.pair,
                    previous: None,
                    administrator,
                }
            }
        };
        self.put_pair(batch, key.0, key.1, &minted);
        let person = self.person_key(nid).await?;
        // An account from before there were keys of persons has none yet.
        batch.put_sealed(&PERSONS, &nid.get(), &(), &person);
        batch.put_sealed(&DEVICES, &key, &Packed(row), &person);
        self.record_login(batch, user, &device, by);
        let Minted { access_token, refresh_token, expires_in_ms, .. } = minted;
        Ok(Login { user: user.to_owned(), nid, device, access_token, refresh_token, expires_in_ms })
    }

    /// New tokens, with a refresh token or without.
    pub(crate) fn mint(&self, refresh: bool) -> Minted {
        let lifetimes = self.0.settings.tokens;
        let store = &self.0.store;
        let access_token = secret::token(ACCESS_TOKEN_PREFIX);
        let refresh_token = refresh.then(|| secret::token(REFRESH_TOKEN_PREFIX));
        let pair = TokenPair {
            access: store.keyed_hash(domain::ACCESS_TOKEN, access_token.as_bytes()),
            refresh: refresh_token.as_ref().map(|token| store.keyed_hash(domain::REFRESH_TOKEN, token.as_bytes())),
        };
        let expires_in_ms = if refresh { Some(lifetimes.refreshable_access_ms) } else { lifetimes.access_ms };
        Minted { pair, access_token, refresh_token, expires_in_ms }
    }

    /// Writes the rows by which new tokens are found.
    pub(crate) fn put_pair(&self, batch: &mut Batch, user: u64, device: wardroom_store::Hash16, minted: &Minted) {
        let now_ms = self.now_ms();
        let row = |lifetime_ms: Option<u64>| {
            Packed(TokenRow { user, device, expires_ms: lifetime_ms.map(|for_ms| now_ms.saturating_add(for_ms)) })
        };
        batch.put(&ACCESS_TOKENS, &minted.pair.access, &row(minted.expires_in_ms));
        if let Some(refresh) = &minted.pair.refresh {
            batch.put(&REFRESH_TOKENS, refresh, &row(self.0.settings.tokens.refresh_ms));
        }
    }
}

fn checked_device_id(id: &DeviceId) -> Result<OwnedDeviceId, AccountError> {
    if id.as_str().is_empty() {
        return Err(AccountError::Invalid { field: "device_id", problem: "is empty" });
    }
    if id.as_str().len() > DEVICE_ID_BYTES_MAX {
        return Err(AccountError::Limit { what: "The length of device_id, in bytes,", limit: DEVICE_ID_BYTES_MAX });
    }
    Ok(id.to_owned())
}
