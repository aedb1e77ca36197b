//! Who has which roles, from where, and for how long.
//!
//! Each source (the directory of the hospital, an identity provider, an administrator) has a say of its own for each
//! user, which stays until the source says something else: a source that is down takes nothing away. What counts is all
//! roles of all sources together, unless the source of the highest rank that says whether the user is there says that
//! they are not: then none does.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use parking_lot::{Mutex, RwLock};
use ruma::{OwnedUserId, UserId};
use wardroom_audit::{Act, AuditLog, Record, hash};
use wardroom_clock::SharedClock;
use wardroom_rooms::{NS_USER, UserNid};
use wardroom_store::{Batch, Packed, Scan, Store};

use crate::{
    CareError,
    mappings::RoleMappings,
    role::{Requirement, Role},
    tables::{BindingRow, DUE, SOURCES, SourceRow, WATCH_ROLES},
};

/// Roles that one source gives to one user.
pub const ROLES_PER_SOURCE_MAX: usize = 200;
/// Longest reason of a role, in bytes.
pub const REASON_BYTES_MAX: usize = 500;
/// Rows read at once.
const ROWS_PER_READ: usize = 1_000;
/// Users whom one commit changes.
const USERS_PER_COMMIT: usize = 500;

/// Where a role comes from, in the order of their rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// An administrator.
    Manual,
    /// The hospital's directory, pushed by SCIM.
    Scim,
    /// Appointments of practitioners (FHIR).
    Fhir,
    /// The hospital's directory, polled by LDAP.
    Ldap,
    /// Claims of an identity provider.
    Oidc,
    /// A partner's signed word.
    Attestation,
}

impl Source {
    /// Each of them, by rank.
    pub const ALL: [Self; 6] = [Self::Manual, Self::Scim, Self::Fhir, Self::Ldap, Self::Oidc, Self::Attestation];

    /// The name in answers and configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::Scim => "scim",
            Self::Fhir => "fhir",
            Self::Ldap => "ldap",
            Self::Oidc => "oidc",
            Self::Attestation => "attestation",
        }
    }

    /// The number in keys: never given to another.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Manual => 1,
            Self::Scim => 2,
            Self::Fhir => 3,
            Self::Ldap => 4,
            Self::Oidc => 5,
            Self::Attestation => 6,
        }
    }

    pub(crate) fn of_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|source| source.code() == code)
    }

    /// The source of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|source| source.name() == name)
    }
}

/// A role that somebody has from a source. Times are milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The role.
    pub role: Role,
    /// From when on; none for from ever.
    pub from_ms: Option<u64>,
    /// Until when; none for as long as the source says so.
    pub until_ms: Option<u64>,
    /// Why, in words; empty where nobody said.
    pub reason: String,
    /// Who said so: an administrator's id, or the source's own name for it.
    pub set_by: String,
    /// When.
    pub set_ms: u64,
}

impl Binding {
    fn holds_at(&self, now_ms: u64) -> bool {
        self.from_ms.is_none_or(|from_ms| from_ms <= now_ms) && self.until_ms.is_none_or(|until_ms| now_ms < until_ms)
    }
}

/// What one source says of a user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// Whether the user is there at all; none where the source does not say.
    pub active: Option<bool>,
    /// Their roles.
    pub bindings: Vec<Binding>,
}

impl Said {
    fn is_nothing(&self) -> bool {
        self.active.is_none() && self.bindings.is_empty()
    }

    fn row(&self) -> SourceRow {
        let row = |binding: &Binding| BindingRow {
            role: binding.role.to_string(),
            from_ms: binding.from_ms,
            until_ms: binding.until_ms,
            reason: binding.reason.clone(),
            set_by: binding.set_by.clone(),
            set_ms: binding.set_ms,
        };
        SourceRow { active: self.active, bindings: self.bindings.iter().map(row).collect() }
    }

    fn of_row(row: SourceRow) -> Self {
        let binding = |row: BindingRow| {
            Some(Binding {
                role: Role::parse(&row.role).ok()?,
                from_ms: row.from_ms,
                until_ms: row.until_ms,
                reason: row.reason,
                set_by: row.set_by,
                set_ms: row.set_ms,
            })
        };
        Self { active: row.active, bindings: row.bindings.into_iter().filter_map(binding).collect() }
    }

    fn check(&self) -> Result<(), CareError> {
        if self.bindings.len() > ROLES_PER_SOURCE_MAX {
            return Err(CareError::Invalid(format!("roles: a source gives at most {ROLES_PER_SOURCE_MAX} to a user.")));
        }
        for binding in &self.bindings {
            if binding.reason.len() > REASON_BYTES_MAX {
                return Err(CareError::Invalid(format!("reason: has more than {REASON_BYTES_MAX} bytes.")));
            }
            if let (Some(from_ms), Some(until_ms)) = (binding.from_ms, binding.until_ms)
                && from_ms >= until_ms
            {
                return Err(CareError::Invalid("until: is not after from.".to_owned()));
            }
        }
        Ok(())
    }
}

/// Somebody of whom at least one source has said something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holder {
    said: BTreeMap<Source, Said>,
}

impl Holder {
    /// What each source says.
    pub fn said(&self) -> impl Iterator<Item = (Source, &Said)> {
        self.said.iter().map(|(source, said)| (*source, said))
    }

    /// Whether the user is there, as the source of the highest rank says that says anything about it.
    pub fn is_active(&self) -> bool {
        self.said.values().find_map(|said| said.active).unwrap_or(true)
    }

    /// The roles that count now, as far as this server knows them itself: not what another one attests.
    pub fn roles_at(&self, now_ms: u64) -> Vec<&Role> {
        self.own_bindings_at(now_ms).map(|binding| &binding.role).collect()
    }

    /// Why those count.
    pub(crate) fn own_bindings_at(&self, now_ms: u64) -> impl Iterator<Item = &Binding> {
        self.bindings_at(now_ms, |source| source != Source::Attestation)
    }

    /// The roles that the user's own server attests now. They count only where a room's policy says so.
    pub fn attested_at(&self, now_ms: u64) -> Vec<&Role> {
        let attested = self.bindings_at(now_ms, |source| source == Source::Attestation);
        attested.map(|binding| &binding.role).collect()
    }

    fn bindings_at(&self, now_ms: u64, of: impl Fn(Source) -> bool) -> impl Iterator<Item = &Binding> {
        let active = self.is_active();
        let said = self.said.iter().filter(move |(source, _)| active && of(**source));
        said.flat_map(|(_, said)| &said.bindings).filter(move |binding| binding.holds_at(now_ms))
    }

    /// The moments at which that changes by itself.
    fn changes_after(&self, now_ms: u64) -> impl Iterator<Item = u64> {
        let bindings = self.said.values().flat_map(|said| &said.bindings);
        bindings.flat_map(|binding| [binding.from_ms, binding.until_ms]).flatten().filter(move |at_ms| *at_ms > now_ms)
    }
}

/// What a source's whole list changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replaced {
    /// Users of whom it says something else now.
    pub changed: usize,
    /// Users in the list.
    pub listed: usize,
}

/// Who has which roles. Clones share everything.
#[derive(Clone, Debug)]
pub struct Roles(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    clock: SharedClock,
    audit: AuditLog,
    mappings: RoleMappings,
    known: Arc<RwLock<Known>>,
    /// Held while what a source says of a user is read and written again.
    changing: tokio::sync::Mutex<()>,
}

/// Everybody of whom a source has said something, in memory.
#[derive(Debug, Default)]
struct Known {
    holders: HashMap<OwnedUserId, Arc<Holder>>,
    /// When whose roles change by themselves.
    timers: Mutex<BTreeSet<(u64, OwnedUserId)>>,
}

impl Known {
    fn set(&mut self, user: &OwnedUserId, source: Source, said: Said, now_ms: u64) {
        let holder = Arc::make_mut(self.holders.entry(user.clone()).or_default());
        if said.is_nothing() {
            holder.said.remove(&source);
        } else {
            holder.said.insert(source, said);
        }
        self.timers.get_mut().extend(holder.changes_after(now_ms).map(|at_ms| (at_ms, user.clone())));
        if holder.said.is_empty() {
            self.holders.remove(user);
        }
    }
}

impl Roles {
    /// Reads who has which roles.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn load(store: Store, clock: SharedClock, audit: AuditLog) -> Result<Self, CareError> {
        let (mut known, now_ms, mut scan) = (Known::default(), clock.now_ms(), Scan::all());
        loop {
            let rows = store.latest().scan(&SOURCES, scan.limit(ROWS_PER_READ)).await?;
            let full = rows.len() == ROWS_PER_READ;
            let nids: Vec<u64> = rows.iter().map(|((user, _), _)| user.get()).collect();
            let names = store.interner().resolve_many(NS_USER, &nids).await?;
            let mut last = None;
            for (name, ((user, code), Packed(row))) in names.into_iter().zip(rows) {
                last = Some((user, code));
                let name = name.and_then(|name| OwnedUserId::try_from(&*name).ok());
                if let (Some(name), Some(source)) = (name, Source::of_code(code)) {
                    known.set(&name, source, Said::of_row(row), now_ms);
                }
            }
            match last {
                Some(last) if full => scan = Scan::all().after(&last),
                _ => break,
            }
        }
        let known = Arc::new(RwLock::new(known));
        let mappings = RoleMappings::load(store.clone(), audit.clone()).await?;
        Ok(Self(Arc::new(Inner { store, clock, audit, mappings, known, changing: tokio::sync::Mutex::default() })))
    }

    /// The audit trail.
    pub(crate) fn audit(&self) -> &AuditLog {
        &self.0.audit
    }

    /// What values of sources mean.
    pub fn mappings(&self) -> &RoleMappings {
        &self.0.mappings
    }

    /// What is known of a user; none where no source has said anything.
    pub fn of(&self, user: &UserId) -> Option<Arc<Holder>> {
        self.0.known.read().holders.get(user).cloned()
    }

    /// Of how many users a source has said something.
    pub fn spoken_for(&self, source: Source) -> usize {
        self.0.known.read().holders.values().filter(|holder| holder.said.contains_key(&source)).count()
    }

    /// Everything that a source says.
    pub fn said_by(&self, source: Source) -> Vec<(OwnedUserId, Said)> {
        let known = self.0.known.read();
        let said = |(user, holder): (&OwnedUserId, &Arc<Holder>)| {
            holder.said.get(&source).map(|said| (user.clone(), said.clone()))
        };
        known.holders.iter().filter_map(said).collect()
    }

    /// Those who have a role now that meets this, ordered by name, after that one.
    pub fn holders_of(&self, requirement: &Requirement, after: Option<&UserId>, limit: usize) -> Vec<OwnedUserId> {
        let now_ms = self.0.clock.now_ms();
        let known = self.0.known.read();
        let meets = |holder: &Holder| holder.roles_at(now_ms).into_iter().any(|role| requirement.is_met_by(role));
        let mut users: Vec<_> = known
            .holders
            .iter()
            .filter(|(user, holder)| after.is_none_or(|after| after.as_str() < user.as_str()) && meets(holder))
            .map(|(user, _)| user.clone())
            .collect();
        users.sort_unstable();
        users.truncate(limit);
        users
    }

    /// Every role that somebody has now, with how many have it.
    pub fn in_use(&self) -> BTreeMap<Role, u64> {
        let now_ms = self.0.clock.now_ms();
        let mut counts = BTreeMap::new();
        for holder in self.0.known.read().holders.values() {
            let roles: BTreeSet<&Role> = holder.roles_at(now_ms).into_iter().collect();
            for role in roles {
                *counts.entry(role.clone()).or_default() += 1;
            }
        }
        counts
    }

    /// What a source says of a user from now on: nothing where it is empty. Says whether that is something new.
    ///
    /// # Errors
    /// [`CareError::Invalid`]; when the store fails.
    pub async fn say(&self, user: &UserId, source: Source, said: Said) -> Result<bool, CareError> {
        let _alone = self.0.changing.lock().await;
        self.commit(source, vec![(user.to_owned(), said)]).await.map(|changed| changed > 0)
    }

    /// As [`Roles::say`], of many users, a bounded number of them in each commit. Says of how many that is something new.
    ///
    /// # Errors
    /// As [`Roles::say`]; then a part may be in force.
    pub async fn say_all(&self, source: Source, mut list: Vec<(OwnedUserId, Said)>) -> Result<usize, CareError> {
        let _alone = self.0.changing.lock().await;
        let mut changed = 0;
        while !list.is_empty() {
            let part = list.split_off(list.len().saturating_sub(USERS_PER_COMMIT));
            changed += self.commit(source, part).await?;
        }
        Ok(changed)
    }

    /// As [`Roles::say`], with what the source says so far at hand.
    ///
    /// # Errors
    /// As [`Roles::say`], and what `change` says.
    pub async fn change(
        &self,
        user: &UserId,
        source: Source,
        change: impl FnOnce(Said) -> Result<Said, CareError>,
    ) -> Result<bool, CareError> {
        let _alone = self.0.changing.lock().await;
        let before = self.of(user).and_then(|holder| holder.said.get(&source).cloned()).unwrap_or_default();
        self.commit(source, vec![(user.to_owned(), change(before)?)]).await.map(|changed| changed > 0)
    }

    /// Takes a source's whole list: of whom it does not say anything any more, it takes back what it said. A list that
    /// would take something away from more than `percent_max` percent of the users of whom it said something (and from
    /// more than ten) is not taken: the last good one stays.
    ///
    /// # Errors
    /// [`CareError::Brake`], [`CareError::Invalid`]; when the store fails: then a part of the list may be in force.
    pub async fn replace(
        &self,
        source: Source,
        mut list: HashMap<OwnedUserId, Said>,
        percent_max: u8,
    ) -> Result<Replaced, CareError> {
        const LOSING_LET_PASS: usize = 10;
        let _alone = self.0.changing.lock().await;
        let listed = list.len();
        let before = self.said_by(source);
        let loses = |(user, said): &&(OwnedUserId, Said)| {
            let Some(new) = list.get(user) else { return true };
            let gone = |binding: &Binding| !new.bindings.iter().any(|new| new.role == binding.role);
            said.bindings.iter().any(gone) || new.active == Some(false) && said.active != Some(false)
        };
        let losing = before.iter().filter(loses).count();
        if losing > LOSING_LET_PASS && losing * 100 > before.len() * usize::from(percent_max) {
            return Err(CareError::Brake { losing, held: before.len(), percent_max });
        }
        for (user, _) in &before {
            list.entry(user.clone()).or_default();
        }
        let mut changed = 0;
        let mut rest: Vec<_> = list.into_iter().collect();
        while !rest.is_empty() {
            let part = rest.split_off(rest.len().saturating_sub(USERS_PER_COMMIT));
            changed += self.commit(source, part).await?;
        }
        Ok(Replaced { changed, listed })
    }

    /// Writes what is new in it, and has those users' rooms looked at. Returns of how many there was something new.
    async fn commit(&self, source: Source, said: Vec<(OwnedUserId, Said)>) -> Result<usize, CareError> {
        let inner = &*self.0;
        let mut batch = Batch::default();
        let mut changes = Vec::with_capacity(said.len());
        for (user, said) in said {
            said.check()?;
            let before = self.of(&user).and_then(|holder| holder.said.get(&source).cloned()).unwrap_or_default();
            if before == said {
                continue;
            }
            let nid = UserNid::new(inner.store.interner().intern(&mut batch, NS_USER, user.as_str()).await?);
            let key = (nid, source.code());
            if said.is_nothing() {
                batch.delete(&SOURCES, &key);
            } else {
                batch.put(&SOURCES, &key, &Packed(said.row()));
            }
            batch.put(&DUE, &nid, &());
            inner.audit.add(&mut batch, record_of_change(source, &user, &before, &said));
            changes.push((user, said));
        }
        let changed = changes.len();
        if changed > 0 {
            let (known, now_ms) = (Arc::clone(&inner.known), inner.clock.now_ms());
            batch.touch(WATCH_ROLES);
            batch.on_commit(move |_| {
                let mut known = known.write();
                for (user, said) in changes {
                    known.set(&user, source, said, now_ms);
                }
            });
            inner.store.commit(batch).await?;
        }
        Ok(changed)
    }

    /// When somebody's roles change by themselves next, in milliseconds since 1970.
    pub(crate) fn next_change_ms(&self) -> Option<u64> {
        self.0.known.read().timers.lock().first().map(|(at_ms, _)| *at_ms)
    }

    /// Those whose roles changed by themselves by now. Each is told once.
    pub(crate) fn changed_by_time(&self) -> Vec<OwnedUserId> {
        let now_ms = self.0.clock.now_ms();
        let known = self.0.known.read();
        let mut timers = known.timers.lock();
        let later = timers.split_off(&(now_ms.saturating_add(1), OwnedUserId::from(ruma::user_id!("@:a"))));
        std::mem::replace(&mut *timers, later).into_iter().map(|(_, user)| user).collect()
    }
}

/// What the audit trail hears of a change: which roles it is now, as far as they can be listed, and hashes of before and
/// after. Reasons are words of people.
fn record_of_change(source: Source, user: &UserId, before: &Said, after: &Said) -> Record {
    const LIST_BYTES_MAX: usize = 2_000;
    let list = |said: &Said| {
        let roles: BTreeSet<String> = said.bindings.iter().map(|binding| binding.role.to_string()).collect();
        roles.into_iter().collect::<Vec<_>>().join(" ")
    };
    let (old, new) = (list(before), list(after));
    let record = Record::of(Act::RoleChange).user(user.as_str()).detail(source.name());
    let record = record.old(hash(&old)).new(hash(&new)).count(after.bindings.len() as u64);
    let record = if new.len() <= LIST_BYTES_MAX { record.name(new) } else { record };
    if after.active == Some(false) && before.active != Some(false) { record.why("inactive") } else { record }
}

#[cfg(test)]
mod tests;
