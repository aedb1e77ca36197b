//! `POST /rooms/{roomId}/invite`
//! ([spec](https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidinvite)).

use axum::extract::State;
use http::{Method, StatusCode};
use ruma::{
    OwnedRoomId, OwnedUserId,
    api::{
        IncomingRequest, Metadata,
        client::membership::invite_user::v3::{Request as Endpoint, Response},
        error::{DeserializationError, Error, ErrorKind},
    },
};
use serde::{Deserialize, de::IgnoredAny};
use wardroom_federation::Invitation;
use wardroom_web::{ApiError, Class, Reply, Routes, Ruma};

use super::{invitee_profile, registered, unsuspended};
use crate::{ClientState, error};

pub(super) fn routes() -> Routes<ClientState> {
    Routes::new().endpoint(invite_user)
}

/// Who is to be invited to where.
///
/// ruma's request reads the two forms of the body as an untagged choice, whose errors name no field.
#[derive(Debug)]
struct Request {
    room_id: OwnedRoomId,
    body: Body,
}

#[derive(Debug, Deserialize)]
struct Body {
    user_id: Option<OwnedUserId>,
    reason: Option<String>,
    /// Field of the form that invites by e-mail address or telephone number.
    medium: Option<IgnoredAny>,
}

impl Metadata for Request {
    const METHOD: Method = Endpoint::METHOD;
    const RATE_LIMITED: bool = Endpoint::RATE_LIMITED;
    type Authentication = <Endpoint as Metadata>::Authentication;
    type PathBuilder = <Endpoint as Metadata>::PathBuilder;
    const PATH_BUILDER: Self::PathBuilder = Endpoint::PATH_BUILDER;
}

impl IncomingRequest for Request {
    type EndpointError = Error;
    type OutgoingResponse = Response;

    fn try_from_http_request_inner(
        request: http::Request<&[u8]>,
        path_args: &[&str],
    ) -> Result<Self, DeserializationError> {
        let room_id = path_args.first().copied().unwrap_or_default().try_into()?;
        let body: &[u8] = request.into_body();
        Ok(Self { room_id, body: serde_json::from_slice(if body.is_empty() { b"{}" } else { body })? })
    }
}

async fn invite_user(
    State(state): State<ClientState>,
    Ruma { body: Request { room_id, body }, session, .. }: Ruma<Request>,
) -> Result<Reply<Response>, ApiError> {
    state.limits.take(Class::Invite, session.nid)?;
    unsuspended(&session)?;
    let actor = registered(&session)?;
    let Some(user) = body.user_id else {
        return Err(if body.medium.is_some() { third_party() } else { ApiError::bad_json("`user_id` is missing.") });
    };
    let profile = invitee_profile(&state, "user_id", &user).await?;
    match &state.federation {
        Some(federation) if federation.rooms.is_remote(&user) => {
            let invitation = Invitation { profile, reason: body.reason, is_direct: false };
            federation.rooms.invite(actor, &room_id, &user, invitation).await.map_err(error::of_remote)?;
        }
        _ => state.rooms.invite(actor, &room_id, &user, profile, body.reason).await.map_err(error::of_room)?,
    }
    Ok(Reply(Response::new()))
}

/// The answer to invitations by e-mail address or telephone number.
pub(super) fn third_party() -> ApiError {
    let sentence = "This server does not invite by e-mail address or telephone number.";
    ApiError::new(StatusCode::FORBIDDEN, ErrorKind::ThreepidDenied, sentence)
}

#[cfg(test)]
mod tests {
    use ruma::api::IncomingRequest as _;

    use super::Request;

    fn read(body: &str) -> Result<Request, String> {
        let request = http::Request::new(body.as_bytes());
        Request::try_from_http_request_inner(request, &["!a:b.c"]).map_err(|error| error.to_string())
    }

    #[test]
    fn both_forms_are_told_apart() {
        let body = read(r#"{"user_id": "@a:b.c", "reason": "r", "else": 1}"#).unwrap().body;
        assert_eq!((body.user_id.unwrap().as_str(), body.reason.as_deref()), ("@a:b.c", Some("r")));
        let body = read(r#"{"medium": "email", "address": "a@b.c", "id_server": "x", "id_access_token": "y"}"#);
        let body = body.unwrap().body;
        assert!(body.user_id.is_none() && body.medium.is_some());
        assert!(read("").unwrap().body.user_id.is_none());
    }

    #[test]
    fn wrong_types_are_errors_with_a_position() {
        assert!(read(r#"{"user_id": 5}"#).unwrap_err().contains("line 1"));
        assert!(read(r#"{"user_id": "nobody"}"#).is_err());
        assert!(read(r#"{"user_id": "@a:b.c", "reason": {}}"#).is_err());
    }
}
