//! `GET /rooms/{roomId}/context/{eventId}`
//! ([spec](https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidcontexteventid)).

use axum::extract::State;
use ruma::{RoomId, api::client::context::get_context::v3::Request};
use serde::Serialize;
use wardroom_rooms::{PAGE_EVENTS_MAX, Place, RoomError};
use wardroom_web::{ApiError, Routes, Ruma};

use super::{
    Ignores, actor, at_most,
    event_json::{Events, EventsReply},
    hides,
};
use crate::{ClientState, error};

pub(super) fn routes() -> Routes<ClientState> {
    Routes::new().endpoint(get_context)
}

/// With empty lists too, where ruma's response leaves them out: clients read them unasked.
#[derive(Serialize)]
struct Context {
    start: String,
    end: String,
    #[serde(serialize_with = "Events::serialize_only")]
    event: Events,
    events_before: Events,
    events_after: Events,
    state: Events,
}

async fn get_context(
    State(state): State<ClientState>,
    Ruma { body: request, session, .. }: Ruma<Request>,
) -> Result<EventsReply<Context>, ApiError> {
    let reader = actor(&session);
    let limit = at_most(request.limit, PAGE_EVENTS_MAX);
    let page = state.rooms.context(reader, &request.room_id, &request.event_id, limit, &request.filter).await;
    let mut page = state.may_read(reader, &request.room_id, "context", page).await?;
    if page.before.len() < limit / 2 && fills_gap(&state, &request.room_id, page.start).await? {
        let filled = state.rooms.context(reader, &request.room_id, &request.event_id, limit, &request.filter).await;
        page = filled.map_err(error::of_room)?;
    }
    let ignored = state.accounts.ignored_users(session.nid).await?;
    if hides(&ignored, &page.event) {
        return Err(error::of_room(RoomError::NoSuchEvent));
    }
    page.before.retain(|event| !hides(&ignored, event));
    page.after.retain(|event| !hides(&ignored, event));
    let ignores = Ignores::of(&ignored);
    let (viewer, room) = (ignores.viewer(reader), &*request.room_id);
    let event = Events::with_relations(&state, viewer, room, &[page.event]).await?;
    if event.is_empty() {
        return Err(error::of_room(RoomError::NoSuchEvent));
    }
    let body = Context {
        start: page.start.to_string(),
        end: page.end.to_string(),
        event,
        events_before: Events::with_relations(&state, viewer, room, &page.before).await?,
        events_after: Events::with_relations(&state, viewer, room, &page.after).await?,
        state: Events::of(&state, reader, &page.state).await?,
    };
    EventsReply::of_room(&state, room, "context", body, |body| {
        vec![&body.events_before, &body.event, &body.events_after, &body.state]
    })
    .await
}

/// Asks other servers for what is missing before a place. Whether something came.
async fn fills_gap(state: &ClientState, room: &RoomId, before: Place) -> Result<bool, ApiError> {
    let Some(federation) = &state.federation else { return Ok(false) };
    let Some(view) = state.rooms.view(room).await.map_err(error::of_room)? else { return Ok(false) };
    let filled = federation.rooms.backfill(&view, before, Place::FIRST).await;
    Ok(filled.unwrap_or_else(|error| {
        tracing::info!(%error, "events that are missing from a room's history could not be fetched");
        false
    }))
}
