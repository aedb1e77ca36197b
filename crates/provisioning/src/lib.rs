//! The hospital's directory, which pushes users, groups and roles (SCIM 2.0: RFC 7643, RFC 7644).
//!
//! Resources are kept as the directory sends them, as far as the schema knows them ([`ResourceKind`]). Each user
//! resource belongs to one user of this server, who is made when there is none. What follows from a change (a name, a
//! lock, roles) is noted as due in the same batch as the change, done at once, and done again after a crash until it is
//! done ([`Provisioning::run`]).
//!
//! Invariants:
//! - Changes of resources are made one after the other.
//! - A user of this server belongs to one resource at most, and a name to one resource.
//! - `MEMBERS` and `MEMBER_OF` hold the same pairs, and only of resources that exist.
//!
//! Absent on purpose: bulk requests, groups within groups, passwords, and whatever a chat does not need (addresses,
//! photos).

mod error;
mod filter;
mod groups;
mod leavers;
mod listing;
mod patch;
mod query;
mod resources;
mod rules;
mod schema;
mod settling;
mod tables;
mod users;

use std::{fmt, sync::Arc};

use serde_json::{Value, json};
use tokio::sync::{Mutex, Semaphore};
use wardroom_accounts::Accounts;
use wardroom_care::{Care, Source};
use wardroom_clock::SharedClock;
use wardroom_rooms::Rooms;
use wardroom_store::Store;

pub use self::{
    error::ScimError,
    filter::{Comparison, FILTER_BYTES_MAX, FILTER_DEPTH_MAX, FILTER_TERMS_MAX, Filter, Name},
    groups::GROUP_MEMBERS_MAX,
    listing::Page,
    patch::OPERATIONS_MAX,
    query::{COUNT_DEFAULT, COUNT_MAX, Query, Shown},
    rules::{LocalpartRule, RoleRule},
    schema::{ENTERPRISE_URN, GROUP_URN, ResourceKind, USER_URN, resource_types, schemas},
    tables::TABLES,
};

/// Lists that are gone through whole at the same time.
const SCANS_MAX: usize = 2;

/// What an operator decides.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the directory reaches this server, as in `https://hospital-a.example/scim/v2`.
    pub base_url: String,
    /// What the ids of new users are made from.
    pub localpart: LocalpartRule,
    /// Roles of the directory that are already of the form `code@organisation/unit` are taken as they are.
    pub accept_canonical_roles: bool,
    /// What else makes roles.
    pub rules: Vec<RoleRule>,
    /// Who is not active leaves all rooms, and not only those that require roles.
    pub leave_rooms: bool,
}

/// A resource as it is shown, and its version (an entity tag).
#[derive(Clone, Debug)]
pub struct Resource {
    /// All of it that is to be shown.
    pub value: Value,
    /// As in `W/"3"`.
    pub version: String,
    /// Where it is.
    pub location: String,
}

/// The directory's users and groups. Clones share everything.
#[derive(Clone)]
pub struct Provisioning(Arc<Inner>);

struct Inner {
    store: Store,
    clock: SharedClock,
    accounts: Accounts,
    rooms: Rooms,
    care: Care,
    settings: Settings,
    /// Held while something is changed.
    changing: Mutex<()>,
    scans: Semaphore,
    leavers: leavers::Leavers,
}

impl Provisioning {
    /// Over these services.
    pub fn new(
        store: Store,
        clock: SharedClock,
        (accounts, rooms, care): (Accounts, Rooms, Care),
        settings: Settings,
    ) -> Self {
        let mut rules: Vec<Value> = settings.rules.iter().map(RoleRule::shown).collect();
        rules.extend(settings.accept_canonical_roles.then(|| json!({ "accept_canonical_roles": true })));
        care.roles().mappings().show_rules(Source::Scim, rules);
        let (changing, scans) = (Mutex::default(), Semaphore::new(SCANS_MAX));
        let leavers = leavers::Leavers::default();
        Self(Arc::new(Inner { store, clock, accounts, rooms, care, settings, changing, scans, leavers }))
    }

    /// Where the directory reaches this server.
    pub fn base_url(&self) -> &str {
        &self.0.settings.base_url
    }
}

impl fmt::Debug for Provisioning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provisioning").field("settings", &self.0.settings).finish_non_exhaustive()
    }
}
