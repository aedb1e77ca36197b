//! Asking again: before a word ends, when its server took it back, and about members whose server nobody has asked yet.
//!
//! Each server has a few askers of its own, so that a slow one holds up nobody else's people. What ends with nobody
//! answering is lost as any role is, and administrators hear of it before.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use futures_util::future::join_all;
use ruma::{OwnedRoomId, OwnedServerName, OwnedUserId, ServerName, UserId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue as RawJsonValue;
use tokio::{task::JoinSet, time::sleep};
use wardroom_rooms::{Membership, NS_USER, UserNid};
use wardroom_store::{Batch, Packed, Position, Scan};

use super::{Attestations, Unheard, errands::Errand, word::SKEW_MS_MAX};
use crate::{
    Care, CareError,
    alarms::AlarmKind,
    gate::policy_of,
    policy::RoomPolicy,
    roles::{ROLES_PER_SOURCE_MAX, Said, Source},
    tables::{REVOKED, RevokedRow},
};

/// Questions to one server at the same time.
const ASKED_AT_ONCE: usize = 4;
/// How long before its end a word is asked for anew at most, 6 hours; half its life where that is less.
const WINDOW_MS_MAX: u64 = 6 * 60 * 60 * 1_000;
/// Between two attempts, of which a time before the end has so many.
const ATTEMPTS: u64 = 24;
const PAUSE_MS_MIN: u64 = 5 * 1_000;
const PAUSE_MS_MAX: u64 = 15 * 60 * 1_000;
/// The longest sleep: a clock that is set forward is noticed.
const SLEEP_MAX: Duration = Duration::from_secs(30);
/// How long to wait after a failure of the store.
const FAILURE_PAUSE: Duration = Duration::from_secs(5);
/// How often what is not good any more is forgotten, in milliseconds.
const UPKEEP_MS: u64 = 60 * 60 * 1_000;
/// Revocations read at once.
const REVOKED_MAX: usize = 1_000;

/// When what was said of a user is asked for anew, by user: the end of what was said, and the next attempt.
pub(super) type Renewals = HashMap<OwnedUserId, (u64, u64)>;

/// What a server says of one of its users. Times are milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Received {
    /// The user.
    pub user_id: OwnedUserId,
    /// The server.
    pub server: OwnedServerName,
    /// Roles.
    pub roles: Vec<String>,
    /// When it said so, by its own clock.
    pub issued_ts: u64,
    /// Until when that is good.
    pub expires_ts: u64,
}

/// When a word that was said then and ends then is asked for anew, and how long to wait between attempts. Users of one
/// server come at different times, by `lot`.
fn window(said_ms: u64, until_ms: u64, lot: u8) -> (u64, u64) {
    let whole_ms = (until_ms.saturating_sub(said_ms) / 2).min(WINDOW_MS_MAX);
    let window_ms = whole_ms - whole_ms / 4 * u64::from(lot) / u64::from(u8::MAX);
    (window_ms, (whole_ms / ATTEMPTS).clamp(PAUSE_MS_MIN, PAUSE_MS_MAX))
}

/// When what a source says was said, and when it ends.
fn life(said: &Said) -> Option<(u64, u64)> {
    let said_ms = said.bindings.iter().map(|binding| binding.set_ms).max()?;
    Some((said_ms, said.bindings.iter().filter_map(|binding| binding.until_ms).min()?))
}

impl Attestations {
    /// Has what ends soon asked for anew. Returns when the next one is due.
    fn add_renewals(&self) -> u64 {
        let inner = &*self.0;
        let (now_ms, mut next_due_ms) = (inner.clock.now_ms(), u64::MAX);
        let all = inner.judge.roles().said_by(Source::Attestation);
        let mut renewals = inner.renewals.lock();
        let mut kept = Renewals::with_capacity(all.len());
        for (user, said) in all {
            let Some((said_ms, until_ms)) = life(&said).filter(|(_, until_ms)| *until_ms > now_ms) else { continue };
            let lot = inner.store.keyed_hash(0, user.as_str().as_bytes())[0];
            let (window_ms, pause_ms) = window(said_ms, until_ms, lot);
            let attempted = renewals.get(&user).filter(|(of_ms, _)| *of_ms == until_ms);
            let mut due_ms = attempted.map_or(until_ms.saturating_sub(window_ms), |(_, next_ms)| *next_ms);
            if due_ms <= now_ms {
                inner.errands.add(&user, Errand::Renewal);
                due_ms = now_ms.saturating_add(pause_ms);
            }
            next_due_ms = next_due_ms.min(due_ms);
            kept.insert(user, (until_ms, due_ms));
        }
        *renewals = kept;
        next_due_ms
    }
}

impl Care {
    /// Asks other servers in the background until this one stops.
    pub async fn run_attestations(&self) {
        let attestations = &self.0.attestations.0;
        let (mut turns, mut busy) = (JoinSet::new(), HashMap::new());
        let mut upkeep_at_ms = 0;
        loop {
            if let Err(error) = self.tend_attestations(&mut upkeep_at_ms).await {
                tracing::warn!(%error, "what servers say of roles could not be looked after; trying again");
                sleep(FAILURE_PAUSE).await;
                continue;
            }
            let next_ms = self.0.attestations.add_renewals();
            let served: HashSet<OwnedServerName> = busy.values().cloned().collect();
            for server in attestations.errands.servers().into_iter().filter(|server| !served.contains(server)) {
                let (care, of) = (self.clone(), server.clone());
                let id = turns.spawn(async move { care.run_errands(&of).await }).id();
                busy.insert(id, server);
            }
            let pause = Duration::from_millis(next_ms.saturating_sub(self.now_ms()));
            tokio::select! {
                () = attestations.errands.added() => {}
                () = sleep(pause.min(SLEEP_MAX)) => {}
                Some(ended) = turns.join_next_with_id() => {
                    busy.remove(&ended.map_or_else(|error| error.id(), |(id, ())| id));
                }
            }
        }
    }

    async fn tend_attestations(&self, upkeep_at_ms: &mut u64) -> Result<(), CareError> {
        if self.now_ms() >= *upkeep_at_ms {
            self.tell_all_losses().await?;
            self.0.attestations.forget_words().await?;
            *upkeep_at_ms = self.now_ms().saturating_add(UPKEEP_MS);
        }
        let revoked = self.0.store.latest().scan_keys(&REVOKED, Scan::all().limit(REVOKED_MAX)).await?;
        for user in self.0.rooms.user_ids(&revoked).await? {
            self.0.attestations.0.errands.add(&user, Errand::Revocation);
        }
        Ok(())
    }

    /// Does what waits for one server.
    async fn run_errands(&self, server: &ServerName) {
        let askers = (0..ASKED_AT_ONCE).map(|_| async {
            while let Some((errand, user)) = self.0.attestations.0.errands.next(server) {
                let done = match &errand {
                    Errand::First(room) => self.ask_first(&user, room).await,
                    Errand::Renewal => self.renew(&user).await,
                    Errand::Revocation => self.ask_after_revocation(&user).await,
                };
                if let Err(error) = done {
                    tracing::warn!(%server, %error, "what a server says of roles could not be taken in");
                }
            }
        });
        join_all(askers).await;
    }

    /// Asks about somebody who is in a room already, and looks at them again.
    async fn ask_first(&self, user: &UserId, room: &OwnedRoomId) -> Result<(), CareError> {
        if let Err(error) = self.0.attestations.hear(user, room, || false).await {
            tracing::info!(server = %user.server_name(), %error, "nothing was heard of the roles of somebody in a room");
        }
        self.revalidate_user(user).await.map(drop)
    }

    /// Asks anew for what ends soon.
    async fn renew(&self, user: &UserId) -> Result<(), CareError> {
        // What nobody needs may end.
        let Some(room) = self.room_by_attestation(user).await? else { return Ok(()) };
        let Err(error) = self.0.attestations.hear_again(user, &room).await else { return Ok(()) };
        tracing::info!(server = %user.server_name(), %error, "what a server says of a user's roles could not be renewed");
        let Some((said_ms, until_ms)) = life(&self.attested(user)) else { return Ok(()) };
        let (window_ms, _) = window(said_ms, until_ms, 0);
        if until_ms.saturating_sub(self.now_ms()) <= window_ms / 2 {
            let server = user.server_name();
            let sentence = format!(
                "{server} does not say anew which roles its users have: they lose what rooms require of them when its \
                 last word ends, in {} minutes at the earliest: {error}",
                until_ms.saturating_sub(self.now_ms()) / 60_000
            );
            self.0.alarms.raise_of_server(AlarmKind::PartnerSilent, server, &sentence).await;
        }
        Ok(())
    }

    /// A room that requires roles, for some of which the user's server may vouch, and that the user is in or wants into.
    async fn room_by_attestation(&self, user: &UserId) -> Result<Option<OwnedRoomId>, CareError> {
        for (room, membership) in self.memberships(user).await? {
            if !matches!(membership, Membership::Join | Membership::Invite | Membership::Knock) {
                continue;
            }
            let view = self.0.rooms.view_of(room).await?;
            if let Some(RoomPolicy::Known(policy)) = policy_of(&view)
                && policy.names(user.server_name())
            {
                return Ok(Some(view.id.clone()));
            }
        }
        Ok(None)
    }

    /// A server takes back what it said of one of its users (EDU [`super::ROLE_REVOKED`]). It is asked what is so now; where
    /// it does not say, what it took back is gone.
    ///
    /// # Errors
    /// When the store fails: the server has to send it again.
    pub async fn role_revoked(&self, origin: &ServerName, content: &RawJsonValue) -> Result<(), CareError> {
        #[derive(Deserialize)]
        struct Content {
            user_id: OwnedUserId,
            roles: Vec<String>,
            at: u64,
        }
        let content: Option<Content> = serde_json::from_str(content.get()).ok();
        let may_say =
            |content: &Content| content.user_id.server_name() == origin && content.roles.len() <= ROLES_PER_SOURCE_MAX;
        let Some(Content { user_id, roles, at }) = content.filter(may_say) else { return Ok(()) };
        let at_ms = at.min(self.now_ms().saturating_add(SKEW_MS_MAX));
        let believed = self.attested(&user_id).bindings;
        let believed =
            believed.iter().filter(|binding| binding.set_ms <= at_ms).map(|binding| binding.role.to_string());
        let lost: Vec<String> = believed.filter(|role| roles.contains(role)).collect();
        let nid = self.0.store.interner().lookup(NS_USER, user_id.as_str()).await?.map(UserNid::new);
        let Some(nid) = nid.filter(|_| !lost.is_empty()) else { return Ok(()) };
        let before = self.0.store.latest().get(&REVOKED, &nid).await?.map(|Packed(row)| row);
        let mut row: RevokedRow = before.unwrap_or_default();
        row.roles.extend(lost);
        row.at_ms = row.at_ms.max(at_ms);
        let mut batch = Batch::default();
        batch.put(&REVOKED, &nid, &Packed(row));
        self.0.store.commit(batch).await?;
        self.0.attestations.0.errands.add(&user_id, Errand::Revocation);
        Ok(())
    }

    async fn ask_after_revocation(&self, user: &UserId) -> Result<(), CareError> {
        let nid = self.0.store.interner().lookup(NS_USER, user.as_str()).await?.map(UserNid::new);
        let Some(nid) = nid else { return Ok(()) };
        let found = self.0.store.latest().get_versioned(&REVOKED, &nid).await?;
        let Some((Packed(row), version)) = found else { return Ok(()) };
        let heard = match self.room_by_attestation(user).await? {
            Some(room) => self.0.attestations.hear_again(user, &room).await,
            None => Err(Unheard::Refused),
        };
        if heard.is_err() {
            let change = |mut said: Said| {
                let lost = |role: &str, set_ms: u64| set_ms <= row.at_ms && row.roles.contains(role);
                said.bindings.retain(|binding| !lost(&binding.role.to_string(), binding.set_ms));
                Ok(said)
            };
            self.roles().change(user, Source::Attestation, change).await?;
        }
        self.forget_revocation(nid, version).await
    }

    /// What was taken back meanwhile stays.
    async fn forget_revocation(&self, user: UserNid, version: Position) -> Result<(), CareError> {
        let mut batch = Batch::default();
        batch.expect_version(&REVOKED, &user, Some(version));
        batch.delete(&REVOKED, &user);
        match self.0.store.commit(batch).await {
            Ok(_) | Err(wardroom_store::CommitError::Conflict { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// What a user's server says of them.
    fn attested(&self, user: &UserId) -> Said {
        let holder = self.roles().of(user);
        let said = holder.as_ref().and_then(|holder| holder.said().find(|(source, _)| *source == Source::Attestation));
        said.map(|(_, said)| said.clone()).unwrap_or_default()
    }

    /// What other servers say of their users, by user; what one server says where it is named.
    pub fn received(&self, server: Option<&ServerName>) -> Vec<Received> {
        let now_ms = self.now_ms();
        let shown = |(user_id, said): (OwnedUserId, Said)| {
            let (issued_ts, expires_ts) = life(&said).filter(|(_, until_ms)| *until_ms > now_ms)?;
            let roles = said.bindings.iter().map(|binding| binding.role.to_string()).collect();
            let of = user_id.server_name().to_owned();
            let wanted = server.is_none_or(|server| of == server);
            wanted.then_some(Received { user_id, server: of, roles, issued_ts, expires_ts })
        };
        let all = self.roles().said_by(Source::Attestation);
        let mut received: Vec<Received> = all.into_iter().filter_map(shown).collect();
        received.sort_unstable_by(|one, other| one.user_id.cmp(&other.user_id));
        received
    }
}

#[cfg(test)]
mod tests {
    use super::{PAUSE_MS_MAX, PAUSE_MS_MIN, WINDOW_MS_MAX, window};

    #[test]
    fn words_are_asked_for_anew_in_time_and_not_all_at_once() {
        let day_ms = 24 * 60 * 60 * 1_000;
        assert_eq!(window(0, day_ms, 0), (WINDOW_MS_MAX, PAUSE_MS_MAX));
        assert_eq!(window(0, day_ms, u8::MAX).0, WINDOW_MS_MAX / 4 * 3);
        assert_eq!(window(0, 20_000, 0), (10_000, PAUSE_MS_MIN));
        assert_eq!(window(20_000, 10, 7), (0, PAUSE_MS_MIN));
    }
}
