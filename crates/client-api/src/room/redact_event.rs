//! `PUT /rooms/{roomId}/redact/{eventId}/{txnId}`
//! ([spec](https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidredacteventidtxnid)), and `POST`
//! without a transaction id, as clients of the first versions ask.

use std::marker::PhantomData;

use axum::extract::State;
use ruma::{
    OwnedEventId, OwnedRoomId, OwnedTransactionId,
    api::{
        IncomingRequest, Metadata,
        auth_scheme::AccessToken,
        client::redact::redact_event::v3::{Request, Response},
        error::{DeserializationError, Error as MatrixError},
    },
};
use serde::Deserialize;
use wardroom_rooms::Related;
use wardroom_web::{ApiError, Class, Reply, Routes, Ruma};

use super::{registered, unsuspended};
use crate::{ClientState, error, same_endpoint::same_endpoint};

pub(super) fn routes() -> Routes<ClientState> {
    Routes::new().endpoint(redact_event::<Request>).endpoint(redact_event::<each_time::Request>)
}

/// Redacting without a transaction id: each request is a redaction of its own.
mod each_time {
    use ruma::api::{auth_scheme::AccessToken, metadata};

    metadata! {
        method: POST,
        rate_limited: false,
        authentication: AccessToken,
        path: "/_matrix/client/v3/rooms/{room_id}/redact/{event_id}",
    }

    pub(super) struct Request;
}

/// A request at the endpoint of `T`, with what ruma does not read: what else is to be redacted (MSC3912).
#[derive(Debug)]
struct Redact<T> {
    room_id: OwnedRoomId,
    event_id: OwnedEventId,
    /// None where the path has none.
    txn_id: Option<OwnedTransactionId>,
    body: Body,
    endpoint: PhantomData<fn() -> T>,
}

same_endpoint!(Redact);

#[derive(Debug, Default, Deserialize)]
struct Body {
    #[serde(default)]
    reason: Option<String>,
    /// Types of relations to the event of what is redacted too; `*` for all.
    #[serde(default)]
    with_rel_types: Option<Vec<String>>,
    /// The same, by the name of the time before it is stable.
    #[serde(default, rename = "org.matrix.msc3912.with_relations")]
    with_relations: Option<Vec<String>>,
}

impl<T: Metadata> IncomingRequest for Redact<T> {
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
            txn_id: path_args.get(2).map(|id| (*id).into()),
            body: if body.is_empty() { Body::default() } else { serde_json::from_slice(body)? },
            endpoint: PhantomData,
        })
    }
}

async fn redact_event<T: Metadata<Authentication = AccessToken>>(
    State(state): State<ClientState>,
    Ruma { body: request, session, .. }: Ruma<Redact<T>>,
) -> Result<Reply<Response>, ApiError> {
    let Redact { room_id, event_id, txn_id, body, .. } = request;
    state.limits.take(Class::Message, session.nid)?;
    if session.moderation.suspended {
        // One's own words may be taken back.
        let redacted = state.rooms.event(registered(&session)?, &room_id, &event_id).await;
        if session.user != redacted.map_err(error::of_room)?.pdu.sender() {
            unsuspended(&session)?;
        }
    }
    let rel_types = body.with_rel_types.or(body.with_relations).unwrap_or_default();
    let related = Related { rel_types: &rel_types, own_only: session.moderation.suspended };
    let (actor, reason, transaction) = (registered(&session)?, body.reason, txn_id.as_deref());
    let redacted = state.rooms.redact_with(related, actor, &room_id, &event_id, reason, transaction);
    Ok(Reply(Response::new(redacted.await.map_err(error::of_room)?)))
}
