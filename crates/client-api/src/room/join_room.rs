//! `POST /join/{roomIdOrAlias}`, `POST /rooms/{roomId}/join` and `POST /knock/{roomIdOrAlias}`
//! ([spec](https://spec.matrix.org/v1.19/client-server-api/#joining-rooms)).

use axum::extract::State;
use ruma::{
    OwnedRoomId, OwnedServerName,
    api::{
        IncomingRequest,
        client::{
            knock::knock_room::v3 as knock_room,
            membership::{join_room_by_id::v3 as join_by_id, join_room_by_id_or_alias::v3 as join_by_id_or_alias},
        },
        error::DeserializationError,
    },
};
use wardroom_accounts::Session;
use wardroom_federation::Passage;
use wardroom_web::{ApiError, Class, Reply, Routes, Ruma};

use super::{actor, own_profile, registered, room_of, unsuspended, upgrade_room::carry_settings};
use crate::{ClientState, error, same_endpoint::same_endpoint};

pub(super) fn routes() -> Routes<ClientState> {
    Routes::new().endpoint(join_room_by_id).endpoint(join_room_by_id_or_alias).endpoint(knock_room)
}

/// A request whose body may be left out. ruma allows that everywhere but in the two requests that take an alias.
#[derive(Debug)]
struct BodyOptional<T>(T);

same_endpoint!(BodyOptional);

impl<T: IncomingRequest> IncomingRequest for BodyOptional<T> {
    type EndpointError = T::EndpointError;
    type OutgoingResponse = T::OutgoingResponse;

    fn try_from_http_request_inner(
        request: http::Request<&[u8]>,
        path_args: &[&str],
    ) -> Result<Self, DeserializationError> {
        let request = request.map(|body| if body.is_empty() { b"{}" } else { body });
        T::try_from_http_request_inner(request, path_args).map(Self)
    }
}

async fn join_room_by_id(
    State(state): State<ClientState>,
    Ruma { body: request, session, .. }: Ruma<join_by_id::Request>,
) -> Result<Reply<join_by_id::Response>, ApiError> {
    state.limits.take(Class::Join, session.nid)?;
    unsuspended(&session)?;
    let room_id = join(&state, &session, request.room_id, &[], request.reason).await?;
    Ok(Reply(join_by_id::Response::new(room_id)))
}

async fn join_room_by_id_or_alias(
    State(state): State<ClientState>,
    Ruma { body: BodyOptional(request), session, .. }: Ruma<BodyOptional<join_by_id_or_alias::Request>>,
) -> Result<Reply<join_by_id_or_alias::Response>, ApiError> {
    state.limits.take(Class::Join, session.nid)?;
    unsuspended(&session)?;
    let (room_id, via) = room_of(&state, &request.room_id_or_alias, request.via).await?;
    let room_id = join(&state, &session, room_id, &via, request.reason).await?;
    Ok(Reply(join_by_id_or_alias::Response::new(room_id)))
}

async fn join(
    state: &ClientState,
    session: &Session,
    room: OwnedRoomId,
    via: &[OwnedServerName],
    reason: Option<String>,
) -> Result<OwnedRoomId, ApiError> {
    let (actor, profile) = (actor(session), own_profile(state, session).await?);
    match &state.federation {
        Some(federation) => {
            let passage = Passage { actor, room: &room, via, profile, reason };
            federation.rooms.join(passage).await.map_err(error::of_remote)?;
        }
        None => state.rooms.join(actor, &room, profile, reason).await.map_err(error::of_room)?,
    }
    carry_settings(state, session, &room).await;
    state.accounts.presence().tell_again(session.nid);
    Ok(room)
}

async fn knock_room(
    State(state): State<ClientState>,
    Ruma { body: BodyOptional(request), session, .. }: Ruma<BodyOptional<knock_room::Request>>,
) -> Result<Reply<knock_room::Response>, ApiError> {
    state.limits.take(Class::Join, session.nid)?;
    unsuspended(&session)?;
    let actor = registered(&session)?;
    let (room_id, via) = room_of(&state, &request.room_id_or_alias, request.via).await?;
    let (profile, reason) = (own_profile(&state, &session).await?, request.reason);
    match &state.federation {
        Some(federation) => {
            let passage = Passage { actor, room: &room_id, via: &via, profile, reason };
            federation.rooms.knock(passage).await.map_err(error::of_remote)?;
        }
        None => state.rooms.knock(actor, &room_id, profile, reason).await.map_err(error::of_room)?,
    }
    Ok(Reply(knock_room::Response::new(room_id)))
}
