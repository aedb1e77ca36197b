//! Events that are sent later ([MSC4140](https://github.com/matrix-org/matrix-spec-proposals/pull/4140)).
//!
//! Clients in use speak an earlier revision, with a query parameter on the endpoints that send; newer ones have an
//! endpoint of their own. Both are served.

use std::time::Duration;

use axum::{Json, extract::State};
use http::{Method, StatusCode};
use ruma::{
    OwnedRoomId, OwnedTransactionId, TransactionId,
    api::{
        IncomingRequest, Metadata,
        client::delayed_events::{get_all_delayed_events, get_delayed_event, send_delayed_event, update_delayed_event},
        error::{DeserializationError, ErrorKind},
    },
};
use serde::Deserialize;
use serde_json::{Map, Value, json, value::RawValue as RawJsonValue};
use wardroom_accounts::Session;
use wardroom_rooms::{DelayedError, DelayedEvent, NewDelayed, Outcome, Scheduled, UserNid};
use wardroom_web::{ApiError, Class, Routes, Ruma};

use crate::{
    ClientState,
    caller::{actor, unsuspended},
    error,
    same_endpoint::same_endpoint,
};

/// The query parameter of the endpoints that send.
const DELAY_PARAMETER: &str = "org.matrix.msc4140.delay";
/// Events that a list tells at most.
const LISTED_MAX: usize = 1_000;

pub(crate) fn routes() -> Routes<ClientState> {
    Routes::new().endpoint(schedule).endpoint(list).endpoint(get_one).endpoint(update_by_body).endpoint(update_by_path)
}

/// A request to send an event, now or later.
#[derive(Debug)]
pub(crate) struct Delayable<T> {
    /// The request.
    pub(crate) request: T,
    /// How long to wait, in milliseconds, as the client wrote it.
    delay: Option<String>,
}

same_endpoint!(Delayable);

impl<T: IncomingRequest> IncomingRequest for Delayable<T> {
    type EndpointError = T::EndpointError;
    type OutgoingResponse = T::OutgoingResponse;

    fn try_from_http_request_inner(
        request: http::Request<&[u8]>,
        path_args: &[&str],
    ) -> Result<Self, DeserializationError> {
        let parameters = request.uri().query().unwrap_or_default().split('&');
        let mut parameters = parameters.filter_map(|parameter| parameter.split_once('='));
        let delay = parameters.find(|(name, _)| *name == DELAY_PARAMETER).map(|(_, value)| value.to_owned());
        Ok(Self { request: T::try_from_http_request_inner(request, path_args)?, delay })
    }
}

impl<T> Delayable<T> {
    /// How long to wait; nothing for an event that is sent now.
    pub(crate) fn delay(&self) -> Result<Option<Duration>, ApiError> {
        let Some(delay) = &self.delay else { return Ok(None) };
        let digits = delay.bytes().all(|byte| byte.is_ascii_digit());
        match delay.parse::<u64>().ok().filter(|delay| digits && *delay > 0) {
            Some(delay) => Ok(Some(Duration::from_millis(delay))),
            None => Err(ApiError::invalid_param(format!("{DELAY_PARAMETER}: must be a positive number."))),
        }
    }
}

/// An event to be sent later, as a request brings it.
#[derive(Debug)]
pub(crate) struct Later<'a> {
    pub(crate) room: &'a ruma::RoomId,
    pub(crate) kind: &'a str,
    pub(crate) state_key: Option<&'a str>,
    pub(crate) content: &'a RawJsonValue,
    pub(crate) delay: Duration,
    pub(crate) transaction: Option<&'a TransactionId>,
}

/// Schedules an event for a client that speaks the earlier revision.
pub(crate) async fn later(state: &ClientState, session: &Session, event: Later<'_>) -> Result<Json<Value>, ApiError> {
    let max = state.settings.delayed_events.max_delay;
    if event.delay > max {
        // The codes of a proposal stand beside one of the specification: clients look for them there.
        let max_ms = u64::try_from(max.as_millis()).unwrap_or(u64::MAX);
        return Err(ApiError::json(
            StatusCode::BAD_REQUEST,
            json!({
                "errcode": "M_UNKNOWN",
                "error": format!("{DELAY_PARAMETER}: is longer than this server waits."),
                "org.matrix.msc4140.errcode": "M_MAX_DELAY_EXCEEDED",
                "org.matrix.msc4140.max_delay": max_ms,
                "max_delay": max_ms,
            }),
        ));
    }
    match scheduled(state, session, event).await? {
        Scheduled::As(id) => Ok(Json(json!({ "delay_id": id }))),
        Scheduled::Full(_) => Err(ApiError::json(
            StatusCode::BAD_REQUEST,
            json!({
                "errcode": "M_UNKNOWN",
                "error": "Too many of your events wait to be sent already.",
                "org.matrix.msc4140.errcode": "M_MAX_DELAYED_EVENTS_EXCEEDED",
            }),
        )),
    }
}

async fn scheduled(state: &ClientState, session: &Session, event: Later<'_>) -> Result<Scheduled, ApiError> {
    unsuspended(session)?;
    let waiting_max = state.settings.delayed_events.max_per_user;
    if waiting_max == 0 {
        return Err(ApiError::forbidden("Delayed events are turned off on this server."));
    }
    let Later { room, kind, state_key, content, delay, transaction } = event;
    let new = NewDelayed { kind, state_key, content, delay, transaction, waiting_max };
    state.rooms.schedule(actor(session), room, new).await.map_err(error::of_room)
}

/// Body of the newer revision's endpoint.
#[derive(Debug, Deserialize)]
struct ScheduleBody {
    /// The name in ruma and in clients that follow it is the second one.
    #[serde(alias = "delay")]
    delay_ms: u64,
    state_key: Option<String>,
    content: Box<RawJsonValue>,
}

/// The newer revision's request; ruma's knows the delay by another name.
#[derive(Debug)]
struct Schedule {
    room_id: OwnedRoomId,
    event_type: String,
    transaction: OwnedTransactionId,
    body: ScheduleBody,
}

type ScheduleEndpoint = send_delayed_event::unstable::Request;

impl Metadata for Schedule {
    const METHOD: Method = ScheduleEndpoint::METHOD;
    const RATE_LIMITED: bool = ScheduleEndpoint::RATE_LIMITED;
    type Authentication = <ScheduleEndpoint as Metadata>::Authentication;
    type PathBuilder = <ScheduleEndpoint as Metadata>::PathBuilder;
    const PATH_BUILDER: Self::PathBuilder = ScheduleEndpoint::PATH_BUILDER;
}

impl IncomingRequest for Schedule {
    type EndpointError = <ScheduleEndpoint as IncomingRequest>::EndpointError;
    type OutgoingResponse = <ScheduleEndpoint as IncomingRequest>::OutgoingResponse;

    fn try_from_http_request_inner(
        request: http::Request<&[u8]>,
        path_args: &[&str],
    ) -> Result<Self, DeserializationError> {
        let arg = |at: usize| path_args.get(at).copied().unwrap_or_default();
        let body: &[u8] = request.into_body();
        Ok(Self {
            room_id: arg(0).try_into()?,
            event_type: arg(1).to_owned(),
            transaction: arg(2).into(),
            body: serde_json::from_slice(if body.is_empty() { b"{}" } else { body })?,
        })
    }
}

async fn schedule(
    State(state): State<ClientState>,
    Ruma { body: request, session, .. }: Ruma<Schedule>,
) -> Result<Json<Value>, ApiError> {
    state.limits.take(Class::Message, session.nid)?;
    let delay = Duration::from_millis(request.body.delay_ms);
    if delay.is_zero() {
        return Err(ApiError::invalid_param("delay_ms: must be a positive number."));
    }
    if delay > state.settings.delayed_events.max_delay {
        return Err(ApiError::forbidden("delay_ms: is longer than this server waits."));
    }
    let event = Later {
        room: &request.room_id,
        kind: &request.event_type,
        state_key: request.body.state_key.as_deref(),
        content: &request.body.content,
        delay,
        transaction: Some(&*request.transaction),
    };
    match scheduled(&state, &session, event).await? {
        Scheduled::As(id) => Ok(Json(json!({ "delay_id": id }))),
        Scheduled::Full(next) => Err(ApiError::limit_exceeded(next)),
    }
}

/// An event as its user sees it, with the names of fields of both revisions.
fn shown(event: DelayedEvent) -> Value {
    let mut shown = json!({
        "delay_id": event.id,
        "room_id": event.room,
        "type": event.kind,
        "delay": event.delay_ms,
        "delay_ms": event.delay_ms,
        "running_since": event.running_since_ms,
        "scheduled_at": event.running_since_ms,
        "content": event.content,
    });
    if let Some(state_key) = event.state_key {
        shown["state_key"] = state_key.into();
    }
    if let Some((at_ms, outcome)) = event.outcome {
        shown["finalised_ts"] = at_ms.into();
        match outcome {
            Outcome::Sent(event_id) => shown["event_id"] = event_id.to_string().into(),
            Outcome::Failed(error) => shown["error"] = json!({ "errcode": "M_FORBIDDEN", "error": error }),
            Outcome::Cancelled => {}
        }
    }
    shown
}

async fn list(
    State(state): State<ClientState>,
    request: Ruma<get_all_delayed_events::unstable::Request>,
) -> Result<Json<Value>, ApiError> {
    let user = UserNid::new(request.session.nid.get());
    let events = state.rooms.delayed_events(user, LISTED_MAX).await.map_err(error::of_room)?;
    let events: Vec<Value> = events.into_iter().map(shown).collect();
    Ok(Json(json!({ "delayed_events": events })))
}

async fn get_one(
    State(state): State<ClientState>,
    request: Ruma<get_delayed_event::unstable::Request>,
) -> Result<Json<Value>, ApiError> {
    let user = UserNid::new(request.session.nid.get());
    let event = state.rooms.delayed_event(user, &request.body.delay_id).await.map_err(refusal)?;
    Ok(Json(shown(event)))
}

async fn update_by_body(
    State(state): State<ClientState>,
    request: Ruma<update_delayed_event::unstable_v1::Request>,
) -> Result<Json<Map<String, Value>>, ApiError> {
    update(&state, &request.body.delay_id, request.body.action.as_ref()).await
}

/// Without an access token: whoever was given the id may act on the event, a conference server for instance.
async fn update_by_path(
    State(state): State<ClientState>,
    request: Ruma<update_delayed_event::unstable_v2::Request>,
) -> Result<Json<Map<String, Value>>, ApiError> {
    update(&state, &request.body.delay_id, request.body.action.as_ref()).await
}

async fn update(state: &ClientState, id: &str, action: &str) -> Result<Json<Map<String, Value>>, ApiError> {
    // By the event: a conference server acts on those of many users.
    state.limits.take(Class::Message, id)?;
    match action {
        "send" => state.rooms.send_delayed(id).await,
        "cancel" => state.rooms.cancel_delayed(id).await,
        "restart" => state.rooms.restart_delayed(id).await,
        _ => return Err(ApiError::invalid_param("action: must be send, cancel or restart.")),
    }
    .map_err(refusal)?;
    Ok(Json(Map::new()))
}

fn refusal(failure: DelayedError) -> ApiError {
    match failure {
        DelayedError::NotFound => ApiError::not_found("There is no delayed event with this id."),
        DelayedError::Conflict(sentence) => ApiError::new(StatusCode::CONFLICT, ErrorKind::Unknown, sentence),
        DelayedError::Room(error) => error::of_room(error),
    }
}
