//! `GET /rooms/{roomId}/state` and `GET /rooms/{roomId}/state/{eventType}/{stateKey}`
//! ([spec](https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidstate)).

use axum::extract::State;
use ruma::api::client::state::{
    get_state_event_for_key::v3::{Request as ForKeyRequest, Response as ForKeyResponse, StateEventFormat},
    get_state_events::v3::Request,
};
use wardroom_web::{ApiError, Reply, Routes, Ruma};

use super::{
    actor,
    event_json::{Events, EventsReply},
    send_state_event::PATHS_WITHOUT_KEY,
};
use crate::{ClientState, error};

pub(super) fn routes() -> Routes<ClientState> {
    Routes::new()
        .endpoint(get_state_events)
        .endpoint(get_state_event_for_key)
        .endpoint_at(&PATHS_WITHOUT_KEY, get_state_event_for_key)
}

async fn get_state_events(
    State(state): State<ClientState>,
    Ruma { body: request, session, .. }: Ruma<Request>,
) -> Result<EventsReply<Events>, ApiError> {
    let reader = actor(&session);
    let events = state.rooms.current_state(reader, &request.room_id).await;
    let events = state.may_read(reader, &request.room_id, "state", events).await?;
    let body = Events::of(&state, reader, &events).await?;
    EventsReply::of_room(&state, &request.room_id, "state", body, |body| vec![body]).await
}

async fn get_state_event_for_key(
    State(state): State<ClientState>,
    Ruma { body: request, session, .. }: Ruma<ForKeyRequest>,
) -> Result<Reply<ForKeyResponse>, ApiError> {
    let reader = actor(&session);
    let whole_event = match request.format {
        StateEventFormat::Content => false,
        StateEventFormat::Event => true,
        _ => return Err(ApiError::invalid_param("format: must be `content` or `event`.")),
    };
    let event = state.rooms.one_state(reader, &request.room_id, &request.event_type, &request.state_key).await;
    let event = state.may_read(reader, &request.room_id, "state", event).await?;
    let event = event.ok_or_else(|| ApiError::not_found("The room has no state with this type and state key."))?;
    let json = if whole_event {
        state.rooms.client_event(reader, &event, true).await.map_err(error::of_room)?
    } else {
        event.pdu.content().to_owned()
    };
    state.note_seen(&request.room_id, "state", [&event]).await?;
    Ok(Reply(ForKeyResponse::new(json)))
}
