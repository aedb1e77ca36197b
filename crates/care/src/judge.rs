//! Whether somebody may be in a room: by its policy, and by what is known of them.

use ruma::{OwnedUserId, UserId};
use wardroom_clock::SharedClock;
use wardroom_rooms::RoomNid;
use wardroom_store::Store;

use crate::{
    CareError,
    emergency::{Grants, Pass},
    losses::Losses,
    policy::{AccessPolicy, BreakGlass},
    role::Role,
    roles::{Holder, Roles},
};

/// Knows what policies are decided by; all of it is in memory. Clones share everything.
#[derive(Clone, Debug)]
pub struct Judge {
    roles: Roles,
    losses: Losses,
    grants: Grants,
    clock: SharedClock,
    /// Who acts for the server in rooms: no policy keeps it out.
    service: OwnedUserId,
}

impl Judge {
    /// Reads what is known of everybody. `service` is the user that acts for the server in rooms.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn load(store: &Store, clock: SharedClock, service: OwnedUserId) -> Result<Self, CareError> {
        let roles = Roles::load(store.clone(), clock.clone()).await?;
        let losses = Losses::load(store.clone()).await?;
        let grants = Grants::load(store).await?;
        Ok(Self { roles, losses, grants, clock, service })
    }

    /// Who has which roles.
    pub fn roles(&self) -> &Roles {
        &self.roles
    }

    pub(crate) fn losses(&self) -> &Losses {
        &self.losses
    }

    /// The emergencies that go on.
    pub(crate) fn grants(&self) -> &Grants {
        &self.grants
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    /// Whether this is the user that acts for the server.
    pub(crate) fn is_service(&self, user: &UserId) -> bool {
        *user == *self.service
    }

    /// The roles of a user that count now, for a policy where there is one.
    pub(crate) fn counted<'a>(
        &self,
        holder: &'a Holder,
        _user: &UserId,
        _policy: Option<&AccessPolicy>,
    ) -> Vec<&'a Role> {
        holder.roles_at(self.now_ms())
    }

    /// Whether a user's roles are what a policy requires.
    pub(crate) fn meets(&self, user: &UserId, policy: &AccessPolicy) -> bool {
        self.is_service(user)
            || self
                .roles
                .of(user)
                .is_some_and(|holder| policy.require.is_met_by(&self.counted(&holder, user, Some(policy))))
    }

    /// Whether a room's policy lets a user be in it, by their roles or in an emergency.
    pub(crate) fn admits(&self, room: RoomNid, user: &UserId, policy: &AccessPolicy) -> bool {
        self.meets(user, policy) || self.pass(room, user, policy) == Pass::Open
    }

    /// What an emergency means now for somebody who does not meet a room's policy.
    pub(crate) fn pass(&self, room: RoomNid, user: &UserId, policy: &AccessPolicy) -> Pass {
        let allowed = policy.break_glass.is_some() && self.is_there(user);
        self.grants.pass(room, user, self.now_ms(), allowed)
    }

    /// How a user may come into a room with this policy in an emergency; none where they may not.
    pub(crate) fn break_glass<'a>(&self, user: &UserId, policy: &'a AccessPolicy) -> Option<&'a BreakGlass> {
        let rules = policy.break_glass.as_ref()?;
        let holder = self.roles.of(user)?;
        rules.who.is_met_by(&self.counted(&holder, user, Some(policy))).then_some(rules)
    }

    /// Whether no directory says that a user is not there any more.
    pub(crate) fn is_there(&self, user: &UserId) -> bool {
        self.roles.of(user).is_none_or(|holder| holder.is_active())
    }

    /// Whether somebody who lost what a room's policy requires may still stay for a while.
    pub(crate) fn is_in_grace(&self, room: RoomNid, user: &UserId, policy: &AccessPolicy) -> bool {
        self.losses.is_in_grace(room, user, policy.on_loss.grace_ms, self.now_ms())
    }
}
