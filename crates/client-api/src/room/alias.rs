//! `PUT`, `GET` and `DELETE /directory/room/{roomAlias}`, and `GET /rooms/{roomId}/aliases`
//! ([spec](https://spec.matrix.org/v1.19/client-server-api/#room-aliases)).

use axum::extract::State;
use http::StatusCode;
use ruma::api::{
    client::{
        alias::{create_alias::v3 as create_alias, delete_alias::v3 as delete_alias, get_alias::v3 as get_alias},
        room::aliases::v3 as aliases,
    },
    error::ErrorKind,
};
use wardroom_rooms::RoomError;
use wardroom_web::{ApiError, Class, Reply, Routes, Ruma};

use super::{actor, registered, room_of_alias};
use crate::{ClientState, error};

pub(super) fn routes() -> Routes<ClientState> {
    Routes::new().endpoint(create_alias).endpoint(get_alias).endpoint(delete_alias).endpoint(aliases)
}

async fn create_alias(
    State(state): State<ClientState>,
    Ruma { body: request, session, .. }: Ruma<create_alias::Request>,
) -> Result<Reply<create_alias::Response>, ApiError> {
    state.limits.take(Class::Account, session.nid)?;
    let set = state.rooms.set_alias(registered(&session)?, &request.room_alias, &request.room_id).await;
    set.map_err(|error| match error {
        // Here the specification has another status and code than for a new room.
        RoomError::AliasInUse => ApiError::new(StatusCode::CONFLICT, ErrorKind::Unknown, error.to_string()),
        other => error::of_room(other),
    })?;
    Ok(Reply(create_alias::Response::new()))
}

async fn get_alias(
    State(state): State<ClientState>,
    Ruma { body: request, .. }: Ruma<get_alias::Request>,
) -> Result<Reply<get_alias::Response>, ApiError> {
    let (room, servers) = room_of_alias(&state, &request.room_alias).await?;
    Ok(Reply(get_alias::Response::new(room, servers)))
}

async fn delete_alias(
    State(state): State<ClientState>,
    Ruma { body: request, session, .. }: Ruma<delete_alias::Request>,
) -> Result<Reply<delete_alias::Response>, ApiError> {
    state.limits.take(Class::Account, session.nid)?;
    state.rooms.remove_alias(registered(&session)?, &request.room_alias).await.map_err(error::of_room)?;
    Ok(Reply(delete_alias::Response::new()))
}

async fn aliases(
    State(state): State<ClientState>,
    Ruma { body: request, session, .. }: Ruma<aliases::Request>,
) -> Result<Reply<aliases::Response>, ApiError> {
    let aliases = state.rooms.aliases_of(actor(&session), &request.room_id).await.map_err(error::of_room)?;
    Ok(Reply(aliases::Response::new(aliases)))
}
