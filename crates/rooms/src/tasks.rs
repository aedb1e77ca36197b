//! Work of administrators that takes longer than a request: deleting rooms, purging histories, redacting what somebody
//! sent.
//!
//! What is to be done stands in the store before anybody is told that it will be, and so does how far it got. After a
//! crash it goes on where it was. Each kind of work is made of steps that can be done twice.

mod run;

use rand::RngExt as _;
use ruma::{OwnedRoomId, OwnedUserId, RoomId};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use wardroom_audit::{Origin, Who, origin};
use wardroom_store::{Batch, Hash16, Json, Profile, Scan, Seal, Table};

pub use self::run::Profiles;
use crate::{
    Rooms, error::RoomError, history_purge::HistoryPurge, ids::UserNid, mass_redaction::MassRedaction,
    removal::RoomDeletion,
};

/// Tasks that are kept, finished or not; more are refused.
pub const TASKS_MAX: usize = 10_000;
/// How long what became of a task is kept, in milliseconds: seven days.
const FINISHED_KEPT_MS: u64 = 7 * 24 * 60 * 60 * 1_000;

/// Id of a task to what is to be done and how far it got.
pub(crate) const TASKS: Table<Hash16, Json<Task>> = Table::new(0x0281, "room_tasks", Profile::Scan, Seal::System);

/// How far a task got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskStatus {
    /// It waits for its turn.
    Scheduled,
    /// It is being done.
    Active,
    /// It is done.
    Complete,
    /// It cannot be done; the task says why.
    Failed,
}

impl TaskStatus {
    /// Whether nothing will happen any more.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Complete | Self::Failed)
    }

    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Active => "active",
            Self::Complete => "complete",
            Self::Failed => "failed",
        }
    }
}

/// What is to be done, and what of it was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Work {
    /// Delete a room.
    DeleteRoom(Box<RoomDeletion>),
    /// Purge a room's history.
    PurgeHistory(HistoryPurge),
    /// Redact what a user sent.
    Redact(MassRedaction),
    /// Erase a person.
    Erase {
        /// Who.
        user: OwnedUserId,
        /// Their number.
        nid: UserNid,
    },
}

impl Work {
    /// The room that it is about, if it is about one.
    pub fn room(&self) -> Option<&RoomId> {
        match self {
            Self::DeleteRoom(deletion) => Some(&deletion.room),
            Self::PurgeHistory(purge) => Some(&purge.room),
            Self::Redact(_) | Self::Erase { .. } => None,
        }
    }

    /// The name of this kind of work.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::DeleteRoom(_) => "delete_room",
            Self::PurgeHistory(_) => "purge_history",
            Self::Redact(_) => "redact_all_events",
            Self::Erase { .. } => "erase_user",
        }
    }
}

/// A task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Its id: 32 hexadecimal digits.
    pub id: String,
    /// What is to be done.
    pub work: Work,
    /// How far it got.
    pub status: TaskStatus,
    /// When it was wished for, in milliseconds since 1970.
    pub created_ms: u64,
    /// When it last got on, in milliseconds since 1970.
    pub updated_ms: u64,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Who wished for it.
    #[serde(default)]
    pub(crate) who: Who,
    /// The request that did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) request: Option<String>,
}

impl Task {
    /// Who wished for it, and by which request: what is done for it is their doing.
    pub(crate) fn origin(&self) -> Origin {
        Origin { who: self.who.clone(), request: self.request.clone() }
    }
}

/// What the engine keeps in memory of tasks.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    /// There is a new one.
    added: Notify,
    /// One got on.
    moved: Notify,
    /// Held while one is added: whether there is another like it must not change meanwhile.
    adding: tokio::sync::Mutex<()>,
}

impl Tasks {
    /// Wakes who waits for tasks to get on.
    pub(crate) fn has_moved(&self) {
        self.moved.notify_waiters();
    }
}

impl crate::Engine {
    /// Writes down how far a task got, in the batch of what it did.
    pub(crate) fn put_task(&self, batch: &mut Batch, task: &mut Task) -> Result<(), RoomError> {
        let key = key_of(&task.id).ok_or_else(|| RoomError::inconsistent("id of a task"))?;
        task.updated_ms = self.clock.now_ms();
        batch.put(&TASKS, &key, &Json(task.clone()));
        Ok(())
    }
}

#[expect(clippy::disallowed_methods, reason = "an id that a test could fix could be guessed")]
fn new_key() -> Hash16 {
    let mut key = [0; 16];
    rand::rng().fill(&mut key[..]);
    key
}

fn id_of(key: &Hash16) -> String {
    use std::fmt::Write as _;
    key.iter().fold(String::with_capacity(32), |mut id, byte| {
        // Writing to a String does not fail.
        let _ = write!(id, "{byte:02x}");
        id
    })
}

fn key_of(id: &str) -> Option<Hash16> {
    if id.len() != 32 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut key = [0; 16];
    for (byte, at) in key.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(id.get(at..at + 2)?, 16).ok()?;
    }
    Some(key)
}

impl Rooms {
    /// Adds a task, with what else is to be written with it. `unlike` refuses it beside another that is not finished.
    pub(crate) async fn add_task(
        &self,
        mut batch: Batch,
        work: Work,
        unlike: impl Fn(&Work) -> bool,
    ) -> Result<String, RoomError> {
        let _alone = self.engine.tasks.adding.lock().await;
        let known = self.tasks().await?;
        let unfinished: Vec<&Task> = known.iter().filter(|task| !task.status.is_final()).collect();
        if unfinished.len() >= TASKS_MAX {
            return Err(RoomError::Busy);
        }
        if unfinished.iter().any(|task| unlike(&task.work)) {
            return Err(RoomError::InvalidParam("The same is being done already.".to_owned()));
        }
        self.forget_old_tasks(&mut batch, &known);
        let (key, now_ms) = (new_key(), self.engine.clock.now_ms());
        let Origin { who, request } = origin::current();
        let task = Task {
            id: id_of(&key),
            work,
            status: TaskStatus::Scheduled,
            created_ms: now_ms,
            updated_ms: now_ms,
            error: None,
            who,
            request,
        };
        batch.put(&TASKS, &key, &Json(task.clone()));
        self.engine.store.commit(batch).await?;
        self.engine.tasks.added.notify_one();
        Ok(task.id)
    }

    fn forget_old_tasks(&self, batch: &mut Batch, known: &[Task]) {
        let before_ms = self.engine.clock.now_ms().saturating_sub(FINISHED_KEPT_MS);
        let mut finished: Vec<&Task> = known.iter().filter(|task| task.status.is_final()).collect();
        finished.sort_unstable_by_key(|task| task.updated_ms);
        let too_many = (known.len() + 1).saturating_sub(TASKS_MAX);
        for (index, task) in finished.into_iter().enumerate() {
            if let Some(key) = key_of(&task.id).filter(|_| index < too_many || task.updated_ms < before_ms) {
                batch.delete(&TASKS, &key);
            }
        }
    }

    /// The task with this id, if it is known.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn task(&self, id: &str) -> Result<Option<Task>, RoomError> {
        let Some(key) = key_of(id) else { return Ok(None) };
        Ok(self.engine.store.latest().get(&TASKS, &key).await?.map(|task| task.0))
    }

    /// All tasks that are known, the oldest first: those that wait or are being done, and those finished in the last
    /// seven days.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn tasks(&self) -> Result<Vec<Task>, RoomError> {
        let rows = self.engine.store.latest().scan(&TASKS, Scan::all().limit(2 * TASKS_MAX)).await?;
        let mut tasks: Vec<Task> = rows.into_iter().map(|(_, task)| task.0).collect();
        tasks.sort_by(|a, b| (a.created_ms, &a.id).cmp(&(b.created_ms, &b.id)));
        Ok(tasks)
    }

    /// Waits until a task is finished, and tells what became of it; none where it is not known.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn finished_task(&self, id: &str) -> Result<Option<Task>, RoomError> {
        loop {
            // First listen, then look.
            let moved = self.engine.tasks.moved.notified();
            tokio::pin!(moved);
            moved.as_mut().enable();
            match self.task(id).await? {
                Some(task) if !task.status.is_final() => moved.await,
                task => return Ok(task),
            }
        }
    }

    /// Writes down how far a task got, with what else is to be written with it.
    pub(crate) async fn save_task(&self, task: &mut Task, mut batch: Batch) -> Result<(), RoomError> {
        self.engine.put_task(&mut batch, task)?;
        self.engine.store.commit(batch).await?;
        self.engine.tasks.has_moved();
        Ok(())
    }

    /// The id of a room that was here, or still is.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn room_id(&self, room: crate::RoomNid) -> Result<Option<OwnedRoomId>, RoomError> {
        let name = self.engine.store.interner().resolve(crate::NS_ROOM, room.get()).await?;
        Ok(name.and_then(|name| OwnedRoomId::try_from(&*name).ok()))
    }
}

#[cfg(test)]
mod tests {
    use super::{id_of, key_of};

    #[test]
    fn ids_of_tasks_are_their_keys() {
        let key = [0xab; 16];
        assert_eq!(key_of(&id_of(&key)), Some(key));
        for junk in ["", "ab", &"g".repeat(32), &"é".repeat(16), &"a".repeat(33)] {
            assert_eq!(key_of(junk), None, "{junk}");
        }
    }
}
