//! Looks whether those who are in rooms with a policy still may be: whenever roles or policies change, when a role or a
//! time of grace ends, at start, and from time to time.
//!
//! What is looked at is how things are now: somebody whose roles change several times is judged by what they have at the
//! end, so nobody is put out and let in again in one go. Whose roles changed is kept in the store until it was looked at.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use ruma::{OwnedUserId, UserId};
use serde::Serialize;
use tokio::time::sleep;
use wardroom_rooms::{Membership, NS_USER, RoomNid, RoomView, UserNid, WATCH_POLICIES};

use crate::{
    Care, CareError,
    alarms::AlarmKind,
    gate::policy_of,
    policy::{AccessPolicy, InviteRule, LossAction, RoomPolicy},
    service_user::actor,
    spaces::Who,
    tables::{DUE, WATCH_ROLES},
};

/// What is said to those who are put out.
const REASON: &str = "The room requires a role that you do not have (any more).";
/// Rooms, members and marks read at once.
const PAGE: usize = 1_000;
/// Users, or members of a room, that are looked at at once: what is written for them then shares commits.
const AT_ONCE: usize = 16;
/// The longest sleep: a clock that is set forward is noticed.
const SLEEP_MAX: Duration = Duration::from_secs(30);
/// How long to wait after a failure of the store.
const FAILURE_PAUSE: Duration = Duration::from_secs(5);

/// What came of looking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Revalidated {
    /// Rooms that were looked at.
    pub rooms: u64,
    /// Members of them.
    pub members: u64,
    /// Of those, the ones who do not meet their room's policy.
    pub unmet: u64,
    /// Of those, the ones who were put out.
    pub removed: u64,
}

/// What came of looking at a user, and the rooms of theirs in which powers come from roles.
type Touched = (Revalidated, Vec<RoomNid>);

impl Revalidated {
    fn and(mut self, other: Self) -> Self {
        self.rooms += other.rooms;
        self.members += other.members;
        self.unmet += other.unmet;
        self.removed += other.removed;
        self
    }
}

impl Care {
    /// Works until the server stops.
    pub async fn run(&self) {
        let inner = &*self.0;
        let mut changes = inner.store.watches().waiter([WATCH_ROLES, WATCH_POLICIES]);
        let mut everything_at_ms = 0;
        loop {
            let now_ms = inner.clock.now_ms();
            let everything = now_ms >= everything_at_ms;
            if everything {
                everything_at_ms = now_ms.saturating_add(inner.recheck_ms);
            }
            let looked =
                if everything { self.revalidate_all().await.map(drop) } else { self.revalidate_changed().await };
            if let Err(error) = looked {
                tracing::warn!(%error, "it could not be seen who may still be in rooms; trying again");
                everything_at_ms = 0;
                sleep(FAILURE_PAUSE).await;
                continue;
            }
            let by_itself = [inner.judge.roles().next_change_ms(), inner.judge.losses().next_end_ms()];
            let next_ms = by_itself.into_iter().flatten().fold(everything_at_ms, u64::min);
            let pause = Duration::from_millis(next_ms.saturating_sub(inner.clock.now_ms()));
            tokio::select! {
                () = changes.changed() => {}
                () = sleep(pause.min(SLEEP_MAX)) => {}
            }
        }
    }

    /// Looks at every member of every room with a policy.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn revalidate_all(&self) -> Result<Revalidated, CareError> {
        // Whose roles change from here on is looked at again afterwards.
        let due = self.0.store.marks(&DUE, PAGE).await?;
        let (mut found, mut after) = (Revalidated::default(), None);
        loop {
            let rooms = self.0.rooms.governed(after, PAGE).await?;
            for room in &rooms {
                found = found.and(self.revalidate_room(*room).await?);
            }
            match rooms.last() {
                Some(last) if rooms.len() == PAGE => after = Some(*last),
                _ => break,
            }
        }
        self.keep_all_spaces().await?;
        self.tell_losses_of(&due).await?;
        self.0.store.unmark(&DUE, &due).await?;
        Ok(found)
    }

    /// Looks at those whose roles changed, at rooms whose policy did, and at those whose time of grace ends.
    async fn revalidate_changed(&self) -> Result<(), CareError> {
        self.revalidate_users(self.0.judge.roles().changed_by_time()).await?;
        self.revalidate_changed_policies().await?;
        self.revalidate_arrivals().await?;
        for (room, user) in self.0.judge.losses().over(self.0.clock.now_ms()) {
            self.revalidate_one(room, &user).await?;
        }
        loop {
            let due = self.0.store.marks(&DUE, PAGE).await?;
            let users: Vec<UserNid> = due.iter().map(|(user, _)| *user).collect();
            self.revalidate_users(self.0.rooms.user_ids(&users).await?).await?;
            self.tell_losses_of(&due).await?;
            self.0.store.unmark(&DUE, &due).await?;
            if due.len() < PAGE {
                return Ok(());
            }
        }
    }

    /// Looks at the rooms of each of them, and at the spaces of their roles.
    async fn revalidate_users(&self, users: Vec<OwnedUserId>) -> Result<(), CareError> {
        self.keep_spaces_of(&users).await?;
        let looks = stream::iter(users).map(|user| async move { self.look_for(&user).await });
        let touched: Vec<Touched> = looks.buffer_unordered(AT_ONCE).try_collect().await?;
        let rooms: BTreeSet<RoomNid> = touched.into_iter().flat_map(|(_, rooms)| rooms).collect();
        for room in rooms {
            self.settle_powers(room).await?;
        }
        Ok(())
    }

    /// Looks at those who came to be in rooms since: another server may have let them in.
    async fn revalidate_arrivals(&self) -> Result<(), CareError> {
        loop {
            let arrivals = self.0.rooms.arrivals(PAGE).await?;
            let mut rooms = BTreeSet::new();
            for (room, user) in self.keep_arrivals(&arrivals).await? {
                if let Some(user) = self.0.rooms.user_ids(&[user]).await?.pop() {
                    self.revalidate_one(room, &user).await?;
                }
                rooms.insert(room);
            }
            for room in rooms {
                self.settle_powers(room).await?;
            }
            // Who could not be put out is looked at again with everybody else.
            self.0.rooms.arrivals_seen(&arrivals).await?;
            if arrivals.len() < PAGE {
                return Ok(());
            }
        }
    }

    /// Looks at rooms whose policy changed, or who may do what in them.
    async fn revalidate_changed_policies(&self) -> Result<(), CareError> {
        loop {
            let changes = self.0.rooms.changed_policies(PAGE).await?;
            for (room, _) in &changes {
                self.revalidate_room(*room).await?;
                self.see_removed_policy(*room).await?;
            }
            self.0.rooms.changes_seen(&changes).await?;
            if changes.len() < PAGE {
                return Ok(());
            }
        }
    }

    /// Looks at every member of a room.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn revalidate_room(&self, room: RoomNid) -> Result<Revalidated, CareError> {
        let view = self.0.rooms.view_of(room).await?;
        let policy = policy_of(&view).cloned();
        let mut found = Revalidated { rooms: 1, ..Revalidated::default() };
        match &policy {
            Some(RoomPolicy::Known(policy)) => {
                self.see_service_user(&view, policy).await?;
                for membership in [Membership::Join, Membership::Invite, Membership::Knock] {
                    found = found.and(self.revalidate_members(&view, policy, membership).await?);
                }
                if !policy.elsewhere {
                    self.see_successor(&view).await?;
                }
            }
            Some(RoomPolicy::Unknown { reason }) => {
                self.0.alarms.raise(AlarmKind::UnreadablePolicy, Some(&view.id), None, reason).await;
            }
            None => {}
        }
        self.settle_powers(room).await?;
        self.keep(room, Who::Everybody).await?;
        Ok(found)
    }

    async fn revalidate_members(
        &self,
        view: &Arc<RoomView>,
        policy: &AccessPolicy,
        membership: Membership,
    ) -> Result<Revalidated, CareError> {
        let (mut found, mut after) = (Revalidated::default(), None);
        loop {
            let members = self.0.rooms.members(view.nid, membership, after, PAGE).await?;
            let nids: Vec<u64> = members.iter().map(|user| user.get()).collect();
            let names = self.0.store.interner().resolve_many(NS_USER, &nids).await?;
            let mut named = Vec::with_capacity(members.len());
            for (nid, name) in members.iter().zip(names) {
                named.extend(name.and_then(|name| OwnedUserId::try_from(&*name).ok()).map(|user| (*nid, user)));
            }
            let looks = stream::iter(named)
                .map(|(nid, user)| async move { self.look_at(view, policy, (nid, &user), membership).await });
            let page: Vec<Revalidated> = looks.buffer_unordered(AT_ONCE).try_collect().await?;
            found = page.into_iter().fold(found, Revalidated::and);
            match members.last() {
                Some(last) if members.len() == PAGE => after = Some(*last),
                _ => return Ok(found),
            }
        }
    }

    /// Looks at a user's rooms, and at the spaces of their roles.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn revalidate_user(&self, user: &UserId) -> Result<Revalidated, CareError> {
        self.keep_spaces_of(&[user.to_owned()]).await?;
        let (found, rooms) = self.look_for(user).await?;
        for room in rooms {
            self.settle_powers(room).await?;
        }
        Ok(found)
    }

    /// Looks at a user's rooms, and names those in which powers come from roles.
    async fn look_for(&self, user: &UserId) -> Result<Touched, CareError> {
        let (mut found, mut rooms) = (Revalidated::default(), Vec::new());
        let Some(nid) = self.0.store.interner().lookup(NS_USER, user.as_str()).await?.map(UserNid::new) else {
            return Ok((found, rooms));
        };
        for entry in self.0.rooms.memberships(nid).await? {
            if matches!(entry.membership, Membership::Join | Membership::Invite | Membership::Knock) {
                found = found.and(self.revalidate_one(entry.room, user).await?);
                if policy_of(&*self.0.rooms.view_of(entry.room).await?).is_some_and(RoomPolicy::gives_powers) {
                    rooms.push(entry.room);
                }
            }
        }
        Ok((found, rooms))
    }

    pub(crate) async fn revalidate_one(&self, room: RoomNid, user: &UserId) -> Result<Revalidated, CareError> {
        let view = self.0.rooms.view_of(room).await?;
        let Some(nid) = self.0.store.interner().lookup(NS_USER, user.as_str()).await?.map(UserNid::new) else {
            return Ok(Revalidated::default());
        };
        let entry = self.0.rooms.membership(nid, room).await?;
        let there = entry
            .map(|entry| entry.membership)
            .filter(|membership| matches!(membership, Membership::Join | Membership::Invite | Membership::Knock));
        match (policy_of(&view), there) {
            (Some(RoomPolicy::Known(policy)), Some(membership)) => {
                self.look_at(&view, policy, (nid, user), membership).await
            }
            _ => {
                self.0.judge.losses().clear(room, (nid, user)).await?;
                Ok(Revalidated::default())
            }
        }
    }

    /// Looks at one member of a room, and does what the policy says where they do not meet it.
    async fn look_at(
        &self,
        room: &RoomView,
        policy: &AccessPolicy,
        user: (UserNid, &UserId),
        membership: Membership,
    ) -> Result<Revalidated, CareError> {
        let inner = &*self.0;
        let now_ms = inner.clock.now_ms();
        let mut found = Revalidated { members: 1, ..Revalidated::default() };
        let by_invitation = policy.invite == InviteRule::RoleOrInvite && membership != Membership::Knock;
        if by_invitation || inner.judge.admits(room.nid, user.1, policy) {
            inner.judge.losses().clear(room.nid, user).await?;
            return Ok(found);
        }
        found.unmet = 1;
        if inner.attestations.asks_first(user.1, room, policy) {
            return Ok(found);
        }
        let (action, grace_ms) = (policy.on_loss.action, policy.on_loss.grace_ms);
        let notifies = action == LossAction::Notify;
        if grace_ms > 0 || notifies {
            let noted = inner.judge.losses().note(room.nid, user, (now_ms, grace_ms)).await?;
            if notifies && noted.is_new {
                let sentence = "somebody in the room does not have the role that its policy requires";
                inner.alarms.raise(AlarmKind::RoleMissing, Some(&room.id), Some(user.1), sentence).await;
            }
            if now_ms < noted.since_ms.saturating_add(grace_ms) {
                return Ok(found);
            }
        }
        // Invitations and knocks of people without the role are worth nothing, whatever becomes of members.
        if action != LossAction::Kick && membership == Membership::Join {
            return Ok(found);
        }
        match self.remove(room, user).await {
            Ok(()) => {
                inner.judge.losses().clear(room.nid, user).await?;
                found.removed = 1;
            }
            Err(error) => {
                let sentence = format!("somebody without the role could not be put out: {error}");
                inner.alarms.raise(AlarmKind::CannotRemove, Some(&room.id), Some(user.1), &sentence).await;
            }
        }
        Ok(found)
    }

    /// Puts somebody out: this server's own users leave, whatever power anybody has.
    async fn remove(&self, room: &RoomView, (nid, user): (UserNid, &UserId)) -> Result<(), CareError> {
        if user.server_name() == self.0.service.id().server_name() {
            return Ok(self.0.rooms.leave(actor(user, nid), &room.id, Some(REASON.to_owned())).await?);
        }
        self.0.service.kick(room, user, REASON).await
    }
}
