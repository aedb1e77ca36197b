//! `GET /rooms/{roomId}/event/{eventId}`
//! ([spec](https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomideventeventid)).

use axum::extract::State;
use ruma::{
    api::client::room::get_room_event::v3::{Request, Response},
    serde::Raw,
};
use wardroom_rooms::RoomError;
use wardroom_web::{ApiError, Reply, Routes, Ruma};

use super::{Ignores, actor, hides};
use crate::{ClientState, error};

pub(super) fn routes() -> Routes<ClientState> {
    Routes::new().endpoint(get_room_event)
}

async fn get_room_event(
    State(state): State<ClientState>,
    Ruma { body: request, session, .. }: Ruma<Request>,
) -> Result<Reply<Response>, ApiError> {
    let reader = actor(&session);
    let event = state.rooms.event(reader, &request.room_id, &request.event_id).await;
    let event = state.may_read(reader, &request.room_id, "event", event).await?;
    let ignored = state.accounts.ignored_users(session.nid).await?;
    if hides(&ignored, &event) {
        return Err(error::of_room(RoomError::NoSuchEvent));
    }
    let ignores = Ignores::of(&ignored);
    let found = [event];
    let event = state.rooms.client_events(ignores.viewer(reader), &request.room_id, &found).await;
    let event = event.map_err(error::of_room)?.pop().ok_or_else(|| error::of_room(RoomError::NoSuchEvent))?;
    state.note_seen(&request.room_id, "event", &found).await?;
    Ok(Reply(Response::new(Raw::from_json(event))))
}
