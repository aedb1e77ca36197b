//! How much a user has not read of a room, as crate `push` counts it.

use std::sync::Arc;

use wardroom_push::{Tally, Whose};

use crate::{SyncError, hearing::Hearing, response::Object, rooms::Room};

impl Hearing<'_> {
    /// Tells how much of a room the user has not read.
    pub(crate) async fn tell_unread(&self, told: &mut Object, room: &Room<'_>) -> Result<(), SyncError> {
        let tally = self.tally(room).await?;
        if !self.filter.counts_threads() {
            told.value("unread_notifications", &tally.total());
            return Ok(());
        }
        let (main, threads) = tally.by_thread();
        told.value("unread_notifications", &main);
        if !threads.is_empty() {
            told.value("unread_thread_notifications", &threads);
        }
        Ok(())
    }

    /// The user's unread notices of a room, up to the end of what is told.
    pub(crate) async fn tally(&self, room: &Room<'_>) -> Result<Arc<Tally>, SyncError> {
        let whose = Whose { user: &self.session.user, nid: self.user };
        Ok(self.syncer.unread.tally(whose, room.view, room.entry.place, room.end).await?)
    }
}
