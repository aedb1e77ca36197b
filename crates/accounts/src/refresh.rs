//! Refreshing access tokens: a client trades its refresh token for a new pair. The old pair stays good until the new
//! one is used for the first time, so that a lost answer locks nobody out.

use std::fmt;

use wardroom_store::{Batch, Packed};

use crate::{
    AccountError, Accounts, UserNid,
    error::{CONFLICT_ROUNDS_MAX, settled},
    login::Minted,
    secret::TOKEN_BYTES_MAX,
    tables::{DEVICES, DEVICES_SEEN, DeviceRow, REFRESH_TOKENS, SeenRow, USERS, domain},
};

/// A new pair of tokens, in the clear for the only time.
pub struct Refreshed {
    /// To be sent with every request from now on.
    pub access_token: String,
    /// To refresh with the next time.
    pub refresh_token: Option<String>,
    /// How long the access token lives, in milliseconds; `None` is until logout.
    pub expires_in_ms: Option<u64>,
}

impl fmt::Debug for Refreshed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refreshed").field("expires_in_ms", &self.expires_in_ms).finish_non_exhaustive()
    }
}

impl Accounts {
    /// Trades a refresh token for a new pair. When two requests trade the same token, the pair of the later one counts;
    /// when a pair was already used, the token that it was traded for is gone.
    ///
    /// # Errors
    /// [`AccountError::UnknownRefreshToken`], [`AccountError::ExpiredRefreshToken`], or the store's.
    pub async fn refresh(&self, refresh_token: &str) -> Result<Refreshed, AccountError> {
        if refresh_token.len() > TOKEN_BYTES_MAX {
            return Err(AccountError::UnknownRefreshToken);
        }
        let hash = self.0.store.keyed_hash(domain::REFRESH_TOKEN, refresh_token.as_bytes());
        for _ in 0..CONFLICT_ROUNDS_MAX {
            let view = self.0.store.latest();
            let found = view.get(&REFRESH_TOKENS, &hash).await?;
            let Packed(token) = found.ok_or(AccountError::UnknownRefreshToken)?;
            if self.expired(&token) {
                return Err(AccountError::ExpiredRefreshToken);
            }
            let user = view.get(&USERS, &token.user).await?;
            if user.is_none_or(|Packed(user)| user.deactivated) {
                return Err(AccountError::UnknownRefreshToken);
            }
            self.check_unlocked(UserNid::new(token.user)).await?;
            let key = (token.user, token.device);
            let found = view.get_versioned(&DEVICES, &key).await?;
            let (Packed(device), version) = found.ok_or(AccountError::UnknownRefreshToken)?;
            let used_ms = self.used_ms(&key, &device).await?;
            if self.is_session_over(device.signed_in_ms, used_ms) {
                return Err(AccountError::ExpiredRefreshToken);
            }
            let person = self.person_key(UserNid::new(key.0)).await?;
            let mut batch = Batch::default();
            batch.expect_version(&DEVICES, &key, Some(version));
            if self.0.settings.tokens.idle_ms.is_some() {
                // The session of the new token knows no use yet, and to refresh is none.
                let before = view.get(&DEVICES_SEEN, &key).await?.map(|Packed(seen)| seen);
                let seen = before.unwrap_or(SeenRow { at_ms: used_ms, ip: None, used_ms });
                batch.put_sealed(&DEVICES_SEEN, &key, &Packed(SeenRow { used_ms, ..seen }), &person);
            }
            let minted = self.mint(true);
            let device = self.rotate(&mut batch, device, hash, &minted)?;
            self.put_pair(&mut batch, key.0, key.1, &minted);
            batch.put_sealed(&DEVICES, &key, &Packed(device), &person);
            if settled(self.0.store.commit(batch).await)?.is_some() {
                let Minted { access_token, refresh_token, expires_in_ms, .. } = minted;
                return Ok(Refreshed { access_token, refresh_token, expires_in_ms });
            }
        }
        Err(AccountError::Contended)
    }

    /// The device with the minted pair as the current one and the pair of `used` as the previous one.
    fn rotate(
        &self,
        batch: &mut Batch,
        device: DeviceRow,
        used: wardroom_store::Hash16,
        minted: &Minted,
    ) -> Result<DeviceRow, AccountError> {
        let DeviceRow { current, previous, .. } = device;
        let previous = if current.refresh == Some(used) {
            // The current pair is in use: by refreshing with it, if not before.
            if let Some(older) = &previous {
                self.end_pair(batch, older);
            }
            current
        } else if let Some(previous) = previous.filter(|pair| pair.refresh == Some(used)) {
            // The answer with the current pair never reached the client.
            self.end_pair(batch, &current);
            previous
        } else {
            return Err(AccountError::UnknownRefreshToken);
        };
        Ok(DeviceRow { current: minted.pair, previous: Some(previous), ..device })
    }
}
