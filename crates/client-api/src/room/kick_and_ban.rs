//! `POST /rooms/{roomId}/kick`, `/ban` and `/unban`
//! ([spec](https://spec.matrix.org/v1.19/client-server-api/#banning-users-in-a-room)).

use axum::extract::State;
use ruma::api::client::membership::{
    ban_user::v3 as ban_user, kick_user::v3 as kick_user, unban_user::v3 as unban_user,
};
use wardroom_web::{ApiError, Reply, Routes, Ruma};

use super::{registered, unsuspended};
use crate::{ClientState, error};

pub(super) fn routes() -> Routes<ClientState> {
    Routes::new().endpoint(kick_user).endpoint(ban_user).endpoint(unban_user)
}

async fn kick_user(
    State(state): State<ClientState>,
    Ruma { body: request, session, .. }: Ruma<kick_user::Request>,
) -> Result<Reply<kick_user::Response>, ApiError> {
    unsuspended(&session)?;
    let kicked = state.rooms.kick(registered(&session)?, &request.room_id, &request.user_id, request.reason);
    kicked.await.map_err(error::of_room)?;
    Ok(Reply(kick_user::Response::new()))
}

async fn ban_user(
    State(state): State<ClientState>,
    Ruma { body: request, session, .. }: Ruma<ban_user::Request>,
) -> Result<Reply<ban_user::Response>, ApiError> {
    unsuspended(&session)?;
    let banned = state.rooms.ban(registered(&session)?, &request.room_id, &request.user_id, request.reason);
    banned.await.map_err(error::of_room)?;
    Ok(Reply(ban_user::Response::new()))
}

async fn unban_user(
    State(state): State<ClientState>,
    Ruma { body: request, session, .. }: Ruma<unban_user::Request>,
) -> Result<Reply<unban_user::Response>, ApiError> {
    unsuspended(&session)?;
    let unbanned = state.rooms.unban(registered(&session)?, &request.room_id, &request.user_id, request.reason);
    unbanned.await.map_err(error::of_room)?;
    Ok(Reply(unban_user::Response::new()))
}
