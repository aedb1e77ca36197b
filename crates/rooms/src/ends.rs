//! How rooms end by themselves.
//!
//! - A room that everybody of this server who was in it has left and forgotten is destroyed: nobody here can ever read it
//!   again.
//! - Where nobody has said anything for long, what was said is over and purged with its files, and the room stays as it
//!   is: nobody is put out and nobody elsewhere is told.
//! - Where in addition nothing that was said is left, the room is of no use: its members of this server leave, and it is
//!   destroyed. Rooms that have a type (spaces, lists) live of their state and stay.
//!
//! When something was last said stands in one small row per room, and who was the last to forget a room leaves a mark, each
//! in the batch of what happened. A slow walk over all rooms finds those from before. Members are told before an end that
//! they would notice, and whatever is said until then keeps the room as it is.

mod activity;
mod forgotten;
mod tables;
#[cfg(test)]
mod tests;

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use wardroom_audit::{Act, Record};
use wardroom_store::{Batch, Scan};

pub(crate) use self::tables::{ACTIVITY, Activity, FORGOTTEN};
use crate::{
    Rooms, UserNid,
    error::RoomError,
    ids::RoomNid,
    removal::RoomDeletion,
    tables::{ROOM_SERVERS, ROOMS},
    tasks::Work,
};

/// Rooms that the walk over all rooms looks at in one run.
const WALKED_PER_RUN: usize = 1_000;
/// Rooms that are being destroyed at the same time because they have ended; others wait for the next run.
const ENDING_MAX: usize = 100;

/// When rooms end by themselves; each `None` is never.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// Forgotten rooms are destroyed so long after the last user forgot them.
    pub forgotten: Option<Duration>,
    /// Rooms with nothing but state are destroyed so long after something was said.
    pub state_only: Option<Duration>,
    /// What was said is over so long after the last of it.
    pub inactive: Option<Duration>,
}

/// Why a room ended by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RoomEnd {
    /// Everybody has forgotten it.
    Forgotten,
    /// Nothing was said in it for long, and nothing is left of what was.
    Unused,
}

impl RoomEnd {
    /// The word of records.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Forgotten => "forgotten",
            Self::Unused => "state_only",
        }
    }
}

/// Where the walk over all rooms is. A restart begins it anew, which does no harm.
#[derive(Debug, Default)]
pub(crate) struct Walk(AtomicU64);

pub(crate) fn ms(term: Option<Duration>) -> Option<u64> {
    term.map(|term| u64::try_from(term.as_millis()).unwrap_or(u64::MAX))
}

impl Rooms {
    /// Ends the rooms whose time has come at this time, in milliseconds since 1970. A room that fails does not keep the
    /// others from it.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn end_rooms(&self, now_ms: u64) -> Result<(), RoomError> {
        self.walk_rooms(now_ms).await?;
        self.end_forgotten(now_ms).await?;
        self.end_inactive(now_ms).await
    }

    /// Looks at some rooms, whether something is to be noted of them that was not when it happened.
    async fn walk_rooms(&self, now_ms: u64) -> Result<(), RoomError> {
        let walk = &self.engine.walk.0;
        let after = RoomNid::new(walk.load(Ordering::Relaxed));
        let store = self.engine.store.latest();
        let rooms = store.scan_keys(&ROOMS, Scan::all().after(&after).limit(WALKED_PER_RUN)).await?;
        for room in &rooms {
            if store.get(&ACTIVITY, room).await?.is_none() {
                self.begin_activity(*room, now_ms).await?;
            }
            if self.engine.retention.ends.forgotten.is_some()
                && store.get(&FORGOTTEN, room).await?.is_none()
                && self.is_left_and_forgotten(*room).await?
            {
                let mut batch = Batch::default();
                batch.put(&FORGOTTEN, room, &now_ms);
                self.engine.store.commit(batch).await?;
            }
            tokio::task::consume_budget().await;
        }
        let end = rooms.len() < WALKED_PER_RUN;
        let next = if end { 0 } else { rooms.last().map_or(0, |room| room.get()) };
        walk.store(next, Ordering::Relaxed);
        Ok(())
    }

    /// Whether users of this server are in a room.
    pub(crate) async fn has_local_members(&self, room: RoomNid) -> Result<bool, RoomError> {
        let own = self.engine.store.interner().lookup(crate::NS_SERVER, self.engine.server_name.as_str()).await?;
        let Some(own) = own.map(crate::ServerNid::new) else { return Ok(false) };
        Ok(self.engine.store.latest().get(&ROOM_SERVERS, &(room, own)).await?.is_some())
    }

    /// Has a room destroyed that has ended; tells whether there is room for another one.
    async fn end(&self, room: RoomNid, end: RoomEnd) -> Result<bool, RoomError> {
        let ending = |work: &Work| matches!(work, Work::DeleteRoom(deletion) if deletion.end.is_some());
        let tasks = self.tasks().await?;
        let unfinished = tasks.iter().filter(|task| !task.status.is_final() && ending(&task.work)).count();
        if unfinished >= ENDING_MAX {
            return Ok(false);
        }
        let view = self.view_of(room).await?;
        // Before anybody is made to leave. Whether it may be destroyed is asked again when it is.
        let guard = self.engine.holds.nothing_changes().await;
        if guard.room(&view.id).is_held() || guard.any_in_room(&view.id, 0, u64::MAX) {
            return Ok(true);
        }
        drop(guard);
        let deletion = RoomDeletion::new(view.id.clone(), self.engine.own_hand()?, UserNid::new(0));
        let deletion = RoomDeletion { force: true, end: Some(end), ..deletion };
        let mut batch = Batch::default();
        self.engine.audit.add(&mut batch, Record::of(Act::RoomDelete).room(view.id.as_str()).detail(end.word()));
        let room = view.id.clone();
        #[cfg(test)]
        self.engine.steps.reach(crate::steps::Step::EndRoom).await;
        match self.add_task(batch, Work::DeleteRoom(Box::new(deletion)), |work| work.room() == Some(&*room)).await {
            // An administrator has it deleted already, or there is much else to do.
            Ok(_) | Err(RoomError::InvalidParam(_) | RoomError::Busy) => Ok(unfinished + 1 < ENDING_MAX),
            Err(error) => Err(error),
        }
    }
}

impl crate::Engine {
    /// Who is named where the server does something by itself.
    fn own_hand(&self) -> Result<ruma::OwnedUserId, RoomError> {
        if let Some(own) = self.gate.own_user() {
            return Ok(own.to_owned());
        }
        let id = format!("@server:{}", self.server_name);
        ruma::OwnedUserId::try_from(id).map_err(|_| RoomError::inconsistent("name of this server"))
    }
}
