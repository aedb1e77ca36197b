//! Doing what is to be done.

use std::{collections::HashSet, fmt, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use ruma::OwnedUserId;
use tokio::{task::JoinSet, time::sleep};
use wardroom_audit::origin;
use wardroom_store::Batch;

use super::{Task, TaskStatus, Work};
use crate::{MemberProfile, Rooms, error::RoomError};

/// Tasks that are done at the same time.
const AT_ONCE: usize = 4;
/// Pause after a failure that may pass: a full disk, say.
const RETRY: Duration = Duration::from_secs(5);
/// How often a task is tried that fails in a way that may pass.
const TRIES_MAX: u32 = 100;

/// Says how users of this server are shown in rooms.
#[derive(Clone)]
pub struct Profiles(Arc<dyn Fn(OwnedUserId) -> BoxFuture<'static, MemberProfile> + Send + Sync>);

impl Profiles {
    /// Asks this function.
    pub fn new(of: impl Fn(OwnedUserId) -> BoxFuture<'static, MemberProfile> + Send + Sync + 'static) -> Self {
        Self(Arc::new(of))
    }

    pub(crate) async fn of(&self, user: OwnedUserId) -> MemberProfile {
        (self.0)(user).await
    }
}

impl fmt::Debug for Profiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Profiles")
    }
}

impl Rooms {
    /// Does what administrators have asked for, and goes on with what a crash interrupted. To be spawned once, and
    /// cancelled between two steps.
    pub async fn run_tasks(self, profiles: Profiles) {
        let mut running: JoinSet<String> = JoinSet::new();
        let mut begun: HashSet<String> = HashSet::new();
        loop {
            match self.tasks().await {
                Ok(tasks) => {
                    for task in tasks.into_iter().filter(|task| !task.status.is_final()) {
                        self.keep_closed(&task).await;
                        if running.len() < AT_ONCE && begun.insert(task.id.clone()) {
                            let asked = task.origin();
                            running.spawn(origin::scope(asked, self.clone().run_task(task, profiles.clone())));
                        }
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "tasks could not be read; trying again");
                    sleep(RETRY).await;
                    continue;
                }
            }
            tokio::select! {
                () = self.engine.tasks.added.notified() => {}
                Some(ended) = running.join_next(), if !running.is_empty() => {
                    match ended {
                        Ok(id) => drop(begun.remove(&id)),
                        Err(error) => tracing::error!(%error, "a task ended in a panic; it goes on after a restart"),
                    }
                }
            }
        }
    }

    async fn run_task(self, mut task: Task, profiles: Profiles) -> String {
        let (id, name) = (task.id.clone(), task.work.name());
        let again = task.status == TaskStatus::Active;
        task.status = TaskStatus::Active;
        tracing::info!(task = %id, again, "{name}: begins");
        for tried in 1..=TRIES_MAX {
            let done = match self.save_task(&mut task, Batch::default()).await {
                Ok(()) => self.do_task(&mut task, &profiles).await,
                failed => failed,
            };
            let error = match done {
                Ok(()) => None,
                Err(RoomError::Busy | RoomError::DiskFull | RoomError::Storage(_)) if tried < TRIES_MAX => {
                    tracing::warn!(task = %id, "{name}: could not go on; trying again");
                    sleep(RETRY).await;
                    continue;
                }
                Err(error) => Some(error.to_string()),
            };
            tracing::info!(task = %id, failed = error.is_some(), "{name}: ends");
            task.status = if error.is_some() { TaskStatus::Failed } else { TaskStatus::Complete };
            task.error = error;
            if let Err(error) = self.save_task(&mut task, Batch::default()).await {
                tracing::error!(%error, task = %id, "{name}: what became of it could not be written");
            }
            break;
        }
        id
    }

    async fn do_task(&self, task: &mut Task, profiles: &Profiles) -> Result<(), RoomError> {
        match &task.work {
            Work::DeleteRoom(_) => self.do_deletion(task, profiles).await,
            Work::PurgeHistory(_) => self.do_purge(task).await,
            Work::Redact(_) => self.do_redaction(task).await,
            Work::Erase { .. } => self.do_erasure(task).await,
        }
    }
}
