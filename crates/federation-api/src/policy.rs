//! `POST /_matrix/policy/v1/sign`: this server as the policy server of rooms
//! ([spec](https://spec.matrix.org/v1.19/server-server-api/#policy-servers)).

use axum::extract::State;
use http::StatusCode;
use ruma::{
    OwnedRoomId,
    api::{error::ErrorKind, federation::policy::sign_event::v1 as sign_event},
};
use serde::Deserialize;
use wardroom_event::Pdu;
use wardroom_rooms::RoomError;
use wardroom_web::{ApiError, Reply, Routes};

use crate::{
    FederationState, Signed, error,
    membership::verified,
    shared_room::{is_in, resident_room},
    signed::SignedRoutes as _,
};

pub(crate) fn routes() -> Routes<FederationState> {
    Routes::new().signed(sign)
}

async fn sign(
    State(state): State<FederationState>,
    Signed { origin, body: request, .. }: Signed<sign_event::Request>,
) -> Result<Reply<sign_event::Response>, ApiError> {
    #[derive(Deserialize)]
    struct InRoom {
        room_id: OwnedRoomId,
    }
    let json = request.pdu.get();
    // The event that makes a room names none in newer versions; nobody asks about that.
    let InRoom { room_id } =
        serde_json::from_str(json).map_err(|_| ApiError::bad_json("room_id: missing, or no room id."))?;
    let view = resident_room(&state, &room_id, &origin).await?;
    let pdu = Pdu::parse(json.as_bytes(), view.version).map_err(|error| error::of_event("body", error))?;
    if pdu.sender().server_name() != origin && !is_in(&state, &view, &origin).await? {
        return Err(refused("sender: this user does not belong to your server, which is not in the room."));
    }
    let pdu = verified(&state, &pdu).await?;
    let signature = state.rooms.sign_as_policy_server(&view, pdu).await.map_err(|error| match error {
        RoomError::Forbidden(sentence) => refused(sentence),
        RoomError::NoSuchRoom => ApiError::not_found("This server is not the policy server of that room."),
        error => error::of_room(error),
    })?;
    Ok(Reply(sign_event::Response::new(state.server_name, signature)))
}

/// Refusals to sign have this status, since 403 says that the server that asks is kept out.
fn refused(sentence: impl Into<String>) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, ErrorKind::Forbidden, sentence)
}
