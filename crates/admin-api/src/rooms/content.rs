//! What users wrote, for administrators who may read it: `GET /_synapse/admin/v1/rooms/{room}/messages`, `.../context`,
//! `.../timestamp_to_event`, `.../hierarchy`, and `v1/fetch_event/{event}`. What is encrypted stays so.

use std::{str::FromStr as _, sync::Arc};

use axum::Json;
use ruma::{
    OwnedEventId,
    api::client::filter::{LazyLoadOptions, RoomEventFilter},
};
use serde_json::{Value, json, value::RawValue as RawJsonValue};
use wardroom_accounts::AdminScope::{Privacy, Rooms};
use wardroom_rooms::{HierarchyQuery, PAGE_EVENTS_MAX, Page, Place, Reader, RoomView, Stored};
use wardroom_web::ApiError;

use crate::{
    AdminState,
    endpoint::{Asked, Endpoints, no_such_room},
    error,
};

/// Events on a page where the request does not say how many.
const EVENTS_DEFAULT: usize = 10;

pub(super) fn endpoints() -> Endpoints {
    Endpoints::new()
        .get("/_synapse/admin/v1/rooms/{room_id}/messages", Privacy, "Reads a room's history.", messages)
        .get(
            "/_synapse/admin/v1/rooms/{room_id}/context/{event_id}",
            Privacy,
            "Reads an event with those around it.",
            context,
        )
        .get(
            "/_synapse/admin/v1/rooms/{room_id}/timestamp_to_event",
            Privacy,
            "Finds the event closest to a time.",
            near,
        )
        .get("/_synapse/admin/v1/rooms/{room_id}/hierarchy", Rooms, "Tells the rooms of a space.", hierarchy)
        .get("/_synapse/admin/v1/fetch_event/{event_id}", Privacy, "Reads one event.", fetch)
}

async fn view(state: &AdminState, asked: &Asked) -> Result<Arc<RoomView>, ApiError> {
    let view = state.rooms.view(&asked.room_id(0)?).await.map_err(error::of_room)?;
    let view = view.filter(|view| view.create.get() != 0).ok_or_else(no_such_room)?;
    // No content and no name: what was looked at, and by whom.
    tracing::info!(admin = asked.nid().get(), room = view.nid.get(), "an administrator reads a room");
    Ok(view)
}

fn reader(asked: &Asked) -> Reader {
    Reader::administrator(asked.nid())
}

fn filter(asked: &Asked) -> Result<RoomEventFilter, ApiError> {
    let Some(text) = asked.text("filter") else { return Ok(RoomEventFilter::default()) };
    serde_json::from_str(&text).map_err(|_| ApiError::invalid_param("filter: this is no filter."))
}

fn place(asked: &Asked, name: &'static str) -> Result<Option<Place>, ApiError> {
    let wrong = |_| ApiError::invalid_param(format!("{name}: this is not a token that this server gave."));
    asked.text(name).map(|token| Place::from_str(&token).map_err(wrong)).transpose()
}

fn limit(asked: &Asked) -> Result<usize, ApiError> {
    let limit = asked.number("limit")?.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(limit.unwrap_or(EVENTS_DEFAULT).min(PAGE_EVENTS_MAX))
}

async fn written(
    state: &AdminState,
    asked: &Asked,
    events: &[Arc<Stored>],
) -> Result<Vec<Box<RawJsonValue>>, ApiError> {
    let mut written = Vec::with_capacity(events.len());
    for event in events {
        written.push(state.rooms.client_event(asked.actor(), event, true).await.map_err(error::of_room)?);
    }
    Ok(written)
}

async fn messages(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    let (view, filter) = (view(&state, &asked).await?, filter(&asked)?);
    let page = Page {
        from: place(&asked, "from")?,
        to: place(&asked, "to")?,
        // Forwards unless something else is said, as the client's endpoint has it.
        backwards: asked.backwards(false)?,
        limit: limit(&asked)?,
        filter: &filter,
    };
    let found = state.rooms.messages_as(&reader(&asked), &view, page).await.map_err(error::of_room)?;
    let mut shown = json!({
        "start": found.start.to_string(),
        "chunk": written(&state, &asked, &found.chunk).await?,
    });
    if let Some(end) = found.end {
        shown["end"] = end.to_string().into();
    }
    if !matches!(filter.lazy_load_options, LazyLoadOptions::Disabled) {
        shown["state"] = json!(written(&state, &asked, &found.members).await?);
    }
    Ok(Json(shown))
}

async fn context(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    let (view, filter) = (view(&state, &asked).await?, filter(&asked)?);
    let event = OwnedEventId::try_from(asked.part(1));
    let event = event.map_err(|_| ApiError::invalid_param("event_id: this is no event id."))?;
    let found = state.rooms.context_as(&reader(&asked), &view, &event, limit(&asked)?, &filter).await;
    let found = found.map_err(error::of_room)?;
    Ok(Json(json!({
        "event": written(&state, &asked, &[found.event]).await?.pop(),
        "events_before": written(&state, &asked, &found.before).await?,
        "events_after": written(&state, &asked, &found.after).await?,
        "state": written(&state, &asked, &found.state).await?,
        "start": found.start.to_string(),
        "end": found.end.to_string(),
    })))
}

async fn near(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    let view = view(&state, &asked).await?;
    let time_ms = asked.number("ts")?.ok_or_else(|| ApiError::missing_param("`ts` is missing."))?;
    let found = state.rooms.event_near_as(&reader(&asked), &view, time_ms, asked.backwards(false)?).await;
    let pdu = &found.map_err(error::of_room)?.pdu;
    Ok(Json(json!({ "event_id": pdu.event_id(), "origin_server_ts": pdu.origin_server_ts() })))
}

async fn hierarchy(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    let query = HierarchyQuery {
        from: asked.text("from"),
        limit: asked.number("limit")?,
        max_depth: asked.number("max_depth")?,
        suggested_only: asked.flag("suggested_only")?.unwrap_or(false),
    };
    let page = state.rooms.hierarchy_for_administrators(asked.actor(), &asked.room_id(0)?, &query).await;
    let page = page.map_err(error::of_room)?;
    let mut rooms = Vec::with_capacity(page.rooms.len());
    for room in page.rooms {
        let mut shown = json!(room.summary.chunk);
        shown["children_state"] = json!(room.children_state.iter().map(|child| &**child).collect::<Vec<_>>());
        shown["room_version"] = json!(room.summary.said_version);
        if let Some(encryption) = &room.summary.encryption {
            shown["encryption"] = encryption.as_str().into();
        }
        rooms.push(shown);
    }
    let mut shown = json!({ "rooms": rooms });
    if let Some(next) = page.next_batch {
        shown["next_batch"] = next.into();
    }
    Ok(Json(shown))
}

async fn fetch(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    let event = OwnedEventId::try_from(asked.part(0));
    let event = event.map_err(|_| ApiError::invalid_param("event_id: this is no event id."))?;
    let found = state.rooms.standing(&event).await.map_err(error::of_room)?;
    let unknown = || ApiError::not_found("event_id: there is no such event here.");
    let (room, _, event) = found.ok_or_else(unknown)?;
    let event = state.rooms.live_event(room, event.nid).await.map_err(error::of_room)?.ok_or_else(unknown)?;
    tracing::info!(admin = asked.nid().get(), room = room.get(), "an administrator reads an event");
    Ok(Json(json!({ "event": written(&state, &asked, &[event]).await?.pop() })))
}
