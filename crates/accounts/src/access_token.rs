//! From an access token to a session: on every request, so a warm one costs a keyed hash and one look into the cache.

use std::sync::atomic::{AtomicU64, Ordering};

use ruma::OwnedDeviceId;
use wardroom_store::{Batch, Hash16, Packed, Position};

use crate::{
    AccountError, Accounts, Session, SessionData, TokenError, UserNid,
    error::settled,
    secret::TOKEN_BYTES_MAX,
    tables::{ACCESS_TOKENS, DEVICES, DeviceKey, DeviceRow, REFRESH_TOKENS, TokenPair, TokenRow, USERS, domain},
};

impl Accounts {
    /// Whose token it is. Ending a token (logout, deletion, deactivation) takes effect at once.
    ///
    /// # Errors
    /// [`TokenError::Unknown`], [`TokenError::Expired`], [`TokenError::Locked`], or the store's.
    pub async fn authenticate(&self, token: &str) -> Result<Session, TokenError> {
        let session = self.authenticate_even_locked(token).await?;
        if session.moderation.locked { Err(TokenError::Locked) } else { Ok(session) }
    }

    /// As [`Accounts::authenticate`], for what users of locked accounts may do too: log out.
    ///
    /// # Errors
    /// [`TokenError::Unknown`], [`TokenError::Expired`], or the store's.
    pub async fn authenticate_even_locked(&self, token: &str) -> Result<Session, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Unknown);
        }
        let access = self.0.store.keyed_hash(domain::ACCESS_TOKEN, token.as_bytes());
        let session = match self.0.sessions.get(&access) {
            Some(session) => session,
            None => self.look_up_session(access).await?,
        };
        let used_ms = session.used_ms.load(Ordering::Relaxed);
        let expired = session.expires_ms.is_some_and(|at_ms| at_ms <= self.now_ms());
        let over = self.is_session_over(session.signed_in_ms, used_ms);
        if over {
            self.record_over(&session).await?;
        }
        if expired || over {
            return Err(TokenError::Expired);
        }
        Ok(session)
    }

    /// Whether a session has ended by itself: it is too old, or nobody has used it for too long.
    pub(crate) fn is_session_over(&self, signed_in_ms: u64, used_ms: u64) -> bool {
        let (lifetimes, now_ms) = (&self.0.settings.tokens, self.now_ms());
        let over = |since_ms: u64, limit_ms: Option<u64>| {
            limit_ms.is_some_and(|limit_ms| now_ms >= since_ms.saturating_add(limit_ms))
        };
        over(signed_in_ms, lifetimes.session_ms) || over(used_ms, lifetimes.idle_ms)
    }

    async fn look_up_session(&self, access: Hash16) -> Result<Session, TokenError> {
        let before = self.0.sessions.before_read();
        let view = self.0.store.latest();
        let Some(Packed(token)) = view.get(&ACCESS_TOKENS, &access).await? else { return Err(TokenError::Unknown) };
        let device_key = (token.user, token.device);
        let Some((Packed(device), version)) = view.get_versioned(&DEVICES, &device_key).await? else {
            return Err(TokenError::Unknown);
        };
        let Some(Packed(user)) = view.get(&USERS, &token.user).await? else { return Err(TokenError::Unknown) };
        if user.deactivated || device.pairs().all(|pair| pair.access != access) {
            return Err(TokenError::Unknown);
        }
        let nid = UserNid::new(token.user);
        let subject = match self.sso_origin_of(&device_key).await? {
            Some(origin) => self.subject_of(nid, &origin).await?,
            None => None,
        };
        let administrator = match device.administrator {
            Some(admin) => Some(self.user_id(UserNid::new(admin)).await?),
            None => None,
        };
        let session = Session::from(SessionData {
            user: self.user_id(nid).await?,
            nid,
            device: OwnedDeviceId::from(device.device_id.as_str()),
            device_nid: device.nid,
            admin: user.admin,
            guest: user.guest,
            subject,
            administrator,
            moderation: self.moderation_of(nid).await?.0,
            device_key,
            expires_ms: token.expires_ms,
            signed_in_ms: device.signed_in_ms,
            used_ms: AtomicU64::new(self.used_ms(&device_key, &device).await?),
            noted_seen_ms: AtomicU64::new(0),
        });
        let retires = device.current.access == access && device.previous.is_some() && !self.expired(&token);
        if retires && !self.retire_previous(device_key, device, version).await? {
            // Something else changed the device at this moment; not cached, so that the next request tries again.
            return Ok(session);
        }
        self.0.sessions.insert(&access, session.clone(), before);
        Ok(session)
    }

    /// The new pair is in use: the pair it replaced ends (section "Refreshing access tokens"). `false` when another
    /// commit on the device got in between.
    async fn retire_previous(
        &self,
        key: DeviceKey,
        mut device: DeviceRow,
        version: Position,
    ) -> Result<bool, AccountError> {
        let Some(previous) = device.previous.take() else { return Ok(true) };
        let mut batch = Batch::default();
        batch.expect_version(&DEVICES, &key, Some(version));
        self.end_pair(&mut batch, &previous);
        batch.put_sealed(&DEVICES, &key, &Packed(device), &self.person_key(UserNid::new(key.0)).await?);
        Ok(settled(self.0.store.commit(batch).await)?.is_some())
    }

    /// Ends an access token and its refresh token with the batch.
    pub(crate) fn end_pair(&self, batch: &mut Batch, pair: &TokenPair) {
        batch.delete(&ACCESS_TOKENS, &pair.access);
        if let Some(refresh) = &pair.refresh {
            batch.delete(&REFRESH_TOKENS, refresh);
        }
        self.forget_session(batch, pair.access);
    }

    pub(crate) fn expired(&self, token: &TokenRow) -> bool {
        token.expires_ms.is_some_and(|at_ms| at_ms <= self.now_ms())
    }
}
