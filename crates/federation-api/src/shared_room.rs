//! Which rooms another server may ask about (server-server API, section "Server Access Control Lists (ACLs)").

use std::sync::Arc;

use ruma::{RoomId, ServerName};
use wardroom_rooms::{RoomView, ServerReader, Visibility};
use wardroom_web::ApiError;

use crate::{FederationState, error};

/// A room that this server is in and whose access control list admits the server that asks.
///
/// # Errors
/// 404 where this server is not in the room (any more), 403 where the list does not admit the other.
pub(crate) async fn resident_room(
    state: &FederationState,
    room: &RoomId,
    origin: &ServerName,
) -> Result<Arc<RoomView>, ApiError> {
    let view = state.rooms.view(room).await.map_err(error::of_room)?.ok_or_else(error::no_such_room)?;
    if !is_in(state, &view, &state.server_name).await? {
        return Err(error::no_such_room());
    }
    if !state.rooms.admits_server(view.nid, origin).await.map_err(error::of_room)? {
        return Err(ApiError::forbidden("The room's access control list does not admit your server."));
    }
    Ok(view)
}

/// A room that the server that asks may read: one of its users is in it, or it is world-readable.
///
/// # Errors
/// As [`resident_room`], and 403 where the server is not in the room.
pub(crate) async fn readable_room(
    state: &FederationState,
    room: &RoomId,
    origin: &ServerName,
) -> Result<ServerReader, ApiError> {
    let view = resident_room(state, room, origin).await?;
    if view.visibility != Visibility::WorldReadable && !is_in(state, &view, origin).await? {
        return Err(ApiError::forbidden("Your server is not in this room."));
    }
    Ok(ServerReader::new(view, origin))
}

/// Whether users of a server are in a room.
pub(crate) async fn is_in(state: &FederationState, room: &RoomView, server: &ServerName) -> Result<bool, ApiError> {
    Ok(state.rooms.servers(room.nid).await.map_err(error::of_room)?.iter().any(|there| *there == *server))
}
