//! State that tells somebody outside what a room is: the invited, and who knocks.

use std::sync::Arc;

use ruma::{UserId, events::StateEventType};

use crate::{Rooms, error::RoomError, events::Stored, members::STRIPPED_TYPES, room::RoomView};

impl Rooms {
    /// What the invited and those who knock are told of a room, as whole events, which servers exchange in place of
    /// stripped state: the create event and, where there are any, name, topic and the like, and the membership of the
    /// user who invites.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn told_outside(&self, room: &RoomView, inviter: Option<&UserId>) -> Result<Vec<Arc<Stored>>, RoomError> {
        let mut told = Vec::with_capacity(STRIPPED_TYPES.len() + 1);
        for kind in &STRIPPED_TYPES {
            told.extend(self.engine.state_event(room.nid, room.state, kind, "").await?);
        }
        if let Some(inviter) = inviter {
            let kind = StateEventType::RoomMember;
            told.extend(self.engine.state_event(room.nid, room.state, &kind, inviter.as_str()).await?);
        }
        Ok(told)
    }
}
