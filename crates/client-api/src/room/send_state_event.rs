//! `PUT /rooms/{roomId}/state/{eventType}/{stateKey}`
//! ([spec](https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidstateeventtypestatekey)).

use axum::{Json, extract::State};
use ruma::{UserId, api::client::state::send_state_event::v3::Request, events::StateEventType};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue as RawJsonValue};
use wardroom_web::{ApiError, Class, Routes, Ruma};

use super::{actor, may_be_invited, unsuspended};
use crate::{
    ClientState,
    delayed_events::{Delayable, Later, later},
    error,
};

/// An empty state key may be left out with or without its slash; ruma lists neither form.
pub(super) const PATHS_WITHOUT_KEY: [&str; 4] = [
    "/_matrix/client/v3/rooms/{room_id}/state/{event_type}",
    "/_matrix/client/v3/rooms/{room_id}/state/{event_type}/",
    "/_matrix/client/r0/rooms/{room_id}/state/{event_type}",
    "/_matrix/client/r0/rooms/{room_id}/state/{event_type}/",
];

pub(super) fn routes() -> Routes<ClientState> {
    Routes::new().endpoint(send_state_event).endpoint_at(&PATHS_WITHOUT_KEY, send_state_event)
}

async fn send_state_event(
    State(state): State<ClientState>,
    Ruma { body: delayable, session, json, .. }: Ruma<Delayable<Request>>,
) -> Result<Json<Value>, ApiError> {
    state.limits.take(Class::Message, session.nid)?;
    unsuspended(&session)?;
    state.accounts.presence().note_active(&session);
    // ruma stops reading after the first value and does not see what comes behind it.
    let content: Box<RawJsonValue> = serde_json::from_slice(&json)
        .map_err(|error| ApiError::not_json(format!("The request body is not JSON: {error}.")))?;
    let delay = delayable.delay()?;
    let request = delayable.request;
    let kind = &request.event_type;
    if *kind == StateEventType::RoomMember {
        check_invitation(&state, &request.state_key, &content).await?;
    }
    if let Some(delay) = delay {
        let (room, kind, state_key) = (&request.room_id, kind.to_string(), Some(request.state_key.as_str()));
        let event = Later { room, kind: &kind, state_key, content: &content, delay, transaction: None };
        return later(&state, &session, event).await;
    }
    let sent = state.rooms.set_state(actor(&session), &request.room_id, kind, &request.state_key, content);
    Ok(Json(json!({ "event_id": sent.await.map_err(error::of_room)? })))
}

/// An invitation by this way is refused as by any other; what is wrong with it besides is found later.
async fn check_invitation(state: &ClientState, user: &str, content: &RawJsonValue) -> Result<(), ApiError> {
    #[derive(Deserialize)]
    struct Content {
        membership: String,
    }
    let invites = serde_json::from_str::<Content>(content.get()).is_ok_and(|content| content.membership == "invite");
    match <&UserId>::try_from(user) {
        Ok(user) if invites => may_be_invited(state, "stateKey", user).await,
        _ => Ok(()),
    }
}
