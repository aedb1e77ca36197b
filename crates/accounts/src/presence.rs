//! Who is there: module "Presence".
//!
//! Kept in memory, with a row in the store for everybody who is not offline or has a status message: after a restart,
//! who does not come back is told to be offline, and status messages last. What changes is marked and told together
//! with other changes: [`Presence::take_changes`] and [`Presence::publish`] are called every second by whoever knows
//! who has to hear of it, and then nobody is told of a change that another one has undone meanwhile.
//!
//! Everything has a bound, whatever the number of users; beyond it some are not shown.

mod person;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use ruma::{OwnedUserId, ServerName, UserId};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use wardroom_clock::SharedClock;
use wardroom_store::{Batch, Packed, Position, Scan, Store, WatchKey};

pub use self::person::{
    Availability, PRESENCE_ACTIVE_FOR, PRESENCE_ELSEWHERE_FOR, PRESENCE_IDLE_AFTER, PRESENCE_OFFLINE_AFTER,
};
use self::person::{Person, Shown};
use crate::{
    AccountError, Accounts, Session, UserNid,
    tables::{NS_USER, PRESENCE, WATCH_PRESENCE},
};

/// Users whose presence is known, about 500 bytes each. Beyond it, those who are offline are forgotten.
pub const PRESENCE_USERS_MAX: usize = 50_000;
/// Of these, users of other servers.
pub const PRESENCE_ELSEWHERE_MAX: usize = 25_000;
/// Longest status message, in bytes.
pub const STATUS_MSG_BYTES_MAX: usize = 1_024;
/// Users whose changes are published in one commit.
const CHANGES_AT_ONCE_MAX: usize = 1_000;
/// Those who are offline are forgotten at most this often.
const TRIM_EVERY: Duration = Duration::from_mins(1);
/// Marks the watch key of a user in [`WATCH_PRESENCE`], whose other ids are rooms.
const USER_BIT: u64 = 1 << 63;

/// A user's presence at rest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PresenceRow {
    availability: Availability,
    status_msg: Option<String>,
    /// Milliseconds since the epoch.
    last_active_ms: Option<u64>,
}

/// What is to be watched for changes of presence in a room, by the room's number.
pub const fn presence_watch_of_room(room: u64) -> WatchKey {
    WatchKey { kind: WATCH_PRESENCE, id: room }
}

/// What is to be watched for what a user says of their own presence on another device.
pub const fn presence_watch_of_user(user: UserNid) -> WatchKey {
    WatchKey { kind: WATCH_PRESENCE, id: user.get() | USER_BIT }
}

/// What others may see of a user, at some time.
#[derive(Clone, Debug)]
pub struct PresenceView {
    /// The user's number.
    pub nid: UserNid,
    /// The user.
    pub user: OwnedUserId,
    /// How reachable.
    pub availability: Availability,
    /// Active within the last minute.
    pub currently_active: bool,
    /// Milliseconds since the user last did something; none where that is not known.
    pub last_active_ago_ms: Option<u64>,
    /// What the user says.
    pub status_msg: Option<Arc<str>>,
    /// Position of the change that is shown.
    pub changed: Position,
    /// Rooms that the user was in at `rooms_at`, by number, sorted.
    pub rooms: Arc<[u64]>,
    /// When the rooms were read; the user's watch key tells whether they are still these.
    pub rooms_at: Position,
}

/// What another server says of its user.
#[derive(Clone, Debug)]
pub struct PresenceElsewhere {
    /// How reachable.
    pub availability: Availability,
    /// Active within the last minute.
    pub currently_active: bool,
    /// Since the user last did something.
    pub last_active_ago: Option<Duration>,
    /// What the user says. Too long a message counts as none.
    pub status_msg: Option<String>,
}

/// A user whose change is to be published, with the rooms the user is in.
#[derive(Clone, Debug)]
pub struct PresenceChange {
    /// The user.
    pub user: UserNid,
    /// Rooms the user is in, by number, sorted.
    pub rooms: Arc<[u64]>,
    /// When they were read.
    pub rooms_at: Position,
}

struct Known {
    id: OwnedUserId,
    /// A user of another server.
    elsewhere: bool,
    person: Person,
    /// What others were told.
    shown: Shown,
    changed: Position,
    rooms: Arc<[u64]>,
    rooms_at: Position,
    due: Option<Instant>,
    /// There is a row in the store.
    stored: bool,
}

#[derive(Default)]
struct People {
    known: HashMap<UserNid, Known>,
    by_change: BTreeSet<(Position, UserNid)>,
    due: BTreeSet<(Instant, UserNid)>,
    /// To be told of, again or anew.
    marked: HashSet<UserNid>,
    /// How many are users of other servers.
    elsewhere: usize,
    trimmed: Option<Instant>,
}

/// The presence of this server's users. Clones share everything.
#[derive(Clone)]
pub struct Presence(Arc<Inner>);

struct Inner {
    enabled: bool,
    clock: SharedClock,
    people: Mutex<People>,
}

impl fmt::Debug for Presence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presence").field("enabled", &self.0.enabled).finish_non_exhaustive()
    }
}

impl People {
    fn enter(&mut self, nid: UserNid, id: &UserId, now: Instant) -> Option<&mut Known> {
        if self.known.len() >= PRESENCE_USERS_MAX && !self.known.contains_key(&nid) {
            self.trim(now);
            if self.known.len() >= PRESENCE_USERS_MAX {
                return None;
            }
        }
        Some(self.known.entry(nid).or_insert_with(|| Known::new(id.to_owned())))
    }

    /// The same for a user of another server: all of them together leave room for those of this one.
    fn enter_elsewhere(&mut self, nid: UserNid, id: &UserId, now: Instant) -> Option<&mut Known> {
        if !self.known.contains_key(&nid) {
            if self.elsewhere >= PRESENCE_ELSEWHERE_MAX {
                self.trim(now);
            }
            if self.elsewhere >= PRESENCE_ELSEWHERE_MAX {
                return None;
            }
            self.enter(nid, id, now)?.elsewhere = true;
            self.elsewhere += 1;
        }
        self.known.get_mut(&nid)
    }

    /// Forgets who is offline.
    fn trim(&mut self, now: Instant) {
        if self.trimmed.is_some_and(|last| now < last + TRIM_EVERY) {
            return;
        }
        self.trimmed = Some(now);
        let Self { known, by_change, marked, elsewhere, .. } = self;
        known.retain(|nid, known| {
            let stays =
                known.shown.availability != Availability::Offline || known.due.is_some() || marked.contains(nid);
            if !stays {
                by_change.remove(&(known.changed, *nid));
                *elsewhere -= usize::from(known.elsewhere);
            }
            stays
        });
    }

    /// Marks a user where what others were told is not true any more, and notes when to look again.
    fn review(&mut self, nid: UserNid, now: Instant) {
        let Some(known) = self.known.get_mut(&nid) else { return };
        if known.person.shown(now) != known.shown {
            self.marked.insert(nid);
        }
        let due = known.person.next_change(now);
        if let Some(before) = std::mem::replace(&mut known.due, due) {
            self.due.remove(&(before, nid));
        }
        self.due.extend(due.map(|due| (due, nid)));
    }
}

impl Known {
    fn new(id: OwnedUserId) -> Self {
        Self {
            id,
            elsewhere: false,
            person: Person::default(),
            shown: Shown::default(),
            changed: Position::ZERO,
            rooms: Arc::from([]),
            rooms_at: Position::ZERO,
            due: None,
            stored: false,
        }
    }

    fn view(&self, nid: UserNid, shown: Shown, now: Instant) -> PresenceView {
        let ago = self.person.last_active.map(|active| now.saturating_duration_since(active));
        PresenceView {
            nid,
            user: self.id.clone(),
            availability: shown.availability,
            currently_active: shown.currently_active,
            last_active_ago_ms: ago.map(|ago| u64::try_from(ago.as_millis()).unwrap_or(u64::MAX)),
            status_msg: shown.status_msg,
            changed: self.changed,
            rooms: Arc::clone(&self.rooms),
            rooms_at: self.rooms_at,
        }
    }
}

/// A sync that is running, which makes its user present.
#[derive(Debug)]
pub struct SyncMark {
    presence: Presence,
    user: UserNid,
    device: u64,
}

impl Drop for SyncMark {
    fn drop(&mut self) {
        self.presence.change(self.user, |person, now| person.end_sync(self.device, now));
    }
}

impl Presence {
    /// As it was when the server stopped. Not `enabled`, nobody is ever present.
    pub(crate) async fn load(
        store: &Store,
        clock: SharedClock,
        enabled: bool,
        server_name: &ServerName,
    ) -> Result<Self, AccountError> {
        let mut people = People::default();
        let rows = if enabled {
            store.latest().scan(&PRESENCE, Scan::all().limit(PRESENCE_USERS_MAX)).await?
        } else {
            Vec::new()
        };
        let (now, now_ms) = (Instant::now(), clock.now_ms());
        let numbers: Vec<u64> = rows.iter().map(|(nid, _)| *nid).collect();
        let names = store.interner().resolve_many(NS_USER, &numbers).await?;
        for ((nid, Packed(row)), name) in rows.into_iter().zip(names) {
            let Some(id) = name.and_then(|name| OwnedUserId::try_from(&*name).ok()) else { continue };
            let ago = |at_ms| Duration::from_millis(now_ms.saturating_sub(at_ms));
            let last_active = row.last_active_ms.and_then(|at_ms| now.checked_sub(ago(at_ms)));
            let mut known = Known::new(id);
            known.person = Person::returning(row.availability, last_active, now);
            known.person.status_msg = row.status_msg.map(Arc::from);
            if known.id.server_name() != server_name {
                known.elsewhere = true;
                people.elsewhere += 1;
                known.person.set_elsewhere(row.availability, false, now);
            }
            known.shown = known.person.shown(now);
            known.stored = true;
            people.by_change.insert((known.changed, UserNid::new(nid)));
            people.known.insert(UserNid::new(nid), known);
            people.review(UserNid::new(nid), now);
        }
        Ok(Self(Arc::new(Inner { enabled, clock, people: Mutex::new(people) })))
    }

    /// Whether presence is known at all.
    pub fn is_enabled(&self) -> bool {
        self.0.enabled
    }

    fn change(&self, user: UserNid, change: impl FnOnce(&mut Person, Instant)) {
        let now = Instant::now();
        let mut people = self.0.people.lock();
        if let Some(known) = people.known.get_mut(&user) {
            change(&mut known.person, now);
            people.review(user, now);
        }
    }

    fn enter_and_change(&self, session: &Session, change: impl FnOnce(&mut Person, Instant)) {
        if !self.0.enabled {
            return;
        }
        let now = Instant::now();
        let mut people = self.0.people.lock();
        if let Some(known) = people.enter(session.nid, &session.user, now) {
            change(&mut known.person, now);
            people.review(session.nid, now);
        }
    }

    /// A device begins to sync and is there, or idle, until some time after the mark is dropped. With
    /// [`Availability::Offline`] the sync says nothing (`set_presence` of `/sync`).
    pub fn begin_sync(&self, session: &Session, availability: Availability) -> Option<SyncMark> {
        if !self.0.enabled || availability == Availability::Offline {
            return None;
        }
        self.enter_and_change(session, |person, now| person.begin_sync(session.device_nid, availability, now));
        Some(SyncMark { presence: self.clone(), user: session.nid, device: session.device_nid })
    }

    /// A client says how its user is; to be published at once by the caller.
    ///
    /// # Errors
    /// [`AccountError::Limit`] for a status message that is too long.
    pub fn set(
        &self,
        session: &Session,
        availability: Availability,
        status_msg: Option<&str>,
    ) -> Result<(), AccountError> {
        if status_msg.is_some_and(|text| text.len() > STATUS_MSG_BYTES_MAX) {
            let what = "The length of status_msg, in bytes,";
            return Err(AccountError::Limit { what, limit: STATUS_MSG_BYTES_MAX });
        }
        let status_msg = status_msg.filter(|text| !text.is_empty()).map(Arc::from);
        self.enter_and_change(session, |person, now| person.set(session.device_nid, availability, status_msg, now));
        Ok(())
    }

    /// Another server says how its user is. It is published like what local users do.
    pub fn set_elsewhere(&self, user: UserNid, id: &UserId, said: &PresenceElsewhere) {
        if !self.0.enabled {
            return;
        }
        let now = Instant::now();
        let mut people = self.0.people.lock();
        let Some(known) = people.enter_elsewhere(user, id, now) else { return };
        known.person.set_elsewhere(said.availability, said.currently_active, now);
        known.person.last_active = said.last_active_ago.and_then(|ago| now.checked_sub(ago));
        let status_msg = said.status_msg.as_deref().filter(|text| !text.is_empty());
        known.person.status_msg = status_msg.filter(|text| text.len() <= STATUS_MSG_BYTES_MAX).map(Arc::from);
        people.review(user, now);
    }

    /// The user of a device does something.
    pub fn note_active(&self, session: &Session) {
        self.change(session.nid, |person, now| person.note_active(session.device_nid, now));
    }

    /// Who may see a user has changed: the user's presence is told again.
    pub fn tell_again(&self, user: UserNid) {
        let mut people = self.0.people.lock();
        if people.known.contains_key(&user) {
            people.marked.insert(user);
        }
    }

    /// What is known of a user now; none where nothing is.
    pub fn of(&self, user: UserNid) -> Option<PresenceView> {
        let now = Instant::now();
        let people = self.0.people.lock();
        people.known.get(&user).map(|known| known.view(user, known.person.shown(now), now))
    }

    /// The newest published changes of a span, at most `limit`, oldest first: those behind `since` up to `now`.
    pub fn changes(&self, since: Position, now: Position, limit: usize) -> Vec<PresenceView> {
        let time = Instant::now();
        let people = self.0.people.lock();
        let newest = people.by_change.iter().rev().skip_while(|(changed, _)| *changed > now);
        let newest = newest.take_while(|(changed, _)| *changed > since).take(limit);
        let views = newest.filter_map(|(_, nid)| {
            let known = people.known.get(nid)?;
            Some(known.view(*nid, known.shown.clone(), time))
        });
        let mut views: Vec<PresenceView> = views.collect();
        views.reverse();
        views
    }

    /// Position of the newest published change.
    pub fn newest_change(&self) -> Position {
        self.0.people.lock().by_change.last().map_or(Position::ZERO, |(changed, _)| *changed)
    }

    /// Up to `limit` users who are not offline, as they are now, those who changed last first.
    pub fn present(&self, limit: usize) -> Vec<PresenceView> {
        let now = Instant::now();
        let people = self.0.people.lock();
        let views = people.by_change.iter().rev().filter_map(|(_, nid)| {
            let known = people.known.get(nid)?;
            let shown = known.person.shown(now);
            (shown.availability != Availability::Offline).then(|| known.view(*nid, shown, now))
        });
        views.take(limit).collect()
    }

    /// Users whose presence has to be told, because of what they did or because time went by. Each is taken once.
    pub fn take_changes(&self) -> Vec<UserNid> {
        let now = Instant::now();
        let mut people = self.0.people.lock();
        while let Some((due, nid)) = people.due.first().copied().filter(|(due, _)| *due <= now) {
            people.due.remove(&(due, nid));
            if let Some(known) = people.known.get_mut(&nid) {
                known.due = None;
            }
            people.review(nid, now);
        }
        if people.marked.len() <= CHANGES_AT_ONCE_MAX {
            return people.marked.drain().collect();
        }
        let some: Vec<UserNid> = people.marked.iter().take(CHANGES_AT_ONCE_MAX).copied().collect();
        for nid in &some {
            people.marked.remove(nid);
        }
        some
    }

    /// Takes one user, as [`Presence::take_changes`]; whether there was something to tell.
    pub fn take_change(&self, user: UserNid) -> bool {
        self.0.people.lock().marked.remove(&user)
    }

    /// Marks users again whose changes could not be published.
    pub fn give_back(&self, users: impl IntoIterator<Item = UserNid>) {
        self.0.people.lock().marked.extend(users);
    }

    /// Publishes changes with a batch: others are told from its position on.
    pub fn publish(&self, batch: &mut Batch, changes: Vec<PresenceChange>) {
        let (now, now_ms) = (Instant::now(), self.0.clock.now_ms());
        let mut told = Vec::with_capacity(changes.len());
        {
            let people = self.0.people.lock();
            for change in changes {
                let Some(known) = people.known.get(&change.user) else { continue };
                let shown = known.person.shown(now);
                let key = change.user.get();
                let stored = shown.availability != Availability::Offline || shown.status_msg.is_some();
                if stored {
                    let ago = known.person.last_active.map(|active| now.saturating_duration_since(active).as_millis());
                    let ago = ago.map(|ago| u64::try_from(ago).unwrap_or(u64::MAX));
                    let row = PresenceRow {
                        availability: shown.availability,
                        status_msg: shown.status_msg.as_deref().map(str::to_owned),
                        last_active_ms: ago.map(|ago| now_ms.saturating_sub(ago)),
                    };
                    batch.put(&PRESENCE, &key, &Packed(row));
                } else if known.stored {
                    batch.delete(&PRESENCE, &key);
                }
                told.push((change, shown, stored));
            }
        }
        let inner = Arc::clone(&self.0);
        batch.on_commit(move |position| {
            let mut people = inner.people.lock();
            let now = Instant::now();
            for (change, shown, stored) in told {
                let Some(known) = people.known.get_mut(&change.user) else { continue };
                let before = std::mem::replace(&mut known.changed, position);
                (known.shown, known.stored) = (shown, stored);
                (known.rooms, known.rooms_at) = (change.rooms, change.rooms_at);
                people.by_change.remove(&(before, change.user));
                people.by_change.insert((position, change.user));
                // Things may have gone on since.
                people.review(change.user, now);
            }
        });
    }

    /// To be called for the batch that closes an account.
    pub(crate) fn forget_on_commit(&self, batch: &mut Batch, user: UserNid) {
        batch.delete(&PRESENCE, &user.get());
        let presence = self.clone();
        batch.on_commit(move |_| presence.change(user, |person, _| *person = Person::default()));
    }
}

impl Accounts {
    /// Who is there.
    pub fn presence(&self) -> &Presence {
        &self.0.presence
    }
}
