//! Events that are sent later ([MSC4140](https://github.com/matrix-org/matrix-spec-proposals/pull/4140)): reminders,
//! and "hang up" for a client that goes away during a call.
//!
//! What waits is in the store, so it survives a restart; what came due meanwhile is sent at the start, in order. An
//! event is authorized when it is sent, as any other. It is sent once: a message bears a transaction id of its own, and
//! a state event that is there already is not sent again.

mod run;
mod tables;

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use rand::RngExt as _;
use ruma::{CanonicalJsonObject, OwnedEventId, OwnedRoomId, RoomId, TransactionId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue as RawJsonValue;
use tokio::sync::Notify;
use wardroom_store::{Batch, CommitError, Hash16, Packed, Position, ReadError, Scan};

pub(crate) use self::tables::{DELAYED_BY_USER, DELAYED_DUE, DELAYED_EVENTS, DELAYED_FINAL, DELAYED_TRANSACTIONS};
use crate::{
    Action, Actor, Rooms,
    error::RoomError,
    ids::{NS_USER, RoomNid, UserNid},
    sealing::day_of,
};

/// Largest content of a delayed event, in bytes of JSON. An event with a larger one could never be sent.
const CONTENT_BYTES_MAX: usize = 65_536;
/// How long what became of a delayed event can be asked for: a week.
pub const DELAYED_FINAL_KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Of how many delayed events of one user that can be asked for.
pub const DELAYED_FINAL_PER_USER_MAX: usize = 1_000;
/// Domain of the keyed hash of a delay id.
const HASH_DELAY_ID: u8 = 0x40;
/// Domain of the keyed hash of a transaction that schedules.
const HASH_DELAY_TRANSACTION: u8 = 0x41;
/// Random bytes of a delay id. Whoever knows the id may send or cancel the event, so nobody must guess it.
const DELAY_ID_BYTES: usize = 24;
/// Locks by which what happens to one event happens one after the other.
const LOCKS: usize = 64;
/// Attempts to write against others who change the same event.
const ATTEMPTS_MAX: u32 = 8;

/// An event to be sent later.
#[derive(Debug)]
pub struct NewDelayed<'a> {
    /// Event type.
    pub kind: &'a str,
    /// State key of a state event.
    pub state_key: Option<&'a str>,
    /// Content.
    pub content: &'a RawJsonValue,
    /// How long to wait.
    pub delay: Duration,
    /// By which a repeated request is recognized.
    pub transaction: Option<&'a TransactionId>,
    /// Events of one user that may wait at once.
    pub waiting_max: usize,
}

/// What became of a wish to send an event later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scheduled {
    /// It waits under this id.
    As(String),
    /// Too many of the user's wait already; the next of them is due after this time.
    Full(Duration),
}

/// What became of an event that does not wait any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It was sent.
    Sent(OwnedEventId),
    /// Somebody cancelled it.
    Cancelled,
    /// It could not be sent: a reason for its user to read.
    Failed(String),
}

/// A delayed event, waiting or not.
#[derive(Clone, Debug)]
pub struct DelayedEvent {
    /// Its id.
    pub id: String,
    /// Where it is to be sent.
    pub room: OwnedRoomId,
    /// Event type.
    pub kind: String,
    /// State key of a state event.
    pub state_key: Option<String>,
    /// Content.
    pub content: Box<RawJsonValue>,
    /// How long it waits, in milliseconds.
    pub delay_ms: u64,
    /// Since when, in milliseconds since the epoch.
    pub running_since_ms: u64,
    /// What became of it and when, in milliseconds since the epoch; none while it waits.
    pub outcome: Option<(u64, Outcome)>,
}

/// A delayed event at rest.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct DelayedRecord {
    id: String,
    user: UserNid,
    guest: bool,
    room: RoomNid,
    kind: String,
    state_key: Option<String>,
    content: String,
    delay_ms: u64,
    running_since_ms: u64,
    /// Day whose data key seals the record.
    day: u32,
    transaction: Option<Hash16>,
    outcome: Option<(u64, Outcome)>,
}

impl DelayedRecord {
    fn due_ms(&self) -> u64 {
        self.running_since_ms.saturating_add(self.delay_ms)
    }
}

/// Whether an event waits, in keys.
const WAITS: bool = false;
const IS_FINAL: bool = true;

/// What the engine keeps in memory of delayed events.
#[derive(Debug)]
pub(crate) struct Delayed {
    /// Something may be due earlier than was known.
    changed: Arc<Notify>,
    locks: [tokio::sync::Mutex<()>; LOCKS],
}

impl Default for Delayed {
    fn default() -> Self {
        Self { changed: Arc::default(), locks: std::array::from_fn(|_| tokio::sync::Mutex::default()) }
    }
}

impl Delayed {
    fn lock_of(&self, id: &Hash16) -> &tokio::sync::Mutex<()> {
        &self.locks[usize::from(id[0]) % LOCKS]
    }
}

#[expect(clippy::disallowed_methods, reason = "an id that a test could fix could be guessed")]
fn new_id() -> String {
    let mut bytes = [0; DELAY_ID_BYTES];
    rand::rng().fill(&mut bytes[..]);
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// An error on the way of one delayed event.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DelayedError {
    /// There is no such delayed event, or none any more.
    #[error("there is no delayed event with this id")]
    NotFound,
    /// It was sent and cannot be cancelled, or was cancelled and cannot be sent.
    #[error("{0}")]
    Conflict(&'static str),
    /// The room says no, or the store fails.
    #[error(transparent)]
    Room(#[from] RoomError),
}

impl From<ReadError> for DelayedError {
    fn from(error: ReadError) -> Self {
        Self::Room(error.into())
    }
}

impl From<CommitError> for DelayedError {
    fn from(error: CommitError) -> Self {
        Self::Room(error.into())
    }
}

impl Rooms {
    fn delay_hash(&self, id: &str) -> Hash16 {
        self.engine.store.keyed_hash(HASH_DELAY_ID, id.as_bytes())
    }

    /// Sends an event later.
    pub async fn schedule(&self, actor: Actor<'_>, room: &RoomId, new: NewDelayed<'_>) -> Result<Scheduled, RoomError> {
        let view = self.view(room).await?.ok_or(RoomError::NoSuchRoom)?;
        let action = Action::Send { kind: new.kind, state_key: new.state_key };
        self.engine.permit(actor, &view, action).await?;
        let content = new.content.get();
        if content.len() > CONTENT_BYTES_MAX {
            return Err(RoomError::TooLarge { bytes: content.len() });
        }
        serde_json::from_str::<CanonicalJsonObject>(content)
            .map_err(|error| RoomError::BadContent(format!("content: {error}")))?;
        let transaction = self.schedule_transaction(actor, view.nid, new.transaction);
        let (store, now_ms) = (&self.engine.store, self.engine.clock.now_ms());
        for _ in 0..ATTEMPTS_MAX {
            if let Some(transaction) = &transaction
                && let Some(Packed(id)) = store.latest().get(&DELAYED_TRANSACTIONS, transaction).await?
                && let Some((record, _)) = self.delayed_record(&id).await?
            {
                return Ok(Scheduled::As(record.id));
            }
            if let Some(next_ms) = self.fullness(actor.nid, new.waiting_max).await? {
                return Ok(Scheduled::Full(Duration::from_millis(next_ms.saturating_sub(now_ms))));
            }
            let record = DelayedRecord {
                id: new_id(),
                user: actor.nid,
                guest: actor.guest,
                room: view.nid,
                kind: new.kind.to_owned(),
                state_key: new.state_key.map(str::to_owned),
                content: content.to_owned(),
                delay_ms: millis(new.delay),
                running_since_ms: now_ms,
                day: day_of(now_ms),
                transaction,
                outcome: None,
            };
            let hash = self.delay_hash(&record.id);
            let mut batch = Batch::default();
            if let Some(transaction) = &transaction {
                batch.expect_absent(&DELAYED_TRANSACTIONS, transaction);
                batch.put(&DELAYED_TRANSACTIONS, transaction, &Packed(hash));
            }
            self.put_delayed(&mut batch, hash, &record).await?;
            batch.put(&DELAYED_DUE, &(record.due_ms(), hash), &());
            batch.put(&DELAYED_BY_USER, &(actor.nid, WAITS, record.due_ms(), hash), &());
            match store.commit(batch).await {
                Ok(_) => {
                    self.engine.delayed.changed.notify_one();
                    return Ok(Scheduled::As(record.id));
                }
                Err(CommitError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(RoomError::Busy)
    }

    fn schedule_transaction(&self, actor: Actor<'_>, room: RoomNid, id: Option<&TransactionId>) -> Option<Hash16> {
        let mut bytes = self.engine.device_hash(actor)?.to_vec();
        bytes.extend_from_slice(&room.get().to_be_bytes());
        bytes.extend_from_slice(id?.as_bytes());
        Some(self.engine.store.keyed_hash(HASH_DELAY_TRANSACTION, &bytes))
    }

    /// When the next event of a user is due who has `max` waiting.
    async fn fullness(&self, user: UserNid, max: usize) -> Result<Option<u64>, RoomError> {
        let scan = Scan::prefix(&(user, WAITS)).limit(max);
        let waiting = self.engine.store.latest().scan_keys(&DELAYED_BY_USER, scan).await?;
        Ok(waiting.first().filter(|_| waiting.len() >= max).map(|(_, _, due_ms, _)| *due_ms))
    }

    async fn put_delayed(&self, batch: &mut Batch, hash: Hash16, record: &DelayedRecord) -> Result<(), RoomError> {
        let key = self.engine.delayed_key(record.room, record.day).await?;
        batch.put_sealed(&DELAYED_EVENTS, &hash, &Packed(record.clone()), &key);
        Ok(())
    }

    async fn delayed_record(&self, hash: &Hash16) -> Result<Option<(DelayedRecord, Position)>, RoomError> {
        let found = match self.engine.store.latest().get_versioned(&DELAYED_EVENTS, hash).await {
            // Gone with its room.
            Err(ReadError::Shredded) => None,
            found => found?,
        };
        Ok(found.map(|(Packed(record), version)| (record, version)))
    }

    async fn told(&self, record: DelayedRecord) -> Result<DelayedEvent, RoomError> {
        let content = RawJsonValue::from_string(record.content);
        Ok(DelayedEvent {
            id: record.id,
            room: self.view_of(record.room).await?.id.clone(),
            kind: record.kind,
            state_key: record.state_key,
            content: content.map_err(|_| RoomError::inconsistent("content of a delayed event"))?,
            delay_ms: record.delay_ms,
            running_since_ms: record.running_since_ms,
            outcome: record.outcome,
        })
    }

    /// The events of a user that wait, those that are due first at the front.
    pub async fn delayed_events(&self, user: UserNid, limit: usize) -> Result<Vec<DelayedEvent>, RoomError> {
        let scan = Scan::prefix(&(user, WAITS)).limit(limit);
        let keys = self.engine.store.latest().scan_keys(&DELAYED_BY_USER, scan).await?;
        let mut events = Vec::with_capacity(keys.len());
        for (_, _, _, hash) in keys {
            if let Some((record, _)) = self.delayed_record(&hash).await?.filter(|(record, _)| record.outcome.is_none())
            {
                events.push(self.told(record).await?);
            }
        }
        Ok(events)
    }

    /// One event of a user, waiting or not.
    pub async fn delayed_event(&self, user: UserNid, id: &str) -> Result<DelayedEvent, DelayedError> {
        let found = self.delayed_record(&self.delay_hash(id)).await?.filter(|(record, _)| record.user == user);
        let (record, _) = found.ok_or(DelayedError::NotFound)?;
        Ok(self.told(record).await?)
    }

    /// Starts the wait anew.
    pub async fn restart_delayed(&self, id: &str) -> Result<(), DelayedError> {
        let hash = self.delay_hash(id);
        let _alone = self.engine.delayed.lock_of(&hash).lock().await;
        let (mut record, version) = self.delayed_record(&hash).await?.ok_or(DelayedError::NotFound)?;
        if record.outcome.is_some() {
            return Err(DelayedError::Conflict("the event was sent or cancelled already"));
        }
        let mut batch = Batch::default();
        batch.expect_version(&DELAYED_EVENTS, &hash, Some(version));
        batch.delete(&DELAYED_DUE, &(record.due_ms(), hash));
        batch.delete(&DELAYED_BY_USER, &(record.user, WAITS, record.due_ms(), hash));
        record.running_since_ms = self.engine.clock.now_ms();
        batch.put(&DELAYED_DUE, &(record.due_ms(), hash), &());
        batch.put(&DELAYED_BY_USER, &(record.user, WAITS, record.due_ms(), hash), &());
        self.put_delayed(&mut batch, hash, &record).await?;
        self.engine.store.commit(batch).await?;
        Ok(())
    }

    /// Sees to it that the event is never sent.
    pub async fn cancel_delayed(&self, id: &str) -> Result<(), DelayedError> {
        let hash = self.delay_hash(id);
        let _alone = self.engine.delayed.lock_of(&hash).lock().await;
        let (record, version) = self.delayed_record(&hash).await?.ok_or(DelayedError::NotFound)?;
        match &record.outcome {
            None => Ok(self.finalise(hash, record, version, Outcome::Cancelled).await?),
            Some((_, Outcome::Sent(_))) => Err(DelayedError::Conflict("the event was sent already")),
            Some(_) => Ok(()),
        }
    }

    /// Sends the event now. When that fails it goes on waiting.
    pub async fn send_delayed(&self, id: &str) -> Result<(), DelayedError> {
        let hash = self.delay_hash(id);
        let _alone = self.engine.delayed.lock_of(&hash).lock().await;
        let (record, version) = self.delayed_record(&hash).await?.ok_or(DelayedError::NotFound)?;
        match &record.outcome {
            None => {
                let sent = self.send_waiting(&record).await?;
                Ok(self.finalise(hash, record, version, Outcome::Sent(sent)).await?)
            }
            Some((_, Outcome::Sent(_))) => Ok(()),
            Some(_) => Err(DelayedError::Conflict("the event was cancelled already")),
        }
    }

    /// Notes what became of an event, and forgets the oldest of the user's where that makes too many.
    async fn finalise(
        &self,
        hash: Hash16,
        mut record: DelayedRecord,
        version: Position,
        outcome: Outcome,
    ) -> Result<(), RoomError> {
        let now_ms = self.engine.clock.now_ms();
        let mut batch = Batch::default();
        batch.expect_version(&DELAYED_EVENTS, &hash, Some(version));
        batch.delete(&DELAYED_DUE, &(record.due_ms(), hash));
        batch.delete(&DELAYED_BY_USER, &(record.user, WAITS, record.due_ms(), hash));
        let scan = Scan::prefix(&(record.user, IS_FINAL)).limit(DELAYED_FINAL_PER_USER_MAX);
        let known = self.engine.store.latest().scan_keys(&DELAYED_BY_USER, scan).await?;
        if let Some((user, _, at_ms, oldest)) = known.first().filter(|_| known.len() >= DELAYED_FINAL_PER_USER_MAX) {
            self.forget_final(&mut batch, *user, *at_ms, *oldest).await?;
        }
        batch.put(&DELAYED_BY_USER, &(record.user, IS_FINAL, now_ms, hash), &());
        batch.put(&DELAYED_FINAL, &(now_ms, hash), &Packed(record.user));
        record.outcome = Some((now_ms, outcome));
        self.put_delayed(&mut batch, hash, &record).await?;
        self.engine.store.commit(batch).await?;
        Ok(())
    }

    /// Drops everything that a user wanted to be sent later, sent or not. Answers how much there was.
    pub(crate) async fn forget_delayed_of(&self, user: UserNid) -> Result<u64, RoomError> {
        let mut dropped = 0;
        loop {
            let scan = Scan::prefix(&user).limit(DELAYED_FINAL_PER_USER_MAX);
            let keys = self.engine.store.latest().scan_keys(&DELAYED_BY_USER, scan).await?;
            if keys.is_empty() {
                return Ok(dropped);
            }
            for (_, is_final, at_ms, hash) in keys {
                let _alone = self.engine.delayed.lock_of(&hash).lock().await;
                let mut batch = Batch::default();
                self.forget_final(&mut batch, user, at_ms, hash).await?;
                if is_final == WAITS {
                    batch.delete(&DELAYED_DUE, &(at_ms, hash));
                    batch.delete(&DELAYED_BY_USER, &(user, WAITS, at_ms, hash));
                }
                self.engine.store.commit(batch).await?;
                dropped += 1;
            }
        }
    }

    async fn forget_final(&self, batch: &mut Batch, user: UserNid, at_ms: u64, hash: Hash16) -> Result<(), RoomError> {
        if let Some((record, _)) = self.delayed_record(&hash).await?
            && let Some(transaction) = &record.transaction
        {
            batch.delete(&DELAYED_TRANSACTIONS, transaction);
        }
        batch.delete(&DELAYED_EVENTS, &hash);
        batch.delete(&DELAYED_BY_USER, &(user, IS_FINAL, at_ms, hash));
        batch.delete(&DELAYED_FINAL, &(at_ms, hash));
        Ok(())
    }

    async fn user_of(&self, user: UserNid) -> Result<ruma::OwnedUserId, RoomError> {
        let name = self.engine.store.interner().resolve(NS_USER, user.get()).await?;
        let id = name.and_then(|name| ruma::OwnedUserId::try_from(&*name).ok());
        id.ok_or_else(|| RoomError::inconsistent("delayed event of nobody"))
    }
}

#[cfg(test)]
mod tests;
