//! `GET /_wardroom/admin/v1/rooms/{roomId}/graph`: the ends of a room's event graph and a digest of its state, for
//! administrators who want to know whether two servers see a room alike. It says ids and numbers only.

use axum::extract::State;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ruma::{
    OwnedEventId, OwnedRoomId,
    api::{
        IncomingRequest, OutgoingBodyJson, OutgoingResponse,
        auth_scheme::AccessToken,
        error::{DeserializationError, Error as MatrixError, IntoHttpError},
        metadata,
    },
};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use wardroom_accounts::AdminScope;
use wardroom_rooms::{RoomError, StateWhich};
use wardroom_web::{ApiError, Reply, Routes, Ruma};

use crate::{
    AdminState,
    calls::Call,
    endpoint::{Endpoints, described},
};

const PATH: &str = "/_wardroom/admin/v1/rooms/{room_id}/graph";

pub(crate) fn endpoints() -> Endpoints {
    let summary = "Tells the ends of a room's event graph and a digest of its state.";
    Endpoints::new()
        .with(Routes::new().endpoint(graph), vec![described(http::Method::GET, PATH, AdminScope::Rooms, summary)])
}

metadata! {
    method: GET,
    rate_limited: false,
    authentication: AccessToken,
    path: "/_wardroom/admin/v1/rooms/{room_id}/graph",
}

#[derive(Debug)]
struct Request {
    room: OwnedRoomId,
}

impl IncomingRequest for Request {
    type EndpointError = MatrixError;
    type OutgoingResponse = Response;

    fn try_from_http_request_inner(_: http::Request<&[u8]>, path_args: &[&str]) -> Result<Self, DeserializationError> {
        Ok(Self { room: path_args.first().copied().unwrap_or_default().try_into()? })
    }
}

/// What the room's graph looks like from here. Two servers that agree on a room give the same answer.
#[derive(Debug, Serialize, OutgoingBodyJson)]
struct Response {
    room_version: String,
    /// Events that no other event follows, sorted.
    extremities: Vec<OwnedEventId>,
    /// How many state events the room has.
    state_events: usize,
    /// SHA-256 over the sorted ids of the state's events, each followed by a line feed; base64, URL-safe, unpadded.
    state_digest: String,
    joined_members: u64,
    invited_members: u64,
}

impl OutgoingResponse for Response {
    type Body = Self;

    fn try_into_http_response_inner(self) -> Result<http::Response<Self>, IntoHttpError> {
        Ok(http::Response::new(self))
    }
}

async fn graph(
    State(state): State<AdminState>,
    Ruma { body, session, .. }: Ruma<Request>,
) -> Result<Reply<Response>, ApiError> {
    let call = Call::new(http::Method::GET, PATH, [body.room.as_str()]);
    call.carried_out(&state, &session, AdminScope::Rooms, |_| graph_of(&state, &body)).await
}

async fn graph_of(state: &AdminState, body: &Request) -> Result<Reply<Response>, ApiError> {
    let failed = |error: RoomError| ApiError::internal(&error);
    let Some(view) = state.rooms.view(&body.room).await.map_err(failed)? else {
        return Err(ApiError::not_found("This server does not know that room."));
    };
    let mut extremities = state.rooms.extremities(&body.room).await.map_err(failed)?;
    extremities.sort();
    let events = state.rooms.state(view.nid, view.state, StateWhich::All).await.map_err(failed)?;
    let mut ids: Vec<&str> = events.iter().map(|event| event.pdu.event_id().as_str()).collect();
    ids.sort_unstable();
    let mut digest = Sha256::new();
    for id in &ids {
        digest.update(id.as_bytes());
        digest.update(b"\n");
    }
    Ok(Reply(Response {
        room_version: view.version.id().to_string(),
        extremities,
        state_events: ids.len(),
        state_digest: URL_SAFE_NO_PAD.encode(digest.finalize()),
        joined_members: view.joined,
        invited_members: view.invited,
    }))
}
