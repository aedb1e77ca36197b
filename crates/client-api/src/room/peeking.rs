//! The endpoints from before `/sync`, which guests and old clients use: `GET /initialSync`,
//! `GET /rooms/{roomId}/initialSync`, `GET /events` and `GET /events/{eventId}`
//! ([spec](https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3events), deprecated).

use std::{collections::HashSet, time::Duration};

use axum::{
    Json,
    extract::{Query, State},
};
use http::{Method, StatusCode, Uri};
use ruma::{
    OwnedEventId, OwnedRoomId, RoomId,
    api::{
        IncomingRequest, Metadata,
        client::{
            filter::{FilterDefinition, RoomEventFilter},
            peeking::listen_to_new_events::v3 as listen,
        },
        error::{DeserializationError, ErrorKind},
    },
    events::receipt::ReceiptType,
};
use serde::Deserialize;
use serde_json::{Value, json};
use wardroom_accounts::{Availability, PresenceView, Session};
use wardroom_rooms::{Membership, PAGE_EVENTS_MAX, Page, Receipt, RoomError, RoomView, UserNid, Visibility};
use wardroom_sync::{FilterChoice, SyncRequest, SyncToken};
use wardroom_web::{ApiError, Routes, Ruma};

use super::{actor, event_json::Events, hides};
use crate::{ClientState, error};

const INITIAL_SYNC: [&str; 2] = ["/_matrix/client/v3/initialSync", "/_matrix/client/r0/initialSync"];
const ROOM_INITIAL_SYNC: [&str; 2] =
    ["/_matrix/client/v3/rooms/{room_id}/initialSync", "/_matrix/client/r0/rooms/{room_id}/initialSync"];
const EVENTS: [&str; 2] = ["/_matrix/client/v3/events", "/_matrix/client/r0/events"];
const EVENT: [&str; 2] = ["/_matrix/client/v3/events/{event_id}", "/_matrix/client/r0/events/{event_id}"];

/// Events of a room where the request does not say.
const LIMIT_DEFAULT: usize = 20;
/// How long `/events` waits where the request does not say.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
/// Rooms that one answer tells of. Who is in more needs `/sync`.
const ROOMS_MAX: usize = 500;
/// Present users that are looked at for one answer.
const PRESENT_MAX: usize = 2_000;
/// Members of one room of whom is told that they are not there.
const ABSENT_MAX: usize = 200;
/// Events of one room that one answer of `/events` tells, the newest.
const STREAM_EVENTS_MAX: u32 = 100;
/// Not part of the account data of these endpoints: the user did not write it, and `/pushrules` has it.
const PUSH_RULES_TYPE: &str = "m.push_rules";

pub(super) fn routes() -> Routes<ClientState> {
    Routes::new()
        .endpoint_at(&INITIAL_SYNC, initial_sync)
        .endpoint_at(&ROOM_INITIAL_SYNC, room_initial_sync)
        .endpoint_at(&EVENTS, events)
        .endpoint_at(&EVENT, event)
}

/// A request to one of these endpoints. ruma has types for two of the four, which know only some of the parameters.
#[derive(Debug)]
struct Request {
    arg: String,
    uri: Uri,
}

#[derive(Debug, Deserialize)]
struct Parameters {
    from: Option<String>,
    /// Milliseconds.
    timeout: Option<u64>,
    room_id: Option<OwnedRoomId>,
    limit: Option<usize>,
    #[serde(default)]
    archived: bool,
}

impl Metadata for Request {
    const METHOD: Method = listen::Request::METHOD;
    const RATE_LIMITED: bool = listen::Request::RATE_LIMITED;
    type Authentication = <listen::Request as Metadata>::Authentication;
    type PathBuilder = <listen::Request as Metadata>::PathBuilder;
    const PATH_BUILDER: Self::PathBuilder = listen::Request::PATH_BUILDER;
}

impl IncomingRequest for Request {
    type EndpointError = <listen::Request as IncomingRequest>::EndpointError;
    type OutgoingResponse = listen::Response;

    fn try_from_http_request_inner(
        request: http::Request<&[u8]>,
        path_args: &[&str],
    ) -> Result<Self, DeserializationError> {
        let arg = path_args.first().copied().unwrap_or_default().to_owned();
        Ok(Self { arg, uri: request.uri().clone() })
    }
}

impl Request {
    fn parameters(&self) -> Result<Parameters, ApiError> {
        let read = Query::try_from_uri(&self.uri);
        read.map(|Query(parameters)| parameters).map_err(|error| ApiError::invalid_param(error.body_text()))
    }
}

fn no_token(field: &str) -> ApiError {
    ApiError::invalid_param(format!("{field}: is not a token that this server gave."))
}

/// Presence as these endpoints tell it: with the user in the content.
fn presence(view: &PresenceView) -> Value {
    let mut content = json!({
        "user_id": view.user,
        "presence": view.availability.name(),
        "last_active_ago": view.last_active_ago_ms.unwrap_or_default(),
    });
    if view.availability == Availability::Online {
        content["currently_active"] = view.currently_active.into();
    }
    if let Some(status_msg) = &view.status_msg {
        content["status_msg"] = (**status_msg).into();
    }
    json!({ "type": "m.presence", "sender": view.user, "content": content })
}

/// Who is there of those that are in one of some rooms, and the asker.
async fn present(state: &ClientState, session: &Session, rooms: &[u64]) -> Result<Vec<Value>, ApiError> {
    let ignored = state.accounts.ignored_users(session.nid).await?;
    let known = state.accounts.presence();
    let mut told: Vec<Value> = Vec::new();
    told.extend(known.of(session.nid).as_ref().map(presence));
    let others = known.present(PRESENT_MAX).into_iter().filter(|view| view.nid != session.nid);
    let shown = others.filter(|view| {
        !ignored.contains(&view.user) && view.rooms.iter().any(|room| rooms.binary_search(room).is_ok())
    });
    told.extend(shown.map(|view| presence(&view)));
    Ok(told)
}

/// The members of a room who are not there: these endpoints tell how everybody in a room is.
async fn absent(state: &ClientState, view: &RoomView, present: &[Value]) -> Result<Vec<Value>, ApiError> {
    let told: HashSet<&str> = present.iter().filter_map(|event| event["sender"].as_str()).collect();
    let members = state.rooms.members(view.nid, Membership::Join, None, ABSENT_MAX).await.map_err(error::of_room)?;
    let members = state.rooms.user_ids(&members).await.map_err(error::of_room)?;
    let absent = members.iter().filter(|user| state.accounts.is_local(user) && !told.contains(user.as_str()));
    let absent = absent.map(|user| {
        let content = json!({ "user_id": user, "presence": Availability::Offline.name() });
        json!({ "type": "m.presence", "sender": user, "content": content })
    });
    Ok(absent.collect())
}

/// Events as clients of these endpoints know them: with the sender as `user_id`.
fn with_user_id(events: &Events) -> Value {
    let mut events = json!(events);
    for event in events.as_array_mut().into_iter().flatten() {
        add_user_id(event);
    }
    events
}

fn add_user_id(event: &mut Value) {
    if let Some(sender) = event.get("sender").cloned() {
        event["user_id"] = sender;
    }
}

/// A room as these endpoints tell it at the start.
async fn snapshot(state: &ClientState, session: &Session, view: &RoomView, limit: usize) -> Result<Value, ApiError> {
    let (reader, room) = (actor(session), &*view.id);
    // Before anything is read, so that following from here misses nothing.
    let end = state.sync.now();
    let filter = RoomEventFilter::default();
    let page = Page { from: None, to: None, backwards: true, limit: limit.clamp(1, PAGE_EVENTS_MAX), filter: &filter };
    let page = state.rooms.messages(reader, room, page).await;
    let mut page = state.may_read(reader, room, "initialSync", page).await?;
    let ignored = state.accounts.ignored_users(session.nid).await?;
    page.chunk.retain(|event| !hides(&ignored, event));
    page.chunk.truncate(limit);
    page.chunk.reverse();
    let current = state.rooms.current_state(reader, room).await.map_err(error::of_room)?;
    state.note_seen(room, "initialSync", page.chunk.iter().chain(&current)).await?;
    let entry = state.rooms.membership(UserNid::new(session.nid.get()), view.nid).await.map_err(error::of_room)?;
    let listed = state.rooms.is_listed(room).await.map_err(error::of_room)?;
    let data = state.accounts.all_room_account_data(session.nid, view.nid.get()).await?;
    let data: Vec<Value> =
        data.iter().map(|datum| json!({ "type": datum.event_type, "content": datum.content })).collect();
    let mut told = json!({
        "room_id": room,
        "messages": {
            "start": page.end.unwrap_or(page.start).to_string(),
            "end": end.to_string(),
            "chunk": with_user_id(&Events::of(state, reader, &page.chunk).await?),
        },
        "state": with_user_id(&Events::of(state, reader, &current).await?),
        "visibility": if listed { "public" } else { "private" },
        "account_data": data,
    });
    if let Some(entry) = entry {
        told["membership"] = membership_name(entry.membership).into();
    }
    Ok(told)
}

fn membership_name(membership: Membership) -> &'static str {
    match membership {
        Membership::Join => "join",
        Membership::Invite => "invite",
        Membership::Knock => "knock",
        Membership::Leave => "leave",
        Membership::Ban => "ban",
    }
}

/// The receipts of a room in one event; private ones only of the asker.
async fn receipts(state: &ClientState, session: &Session, view: &RoomView) -> Result<Vec<Value>, ApiError> {
    let ignored = state.accounts.ignored_users(session.nid).await?;
    let mut receipts = state.rooms.receipts(view.nid).await.map_err(error::of_room)?;
    receipts.retain(|receipt| {
        let private = receipt.kind == ReceiptType::ReadPrivate && receipt.user_id != session.user;
        !private && !ignored.contains(&receipt.user_id)
    });
    Ok(vec![receipts_event(&view.id, &receipts)])
}

fn receipts_event(room: &RoomId, receipts: &[Receipt]) -> Value {
    let mut content = json!({});
    for receipt in receipts {
        let (event, kind, user) = (receipt.event_id.as_str(), receipt.kind.as_str(), receipt.user_id.as_str());
        content[event][kind][user] = json!({ "ts": receipt.ts_ms });
    }
    json!({ "type": "m.receipt", "room_id": room, "content": content })
}

async fn room_initial_sync(
    State(state): State<ClientState>,
    Ruma { body: request, session, .. }: Ruma<Request>,
) -> Result<Json<Value>, ApiError> {
    let room = <&RoomId>::try_from(request.arg.as_str())
        .map_err(|error| ApiError::invalid_param(format!("roomId: {error}.")))?;
    let limit = request.parameters()?.limit.unwrap_or(LIMIT_DEFAULT);
    let view = state.rooms.view(room).await.map_err(error::of_room)?;
    let view = view.ok_or_else(|| error::of_room(RoomError::NoSuchRoom))?;
    let mut told = snapshot(&state, &session, &view, limit).await?;
    let is_joined = told["membership"] == membership_name(Membership::Join);
    let (mut presence, mut read) = (Vec::new(), Vec::new());
    // Who has left hears nothing more of those who are there, unless everybody does.
    if is_joined || view.visibility == Visibility::WorldReadable {
        presence = present(&state, &session, &[view.nid.get()]).await?;
        let absent = absent(&state, &view, &presence).await?;
        presence.extend(absent);
        read = receipts(&state, &session, &view).await?;
    }
    told["presence"] = presence.into();
    told["receipts"] = read.into();
    Ok(Json(told))
}

async fn initial_sync(
    State(state): State<ClientState>,
    Ruma { body: request, session, .. }: Ruma<Request>,
) -> Result<Json<Value>, ApiError> {
    let parameters = request.parameters()?;
    let _present = state.accounts.presence().begin_sync(&session, Availability::Online);
    let end = state.sync.now();
    let limit = parameters.limit.unwrap_or(LIMIT_DEFAULT);
    let memberships = state.rooms.memberships(UserNid::new(session.nid.get())).await.map_err(error::of_room)?;
    let (mut rooms, mut receipts_told, mut joined) = (Vec::new(), Vec::new(), Vec::new());
    for entry in memberships.into_iter().filter(|entry| !entry.forgotten) {
        if rooms.len() >= ROOMS_MAX {
            break;
        }
        let view = state.rooms.view_of(entry.room).await.map_err(error::of_room)?;
        match entry.membership {
            Membership::Join => {
                joined.push(view.nid.get());
                receipts_told.extend(receipts(&state, &session, &view).await?);
                rooms.push(snapshot(&state, &session, &view, limit).await?);
            }
            Membership::Leave | Membership::Ban if parameters.archived && entry.was_joined => {
                rooms.push(snapshot(&state, &session, &view, limit).await?);
            }
            Membership::Invite => rooms.extend(invited(&state, &session, &view).await?),
            Membership::Knock | Membership::Leave | Membership::Ban => {}
        }
    }
    joined.sort_unstable();
    let data = state.accounts.all_account_data(session.nid).await?;
    let data = data.iter().filter(|datum| datum.event_type != PUSH_RULES_TYPE);
    let data: Vec<Value> = data.map(|datum| json!({ "type": datum.event_type, "content": datum.content })).collect();
    Ok(Json(json!({
        "end": end.to_string(),
        "rooms": rooms,
        "presence": present(&state, &session, &joined).await?,
        "receipts": receipts_told,
        "account_data": data,
    })))
}

/// A room that the user is invited to, unless the user does not want to hear of it.
async fn invited(state: &ClientState, session: &Session, view: &RoomView) -> Result<Option<Value>, ApiError> {
    let stripped = state.rooms.stripped_state(UserNid::new(session.nid.get()), view.nid).await;
    let stripped = stripped.map_err(error::of_room)?;
    let invite = stripped.last().and_then(|event| serde_json::from_str::<Value>(event.get()).ok());
    let Some(invite) = invite else { return Ok(None) };
    let ignored = state.accounts.ignored_users(session.nid).await?;
    let inviter = invite["sender"].as_str().unwrap_or_default();
    let unwanted = <&ruma::UserId>::try_from(inviter).is_ok_and(|inviter| ignored.contains(inviter));
    if unwanted || state.accounts.blocks_invites(session.nid).await? {
        return Ok(None);
    }
    let inviter = inviter.to_owned();
    state.note_listed(&view.id, "initialSync", 1).await?;
    Ok(Some(json!({ "room_id": view.id, "membership": "invite", "inviter": inviter, "invite": invite })))
}

async fn events(
    State(state): State<ClientState>,
    Ruma { body: request, session, .. }: Ruma<Request>,
) -> Result<Json<Value>, ApiError> {
    let parameters = request.parameters()?;
    let from = parameters.from.map(|from| from.parse::<SyncToken>()).transpose().map_err(|_| no_token("from"))?;
    let timeout = parameters.timeout.map_or(TIMEOUT_DEFAULT, Duration::from_millis);
    let _present = state.accounts.presence().begin_sync(&session, Availability::Online);
    if let Some(room) = parameters.room_id {
        let peeked = state.sync.peek(&session, &room, from, timeout, state.stopping.cancelled()).await;
        let peeked = peeked.map_err(error::of_sync)?;
        let events = Events::of(&state, actor(&session), &peeked.events).await?;
        state.note_seen(&room, "events", &peeked.events).await?;
        let mut chunk: Vec<Value> = peeked.presence.iter().map(presence).collect();
        chunk.extend(with_user_id(&events).as_array_mut().map(std::mem::take).unwrap_or_default());
        if !peeked.receipts.is_empty() {
            chunk.push(receipts_event(&room, &peeked.receipts));
        }
        if let Some(user_ids) = &peeked.typing {
            chunk.push(json!({ "type": "m.typing", "room_id": room, "content": { "user_ids": user_ids } }));
        }
        let (start, end) = (peeked.start.to_string(), peeked.end.to_string());
        return Ok(Json(json!({ "start": start, "end": end, "chunk": chunk })));
    }
    if session.guest {
        let sentence = "Guests can only follow one room: room_id is missing.";
        return Err(ApiError::new(StatusCode::FORBIDDEN, ErrorKind::GuestAccessForbidden, sentence));
    }
    let start = from.unwrap_or_else(|| state.sync.now());
    // There is no way to say that a timeline is limited, so as much is told as one answer can.
    let mut filter = FilterDefinition::default();
    filter.room.timeline.limit = Some(STREAM_EVENTS_MAX.into());
    let filter = Some(FilterChoice::Inline(Box::new(filter)));
    let asked = SyncRequest { since: Some(start), filter, timeout, ..SyncRequest::default() };
    let answer = state.sync.sync(&session, asked, state.stopping.cancelled()).await.map_err(error::of_sync)?;
    state.note_rooms_seen("events", &answer.sights).await?;
    let told: Value = serde_json::from_slice(&answer.body).map_err(|error| ApiError::internal(&error))?;
    let (start, end) = (start.to_string(), answer.next_batch.to_string());
    Ok(Json(json!({ "start": start, "end": end, "chunk": flattened(told) })))
}

/// The events of an answer to `/sync` in one list, each with its room.
fn flattened(mut told: Value) -> Vec<Value> {
    let mut chunk = Vec::new();
    let mut take = |events: &mut Value, room: Option<&str>| {
        for mut event in events.as_array_mut().map(std::mem::take).unwrap_or_default() {
            match room {
                Some(room) => {
                    add_user_id(&mut event);
                    event["room_id"] = room.into();
                }
                None if event["type"] == "m.presence" => event["content"]["user_id"] = event["sender"].clone(),
                None => {}
            }
            chunk.push(event);
        }
    };
    take(&mut told["presence"]["events"], None);
    take(&mut told["account_data"]["events"], None);
    for section in ["invite", "join", "leave"] {
        let rooms = told["rooms"][section].as_object_mut().map(std::mem::take).unwrap_or_default();
        for (id, mut room) in rooms {
            for part in ["timeline", "ephemeral", "account_data"] {
                take(&mut room[part]["events"], Some(&id));
            }
            if let Some(invite) = room["invite_state"]["events"].as_array_mut().and_then(Vec::pop) {
                take(&mut Value::Array(vec![invite]), Some(&id));
            }
        }
    }
    chunk
}

async fn event(
    State(state): State<ClientState>,
    Ruma { body: request, session, .. }: Ruma<Request>,
) -> Result<Json<Value>, ApiError> {
    let event = OwnedEventId::try_from(request.arg.as_str())
        .map_err(|error| ApiError::invalid_param(format!("eventId: {error}.")))?;
    let no_such_event = || error::of_room(RoomError::NoSuchEvent);
    let (room, _) = state.rooms.place_of(&event).await.map_err(error::of_room)?.ok_or_else(no_such_event)?;
    let room = state.rooms.view_of(room).await.map_err(error::of_room)?;
    let reader = actor(&session);
    let event = state.rooms.event(reader, &room.id, &event).await;
    let event = state.may_read(reader, &room.id, "events", event).await?;
    if hides(&state.accounts.ignored_users(session.nid).await?, &event) {
        return Err(no_such_event());
    }
    state.note_seen(&room.id, "events", [&event]).await?;
    let event = state.rooms.client_event(reader, &event, true).await.map_err(error::of_room)?;
    let mut event = json!(event);
    add_user_id(&mut event);
    Ok(Json(event))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::flattened;

    #[test]
    fn all_events_come_in_one_list() {
        let told = json!({
            "next_batch": "s1",
            "presence": { "events": [{ "type": "m.presence", "sender": "@a:b", "content": {} }] },
            "account_data": { "events": [{ "type": "m.direct", "content": {} }] },
            "rooms": {
                "join": { "!a": {
                    "timeline": { "events": [{ "n": 1, "sender": "@a:b" }] }, "ephemeral": { "events": [{ "n": 2 }] },
                    "account_data": { "events": [{ "n": 5 }] },
                } },
                "invite": { "!b": { "invite_state": { "events": [{ "n": 3 }, { "n": 4 }] } } },
            },
        });
        let expected = [
            json!({ "type": "m.presence", "sender": "@a:b", "content": { "user_id": "@a:b" } }),
            json!({ "type": "m.direct", "content": {} }),
            json!({ "n": 4, "room_id": "!b" }),
            json!({ "n": 1, "room_id": "!a", "sender": "@a:b", "user_id": "@a:b" }),
            json!({ "n": 2, "room_id": "!a" }),
            json!({ "n": 5, "room_id": "!a" }),
        ];
        assert_eq!(flattened(told), expected);
        assert!(flattened(json!({ "next_batch": "s1" })).is_empty());
    }
}
