//! `GET /room_summary/{roomIdOrAlias}`
//! ([spec](https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1room_summaryroomidoralias)), with and
//! without an account.

use axum::{Json, extract::State};
use ruma::{
    OwnedMxcUri, OwnedRoomAliasId, OwnedRoomId, UInt,
    api::client::room::get_summary::v1 as get_summary,
    room::{JoinRuleKind, RoomType},
};
use serde::Serialize;
use wardroom_audit::{Act, Record};
use wardroom_rooms::{Membership, ReadSummary, Summary};
use wardroom_web::{ApiError, Class, Routes, Ruma};

use super::{actor, room_of};
use crate::{ClientState, error};

/// The path of the proposal (MSC3266) that clients still ask, besides the one that ruma knows.
const UNSTABLE_PATH: &str = "/_matrix/client/unstable/im.nheko.summary/summary/{room_id_or_alias}";

pub(super) fn routes() -> Routes<ClientState> {
    Routes::new().endpoint(get_summary).endpoint_at(&[UNSTABLE_PATH], get_summary)
}

/// A room's summary. Other than ruma's type, this always says the join rule, and knows join rules to come.
#[derive(Serialize)]
pub(super) struct SummaryJson {
    room_id: OwnedRoomId,
    #[serde(skip_serializing_if = "Option::is_none")]
    canonical_alias: Option<OwnedRoomAliasId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    avatar_url: Option<OwnedMxcUri>,
    #[serde(skip_serializing_if = "Option::is_none")]
    room_type: Option<RoomType>,
    num_joined_members: UInt,
    join_rule: JoinRuleKind,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    allowed_room_ids: Vec<OwnedRoomId>,
    world_readable: bool,
    guest_can_join: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    encryption: Option<String>,
    /// What MSC3266 calls the same, for clients of the unstable path.
    #[serde(rename = "im.nheko.summary.encryption", skip_serializing_if = "Option::is_none")]
    unstable_encryption: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    room_version: Option<String>,
    /// What MSC3266 calls the same.
    #[serde(rename = "im.nheko.summary.room_version", skip_serializing_if = "Option::is_none")]
    unstable_room_version: Option<String>,
}

impl SummaryJson {
    pub(super) fn of(summary: &Summary) -> Self {
        let chunk = summary.chunk.clone();
        Self {
            room_id: chunk.room_id,
            canonical_alias: chunk.canonical_alias,
            name: chunk.name,
            topic: chunk.topic,
            avatar_url: chunk.avatar_url,
            room_type: chunk.room_type,
            num_joined_members: chunk.num_joined_members,
            join_rule: chunk.join_rule,
            allowed_room_ids: summary.allowed_room_ids().to_vec(),
            world_readable: chunk.world_readable,
            guest_can_join: chunk.guest_can_join,
            encryption: summary.encryption.clone(),
            unstable_encryption: summary.encryption.clone(),
            room_version: summary.said_version.clone(),
            unstable_room_version: summary.said_version.clone(),
        }
    }
}

#[derive(Serialize)]
struct Summarized {
    #[serde(flatten)]
    summary: SummaryJson,
    #[serde(skip_serializing_if = "Option::is_none")]
    membership: Option<&'static str>,
}

async fn get_summary(
    State(state): State<ClientState>,
    Ruma { body: request, session, client_ip, .. }: Ruma<get_summary::Request>,
) -> Result<Json<Summarized>, ApiError> {
    match &session {
        Some(session) => state.limits.take(Class::Search, session.nid)?,
        None => state.limits.take(Class::Search, client_ip)?,
    }
    let (room, via) = room_of(&state, &request.room_id_or_alias, request.via).await?;
    let asked = Record::of(Act::Directory).room(room.as_str()).detail("room_summary");
    if let (Some(session), Some(federation)) = (&session, &state.federation)
        && !state.rooms.is_here(&room).await.map_err(error::of_room)?
    {
        let told = federation.rooms.told_room(&room, &via).await.map_err(error::of_remote)?;
        let read = state.rooms.glimpse_elsewhere(actor(session), &told.room).await.map_err(error::of_room)?;
        let unknown = || ApiError::not_found("There is no such room, or you may not know of it.");
        let ReadSummary { summary, membership } = read.ok_or_else(unknown)?;
        let membership = Some(membership.map_or("leave", name_of));
        state.note_asked(asked, 1).await?;
        return Ok(Json(Summarized { summary: SummaryJson::of(&summary), membership }));
    }
    let read = state.rooms.summary(session.as_ref().map(actor), &room).await;
    let ReadSummary { summary, membership } = read.map_err(error::of_room)?;
    state.note_asked(asked, 1).await?;
    // To somebody who calls with an account, having nothing to do with a room is having left it.
    let membership = session.is_some().then(|| membership.map_or("leave", name_of));
    Ok(Json(Summarized { summary: SummaryJson::of(&summary), membership }))
}

const fn name_of(membership: Membership) -> &'static str {
    match membership {
        Membership::Join => "join",
        Membership::Invite => "invite",
        Membership::Knock => "knock",
        Membership::Leave => "leave",
        Membership::Ban => "ban",
    }
}
