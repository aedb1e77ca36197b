//! `GET /rooms/{roomId}/messages`
//! ([spec](https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidmessages)).

use axum::extract::State;
use ruma::{
    RoomId,
    api::{Direction, client::message::get_message_events::v3::Request},
};
use serde::Serialize;
use wardroom_rooms::{Actor, MessagesPage, PAGE_EVENTS_MAX, Page, Place, RoomError};
use wardroom_web::{ApiError, Routes, Ruma};

use super::{
    Ignores, actor, at_most,
    event_json::{Events, EventsReply},
    hides, place,
};
use crate::ClientState;

/// How often other servers are asked for what is missing from one page.
const BACKFILLS_PER_PAGE_MAX: usize = 4;

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
    let page = filled_page(&state, reader, &request.room_id, page).await;
    let mut page = state.may_read(reader, &request.room_id, "messages", page).await?;
    let ignored = state.accounts.ignored_users(session.nid).await?;
    page.chunk.retain(|event| !hides(&ignored, event));
    let ignores = Ignores::of(&ignored);
    let body = Messages {
        start: page.start.to_string(),
        end: page.end.map(|end| end.to_string()),
        chunk: Events::with_relations(&state, ignores.viewer(reader), &request.room_id, &page.chunk).await?,
        state: Events::of(&state, reader, &page.members).await?,
    };
    EventsReply::of_room(&state, &request.room_id, "messages", body, |body| vec![&body.chunk, &body.state]).await
}

/// A page of history. Where events are missing in the way of reading on into the past, the servers in the room are asked for
/// them first.
async fn filled_page(
    state: &ClientState,
    reader: Actor<'_>,
    room: &RoomId,
    page: Page<'_>,
) -> Result<MessagesPage, RoomError> {
    let mut found = state.rooms.messages(reader, room, page).await?;
    let Some(federation) = state.federation.as_ref().filter(|_| page.backwards) else { return Ok(found) };
    let Some(view) = state.rooms.view(room).await? else { return Ok(found) };
    for _ in 0..BACKFILLS_PER_PAGE_MAX {
        let down_to = found.end.or(page.to).unwrap_or(Place::FIRST);
        match federation.rooms.backfill(&view, found.start, down_to).await {
            Ok(true) => found = state.rooms.messages(reader, room, page).await?,
            Ok(false) => break,
            Err(error) => {
                tracing::info!(%error, "events that are missing from a room's history could not be fetched");
                break;
            }
        }
    }
    if found.end.is_none() && !found.chunk.is_empty() {
        // There is more to see, some other time.
        let down_to = page.to.unwrap_or(Place::FIRST);
        let gap = state.rooms.gap(view.nid, found.start, down_to).await?;
        found.end = gap.map(|gap| gap.at).filter(|at| *at < found.start);
    }
    Ok(found)
}
