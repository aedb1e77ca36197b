//! `GET /mutual_rooms` ([spec](https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mutual_rooms)).

use axum::extract::State;
use ruma::{
    UInt, UserId,
    api::client::membership::get_mutual_rooms::{unstable, v1},
};
use wardroom_accounts::Session;
use wardroom_rooms::MutualRooms;
use wardroom_web::{ApiError, Class, Reply, Routes, Ruma};

use super::registered;
use crate::{ClientState, error};

pub(super) fn routes() -> Routes<ClientState> {
    Routes::new().endpoint(get_mutual_rooms).endpoint(get_mutual_rooms_unstable)
}

async fn get_mutual_rooms(
    State(state): State<ClientState>,
    Ruma { body: request, session, .. }: Ruma<v1::Request>,
) -> Result<Reply<v1::Response>, ApiError> {
    let rooms = mutual_rooms(&state, &session, &request.user_id, request.from.as_deref()).await?;
    let mut response = v1::Response::new(UInt::new_saturating(rooms.count), rooms.joined);
    response.next_batch = rooms.next_batch;
    Ok(Reply(response))
}

async fn get_mutual_rooms_unstable(
    State(state): State<ClientState>,
    Ruma { body: request, session, .. }: Ruma<unstable::Request>,
) -> Result<Reply<unstable::Response>, ApiError> {
    let rooms = mutual_rooms(&state, &session, &request.user_id, request.from.as_deref()).await?;
    let mut response = unstable::Response::new(rooms.joined);
    response.next_batch = rooms.next_batch;
    Ok(Reply(response))
}

async fn mutual_rooms(
    state: &ClientState,
    session: &Session,
    other: &UserId,
    from: Option<&str>,
) -> Result<MutualRooms, ApiError> {
    state.limits.take(Class::Search, session.nid)?;
    if *other == *session.user {
        return Err(ApiError::invalid_param("user_id: must be another user than yourself."));
    }
    other.validate_strict().map_err(|error| ApiError::invalid_param(format!("user_id: {error}.")))?;
    state.rooms.mutual_rooms(registered(session)?, other, from).await.map_err(error::of_room)
}
