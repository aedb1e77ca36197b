//! Registration tokens that administrators give out (section "Token-authenticated registration"), beside those of the
//! configuration.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use serde::{Deserialize, Serialize};
use wardroom_store::{Batch, Hash16, Json, Position, Scan, Store};

use crate::{
    AccountError, Accounts,
    error::{CONFLICT_ROUNDS_MAX, settled},
    secret::random_bytes,
    tables::{REGISTRATION_TOKENS, domain},
};

/// Tokens that there may be.
pub const REGISTRATION_TOKENS_MAX: usize = 10_000;
/// Longest token, in characters (section "Token-authenticated registration").
pub const REGISTRATION_TOKEN_CHARS_MAX: usize = 64;
/// Characters of a token that the server makes up, where nothing else is asked for.
const LENGTH_DEFAULT: usize = 16;

/// A registration token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistrationToken {
    /// The token.
    pub token: String,
    /// Registrations that it is good for; none for any number.
    pub uses_allowed: Option<u64>,
    /// Registrations that are under way with it: a registration either happened or did not.
    #[serde(default)]
    pub pending: u64,
    /// Registrations that happened.
    #[serde(default)]
    pub completed: u64,
    /// Until when it is good, in milliseconds since 1970; none for ever.
    pub expiry_time: Option<u64>,
}

impl RegistrationToken {
    /// Whether somebody can register with it now.
    pub fn is_valid(&self, now_ms: u64) -> bool {
        self.uses_allowed.is_none_or(|allowed| self.completed < allowed)
            && self.expiry_time.is_none_or(|until_ms| now_ms < until_ms)
    }
}

/// How many there are: whether registration by token is open at all is asked often.
#[derive(Debug, Default)]
pub(crate) struct TokenCount(Arc<AtomicUsize>);

impl TokenCount {
    pub(crate) async fn load(store: &Store) -> Result<Self, AccountError> {
        let scan = Scan::all().limit(REGISTRATION_TOKENS_MAX);
        let keys = store.latest().scan_keys(&REGISTRATION_TOKENS, scan).await?;
        Ok(Self(Arc::new(AtomicUsize::new(keys.len()))))
    }

    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// Whether a token has a form that tokens may have.
///
/// # Errors
/// [`AccountError::Invalid`].
fn check(token: &str) -> Result<(), AccountError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte);
    if (1..=REGISTRATION_TOKEN_CHARS_MAX).contains(&token.len()) && token.bytes().all(allowed) {
        return Ok(());
    }
    Err(AccountError::Invalid { field: "token", problem: "must have 1 to 64 characters out of A-Z a-z 0-9 . _ ~ -" })
}

/// A new token that nobody can guess.
///
/// # Errors
/// [`AccountError::Invalid`] for lengths that tokens cannot have.
pub fn new_registration_token(length: Option<u64>) -> Result<String, AccountError> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
    let length = length.map_or(Some(LENGTH_DEFAULT), |length| usize::try_from(length).ok());
    let length = length.filter(|length| (1..=REGISTRATION_TOKEN_CHARS_MAX).contains(length));
    let wrong = AccountError::Invalid { field: "length", problem: "must be from 1 to 64" };
    let length = length.ok_or(wrong)?;
    let bytes = random_bytes::<REGISTRATION_TOKEN_CHARS_MAX>();
    Ok(bytes.iter().take(length).map(|byte| char::from(LETTERS[usize::from(byte % 64)])).collect())
}

impl Accounts {
    fn registration_token_key(&self, token: &str) -> Hash16 {
        self.0.store.keyed_hash(domain::REGISTRATION_TOKEN, token.as_bytes())
    }

    async fn stored_token(&self, token: &str) -> Result<Option<(RegistrationToken, Position)>, AccountError> {
        let key = self.registration_token_key(token);
        let found = self.0.store.latest().get_versioned(&REGISTRATION_TOKENS, &key).await?;
        Ok(found.map(|(Json(token), version)| (token, version)))
    }

    /// Whether the token lets somebody register now, be it one of the configuration or of an administrator.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn admits_registration(&self, token: &str) -> Result<bool, AccountError> {
        if self.is_registration_token(token) {
            return Ok(true);
        }
        let stored = self.stored_token(token).await?;
        Ok(stored.is_some_and(|(token, _)| token.is_valid(self.now_ms())))
    }

    /// Counts a registration with a token, as part of nothing else; answers whether it was still good. One of the
    /// configuration always is.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn spend_registration_token(&self, token: &str) -> Result<bool, AccountError> {
        if self.is_registration_token(token) {
            return Ok(true);
        }
        let now_ms = self.now_ms();
        let change = |known: &mut RegistrationToken| {
            let valid = known.is_valid(now_ms);
            known.completed += u64::from(valid);
            valid
        };
        Ok(self.change_token(token, change).await?.is_some_and(|(_, valid)| valid))
    }

    /// Takes back [`Accounts::spend_registration_token`], where nobody was registered after all.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn unspend_registration_token(&self, token: &str) -> Result<(), AccountError> {
        let change = |known: &mut RegistrationToken| known.completed = known.completed.saturating_sub(1);
        self.change_token(token, change).await.map(drop)
    }

    async fn change_token<T>(
        &self,
        token: &str,
        change: impl Fn(&mut RegistrationToken) -> T,
    ) -> Result<Option<(RegistrationToken, T)>, AccountError> {
        let key = self.registration_token_key(token);
        for _ in 0..CONFLICT_ROUNDS_MAX {
            let Some((mut known, version)) = self.stored_token(token).await? else { return Ok(None) };
            let said = change(&mut known);
            let mut batch = Batch::default();
            batch.expect_version(&REGISTRATION_TOKENS, &key, Some(version));
            batch.put(&REGISTRATION_TOKENS, &key, &Json(known.clone()));
            if settled(self.0.store.commit(batch).await)?.is_some() {
                return Ok(Some((known, said)));
            }
        }
        Err(AccountError::Contended)
    }

    /// All tokens of administrators, in no order.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn registration_tokens(&self) -> Result<Vec<RegistrationToken>, AccountError> {
        let scan = Scan::all().limit(REGISTRATION_TOKENS_MAX);
        let rows = self.0.store.latest().scan(&REGISTRATION_TOKENS, scan).await?;
        Ok(rows.into_iter().map(|(_, Json(token))| token).collect())
    }

    /// One of them.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn registration_token(&self, token: &str) -> Result<Option<RegistrationToken>, AccountError> {
        Ok(self.stored_token(token).await?.map(|(token, _)| token))
    }

    /// Gives out a token.
    ///
    /// # Errors
    /// [`AccountError::Invalid`] where it has not the form of one or is there already, [`AccountError::Limit`], or the
    /// store's.
    pub async fn add_registration_token(&self, token: RegistrationToken) -> Result<(), AccountError> {
        check(&token.token)?;
        if self.0.registration_tokens.get() >= REGISTRATION_TOKENS_MAX {
            let what = "The number of registration tokens";
            return Err(AccountError::Limit { what, limit: REGISTRATION_TOKENS_MAX });
        }
        let key = self.registration_token_key(&token.token);
        let mut batch = Batch::default();
        batch.expect_absent(&REGISTRATION_TOKENS, &key);
        batch.put(&REGISTRATION_TOKENS, &key, &Json(token));
        let count = Arc::clone(&self.0.registration_tokens.0);
        batch.on_commit(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
        });
        match settled(self.0.store.commit(batch).await)? {
            Some(_) => Ok(()),
            None => Err(AccountError::Invalid { field: "token", problem: "is there already" }),
        }
    }

    /// Changes how often and until when a token is good; none where there is no such token.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn change_registration_token(
        &self,
        token: &str,
        change: impl Fn(&mut RegistrationToken),
    ) -> Result<Option<RegistrationToken>, AccountError> {
        Ok(self.change_token(token, change).await?.map(|(token, ())| token))
    }

    /// Takes a token back; answers whether there was one.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn delete_registration_token(&self, token: &str) -> Result<bool, AccountError> {
        let key = self.registration_token_key(token);
        for _ in 0..CONFLICT_ROUNDS_MAX {
            let Some((_, version)) = self.stored_token(token).await? else { return Ok(false) };
            let mut batch = Batch::default();
            batch.expect_version(&REGISTRATION_TOKENS, &key, Some(version));
            batch.delete(&REGISTRATION_TOKENS, &key);
            let count = Arc::clone(&self.0.registration_tokens.0);
            batch.on_commit(move |_| {
                count.fetch_sub(1, Ordering::Relaxed);
            });
            if settled(self.0.store.commit(batch).await)?.is_some() {
                return Ok(true);
            }
        }
        Err(AccountError::Contended)
    }
}

#[cfg(test)]
mod tests {
    use super::{RegistrationToken, check, new_registration_token};

    #[test]
    fn tokens_end_by_use_and_by_time() {
        let token = RegistrationToken {
            token: "a".to_owned(),
            uses_allowed: Some(2),
            pending: 0,
            completed: 1,
            expiry_time: Some(1_000),
        };
        assert!(token.is_valid(999) && !token.is_valid(1_000));
        assert!(!RegistrationToken { completed: 2, ..token.clone() }.is_valid(0));
        assert!(RegistrationToken { uses_allowed: None, expiry_time: None, ..token }.is_valid(u64::MAX));
    }

    #[test]
    fn made_up_tokens_have_the_form_of_one() {
        for length in [None, Some(1), Some(64)] {
            let token = new_registration_token(length).unwrap();
            check(&token).unwrap();
            assert_eq!(token.len() as u64, length.unwrap_or(16));
        }
        for wrong in [Some(0), Some(65), Some(u64::MAX)] {
            assert!(new_registration_token(wrong).is_err());
        }
        for wrong in ["", "a b", "é", &"x".repeat(65)] {
            assert!(check(wrong).is_err(), "{wrong}");
        }
    }
}
