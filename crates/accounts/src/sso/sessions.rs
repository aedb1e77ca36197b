//! Which devices were signed in in which session of an identity provider, and the end of such a session
//! (OpenID Connect Back-Channel Logout 1.0).

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
    time::Duration,
};

use parking_lot::Mutex;
use wardroom_store::{Batch, Hash16, Packed, Scan};

use super::{
    SsoIdentity,
    tables::{OriginRow, SSO_DEVICES, SSO_SESSIONS, SSO_SUBJECTS},
};
use crate::{
    AccountError, Accounts, UserNid,
    deeds::Ending,
    error::{CONFLICT_ROUNDS_MAX, settled},
    tables::{DEVICES, DeviceKey},
};

/// How long the end of a session is remembered: longer than a sign-in takes from the provider's answer to the token.
const ENDED_REMEMBERED_MS: u64 = 15 * 60 * 1_000;
/// Ends that are remembered, about 60 bytes each; beyond it the oldest are forgotten.
const ENDED_MAX: usize = 10_000;

/// What a login token has to do with a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SsoOrigin {
    subject: Hash16,
    session: Option<Hash16>,
    /// When the provider said who it is.
    since_ms: u64,
}

impl SsoOrigin {
    /// Stands for who signed in.
    pub(crate) const fn subject(&self) -> Hash16 {
        self.subject
    }
}

/// Sessions that have ended, for sign-ins that were under way at that moment.
#[derive(Default)]
pub(crate) struct EndedSessions(Mutex<VecDeque<End>>);

impl fmt::Debug for EndedSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndedSessions").finish_non_exhaustive()
    }
}

/// What has ended: a session, or all sessions of a person.
#[derive(Clone, Copy, Debug)]
struct End {
    subject: Option<Hash16>,
    session: Option<Hash16>,
    at_ms: u64,
}

impl End {
    /// Whether it is meant for what came from a person in a session. A session that the provider did not name ends with
    /// any of the person's: it may be that one.
    fn covers(&self, subject: Hash16, session: Option<Hash16>) -> bool {
        match (self.subject, self.session) {
            (None, None) => false,
            (None, Some(ended)) => session == Some(ended),
            (Some(person), None) => person == subject,
            (Some(person), Some(ended)) => person == subject && session.is_none_or(|session| session == ended),
        }
    }
}

impl EndedSessions {
    fn note(&self, end: End) {
        let mut ends = self.0.lock();
        let forgotten = |old: &End| old.at_ms.saturating_add(ENDED_REMEMBERED_MS) < end.at_ms;
        while ends.len() >= ENDED_MAX || ends.front().is_some_and(forgotten) {
            ends.pop_front();
        }
        ends.push_back(end);
    }

    fn includes(&self, origin: &SsoOrigin) -> bool {
        let ends = self.0.lock();
        ends.iter().any(|end| end.at_ms >= origin.since_ms && end.covers(origin.subject, origin.session))
    }
}

impl Accounts {
    /// Where a sign-in comes from that a provider has confirmed just now.
    pub(crate) fn sso_origin(&self, identity: &SsoIdentity<'_>) -> SsoOrigin {
        SsoOrigin {
            subject: self.subject_hash(identity.issuer, identity.subject),
            session: identity.session.map(|session| self.session_hash(identity.issuer, session)),
            since_ms: self.now_ms(),
        }
    }

    /// Where a device was signed in from, if with a provider: what it lets in ends with it.
    pub(crate) async fn sso_origin_of(&self, device: &DeviceKey) -> Result<Option<SsoOrigin>, AccountError> {
        let row = self.0.store.latest().get(&SSO_DEVICES, device).await?;
        let since_ms = self.now_ms();
        Ok(row.map(|Packed(OriginRow { subject, session })| SsoOrigin { subject, session, since_ms }))
    }

    /// Whether the session has ended meanwhile.
    pub(crate) fn is_ended(&self, origin: &SsoOrigin) -> bool {
        self.0.ended_sessions.includes(origin)
    }

    /// Adds to the batch that signs a device in where it was signed in from. The batch expects the device's row as it was
    /// read, by which this row is guarded too.
    pub(crate) async fn put_sso_origin(
        &self,
        batch: &mut Batch,
        device: &DeviceKey,
        origin: Option<&SsoOrigin>,
    ) -> Result<(), AccountError> {
        self.end_sso_origin(batch, device).await?;
        if let Some(SsoOrigin { subject, session, .. }) = origin {
            batch.put(&SSO_DEVICES, device, &Packed(OriginRow { subject: *subject, session: *session }));
            if let Some(session) = session {
                batch.put(&SSO_SESSIONS, &(*session, device.0, device.1), &());
            }
        }
        Ok(())
    }

    /// Adds to the batch that a device has nothing to do with a provider any more.
    pub(crate) async fn end_sso_origin(&self, batch: &mut Batch, device: &DeviceKey) -> Result<(), AccountError> {
        if let Some(Packed(row)) = self.0.store.latest().get(&SSO_DEVICES, device).await? {
            batch.delete(&SSO_DEVICES, device);
            if let Some(session) = row.session {
                batch.delete(&SSO_SESSIONS, &(session, device.0, device.1));
            }
        }
        Ok(())
    }

    /// As [`Accounts::end_sso_origin`], for all devices of a user.
    pub(crate) async fn end_sso_origins(&self, batch: &mut Batch, user: UserNid) -> Result<(), AccountError> {
        let rows = self.0.store.latest().scan(&SSO_DEVICES, Scan::prefix(&user.get())).await?;
        for (device, Packed(row)) in rows {
            batch.delete(&SSO_DEVICES, &device);
            if let Some(session) = row.session {
                batch.delete(&SSO_SESSIONS, &(session, device.0, device.1));
            }
        }
        Ok(())
    }

    /// A token that signs a device of the user in, once, within `lifetime`, in the session of the provider that just
    /// said who it is.
    pub fn new_sso_login_token(&self, user: UserNid, identity: &SsoIdentity<'_>, lifetime: Duration) -> String {
        let origin = self.sso_origin(identity);
        self.give_login_token(user, origin, lifetime)
    }

    /// Ends what came from a session at a provider, or from all sessions of a person there: devices, and login tokens
    /// that are not used yet. Returns how many devices there were.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn end_sso_sessions(
        &self,
        issuer: &str,
        subject: Option<&str>,
        session: Option<&str>,
    ) -> Result<usize, AccountError> {
        let end = End {
            subject: subject.map(|subject| self.subject_hash(issuer, subject)),
            session: session.map(|session| self.session_hash(issuer, session)),
            at_ms: self.now_ms(),
        };
        // Before the look at the devices: a sign-in that commits after it looks here after that.
        self.0.ended_sessions.note(end);
        self.0.login_tokens.end_where(|origin| end.covers(origin.subject, origin.session));
        let mut ended = 0;
        for (user, devices) in self.devices_of(&end).await? {
            ended += self.end_sso_devices(UserNid::new(user), &devices, &end).await?;
        }
        Ok(ended)
    }

    /// Devices that may have to end, by user.
    async fn devices_of(&self, end: &End) -> Result<BTreeMap<u64, BTreeSet<Hash16>>, AccountError> {
        let view = self.0.store.latest();
        let mut found: BTreeMap<u64, BTreeSet<Hash16>> = BTreeMap::new();
        if let Some(session) = &end.session {
            for (_, user, device) in view.scan_keys(&SSO_SESSIONS, Scan::prefix(session)).await? {
                found.entry(user).or_default().insert(device);
            }
        }
        if let Some(subject) = &end.subject
            && let Some(user) = view.get(&SSO_SUBJECTS, subject).await?
        {
            for (user, device) in view.scan_keys(&SSO_DEVICES, Scan::prefix(&user)).await? {
                found.entry(user).or_default().insert(device);
            }
        }
        Ok(found)
    }

    async fn end_sso_devices(
        &self,
        user: UserNid,
        devices: &BTreeSet<Hash16>,
        end: &End,
    ) -> Result<usize, AccountError> {
        let _lock = self.0.key_locks.lock(user).await;
        for _ in 0..CONFLICT_ROUNDS_MAX {
            let (mut batch, mut ended) = (Batch::default(), BTreeSet::new());
            for device in devices {
                let (key, view) = ((user.get(), *device), self.0.store.latest());
                let origin = view.get(&SSO_DEVICES, &key).await?;
                // The device may have been signed in anew meanwhile.
                let meant = origin.is_some_and(|Packed(row)| end.covers(row.subject, row.session));
                if meant && let Some((Packed(row), version)) = view.get_versioned(&DEVICES, &key).await? {
                    self.end_device(&mut batch, &key, &row, version, Ending::Provider).await?;
                    ended.insert(*device);
                }
            }
            if ended.is_empty() {
                return Ok(0);
            }
            self.end_pushers(&mut batch, user, |device| ended.contains(device)).await?;
            self.announce_devices(&mut batch, user).await?;
            if settled(self.0.store.commit(batch).await)?.is_some() {
                return Ok(ended.len());
            }
        }
        Err(AccountError::Contended)
    }
}

#[cfg(test)]
mod tests {
    use super::{ENDED_MAX, ENDED_REMEMBERED_MS, End, EndedSessions, SsoOrigin};

    const ALICE: [u8; 16] = [1; 16];
    const BOB: [u8; 16] = [2; 16];
    const WARD: [u8; 16] = [3; 16];
    const HOME: [u8; 16] = [4; 16];

    #[test]
    fn an_end_covers_the_session_or_the_person_it_names() {
        let end = |subject, session| End { subject, session, at_ms: 0 };
        assert!(end(None, Some(WARD)).covers(ALICE, Some(WARD)));
        assert!(!end(None, Some(WARD)).covers(ALICE, Some(HOME)));
        assert!(!end(None, Some(WARD)).covers(ALICE, None));
        assert!(end(Some(ALICE), None).covers(ALICE, Some(WARD)));
        assert!(!end(Some(ALICE), None).covers(BOB, Some(WARD)));
        assert!(end(Some(ALICE), Some(WARD)).covers(ALICE, Some(WARD)));
        assert!(end(Some(ALICE), Some(WARD)).covers(ALICE, None), "it may be that session");
        assert!(!end(Some(ALICE), Some(WARD)).covers(ALICE, Some(HOME)));
        assert!(!end(Some(BOB), Some(WARD)).covers(ALICE, Some(WARD)));
        assert!(!end(None, None).covers(ALICE, None));
    }

    #[test]
    fn ends_are_remembered_for_what_was_begun_before() {
        let ends = EndedSessions::default();
        ends.note(End { subject: Some(ALICE), session: None, at_ms: 1_000 });
        let origin = |since_ms| SsoOrigin { subject: ALICE, session: None, since_ms };
        assert!(ends.includes(&origin(999)) && ends.includes(&origin(1_000)));
        assert!(!ends.includes(&origin(1_001)), "a later sign-in is a new one");
        ends.note(End { subject: Some(BOB), session: None, at_ms: 1_001 + ENDED_REMEMBERED_MS });
        assert_eq!(ends.0.lock().len(), 1);
        for _ in 0..=ENDED_MAX {
            ends.note(End { subject: Some(BOB), session: None, at_ms: 1_001 + ENDED_REMEMBERED_MS });
        }
        assert_eq!(ends.0.lock().len(), ENDED_MAX);
    }
}
