//! `PUT /rooms/{roomId}/redact/{eventId}/{txnId}`
//! ([spec](https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidredacteventidtxnid)).

use axum::extract::State;
use ruma::api::client::redact::redact_event::v3::{Request, Response};
use wardroom_web::{ApiError, Class, Reply, Routes, Ruma};

use super::{registered, unsuspended};
use crate::{ClientState, error};

pub(super) fn routes() -> Routes<ClientState> {
    Routes::new().endpoint(redact_event)
}

async fn redact_event(
    State(state): State<ClientState>,
    Ruma { body: request, session, .. }: Ruma<Request>,
) -> Result<Reply<Response>, ApiError> {
    state.limits.take(Class::Message, session.nid)?;
    if session.moderation.suspended {
        // One's own words may be taken back.
        let event = state.rooms.event(registered(&session)?, &request.room_id, &request.event_id).await;
        if session.user != event.map_err(error::of_room)?.pdu.sender() {
            unsuspended(&session)?;
        }
    }
    let (actor, txn_id) = (registered(&session)?, Some(&*request.txn_id));
    let redacted = state.rooms.redact(actor, &request.room_id, &request.event_id, request.reason, txn_id);
    Ok(Reply(Response::new(redacted.await.map_err(error::of_room)?)))
}
