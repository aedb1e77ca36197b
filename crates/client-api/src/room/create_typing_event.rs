//! `PUT /rooms/{roomId}/typing/{userId}`
//! ([spec](https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidtypinguserid)).

use axum::extract::State;
use ruma::api::client::typing::create_typing_event::v3::{Request, Response, Typing};
use wardroom_web::{ApiError, Class, Reply, Routes, Ruma};

use super::registered;
use crate::{ClientState, error};

pub(super) fn routes() -> Routes<ClientState> {
    Routes::new().endpoint(create_typing_event)
}

async fn create_typing_event(
    State(state): State<ClientState>,
    Ruma { body: request, session, .. }: Ruma<Request>,
) -> Result<Reply<Response>, ApiError> {
    state.limits.take(Class::Message, session.nid)?;
    state.accounts.presence().note_active(&session);
    let actor = registered(&session)?;
    if request.user_id != actor.user {
        return Err(ApiError::forbidden("userId: you can only tell of your own typing."));
    }
    let for_as_long_as = match request.state {
        Typing::Yes(typing) => Some(typing.timeout),
        Typing::No => None,
    };
    state.rooms.set_typing(actor, &request.room_id, for_as_long_as).await.map_err(error::of_room)?;
    Ok(Reply(Response::new()))
}
