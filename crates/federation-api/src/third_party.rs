//! `PUT /_matrix/federation/v1/exchange_third_party_invite/{roomId}` and `PUT /_matrix/federation/v1/3pid/onbind`
//! ([spec](https://spec.matrix.org/v1.19/server-server-api/#third-party-invites)).

use axum::extract::State;
use http::StatusCode;
use ruma::{
    api::{
        error::ErrorKind,
        federation::thirdparty::{bind_callback, exchange_invite},
    },
    events::StateEventType,
};
use wardroom_federation::{Bound, Exchange, RemoteError, ThirdPartyError};
use wardroom_web::{ApiError, Class, Reply, Routes, Ruma};

use crate::{FederationState, Signed, SignedRoutes as _, error};

pub(crate) fn routes() -> Routes<FederationState> {
    Routes::new().signed(exchange).endpoint(bound)
}

async fn exchange(
    State(state): State<FederationState>,
    Signed { origin, body: request, .. }: Signed<exchange_invite::v1::Request>,
) -> Result<Reply<exchange_invite::v1::Response>, ApiError> {
    if request.kind != StateEventType::RoomMember {
        return Err(ApiError::invalid_param("type: it must be \"m.room.member\"."));
    }
    if origin != *request.state_key.server_name() {
        return Err(ApiError::forbidden("state_key: the invited user is none of your server's."));
    }
    let room = &request.room_id;
    if let Some(view) = state.rooms.view(room).await.map_err(error::of_room)?
        && !state.rooms.admits_server(view.nid, &origin).await.map_err(error::of_room)?
    {
        return Err(ApiError::forbidden("The room's access control list does not admit your server."));
    }
    let exchange = Exchange::read(request.sender, request.state_key, request.content.json()).map_err(told)?;
    state.federation.third_party.exchange(room, &exchange).await.map_err(told)?;
    Ok(Reply(exchange_invite::v1::Response::new()))
}

async fn bound(
    State(state): State<FederationState>,
    Ruma { body: request, client_ip, .. }: Ruma<bind_callback::v1::Request>,
) -> Result<Reply<bind_callback::v1::Response>, ApiError> {
    // Identity servers do not sign: whoever asks is nobody but an address.
    state.limits.take(Class::Invite, client_ip)?;
    let invites = request.invites.into_iter().map(|invite| Bound {
        room: invite.room_id,
        sender: invite.sender,
        signed: invite.signed.into_json(),
    });
    state.federation.third_party.bound(&request.mxid, invites.collect()).await.map_err(told)?;
    Ok(Reply(bind_callback::v1::Response::new()))
}

/// What a server is told of a failure.
fn told(error: ThirdPartyError) -> ApiError {
    let sentence = error.to_string();
    match error {
        ThirdPartyError::Invalid(_) => ApiError::invalid_param(sentence),
        ThirdPartyError::NoSuchSender => ApiError::not_found(sentence),
        ThirdPartyError::Remote(RemoteError::Room(error)) => error::of_room(error),
        ThirdPartyError::Remote(_) => ApiError::new(StatusCode::BAD_GATEWAY, ErrorKind::Unknown, sentence),
        ThirdPartyError::Accounts(error) => error.into(),
    }
}
