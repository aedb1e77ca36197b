//! `POST /rooms/{roomId}/receipt/{receiptType}/{eventId}` and `POST /rooms/{roomId}/read_markers`
//! ([spec](https://spec.matrix.org/v1.19/client-server-api/#receipts)).

use axum::extract::State;
use http::Method;
use ruma::{
    OwnedEventId, OwnedRoomId,
    api::{
        IncomingRequest, Metadata,
        client::{
            read_marker::set_read_marker::v3 as set_read_marker,
            receipt::create_receipt::v3::{ReceiptType, Request as Endpoint, Response},
        },
        error::{DeserializationError, Error},
    },
    events::receipt::{ReceiptThread, ReceiptType as ReadReceipt},
};
use serde::Deserialize;
use serde_json::Value;
use wardroom_care::RoomPolicy;
use wardroom_rooms::RoomView;
use wardroom_web::{ApiError, Class, Reply, Routes, Ruma};

use super::registered;
use crate::{ClientState, error};

pub(super) fn routes() -> Routes<ClientState> {
    Routes::new().endpoint(create_receipt).endpoint(set_read_marker)
}

/// A receipt to be set. ruma's request would answer a wrong `thread_id` with another code than the specification's.
#[derive(Debug)]
struct Request {
    room_id: OwnedRoomId,
    receipt_type: ReceiptType,
    event_id: OwnedEventId,
    body: Body,
}

#[derive(Debug, Default, Deserialize)]
struct Body {
    thread_id: Option<Value>,
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
        let arg = |index: usize| path_args.get(index).copied().unwrap_or_default();
        let body = match *request.body() {
            [] => Body::default(),
            body => serde_json::from_slice(body)?,
        };
        Ok(Self { room_id: arg(0).try_into()?, receipt_type: arg(1).into(), event_id: arg(2).try_into()?, body })
    }
}

async fn create_receipt(
    State(state): State<ClientState>,
    Ruma { body: request, session, .. }: Ruma<Request>,
) -> Result<Reply<Response>, ApiError> {
    state.limits.take(Class::Message, session.nid)?;
    state.accounts.presence().note_active(&session);
    let thread = thread(request.body.thread_id)?;
    let kind = match request.receipt_type {
        ReceiptType::Read => ReadReceipt::Read,
        ReceiptType::ReadPrivate => {
            let view = state.rooms.permit_signal(registered(&session)?, &request.room_id).await;
            let view = view.map_err(error::of_room)?;
            may_be_private(&state, &view, "receiptType")?;
            ReadReceipt::ReadPrivate
        }
        ReceiptType::FullyRead if thread == ReceiptThread::Unthreaded => {
            let actor = registered(&session)?;
            let view = state.rooms.permit_signal(actor, &request.room_id).await.map_err(error::of_room)?;
            state.rooms.event(actor, &request.room_id, &request.event_id).await.map_err(error::of_room)?;
            // The read marker is account data of the user in the room.
            state.accounts.set_fully_read(session.nid, view.nid.get(), &request.event_id).await?;
            return Ok(Reply(Response::new()));
        }
        ReceiptType::FullyRead => {
            return Err(ApiError::invalid_param("thread_id: m.fully_read is of the whole room and takes no thread."));
        }
        _ => {
            let sentence = "receiptType: must be m.read, m.read.private or m.fully_read.";
            return Err(ApiError::invalid_param(sentence));
        }
    };
    let set = state.rooms.set_receipt(registered(&session)?, &request.room_id, &kind, &request.event_id, &thread);
    set.await.map_err(error::of_room)?;
    Ok(Reply(Response::new()))
}

async fn set_read_marker(
    State(state): State<ClientState>,
    Ruma { body: request, session, .. }: Ruma<set_read_marker::Request>,
) -> Result<Reply<set_read_marker::Response>, ApiError> {
    state.limits.take(Class::Message, session.nid)?;
    state.accounts.presence().note_active(&session);
    let (actor, room) = (registered(&session)?, &*request.room_id);
    let receipts =
        [(ReadReceipt::Read, request.read_receipt), (ReadReceipt::ReadPrivate, request.private_read_receipt)];
    // All of them or none: look before anything is set.
    let view = state.rooms.permit_signal(actor, room).await.map_err(error::of_room)?;
    if receipts.iter().any(|(kind, event)| *kind == ReadReceipt::ReadPrivate && event.is_some()) {
        may_be_private(&state, &view, "m.read.private")?;
    }
    for event in receipts.iter().filter_map(|(_, event)| event.as_ref()).chain(&request.fully_read) {
        state.rooms.event(actor, room, event).await.map_err(error::of_room)?;
    }
    if let Some(event) = &request.fully_read {
        state.accounts.set_fully_read(session.nid, view.nid.get(), event).await?;
    }
    for (kind, event) in receipts {
        let Some(event) = event else { continue };
        let set = state.rooms.set_receipt(actor, room, &kind, &event, &ReceiptThread::Unthreaded);
        set.await.map_err(error::of_room)?;
    }
    Ok(Reply(set_read_marker::Response::new()))
}

/// Refuses private receipts where the room's access policy wants to know who has read what.
fn may_be_private(state: &ClientState, room: &RoomView, field: &str) -> Result<(), ApiError> {
    match state.care.policy(room) {
        Some(RoomPolicy::Known(policy)) if policy.public_receipts => {
            Err(ApiError::forbidden(format!("{field}: in this room read receipts are public; send m.read.")))
        }
        _ => Ok(()),
    }
}

/// The specification asks for `M_INVALID_PARAM` whatever is wrong with the thread.
fn thread(thread_id: Option<Value>) -> Result<ReceiptThread, ApiError> {
    match thread_id {
        None => Ok(ReceiptThread::Unthreaded),
        Some(Value::String(id)) if !id.is_empty() => ReceiptThread::try_from(Some(id))
            .map_err(|_| ApiError::invalid_param("thread_id: must be `main` or an event id.")),
        Some(_) => Err(ApiError::invalid_param("thread_id: must be a string that is not empty.")),
    }
}

#[cfg(test)]
mod tests {
    use ruma::events::receipt::ReceiptThread;
    use ruma::{api::IncomingRequest as _, api::client::receipt::create_receipt::v3::ReceiptType, owned_event_id};
    use serde_json::json;

    use super::{Request, thread};

    #[test]
    fn path_and_body_are_read() {
        let read =
            |body: &'static [u8], args: &[&str]| Request::try_from_http_request_inner(http::Request::new(body), args);
        let request = read(b"", &["!a:b.c", "m.read", "$e"]).unwrap();
        assert_eq!((request.room_id.as_str(), request.event_id.as_str()), ("!a:b.c", "$e"));
        assert!(matches!(request.receipt_type, ReceiptType::Read));
        assert!(request.body.thread_id.is_none());
        assert_eq!(read(br#"{"thread_id":5}"#, &["!a:b.c", "x", "$e"]).unwrap().body.thread_id, Some(json!(5)));
        assert!(read(b"", &["a", "m.read", "$e"]).is_err());
        assert!(read(b"", &["!a:b.c", "m.read", "e"]).is_err());
        assert!(read(b"[", &["!a:b.c", "m.read", "$e"]).is_err());
    }

    #[test]
    fn threads_are_main_or_an_event() {
        assert_eq!(thread(None).unwrap(), ReceiptThread::Unthreaded);
        assert_eq!(thread(Some(json!("main"))).unwrap(), ReceiptThread::Main);
        assert_eq!(thread(Some(json!("$e"))).unwrap(), ReceiptThread::Thread(owned_event_id!("$e")));
        for wrong in [json!(""), json!(5), json!({}), json!([]), json!(false)] {
            assert_eq!(thread(Some(wrong)).unwrap_err().status(), 400);
        }
    }
}
