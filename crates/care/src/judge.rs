//! Whether somebody may be in a room: by its policy, and by what is known of them.

use ruma::{OwnedUserId, ServerName, UserId};
use wardroom_audit::AuditLog;
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
    spaces::{RoleSpace, Spaces},
    templates::Templates,
};

/// Knows what policies are decided by; all of it is in memory. Clones share everything.
#[derive(Clone, Debug)]
pub struct Judge {
    roles: Roles,
    losses: Losses,
    grants: Grants,
    spaces: Spaces,
    templates: Templates,
    clock: SharedClock,
    /// Who acts for the server in rooms: no policy keeps it out.
    service: OwnedUserId,
}

impl Judge {
    /// Reads what is known of everybody. `service` is the user that acts for the server in rooms.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn load(
        store: &Store,
        clock: SharedClock,
        audit: AuditLog,
        service: OwnedUserId,
    ) -> Result<Self, CareError> {
        let roles = Roles::load(store.clone(), clock.clone(), audit.clone()).await?;
        let losses = Losses::load(store.clone()).await?;
        let grants = Grants::load(store).await?;
        let spaces = Spaces::load(store.clone()).await?;
        let templates = Templates::load(store, audit).await?;
        Ok(Self { roles, losses, grants, spaces, templates, clock, service })
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

    /// Which roles are spaces.
    pub(crate) fn spaces(&self) -> &Spaces {
        &self.spaces
    }

    /// Whether a user has the role of a space, whose members are those who have it.
    pub(crate) fn belongs_to(&self, user: &UserId, space: &RoleSpace) -> bool {
        let holder = self.roles.of(user).filter(|_| space.on);
        holder.is_some_and(|holder| {
            holder.roles_at(self.now_ms()).into_iter().any(|role| space.requirement.is_met_by(role))
        })
    }

    pub(crate) fn templates(&self) -> &Templates {
        &self.templates
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    pub(crate) fn service(&self) -> &UserId {
        &self.service
    }

    /// Whether this is the user that acts for the server.
    pub(crate) fn is_service(&self, user: &UserId) -> bool {
        *user == *self.service
    }

    /// The name of this server.
    pub(crate) fn server(&self) -> &ServerName {
        self.service.server_name()
    }

    /// The roles of a user that count now, for a policy where there is one: of those that the user's server attests, the
    /// ones that the policy lets it vouch for.
    pub(crate) fn counted<'a>(
        &self,
        holder: &'a Holder,
        user: &UserId,
        policy: Option<&AccessPolicy>,
    ) -> Vec<&'a Role> {
        let now_ms = self.now_ms();
        let mut counted = holder.roles_at(now_ms);
        // Nobody else knows better than this server who its own users are.
        if user.server_name() == self.server() {
            return counted;
        }
        let mut attested = holder.attested_at(now_ms);
        if let Some(policy) = policy {
            attested.retain(|role| policy.lets_vouch(user.server_name(), role));
        }
        counted.append(&mut attested);
        counted
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
        self.is_judged_elsewhere(user, policy)
            || self.meets(user, policy)
            || self.pass(room, user, policy) == Pass::Open
    }

    /// What an emergency means now for somebody who does not meet a room's policy.
    pub(crate) fn pass(&self, room: RoomNid, user: &UserId, policy: &AccessPolicy) -> Pass {
        let allowed = policy.break_glass.is_some() && self.is_there(user);
        self.grants.pass(room, user, self.now_ms(), allowed)
    }

    /// How a user may come into a room with this policy in an emergency; none where they may not.
    pub(crate) fn break_glass<'a>(&self, user: &UserId, policy: &'a AccessPolicy) -> Option<&'a BreakGlass> {
        // What another server says may be is asked of that one.
        let rules = policy.break_glass.as_ref().filter(|_| !policy.elsewhere)?;
        let holder = self.roles.of(user)?;
        rules.who.is_met_by(&self.counted(&holder, user, Some(policy))).then_some(rules)
    }

    /// Whether no directory says that a user is not there any more.
    pub(crate) fn is_there(&self, user: &UserId) -> bool {
        self.roles.of(user).is_none_or(|holder| holder.is_active())
    }

    /// Whether it is for another server to say whether this user may be in the room.
    pub(crate) fn is_judged_elsewhere(&self, user: &UserId, policy: &AccessPolicy) -> bool {
        policy.elsewhere && user.server_name() != self.service.server_name()
    }

    /// Whether somebody who lost what a room's policy requires may still stay for a while.
    pub(crate) fn is_in_grace(&self, room: RoomNid, user: &UserId, policy: &AccessPolicy) -> bool {
        self.losses.is_in_grace(room, user, policy.on_loss.grace_ms, self.now_ms())
    }
}
