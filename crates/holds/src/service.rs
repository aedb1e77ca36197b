//! Setting, showing and releasing holds.

use std::{fmt, sync::Arc, time::Duration};

use ruma::UserId;
use tokio::{
    sync::{Notify, OwnedRwLockWriteGuard, RwLock},
    time::{sleep, timeout},
};
use wardroom_audit::{Act, AuditLog, Origin, Record, Who};
use wardroom_clock::SharedClock;
use wardroom_store::{Batch, Json, Scan, Store};

use crate::{
    Guard,
    error::HoldError,
    hold::{Hold, HoldId, NewHold, RELEASE_REASON_BYTES_MAX, Scope, State, check_text},
    index::Index,
    journal::{Entry, replay, write},
    tables::{HOLDS, HoldKey, IN_FORCE},
};

/// Holds that are in force at a time.
pub const HOLDS_IN_FORCE_MAX: usize = 10_000;
/// Holds in one answer.
pub const PAGE_MAX: usize = 1_000;
/// Holds that are looked at for one answer.
const LOOKED_AT_MAX: usize = 10_000;
/// The longest time that a change of the holds waits for what is being deleted.
const GUARDS_WAIT_MAX: Duration = Duration::from_secs(30);
/// How often holds are looked at whose time is over.
const EXPIRY_EVERY_MAX: Duration = Duration::from_secs(60);
/// Who ends holds whose time is over, in records.
pub(crate) const SERVICE: &str = "holds";

/// How holds are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldSettings {
    /// A hold is released when a second administrator asks for it as well.
    pub release_needs_two: bool,
}

impl Default for HoldSettings {
    fn default() -> Self {
        Self { release_needs_two: true }
    }
}

/// Holds, the newest first.
#[derive(Clone, Debug)]
pub struct Page {
    /// The holds.
    pub holds: Vec<Hold>,
    /// Behind which hold to go on, where there may be more.
    pub next: Option<HoldId>,
}

struct Keeper {
    store: Store,
    clock: SharedClock,
    audit: AuditLog,
    settings: HoldSettings,
    /// Told when a hold was set that may end sooner than the others.
    set: Notify,
}

/// The holds. Clones share everything. The default ones hold nothing and let nothing be set: for parts that are tested by
/// themselves, and for commands that delete nothing.
#[derive(Clone, Default)]
pub struct Holds {
    index: Arc<RwLock<Index>>,
    keeper: Option<Arc<Keeper>>,
}

impl fmt::Debug for Holds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Holds").finish_non_exhaustive()
    }
}

impl Holds {
    /// Opens the holds of a store, whose catalogue must hold [`crate::TABLES`], with those that an older copy of it, which was
    /// restored, does not have.
    ///
    /// # Errors
    /// When the store, or the journal of holds beside its keys, cannot be read or written.
    pub async fn open(
        store: Store,
        clock: SharedClock,
        audit: AuditLog,
        settings: HoldSettings,
    ) -> Result<Self, HoldError> {
        replay(&store, &audit).await?;
        let mut index = Index::default();
        let mut scan = Scan::all();
        loop {
            let keys: Vec<HoldKey> = store.latest().scan_keys(&IN_FORCE, scan.limit(PAGE_MAX)).await?;
            let Some(last) = keys.last().copied() else { break };
            for hold in store.latest().multi_get(&HOLDS, &keys).await? {
                // Without it nobody knows what must not be deleted.
                let Json(hold) = hold.ok_or(HoldError::Damaged)?;
                index.insert(&hold);
            }
            scan = Scan::all().after(&last);
        }
        let keeper = Keeper { store, clock, audit, settings, set: Notify::new() };
        Ok(Self { index: Arc::new(RwLock::new(index)), keeper: Some(Arc::new(keeper)) })
    }

    /// Sees that no hold is set while the guard lives.
    pub async fn nothing_changes(&self) -> Guard {
        Guard(Arc::clone(&self.index).read_owned().await)
    }

    /// As [`Self::nothing_changes`], without waiting; none where a hold is being set.
    pub fn try_nothing_changes(&self) -> Option<Guard> {
        Arc::clone(&self.index).try_read_owned().ok().map(Guard)
    }

    /// Sets a hold: nothing it covers is destroyed from the answer on. What was destroyed before is not brought back.
    ///
    /// # Errors
    /// [`HoldError::Invalid`] for a field that is wrong, [`HoldError::TooMany`], [`HoldError::Busy`]; when the store fails.
    pub async fn set(&self, new: NewHold, by: &UserId) -> Result<Hold, HoldError> {
        let keeper = self.keeper()?;
        let now_ms = keeper.clock.now_ms();
        new.check(now_ms)?;
        let mut index = self.alone().await?;
        if index.len() >= HOLDS_IN_FORCE_MAX {
            return Err(HoldError::TooMany(HOLDS_IN_FORCE_MAX));
        }
        let hold = Hold {
            id: HoldId::new(now_ms),
            scope: new.scope,
            reason: new.reason,
            authority: new.authority,
            created_by: by.to_owned(),
            created_ts: now_ms,
            expires_ts: new.expires_ts,
            release_requested_by: None,
            release_requested_ts: None,
            release_reason: None,
            released_by: None,
            released_ts: None,
        };
        write(&keeper.store, &Entry::Hold(Box::new(hold.clone()))).await?;
        let mut batch = Batch::default();
        let key = hold.id.key();
        batch.expect_absent(&HOLDS, &key);
        batch.put(&HOLDS, &key, &Json(hold.clone()));
        batch.put(&IN_FORCE, &key, &());
        let why = format!("{}: {}", hold.authority, hold.reason);
        keeper.audit.add(&mut batch, about(Record::of(Act::HoldSet), &hold).why(why));
        let (kept, known) = (Arc::clone(keeper), hold.clone());
        batch.on_commit(move |_| {
            index.insert(&known);
            drop(index);
            kept.set.notify_one();
        });
        if let Err(error) = keeper.store.commit(batch).await {
            keeper.tell(&Entry::NoHold(hold.id)).await;
            return Err(error.into());
        }
        tracing::info!(hold = %hold.id, "a legal hold was set");
        Ok(hold)
    }

    /// Releases a hold. Where two are needed for it, the first only asks for it: then the answer has no `released_ts`.
    ///
    /// # Errors
    /// [`HoldError::NoSuchHold`]; [`HoldError::Conflict`] where it was released before, or the same administrator asks
    /// again; [`HoldError::Invalid`] for the reason; [`HoldError::Busy`]; when the store fails.
    pub async fn release(&self, id: HoldId, by: &UserId, reason: &str) -> Result<Hold, HoldError> {
        check_text("reason", reason, RELEASE_REASON_BYTES_MAX).map_err(HoldError::Invalid)?;
        let keeper = self.keeper()?;
        let index = self.alone().await?;
        let mut hold = keeper.get(id).await?.ok_or(HoldError::NoSuchHold)?;
        if hold.released_ts.is_some() {
            return Err(HoldError::Conflict("hold_id: the hold was released already."));
        }
        let record = about(Record::of(Act::HoldRelease), &hold).why(reason);
        let now_ms = keeper.clock.now_ms();
        if keeper.settings.release_needs_two {
            match &hold.release_requested_by {
                Some(first) if first == by => {
                    return Err(HoldError::Conflict(
                        "hold_id: you have asked for the release already; another administrator has to release the hold.",
                    ));
                }
                Some(_) => {}
                None => {
                    hold.release_requested_by = Some(by.to_owned());
                    hold.release_requested_ts = Some(now_ms);
                    hold.release_reason = Some(reason.to_owned());
                    let mut batch = Batch::default();
                    batch.put(&HOLDS, &id.key(), &Json(hold.clone()));
                    keeper.audit.add(&mut batch, record.detail("requested"));
                    batch.on_commit(move |_| drop(index));
                    keeper.store.commit(batch).await?;
                    keeper.tell(&Entry::Hold(Box::new(hold.clone()))).await;
                    return Ok(hold);
                }
            }
        }
        hold.released_by = Some(by.to_owned());
        hold.release_reason = Some(reason.to_owned());
        keeper.end(index, hold, record.detail("released")).await
    }

    /// The hold with this id.
    ///
    /// # Errors
    /// [`HoldError::NoSuchHold`]; when the store fails.
    pub async fn get(&self, id: HoldId) -> Result<Hold, HoldError> {
        self.keeper()?.get(id).await?.ok_or(HoldError::NoSuchHold)
    }

    /// Holds, the newest first, from the one behind `after` on. A page may be short and yet not be the last.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn list(&self, state: State, after: Option<HoldId>, limit: usize) -> Result<Page, HoldError> {
        let view = self.keeper()?.store.latest();
        let (limit, mut holds, mut looked_at) = (limit.clamp(1, PAGE_MAX), Vec::new(), 0);
        let mut before = after;
        while looked_at < LOOKED_AT_MAX {
            let scan = before.map_or(Scan::all(), |id| Scan::all().before(&id.key())).reverse().limit(PAGE_MAX);
            let keys: Vec<HoldKey> = match state {
                State::InForce => view.scan_keys(&IN_FORCE, scan).await?,
                State::Released | State::All => view.scan_keys(&HOLDS, scan).await?,
            };
            let read = view.multi_get(&HOLDS, &keys).await?;
            for Json(hold) in read.into_iter().flatten() {
                before = Some(hold.id);
                if hold.is(state) {
                    holds.push(hold);
                }
                if holds.len() == limit {
                    return Ok(Page { holds, next: before });
                }
            }
            looked_at += keys.len();
            match keys.last() {
                Some(last) if keys.len() == PAGE_MAX => before = Some(HoldId::of_key(*last)),
                _ => return Ok(Page { holds, next: None }),
            }
        }
        Ok(Page { holds, next: before })
    }

    /// Ends holds whose time is over, as long as the server runs.
    pub async fn run(self) {
        let Some(keeper) = self.keeper.clone() else { return };
        loop {
            if let Err(error) = self.end_expired().await {
                tracing::error!(%error, "legal holds whose time is over could not be ended");
            }
            let next_ms = self.index.read().await.next_expiry_ms();
            let wait = next_ms.map(|next| Duration::from_millis(next.saturating_sub(keeper.clock.now_ms())));
            let wait = wait.map_or(EXPIRY_EVERY_MAX, |wait| wait.clamp(Duration::from_secs(1), EXPIRY_EVERY_MAX));
            tokio::select! {
                () = sleep(wait) => {}
                () = keeper.set.notified() => {}
            }
        }
    }

    /// Ends holds whose time is over now; tells how many they were.
    ///
    /// # Errors
    /// When the store fails, or something is being deleted for too long.
    pub async fn end_expired(&self) -> Result<usize, HoldError> {
        let keeper = self.keeper()?;
        let over = self.index.read().await.expired(keeper.clock.now_ms());
        let mut ended = 0;
        for id in over {
            let index = self.alone().await?;
            // Released meanwhile.
            let Some(hold) = keeper.get(id).await?.filter(|hold| hold.released_ts.is_none()) else { continue };
            let who = Who { service: Some(SERVICE.to_owned()), ..Who::default() };
            let record = Record::by(Act::HoldRelease, Origin { who, request: None });
            keeper.end(index, hold.clone(), about(record, &hold).detail("expired")).await?;
            ended += 1;
        }
        Ok(ended)
    }

    fn keeper(&self) -> Result<&Arc<Keeper>, HoldError> {
        self.keeper.as_ref().ok_or(HoldError::Conflict("no holds are kept here"))
    }

    /// Waits until nobody deletes anything.
    async fn alone(&self) -> Result<OwnedRwLockWriteGuard<Index>, HoldError> {
        timeout(GUARDS_WAIT_MAX, Arc::clone(&self.index).write_owned()).await.map_err(|_| HoldError::Busy)
    }
}

impl Keeper {
    async fn get(&self, id: HoldId) -> Result<Option<Hold>, HoldError> {
        Ok(self.store.latest().get(&HOLDS, &id.key()).await?.map(|Json(hold)| hold))
    }

    async fn end(
        &self,
        mut index: OwnedRwLockWriteGuard<Index>,
        mut hold: Hold,
        record: Record,
    ) -> Result<Hold, HoldError> {
        hold.released_ts = Some(self.clock.now_ms());
        let (id, mut batch) = (hold.id, Batch::default());
        batch.put(&HOLDS, &id.key(), &Json(hold.clone()));
        batch.delete(&IN_FORCE, &id.key());
        self.audit.add(&mut batch, record);
        batch.on_commit(move |_| index.remove(id));
        self.store.commit(batch).await?;
        self.tell(&Entry::Hold(Box::new(hold.clone()))).await;
        tracing::info!(hold = %id, "a legal hold has ended");
        Ok(hold)
    }

    /// Tells the journal what has become of a hold. The next start does where this fails.
    async fn tell(&self, entry: &Entry) {
        if let Err(error) = write(&self.store, entry).await {
            tracing::error!(%error, "the journal of holds beside the keys could not be written");
        }
    }
}

/// What a record says of a hold.
pub(crate) fn about(mut record: Record, hold: &Hold) -> Record {
    let Scope { room_id, user_id, media, from_ts, to_ts } = &hold.scope;
    record = record.name(hold.id.to_string());
    record.on.room = room_id.as_ref().map(ToString::to_string);
    record.on.user = user_id.as_ref().map(ToString::to_string);
    record.on.media = media.as_ref().map(ToString::to_string);
    (record.on.since, record.on.until) = (*from_ts, *to_ts);
    record
}
