//! `/_matrix/client/v3/user/{userId}/account_data/{type}`, and the same in a room (client-server API, section "Client
//! Config").

use axum::extract::State;
use ruma::{
    api::client::config::{
        get_global_account_data, get_room_account_data, set_global_account_data, set_room_account_data,
    },
    serde::Raw,
};
use serde_json::value::RawValue;
use wardroom_accounts::{DataScope, Session};
use wardroom_web::{ApiError, Class, Reply, Routes, Ruma};

use super::{owner, room_number};
use crate::ClientState;

pub(crate) fn routes() -> Routes<ClientState> {
    Routes::new()
        .endpoint(get_global_account_data)
        .endpoint(set_global_account_data)
        .endpoint(get_room_account_data)
        .endpoint(set_room_account_data)
}

async fn get(
    state: &ClientState,
    session: &Session,
    scope: DataScope,
    event_type: &str,
) -> Result<Box<RawValue>, ApiError> {
    let content = state.accounts.account_data(session.nid, scope, event_type).await?;
    content.ok_or_else(|| ApiError::not_found("There is no account data of this type."))
}

async fn set(
    state: &ClientState,
    session: &Session,
    scope: DataScope,
    event_type: &str,
    content: &RawValue,
) -> Result<(), ApiError> {
    state.limits.take(Class::Account, session.nid)?;
    state.accounts.set_account_data(session.nid, scope, event_type, content).await?;
    Ok(())
}

async fn get_global_account_data(
    State(state): State<ClientState>,
    request: Ruma<get_global_account_data::v3::Request>,
) -> Result<Reply<get_global_account_data::v3::Response>, ApiError> {
    let (session, body) = (&request.session, &request.body);
    owner(session, &body.user_id)?;
    let content = get(&state, session, DataScope::Global, &body.event_type.to_string()).await?;
    Ok(Reply(get_global_account_data::v3::Response::new(Raw::from_json(content))))
}

async fn set_global_account_data(
    State(state): State<ClientState>,
    request: Ruma<set_global_account_data::v3::Request>,
) -> Result<Reply<set_global_account_data::v3::Response>, ApiError> {
    let (session, body) = (&request.session, &request.body);
    owner(session, &body.user_id)?;
    set(&state, session, DataScope::Global, &body.event_type.to_string(), body.data.json()).await?;
    Ok(Reply(set_global_account_data::v3::Response::new()))
}

async fn get_room_account_data(
    State(state): State<ClientState>,
    request: Ruma<get_room_account_data::v3::Request>,
) -> Result<Reply<get_room_account_data::v3::Response>, ApiError> {
    let (session, body) = (&request.session, &request.body);
    owner(session, &body.user_id)?;
    let scope = DataScope::Room(room_number(&state, &body.room_id).await?);
    let content = get(&state, session, scope, &body.event_type.to_string()).await?;
    Ok(Reply(get_room_account_data::v3::Response::new(Raw::from_json(content))))
}

async fn set_room_account_data(
    State(state): State<ClientState>,
    request: Ruma<set_room_account_data::v3::Request>,
) -> Result<Reply<set_room_account_data::v3::Response>, ApiError> {
    let (session, body) = (&request.session, &request.body);
    owner(session, &body.user_id)?;
    let scope = DataScope::Room(room_number(&state, &body.room_id).await?);
    set(&state, session, scope, &body.event_type.to_string(), body.data.json()).await?;
    Ok(Reply(set_room_account_data::v3::Response::new()))
}
