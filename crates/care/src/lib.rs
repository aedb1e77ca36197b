//! What hospitals need: who may be in which room, by role.
//!
//! [`Roles`] knows who has which roles, from the hospital's directories and from administrators. [`CareGate`] answers the
//! one question of the rooms by them, where a room says that roles are required (`org.wardroom.access_policy`).
//! [`Care`] looks whether those who are in such rooms still may be.

mod access;
mod alarms;
mod attestations;
mod bot;
mod claims;
mod direct;
mod emergency;
mod error;
mod gate;
mod judge;
mod losses;
mod mappings;
mod policy;
mod powers;
mod revalidation;
mod role;
mod roles;
mod service_user;
mod spaces;
mod tables;
mod templates;
mod turns;
mod watching;

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
};

use ruma::OwnedUserId;
use wardroom_accounts::Accounts;
use wardroom_audit::AuditLog;
use wardroom_clock::SharedClock;
use wardroom_rooms::Rooms;
use wardroom_store::Store;

pub use self::{
    access::{Assessment, Standing},
    alarms::{Alarm, Alarms},
    attestations::{AttestTo, Attestation, Attestations, Attesters, Handed, ROLE_REVOKED, Received, Tellers, Unheard},
    claims::{ClaimRoles, ClaimRule},
    emergency::{
        BREAK_GLASS, EMERGENCIES_PER_HOUR_MAX, Emergency, EmergencyPage, EmergencyQuery, EmergencyReason, EndedWhy,
        NOTE_CHARS_MAX, PATIENT_REF_BYTES_MAX, REASON_TEXT_CHARS_MAX, Review, ReviewVerdict,
    },
    error::CareError,
    gate::CareGate,
    judge::Judge,
    mappings::{ALIASES_MAX, Alias, ROLES_PER_ALIAS_MAX, RoleMappings},
    policy::{
        ACCESS_POLICY, AccessPolicy, BreakGlass, InviteRule, LossAction, OnLoss, PowerRule, Required, RoomPolicy,
    },
    revalidation::Revalidated,
    role::{ROLE_BYTES_MAX, Requirement, Role, RoleError},
    roles::{Binding, Holder, REASON_BYTES_MAX, ROLES_PER_SOURCE_MAX, Replaced, Roles, Said, Source},
    spaces::{Inviter, NotInvited, SHOWN_OPT_OUTS_MAX, SPACES_MAX, ShownSpace, SpaceTexts},
    tables::TABLES,
    templates::{Template, Templates},
};
use self::{alarms::AlarmKind, service_user::ServiceUser};

/// What an operator decides.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The user that acts for the server in rooms.
    pub service_user: OwnedUserId,
    /// How that user is shown.
    pub display_name: String,
    /// How often everybody in rooms with a policy is looked at although nothing is known to have changed, in
    /// milliseconds.
    pub recheck_ms: u64,
    /// Of the users to whom a directory gives roles, how many it may take something away from at once, in percent.
    pub removal_percent_max: u8,
    /// Which roles of this server's users other servers are told.
    pub attest_to: Vec<AttestTo>,
}

/// Sees that those who are in rooms may be. Clones share everything.
#[derive(Clone, Debug)]
pub struct Care(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    clock: SharedClock,
    rooms: Rooms,
    accounts: Accounts,
    judge: Judge,
    attestations: Attestations,
    audit: AuditLog,
    /// Who tells other servers what is taken back.
    tellers: OnceLock<Arc<dyn Tellers>>,
    alarms: Alarms,
    service: ServiceUser,
    recheck_ms: u64,
    removal_percent_max: u8,
    /// Held while it is seen whether an emergency may begin, and written that it does.
    beginning: tokio::sync::Mutex<()>,
    /// Held while a direct chat is looked for and made, so that a user gets one.
    chatting: tokio::sync::Mutex<()>,
}

impl Care {
    /// Over the rooms whose gate was made with the same judge and attestations.
    pub fn new(
        store: Store,
        clock: SharedClock,
        (rooms, accounts): (Rooms, Accounts),
        (judge, attestations): (Judge, Attestations),
        audit: AuditLog,
        settings: Settings,
    ) -> Self {
        let alarms = Alarms::new(store.clone(), Arc::clone(&clock));
        let service = ServiceUser::new(settings.service_user, settings.display_name, accounts.clone(), rooms.clone());
        Self(Arc::new(Inner {
            store,
            clock,
            rooms,
            accounts,
            judge,
            attestations,
            audit,
            tellers: OnceLock::new(),
            alarms,
            service,
            recheck_ms: settings.recheck_ms,
            removal_percent_max: settings.removal_percent_max,
            beginning: tokio::sync::Mutex::default(),
            chatting: tokio::sync::Mutex::default(),
        }))
    }

    /// Who has which roles.
    pub fn roles(&self) -> &Roles {
        self.0.judge.roles()
    }

    /// What servers say to each other about roles.
    pub fn attestations(&self) -> &Attestations {
        &self.0.attestations
    }

    /// Says who tells other servers what is taken back. Counts the first time only.
    pub fn tell_by(&self, tellers: Arc<dyn Tellers>) {
        let _ = self.0.tellers.set(tellers);
    }

    /// Policies that new rooms get by themselves.
    pub fn templates(&self) -> &Templates {
        self.0.judge.templates()
    }

    /// Sets a policy that new rooms get by themselves, and what it says of how long messages are kept in those that have it.
    ///
    /// # Errors
    /// As [`Templates::set`].
    pub async fn set_template(&self, name: &str, template: Template) -> Result<(), CareError> {
        self.templates().set(name, template).await?;
        Ok(self.0.rooms.templates_changed().await?)
    }

    /// Takes such a policy away. Says whether there was one.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn remove_template(&self, name: &str) -> Result<bool, CareError> {
        let removed = self.templates().remove(name).await?;
        if removed {
            self.0.rooms.templates_changed().await?;
        }
        Ok(removed)
    }

    /// The time, in milliseconds since 1970.
    pub fn now_ms(&self) -> u64 {
        self.0.clock.now_ms()
    }

    /// What an administrator has to look at.
    pub fn alarms(&self) -> &Alarms {
        &self.0.alarms
    }

    /// Of the users to whom a source gives roles, how many it may take something away from at once, in percent.
    pub fn removal_percent_max(&self) -> u8 {
        self.0.removal_percent_max
    }

    /// Tells administrators that a source would take too much away.
    pub async fn tell_of_brake(&self, sentence: &str) {
        self.0.alarms.raise(AlarmKind::Brake, None, None, sentence).await;
    }

    /// Takes the whole list of a source. Where it would take too much away, the last good one stays and an administrator
    /// is told.
    ///
    /// # Errors
    /// As [`Roles::replace`].
    pub async fn take_list(&self, source: Source, list: HashMap<OwnedUserId, Said>) -> Result<Replaced, CareError> {
        let taken = self.0.judge.roles().replace(source, list, self.0.removal_percent_max).await;
        if let Err(error @ CareError::Brake { .. }) = &taken {
            let sentence = format!("the list of {} was not taken: {error}", source.name());
            self.tell_of_brake(&sentence).await;
        }
        taken
    }
    /// Tells an administrator that a source, by its name in the configuration, fails again and again.
    pub async fn source_failed(&self, name: &str, fault: &str) {
        let sentence = format!("the source \"{name}\" fails: {fault}; what it said last holds");
        self.0.alarms.raise_about_source(AlarmKind::SourceUnavailable, name, &sentence).await;
    }

    /// Takes that back: the source answers again.
    pub async fn source_answers(&self, name: &str) {
        match self.0.alarms.clear_about_source(AlarmKind::SourceUnavailable, name).await {
            Ok(true) => tracing::info!(source = name, "a source of roles answers again"),
            Ok(false) => {}
            Err(error) => tracing::error!(%error, "an alarm could not be taken away"),
        }
    }
}
