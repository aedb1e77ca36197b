//! `/_matrix/client/v3/user/{userId}/rooms/{roomId}/tags` (client-server API, section "Room Tagging").

use std::collections::BTreeMap;

use axum::{Json, extract::State};
use ruma::api::client::tag::{create_tag, delete_tag, get_tags};
use serde::Serialize;
use serde_json::value::RawValue;
use wardroom_web::{ApiError, Class, Reply, Routes, Ruma};

use super::{owner, room_number};
use crate::ClientState;

pub(crate) fn routes() -> Routes<ClientState> {
    Routes::new().endpoint(get_tags).endpoint(create_tag).endpoint(delete_tag)
}

/// Body of the answer. ruma's would lose what it has no field for.
#[derive(Serialize)]
struct Tags {
    tags: BTreeMap<String, Box<RawValue>>,
}

async fn get_tags(
    State(state): State<ClientState>,
    request: Ruma<get_tags::v3::Request>,
) -> Result<Json<Tags>, ApiError> {
    owner(&request.session, &request.body.user_id)?;
    let room = room_number(&state, &request.body.room_id).await?;
    Ok(Json(Tags { tags: state.accounts.tags(request.session.nid, room).await? }))
}

async fn create_tag(
    State(state): State<ClientState>,
    request: Ruma<create_tag::v3::Request>,
) -> Result<Reply<create_tag::v3::Response>, ApiError> {
    owner(&request.session, &request.body.user_id)?;
    state.limits.take(Class::Account, request.session.nid)?;
    let room = room_number(&state, &request.body.room_id).await?;
    // As the client wrote it, once ruma has found the order to be a number.
    let body = if request.json.is_empty() { b"{}" } else { &request.json[..] };
    let info: &RawValue =
        serde_json::from_slice(body).map_err(|_| ApiError::not_json("The request body is not JSON."))?;
    state.accounts.set_tag(request.session.nid, room, &request.body.tag, info).await?;
    Ok(Reply(create_tag::v3::Response::new()))
}

async fn delete_tag(
    State(state): State<ClientState>,
    request: Ruma<delete_tag::v3::Request>,
) -> Result<Reply<delete_tag::v3::Response>, ApiError> {
    owner(&request.session, &request.body.user_id)?;
    state.limits.take(Class::Account, request.session.nid)?;
    let room = room_number(&state, &request.body.room_id).await?;
    state.accounts.remove_tag(request.session.nid, room, &request.body.tag).await?;
    Ok(Reply(delete_tag::v3::Response::new()))
}
