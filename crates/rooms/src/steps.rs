//! Places at which tests stop the engine for good, as a crash does: what is written stays, and nothing more is done.

use parking_lot::Mutex;
use tokio::sync::Notify;

/// What would be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Noting days whose keys are to be destroyed.
    Doom,
    /// Pruning a page of events.
    Prune,
    /// Pruning a page of states that something else took the place of.
    Superseded,
    /// Deleting a page of what redacted events said.
    Originals,
    /// Dropping a page of what is left of events.
    Stubs,
    /// Destroying keys of days.
    DestroyDays,
    /// Writing down that keys of days were destroyed.
    NoteShredded,
    /// Rewriting files.
    Compact,
    /// Writing down what was rewritten.
    Compacted,
    /// Taking the marks off the rooms whose files were rewritten.
    Unmark,
    /// Having a room destroyed that has ended.
    EndRoom,
    /// Writing down that a room is being destroyed.
    Close,
    /// Destroying the keys of a room.
    DestroyRoom,
    /// Deleting the rows of a room whose keys are destroyed.
    EraseRows,
    /// Deleting the last of them.
    Destroyed,
    /// Purging a page of a room's history.
    History,
}

/// Where to stop.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    /// A step, and how often it is passed before.
    at: Mutex<Option<(Step, u32)>>,
    stopped: Notify,
}

impl Steps {
    /// Stops at this step once it was passed so often.
    pub(crate) fn stop_at(&self, step: Step, passed: u32) {
        *self.at.lock() = Some((step, passed));
    }

    /// Comes to a step, and goes on unless it is the one to stop at.
    pub(crate) async fn reach(&self, step: Step) {
        let stops = match &mut *self.at.lock() {
            Some((at, 0)) => *at == step,
            Some((at, passed)) => {
                *passed -= u32::from(*at == step);
                false
            }
            None => false,
        };
        if stops {
            self.stopped.notify_one();
            std::future::pending::<()>().await;
        }
    }

    /// Waits until it was stopped.
    pub(crate) async fn stopped(&self) {
        self.stopped.notified().await;
    }
}
