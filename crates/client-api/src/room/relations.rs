//! `GET /rooms/{roomId}/relations/{eventId}`, alone or with a relation type and an event type
//! ([spec](https://spec.matrix.org/v1.19/client-server-api/#relationships-api)).

use axum::extract::State;
use ruma::{
    EventId, RoomId, UInt,
    api::{
        Direction,
        client::relations::{
            get_relating_events::v1 as all, get_relating_events_with_rel_type::v1 as by_relation,
            get_relating_events_with_rel_type_and_event_type::v1 as by_event_type,
        },
    },
};
use serde::Serialize;
use wardroom_accounts::Session;
use wardroom_rooms::{PAGE_EVENTS_MAX, RELATIONS_RECURSION_DEPTH, RelationsQuery};
use wardroom_web::{ApiError, Routes, Ruma};

use super::{
    Ignores, actor, at_most,
    event_json::{Events, EventsReply},
    place,
};
use crate::ClientState;

/// Events of a page where the client does not say.
const LIMIT_DEFAULT: usize = 50;

pub(super) fn routes() -> Routes<ClientState> {
    Routes::new()
        .endpoint(get_relating_events)
        .endpoint(get_relating_events_with_rel_type)
        .endpoint(get_relating_events_with_rel_type_and_event_type)
}

#[derive(Serialize)]
struct Children {
    chunk: Events,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_batch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prev_batch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recursion_depth: Option<u32>,
}

/// What the three endpoints have in common.
struct Asked<'a> {
    room: &'a RoomId,
    parent: &'a EventId,
    rel_type: Option<&'a str>,
    event_type: Option<&'a str>,
    from: Option<String>,
    to: Option<String>,
    limit: Option<UInt>,
    dir: Direction,
    recurse: bool,
}

async fn answer(state: &ClientState, session: &Session, asked: Asked<'_>) -> Result<EventsReply<Children>, ApiError> {
    let ignores = Ignores::of(&state.accounts.ignored_users(session.nid).await?);
    let viewer = ignores.viewer(actor(session));
    let query = RelationsQuery {
        rel_type: asked.rel_type,
        event_type: asked.event_type,
        from: place("from", asked.from.as_deref())?,
        to: place("to", asked.to.as_deref())?,
        backwards: matches!(asked.dir, Direction::Backward),
        limit: asked.limit.map_or(LIMIT_DEFAULT, |limit| at_most(limit, PAGE_EVENTS_MAX)),
        recurse: asked.recurse,
    };
    if query.limit == 0 {
        return Err(ApiError::invalid_param("limit: must be greater than zero."));
    }
    let page = state.rooms.relations(viewer, asked.room, asked.parent, query).await;
    let page = state.may_read(viewer.actor, asked.room, "relations", page).await?;
    let body = Children {
        chunk: Events::with_relations(state, viewer, asked.room, &page.chunk).await?,
        next_batch: page.next.map(|next| next.to_string()),
        // Without a token this is the first page; with one, reading in the other direction goes on from there.
        prev_batch: query.from.map(|from| from.to_string()),
        recursion_depth: asked.recurse.then_some(RELATIONS_RECURSION_DEPTH),
    };
    EventsReply::of_room(state, asked.room, "relations", body, |body| vec![&body.chunk]).await
}

async fn get_relating_events(
    State(state): State<ClientState>,
    Ruma { body: request, session, .. }: Ruma<all::Request>,
) -> Result<EventsReply<Children>, ApiError> {
    let all::Request { room_id, event_id, from, to, limit, dir, recurse, .. } = request;
    let (room, parent) = (&*room_id, &*event_id);
    let asked = Asked { room, parent, rel_type: None, event_type: None, from, to, limit, dir, recurse };
    answer(&state, &session, asked).await
}

async fn get_relating_events_with_rel_type(
    State(state): State<ClientState>,
    Ruma { body: request, session, .. }: Ruma<by_relation::Request>,
) -> Result<EventsReply<Children>, ApiError> {
    let by_relation::Request { room_id, event_id, rel_type, from, to, limit, dir, recurse, .. } = request;
    let (room, parent, rel_type) = (&*room_id, &*event_id, rel_type.to_string());
    let asked = Asked { room, parent, rel_type: Some(&rel_type), event_type: None, from, to, limit, dir, recurse };
    answer(&state, &session, asked).await
}

async fn get_relating_events_with_rel_type_and_event_type(
    State(state): State<ClientState>,
    Ruma { body: request, session, .. }: Ruma<by_event_type::Request>,
) -> Result<EventsReply<Children>, ApiError> {
    let by_event_type::Request { room_id, event_id, rel_type, event_type, from, to, limit, dir, recurse, .. } = request;
    let (room, parent, rel_type, event_type) = (&*room_id, &*event_id, rel_type.to_string(), event_type.to_string());
    let (rel_type, event_type) = (Some(&*rel_type), Some(&*event_type));
    let asked = Asked { room, parent, rel_type, event_type, from, to, limit, dir, recurse };
    answer(&state, &session, asked).await
}
