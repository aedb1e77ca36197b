//! `GET /_synapse/admin/v1/scheduled_tasks`: what was asked for and takes longer than a request.

use axum::Json;
use serde_json::{Value, json};
use wardroom_accounts::AdminScope::Operation;
use wardroom_web::ApiError;

use crate::{
    AdminState,
    endpoint::{Asked, Endpoints},
    error,
};

pub(crate) fn endpoints() -> Endpoints {
    Endpoints::new().get("/_synapse/admin/v1/scheduled_tasks", Operation, "Lists background tasks.", list)
}

async fn list(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    let (action, resource) = (asked.text("action_name"), asked.text("resource_id"));
    let (status, until_ms) =
        (asked.text("job_status").or_else(|| asked.text("status")), asked.number("max_timestamp")?);
    let tasks = state.rooms.tasks().await.map_err(error::of_room)?;
    let shown: Vec<Value> = tasks
        .into_iter()
        .filter(|task| action.as_ref().is_none_or(|action| task.work.name() == action))
        .filter(|task| resource.is_none() || task.work.room().map(|room| room.as_str()) == resource.as_deref())
        .filter(|task| status.as_ref().is_none_or(|status| task.status.word() == status))
        .filter(|task| until_ms.is_none_or(|until_ms| task.created_ms <= until_ms))
        .map(|task| {
            json!({
                "id": task.id,
                "action": task.work.name(),
                "status": task.status.word(),
                "timestamp_ms": task.updated_ms,
                "resource_id": task.work.room(),
                "result": null,
                "error": task.error,
            })
        })
        .collect();
    Ok(Json(json!({ "scheduled_tasks": shown })))
}
