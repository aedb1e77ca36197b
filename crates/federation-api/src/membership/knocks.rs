//! `GET /make_knock/{roomId}/{userId}` and `PUT /send_knock/{roomId}/{eventId}`
//! ([spec](https://spec.matrix.org/v1.19/server-server-api/#knocking-rooms)).

use axum::extract::State;
use ruma::{
    api::federation::membership::{
        RawStrippedState, create_knock_event::v1 as create_knock_event, prepare_knock_event::v1 as prepare_knock_event,
    },
    events::room::member::MembershipState,
};
use wardroom_rooms::Membership;
use wardroom_web::{ApiError, Reply, Routes};

use super::{require_own, take, template};
use crate::{
    FederationState, Signed, disclosures::told_of_room, error, requests::SendEvent, shared_room::resident_room,
    signed::SignedRoutes as _, stream::raw,
};

pub(super) fn routes() -> Routes<FederationState> {
    Routes::new().signed(make_knock).signed(send_knock)
}

async fn make_knock(
    State(state): State<FederationState>,
    Signed { origin, body: request, .. }: Signed<prepare_knock_event::Request>,
) -> Result<Reply<prepare_knock_event::Response>, ApiError> {
    require_own(&origin, &request.user_id)?;
    let view = resident_room(&state, &request.room_id, &origin).await?;
    let template = template(&state, &origin, &view, &request.user_id, Membership::Knock, Some(&request.ver)).await?;
    let record = told_of_room(&origin, "make_knock", &request.room_id, &request.user_id);
    state.disclose_often(record).await?;
    Ok(Reply(prepare_knock_event::Response::new(template.version.id().clone(), template.event)))
}

async fn send_knock(
    State(state): State<FederationState>,
    Signed { origin, body: request, .. }: Signed<SendEvent<create_knock_event::Request>>,
) -> Result<Reply<create_knock_event::Response>, ApiError> {
    let sent = (&*request.room_id, &*request.event_id, &*request.event);
    let (view, knock) = take(&state, &origin, sent, MembershipState::Knock).await?;
    let told = state.rooms.introduction(&view.id, knock.sender()).await.map_err(error::of_room)?;
    let record = told_of_room(&origin, "send_knock", &view.id, knock.sender());
    state.disclose(record.count(told.len() as u64)).await?;
    let told = told.iter().map(|event| Ok(RawStrippedState::Pdu(raw(event)?)));
    Ok(Reply(create_knock_event::Response::new(told.collect::<Result<_, ApiError>>()?)))
}
