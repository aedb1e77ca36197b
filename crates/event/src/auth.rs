//! Who may do what in a room.
//!
//! [Authorization rules](https://spec.matrix.org/v1.19/rooms/v12/#authorization-rules) of each room version, as
//! `ruma-state-res` implements them.

use std::sync::Arc;

use ruma::{
    EventId, UserId,
    events::{StateEventType, TimelineEventType},
    state_res::{auth_types_for_event, check_state_dependent_auth_rules, check_state_independent_auth_rules},
};
use serde_json::value::RawValue as RawJsonValue;

use crate::{Pdu, RoomVersion};

/// Why an event is not allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Rejection(String);

/// The state that authorizes an event: what its `auth_events` have to be taken from.
///
/// Where the room id is the create event's hash (version 12), the create event is not among them. [Auth events
/// selection](https://spec.matrix.org/v1.19/server-server-api/#auth-events-selection).
pub fn auth_types(
    version: RoomVersion,
    kind: &TimelineEventType,
    sender: &UserId,
    state_key: Option<&str>,
    content: &RawJsonValue,
) -> Result<Vec<(StateEventType, String)>, Rejection> {
    auth_types_for_event(kind, sender, state_key, content, &version.rules().authorization).map_err(Rejection)
}

/// Checks an event against a state: its auth events, the state before it, or the current state.
///
/// `state` must answer for `m.room.create` too, in every version.
pub fn authorize(pdu: &Pdu, state: impl Fn(&StateEventType, &str) -> Option<Arc<Pdu>>) -> Result<(), Rejection> {
    check_state_dependent_auth_rules(&pdu.version().rules().authorization, pdu, state).map_err(Rejection)
}

/// Checks an event by itself: that its auth events are of this room, accepted, and those that it should name.
///
/// `event` must also answer for the create event of the room, which version 12 events do not list.
pub fn check_standalone(pdu: &Pdu, event: impl Fn(&EventId) -> Option<Arc<Pdu>>) -> Result<(), Rejection> {
    check_state_independent_auth_rules(&pdu.version().rules().authorization, pdu, event).map_err(Rejection)
}
