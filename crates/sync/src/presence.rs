//! Who is there, as others hear of it.
//!
//! [Presence](https://spec.matrix.org/v1.19/client-server-api/#presence). Changes of all users are published together,
//! once a second. In rooms of up to [`LOUD_ROOM_MEMBERS_MAX`] members a change wakes who waits. A larger room would be
//! kept busy by nothing else, so there a change wakes nobody: it is told with the next answer that is given anyway, at
//! the latest when the long poll ends.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::{Arc, Weak},
    time::Duration,
};

use ruma::{OwnedUserId, UserId};
use serde::Serialize;
use tokio::time::{MissedTickBehavior, interval};
use wardroom_accounts::{
    Availability, PresenceChange, PresenceView, Session, UserNid as AccountNid, presence_watch_of_room,
    presence_watch_of_user,
};
use wardroom_rooms::{Membership, RoomNid, UserNid};
use wardroom_store::{Batch, CommitError, Position, WatchKey};

use crate::{
    Inner, SyncError, Syncer,
    hearing::{Hearing, Span},
    memberships::Known,
    response::{Events, write_json},
};

/// Members of a room up to which a change of presence wakes who waits.
pub const LOUD_ROOM_MEMBERS_MAX: u64 = 200;
/// Changes that one answer tells, the newest.
const TOLD_MAX: usize = 500;
/// Changes that are looked at for one answer, the newest.
const EXAMINED_MAX: usize = 2_000;
/// Users who came to share a room of whom is told that they are not there; of none, where more came.
const ABSENT_MAX: usize = 200;
/// How long changes are collected before they are published together.
const PUBLISH_EVERY: Duration = Duration::from_secs(1);

/// An `m.presence` event.
#[derive(Serialize)]
struct PresenceEvent<'a> {
    content: Content<'a>,
    sender: &'a UserId,
    #[serde(rename = "type")]
    kind: &'static str,
}

#[derive(Serialize)]
struct Content<'a> {
    presence: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_active_ago: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    currently_active: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_msg: Option<&'a str>,
}

/// Tells of somebody of whom nothing is known that they are not there.
fn tell_absent(events: &mut Events, user: &UserId) {
    let presence = Availability::Offline.name();
    let content = Content { presence, last_active_ago: None, currently_active: None, status_msg: None };
    write_json(events.next(), &PresenceEvent { content, sender: user, kind: "m.presence" });
}

fn tell(events: &mut Events, view: &PresenceView) {
    let content = Content {
        presence: view.availability.name(),
        last_active_ago: view.last_active_ago_ms,
        currently_active: (view.availability == Availability::Online).then_some(view.currently_active),
        status_msg: view.status_msg.as_deref(),
    };
    write_json(events.next(), &PresenceEvent { content, sender: &view.user, kind: "m.presence" });
}

/// Numbers of the rooms that a user is in, sorted.
fn joined(known: &Known) -> Vec<u64> {
    let joined = known.entries.iter().filter(|entry| entry.membership == Membership::Join);
    let mut rooms: Vec<u64> = joined.map(|entry| entry.room.get()).collect();
    rooms.sort_unstable();
    rooms
}

fn share_a_room(a: &[u64], b: &[u64]) -> bool {
    let (few, many) = if a.len() < b.len() { (a, b) } else { (b, a) };
    few.iter().any(|room| many.binary_search(room).is_ok())
}

impl Inner {
    /// The rooms that somebody is in now, from what is at hand where that still holds.
    async fn rooms_of(&self, view: &PresenceView) -> Result<Arc<[u64]>, SyncError> {
        let user = UserNid::new(view.nid.get());
        if self.store.watches().last(user.watch()) <= view.rooms_at {
            return Ok(Arc::clone(&view.rooms));
        }
        Ok(joined(&self.memberships(user).await?.1).into())
    }

    /// Publishes the changes of these users in one commit.
    async fn publish_presence(&self, users: Vec<AccountNid>, own: Option<AccountNid>) -> Result<(), SyncError> {
        if users.is_empty() {
            return Ok(());
        }
        let presence = self.accounts.presence();
        let published = self.try_publish_presence(&users, own).await;
        if published.is_err() {
            presence.give_back(users);
        }
        published
    }

    async fn try_publish_presence(&self, users: &[AccountNid], own: Option<AccountNid>) -> Result<(), SyncError> {
        let (mut changes, mut loud) = (Vec::with_capacity(users.len()), HashSet::new());
        for user in users {
            let (rooms_at, known) = self.memberships(UserNid::new(user.get())).await?;
            let rooms: Arc<[u64]> = joined(&known).into();
            for room in &*rooms {
                if !loud.contains(room) && self.is_loud(*room).await? {
                    loud.insert(*room);
                }
            }
            changes.push(PresenceChange { user: *user, rooms, rooms_at });
        }
        let mut batch = Batch::default();
        self.accounts.presence().publish(&mut batch, changes);
        for room in loud {
            batch.touch(presence_watch_of_room(room));
        }
        if let Some(own) = own {
            batch.touch(presence_watch_of_user(own));
        }
        self.store.commit(batch).await?;
        Ok(())
    }

    async fn is_loud(&self, room: u64) -> Result<bool, SyncError> {
        Ok(self.rooms.view_of(RoomNid::new(room)).await?.joined <= LOUD_ROOM_MEMBERS_MAX)
    }
}

impl Syncer {
    /// A client says how its user is; others hear of it at once.
    ///
    /// # Errors
    /// When the status message is too long, or the store fails.
    pub async fn set_presence(
        &self,
        session: &Session,
        availability: Availability,
        status_msg: Option<&str>,
    ) -> Result<(), SyncError> {
        let presence = self.0.accounts.presence();
        presence.set(session, availability, status_msg)?;
        if presence.take_change(session.nid) {
            self.0.publish_presence(vec![session.nid], Some(session.nid)).await?;
        }
        Ok(())
    }

    /// Whether one user may see another's presence: their own, and that of whom they share a room with.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn sees_presence(&self, asker: AccountNid, user: AccountNid) -> Result<bool, SyncError> {
        if asker == user {
            return Ok(true);
        }
        let (_, own) = self.0.memberships(UserNid::new(asker.get())).await?;
        let (_, theirs) = self.0.memberships(UserNid::new(user.get())).await?;
        Ok(share_a_room(&joined(&own), &joined(&theirs)))
    }

    /// Publishes changes of presence as they come. To be spawned once; ends when the syncer is dropped or its store is
    /// closed, and keeps neither.
    pub fn run_presence(&self) -> impl Future<Output = ()> + Send + use<> {
        publish_changes(Arc::downgrade(&self.0))
    }
}

async fn publish_changes(syncer: Weak<Inner>) {
    let mut ticks = interval(PUBLISH_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // A full disk is told once, not every second.
    let mut failing = false;
    loop {
        ticks.tick().await;
        let Some(syncer) = syncer.upgrade() else { return };
        if !syncer.accounts.presence().is_enabled() {
            return;
        }
        let changes = syncer.accounts.presence().take_changes();
        match syncer.publish_presence(changes, None).await {
            Ok(()) => failing = false,
            Err(SyncError::Commit(CommitError::Closed)) => return,
            Err(_) if failing => {}
            Err(error) => {
                failing = true;
                tracing::warn!(%error, "changes of presence cannot be published");
            }
        }
    }
}

impl Hearing<'_> {
    fn hears_presence(&self) -> bool {
        self.syncer.accounts.presence().is_enabled() && self.filter.wants_presence()
    }

    /// What waiters for presence watch besides.
    pub(crate) fn presence_watched(&self, known: &Known, keys: &mut Vec<WatchKey>) {
        if self.hears_presence() {
            keys.push(presence_watch_of_user(self.session.nid));
            let joined = known.entries.iter().filter(|entry| entry.membership == Membership::Join);
            keys.extend(joined.map(|entry| presence_watch_of_room(entry.room.get())));
        }
    }

    /// Whether a change in a span is to be told at once.
    pub(crate) async fn has_loud_presence(&self, span: Span, known: &Known) -> Result<bool, SyncError> {
        let Some(since) = span.since else { return Ok(false) };
        if !self.hears_presence() || self.syncer.accounts.presence().newest_change() <= since {
            return Ok(false);
        }
        let watches = self.syncer.store.watches();
        let own = watches.last(presence_watch_of_user(self.session.nid)) > since;
        let mut loud_rooms: HashMap<u64, bool> = HashMap::new();
        let mine = joined(known);
        let changes = self.syncer.accounts.presence().changes(since, span.now, EXAMINED_MAX);
        for view in changes {
            if !self.is_told(&view) {
                continue;
            }
            if view.nid == self.session.nid {
                if own {
                    return Ok(true);
                }
                continue;
            }
            for room in &*self.syncer.rooms_of(&view).await? {
                if mine.binary_search(room).is_err() {
                    continue;
                }
                let loud = match loud_rooms.get(room) {
                    Some(loud) => *loud,
                    None => {
                        let loud = self.syncer.is_loud(*room).await?;
                        loud_rooms.insert(*room, loud);
                        loud
                    }
                };
                if loud {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn is_told(&self, view: &PresenceView) -> bool {
        !self.ignored.contains(&view.user) && self.filter.admits_presence(&view.user)
    }

    /// The presence that an answer tells: what changed in the span; where everything is news, who is there; who is there
    /// in rooms that the user has come into; and how those are who `came` to share a room, even if they are not there.
    pub(crate) async fn presence_news(
        &self,
        span: Span,
        known: &Known,
        came: &BTreeSet<UserNid>,
    ) -> Result<Events, SyncError> {
        let mut events = Events::default();
        if !self.hears_presence() {
            return Ok(events);
        }
        let presence = self.syncer.accounts.presence();
        let mine = joined(known);
        let mut told: BTreeMap<(Position, AccountNid), PresenceView> = BTreeMap::new();
        let candidates = match span.since {
            None => presence.present(EXAMINED_MAX),
            Some(since) if presence.newest_change() > since => presence.changes(since, span.now, EXAMINED_MAX),
            Some(_) => Vec::new(),
        };
        for view in candidates {
            if self.is_told(&view)
                && (view.nid == self.session.nid || share_a_room(&mine, &self.syncer.rooms_of(&view).await?))
            {
                told.insert((view.changed, view.nid), view);
            }
        }
        if span.since.is_none() {
            // One's own presence began with this sync, and is not published yet.
            let own = presence.of(self.session.nid).filter(|own| own.availability != Availability::Offline);
            if let Some(own) = own.filter(|own| self.is_told(own)) {
                told.insert((own.changed, own.nid), own);
            }
        } else {
            let came = known.entries.iter().filter(|entry| entry.membership == Membership::Join);
            let came = came.filter(|entry| span.has(entry.place.position()) && entry.place.position() <= span.now);
            let came: Vec<u64> = came.map(|entry| entry.room.get()).collect();
            if !came.is_empty() {
                for view in presence.present(EXAMINED_MAX) {
                    let rooms = self.syncer.rooms_of(&view).await?;
                    if self.is_told(&view) && came.iter().any(|room| rooms.binary_search(room).is_ok()) {
                        told.insert((view.changed, view.nid), view);
                    }
                }
            }
        }
        let limit = TOLD_MAX.min(self.filter.presence_limit());
        let absent = self.absent(came, &mut told).await?;
        let skipped = told.len().saturating_sub(limit);
        for view in told.values().skip(skipped) {
            tell(&mut events, view);
        }
        for user in absent.iter().take(limit.saturating_sub(told.len())) {
            tell_absent(&mut events, user);
        }
        Ok(events)
    }

    /// Adds how those are who `came` to share a room, where something is known of them; gives users of this server of
    /// whom nothing is.
    async fn absent(
        &self,
        came: &BTreeSet<UserNid>,
        told: &mut BTreeMap<(Position, AccountNid), PresenceView>,
    ) -> Result<Vec<OwnedUserId>, SyncError> {
        if came.len() > ABSENT_MAX {
            return Ok(Vec::new());
        }
        let mut unknown = Vec::new();
        let seen: HashSet<AccountNid> = told.keys().map(|(_, nid)| *nid).collect();
        for user in came {
            let nid = AccountNid::new(user.get());
            if seen.contains(&nid) {
                continue;
            }
            match self.syncer.accounts.presence().of(nid) {
                Some(view) if self.is_told(&view) => drop(told.insert((view.changed, nid), view)),
                Some(_) => {}
                None => unknown.push(*user),
            }
        }
        let mut unknown = self.syncer.rooms.user_ids(&unknown).await?;
        unknown.retain(|user| {
            let is_wanted = !self.ignored.contains(user) && self.filter.admits_presence(user);
            is_wanted && self.syncer.accounts.is_local(user)
        });
        Ok(unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::share_a_room;

    #[test]
    fn rooms_are_shared_whoever_has_more() {
        assert!(share_a_room(&[1, 5, 9], &[5]) && share_a_room(&[5], &[1, 5, 9]));
        assert!(!share_a_room(&[1, 5, 9], &[2, 6]) && !share_a_room(&[], &[1]) && !share_a_room(&[], &[]));
    }
}
