//! What a room said before: the state events of one type and key, each with the time for which it was in force here.

use std::sync::Arc;

use ruma::events::StateEventType;

use crate::{Rooms, error::RoomError, events::Stored, room::RoomView};

/// State events that one answer has.
pub const STATE_HISTORY_MAX: usize = 1_000;

/// A state event that was in force.
#[derive(Clone, Debug)]
pub struct InForce {
    /// The event; in its redacted form where it was redacted.
    pub event: Arc<Stored>,
    /// Since when, in milliseconds since 1970: when it came to this server.
    pub from_ms: u64,
    /// Until when; none where it still is. One that was redacted is in force in its redacted form.
    pub until_ms: Option<u64>,
}

impl Rooms {
    /// The events of one type with an empty state key that were in force in a room, the newest first, at most
    /// [`STATE_HISTORY_MAX`]: each the one of the room's resolved state when the next one came. It begins with what this server
    /// knows of the room. Ungated: for administrators.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn state_history(&self, room: &RoomView, kind: &StateEventType) -> Result<Vec<InForce>, RoomError> {
        let (mut found, mut root, mut until_ms) = (Vec::new(), room.state, None);
        let mut before = crate::Place::LAST;
        while found.len() < STATE_HISTORY_MAX {
            let Some(event) = self.state_event(room.nid, root, kind, "").await? else { break };
            let place = self.place_of(event.pdu.event_id()).await?.map(|(_, place)| place);
            // Where the history before it was deleted, the state before it is not known any more.
            if place.is_some_and(|place| place >= before) {
                break;
            }
            let from_ms = event.received_ms;
            found.push(InForce { event, from_ms, until_ms });
            // One that came with the room's state, as this server joined, has no place, and nothing known before it.
            let Some(place) = place else { break };
            (before, until_ms) = (place, Some(from_ms));
            root = self.state_before(room, place).await?;
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use ruma::user_id;
    use serde_json::{json, value::to_raw_value};

    use crate::{
        Preset,
        tests::{World, new_room, run},
    };

    #[test]
    fn what_was_said_before_is_told_with_its_time() {
        run(async {
            let world = World::new();
            let alice = world.person(user_id!("@alice:a.example")).await;
            let room = world.rooms.create(alice.actor(), new_room("12", Preset::PrivateChat)).await.unwrap();
            let kind = "org.example.rule".into();
            let history = async || {
                let view = world.rooms.view(&room).await.unwrap().unwrap();
                let found = world.rooms.state_history(&view, &kind).await.unwrap();
                let told = |version: &super::InForce| {
                    let content: serde_json::Value = version.event.pdu.content_as().unwrap();
                    (content["n"].as_u64(), version.from_ms, version.until_ms)
                };
                found.iter().map(told).collect::<Vec<_>>()
            };
            assert!(history().await.is_empty());
            let start = 1_700_000_000_000;
            for n in 0..3 {
                let content = to_raw_value(&json!({ "n": n })).unwrap();
                world.rooms.set_state(alice.actor(), &room, &kind, "", content).await.unwrap();
                let other = to_raw_value(&json!({ "n": 7 })).unwrap();
                world.rooms.set_state(alice.actor(), &room, &kind, "another", other).await.unwrap();
                world.clock.advance_ms(10);
            }
            let expected = [
                (Some(2), start + 20, None),
                (Some(1), start + 10, Some(start + 20)),
                (Some(0), start, Some(start + 10)),
            ];
            assert_eq!(history().await, expected);
        });
    }
}
