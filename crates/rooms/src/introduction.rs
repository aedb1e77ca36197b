//! What the servers of invited and knocking users are told of a room.

use std::sync::Arc;

use ruma::{RoomId, UserId, events::StateEventType};
use wardroom_event::Pdu;

use crate::{Rooms, error::RoomError, members::STRIPPED_TYPES};

impl Rooms {
    /// The whole events of the state that stripped state is made of, and the membership of whoever invites. Ungated: for
    /// those to whom the gate has let somebody speak.
    ///
    /// # Errors
    /// [`RoomError::NoSuchRoom`].
    pub async fn introduction(&self, room: &RoomId, by: &UserId) -> Result<Vec<Arc<Pdu>>, RoomError> {
        let view = self.view(room).await?.ok_or(RoomError::NoSuchRoom)?;
        let mut told = Vec::with_capacity(STRIPPED_TYPES.len() + 1);
        let places = STRIPPED_TYPES.iter().map(|kind| (kind, "")).chain([(&StateEventType::RoomMember, by.as_str())]);
        for (kind, state_key) in places {
            let event = self.engine.state_event(view.nid, view.state, kind, state_key).await?;
            told.extend(event.map(|event| Arc::clone(&event.pdu)));
        }
        Ok(told)
    }
}
