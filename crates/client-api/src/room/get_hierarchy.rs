//! `GET /rooms/{roomId}/hierarchy`
//! ([spec](https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidhierarchy)).

use std::sync::Arc;

use axum::{Json, extract::State};
use ruma::api::client::space::get_hierarchy::v1 as get_hierarchy;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue as RawJsonValue;
use wardroom_audit::{Act, Record};
use wardroom_rooms::{Elsewhere, HierarchyQuery, HierarchyRoom};
use wardroom_web::{ApiError, Class, Routes, Ruma};

use super::{get_summary::SummaryJson, registered};
use crate::ClientState;

pub(super) fn routes() -> Routes<ClientState> {
    Routes::new().endpoint(get_hierarchy)
}

/// Other than ruma's type, this copies the children's events as they are and knows join rules to come.
#[derive(Serialize)]
struct Hierarchy {
    rooms: Vec<Room>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_batch: Option<String>,
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

async fn get_hierarchy(
    State(state): State<ClientState>,
    Ruma { body: request, session, .. }: Ruma<get_hierarchy::Request>,
) -> Result<Json<Hierarchy>, ApiError> {
    state.limits.take(Class::Search, session.nid)?;
    let query = HierarchyQuery {
        from: request.from,
        limit: request.limit.map(u64::from),
        max_depth: request.max_depth.map(u64::from),
        suggested_only: request.suggested_only,
    };
    let lookups = state.federation.as_ref().map(|federation| federation.rooms.lookups());
    let elsewhere = lookups.as_ref().map(|lookups| lookups as &dyn Elsewhere);
    let reader = registered(&session)?;
    let page = state.rooms.hierarchy(reader, &request.room_id, &query, elsewhere).await;
    let page = state.may_read(reader, &request.room_id, "hierarchy", page).await?;
    let record = Record::of(Act::Hierarchy).room(request.room_id.as_str());
    state.note_asked(record, page.rooms.len()).await?;
    let room = |HierarchyRoom { summary, children_state }| Room { summary: SummaryJson::of(&summary), children_state };
    Ok(Json(Hierarchy { rooms: page.rooms.into_iter().map(room).collect(), next_batch: page.next_batch }))
}
