//! `GET /_synapse/admin/v1/users/{user}/joined_rooms` and `.../memberships`.

use axum::Json;
use serde_json::{Map, Value, json};
use wardroom_accounts::AdminScope::Users;
use wardroom_rooms::{Membership, UserNid};
use wardroom_web::ApiError;

use crate::{
    AdminState,
    endpoint::{Asked, Endpoints},
    error,
};

pub(super) fn endpoints() -> Endpoints {
    Endpoints::new()
        .get(
            "/_synapse/admin/v1/users/{user_id}/joined_rooms",
            Users,
            "Lists the rooms that a user of any server is joined to, as far as this one knows.",
            joined_rooms,
        )
        .get(
            "/_synapse/admin/v1/users/{user_id}/memberships",
            Users,
            "Tells a user's membership of each room.",
            memberships,
        )
}

/// Ids of the user's rooms with the membership of each.
async fn all(state: &AdminState, asked: &Asked) -> Result<Vec<(String, Membership)>, ApiError> {
    let user = asked.user_id(0)?;
    let Some(nid) = state.accounts.user_nid(&user).await? else { return Ok(Vec::new()) };
    let entries = state.rooms.memberships(UserNid::new(nid.get())).await.map_err(error::of_room)?;
    let mut found = Vec::with_capacity(entries.len());
    for entry in entries {
        let room = state.rooms.room_id(entry.room).await.map_err(error::of_room)?;
        found.extend(room.map(|room| (room.to_string(), entry.membership)));
    }
    Ok(found)
}

async fn joined_rooms(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    let joined = all(&state, &asked).await?.into_iter().filter(|(_, membership)| *membership == Membership::Join);
    let joined: Vec<String> = joined.map(|(room, _)| room).collect();
    Ok(Json(json!({ "total": joined.len(), "joined_rooms": joined })))
}

async fn memberships(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    let memberships: Map<String, Value> =
        all(&state, &asked).await?.into_iter().map(|(room, membership)| (room, membership.word().into())).collect();
    Ok(Json(json!({ "memberships": memberships })))
}
