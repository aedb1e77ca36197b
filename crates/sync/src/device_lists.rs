//! Whose devices the client has to ask for again, and whose it need not follow any more: section "End-to-End
//! Encryption", "Extensions to /sync" and `GET /keys/changes`.
//!
//! Sharing a room, encrypted or not, is what makes a user's devices the client's business. What changed is read from
//! the log of changes, whatever woke the sync; who came and went is read from the rooms that moved.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use futures_util::future::try_join_all;
use ruma::OwnedUserId;
use serde::Serialize;
use wardroom_accounts::{IgnoredUsers, Session};
use wardroom_rooms::{Membership, MembershipEntry, Place, RoomError, RoomNid, Root, Stored, UserNid};
use wardroom_store::Position;

use crate::{
    SyncError, SyncToken, Syncer,
    filter::Filter,
    hearing::{Hearing, Span},
    memberships::Known,
};

/// Users whose rooms are looked at one by one; for more of them the members of the listener's rooms are gone through.
const USERS_ONE_BY_ONE_MAX: usize = 64;
/// Members read at a time.
const MEMBERS_PAGE: usize = 10_000;
/// Rooms that are read at the same time.
const ROOMS_AT_ONCE: usize = 8;

/// `DeviceLists` of the [specification](https://spec.matrix.org/v1.19/client-server-api/#e2e-extensions-to-sync).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DeviceLists {
    /// Users whose devices or keys changed, and users who share a room now.
    pub changed: Vec<OwnedUserId>,
    /// Users who share no room any more.
    pub left: Vec<OwnedUserId>,
}

impl DeviceLists {
    /// There is nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.left.is_empty()
    }
}

/// Users who came to share a room, and who may have ceased to.
#[derive(Debug, Default)]
struct Movements {
    came: BTreeSet<UserNid>,
    went: BTreeSet<UserNid>,
}

impl Syncer {
    /// Whose devices changed, and who shares no room any more, between two syncs:
    /// [`GET /keys/changes`](https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3keyschanges). What
    /// happened behind `to` may be told too.
    pub async fn device_list_changes(
        &self,
        session: &Session,
        from: SyncToken,
        to: SyncToken,
    ) -> Result<DeviceLists, SyncError> {
        let syncer = &*self.0;
        let filter = Filter::new(Arc::default());
        let user = UserNid::new(session.nid.get());
        let (full_state, state_after, now_ms) = (false, false, syncer.clock.now_ms());
        // Whose devices changed is told whoever they are.
        let ignored = IgnoredUsers::default();
        let hearing = Hearing { syncer, session, user, filter: &filter, full_state, state_after, now_ms, ignored };
        let (now, known) = syncer.memberships(user).await?;
        let span = Span { since: Some(from.position()), now: to.position().min(now) };
        hearing.device_list_news(span, &known).await
    }
}

impl Hearing<'_> {
    /// What changed in a span; nothing where the client knows nothing yet.
    pub(crate) async fn device_list_news(&self, span: Span, known: &Known) -> Result<DeviceLists, SyncError> {
        Ok(self.people_news(span, known).await?.0)
    }

    /// As [`Self::device_list_news`], and the others who came to share a room.
    pub(crate) async fn people_news(
        &self,
        span: Span,
        known: &Known,
    ) -> Result<(DeviceLists, BTreeSet<UserNid>), SyncError> {
        let Some(since) = span.since.filter(|since| *since < span.now) else { return Ok(Default::default()) };
        let own: Vec<RoomNid> = joined(known).map(|entry| entry.room).collect();
        let accounts = &self.syncer.accounts;
        let log = accounts.device_list_changes(since, span.now).await?;
        let log: BTreeSet<UserNid> = log.into_iter().map(|user| UserNid::new(user.get())).collect();
        let Movements { mut came, went } = self.movements(span, since, known).await?;
        let mut changed = self.sharing(&log, &own).await?;
        if log.contains(&self.user) {
            changed.insert(self.user);
        }
        if self.moved(self.user.watch(), span) {
            let signed = accounts.signed_users(self.session.nid, since, span.now).await?;
            changed.extend(signed.into_iter().map(|user| UserNid::new(user.get())));
        }
        let still = self.sharing(&went, &own).await?;
        came.remove(&self.user);
        changed.extend(&came);
        let left = went.difference(&still).filter(|user| **user != self.user && !changed.contains(user));
        let left: Vec<UserNid> = left.copied().collect();
        let changed: Vec<UserNid> = changed.into_iter().collect();
        let rooms = &self.syncer.rooms;
        let lists = DeviceLists { changed: rooms.user_ids(&changed).await?, left: rooms.user_ids(&left).await? };
        Ok((lists, came))
    }

    /// Who came to the listener's rooms or left them, and with whom the listener came together or parted by coming or
    /// leaving.
    async fn movements(&self, span: Span, since: Position, known: &Known) -> Result<Movements, SyncError> {
        let mut all = Movements::default();
        let moved: Vec<&MembershipEntry> = known.entries.iter().filter(|entry| self.may_move(entry, span)).collect();
        for entries in moved.chunks(ROOMS_AT_ONCE) {
            for part in try_join_all(entries.iter().map(|entry| self.movements_in(entry, span, since))).await? {
                all.came.extend(part.came);
                all.went.extend(part.went);
            }
            tokio::task::consume_budget().await;
        }
        Ok(all)
    }

    fn may_move(&self, entry: &MembershipEntry, span: Span) -> bool {
        let changed = span.has(entry.place.position());
        match entry.membership {
            Membership::Join => changed || self.moved(entry.room.members_watch(), span),
            Membership::Leave | Membership::Ban => changed && entry.was_joined,
            Membership::Invite | Membership::Knock => changed && entry.was_joined,
        }
    }

    async fn movements_in(&self, entry: &MembershipEntry, span: Span, since: Position) -> Result<Movements, SyncError> {
        let rooms = &self.syncer.rooms;
        let view = match rooms.view_of(entry.room).await {
            // It was deleted: who was in it is not known any more.
            Err(RoomError::NoSuchRoom) => return Ok(Movements::default()),
            view => view?,
        };
        let before = rooms.state_before(&view, Place::after(since)).await?;
        let changed = span.has(entry.place.position());
        let was_in = !changed || (entry.was_joined && self.was_joined(entry.room, before).await?);
        let is_in = entry.membership == Membership::Join;
        let mut found = Movements::default();
        match (was_in, is_in) {
            (false, false) => {}
            // Everybody there is new to the listener.
            (false, true) => found.came = self.members_of(entry.room).await?,
            (true, true) => {
                let after = rooms.state_before(&view, Place::after(span.now)).await?;
                (found.came, found.went) = self.comings_and_goings(entry.room, span, before, after).await?;
                // Who left and came back may have met others in between.
                if changed {
                    found.came = self.members_of(entry.room).await?;
                }
            }
            (true, false) => {
                let (came, went) = self.comings_and_goings(entry.room, span, before, view.state).await?;
                found.went = self.members_of(entry.room).await?;
                // Whoever came after the listener was gone never shared the room.
                found.went.retain(|user| !came.contains(user));
                found.went.extend(went);
            }
        }
        Ok(found)
    }

    async fn was_joined(&self, room: RoomNid, state: Root) -> Result<bool, SyncError> {
        let member = self.own_member_event(room, state).await?;
        Ok(member.is_some_and(|member| is_join(&member)))
    }

    /// Who is in the room or asked in in the second state and was not in the first, or came back in between, and who was
    /// and is not any more. Whoever is asked in counts since clients encrypt for them where they will see what is sent.
    async fn comings_and_goings(
        &self,
        room: RoomNid,
        span: Span,
        before: Root,
        after: Root,
    ) -> Result<(BTreeSet<UserNid>, BTreeSet<UserNid>), SyncError> {
        let (mut came, mut went) = (BTreeSet::new(), BTreeSet::new());
        if before == after {
            return Ok((came, went));
        }
        let rooms = &self.syncer.rooms;
        for change in rooms.state_difference(room, before, after).await? {
            let Some(user) = change.slot.user() else { continue };
            let mut memberships = [None, None];
            for (membership, event) in memberships.iter_mut().zip([change.old, change.new]) {
                if let Some(event) = event {
                    *membership = rooms.events(room, &[event]).await?.first().and_then(|stored| membership_of(stored));
                }
            }
            let counts = |membership: Option<Membership>| {
                membership.is_some_and(|membership| matches!(membership, Membership::Join | Membership::Invite))
            };
            match memberships {
                [Some(Membership::Join), Some(Membership::Join)] => {
                    let entry = rooms.membership(user, room).await?;
                    if entry.is_some_and(|entry| span.has(entry.place.position())) {
                        came.insert(user);
                    }
                }
                [_, Some(Membership::Join)] => {
                    came.insert(user);
                }
                [old, new] if !counts(old) && counts(new) => {
                    came.insert(user);
                }
                [old, new] if counts(old) && !counts(new) => {
                    went.insert(user);
                }
                _ => {}
            }
        }
        Ok((came, went))
    }

    async fn members_of(&self, room: RoomNid) -> Result<BTreeSet<UserNid>, SyncError> {
        let mut members = BTreeSet::new();
        let mut after = None;
        loop {
            let page = self.syncer.rooms.members(room, Membership::Join, after, MEMBERS_PAGE).await?;
            after = page.last().copied();
            let is_last = page.len() < MEMBERS_PAGE;
            members.extend(page);
            if is_last {
                return Ok(members);
            }
            tokio::task::consume_budget().await;
        }
    }

    /// Those of the users who share one of the rooms now.
    async fn sharing(&self, users: &BTreeSet<UserNid>, own: &[RoomNid]) -> Result<BTreeSet<UserNid>, SyncError> {
        let mut sharing = BTreeSet::new();
        if users.is_empty() || own.is_empty() {
            return Ok(sharing);
        }
        if users.len() <= USERS_ONE_BY_ONE_MAX {
            let own: HashSet<RoomNid> = own.iter().copied().collect();
            for user in users {
                let theirs = self.syncer.rooms.memberships(*user).await?;
                if theirs.iter().any(|entry| entry.membership == Membership::Join && own.contains(&entry.room)) {
                    sharing.insert(*user);
                }
            }
            return Ok(sharing);
        }
        for room in own {
            let members = self.members_of(*room).await?;
            sharing.extend(users.intersection(&members).copied());
            if sharing.len() == users.len() {
                break;
            }
        }
        Ok(sharing)
    }
}

fn joined(known: &Known) -> impl Iterator<Item = &MembershipEntry> {
    known.entries.iter().filter(|entry| entry.membership == Membership::Join)
}

fn membership_of(member: &Stored) -> Option<Membership> {
    member.pdu.membership().as_ref().map(Membership::from)
}

fn is_join(member: &Stored) -> bool {
    membership_of(member) == Some(Membership::Join)
}
