//! `GET /rooms/{roomId}/timestamp_to_event`
//! ([spec](https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidtimestamp_to_event)).

use axum::extract::State;
use ruma::{
    MilliSecondsSinceUnixEpoch, UInt,
    api::{Direction, client::room::get_event_by_timestamp::v1 as get_event_by_timestamp},
};
use wardroom_rooms::RoomError;
use wardroom_web::{ApiError, Class, Reply, Routes, Ruma};

use super::registered;
use crate::{ClientState, error};

pub(super) fn routes() -> Routes<ClientState> {
    Routes::new().endpoint(get_event_by_timestamp)
}

async fn get_event_by_timestamp(
    State(state): State<ClientState>,
    Ruma { body: request, session, .. }: Ruma<get_event_by_timestamp::Request>,
) -> Result<Reply<get_event_by_timestamp::Response>, ApiError> {
    state.limits.take(Class::Search, session.nid)?;
    let backwards = request.dir == Direction::Backward;
    let wanted_ms = request.ts.0.into();
    let reader = registered(&session)?;
    let near = state.rooms.event_near(reader, &request.room_id, wanted_ms, backwards).await;
    let here = near.as_ref().ok().map(|event| event.pdu.origin_server_ts());
    let view = state.rooms.view(&request.room_id).await.map_err(error::of_room)?;
    if matches!(near, Ok(_) | Err(RoomError::NotFound(_)))
        && let (Some(federation), Some(view)) = (&state.federation, view)
        && let Some((event, told_ms)) =
            federation.rooms.event_near(&view, wanted_ms, backwards, here).await.map_err(error::of_remote)?
    {
        state.note_told_of(&request.room_id, "timestamp_to_event", &event).await?;
        return Ok(Reply(get_event_by_timestamp::Response::new(event, time(told_ms))));
    }
    let event = state.may_read(reader, &request.room_id, "timestamp_to_event", near).await?;
    state.note_told_of(&request.room_id, "timestamp_to_event", event.pdu.event_id()).await?;
    let time = time(event.pdu.origin_server_ts());
    Ok(Reply(get_event_by_timestamp::Response::new(event.pdu.event_id().to_owned(), time)))
}

fn time(ms: u64) -> MilliSecondsSinceUnixEpoch {
    MilliSecondsSinceUnixEpoch(UInt::new_saturating(ms))
}
