//! Tokens that live for minutes and in memory only: OpenID tokens, by which other services learn who somebody is
//! (section "OpenID"), and login tokens, by which a signed-in device lets another one in (`POST /login/get_token`) or an
//! identity provider a user (section "Client login via SSO").
//!
//! Kept as keyed hashes. A restart ends them; clients ask for new ones.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    time::Duration,
};

use parking_lot::Mutex;
use ruma::OwnedUserId;
use wardroom_store::Hash16;

use crate::{
    AccountError, Accounts, Login, LoginRequest, Session, UserNid,
    deeds::Entrance,
    secret,
    sso::SsoOrigin,
    tables::{DEVICES, domain},
};

/// How long an OpenID token is good: an hour.
pub const OPENID_TOKEN_LIFETIME: Duration = Duration::from_hours(1);
/// How long a login token is good: two minutes, as the specification recommends.
pub const LOGIN_TOKEN_LIFETIME: Duration = Duration::from_mins(2);
/// OpenID tokens that are good at once, about 100 bytes each; beyond it the oldest end.
const OPENID_TOKENS_MAX: usize = 100_000;
/// Login tokens that are good at once; beyond it the oldest end.
const LOGIN_TOKENS_MAX: usize = 10_000;

const OPENID_TOKEN_PREFIX: &str = "wdo_";
const LOGIN_TOKEN_PREFIX: &str = "wdl_";

/// Whose a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Owner {
    user: UserNid,
    /// The device that asked for it, by the hash of its id.
    device: Option<Hash16>,
    /// The identity provider that vouched for the user, where no device did.
    origin: Option<SsoOrigin>,
}

impl Owner {
    fn of(session: &Session) -> Self {
        Self { user: session.nid, device: Some(session.device_key.1), origin: None }
    }
}

#[derive(Default)]
struct Tokens {
    owners: HashMap<Hash16, (Owner, u64)>,
    by_expiry: BTreeSet<(u64, Hash16)>,
}

/// Tokens of one kind.
pub(crate) struct ShortLived {
    max: usize,
    tokens: Mutex<Tokens>,
}

impl ShortLived {
    fn new(max: usize) -> Self {
        Self { max, tokens: Mutex::default() }
    }

    pub(crate) fn openid() -> Self {
        Self::new(OPENID_TOKENS_MAX)
    }

    pub(crate) fn login() -> Self {
        Self::new(LOGIN_TOKENS_MAX)
    }

    fn give(&self, hash: Hash16, owner: Owner, now_ms: u64, expires_ms: u64) {
        let mut tokens = self.tokens.lock();
        while let Some((oldest_ms, oldest)) = tokens.by_expiry.first().copied()
            && (oldest_ms <= now_ms || tokens.by_expiry.len() >= self.max)
        {
            tokens.by_expiry.remove(&(oldest_ms, oldest));
            tokens.owners.remove(&oldest);
        }
        tokens.owners.insert(hash, (owner, expires_ms));
        tokens.by_expiry.insert((expires_ms, hash));
    }

    fn owner(&self, hash: &Hash16, now_ms: u64) -> Option<Owner> {
        let tokens = self.tokens.lock();
        tokens.owners.get(hash).filter(|(_, expires_ms)| *expires_ms > now_ms).map(|(owner, _)| *owner)
    }

    /// Ends the tokens of some origins.
    pub(crate) fn end_where(&self, meant: impl Fn(&SsoOrigin) -> bool) {
        let mut tokens = self.tokens.lock();
        let Tokens { owners, by_expiry } = &mut *tokens;
        owners.retain(|hash, (owner, expires_ms)| {
            let ends = owner.origin.as_ref().is_some_and(&meant);
            if ends {
                by_expiry.remove(&(*expires_ms, *hash));
            }
            !ends
        });
    }

    /// Ends a token, and tells whose it was if it was good.
    fn take(&self, hash: &Hash16, now_ms: u64) -> Option<Owner> {
        let mut tokens = self.tokens.lock();
        let (owner, expires_ms) = tokens.owners.remove(hash)?;
        tokens.by_expiry.remove(&(expires_ms, *hash));
        (expires_ms > now_ms).then_some(owner)
    }
}

impl fmt::Debug for ShortLived {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShortLived").field("max", &self.max).finish_non_exhaustive()
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Accounts {
    fn give_short_lived(&self, kind: &ShortLived, owner: Owner, prefix: &str, lifetime: Duration) -> String {
        let token = secret::token(prefix);
        let hash = self.0.store.keyed_hash(domain::SHORT_LIVED, token.as_bytes());
        let now_ms = self.now_ms();
        kind.give(hash, owner, now_ms, now_ms.saturating_add(millis(lifetime)));
        token
    }

    /// A token by which another service may ask this server who its bearer is, for [`OPENID_TOKEN_LIFETIME`].
    pub fn new_openid_token(&self, session: &Session) -> String {
        self.give_short_lived(&self.0.openid_tokens, Owner::of(session), OPENID_TOKEN_PREFIX, OPENID_TOKEN_LIFETIME)
    }

    /// Whose OpenID token this is; none once it is too old, its device was logged out, or its user was deactivated.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn openid_user(&self, token: &str) -> Result<Option<OwnedUserId>, AccountError> {
        let hash = self.0.store.keyed_hash(domain::SHORT_LIVED, token.as_bytes());
        match self.0.openid_tokens.owner(&hash, self.now_ms()) {
            Some(owner) if self.is_signed_in(owner).await? => Ok(Some(self.user_id(owner.user).await?)),
            _ => Ok(None),
        }
    }

    /// A token that logs in one more device of the session's user, once, within [`LOGIN_TOKEN_LIFETIME`].
    pub fn new_login_token(&self, session: &Session) -> String {
        self.give_short_lived(&self.0.login_tokens, Owner::of(session), LOGIN_TOKEN_PREFIX, LOGIN_TOKEN_LIFETIME)
    }

    /// A token that logs in a device of a user whom an identity provider vouched for, once.
    pub(crate) fn give_login_token(&self, user: UserNid, origin: SsoOrigin, lifetime: Duration) -> String {
        let owner = Owner { user, device: None, origin: Some(origin) };
        self.give_short_lived(&self.0.login_tokens, owner, LOGIN_TOKEN_PREFIX, lifetime)
    }

    /// Signs in with a login token, which ends with the attempt.
    ///
    /// # Errors
    /// [`AccountError::UnknownLoginToken`], [`AccountError::Deactivated`], [`AccountError::Limit`],
    /// [`AccountError::Invalid`], or the store's.
    pub async fn login_with_token(&self, token: &str, request: &LoginRequest<'_>) -> Result<Login, AccountError> {
        let login = self.login_of_token(token, request).await;
        if let Err(error) = &login {
            self.record_refused(None, None, "token", error).await?;
        }
        login
    }

    async fn login_of_token(&self, token: &str, request: &LoginRequest<'_>) -> Result<Login, AccountError> {
        let hash = self.0.store.keyed_hash(domain::SHORT_LIVED, token.as_bytes());
        match self.0.login_tokens.take(&hash, self.now_ms()) {
            Some(owner) if self.is_signed_in(owner).await? => {
                let user = self.user_id(owner.user).await?;
                // What a device lets in ends when the device does, as far as the provider has it.
                let origin = match (owner.origin, owner.device) {
                    (None, Some(device)) => self.sso_origin_of(&(owner.user.get(), device)).await?,
                    (origin, _) => origin,
                };
                match origin {
                    Some(origin) => self.login_from(&user, request, &origin).await,
                    None => self.login_by(&user, request, Entrance::Token).await,
                }
            }
            _ => Err(AccountError::UnknownLoginToken),
        }
    }

    /// Whether the device that asked for a token is signed in still.
    async fn is_signed_in(&self, owner: Owner) -> Result<bool, AccountError> {
        let Some(device) = owner.device else { return Ok(true) };
        Ok(self.0.store.latest().get(&DEVICES, &(owner.user.get(), device)).await?.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::{Owner, ShortLived};
    use crate::UserNid;

    fn owner(user: u64) -> Owner {
        Owner { user: UserNid::new(user), device: Some([0; 16]), origin: None }
    }

    #[test]
    fn a_token_is_good_until_it_is_taken_or_too_old() {
        let tokens = ShortLived::new(10);
        tokens.give([1; 16], owner(7), 100, 200);
        assert_eq!(tokens.owner(&[1; 16], 199), Some(owner(7)));
        assert_eq!(tokens.owner(&[1; 16], 200), None);
        assert_eq!(tokens.take(&[1; 16], 150), Some(owner(7)));
        assert_eq!(tokens.take(&[1; 16], 150), None);
        tokens.give([2; 16], owner(7), 100, 200);
        assert_eq!(tokens.take(&[2; 16], 200), None);
        assert!(tokens.tokens.lock().by_expiry.is_empty());
    }

    #[test]
    fn tokens_are_bounded_and_the_oldest_end_first() {
        let tokens = ShortLived::new(3);
        for number in 1..=5_u8 {
            tokens.give([number; 16], owner(u64::from(number)), 0, 100 + u64::from(number));
        }
        assert_eq!(tokens.owner(&[2; 16], 0), None);
        assert_eq!(tokens.owner(&[5; 16], 0), Some(owner(5)));
        assert_eq!(tokens.tokens.lock().owners.len(), 3);
    }
}
