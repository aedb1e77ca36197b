//! `POST /_synapse/admin/v1/send_server_notice` and `PUT .../send_server_notice/{txnId}`: a notice to one user, sent by
//! an administrator. Shapes and paths are Synapse's, for the scripts that exist.

use axum::extract::State;
use http::{Method, StatusCode};
use ruma::{
    OwnedEventId, OwnedTransactionId, OwnedUserId, TransactionId,
    api::{
        IncomingRequest, OutgoingBodyJson, OutgoingResponse,
        auth_scheme::AccessToken,
        error::{DeserializationError, Error as MatrixError, ErrorKind, IntoHttpError},
        metadata,
    },
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue as RawJsonValue;
use wardroom_accounts::AdminScope;
use wardroom_rooms::RoomError;
use wardroom_web::{ApiError, Reply, Routes, Ruma};

use crate::{
    AdminState, Notice, NoticeError,
    calls::Call,
    endpoint::{Endpoints, described},
};

const EACH_TIME: &str = "/_synapse/admin/v1/send_server_notice";
const ONCE: &str = "/_synapse/admin/v1/send_server_notice/{txn_id}";

pub(crate) fn endpoints() -> Endpoints {
    let summary = "Sends a notice to a user.";
    Endpoints::new().with(
        Routes::new().endpoint(send).endpoint(send_once),
        vec![
            described(Method::POST, EACH_TIME, AdminScope::Operation, summary),
            described(Method::PUT, ONCE, AdminScope::Operation, summary),
        ],
    )
}

/// The notice, as a request brings it.
#[derive(Debug, Deserialize)]
struct Body {
    user_id: OwnedUserId,
    #[serde(default = "message", rename = "type")]
    kind: String,
    state_key: Option<String>,
    content: Box<RawJsonValue>,
}

fn message() -> String {
    "m.room.message".to_owned()
}

#[derive(Serialize, OutgoingBodyJson)]
struct Response {
    event_id: OwnedEventId,
}

impl OutgoingResponse for Response {
    type Body = Self;

    fn try_into_http_response_inner(self) -> Result<http::Response<Self>, IntoHttpError> {
        Ok(http::Response::new(self))
    }
}

/// Sending.
mod each_time {
    use super::{AccessToken, Body, DeserializationError, IncomingRequest, MatrixError, Response, metadata};

    metadata! {
        method: POST,
        rate_limited: false,
        authentication: AccessToken,
        path: "/_synapse/admin/v1/send_server_notice",
    }

    #[derive(Debug)]
    pub(super) struct Request(pub(super) Body);

    impl IncomingRequest for Request {
        type EndpointError = MatrixError;
        type OutgoingResponse = Response;

        fn try_from_http_request_inner(
            request: http::Request<&[u8]>,
            _: &[&str],
        ) -> Result<Self, DeserializationError> {
            let body: &[u8] = request.into_body();
            Ok(Self(serde_json::from_slice(if body.is_empty() { b"{}" } else { body })?))
        }
    }
}

/// Sending with a transaction id.
mod once {
    use super::{
        AccessToken, Body, DeserializationError, IncomingRequest, MatrixError, OwnedTransactionId, Response, metadata,
    };

    metadata! {
        method: PUT,
        rate_limited: false,
        authentication: AccessToken,
        path: "/_synapse/admin/v1/send_server_notice/{txn_id}",
    }

    #[derive(Debug)]
    pub(super) struct Request {
        pub(super) transaction: OwnedTransactionId,
        pub(super) body: Body,
    }

    impl IncomingRequest for Request {
        type EndpointError = MatrixError;
        type OutgoingResponse = Response;

        fn try_from_http_request_inner(
            request: http::Request<&[u8]>,
            path_args: &[&str],
        ) -> Result<Self, DeserializationError> {
            let transaction = path_args.first().copied().unwrap_or_default().into();
            let body: &[u8] = request.into_body();
            Ok(Self { transaction, body: serde_json::from_slice(if body.is_empty() { b"{}" } else { body })? })
        }
    }
}

async fn send(
    State(state): State<AdminState>,
    Ruma { body: each_time::Request(body), session, .. }: Ruma<each_time::Request>,
) -> Result<Reply<Response>, ApiError> {
    let call = Call::new(Method::POST, EACH_TIME, []);
    call.carried_out(&state, &session, AdminScope::Operation, |_| notify(&state, body, None)).await
}

async fn send_once(
    State(state): State<AdminState>,
    Ruma { body: request, session, .. }: Ruma<once::Request>,
) -> Result<Reply<Response>, ApiError> {
    let (body, transaction) = (request.body, Some(&*request.transaction));
    let call = Call::new(Method::PUT, ONCE, []);
    call.carried_out(&state, &session, AdminScope::Operation, |_| notify(&state, body, transaction)).await
}

async fn notify(
    state: &AdminState,
    body: Body,
    transaction: Option<&TransactionId>,
) -> Result<Reply<Response>, ApiError> {
    let Some(notices) = &state.notices else {
        let sentence = "Server notices are not configured on this server.";
        return Err(ApiError::new(StatusCode::BAD_REQUEST, ErrorKind::Unknown, sentence));
    };
    let Body { user_id, kind, state_key, content } = body;
    let state_key = state_key.as_deref();
    let notice = Notice { user: &user_id, kind: &kind, state_key, content, transaction };
    let event_id = notices.send(notice).await.map_err(refusal)?;
    Ok(Reply(Response { event_id }))
}

fn refusal(error: NoticeError) -> ApiError {
    let sentence = error.to_string();
    match error {
        NoticeError::UnknownUser => ApiError::not_found(sentence),
        NoticeError::Accounts(error) => error.into(),
        NoticeError::Rooms(RoomError::BadContent(_) | RoomError::InvalidParam(_)) => ApiError::bad_json(sentence),
        NoticeError::Rooms(RoomError::TooLarge { .. }) => ApiError::too_large(sentence),
        NoticeError::Rooms(RoomError::Forbidden(_)) => ApiError::forbidden(sentence),
        NoticeError::Rooms(RoomError::DiskFull) => ApiError::disk_full(),
        NoticeError::Rooms(error) => ApiError::internal(&error),
    }
}
