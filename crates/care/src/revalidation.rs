//! Looks whether those who are in rooms with a policy still may be: whenever roles or policies change, when a role or a
//! time of grace ends, at start, and from time to time.
//!
//! What is looked at is how things are now: somebody whose roles change several times is judged by what they have at the
//! end, so nobody is put out and let in again in one go. Whose roles changed is kept in the store until it was looked at.

use std::{sync::Arc, time::Duration};

use ruma::{OwnedUserId, UserId};
use serde::Serialize;
use tokio::time::sleep;
use wardroom_rooms::{Membership, NS_USER, RoomNid, RoomView, UserNid, WATCH_POLICIES};
use wardroom_store::{Batch, Scan};

use crate::{
    Care, CareError,
    alarms::AlarmKind,
    gate::policy_of,
    policy::{AccessPolicy, InviteRule, LossAction, RoomPolicy},
    service_user::actor,
    tables::{DUE, WATCH_ROLES},
};

/// What is said to those who are put out.
const REASON: &str = "The room requires a role that you do not have (any more).";
/// Rooms and members read at once.
const PAGE: usize = 1_000;
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

impl Revalidated {
    fn add(&mut self, other: Self) {
        self.rooms += other.rooms;
        self.members += other.members;
        self.unmet += other.unmet;
        self.removed += other.removed;
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
            let next_ms =
                inner.judge.roles().next_change_ms().map_or(everything_at_ms, |next_ms| next_ms.min(everything_at_ms));
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
        let due = self.due().await?;
        let (mut found, mut after) = (Revalidated::default(), None);
        loop {
            let rooms = self.0.rooms.governed(after, PAGE).await?;
            for room in &rooms {
                found.add(self.revalidate_room(*room).await?);
            }
            match rooms.last() {
                Some(last) if rooms.len() == PAGE => after = Some(*last),
                _ => break,
            }
        }
        self.done(due).await?;
        Ok(found)
    }

    /// Looks at those whose roles changed, at rooms whose policy did, and at those whose time of grace ends.
    async fn revalidate_changed(&self) -> Result<(), CareError> {
        for user in self.0.judge.roles().changed_by_time() {
            self.revalidate_user(&user).await?;
        }
        self.revalidate_changed_policies().await?;
        self.revalidate_arrivals().await?;
        for (room, user) in self.0.judge.losses().all() {
            self.revalidate_one(room, &user).await?;
        }
        loop {
            let due = self.due().await?;
            if due.is_empty() {
                return Ok(());
            }
            for (user, _) in &due {
                if let Some(user) = self.0.rooms.user_ids(&[*user]).await?.pop() {
                    self.revalidate_user(&user).await?;
                }
            }
            self.done(due).await?;
        }
    }

    /// Looks at those who came to be in rooms since: another server may have let them in.
    async fn revalidate_arrivals(&self) -> Result<(), CareError> {
        loop {
            let arrivals = self.0.rooms.arrivals(PAGE).await?;
            for (room, user) in &arrivals {
                let id = self.0.rooms.user_ids(&[*user]).await?.pop();
                if let Some(id) = id {
                    self.revalidate_one(*room, &id).await?;
                }
                // Who could not be put out is looked at again with everybody else.
                self.0.rooms.arrival_seen(*room, *user).await?;
            }
            if arrivals.len() < PAGE {
                return Ok(());
            }
        }
    }

    /// Users whose roles changed, with the mark that says so.
    async fn due(&self) -> Result<Vec<(UserNid, wardroom_store::Position)>, CareError> {
        let view = self.0.store.latest();
        let mut due = Vec::new();
        for user in view.scan_keys(&DUE, Scan::all().limit(PAGE)).await? {
            due.extend(view.get_versioned(&DUE, &user).await?.map(|((), version)| (user, version)));
        }
        Ok(due)
    }

    /// Takes the marks away, but for those that were set again in the meantime.
    async fn done(&self, due: Vec<(UserNid, wardroom_store::Position)>) -> Result<(), CareError> {
        for (user, version) in due {
            let mut batch = Batch::default();
            batch.expect_version(&DUE, &user, Some(version));
            batch.delete(&DUE, &user);
            match self.0.store.commit(batch).await {
                Ok(_) | Err(wardroom_store::CommitError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    async fn revalidate_changed_policies(&self) -> Result<(), CareError> {
        let mut after = None;
        loop {
            let rooms = self.0.rooms.governed(after, PAGE).await?;
            for room in &rooms {
                let view = self.0.rooms.view_of(*room).await?;
                let now = policy_of(&view).cloned();
                let changed = self.0.seen.lock().get(room) != now.as_ref();
                if changed {
                    self.revalidate_room(*room).await?;
                }
            }
            match rooms.last() {
                Some(last) if rooms.len() == PAGE => after = Some(*last),
                _ => return Ok(()),
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
                if policy.on_loss.action == LossAction::Kick
                    && let Err(error) = self.0.service.enter(&view).await
                {
                    let sentence = format!("the server's own user has no power in the room: {error}");
                    let kind = AlarmKind::ServiceUserWithoutPower;
                    self.0.alarms.raise(kind, Some(&view.id), None, &sentence).await;
                }
                for membership in [Membership::Join, Membership::Invite, Membership::Knock] {
                    found.add(self.revalidate_members(&view, policy, membership).await?);
                }
            }
            Some(RoomPolicy::Unknown { reason }) => {
                self.0.alarms.raise(AlarmKind::UnreadablePolicy, Some(&view.id), None, reason).await;
            }
            None => {}
        }
        let mut seen = self.0.seen.lock();
        match policy {
            Some(policy) => seen.insert(room, policy),
            None => seen.remove(&room),
        };
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
            for (nid, name) in members.iter().zip(names) {
                let Some(user) = name.and_then(|name| OwnedUserId::try_from(&*name).ok()) else { continue };
                found.add(self.look_at(view, policy, (*nid, &user), membership).await?);
            }
            match members.last() {
                Some(last) if members.len() == PAGE => after = Some(*last),
                _ => return Ok(found),
            }
        }
    }

    /// Looks at a user's rooms.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn revalidate_user(&self, user: &UserId) -> Result<Revalidated, CareError> {
        let mut found = Revalidated::default();
        let Some(nid) = self.0.store.interner().lookup(NS_USER, user.as_str()).await?.map(UserNid::new) else {
            return Ok(found);
        };
        for entry in self.0.rooms.memberships(nid).await? {
            if matches!(entry.membership, Membership::Join | Membership::Invite | Membership::Knock) {
                found.add(self.revalidate_one(entry.room, user).await?);
            }
        }
        Ok(found)
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
        let since_ms = inner.judge.losses().note(room.nid, user, now_ms).await?;
        if policy.on_loss.action == LossAction::Notify {
            let sentence = "somebody in the room does not have the role that its policy requires";
            inner.alarms.raise(AlarmKind::RoleMissing, Some(&room.id), Some(user.1), sentence).await;
        }
        // Invitations and knocks of people without the role are worth nothing, whatever becomes of members.
        let goes = policy.on_loss.action == LossAction::Kick || membership != Membership::Join;
        if !goes || now_ms < since_ms.saturating_add(policy.on_loss.grace_ms) {
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
