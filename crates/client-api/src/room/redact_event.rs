//! `PUT /rooms/{roomId}/redact/{eventId}/{txnId}`
//! ([spec](https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidredacteventidtxnid)), and `POST`
//! without a transaction id, as clients of the first versions ask.

use axum::extract::State;
use ruma::{
    EventId, OwnedEventId, OwnedRoomId, RoomId, TransactionId,
    api::client::redact::redact_event::v3::{Request, Response},
};
use wardroom_accounts::Session;
use wardroom_web::{ApiError, Class, Reply, Routes, Ruma};

use super::{registered, unsuspended};
use crate::{ClientState, error};

pub(super) fn routes() -> Routes<ClientState> {
    Routes::new().endpoint(redact_event).endpoint(redact_event_each_time)
}

/// Redacting without a transaction id: each request is a redaction of its own.
mod each_time {
    use ruma::api::{
        IncomingRequest,
        auth_scheme::AccessToken,
        client::redact::redact_event::v3::Response,
        error::{DeserializationError, Error as MatrixError},
        metadata,
    };
    use serde::Deserialize;

    use super::{OwnedEventId, OwnedRoomId};

    metadata! {
        method: POST,
        rate_limited: false,
        authentication: AccessToken,
        path: "/_matrix/client/v3/rooms/{room_id}/redact/{event_id}",
    }

    #[derive(Debug, Default, Deserialize)]
    pub(super) struct Body {
        #[serde(default)]
        pub(super) reason: Option<String>,
    }

    #[derive(Debug)]
    pub(super) struct Request {
        pub(super) room_id: OwnedRoomId,
        pub(super) event_id: OwnedEventId,
        pub(super) body: Body,
    }

    impl IncomingRequest for Request {
        type EndpointError = MatrixError;
        type OutgoingResponse = Response;

        fn try_from_http_request_inner(
            request: http::Request<&[u8]>,
            path_args: &[&str],
        ) -> Result<Self, DeserializationError> {
            let argument = |index: usize| path_args.get(index).copied().unwrap_or_default();
            let body: &[u8] = request.into_body();
            Ok(Self {
                room_id: argument(0).try_into()?,
                event_id: argument(1).try_into()?,
                body: if body.is_empty() { Body::default() } else { serde_json::from_slice(body)? },
            })
        }
    }
}

async fn redact_event(
    State(state): State<ClientState>,
    Ruma { body: request, session, .. }: Ruma<Request>,
) -> Result<Reply<Response>, ApiError> {
    redact(&state, &session, (&request.room_id, &request.event_id), request.reason, Some(&request.txn_id)).await
}

async fn redact_event_each_time(
    State(state): State<ClientState>,
    Ruma { body: request, session, .. }: Ruma<each_time::Request>,
) -> Result<Reply<Response>, ApiError> {
    redact(&state, &session, (&request.room_id, &request.event_id), request.body.reason, None).await
}

async fn redact(
    state: &ClientState,
    session: &Session,
    (room, event): (&RoomId, &EventId),
    reason: Option<String>,
    transaction: Option<&TransactionId>,
) -> Result<Reply<Response>, ApiError> {
    state.limits.take(Class::Message, session.nid)?;
    if session.moderation.suspended {
        // One's own words may be taken back.
        let redacted = state.rooms.event(registered(session)?, room, event).await;
        if session.user != redacted.map_err(error::of_room)?.pdu.sender() {
            unsuspended(session)?;
        }
    }
    let redacted = state.rooms.redact(registered(session)?, room, event, reason, transaction);
    Ok(Reply(Response::new(redacted.await.map_err(error::of_room)?)))
}
