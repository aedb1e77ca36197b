//! `GET /_wardroom/admin/v1/sources` and `POST /_wardroom/admin/v1/sources/{name}/poll`: the directories that are read.

use axum::Json;
use serde_json::{Value, json};
use wardroom_accounts::AdminScope::Operation;
use wardroom_directories::SourceStatus;
use wardroom_web::ApiError;

use crate::{
    AdminState,
    endpoint::{Asked, Endpoints},
};

const SOURCES: &str = "/_wardroom/admin/v1/sources";
const POLL: &str = "/_wardroom/admin/v1/sources/{name}/poll";

pub(super) fn endpoints() -> Endpoints {
    Endpoints::new().get(SOURCES, Operation, "Lists the directories that are read, and how that goes.", list).post(
        POLL,
        Operation,
        "Reads a directory now.",
        poll,
    )
}

async fn list(state: AdminState, _: Asked) -> Result<Json<Value>, ApiError> {
    let sources: Vec<Value> = state.directories.all().iter().map(shown).collect();
    Ok(Json(json!({ "sources": sources })))
}

/// Answers when it was read, with how it stands then: a failure is told, and none of the request.
async fn poll(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    let status = state.directories.poll(asked.part(0)).await;
    let status = status.ok_or_else(|| ApiError::not_found("name: there is no such source."))?;
    Ok(Json(shown(&status)))
}

fn shown(status: &SourceStatus) -> Value {
    json!({
        "name": status.name,
        "kind": status.kind.name(),
        "last_success_ts": status.last_success_ms,
        "last_failure_ts": status.last_failure.as_ref().map(|(at_ms, _)| at_ms),
        "last_failure": status.last_failure.as_ref().map(|(_, sentence)| sentence),
        "failures_in_a_row": status.failures_in_a_row,
        "next_poll_ts": status.next_poll_ms,
        "listed": status.listed,
        "skipped": status.skipped,
    })
}
