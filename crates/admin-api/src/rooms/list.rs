//! `GET /_synapse/admin/v1/rooms`, one room, its members and its state.

use axum::Json;
use serde::Serialize;
use serde_json::{Value, json};
use wardroom_accounts::AdminScope::Rooms;
use wardroom_rooms::{Membership, OverviewOrder, OverviewQuery, RoomOverview};
use wardroom_web::ApiError;

use crate::{
    AdminState,
    endpoint::{Asked, Endpoints, next_place, no_such_room},
    error,
};

/// Members read at a time.
const MEMBERS_PAGE: usize = 10_000;

pub(super) fn endpoints() -> Endpoints {
    Endpoints::new()
        .get("/_synapse/admin/v1/rooms", Rooms, "Lists rooms.", list)
        .get("/_synapse/admin/v1/rooms/{room_id}", Rooms, "Tells of one room.", show)
        .get("/_synapse/admin/v1/rooms/{room_id}/members", Rooms, "Lists who is joined to a room.", members)
        .get("/_synapse/admin/v1/rooms/{room_id}/state", Rooms, "Tells a room's state.", state_of)
}

#[derive(Serialize)]
struct Shown {
    room_id: Option<String>,
    name: Option<String>,
    canonical_alias: Option<String>,
    joined_members: u64,
    joined_local_members: u64,
    version: String,
    creator: Option<String>,
    encryption: Option<String>,
    federatable: bool,
    public: bool,
    join_rules: Option<String>,
    guest_access: Option<String>,
    history_visibility: Option<String>,
    state_events: usize,
    room_type: Option<String>,
}

impl Shown {
    fn of(room: &RoomOverview) -> Self {
        let facts = &room.facts;
        Self {
            room_id: facts.room_id.as_ref().map(ToString::to_string),
            name: facts.name.clone(),
            canonical_alias: facts.canonical_alias.clone(),
            joined_members: facts.joined_members,
            joined_local_members: facts.joined_local_members,
            version: facts.version.clone(),
            creator: facts.creator.as_ref().map(ToString::to_string),
            encryption: facts.encryption.clone(),
            federatable: facts.federatable,
            public: room.listed,
            join_rules: facts.join_rules.clone(),
            guest_access: facts.guest_access.clone(),
            history_visibility: facts.history_visibility.clone(),
            state_events: room.state_events,
            room_type: facts.room_type.clone(),
        }
    }
}

#[derive(Serialize)]
struct Listed {
    rooms: Vec<Shown>,
    offset: usize,
    total_rooms: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_batch: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prev_batch: Option<usize>,
}

async fn list(state: AdminState, asked: Asked) -> Result<Json<Listed>, ApiError> {
    let (from, limit) = asked.page()?;
    let (order, descends) = order(asked.get("order_by"))?;
    let term = asked.get("search_term");
    if term.is_some_and(str::is_empty) {
        return Err(ApiError::invalid_param("search_term: must not be empty."));
    }
    let query = OverviewQuery {
        term: term.map(str::to_owned),
        listed: asked.flag("public_rooms")?,
        empty: asked.flag("empty_rooms")?,
        order,
        backwards: asked.backwards(false)? != descends,
        from,
        limit,
    };
    let page = state.rooms.overview(&query).await.map_err(error::of_room)?;
    let shown: Vec<Shown> = page.rooms.iter().map(Shown::of).collect();
    Ok(Json(Listed {
        next_batch: next_place(from, shown.len(), page.total),
        prev_batch: (from > 0).then(|| from.saturating_sub(limit)),
        rooms: shown,
        offset: from,
        total_rooms: page.total,
    }))
}

/// The order, and whether it begins with the largest, as numbers do.
fn order(name: Option<&str>) -> Result<(OverviewOrder, bool), ApiError> {
    Ok(match name {
        None | Some("name" | "alphabetical") => (OverviewOrder::Name, false),
        Some("canonical_alias") => (OverviewOrder::CanonicalAlias, false),
        Some("joined_members" | "size") => (OverviewOrder::JoinedMembers, true),
        Some("joined_local_members") => (OverviewOrder::JoinedLocalMembers, true),
        Some("version") => (OverviewOrder::Version, true),
        Some("creator") => (OverviewOrder::Creator, false),
        Some("encryption") => (OverviewOrder::Encryption, false),
        Some("federatable") => (OverviewOrder::Federatable, false),
        Some("public") => (OverviewOrder::Public, false),
        Some("join_rules") => (OverviewOrder::JoinRules, false),
        Some("guest_access") => (OverviewOrder::GuestAccess, false),
        Some("history_visibility") => (OverviewOrder::HistoryVisibility, false),
        Some("state_events") => (OverviewOrder::StateEvents, true),
        Some(_) => return Err(ApiError::invalid_param("order_by: rooms cannot be ordered by this")),
    })
}

#[derive(Serialize)]
struct Details {
    #[serde(flatten)]
    shown: Shown,
    topic: Option<String>,
    avatar: Option<String>,
    joined_local_devices: u64,
    /// Every user of this server who was in the room has left and forgotten it.
    forgotten: bool,
    tombstoned: bool,
    replacement_room: Option<String>,
}

async fn show(state: AdminState, asked: Asked) -> Result<Json<Details>, ApiError> {
    let room = asked.room_id(0)?;
    let found = state.rooms.overview_of(&room).await.map_err(error::of_room)?.ok_or_else(no_such_room)?;
    let view = state.rooms.view(&room).await.map_err(error::of_room)?.ok_or_else(no_such_room)?;
    let mut joined_local_devices = 0;
    for member in state.rooms.local_members(view.nid).await.map_err(error::of_room)? {
        if let Some(user) = state.accounts.user(&member).await? {
            joined_local_devices += state.accounts.devices(user.nid).await?.len() as u64;
        }
    }
    let forgotten = state.rooms.is_forgotten(view.nid).await.map_err(error::of_room)?;
    Ok(Json(Details {
        shown: Shown::of(&found),
        topic: found.facts.topic.clone(),
        avatar: found.facts.avatar.clone(),
        joined_local_devices,
        forgotten,
        tombstoned: found.facts.tombstoned,
        replacement_room: found.facts.replacement_room.clone(),
    }))
}

async fn members(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    let room = asked.room_id(0)?;
    let view = state.rooms.view(&room).await.map_err(error::of_room)?.ok_or_else(no_such_room)?;
    let (mut members, mut after) = (Vec::new(), None);
    loop {
        let page = state.rooms.members(view.nid, Membership::Join, after, MEMBERS_PAGE).await;
        let page = page.map_err(error::of_room)?;
        let Some(last) = page.last().copied() else { break };
        after = Some(last);
        members.extend(state.rooms.user_ids(&page).await.map_err(error::of_room)?);
    }
    Ok(Json(json!({ "total": members.len(), "members": members })))
}

async fn state_of(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    let room = asked.room_id(0)?;
    let view = state.rooms.view(&room).await.map_err(error::of_room)?.ok_or_else(no_such_room)?;
    let events = state.rooms.whole_state(&view).await.map_err(error::of_room)?;
    let mut shown = Vec::with_capacity(events.len());
    for event in events {
        shown.push(state.rooms.client_event(asked.actor(), &event, true).await.map_err(error::of_room)?);
    }
    Ok(Json(json!({ "state": shown })))
}
