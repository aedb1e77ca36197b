//! `GET /rooms/{roomId}/messages`
//! ([spec](https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidmessages)).

use axum::extract::State;
use ruma::api::{Direction, client::message::get_message_events::v3::Request};
use serde::Serialize;
use wardroom_rooms::{PAGE_EVENTS_MAX, Page};
use wardroom_web::{ApiError, Routes, Ruma};

use super::{
    Ignores, actor, at_most,
    event_json::{Events, EventsReply},
    hides, place,
};
use crate::{ClientState, error};

pub(super) fn routes() -> Routes<ClientState> {
    Routes::new().endpoint(get_message_events)
}

#[derive(Serialize)]
struct Messages {
    start: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<String>,
    chunk: Events,
    #[serde(skip_serializing_if = "Events::is_empty")]
    state: Events,
}

async fn get_message_events(
    State(state): State<ClientState>,
    Ruma { body: request, session, .. }: Ruma<Request>,
) -> Result<EventsReply<Messages>, ApiError> {
    // Whichever of the two limits is the smaller one.
    let limit = request.filter.limit.map_or(request.limit, |limit| limit.min(request.limit));
    let page = Page {
        from: place("from", request.from.as_deref())?,
        to: place("to", request.to.as_deref())?,
        backwards: matches!(request.dir, Direction::Backward),
        limit: at_most(limit, PAGE_EVENTS_MAX),
        filter: &request.filter,
    };
    let reader = actor(&session);
    let mut page = state.rooms.messages(reader, &request.room_id, page).await.map_err(error::of_room)?;
    let ignored = state.accounts.ignored_users(session.nid).await?;
    page.chunk.retain(|event| !hides(&ignored, event));
    let ignores = Ignores::of(&ignored);
    let body = Messages {
        start: page.start.to_string(),
        end: page.end.map(|end| end.to_string()),
        chunk: Events::with_relations(&state, ignores.viewer(reader), &request.room_id, &page.chunk).await?,
        state: Events::of(&state, reader, &page.members).await?,
    };
    Ok(EventsReply { events_bytes: body.chunk.bytes() + body.state.bytes(), body })
}
