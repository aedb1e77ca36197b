//! Registration: section "Account registration and management".

use std::fmt;

use ruma::{
    DeviceId, OwnedDeviceId, OwnedUserId, UserId,
    api::client::uiaa::{AuthFlow, AuthType},
};
use subtle::ConstantTimeEq as _;
use wardroom_audit::{Act, Record};
use wardroom_store::{Batch, Packed};
use zeroize::Zeroizing;

use crate::{
    AccountError, Accounts, Login, LoginRequest, User,
    deeds::Entrance,
    device::check_display_name,
    error::{CONFLICT_ROUNDS_MAX, settled},
    tables::{NS_USER, PERSONS, PROFILES, USERS, UserRow},
    user_name::{generated_localpart, new_user_id},
};

/// Bytes of text that the dialogue of a registration remembers. All dialogues together are bounded by
/// [`crate::UIA_SESSIONS_MAX`].
const REMEMBERED_BYTES_MAX: usize = 2_048;

/// A user to be made.
#[derive(Clone, Copy, Debug)]
pub struct NewUser<'a> {
    /// Wished localpart; the server makes one up without it.
    pub localpart: Option<&'a str>,
    /// Password; without one nobody can log in with a password.
    pub password: Option<&'a str>,
    /// Administrator of this server.
    pub admin: bool,
    /// Guest account.
    pub guest: bool,
    /// Display name of the new profile; the localpart without it.
    pub display_name: Option<&'a str>,
}

impl<'a> NewUser<'a> {
    /// An ordinary user without a password.
    pub fn named(localpart: &'a str) -> Self {
        Self { localpart: Some(localpart), password: None, admin: false, guest: false, display_name: None }
    }

    /// A guest, whose name the server makes up.
    pub fn guest() -> Self {
        Self { localpart: None, password: None, admin: false, guest: true, display_name: None }
    }
}

/// What a client asks for when it registers somebody. A dialogue remembers it: clients repeat the request with each
/// stage, but not all of them repeat all of it.
#[derive(Clone, Default)]
pub struct RegistrationWish {
    /// Localpart.
    pub username: Option<String>,
    /// Password.
    pub password: Option<Zeroizing<String>>,
    /// Device to sign in on.
    pub device_id: Option<OwnedDeviceId>,
    /// Display name of the device.
    pub device_name: Option<String>,
    /// The client can refresh tokens.
    pub refresh: bool,
    /// Nobody is to be signed in.
    pub inhibit_login: bool,
}

impl RegistrationWish {
    /// This, with what it leaves out as it was said `before`.
    #[must_use]
    pub fn or(self, before: Self) -> Self {
        Self {
            username: self.username.or(before.username),
            password: self.password.or(before.password),
            device_id: self.device_id.or(before.device_id),
            device_name: self.device_name.or(before.device_name),
            refresh: self.refresh || before.refresh,
            inhibit_login: self.inhibit_login || before.inhibit_login,
        }
    }

    /// How to sign in, unless nobody is to be signed in.
    pub fn login(&self) -> Option<LoginRequest<'_>> {
        (!self.inhibit_login).then_some(LoginRequest {
            device_id: self.device_id.as_deref(),
            display_name: self.device_name.as_deref(),
            refresh: self.refresh,
        })
    }

    /// Whether a dialogue remembers it.
    pub(crate) fn is_short(&self) -> bool {
        let texts = [
            self.username.as_deref(),
            self.password.as_ref().map(|password| password.as_str()),
            self.device_id.as_ref().map(|device| device.as_str()),
            self.device_name.as_deref(),
        ];
        texts.into_iter().flatten().map(str::len).sum::<usize>() <= REMEMBERED_BYTES_MAX
    }
}

impl fmt::Debug for RegistrationWish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistrationWish").finish_non_exhaustive()
    }
}

/// What the dialogue of a registration remembers.
#[derive(Clone, Debug)]
pub struct Remembered {
    /// What was asked for.
    pub wish: RegistrationWish,
    /// Who was made, once the dialogue is complete.
    pub registered: Option<OwnedUserId>,
}

/// A user who was made, and signed in if that was asked for.
#[derive(Debug)]
pub struct Registered {
    /// The user.
    pub user: User,
    /// The session.
    pub login: Option<Login>,
}

impl Accounts {
    /// The flows of user-interactive authentication by which anybody may register, `None` when registration is closed.
    pub fn registration_flows(&self) -> Option<Vec<AuthFlow>> {
        let registration = &self.0.settings.registration;
        let mut flows = Vec::new();
        if !registration.tokens.is_empty() || self.0.registration_tokens.get() > 0 {
            flows.push(AuthFlow::new(vec![AuthType::RegistrationToken]));
        }
        if registration.open {
            flows.push(AuthFlow::new(vec![AuthType::Dummy]));
        }
        if flows.is_empty() { None } else { Some(flows) }
    }

    /// Whether the token is one of the configuration's, which let somebody register any number of times.
    pub fn is_registration_token(&self, token: &str) -> bool {
        // All are compared, each in constant time: the answer says nothing about how close a guess came.
        let tokens = &self.0.settings.registration.tokens;
        tokens.iter().fold(false, |found, known| found | bool::from(known.as_bytes().ct_eq(token.as_bytes())))
    }

    /// Makes a user with the default push rules, and signs them in when `login` is given: all or nothing. Says nothing
    /// about who may: that is for user-interactive authentication or the shared secret to decide before.
    ///
    /// # Errors
    /// [`AccountError::InvalidUsername`], [`AccountError::UserInUse`], [`AccountError::UnusablePassword`],
    /// [`AccountError::GuestsClosed`], [`AccountError::Limit`], [`AccountError::Busy`], or the store's.
    pub async fn register(
        &self,
        new: NewUser<'_>,
        login: Option<&LoginRequest<'_>>,
    ) -> Result<Registered, AccountError> {
        if new.guest && !self.0.settings.registration.guests {
            return Err(AccountError::GuestsClosed);
        }
        let generated;
        let localpart = match new.localpart {
            Some(localpart) => localpart,
            None => {
                generated = generated_localpart(if new.guest { "guest_" } else { "" });
                &generated
            }
        };
        // Before the password is hashed, which costs much more.
        self.check_username(localpart).await?;
        if let Some(name) = login.and_then(|login| login.display_name) {
            check_display_name(name)?;
        }
        let password = match new.password {
            Some(password) => Some(self.0.passwords.hash(password).await?),
            None => None,
        };
        let id = new_user_id(localpart, &self.0.settings.server_name)?;
        for _ in 0..CONFLICT_ROUNDS_MAX {
            if let Some(registered) = self.make_user(&id, &new, password.clone(), login).await? {
                return Ok(registered);
            }
            // Somebody else took the name meanwhile.
            self.check_username(localpart).await?;
        }
        Err(AccountError::Contended)
    }

    /// Makes a user of a name that nobody has; none where somebody took it at this moment.
    pub(crate) async fn make_user(
        &self,
        id: &UserId,
        new: &NewUser<'_>,
        password: Option<String>,
        login: Option<&LoginRequest<'_>>,
    ) -> Result<Option<Registered>, AccountError> {
        let (batch, registered) = self.new_user_batch(id, new, password, login).await?;
        Ok(settled(self.0.store.commit(batch).await)?.map(|_| registered))
    }

    /// Makes a guest an ordinary user of the same name, with a password, and signs them in when `login` is given
    /// (section "Guest Access"). The guest's sessions stay.
    ///
    /// # Errors
    /// [`AccountError::UserInUse`] when the user is no guest, [`AccountError::Deactivated`],
    /// [`AccountError::UnusablePassword`], [`AccountError::Limit`], [`AccountError::Busy`], or the store's.
    pub async fn upgrade_guest(
        &self,
        guest: &UserId,
        password: &str,
        login: Option<&LoginRequest<'_>>,
    ) -> Result<Registered, AccountError> {
        let hash = self.0.passwords.hash(password).await?;
        for _ in 0..CONFLICT_ROUNDS_MAX {
            let (nid, mut row, version) = self.active_row(guest).await?;
            if !row.guest {
                return Err(AccountError::UserInUse);
            }
            (row.guest, row.password) = (false, Some(hash.clone()));
            let user = User::from_row(guest.to_owned(), nid, &row);
            let mut batch = Batch::default();
            self.record_change(&mut batch, guest, "guest.upgrade");
            batch.expect_version(&USERS, &nid.get(), Some(version));
            batch.put(&USERS, &nid.get(), &Packed(row));
            self.forget_sessions_of(&mut batch, nid);
            self.0.listing.changed_on_commit(&mut batch, nid);
            let login = match login {
                Some(request) => {
                    Some(self.sign_in(&mut batch, (nid, guest), request, true, &Entrance::Registration).await?)
                }
                None => None,
            };
            if settled(self.0.store.commit(batch).await)?.is_some() {
                return Ok(Registered { user, login });
            }
        }
        Err(AccountError::Contended)
    }

    /// [`Accounts::register`] of a user who signs in for certain.
    pub(crate) async fn register_signed_in(
        &self,
        new: NewUser<'_>,
        login: &LoginRequest<'_>,
    ) -> Result<(User, Login), AccountError> {
        match self.register(new, Some(login)).await? {
            Registered { user, login: Some(login) } => Ok((user, login)),
            Registered { login: None, .. } => Err(AccountError::Damaged("session")),
        }
    }

    /// The batch that makes a user.
    pub(crate) async fn new_user_batch(
        &self,
        id: &UserId,
        new: &NewUser<'_>,
        password: Option<String>,
        login: Option<&LoginRequest<'_>>,
    ) -> Result<(Batch, Registered), AccountError> {
        let mut batch = Batch::default();
        let nid = self.0.store.interner().intern(&mut batch, NS_USER, id.as_str()).await?;
        let nid = crate::UserNid::new(nid);
        let row =
            UserRow { created_ms: self.now_ms(), admin: new.admin, guest: new.guest, deactivated: false, password };
        let user = User::from_row(id.to_owned(), nid, &row);
        let record = Record::of(Act::AccountCreate).user(id.as_str());
        self.record(&mut batch, if new.admin { record.detail("admin") } else { record });
        batch.expect_absent(&USERS, &nid.get());
        batch.put(&USERS, &nid.get(), &Packed(row));
        // Until they choose another, people are called by their user name: clients show something to look for.
        let name = new.display_name.unwrap_or_else(|| id.localpart());
        let profile = crate::Profile { displayname: Some(name.to_owned()), avatar_url: None };
        profile.check()?;
        let key = self.person_key(nid).await?;
        batch.put_sealed(&PERSONS, &nid.get(), &(), &key);
        batch.put_sealed(&PROFILES, &nid.get(), &Packed(profile), &key);
        self.put_default_push_rules(&mut batch, &user, &key)?;
        self.0.directory.put_on_commit(&mut batch, nid, id, new.display_name);
        self.0.listing.changed_on_commit(&mut batch, nid);
        let login = match login {
            Some(request) => {
                let request = if new.guest { guest_login(request) } else { *request };
                Some(self.sign_in(&mut batch, (nid, id), &request, false, &Entrance::Registration).await?)
            }
            None => None,
        };
        Ok((batch, Registered { user, login }))
    }
}

/// A guest gets a device id that the server chose ("Guest access"): no parameter but the display name counts.
fn guest_login<'a>(request: &LoginRequest<'a>) -> LoginRequest<'a> {
    LoginRequest { device_id: None::<&DeviceId>, ..*request }
}
