//! Deleting media.

use std::collections::HashSet;

use axum::Json;
use serde_json::{Value, json};
use wardroom_accounts::AdminScope::Operation;
use wardroom_web::ApiError;

use super::{media_id, no_such_media, of_media};
use crate::{
    AdminState,
    endpoint::{Asked, Endpoints},
    error,
};

pub(super) fn endpoints() -> Endpoints {
    Endpoints::new()
        .delete("/_synapse/admin/v1/media/{server_name}/{media_id}", Operation, "Deletes one media.", delete)
        .post(
            "/_synapse/admin/v1/media/delete",
            Operation,
            "Deletes uploads that nobody looked at since `before_ts`.",
            delete_unused,
        )
        .post(
            "/_synapse/admin/v1/purge_media_cache",
            Operation,
            "Deletes media of other servers that nobody looked at since `before_ts`.",
            purge_cache,
        )
}

async fn delete(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    let media = media_id(asked.part(0), asked.part(1))?;
    if !state.media.delete(&media).await.map_err(of_media)? {
        return Err(no_such_media());
    }
    Ok(Json(json!({ "deleted_media": [media.id()], "total": 1 })))
}

/// The time of the query, which must be of this century: seconds in the place of milliseconds would delete nothing, and
/// milliseconds from the future everything.
fn before(state: &AdminState, asked: &Asked) -> Result<u64, ApiError> {
    /// The year 2001, in milliseconds since 1970.
    const EARLIEST_MS: u64 = 980_000_000_000;
    let before_ms = asked.number("before_ts")?.ok_or_else(|| ApiError::missing_param("`before_ts` is missing."))?;
    if before_ms < EARLIEST_MS {
        return Err(ApiError::invalid_param("before_ts: must be in milliseconds since 1970."));
    }
    if before_ms > state.accounts.now_ms() {
        return Err(ApiError::invalid_param("before_ts: is in the future."));
    }
    Ok(before_ms)
}

async fn delete_unused(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    let before_ms = before(&state, &asked)?;
    let larger_than = asked.number("size_gt")?.unwrap_or(0);
    let keep_profiles = asked.flag("keep_profiles")?.unwrap_or(true);
    let kept = if keep_profiles { pictures(&state).await? } else { HashSet::new() };
    let deleted = state.media.delete_unused(before_ms, larger_than, &kept).await.map_err(of_media)?;
    Ok(Json(json!({ "total": deleted.len(), "deleted_media": deleted })))
}

/// Pictures of users and rooms.
async fn pictures(state: &AdminState) -> Result<HashSet<String>, ApiError> {
    let mut kept = state.accounts.avatar_urls().await?;
    kept.extend(state.rooms.avatar_urls().await.map_err(error::of_room)?);
    Ok(kept)
}

async fn purge_cache(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    let before_ms = before(&state, &asked)?;
    let deleted = state.media.purge_remote(before_ms).await.map_err(of_media)?;
    Ok(Json(json!({ "deleted": deleted })))
}
