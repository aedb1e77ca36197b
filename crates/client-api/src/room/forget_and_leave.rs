//! `POST /rooms/{roomId}/leave` and `POST /rooms/{roomId}/forget`
//! ([spec](https://spec.matrix.org/v1.19/client-server-api/#leaving-rooms)).

use axum::extract::State;
use ruma::api::client::membership::{forget_room::v3 as forget_room, leave_room::v3 as leave_room};
use wardroom_web::{ApiError, Reply, Routes, Ruma};

use super::actor;
use crate::{ClientState, error};

pub(super) fn routes() -> Routes<ClientState> {
    Routes::new().endpoint(leave_room).endpoint(forget_room)
}

async fn leave_room(
    State(state): State<ClientState>,
    Ruma { body: request, session, .. }: Ruma<leave_room::Request>,
) -> Result<Reply<leave_room::Response>, ApiError> {
    state.rooms.leave(actor(&session), &request.room_id, request.reason).await.map_err(error::of_room)?;
    Ok(Reply(leave_room::Response::new()))
}

async fn forget_room(
    State(state): State<ClientState>,
    Ruma { body: request, session, .. }: Ruma<forget_room::Request>,
) -> Result<Reply<forget_room::Response>, ApiError> {
    state.rooms.forget(actor(&session), &request.room_id).await.map_err(error::of_room)?;
    Ok(Reply(forget_room::Response::new()))
}
