//! `GET /_matrix/federation/v1/hierarchy/{roomId}`
//! ([spec](https://spec.matrix.org/v1.19/server-server-api/#spaces)).

use std::sync::Arc;

use axum::{Json, extract::State};
use ruma::{
    OwnedMxcUri, OwnedRoomAliasId, OwnedRoomId, UInt,
    api::federation::space::get_hierarchy::v1 as get_hierarchy,
    room::{JoinRuleKind, RoomType},
};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue as RawJsonValue;
use wardroom_audit::Act;
use wardroom_rooms::{HierarchyRoom, ServerHierarchy, Summary};
use wardroom_web::{ApiError, Routes};

use crate::{FederationState, Signed, disclosures::looked, error, signed::SignedRoutes as _};

pub(crate) fn routes() -> Routes<FederationState> {
    Routes::new().signed(hierarchy)
}

/// Other than ruma's type, this copies the children's events as they are and knows join rules to come.
#[derive(Serialize)]
struct Hierarchy {
    room: Room,
    children: Vec<SummaryJson>,
    inaccessible_children: Vec<OwnedRoomId>,
}

#[derive(Serialize)]
struct Room {
    #[serde(flatten)]
    summary: SummaryJson,
    #[serde(serialize_with = "as_they_are")]
    children_state: Vec<Arc<RawJsonValue>>,
}

fn as_they_are<S: Serializer>(children: &[Arc<RawJsonValue>], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(children.iter().map(|child| &**child))
}

/// A room's summary (client-server API, "Room Summaries").
#[derive(Serialize)]
struct SummaryJson {
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
    room_version: &'static str,
}

impl SummaryJson {
    fn of(summary: &Summary) -> Self {
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
            room_version: summary.version.as_str(),
        }
    }
}

async fn hierarchy(
    State(state): State<FederationState>,
    Signed { origin, body: request, .. }: Signed<get_hierarchy::Request>,
) -> Result<Json<Hierarchy>, ApiError> {
    let found = state.rooms.hierarchy_for_server(&origin, &request.room_id, request.suggested_only).await;
    let ServerHierarchy { room, children, inaccessible } = found.map_err(error::of_room)?;
    let record = looked(Act::Hierarchy, &origin, "hierarchy").room(request.room_id.as_str());
    state.disclose_often(record.count(children.len() as u64 + 1)).await?;
    let HierarchyRoom { summary, children_state } = room;
    Ok(Json(Hierarchy {
        room: Room { summary: SummaryJson::of(&summary), children_state },
        children: children.iter().map(|summary| SummaryJson::of(summary)).collect(),
        inaccessible_children: inaccessible,
    }))
}
