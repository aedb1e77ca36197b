//! `POST`, `GET` and `DELETE /_matrix/client/unstable/org.wardroom/v1/rooms/{roomIdOrAlias}/break_glass`: coming into a room
//! without the role in an emergency, where its access policy says so.

use std::marker::PhantomData;

use axum::{Json, extract::State};
use http::Method;
use ruma::{
    OwnedRoomOrAliasId,
    api::{
        IncomingRequest, Metadata,
        auth_scheme::AccessToken,
        error::{DeserializationError, Error},
        path_builder::SinglePath,
    },
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use wardroom_care::{Emergency, EmergencyReason};
use wardroom_web::{ApiError, Class, Routes, Ruma, Unwritten};

use super::{registered, unsuspended};
use crate::{ClientState, error};

const PATH: &str = "/_matrix/client/unstable/org.wardroom/v1/rooms/{room_id_or_alias}/break_glass";

pub(super) fn routes() -> Routes<ClientState> {
    Routes::new().endpoint(begin).endpoint(show).endpoint(end)
}

/// A method of HTTP.
trait Verb: 'static {
    const METHOD: Method;
}

macro_rules! verbs {
    ($($name:ident $method:ident),*) => {
        $(#[derive(Debug)] struct $name; impl Verb for $name { const METHOD: Method = Method::$method; })*
    };
}

verbs!(Begin POST, Show GET, End DELETE);

/// A request about one's emergency in a room.
#[derive(Debug)]
struct Request<V> {
    room: OwnedRoomOrAliasId,
    verb: PhantomData<fn() -> V>,
}

impl<V: Verb> Metadata for Request<V> {
    const METHOD: Method = V::METHOD;
    const RATE_LIMITED: bool = true;
    type Authentication = AccessToken;
    type PathBuilder = SinglePath;
    const PATH_BUILDER: SinglePath = SinglePath::new(PATH);
}

impl<V: Verb> IncomingRequest for Request<V> {
    type EndpointError = Error;
    type OutgoingResponse = Unwritten;

    fn try_from_http_request_inner(_: http::Request<&[u8]>, path_args: &[&str]) -> Result<Self, DeserializationError> {
        let room = path_args.first().copied().unwrap_or_default().try_into()?;
        Ok(Self { room, verb: PhantomData })
    }
}

/// The reason, as a client gives it.
fn reason(json: &[u8]) -> Result<EmergencyReason, ApiError> {
    #[derive(Deserialize)]
    struct Body {
        reason_code: Option<String>,
        reason_text: Option<String>,
        patient_ref: Option<String>,
    }
    let body: Body = serde_json::from_slice(json)
        .map_err(|error| ApiError::bad_json(format!("The request body is wrong: {error}.")))?;
    let missing = |field: &str| ApiError::missing_param(format!("{field}: is missing."));
    Ok(EmergencyReason {
        code: body.reason_code.ok_or_else(|| missing("reason_code"))?,
        text: body.reason_text.ok_or_else(|| missing("reason_text"))?,
        patient_ref: body.patient_ref.filter(|patient| !patient.is_empty()),
    })
}

async fn begin(
    State(state): State<ClientState>,
    Ruma { body: request, session, json, .. }: Ruma<Request<Begin>>,
) -> Result<Json<Value>, ApiError> {
    state.limits.take(Class::Join, session.nid)?;
    unsuspended(&session)?;
    let user = registered(&session)?.user;
    let begun = state.care.begin_emergency(user, &request.room, reason(&json)?, None).await;
    let Emergency { id, expires_ts, room_id, .. } = begun.map_err(error::of_care)?;
    state.accounts.presence().tell_again(session.nid);
    Ok(Json(json!({ "id": id, "expires_ts": expires_ts, "room_id": room_id })))
}

async fn show(
    State(state): State<ClientState>,
    Ruma { body: request, session, .. }: Ruma<Request<Show>>,
) -> Result<Json<Emergency>, ApiError> {
    let user = registered(&session)?.user;
    state.care.own_emergency(user, &request.room).await.map(Json).map_err(error::of_care)
}

async fn end(
    State(state): State<ClientState>,
    Ruma { body: request, session, .. }: Ruma<Request<End>>,
) -> Result<Json<Map<String, Value>>, ApiError> {
    state.limits.take(Class::Join, session.nid)?;
    let user = registered(&session)?.user;
    state.care.end_own_emergency(user, &request.room).await.map_err(error::of_care)?;
    Ok(Json(Map::new()))
}

#[cfg(test)]
mod tests {
    use super::reason;

    #[test]
    fn a_reason_has_a_code_and_words() {
        let read = |body: &str| reason(body.as_bytes()).map_err(|error| format!("{error:?}"));
        let whole = read(r#"{"reason_code": "BTG", "reason_text": "cardiac arrest", "patient_ref": ""}"#).unwrap();
        assert_eq!((whole.code.as_str(), whole.patient_ref), ("BTG", None));
        assert!(read(r#"{"reason_text": "x"}"#).unwrap_err().contains("reason_code"));
        assert!(read(r#"{"reason_code": "x"}"#).unwrap_err().contains("reason_text"));
        assert!(read(r#"{"reason_code": 7}"#).is_err() && read("").is_err());
    }
}
