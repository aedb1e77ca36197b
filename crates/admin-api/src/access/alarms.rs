//! `GET /_wardroom/admin/v1/alarms` and `DELETE /_wardroom/admin/v1/alarms/{id}`: what an administrator has to look at.

use axum::Json;
use serde_json::{Value, json};
use wardroom_accounts::AdminScope::Operation;
use wardroom_web::ApiError;

use crate::{
    AdminState,
    endpoint::{Asked, Endpoints},
    error,
};

const ALARMS: &str = "/_wardroom/admin/v1/alarms";
const ALARM: &str = "/_wardroom/admin/v1/alarms/{alarm_id}";

pub(super) fn endpoints() -> Endpoints {
    Endpoints::new().get(ALARMS, Operation, "Lists what an administrator has to look at.", list).delete(
        ALARM,
        Operation,
        "Takes an alarm away that was looked at.",
        dismiss,
    )
}

async fn list(state: AdminState, _: Asked) -> Result<Json<Value>, ApiError> {
    let alarms = state.care.alarms().all().await.map_err(error::of_care)?;
    Ok(Json(json!({ "alarms": alarms })))
}

async fn dismiss(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    if state.care.alarms().dismiss(asked.part(0)).await.map_err(error::of_care)? {
        return Ok(Json(json!({})));
    }
    Err(ApiError::not_found("alarm_id: there is no such alarm."))
}
