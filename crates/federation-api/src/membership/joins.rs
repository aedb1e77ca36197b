//! `GET /make_join/{roomId}/{userId}` and `PUT /send_join/{roomId}/{eventId}`
//! ([spec](https://spec.matrix.org/v1.19/server-server-api/#joining-rooms)).

use std::sync::Arc;

use axum::{extract::State, response::Response};
use ruma::{
    OwnedServerName, OwnedUserId, RoomId, ServerName, UserId,
    api::{
        Metadata,
        error::ErrorKind,
        federation::membership::{
            create_join_event::v2 as create_join_event, prepare_join_event::v1 as prepare_join_event,
        },
    },
    events::room::member::MembershipState,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue as RawJsonValue;
use wardroom_audit::{Act, Record};
use wardroom_event::Pdu;
use wardroom_rooms::{Admission, Membership, RoomView};
use wardroom_web::{ApiError, Reply, Routes};

use super::{Sent, require_own, template, verified};
use crate::{
    FederationState, Signed,
    disclosures::told_of_room,
    error,
    events::disclosed_state,
    requests::{SendEvent, SendJoinV1},
    shared_room::resident_room,
    signed::SignedRoutes as _,
    stream::{self, raw},
};

pub(super) fn routes() -> Routes<FederationState> {
    Routes::new().signed(make_join).signed(send_join).signed(send_join_v1)
}

/// Whether this server lets a user of another server into a room with conditions.
async fn check_conditions(state: &FederationState, view: &RoomView, user: &UserId) -> Result<(), ApiError> {
    match state.rooms.admission(view, user).await.map_err(error::of_room)? {
        Admission::Unconditional | Admission::Granted => Ok(()),
        Admission::Refused => {
            let record = Record::of(Act::RoleCheck).room(view.id.as_str()).user(user.as_str());
            state.deny(record.detail("join").why("conditions of the room")).await?;
            let sentence =
                "The user is not invited, and meets none of the conditions under which one may join this room.";
            Err(ApiError::forbidden(sentence))
        }
        Admission::Unknown => {
            let sentence = "This server is not in the rooms whose members may join this one: ask another server.";
            Err(error::bad_request(ErrorKind::UnableToAuthorizeJoin, sentence))
        }
    }
}

async fn make_join(
    State(state): State<FederationState>,
    Signed { origin, body: request, .. }: Signed<prepare_join_event::Request>,
) -> Result<Reply<prepare_join_event::Response>, ApiError> {
    require_own(&origin, &request.user_id)?;
    let view = resident_room(&state, &request.room_id, &origin).await?;
    if !request.ver.contains(view.version.id()) {
        return Err(error::incompatible(view.version.id()));
    }
    check_conditions(&state, &view, &request.user_id).await?;
    let template = template(&state, &origin, &view, &request.user_id, Membership::Join, Some(&request.ver)).await?;
    let record = told_of_room(&origin, "make_join", &request.room_id, &request.user_id);
    state.disclose_often(record).await?;
    let mut response = prepare_join_event::Response::new(template.event);
    response.room_version = Some(template.version.id().clone());
    Ok(Reply(response))
}

async fn send_join(
    State(state): State<FederationState>,
    Signed { origin, body: request, .. }: Signed<SendEvent<create_join_event::Request>>,
) -> Result<Response, ApiError> {
    join(&state, &origin, &request, false).await
}

async fn send_join_v1(
    State(state): State<FederationState>,
    Signed { origin, body: request, .. }: Signed<SendEvent<SendJoinV1>>,
) -> Result<Response, ApiError> {
    join(&state, &origin, &request, true).await
}

/// What stands in the answer besides the lists of events.
#[derive(Serialize)]
struct Joined<'a> {
    event: Box<RawJsonValue>,
    members_omitted: bool,
    origin: &'a ServerName,
    servers_in_room: Vec<OwnedServerName>,
}

async fn join<T: Metadata>(
    state: &FederationState,
    origin: &ServerName,
    request: &SendEvent<T>,
    old: bool,
) -> Result<Response, ApiError> {
    let room: &RoomId = &request.room_id;
    let view = resident_room(state, room, origin).await?;
    let membership = MembershipState::Join;
    let (version, event_id) = (view.version, &*request.event_id);
    let sent = Sent { origin, room, version, event_id, event: &request.event, membership };
    let pdu = authorised(state, &view, sent.read()?).await?;
    let pdu = verified(state, &pdu).await?;
    let servers_in_room = state.rooms.servers_to_join_through(&view).await.map_err(error::of_room)?;
    state.rooms.admit(room, Arc::clone(&pdu), origin).await.map_err(error::of_room)?;

    let members = !request.omit_members;
    let told = state.rooms.state_for_join(&view, pdu.event_id(), members).await.map_err(error::of_room)?;
    let joined = Joined { event: raw(&pdu)?, members_omitted: !members, origin: &state.server_name, servers_in_room };
    disclosed_state(state, origin, (room, "send_join"), [&told.state, &told.auth_chain]).await?;
    let lists = vec![("state", told.state), ("auth_chain", told.auth_chain)];
    stream::answer(&state.rooms, view.nid, &joined, lists, old)
}

/// The join, signed by this server too where one of its users is named as who authorises it: the room's conditions
/// were checked then. The authorization rules see to it that this user may.
async fn authorised(state: &FederationState, view: &RoomView, pdu: Pdu) -> Result<Pdu, ApiError> {
    #[derive(Deserialize)]
    struct Content {
        join_authorised_via_users_server: Option<OwnedUserId>,
    }
    if !view.version.rules().signatures.check_join_authorised_via_users_server {
        return Ok(pdu);
    }
    let content: Content = pdu
        .content_as()
        .map_err(|_| ApiError::invalid_param("content.join_authorised_via_users_server: not a user id."))?;
    match content.join_authorised_via_users_server {
        Some(via) if via.server_name() == state.server_name => {
            check_conditions(state, view, pdu.sender()).await?;
            pdu.cosigned(&state.server_name, &state.signing_key).map_err(|error| error::of_event("event", error))
        }
        _ => Ok(pdu),
    }
}
