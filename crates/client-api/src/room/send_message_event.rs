//! `PUT /rooms/{roomId}/send/{eventType}/{txnId}`
//! ([spec](https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidsendeventtypetxnid)), and `POST`
//! without a transaction id: no specification has it any more, but servers do, and scripts rely on it.

use axum::{Json, extract::State};
use ruma::api::client::message::send_message_event::v3::Request;
use serde_json::{Value, json};
use wardroom_web::{ApiError, Class, Routes, Ruma};

use super::{actor, unsuspended};
use crate::{
    ClientState,
    delayed_events::{Delayable, Later, later},
    error,
};

pub(super) fn routes() -> Routes<ClientState> {
    Routes::new().endpoint(send_message_event).endpoint(send_without_transaction)
}

async fn send_message_event(
    State(state): State<ClientState>,
    Ruma { body: delayable, session, .. }: Ruma<Delayable<Request>>,
) -> Result<Json<Value>, ApiError> {
    state.limits.take(Class::Message, session.nid)?;
    state.accounts.presence().note_active(&session);
    let delay = delayable.delay()?;
    let request = delayable.request;
    let (kind, content) = (request.event_type.to_string(), request.body.into_json());
    unsuspended(&session)?;
    if let Some(delay) = delay {
        let (room, transaction) = (&request.room_id, Some(&*request.txn_id));
        let event = Later { room, kind: &kind, state_key: None, content: &content, delay, transaction };
        return later(&state, &session, event).await;
    }
    let sent = state.rooms.send(actor(&session), &request.room_id, &kind, content, Some(&request.txn_id));
    Ok(Json(json!({ "event_id": sent.await.map_err(error::of_room)? })))
}

/// Sending without a transaction id.
mod without_transaction {
    use ruma::{
        OwnedRoomId,
        api::{
            IncomingRequest,
            auth_scheme::AccessToken,
            client::message::send_message_event::v3::Response,
            error::{DeserializationError, Error as MatrixError},
            metadata,
        },
    };
    use serde_json::value::RawValue as RawJsonValue;

    metadata! {
        method: POST,
        rate_limited: false,
        authentication: AccessToken,
        path: "/_matrix/client/v3/rooms/{room_id}/send/{event_type}",
    }

    #[derive(Debug)]
    pub(super) struct Request {
        pub(super) room_id: OwnedRoomId,
        pub(super) event_type: String,
        pub(super) content: Box<RawJsonValue>,
    }

    impl IncomingRequest for Request {
        type EndpointError = MatrixError;
        type OutgoingResponse = Response;

        fn try_from_http_request_inner(
            request: http::Request<&[u8]>,
            path: &[&str],
        ) -> Result<Self, DeserializationError> {
            let path: Vec<&str> = path.to_vec();
            let (room_id, event_type) = serde::Deserialize::deserialize(serde::de::value::SeqDeserializer::<
                _,
                serde::de::value::Error,
            >::new(path.into_iter()))?;
            Ok(Self { room_id, event_type, content: serde_json::from_slice(request.into_body())? })
        }
    }
}

async fn send_without_transaction(
    State(state): State<ClientState>,
    Ruma { body: request, session, .. }: Ruma<without_transaction::Request>,
) -> Result<Json<Value>, ApiError> {
    state.limits.take(Class::Message, session.nid)?;
    state.accounts.presence().note_active(&session);
    unsuspended(&session)?;
    let sent = state.rooms.send(actor(&session), &request.room_id, &request.event_type, request.content, None);
    Ok(Json(json!({ "event_id": sent.await.map_err(error::of_room)? })))
}
