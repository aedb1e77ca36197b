//! Who a request comes from, and the cache that answers it without the store.

use std::{
    fmt,
    ops::Deref,
    sync::{Arc, atomic::AtomicU64},
};

use ruma::{OwnedDeviceId, OwnedUserId};
use wardroom_store::{Batch, Hash16};

use crate::{Accounts, Moderation, UserNid, fresh_cache::FreshCache, tables::DeviceKey};

/// Sessions kept in memory, about 400 bytes each.
pub const SESSIONS_CACHED_MAX: usize = 16_384;

/// An authenticated user on a device. Cheap to clone; derefs to its [`SessionData`].
#[derive(Clone)]
pub struct Session(Arc<SessionData>);

/// What is known about the sender of an authenticated request.
pub struct SessionData {
    /// The user's full id.
    pub user: OwnedUserId,
    /// The user's number.
    pub nid: UserNid,
    /// The device's id, unique for this user only.
    pub device: OwnedDeviceId,
    /// The device's number, unique on this server and never used again.
    pub device_nid: u64,
    /// Administrator of this server.
    pub admin: bool,
    /// Guest account.
    pub guest: bool,
    /// Who the user is at the identity provider where this session began, if it began at one.
    pub subject: Option<String>,
    /// The administrator who acts in the user's name, if one does.
    pub administrator: Option<OwnedUserId>,
    /// What an administrator has taken from the account.
    pub moderation: Moderation,
    pub(crate) device_key: DeviceKey,
    pub(crate) expires_ms: Option<u64>,
    /// When somebody signed in, in milliseconds since the epoch.
    pub(crate) signed_in_ms: u64,
    /// When somebody used this session last, in milliseconds since the epoch.
    pub(crate) used_ms: AtomicU64,
    /// When this session was last noted as seen, in milliseconds since the epoch.
    pub(crate) noted_seen_ms: AtomicU64,
}

impl From<SessionData> for Session {
    fn from(data: SessionData) -> Self {
        Self(Arc::new(data))
    }
}

impl Deref for Session {
    type Target = SessionData;

    fn deref(&self) -> &SessionData {
        &self.0
    }
}

impl fmt::Debug for Session {
    /// Numbers only: sessions end up in spans.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("user", &self.nid.get()).finish_non_exhaustive()
    }
}

impl fmt::Debug for SessionData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionData").field("user", &self.nid.get()).finish_non_exhaustive()
    }
}

/// Hash of an access token -> its session.
pub(crate) type SessionCache = FreshCache<Hash16, Session>;

impl Accounts {
    /// Takes the token's session out of the cache when the batch is committed, before anybody can see the commit.
    pub(crate) fn forget_session(&self, batch: &mut Batch, access: Hash16) {
        let sessions = Arc::clone(&self.0.sessions);
        batch.on_commit(move |_| sessions.end(&access));
    }

    /// The same for all sessions of a user: for rare changes, it walks the whole cache.
    pub(crate) fn forget_sessions_of(&self, batch: &mut Batch, user: UserNid) {
        let sessions = Arc::clone(&self.0.sessions);
        batch.on_commit(move |_| sessions.end_all(|session| session.nid == user));
    }
}
