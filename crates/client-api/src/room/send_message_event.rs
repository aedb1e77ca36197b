//! `PUT /rooms/{roomId}/send/{eventType}/{txnId}`
//! ([spec](https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidsendeventtypetxnid)).

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
    Routes::new().endpoint(send_message_event)
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
