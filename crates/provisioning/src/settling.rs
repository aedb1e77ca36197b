//! What follows from a change: locks, names and roles of users. Each is due in the store until it is done.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use tracing::warn;
use wardroom_accounts::{Moderation, Profile, User, UserNid};
use wardroom_care::{Binding, CareError, REASON_BYTES_MAX, Said, Source};
use wardroom_rooms::{MemberProfile, Membership, ProfileSource};
use wardroom_store::{Batch, Packed, Scan};

use crate::{
    Provisioning, ScimError,
    resources::Stored,
    rules::roles_of,
    schema::ResourceKind,
    tables::{DUE, OWNERS, OwnerRow},
    users::{is_active, shown_name},
};

/// Users for whom one step does what is due.
const USERS_PER_STEP: usize = 500;
/// How long after a failure it is tried again.
const AGAIN_AFTER: Duration = Duration::from_secs(30);
/// Who says so, in the roles of users.
const SET_BY: &str = "scim";

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Lock, name and roles.
    All,
    /// Roles.
    Roles,
}

impl Due {
    /// In keys: never given to another.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::All => 1,
            Self::Roles => 2,
        }
    }
}

impl Provisioning {
    /// Does what a crash or a failure left undone, as long as the server runs.
    pub async fn run(self) {
        let mut period = tokio::time::interval(AGAIN_AFTER);
        let mut changes = self.0.care.roles().mappings().changes();
        let mut by_these_rules = false;
        loop {
            tokio::select! {
                _ = period.tick() => {}
                Ok(()) = changes.changed() => by_these_rules = false,
            }
            let _alone = self.0.changing.lock().await;
            if !by_these_rules {
                match self.apply_rules().await {
                    // A brake holds until the directory says something else: administrators are told.
                    Ok(()) | Err(ScimError::Care(CareError::Brake { .. })) => by_these_rules = true,
                    Err(error) => warn!(%error, "the rules for roles are not applied to all users yet"),
                }
            }
            if let Err(error) = self.settle_what_is_left().await {
                warn!(%error, "changes of the directory are not in force for all users yet");
            }
        }
    }

    /// Applies the rules of the configuration, which may have changed while the server was down, and the aliases to
    /// everybody. Where they
    /// would take too much away at once, the last roles stay and administrators are told.
    async fn apply_rules(&self) -> Result<(), ScimError> {
        let (mut list, mut groups, mut scan) = (HashMap::new(), HashMap::new(), Scan::all());
        loop {
            let owners = self.0.store.latest().scan_keys(&OWNERS, scan.limit(USERS_PER_STEP)).await?;
            for nid in &owners {
                if let Some(user) = self.0.accounts.user_by_nid(UserNid::new(*nid)).await? {
                    let said = self.settle_user(Due::Roles, &user, &mut groups).await?;
                    list.insert(user.id, said);
                }
            }
            match owners.last() {
                Some(last) if owners.len() == USERS_PER_STEP => scan = Scan::all().after(last),
                _ => break,
            }
        }
        self.0.care.take_list(Source::Scim, list).await?;
        Ok(())
    }

    async fn settle_what_is_left(&self) -> Result<(), ScimError> {
        loop {
            let rows = self.0.store.latest().scan_keys(&DUE, Scan::all().limit(USERS_PER_STEP)).await?;
            let of = |due: Due| rows.iter().filter(move |(_, code)| *code == due.code()).map(|(user, _)| *user);
            for due in [Due::All, Due::Roles] {
                let users: Vec<u64> = of(due).collect();
                self.settle(due, &users).await?;
            }
            if rows.len() < USERS_PER_STEP {
                return Ok(());
            }
        }
    }

    /// Notes that something is due.
    pub(crate) async fn due(&self, due: Due, users: &[u64]) -> Result<(), ScimError> {
        let mut batch = Batch::default();
        for user in users {
            batch.put(&DUE, &(*user, due.code()), &());
        }
        self.0.store.commit(batch).await?;
        Ok(())
    }

    /// Does what is due for these users.
    pub(crate) async fn settle(&self, due: Due, users: &[u64]) -> Result<(), ScimError> {
        let mut groups = HashMap::new();
        for part in users.chunks(USERS_PER_STEP) {
            let mut said = Vec::with_capacity(part.len());
            let mut done = Batch::default();
            for nid in part {
                if let Some(user) = self.0.accounts.user_by_nid(UserNid::new(*nid)).await? {
                    said.push((user.id.clone(), self.settle_user(due, &user, &mut groups).await?));
                }
                done.delete(&DUE, &(*nid, due.code()));
            }
            self.0.care.roles().say_all(Source::Scim, said).await?;
            self.0.store.commit(done).await?;
        }
        Ok(())
    }

    /// Does what is due for one user but the roles, and tells these.
    async fn settle_user(
        &self,
        due: Due,
        user: &User,
        groups: &mut HashMap<u64, Option<String>>,
    ) -> Result<Said, ScimError> {
        let owner = self.0.store.latest().get(&OWNERS, &user.nid.get()).await?;
        let owner = owner.map(|Packed(owner)| owner).unwrap_or_default();
        let resource = match owner.resource {
            Some(id) => self.stored(ResourceKind::User, id).await?,
            None => None,
        };
        let resource = resource.filter(|resource| is_active(&resource.row.attributes));
        if due == Due::All && !user.deactivated {
            match &resource {
                Some(resource) => {
                    self.let_in(user, owner).await?;
                    self.name(user, resource).await?;
                }
                None => self.shut_out(user, owner).await?,
            }
        }
        match resource {
            Some(resource) => self.said_of(user, &resource, groups).await,
            None => Ok(Said { active: Some(false), bindings: Vec::new() }),
        }
    }

    /// Ends all access of a user: no token is good any more, and none is given out.
    async fn shut_out(&self, user: &User, owner: OwnerRow) -> Result<(), ScimError> {
        let accounts = &self.0.accounts;
        let Moderation { locked, .. } = accounts.moderation(&user.id).await?.unwrap_or_default();
        if !owner.locked_here && !locked {
            // Before the lock: after a crash in between it is the directory's all the same.
            self.note_lock(user, OwnerRow { locked_here: true, ..owner }).await?;
        }
        if !locked {
            accounts.moderate(&user.id, |moderation| moderation.locked = true).await?;
        }
        accounts.logout_all(user.nid).await?;
        self.leave_rooms(user).await
    }

    /// Takes back the directory's own lock, not an administrator's.
    async fn let_in(&self, user: &User, owner: OwnerRow) -> Result<(), ScimError> {
        if owner.locked_here {
            self.0.accounts.moderate(&user.id, |moderation| moderation.locked = false).await?;
            self.note_lock(user, OwnerRow { locked_here: false, ..owner }).await?;
        }
        Ok(())
    }

    async fn note_lock(&self, user: &User, owner: OwnerRow) -> Result<(), ScimError> {
        let mut batch = Batch::default();
        batch.put(&OWNERS, &user.nid.get(), &Packed(owner));
        self.0.store.commit(batch).await?;
        Ok(())
    }

    /// Has the user shown by the name that the directory knows.
    async fn name(&self, user: &User, resource: &Stored) -> Result<(), ScimError> {
        let Some(name) = shown_name(&resource.row.attributes) else { return Ok(()) };
        let profile = self.0.accounts.profile(&user.id).await?.unwrap_or_default();
        if profile.displayname.as_deref() == Some(&*name) {
            return Ok(());
        }
        self.0.accounts.set_displayname(&user.id, Some(&name)).await?;
        let memberships = self.0.rooms.memberships(wardroom_rooms::UserNid::new(user.nid.get())).await?;
        let joined = memberships.into_iter().filter(|entry| entry.membership == Membership::Join);
        let joined: Vec<_> = joined.map(|entry| entry.room).collect();
        let (accounts, id) = (self.0.accounts.clone(), user.id.clone());
        let current: ProfileSource = Arc::new(move || {
            let (accounts, id) = (accounts.clone(), id.clone());
            async move {
                let Profile { displayname, avatar_url } = accounts.profile(&id).await.ok().flatten()?;
                Some(MemberProfile { displayname, avatar_url })
            }
            .boxed()
        });
        let (rooms, user) = (self.0.rooms.clone(), user.id.clone());
        tokio::spawn(async move {
            if let Err(error) = rooms.carry_profile(&user, &joined, &current).await {
                warn!(%error, "a profile could not be carried into all rooms");
            }
        });
        Ok(())
    }

    /// What the directory says of an active user.
    async fn said_of(
        &self,
        user: &User,
        resource: &Stored,
        groups: &mut HashMap<u64, Option<String>>,
    ) -> Result<Said, ScimError> {
        let memberships = self.linked(ResourceKind::User, resource.id).await?;
        for id in &memberships {
            if !groups.contains_key(id) {
                let group = self.stored(ResourceKind::Group, *id).await?;
                let name = group.and_then(|group| Some(group.row.attributes.get("displayName")?.as_str()?.to_owned()));
                groups.insert(*id, name);
            }
        }
        let names: Vec<&str> = memberships.iter().filter_map(|id| groups.get(id)?.as_deref()).collect();
        let settings = &self.0.settings;
        let rules = (&*settings.rules, settings.accept_canonical_roles);
        let mappings = self.0.care.roles().mappings();
        let mapped = |name: &str| mappings.roles_of(Source::Scim, name);
        let roles = roles_of(&resource.row.attributes, &names, rules, mapped);
        let holder = self.0.care.roles().of(&user.id);
        let before = holder.as_ref().and_then(|holder| holder.said().find(|(source, _)| *source == Source::Scim));
        let before = before.map_or(&[][..], |(_, said)| &said.bindings);
        let now_ms = self.0.clock.now_ms();
        let binding = |(role, mut reason): (wardroom_care::Role, String)| {
            reason.truncate(reason.floor_char_boundary(REASON_BYTES_MAX));
            // A role that stays is the same as before.
            let set_ms = before.iter().find(|known| known.role == role && known.reason == reason);
            let set_ms = set_ms.map_or(now_ms, |known| known.set_ms);
            Binding { role, from_ms: None, until_ms: None, reason, set_by: SET_BY.to_owned(), set_ms }
        };
        Ok(Said { active: Some(true), bindings: roles.into_iter().map(binding).collect() })
    }
}
