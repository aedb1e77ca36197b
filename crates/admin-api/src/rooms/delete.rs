//! `DELETE /_synapse/admin/v1/rooms/{room}` and `v2/rooms/{room}`, and what became of it.

use axum::Json;
use ruma::OwnedUserId;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wardroom_accounts::AdminScope::Rooms;
use wardroom_rooms::{Removed, RoomDeletion, Task, TaskStatus, UserNid, Work};
use wardroom_web::ApiError;

use crate::{
    AdminState,
    endpoint::{Asked, Endpoints},
    error,
};

pub(super) fn endpoints() -> Endpoints {
    Endpoints::new()
        .delete("/_synapse/admin/v1/rooms/{room_id}", Rooms, "Deletes a room, and answers when it is done.", delete_v1)
        .delete("/_synapse/admin/v2/rooms/{room_id}", Rooms, "Deletes a room in the background.", delete_v2)
        .get(
            "/_synapse/admin/v2/rooms/{room_id}/delete_status",
            Rooms,
            "Tells how far the deletions of a room got.",
            of_room,
        )
        .get("/_synapse/admin/v2/rooms/delete_status/{delete_id}", Rooms, "Tells how far a deletion got.", of_id)
}

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    new_room_user_id: Option<OwnedUserId>,
    #[serde(default)]
    room_name: Option<String>,
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    block: bool,
    #[serde(default = "yes")]
    purge: bool,
    #[serde(default)]
    force_purge: bool,
}

fn yes() -> bool {
    true
}

async fn begin(state: &AdminState, asked: &Asked) -> Result<String, ApiError> {
    let (room, body) = (asked.room_id(0)?, asked.body::<Body>()?);
    let new_room_user = match body.new_room_user_id {
        None => None,
        Some(id) => {
            let user = state.accounts.user(&id).await?.filter(|user| !user.deactivated);
            let sentence = "new_room_user_id: must be an active user of this server.";
            let user = user.ok_or_else(|| ApiError::invalid_param(sentence))?;
            Some((id, UserNid::new(user.nid.get())))
        }
    };
    let deletion = RoomDeletion {
        block: body.block,
        purge: body.purge,
        force: body.force_purge,
        new_room_user,
        new_room_name: body.room_name,
        message: body.message,
        ..RoomDeletion::new(room, asked.session.user.clone(), asked.nid())
    };
    state.rooms.delete_room(deletion).await.map_err(error::of_room)
}

#[derive(Serialize)]
struct Done<'a> {
    kicked_users: &'a [OwnedUserId],
    failed_to_kick_users: &'a [OwnedUserId],
    local_aliases: &'a [ruma::OwnedRoomAliasId],
    new_room_id: Option<&'a ruma::RoomId>,
}

impl<'a> Done<'a> {
    fn of(removed: &'a Removed) -> Self {
        Self {
            kicked_users: &removed.kicked,
            failed_to_kick_users: &removed.stayed,
            local_aliases: &removed.aliases,
            new_room_id: removed.new_room.as_deref(),
        }
    }
}

async fn delete_v1(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    let id = begin(&state, &asked).await?;
    let task = state.rooms.finished_task(&id).await.map_err(error::of_room)?;
    match task {
        Some(Task { status: TaskStatus::Complete, work: Work::DeleteRoom(deletion), .. }) => {
            Ok(Json(json!(Done::of(&deletion.done))))
        }
        task => {
            let why = task.and_then(|task| task.error).unwrap_or_else(|| "The room was not deleted.".to_owned());
            Err(ApiError::invalid_param(why))
        }
    }
}

async fn delete_v2(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    Ok(Json(json!({ "delete_id": begin(&state, &asked).await? })))
}

/// How far a deletion got, in Synapse's words.
fn status(task: &Task) -> Option<Value> {
    let Work::DeleteRoom(deletion) = &task.work else { return None };
    let word = match task.status {
        TaskStatus::Active if deletion.done.closed => "purging",
        TaskStatus::Active => "shutting_down",
        status => status.word(),
    };
    let mut shown = json!({
        "delete_id": task.id,
        "room_id": deletion.room,
        "status": word,
        "shutdown_room": Done::of(&deletion.done),
    });
    if let Some(error) = &task.error {
        shown["error"] = error.as_str().into();
    }
    Some(shown)
}

async fn of_room(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    let room = asked.room_id(0)?;
    let tasks = state.rooms.tasks().await.map_err(error::of_room)?;
    let of_room = tasks.iter().filter(|task| task.work.room() == Some(&*room));
    let results: Vec<Value> = of_room.filter_map(status).collect();
    if results.is_empty() {
        return Err(ApiError::not_found("room_id: no deletion of this room is known."));
    }
    Ok(Json(json!({ "results": results })))
}

async fn of_id(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    let task = state.rooms.task(asked.part(0)).await.map_err(error::of_room)?;
    let shown = task.as_ref().and_then(status);
    shown.map(Json).ok_or_else(|| ApiError::not_found("delete_id: no such deletion is known."))
}
