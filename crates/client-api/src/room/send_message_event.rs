//! `PUT /rooms/{roomId}/send/{eventType}/{txnId}`
//! ([spec](https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidsendeventtypetxnid)).

use axum::extract::State;
use ruma::api::client::message::send_message_event::v3::{Request, Response};
use wardroom_web::{ApiError, Class, Reply, Routes, Ruma};

use super::actor;
use crate::{ClientState, error};

pub(super) fn routes() -> Routes<ClientState> {
    Routes::new().endpoint(send_message_event)
}

async fn send_message_event(
    State(state): State<ClientState>,
    Ruma { body: request, session, .. }: Ruma<Request>,
) -> Result<Reply<Response>, ApiError> {
    state.limits.take(Class::Message, session.nid)?;
    state.accounts.presence().note_active(&session);
    let (kind, content) = (request.event_type.to_string(), request.body.into_json());
    let sent = state.rooms.send(actor(&session), &request.room_id, &kind, content, Some(&request.txn_id));
    Ok(Reply(Response::new(sent.await.map_err(error::of_room)?)))
}
