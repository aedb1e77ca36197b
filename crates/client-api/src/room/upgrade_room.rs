//! `POST /rooms/{roomId}/upgrade`
//! ([spec](https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidupgrade)).

use axum::extract::State;
use ruma::{RoomId, api::client::room::upgrade_room::v3 as upgrade_room};
use wardroom_accounts::Session;
use wardroom_rooms::{Replaced, Upgrade, UserNid};
use wardroom_web::{ApiError, Class, Reply, Routes, Ruma};

use super::{own_profile, registered, unsuspended};
use crate::{ClientState, error};

pub(super) fn routes() -> Routes<ClientState> {
    Routes::new().endpoint(upgrade_room)
}

async fn upgrade_room(
    State(state): State<ClientState>,
    Ruma { body: request, session, .. }: Ruma<upgrade_room::Request>,
) -> Result<Reply<upgrade_room::Response>, ApiError> {
    state.limits.take(Class::CreateRoom, session.nid)?;
    unsuspended(&session)?;
    let upgrade = Upgrade {
        version: request.new_version,
        additional_creators: request.additional_creators,
        profile: own_profile(&state, &session).await?,
    };
    let new = state.rooms.upgrade(registered(&session)?, &request.room_id, upgrade).await.map_err(error::of_room)?;
    carry_settings(&state, &session, &new).await;
    Ok(Reply(upgrade_room::Response::new(new)))
}

/// Gives somebody who is now in a room what they had set for the room that it replaced: tags, push rules, and that
/// it is a direct chat (specification, "Room upgrades"). Names that this server has given the old room lead to the new
/// one from then on.
///
/// They are in the room whatever becomes of this, so a failure is no failure of the request.
pub(super) async fn carry_settings(state: &ClientState, session: &Session, room: &RoomId) {
    let carried = async {
        let user = UserNid::new(session.nid.get());
        let replaced = state.rooms.replaced_by(room, user).await.map_err(|error| error.to_string())?;
        let Some(replaced) = replaced else { return Ok(()) };
        state.rooms.carry_names(&replaced).await.map_err(|error| error.to_string())?;
        let Replaced { old: (old_nid, old), new } = replaced;
        let (old, new) = ((old_nid.get(), &*old), (new.get(), room));
        state.accounts.carry_room_settings(&session.user, old, new).await.map_err(|error| error.to_string())
    };
    if let Err(error) = carried.await {
        tracing::warn!(%error, "settings for a replaced room could not be carried over");
    }
}
