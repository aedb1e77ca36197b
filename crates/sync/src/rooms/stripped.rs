//! Rooms that a user is invited to or has knocked on: stripped state, and nothing else.

use wardroom_rooms::MembershipEntry;

use crate::{
    SyncError,
    hearing::Hearing,
    response::{Events, Object},
};

impl Hearing<'_> {
    /// What the user may know of the room, under this name.
    ///
    /// [Stripped state](https://spec.matrix.org/v1.19/client-server-api/#stripped-state). Event filters do not apply to
    /// it: it is what the user decides by.
    pub(super) async fn stripped(&self, entry: &MembershipEntry, name: &str) -> Result<Vec<u8>, SyncError> {
        let mut events = Events::default();
        for event in self.syncer.rooms.stripped_state(self.user, entry.room).await? {
            events.next().extend_from_slice(event.get().as_bytes());
        }
        let mut state = Object::default();
        state.raw("events", &events.end());
        let mut room = Object::default();
        room.object(name, state);
        Ok(room.end())
    }
}
