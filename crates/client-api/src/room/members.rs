//! `GET /rooms/{roomId}/members`, `GET /rooms/{roomId}/joined_members` and `GET /joined_rooms`
//! ([spec](https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidmembers)).

use std::collections::BTreeMap;

use axum::{Json, extract::State};
use ruma::{
    OwnedUserId,
    api::client::membership::{
        get_member_events::v3 as get_member_events, joined_members::v3 as joined_members,
        joined_rooms::v3 as joined_rooms,
    },
};
use serde::Serialize;
use wardroom_rooms::UserNid;
use wardroom_web::{ApiError, Reply, Routes, Ruma};

use super::{
    actor,
    event_json::{Events, EventsReply},
    place, registered,
};
use crate::{ClientState, error};

pub(super) fn routes() -> Routes<ClientState> {
    Routes::new().endpoint(get_member_events).endpoint(joined_members).endpoint(joined_rooms)
}

#[derive(Serialize)]
struct Members {
    chunk: Events,
}

async fn get_member_events(
    State(state): State<ClientState>,
    Ruma { body: request, session, .. }: Ruma<get_member_events::Request>,
) -> Result<EventsReply<Members>, ApiError> {
    let reader = actor(&session);
    let at = place("at", request.at.as_deref())?;
    let only = request.membership.as_ref().map(|membership| membership.as_str());
    let not = request.not_membership.as_ref().map(|membership| membership.as_str());
    let members = state.rooms.member_list(reader, &request.room_id, at, only, not).await;
    let members = state.may_read(reader, &request.room_id, "members", members).await?;
    let body = Members { chunk: Events::of(&state, reader, &members).await? };
    EventsReply::of_room(&state, &request.room_id, "members", body, |body| vec![&body.chunk]).await
}

#[derive(Serialize)]
struct JoinedMembers {
    joined: BTreeMap<OwnedUserId, Member>,
}

/// Other than in ruma's type, an avatar that is no `mxc://` URI passes as it is: it is the room's state.
#[derive(Serialize)]
struct Member {
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    avatar_url: Option<String>,
}

async fn joined_members(
    State(state): State<ClientState>,
    Ruma { body: request, session, .. }: Ruma<joined_members::Request>,
) -> Result<Json<JoinedMembers>, ApiError> {
    let reader = registered(&session)?;
    let members = state.rooms.joined_members(reader, &request.room_id).await;
    let members = state.may_read(reader, &request.room_id, "joined_members", members).await?;
    state.note_listed(&request.room_id, "joined_members", members.len()).await?;
    let members = members
        .into_iter()
        .map(|(user, profile)| (user, Member { display_name: profile.displayname, avatar_url: profile.avatar_url }));
    Ok(Json(JoinedMembers { joined: members.collect() }))
}

async fn joined_rooms(
    State(state): State<ClientState>,
    Ruma { session, .. }: Ruma<joined_rooms::Request>,
) -> Result<Reply<joined_rooms::Response>, ApiError> {
    let rooms = state.rooms.joined_rooms(UserNid::new(session.nid.get())).await.map_err(error::of_room)?;
    Ok(Reply(joined_rooms::Response::new(rooms)))
}
