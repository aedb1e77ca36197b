//! `/_matrix/client/v3/room_keys/keys`, `.../keys/{roomId}` and `.../keys/{roomId}/{sessionId}`.

use axum::{extract::State, response::Response};
use ruma::{
    OwnedRoomId, RoomId,
    api::client::backup::{
        KeyBackupData, add_backup_keys, add_backup_keys_for_room, add_backup_keys_for_session, delete_backup_keys,
        delete_backup_keys_for_room, delete_backup_keys_for_session, get_backup_keys, get_backup_keys_for_room,
        get_backup_keys_for_session,
    },
    serde::Raw,
};
use serde_json::value::to_raw_value;
use wardroom_accounts::{BackupKey, BackupState, KeyChoice, Session};
use wardroom_web::{ApiError, Class, Reply, Routes, Ruma};

use super::{count, listing, refusal};
use crate::ClientState;

pub(super) fn routes() -> Routes<ClientState> {
    Routes::new()
        .endpoint(add_backup_keys)
        .endpoint(add_backup_keys_for_room)
        .endpoint(add_backup_keys_for_session)
        .endpoint(get_backup_keys)
        .endpoint(get_backup_keys_for_room)
        .endpoint(get_backup_keys_for_session)
        .endpoint(delete_backup_keys)
        .endpoint(delete_backup_keys_for_room)
        .endpoint(delete_backup_keys_for_session)
}

/// Reads one key of a body.
fn key(room_id: &RoomId, session_id: String, data: &Raw<KeyBackupData>) -> Result<BackupKey, ApiError> {
    let data = data.deserialize_as_unchecked();
    let data = data.map_err(|error| ApiError::bad_json(format!("The key of session `{session_id}`: {error}.")))?;
    Ok(BackupKey { room_id: room_id.to_owned(), session_id, data })
}

async fn add(
    state: &ClientState,
    session: &Session,
    version: &str,
    keys: impl Iterator<Item = (OwnedRoomId, String, Raw<KeyBackupData>)>,
) -> Result<BackupState, ApiError> {
    state.limits.take(Class::KeyBackup, session.nid)?;
    let keys: Vec<BackupKey> =
        keys.map(|(room, session, data)| key(&room, session, &data)).collect::<Result<_, _>>()?;
    state.accounts.back_up(session.nid, version, &keys).await.map_err(refusal)
}

async fn add_backup_keys(
    State(state): State<ClientState>,
    request: Ruma<add_backup_keys::v3::Request>,
) -> Result<Reply<add_backup_keys::v3::Response>, ApiError> {
    let Ruma { body, session, .. } = request;
    let keys = body.rooms.into_iter().flat_map(|(room, backup)| {
        backup.sessions.into_iter().map(move |(session, data)| (room.clone(), session, data))
    });
    let now = add(&state, &session, &body.version, keys).await?;
    Ok(Reply(add_backup_keys::v3::Response::new(now.etag, count(now.count))))
}

async fn add_backup_keys_for_room(
    State(state): State<ClientState>,
    request: Ruma<add_backup_keys_for_room::v3::Request>,
) -> Result<Reply<add_backup_keys_for_room::v3::Response>, ApiError> {
    let Ruma { body, session, .. } = request;
    let room = body.room_id;
    let keys = body.sessions.into_iter().map(|(session, data)| (room.clone(), session, data));
    let now = add(&state, &session, &body.version, keys).await?;
    Ok(Reply(add_backup_keys_for_room::v3::Response::new(now.etag, count(now.count))))
}

async fn add_backup_keys_for_session(
    State(state): State<ClientState>,
    request: Ruma<add_backup_keys_for_session::v3::Request>,
) -> Result<Reply<add_backup_keys_for_session::v3::Response>, ApiError> {
    let Ruma { body, session, .. } = request;
    let key = std::iter::once((body.room_id, body.session_id, body.session_data));
    let now = add(&state, &session, &body.version, key).await?;
    Ok(Reply(add_backup_keys_for_session::v3::Response::new(now.etag, count(now.count))))
}

async fn get_backup_keys(
    State(state): State<ClientState>,
    request: Ruma<get_backup_keys::v3::Request>,
) -> Result<Response, ApiError> {
    let Ruma { body, session, .. } = request;
    listing::of_all(state.accounts, session.nid, body.version).await
}

async fn get_backup_keys_for_room(
    State(state): State<ClientState>,
    request: Ruma<get_backup_keys_for_room::v3::Request>,
) -> Result<Response, ApiError> {
    let Ruma { body, session, .. } = request;
    listing::of_room(state.accounts, session.nid, body.version, body.room_id).await
}

async fn get_backup_keys_for_session(
    State(state): State<ClientState>,
    request: Ruma<get_backup_keys_for_session::v3::Request>,
) -> Result<Reply<get_backup_keys_for_session::v3::Response>, ApiError> {
    let Ruma { body, session, .. } = request;
    let key = state.accounts.backup_key(session.nid, &body.version, &body.room_id, &body.session_id).await;
    let key = key.map_err(refusal)?.ok_or_else(|| ApiError::not_found("Key not found."))?;
    let key = to_raw_value(&key).map_err(|error| ApiError::internal(&error))?;
    Ok(Reply(get_backup_keys_for_session::v3::Response::new(Raw::from_json(key))))
}

async fn delete(
    state: &ClientState,
    session: &Session,
    version: &str,
    choice: KeyChoice<'_>,
) -> Result<BackupState, ApiError> {
    state.limits.take(Class::KeyBackup, session.nid)?;
    state.accounts.delete_backup_keys(session.nid, version, choice).await.map_err(refusal)
}

async fn delete_backup_keys(
    State(state): State<ClientState>,
    request: Ruma<delete_backup_keys::v3::Request>,
) -> Result<Reply<delete_backup_keys::v3::Response>, ApiError> {
    let (session, body) = (&request.session, &request.body);
    let now = delete(&state, session, &body.version, KeyChoice::All).await?;
    Ok(Reply(delete_backup_keys::v3::Response::new(now.etag, count(now.count))))
}

async fn delete_backup_keys_for_room(
    State(state): State<ClientState>,
    request: Ruma<delete_backup_keys_for_room::v3::Request>,
) -> Result<Reply<delete_backup_keys_for_room::v3::Response>, ApiError> {
    let (session, body) = (&request.session, &request.body);
    let now = delete(&state, session, &body.version, KeyChoice::Room(&body.room_id)).await?;
    Ok(Reply(delete_backup_keys_for_room::v3::Response::new(now.etag, count(now.count))))
}

async fn delete_backup_keys_for_session(
    State(state): State<ClientState>,
    request: Ruma<delete_backup_keys_for_session::v3::Request>,
) -> Result<Reply<delete_backup_keys_for_session::v3::Response>, ApiError> {
    let (session, body) = (&request.session, &request.body);
    let choice = KeyChoice::Session(&body.room_id, &body.session_id);
    let now = delete(&state, session, &body.version, choice).await?;
    Ok(Reply(delete_backup_keys_for_session::v3::Response::new(now.etag, count(now.count))))
}
