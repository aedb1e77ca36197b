//! `PUT /invite/{roomId}/{eventId}`
//! ([spec](https://spec.matrix.org/v1.19/server-server-api/#inviting-to-a-room)): an invite of a user of this server is
//! checked, signed, and kept for the user.

use std::sync::Arc;

use axum::{Json, extract::State};
use http::StatusCode;
use ruma::{
    OwnedUserId, RoomId, RoomVersionId, ServerName, UserId,
    api::error::ErrorKind,
    events::{TimelineEventType, room::member::MembershipState},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, value::RawValue as RawJsonValue};
use wardroom_event::{Pdu, RoomVersion, stripped_state};
use wardroom_rooms::RoomView;
use wardroom_web::{ApiError, Routes};

use super::{Sent, verified};
use crate::{
    FederationState, Signed, error,
    requests::{Invite, InviteV1, SendEvent},
    shared_room::is_in,
    signed::SignedRoutes as _,
    stream::raw,
};

/// Entries that `invite_room_state` may have: the state that the specification names has not a dozen.
const INVITE_STATE_MAX: usize = 100;

pub(super) fn routes() -> Routes<FederationState> {
    Routes::new().signed(invite).signed(invite_v1)
}

/// The answer: the event, signed by this server too.
#[derive(Serialize)]
struct Invited {
    event: Map<String, Value>,
}

/// The first version of the endpoint is for rooms of the versions 1 and 2 alone, which this server does not know.
async fn invite_v1(
    State(_): State<FederationState>,
    Signed { .. }: Signed<SendEvent<InviteV1>>,
) -> Result<Json<Invited>, ApiError> {
    Err(error::incompatible(&RoomVersionId::V1))
}

async fn invite(
    State(state): State<FederationState>,
    Signed { origin, body: Invite { room_id, event_id, body }, .. }: Signed<Invite>,
) -> Result<Json<Invited>, ApiError> {
    let Ok(version) = body.room_version.parse::<RoomVersion>() else {
        let version = RoomVersionId::try_from(body.room_version.as_str());
        return Err(
            version.map_or_else(|_| ApiError::bad_json("`room_version` is wrong."), |id| error::incompatible(&id))
        );
    };
    let resident = admitted(&state, &room_id, version, &origin).await?;
    let membership = MembershipState::Invite;
    let sent = Sent { origin: &origin, room: &room_id, version, event_id: &event_id, event: &body.event, membership };
    let pdu = sent.read()?;
    let user = invited_user(&state, &pdu)?;
    let pdu = verified(&state, &pdu).await?;
    match &resident {
        Some(room) => state.rooms.permit_invitation(room, pdu.sender(), &user).await.map_err(error::of_room)?,
        None => require_account(&state, &user).await?,
    }
    may_be_invited(&state, &user).await?;
    let signed = pdu.cosigned(&state.server_name, &state.signing_key);
    let signed = Arc::new(signed.map_err(|error| error::of_event("event", error))?);
    // Where this server is in the room, the invite comes by a transaction too, and is then part of it.
    if resident.is_none() {
        let mut stripped = told(&state, &room_id, version, body.invite_room_state).await?;
        stripped.push(stripped_state(&signed));
        state.rooms.note_membership(&room_id, Arc::clone(&signed), stripped).await.map_err(error::of_room)?;
    }
    Ok(Json(Invited { event: with_unsigned(&signed, &body.event)? }))
}

/// The room, where this server is in it; refuses servers that the room's access control list does not admit, and a
/// version that is not the room's.
async fn admitted(
    state: &FederationState,
    room: &RoomId,
    version: RoomVersion,
    origin: &ServerName,
) -> Result<Option<Arc<RoomView>>, ApiError> {
    // From version 12 on a room's id is a hash, and names no server.
    if version.rules().authorization.room_create_event_id_as_room_id == room.server_name().is_some() {
        return Err(ApiError::invalid_param("room_version: rooms of this version have other ids."));
    }
    let Some(view) = state.rooms.view(room).await.map_err(error::of_room)? else { return Ok(None) };
    if !is_in(state, &view, &state.server_name).await? {
        return Ok(None);
    }
    if view.version != version {
        return Err(ApiError::invalid_param("room_version: the room has another version."));
    }
    if !state.rooms.admits_server(view.nid, origin).await.map_err(error::of_room)? {
        return Err(ApiError::forbidden("The room's access control list does not admit your server."));
    }
    Ok(Some(view))
}

fn invited_user(state: &FederationState, pdu: &Pdu) -> Result<OwnedUserId, ApiError> {
    let user = pdu.state_key().and_then(|user| <&UserId>::try_from(user).ok());
    match user.filter(|user| user.server_name() == state.server_name) {
        Some(user) => Ok(user.to_owned()),
        None => Err(ApiError::invalid_param("state_key: not a user of this server.")),
    }
}

/// An invitation to a name that nobody has would wait for whoever gets that name one day, so it is refused.
async fn require_account(state: &FederationState, user: &UserId) -> Result<(), ApiError> {
    // The server's own users chat with users of this server alone.
    if !state.accounts.is_own_user(user) && state.accounts.is_active(user).await? {
        Ok(())
    } else {
        Err(ApiError::forbidden("state_key: there is no such user on this server."))
    }
}

/// Refuses invitations to users who let nobody invite them (client-server API, "Invite permission").
async fn may_be_invited(state: &FederationState, user: &UserId) -> Result<(), ApiError> {
    match state.accounts.user_nid(user).await? {
        Some(nid) if state.accounts.blocks_invites(nid).await? => {
            let sentence = "state_key: this user does not want to be invited.";
            Err(ApiError::new(StatusCode::FORBIDDEN, ErrorKind::InviteBlocked, sentence))
        }
        _ => Ok(()),
    }
}

/// What the user is told of the room, as stripped state.
///
/// From room version 12 on, the entries are events of the room that have to be right. Before that, servers sent stripped
/// state and still do: of that is taken what can be read.
async fn told(
    state: &FederationState,
    room: &RoomId,
    version: RoomVersion,
    entries: Vec<Box<RawJsonValue>>,
) -> Result<Vec<Box<RawJsonValue>>, ApiError> {
    if entries.len() > INVITE_STATE_MAX {
        return Err(ApiError::invalid_param(format!("invite_room_state: more than {INVITE_STATE_MAX} entries.")));
    }
    if !version.rules().authorization.room_create_event_id_as_room_id {
        return Ok(entries.iter().filter_map(|entry| read_old(room, version, entry)).collect());
    }
    for (index, entry) in entries.iter().enumerate() {
        let field = || format!("invite_room_state[{index}]");
        let pdu = Pdu::parse(entry.get().as_bytes(), version);
        let pdu = pdu.map_err(|error| ApiError::invalid_param(format!("{}: {error}.", field())))?;
        if pdu.room_id() != room {
            return Err(ApiError::invalid_param(format!("{}: an event of another room.", field())));
        }
        if !pdu.is_state() {
            return Err(ApiError::invalid_param(format!("{}: not a state event.", field())));
        }
    }
    let checked = state.federation.partners.check_events(version, entries).await;
    let mut told = Vec::with_capacity(checked.len() + 1);
    let mut has_create = false;
    for (index, pdu) in checked.into_iter().enumerate() {
        let pdu = pdu.map_err(|reason| {
            ApiError::invalid_param(format!("invite_room_state[{index}]: the event cannot be verified: {reason}."))
        })?;
        has_create |= *pdu.kind() == TimelineEventType::RoomCreate;
        told.push(stripped_state(&pdu));
    }
    if !has_create {
        return Err(ApiError::invalid_param("invite_room_state: the m.room.create event is missing."));
    }
    Ok(told)
}

/// An entry that is an event of the room or stripped state; `None` where it is neither.
fn read_old(room: &RoomId, version: RoomVersion, entry: &RawJsonValue) -> Option<Box<RawJsonValue>> {
    #[derive(Deserialize, Serialize)]
    struct Stripped<'a> {
        #[serde(borrow)]
        content: &'a RawJsonValue,
        sender: OwnedUserId,
        state_key: String,
        #[serde(rename = "type")]
        kind: String,
    }
    if let Ok(pdu) = Pdu::parse(entry.get().as_bytes(), version) {
        return (pdu.room_id() == room && pdu.is_state()).then(|| stripped_state(&pdu));
    }
    let stripped: Stripped<'_> = serde_json::from_str(entry.get()).ok()?;
    let is_object = stripped.content.get().starts_with('{');
    let stripped = serde_json::value::to_raw_value(&stripped).ok()?;
    (is_object && stripped.get().len() <= wardroom_event::PDU_BYTES_MAX).then_some(stripped)
}

/// The signed event, with what its sender wrote into `unsigned`: all but the signatures stays as it came.
fn with_unsigned(signed: &Pdu, sent: &RawJsonValue) -> Result<Map<String, Value>, ApiError> {
    #[derive(Deserialize)]
    struct Sent {
        unsigned: Option<Map<String, Value>>,
    }
    let mut event: Map<String, Value> =
        serde_json::from_str(raw(signed)?.get()).map_err(|error| ApiError::internal(&error))?;
    let sent = serde_json::from_str::<Sent>(sent.get()).ok().and_then(|sent| sent.unsigned);
    event.extend(sent.map(|unsigned| ("unsigned".to_owned(), Value::Object(unsigned))));
    Ok(event)
}
