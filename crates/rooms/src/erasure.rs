//! Erasing a person (GDPR, articles 17 and 19): the contents of everything they sent go, here, and what else this server has
//! of them; other servers that have copies are named, and told where they understand it.
//!
//! - What is wanted stands in [`ERASURES`] before anybody is told that it will be done, together with a task that does it
//!   and goes on after a crash. The row stays for good: it is the answer to whoever asks what was done.
//! - From the moment at which the work begins nobody is shown what the person sent, though pruning it takes longer.
//! - Of events the redacted form stays, as of those whose time is over: see [`crate::retention`]. State stays, since rooms
//!   are made of it, and so does the audit trail (article 17(3)(b)).
//! - An administrator may defer an erasure, with a reason, where the law wants the record to be kept (article 17(3)(b), (c)).
//! - What a legal hold covers stays until the hold ends; it is looked for again and again.
//!
//! What others than rooms have of a person, they forget themselves: [`Memory`].

mod rooms;
#[cfg(test)]
mod tests;
mod work;

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    sync::{Arc, OnceLock},
};

use futures_util::future::BoxFuture;
use parking_lot::RwLock;
use ruma::{OwnedEventId, OwnedRoomId, OwnedServerName, OwnedUserId, UserId};
use serde::{Deserialize, Serialize};
use wardroom_audit::{Act, Record};
use wardroom_store::{Batch, Json, Profile, Scan, Seal, Table};

use crate::{
    Engine, Rooms,
    error::RoomError,
    ids::{Place, RoomNid, UserNid},
    serving::ERASED,
    tasks::Work,
};

/// Erasures that one read looks at.
const ERASURES_MAX: usize = 1_000_000;
/// Longest reason, in characters.
pub const ERASURE_REASON_CHARS_MAX: usize = 1_000;

/// Persons who are, or are to be, erased.
pub(crate) const ERASURES: Table<UserNid, Json<Erasure>> = Table::new(0x028A, "erasures", Profile::Scan, Seal::System);

/// What becomes of the messages of a person who is erased.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErasedMessages {
    /// Only their redacted form stays.
    #[default]
    Prune,
    /// Who has seen them can still read them here; other servers get their redacted form.
    Hide,
}

/// How far an erasure got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErasureState {
    /// It waits for its turn.
    Scheduled,
    /// An administrator put it off.
    Deferred,
    /// It is being done.
    Active,
    /// Done, but for what a legal hold covers.
    Held,
    /// Done.
    Complete,
}

/// Something that a legal hold keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldItem {
    /// `user`: everything; `events`: so many of a room; `media`: so many uploads.
    pub kind: String,
    /// Of which room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room_id: Option<OwnedRoomId>,
    /// How many.
    pub count: u64,
    /// The hold, where it is one.
    pub hold: String,
}

/// What another server has of a person.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copies {
    /// Rooms with messages of the person in which the server is, or to which it was sent something.
    pub rooms: u64,
    /// Room of the newest message of the person that the server took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_room_id: Option<OwnedRoomId>,
    /// That message. None where it only could have asked for messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_event_id: Option<OwnedEventId>,
    /// When it came to be, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_event_ts: Option<u64>,
    /// When the server was told, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told_ts: Option<u64>,
}

/// An erasure: what is wanted, and what was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erasure {
    /// Who is erased.
    pub user_id: OwnedUserId,
    /// How far it got.
    pub state: ErasureState,
    /// What becomes of messages.
    pub messages: ErasedMessages,
    /// When it was asked for, in milliseconds since 1970.
    pub requested_ts: u64,
    /// Not before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deferred_until_ts: Option<u64>,
    /// Why it was asked for, or put off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_ts: Option<u64>,
    /// What was removed, by kind. A crash may leave some uncounted that is neither an event nor a receipt.
    pub removed: BTreeMap<String, u64>,
    /// What a legal hold keeps.
    pub held: Vec<HeldItem>,
    /// Other servers that have copies.
    pub servers: BTreeMap<OwnedServerName, Copies>,
    /// Rooms that the person was in.
    pub rooms: u64,
    /// Of them, those that are done.
    pub rooms_done: u64,
    /// The account was closed.
    #[serde(default)]
    closed: bool,
    /// The last room that is done.
    #[serde(default)]
    last_room: Option<RoomNid>,
    /// The last room in which something was found.
    #[serde(default)]
    found_in: Option<RoomNid>,
}

impl Erasure {
    /// Whether anything is being erased, or was.
    fn has_begun(&self) -> bool {
        match self.state {
            ErasureState::Scheduled | ErasureState::Deferred => false,
            ErasureState::Active | ErasureState::Complete => true,
            ErasureState::Held => self.held.iter().all(|item| item.kind != "user"),
        }
    }
}

/// A wish to erase somebody.
#[derive(Clone, Debug)]
pub struct ErasureWish<'a> {
    /// Who.
    pub user: &'a UserId,
    /// Their number.
    pub nid: UserNid,
    /// Why, or why not yet.
    pub reason: Option<String>,
    /// Not before this time, in milliseconds since 1970.
    pub until_ms: Option<u64>,
}

/// What failed in a [`Memory`], for the log. It is tried again.
#[derive(Clone, Debug)]
pub struct NotForgotten(pub String);

/// What other parts of the server know of persons. Each step may be asked for again.
pub trait Memory: fmt::Debug + Send + Sync {
    /// Closes the account of a user of this server, and keeps what is known of the person.
    fn close<'a>(&'a self, user: &'a UserId) -> BoxFuture<'a, Result<(), NotForgotten>>;
    /// Forgets what is known of the person, whose account is closed. Says what that was, by kind, and what stays since a
    /// legal hold covers it.
    fn forget<'a>(&'a self, user: &'a UserId, nid: UserNid) -> BoxFuture<'a, Result<Forgotten, NotForgotten>>;
    /// Up to where other servers took events of a room.
    fn sent(&self, room: RoomNid) -> BoxFuture<'_, Result<Vec<(OwnedServerName, Place)>, NotForgotten>>;
    /// Tells other servers; answers which.
    fn tell<'a>(
        &'a self,
        user: &'a UserId,
        servers: Vec<OwnedServerName>,
    ) -> BoxFuture<'a, Result<Vec<OwnedServerName>, NotForgotten>>;
    /// Destroys the key of what was known of the person.
    fn destroy_key<'a>(&'a self, user: &'a UserId, nid: UserNid) -> BoxFuture<'a, Result<(), NotForgotten>>;
}

/// What was forgotten.
#[derive(Clone, Debug, Default)]
pub struct Forgotten {
    /// By kind.
    pub removed: BTreeMap<String, u64>,
    /// What stays.
    pub held: Vec<HeldItem>,
}

/// What the engine keeps in memory of erasures.
#[derive(Debug, Default)]
pub(crate) struct Erasing {
    /// Whose messages nobody is shown.
    hidden: RwLock<HashSet<OwnedUserId>>,
    /// Those of them of whom something is whole: indexes still lead to it.
    whole: RwLock<HashSet<OwnedUserId>>,
    memory: OnceLock<Arc<dyn Memory>>,
}

impl Erasing {
    /// Whether nobody is shown what this user sent.
    pub(crate) fn hides(&self, user: &UserId) -> bool {
        let hidden = self.hidden.read();
        !hidden.is_empty() && hidden.contains(user)
    }

    /// Whether indexes may lead to what is hidden.
    pub(crate) fn is_active(&self) -> bool {
        !self.whole.read().is_empty()
    }
}

impl Rooms {
    /// Has this part forget persons too, when they are erased. To be called once, before tasks are run.
    pub fn remember_with(&self, memory: Arc<dyn Memory>) {
        let _ = self.engine.erasing.memory.set(memory);
    }

    /// Reads whose messages nobody is shown. To be called before anybody reads.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn load_erasures(&self) -> Result<(), RoomError> {
        let rows = self.engine.store.latest().scan(&ERASURES, Scan::all().limit(ERASURES_MAX)).await?;
        for (_, Json(row)) in rows {
            if row.has_begun() {
                self.hide(&row);
            }
        }
        Ok(())
    }

    /// What became of the erasure of a user, if it was asked for.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn erasure(&self, user: UserNid) -> Result<Option<Erasure>, RoomError> {
        Ok(self.engine.store.latest().get(&ERASURES, &user).await?.map(|row| row.0))
    }

    /// Has a user erased: their account, if they are of this server, and what they sent. One that was put off is done, or
    /// put off until another time; one that is being done goes on.
    ///
    /// # Errors
    /// [`RoomError::InvalidParam`] where the reason is too long; when the store fails.
    pub async fn erase_user(&self, wish: ErasureWish<'_>) -> Result<Erasure, RoomError> {
        if wish.reason.as_ref().is_some_and(|reason| reason.chars().count() > ERASURE_REASON_CHARS_MAX) {
            let sentence = format!("reason: at most {ERASURE_REASON_CHARS_MAX} characters are allowed.");
            return Err(RoomError::InvalidParam(sentence));
        }
        let now_ms = self.engine.clock.now_ms();
        let known = self.erasure(wish.nid).await?;
        if let Some(known) = known.as_ref().filter(|known| known.state == ErasureState::Complete) {
            return Ok(known.clone());
        }
        let asked_before = known.is_some();
        let mut row = known.unwrap_or_else(|| self.new_erasure(wish.user, now_ms));
        let until_ms = wish.until_ms.filter(|until_ms| *until_ms > now_ms);
        if matches!(row.state, ErasureState::Scheduled | ErasureState::Deferred) {
            row.deferred_until_ts = until_ms;
        }
        row.reason = wish.reason.or(row.reason);
        let detail = match (until_ms, asked_before) {
            (Some(_), _) => "deferred",
            (None, false) => "requested",
            (None, true) => "requested again",
        };
        let mut batch = Batch::default();
        batch.put(&ERASED, &wish.nid, &());
        batch.put(&ERASURES, &wish.nid, &Json(row.clone()));
        let record = Record::of(Act::AccountErase).user(wish.user.as_str()).detail(detail);
        self.engine.audit.add(&mut batch, record);
        self.begin_erasure(batch, wish.user, wish.nid).await?;
        Ok(row)
    }

    fn new_erasure(&self, user: &UserId, now_ms: u64) -> Erasure {
        Erasure {
            user_id: user.to_owned(),
            state: ErasureState::Scheduled,
            messages: self.engine.retention.erased_messages,
            requested_ts: now_ms,
            deferred_until_ts: None,
            reason: None,
            completed_ts: None,
            removed: BTreeMap::new(),
            held: Vec::new(),
            servers: BTreeMap::new(),
            rooms: 0,
            rooms_done: 0,
            closed: false,
            last_room: None,
            found_in: None,
        }
    }

    /// Erases users again of whom an older copy of the store, which was restored, has what was erased since. From here on
    /// nobody is shown it. To be called before anybody reads.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn erase_again(&self, users: &[(OwnedUserId, UserNid)]) -> Result<(), RoomError> {
        for (user, nid) in users {
            let mut row = self.new_erasure(user, self.engine.clock.now_ms());
            row.state = ErasureState::Active;
            row.reason = Some("restored from before the erasure".to_owned());
            let mut batch = Batch::default();
            batch.put(&ERASED, nid, &());
            batch.put(&ERASURES, nid, &Json(row.clone()));
            let record = Record::of(Act::AccountErase).user(user.as_str()).detail("replayed");
            self.engine.audit.add(&mut batch, record);
            self.begin_erasure(batch, user, *nid).await?;
            self.hide(&row);
        }
        Ok(())
    }

    /// Adds the task; where it is being done already, only what the batch says.
    async fn begin_erasure(&self, batch: Batch, user: &UserId, nid: UserNid) -> Result<(), RoomError> {
        let running = self.tasks().await?.into_iter().any(|task| {
            !task.status.is_final() && matches!(&task.work, Work::Erase { nid: other, .. } if *other == nid)
        });
        if running {
            self.engine.store.commit(batch).await?;
            return Ok(());
        }
        self.add_task(batch, Work::Erase { user: user.to_owned(), nid }, |_| false).await?;
        Ok(())
    }

    /// Nobody is shown any more what the person sent.
    fn hide(&self, row: &Erasure) {
        if row.messages != ErasedMessages::Prune {
            return;
        }
        let erasing = &self.engine.erasing;
        if row.state != ErasureState::Complete {
            erasing.whole.write().insert(row.user_id.clone());
        }
        erasing.hidden.write().insert(row.user_id.clone());
    }
}

impl Engine {
    /// Whether nobody is shown what this user sent, because they are erased.
    pub(crate) fn is_forgotten(&self, user: &UserId) -> bool {
        self.erasing.hides(user)
    }
}
