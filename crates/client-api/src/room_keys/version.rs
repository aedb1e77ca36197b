//! `/_matrix/client/v3/room_keys/version` and `.../version/{version}`.

use axum::extract::State;
use ruma::{
    api::client::backup::{
        create_backup_version, delete_backup_version, get_backup_info, get_latest_backup_info, update_backup_version,
    },
    serde::Raw,
};
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use wardroom_accounts::{BackupInfo, Session};
use wardroom_web::{ApiError, Class, Reply, Routes, Ruma};

use super::{count, refusal};
use crate::ClientState;

pub(super) fn routes() -> Routes<ClientState> {
    Routes::new()
        .endpoint(create_backup_version)
        .endpoint(get_latest_backup_info)
        .endpoint(get_backup_info)
        .endpoint(update_backup_version)
        .endpoint(delete_backup_version)
}

/// The body of a version. `auth_data` is the clients' affair, whatever JSON it is.
#[derive(Deserialize)]
struct Config {
    algorithm: String,
    auth_data: Box<RawValue>,
    #[serde(default)]
    version: Option<String>,
}

impl Config {
    fn read<T>(body: &Raw<T>) -> Result<Self, ApiError> {
        body.deserialize_as_unchecked().map_err(|error| ApiError::bad_json(format!("{error}.")))
    }
}

async fn create_backup_version(
    State(state): State<ClientState>,
    request: Ruma<create_backup_version::v3::Request>,
) -> Result<Reply<create_backup_version::v3::Response>, ApiError> {
    let user = request.session.nid;
    state.limits.take(Class::Account, user)?;
    let config = Config::read(&request.body.algorithm)?;
    let version = state.accounts.create_backup(user, &config.algorithm, &config.auth_data).await.map_err(refusal)?;
    Ok(Reply(create_backup_version::v3::Response::new(version)))
}

/// A version, with the algorithm and its data as ruma carries them together.
async fn info<T>(
    state: &ClientState,
    session: &Session,
    version: Option<&str>,
) -> Result<(BackupInfo, Raw<T>), ApiError> {
    let info = state.accounts.backup(session.nid, version).await.map_err(refusal)?;
    let algorithm = serde_json::json!({ "algorithm": info.algorithm, "auth_data": info.auth_data });
    let algorithm = to_raw_value(&algorithm).map_err(|error| ApiError::internal(&error))?;
    Ok((info, Raw::from_json(algorithm)))
}

async fn get_latest_backup_info(
    State(state): State<ClientState>,
    request: Ruma<get_latest_backup_info::v3::Request>,
) -> Result<Reply<get_latest_backup_info::v3::Response>, ApiError> {
    let (info, algorithm) = info(&state, &request.session, None).await?;
    let BackupInfo { version, state, .. } = info;
    Ok(Reply(get_latest_backup_info::v3::Response::new(algorithm, count(state.count), state.etag, version)))
}

async fn get_backup_info(
    State(state): State<ClientState>,
    request: Ruma<get_backup_info::v3::Request>,
) -> Result<Reply<get_backup_info::v3::Response>, ApiError> {
    let (info, algorithm) = info(&state, &request.session, Some(&request.body.version)).await?;
    let BackupInfo { version, state, .. } = info;
    Ok(Reply(get_backup_info::v3::Response::new(algorithm, count(state.count), state.etag, version)))
}

async fn update_backup_version(
    State(state): State<ClientState>,
    request: Ruma<update_backup_version::v3::Request>,
) -> Result<Reply<update_backup_version::v3::Response>, ApiError> {
    let (user, body) = (request.session.nid, &request.body);
    state.limits.take(Class::Account, user)?;
    let config = Config::read(&body.algorithm)?;
    if config.version.is_some_and(|version| version != body.version) {
        return Err(ApiError::invalid_param("version: the body names another version than the path."));
    }
    let updated = state.accounts.update_backup(user, &body.version, &config.algorithm, &config.auth_data).await;
    updated.map_err(refusal)?;
    Ok(Reply(update_backup_version::v3::Response::new()))
}

async fn delete_backup_version(
    State(state): State<ClientState>,
    request: Ruma<delete_backup_version::v3::Request>,
) -> Result<Reply<delete_backup_version::v3::Response>, ApiError> {
    let user = request.session.nid;
    state.limits.take(Class::Account, user)?;
    state.accounts.delete_backup(user, &request.body.version).await.map_err(refusal)?;
    Ok(Reply(delete_backup_version::v3::Response::new()))
}
