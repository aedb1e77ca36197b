//! `/_matrix/client/v3/user/{userId}/filter` (client-server API, section "Filtering").

use std::sync::Arc;

use axum::extract::State;
use ruma::api::client::filter::{create_filter, get_filter};
use wardroom_web::{ApiError, Class, Reply, Routes, Ruma};

use super::owner;
use crate::ClientState;

pub(crate) fn routes() -> Routes<ClientState> {
    Routes::new().endpoint(create_filter).endpoint(get_filter)
}

async fn create_filter(
    State(state): State<ClientState>,
    request: Ruma<create_filter::v3::Request>,
) -> Result<Reply<create_filter::v3::Response>, ApiError> {
    owner(&request.session, &request.body.user_id)?;
    state.limits.take(Class::Account, request.session.nid)?;
    let id = state.accounts.create_filter(request.session.nid, &request.body.filter).await?;
    Ok(Reply(create_filter::v3::Response::new(id)))
}

async fn get_filter(
    State(state): State<ClientState>,
    request: Ruma<get_filter::v3::Request>,
) -> Result<Reply<get_filter::v3::Response>, ApiError> {
    owner(&request.session, &request.body.user_id)?;
    let filter = state.accounts.filter(request.session.nid, &request.body.filter_id).await?;
    let filter = filter.ok_or_else(|| ApiError::not_found("You have no such filter."))?;
    Ok(Reply(get_filter::v3::Response::new(Arc::unwrap_or_clone(filter))))
}
