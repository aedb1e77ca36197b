//! `POST /rooms/{roomId}/leave` and `POST /rooms/{roomId}/forget`
//! ([spec](https://spec.matrix.org/v1.19/client-server-api/#leaving-rooms)).

use axum::extract::State;
use http::StatusCode;
use ruma::{
    RoomId,
    api::{
        client::membership::{forget_room::v3 as forget_room, leave_room::v3 as leave_room},
        error::ErrorKind,
    },
};
use wardroom_accounts::Session;
use wardroom_federation::Passage;
use wardroom_rooms::{MemberProfile, Membership, RoomNid, UserNid};
use wardroom_web::{ApiError, Reply, Routes, Ruma};

use super::actor;
use crate::{ClientState, error};

pub(super) fn routes() -> Routes<ClientState> {
    Routes::new().endpoint(leave_room).endpoint(forget_room)
}

async fn leave_room(
    State(state): State<ClientState>,
    Ruma { body: request, session, .. }: Ruma<leave_room::Request>,
) -> Result<Reply<leave_room::Response>, ApiError> {
    may_leave(&state, &session, &request.room_id).await?;
    let (actor, room, reason) = (actor(&session), &*request.room_id, request.reason);
    if let Some(federation) = &state.federation {
        let passage = Passage { actor, room, via: &[], profile: MemberProfile::default(), reason: reason.clone() };
        if federation.rooms.leave(passage).await.map_err(error::of_remote)?.is_some() {
            return Ok(Reply(leave_room::Response::new()));
        }
    }
    state.rooms.leave(actor, room, reason).await.map_err(error::of_room)?;
    Ok(Reply(leave_room::Response::new()))
}

/// The invitation to the room in which the server speaks to a user cannot be turned down (specification, "Server
/// Notices").
async fn may_leave(state: &ClientState, session: &Session, room: &RoomId) -> Result<(), ApiError> {
    let Some(notices) = state.accounts.notice_room(session.nid).await?.map(RoomNid::new) else { return Ok(()) };
    let user = UserNid::new(session.nid.get());
    let entry = state.rooms.membership(user, notices).await.map_err(error::of_room)?;
    if entry.is_none_or(|entry| entry.membership != Membership::Invite) {
        return Ok(());
    }
    if state.rooms.view_of(notices).await.map_err(error::of_room)?.id == room {
        let sentence = "An invitation to the room of server notices cannot be turned down.";
        return Err(ApiError::new(StatusCode::FORBIDDEN, ErrorKind::CannotLeaveServerNoticeRoom, sentence));
    }
    Ok(())
}

async fn forget_room(
    State(state): State<ClientState>,
    Ruma { body: request, session, .. }: Ruma<forget_room::Request>,
) -> Result<Reply<forget_room::Response>, ApiError> {
    state.rooms.forget(actor(&session), &request.room_id).await.map_err(error::of_room)?;
    Ok(Reply(forget_room::Response::new()))
}
