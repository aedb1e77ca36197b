//! `POST /_synapse/admin/v1/purge_history/{room}[/{event}]` and `GET v1/purge_history_status/{id}`.

use axum::Json;
use ruma::OwnedEventId;
use serde::Deserialize;
use serde_json::{Value, json};
use wardroom_accounts::AdminScope::Rooms;
use wardroom_rooms::{PurgeUpTo, Work};
use wardroom_web::ApiError;

use crate::{
    AdminState,
    endpoint::{Asked, Endpoints},
    error,
};

pub(super) fn endpoints() -> Endpoints {
    let summary = "Purges a room's history up to an event or a time, in the background.";
    Endpoints::new()
        .post("/_synapse/admin/v1/purge_history/{room_id}", Rooms, summary, purge)
        .post("/_synapse/admin/v1/purge_history/{room_id}/{event_id}", Rooms, summary, purge)
        .get("/_synapse/admin/v1/purge_history_status/{purge_id}", Rooms, "Tells how far a purge got.", status)
}

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    delete_local_events: bool,
    #[serde(default)]
    purge_up_to_event_id: Option<String>,
    #[serde(default)]
    purge_up_to_ts: Option<u64>,
}

async fn purge(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    let (room, body) = (asked.room_id(0)?, asked.body::<Body>()?);
    let event = Some(asked.part(1)).filter(|event| !event.is_empty()).map(str::to_owned).or(body.purge_up_to_event_id);
    let up_to = match (event, body.purge_up_to_ts) {
        (Some(event), _) => {
            let event = OwnedEventId::try_from(event);
            PurgeUpTo::Event(event.map_err(|_| ApiError::invalid_param("event_id: this is no event id."))?)
        }
        (None, Some(time_ms)) => PurgeUpTo::Time(time_ms),
        (None, None) => {
            let sentence = "purge_up_to_event_id, purge_up_to_ts: one of the two is needed.";
            return Err(ApiError::bad_json(sentence));
        }
    };
    let id = state.rooms.purge_history(&room, &up_to, body.delete_local_events).await.map_err(error::of_room)?;
    Ok(Json(json!({ "purge_id": id })))
}

async fn status(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    let task = state.rooms.task(asked.part(0)).await.map_err(error::of_room)?;
    let task = task.filter(|task| matches!(task.work, Work::PurgeHistory(_)));
    let task = task.ok_or_else(|| ApiError::not_found("purge_id: no such purge is known."))?;
    let mut shown = json!({ "status": task.status.word() });
    if let Some(error) = &task.error {
        shown["error"] = error.as_str().into();
    }
    Ok(Json(shown))
}
