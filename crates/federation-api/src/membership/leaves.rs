//! `GET /make_leave/{roomId}/{userId}` and `PUT /send_leave/{roomId}/{eventId}`
//! ([spec](https://spec.matrix.org/v1.19/server-server-api/#leaving-rooms-rejecting-invites)).

use axum::{Json, extract::State};
use ruma::{
    ServerName,
    api::{
        Metadata,
        federation::membership::{
            create_leave_event::v2 as create_leave_event, prepare_leave_event::v1 as prepare_leave_event,
        },
    },
    events::room::member::MembershipState,
};
use serde_json::{Value, json};
use wardroom_rooms::Membership;
use wardroom_web::{ApiError, Reply, Routes};

use super::{require_own, take, template};
use crate::{
    FederationState, Signed,
    disclosures::told_of_room,
    requests::{SendEvent, SendLeaveV1},
    shared_room::resident_room,
    signed::SignedRoutes as _,
};

pub(super) fn routes() -> Routes<FederationState> {
    Routes::new().signed(make_leave).signed(send_leave).signed(send_leave_v1)
}

async fn make_leave(
    State(state): State<FederationState>,
    Signed { origin, body: request, .. }: Signed<prepare_leave_event::Request>,
) -> Result<Reply<prepare_leave_event::Response>, ApiError> {
    require_own(&origin, &request.user_id)?;
    let view = resident_room(&state, &request.room_id, &origin).await?;
    let template = template(&state, &origin, &view, &request.user_id, Membership::Leave, None).await?;
    let record = told_of_room(&origin, "make_leave", &request.room_id, &request.user_id);
    state.disclose_often(record).await?;
    Ok(Reply(prepare_leave_event::Response::new(Some(template.version.id().clone()), template.event)))
}

async fn send_leave(
    State(state): State<FederationState>,
    Signed { origin, body: request, .. }: Signed<SendEvent<create_leave_event::Request>>,
) -> Result<Reply<create_leave_event::Response>, ApiError> {
    leave(&state, &origin, &request).await?;
    Ok(Reply(create_leave_event::Response::new()))
}

async fn send_leave_v1(
    State(state): State<FederationState>,
    Signed { origin, body: request, .. }: Signed<SendEvent<SendLeaveV1>>,
) -> Result<Json<Value>, ApiError> {
    leave(&state, &origin, &request).await?;
    Ok(Json(json!([200, {}])))
}

async fn leave<T: Metadata>(
    state: &FederationState,
    origin: &ServerName,
    request: &SendEvent<T>,
) -> Result<(), ApiError> {
    let sent = (&*request.room_id, &*request.event_id, &*request.event);
    take(state, origin, sent, MembershipState::Leave).await.map(drop)
}
