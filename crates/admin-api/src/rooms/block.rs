//! `GET` and `PUT /_synapse/admin/v1/rooms/{room}/block`.

use axum::Json;
use serde::Deserialize;
use serde_json::{Value, json};
use wardroom_accounts::AdminScope::Rooms;
use wardroom_web::ApiError;

use crate::{
    AdminState,
    endpoint::{Asked, Endpoints},
    error,
};

/// Whether a room is blocked.
const BLOCK: &str = "/_synapse/admin/v1/rooms/{room_id}/block";

pub(super) fn endpoints() -> Endpoints {
    Endpoints::new().get(BLOCK, Rooms, "Tells whether users of this server are kept out of a room.", show).put(
        BLOCK,
        Rooms,
        "Keeps users of this server out of a room, or ends that.",
        set,
    )
}

async fn show(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    let by = state.rooms.blocked_by(&asked.room_id(0)?).await.map_err(error::of_room)?;
    Ok(Json(match by {
        Some(user) => json!({ "block": true, "user_id": user }),
        None => json!({ "block": false }),
    }))
}

async fn set(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    #[derive(Deserialize)]
    struct Body {
        block: bool,
    }
    let (room, Body { block }) = (asked.room_id(0)?, asked.body()?);
    state.rooms.set_blocked(&room, asked.nid(), block).await.map_err(error::of_room)?;
    Ok(Json(json!({ "block": block })))
}
