//! Events, states and authorization chains of rooms
//! ([spec](https://spec.matrix.org/v1.19/server-server-api/#backfilling-and-retrieving-missing-events)).

use std::sync::Arc;

use axum::{extract::State, response::Response};
use ruma::{
    EventId, MilliSecondsSinceUnixEpoch, RoomId, ServerName, UInt,
    api::{
        Direction,
        federation::{
            authorization::get_event_authorization::v1 as get_event_authorization,
            backfill::get_backfill::v1 as get_backfill,
            event::{
                get_event::v1 as get_event, get_event_by_timestamp::v1 as get_event_by_timestamp,
                get_missing_events::v1 as get_missing_events, get_room_state::v1 as get_room_state,
                get_room_state_ids::v1 as get_room_state_ids,
            },
        },
    },
};
use serde::Serialize;
use serde_json::value::RawValue as RawJsonValue;
use wardroom_event::Pdu;
use wardroom_rooms::{EventNid, RoomError, ServerReader, Standing, StateServed, Stored};
use wardroom_web::{ApiError, Reply, Routes};

use crate::{
    FederationState, Signed,
    disclosures::sent,
    error,
    requests::MissingEvents,
    shared_room::readable_room,
    signed::SignedRoutes as _,
    stream::{self, raw},
};

/// Events that one answer to `/backfill` holds.
const BACKFILL_EVENTS_MAX: usize = 100;
/// Events from which one request for `/backfill` starts; those beyond are passed over.
const BACKFILL_STARTS_MAX: usize = 100;
/// Events that one answer to `/get_missing_events` holds.
const MISSING_EVENTS_MAX: usize = 50;
/// Events that one request for `/get_missing_events` names on either side; those beyond are passed over.
const MISSING_ENDS_MAX: usize = 200;

pub(crate) fn routes() -> Routes<FederationState> {
    Routes::new()
        .signed(backfill)
        .signed(missing_events)
        .signed(event)
        .signed(state)
        .signed(state_ids)
        .signed(event_auth)
        .signed(timestamp_to_event)
}

fn wanted(limit: UInt, most: usize) -> usize {
    usize::try_from(limit).unwrap_or(most).min(most)
}

fn raws(pdus: &[Arc<Pdu>]) -> Result<Vec<Box<RawJsonValue>>, ApiError> {
    pdus.iter().map(|pdu| raw(pdu)).collect()
}

/// Events as this server gets them, or redacted where it may not see them.
async fn served(
    state: &FederationState,
    reader: &mut ServerReader,
    events: Vec<Arc<Stored>>,
) -> Result<Vec<Box<RawJsonValue>>, ApiError> {
    raws(&state.rooms.served(reader, events).await.map_err(error::of_room)?)
}

/// Records that a server receives events, before it does.
async fn disclosed<'a>(
    state: &FederationState,
    origin: &ServerName,
    about: (&RoomId, &str),
    events: impl ExactSizeIterator<Item = &'a EventId> + DoubleEndedIterator,
) -> Result<(), ApiError> {
    let (count, mut events) = (events.len(), events);
    let first = events.next();
    let ends = [first, events.next_back().or(first)].map(|id| id.map(ToString::to_string));
    record(state, origin, about, count, ends).await
}

/// As [`disclosed`], of a state with the chain that authorizes it.
pub(crate) async fn disclosed_state(
    state: &FederationState,
    origin: &ServerName,
    about: (&RoomId, &str),
    lists: [&[EventNid]; 2],
) -> Result<(), ApiError> {
    let all = || lists.iter().flat_map(|list| list.iter());
    let ends: Vec<EventNid> = all().take(1).chain(all().next_back()).copied().collect();
    let mut ends = state.rooms.event_ids(&ends).await.map_err(error::of_room)?.into_iter().map(|id| id.to_string());
    record(state, origin, about, lists[0].len() + lists[1].len(), [ends.next(), ends.next()]).await
}

async fn record(
    state: &FederationState,
    origin: &ServerName,
    (room, endpoint): (&RoomId, &str),
    count: usize,
    [first, last]: [Option<String>; 2],
) -> Result<(), ApiError> {
    let mut record = sent(origin, endpoint).room(room.as_str()).count(count as u64);
    (record.on.event, record.on.last) = (first, last);
    state.disclose(record).await
}

fn now(state: &FederationState) -> MilliSecondsSinceUnixEpoch {
    MilliSecondsSinceUnixEpoch(UInt::new_saturating(state.clock.now_ms()))
}

/// `GET /_matrix/federation/v1/backfill/{roomId}`
async fn backfill(
    State(state): State<FederationState>,
    Signed { origin, body: request, .. }: Signed<get_backfill::Request>,
) -> Result<Reply<get_backfill::Response>, ApiError> {
    let mut reader = readable_room(&state, &request.room_id, &origin).await?;
    let from = request.v.get(..BACKFILL_STARTS_MAX).unwrap_or(&request.v);
    let limit = wanted(request.limit, BACKFILL_EVENTS_MAX);
    let found = state.rooms.backfill_from(reader.room().nid, from, limit).await.map_err(error::of_room)?;
    let ids = found.iter().map(|stored| stored.pdu.event_id());
    disclosed(&state, &origin, (&request.room_id, "backfill"), ids).await?;
    let pdus = served(&state, &mut reader, found).await?;
    Ok(Reply(get_backfill::Response::new(state.server_name.clone(), now(&state), pdus)))
}

/// `POST /_matrix/federation/v1/get_missing_events/{roomId}`
async fn missing_events(
    State(state): State<FederationState>,
    Signed { origin, body: MissingEvents { room_id, body }, .. }: Signed<MissingEvents>,
) -> Result<Reply<get_missing_events::Response>, ApiError> {
    let mut reader = readable_room(&state, &room_id, &origin).await?;
    let room = reader.room().nid;
    let earliest = body.earliest_events.get(..MISSING_ENDS_MAX).unwrap_or(&body.earliest_events);
    let latest = body.latest_events.get(..MISSING_ENDS_MAX).unwrap_or(&body.latest_events);
    let limit = wanted(body.limit, MISSING_EVENTS_MAX);
    let found = state.rooms.missing_between(room, earliest, latest, limit, body.min_depth.into()).await;
    let found = found.map_err(error::of_room)?;
    let ids = found.iter().map(|stored| stored.pdu.event_id());
    disclosed(&state, &origin, (&room_id, "get_missing_events"), ids).await?;
    let events = served(&state, &mut reader, found).await?;
    Ok(Reply(get_missing_events::Response::new(events)))
}

/// `GET /_matrix/federation/v1/event/{eventId}`
async fn event(
    State(state): State<FederationState>,
    Signed { origin, body: request, .. }: Signed<get_event::Request>,
) -> Result<Reply<get_event::Response>, ApiError> {
    let no_such_event = || error::of_room(RoomError::NoSuchEvent);
    let found = state.rooms.standing(&request.event_id).await.map_err(error::of_room)?;
    let (_, standing, stored) = found.ok_or_else(no_such_event)?;
    let mut reader = readable_room(&state, stored.pdu.room_id(), &origin).await?;
    if !state.rooms.is_served(reader.room(), &stored) {
        return Err(no_such_event());
    }
    let (room, id) = (stored.pdu.room_id().to_owned(), stored.pdu.event_id().to_owned());
    let pdu = match standing {
        // An outlier is here because others vouch for it as state or authorization, which servers in the room are given.
        Standing::Outlier => raw(&stored.pdu)?,
        Standing::Timeline | Standing::SoftFailed => {
            served(&state, &mut reader, vec![stored]).await?.pop().ok_or_else(no_such_event)?
        }
        Standing::Rejected | Standing::RejectedOutlier => return Err(no_such_event()),
    };
    disclosed(&state, &origin, (&room, "event"), std::iter::once(&*id)).await?;
    Ok(Reply(get_event::Response::new(state.server_name.clone(), now(&state), pdu)))
}

#[derive(Serialize)]
struct Nothing {}

/// `GET /_matrix/federation/v1/state/{roomId}`
async fn state(
    State(state): State<FederationState>,
    Signed { origin, body: request, .. }: Signed<get_room_state::Request>,
) -> Result<Response, ApiError> {
    let reader = readable_room(&state, &request.room_id, &origin).await?;
    let found = state.rooms.state_served(reader.room(), &request.event_id).await;
    let StateServed { state: pdus, auth_chain } = found.map_err(error::of_room)?;
    disclosed_state(&state, &origin, (&request.room_id, "state"), [&pdus, &auth_chain]).await?;
    let lists = vec![("auth_chain", auth_chain), ("pdus", pdus)];
    stream::answer(&state.rooms, reader.room().nid, &Nothing {}, lists, false)
}

/// `GET /_matrix/federation/v1/state_ids/{roomId}`
async fn state_ids(
    State(state): State<FederationState>,
    Signed { origin, body: request, .. }: Signed<get_room_state_ids::Request>,
) -> Result<Reply<get_room_state_ids::Response>, ApiError> {
    let reader = readable_room(&state, &request.room_id, &origin).await?;
    let found = state.rooms.state_served(reader.room(), &request.event_id).await;
    let StateServed { state: pdus, auth_chain } = found.map_err(error::of_room)?;
    disclosed_state(&state, &origin, (&request.room_id, "state_ids"), [&pdus, &auth_chain]).await?;
    let auth_chain = state.rooms.event_ids(&auth_chain).await.map_err(error::of_room)?;
    let pdus = state.rooms.event_ids(&pdus).await.map_err(error::of_room)?;
    Ok(Reply(get_room_state_ids::Response::new(auth_chain, pdus)))
}

/// `GET /_matrix/federation/v1/event_auth/{roomId}/{eventId}`
async fn event_auth(
    State(state): State<FederationState>,
    Signed { origin, body: request, .. }: Signed<get_event_authorization::Request>,
) -> Result<Response, ApiError> {
    let reader = readable_room(&state, &request.room_id, &origin).await?;
    let found = state.rooms.standing(&request.event_id).await.map_err(error::of_room)?;
    let here = found.filter(|(room, ..)| *room == reader.room().nid);
    let (room, _, stored) = here.ok_or_else(|| error::of_room(RoomError::NoSuchEvent))?;
    let auth_chain = state.rooms.auth_chain(room, &[stored.nid]).await.map_err(error::of_room)?;
    disclosed_state(&state, &origin, (&request.room_id, "event_auth"), [&[], &auth_chain]).await?;
    stream::answer(&state.rooms, room, &Nothing {}, vec![("auth_chain", auth_chain)], false)
}

/// `GET /_matrix/federation/v1/timestamp_to_event/{roomId}`
async fn timestamp_to_event(
    State(state): State<FederationState>,
    Signed { origin, body: request, .. }: Signed<get_event_by_timestamp::Request>,
) -> Result<Reply<get_event_by_timestamp::Response>, ApiError> {
    let mut reader = readable_room(&state, &request.room_id, &origin).await?;
    let backwards = request.dir == Direction::Backward;
    let found = state.rooms.event_near_for_server(&mut reader, request.ts.get().into(), backwards).await;
    let pdu = &found.map_err(error::of_room)?.pdu;
    let about = (&*request.room_id, "timestamp_to_event");
    disclosed(&state, &origin, about, std::iter::once(pdu.event_id())).await?;
    let ts = MilliSecondsSinceUnixEpoch(UInt::new_saturating(pdu.origin_server_ts()));
    Ok(Reply(get_event_by_timestamp::Response::new(pdu.event_id().to_owned(), ts)))
}
