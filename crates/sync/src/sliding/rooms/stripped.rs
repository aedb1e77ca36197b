//! Rooms that the user is invited to or has knocked on: stripped state, and nothing else.

use super::{super::connections::Form, RoomAnswer, Telling};
use crate::{SyncError, response::Events, sights::Part};

impl Telling<'_> {
    /// Tells what the user may know of the room, always as a whole.
    pub(super) async fn stripped(&self) -> Result<RoomAnswer, SyncError> {
        let mut events = Events::default();
        let rooms = &self.hearing.syncer.rooms;
        let stripped = rooms.stripped_state(self.hearing.user, self.scoped.entry.room).await?;
        for event in &stripped {
            events.next().extend_from_slice(event.get().as_bytes());
        }
        let events = events.end();
        let mut told = self.begin();
        // The name that clients know, and the one that the proposal has in the end.
        told.raw("invite_state", &events);
        told.raw("stripped_state", &events);
        told.value("bump_stamp", &self.scoped.bump.get());
        Ok(RoomAnswer {
            room: self.view.nid,
            id: self.view.id.clone(),
            part: Some(Part { json: told.end(), stripped: stripped.len(), ..Part::default() }),
            told: self.told(Form::Stripped),
            timeline: None,
            oldest: self.now,
        })
    }
}
