//! `POST /_matrix/client/v3/account/deactivate` (client-server API, section "Account deactivation").

use axum::extract::State;
use ruma::api::client::account::{
    ThirdPartyIdRemovalStatus,
    deactivate::v3::{Request, Response},
};
use wardroom_accounts::{AccountError, Session};
use wardroom_rooms::{ErasureWish, Membership};
use wardroom_web::{ApiError, Reply, Routes, Ruma};

use super::{actor, interactive_auth::require_password};
use crate::{ClientState, error};

pub(crate) fn routes() -> Routes<ClientState> {
    Routes::new().endpoint(deactivate)
}

async fn deactivate(State(state): State<ClientState>, request: Ruma<Request>) -> Result<Reply<Response>, ApiError> {
    // Without a token only an e-mail address could tell whose account this is, and this server has none.
    let session = request.session.ok_or_else(ApiError::missing_token)?;
    let Request { auth, id_server: _, erase, .. } = request.body;
    require_password(&state, &session, "POST /account/deactivate", &erase, auth.as_ref()).await?;
    if erase {
        // Before the account is closed: nobody could ask for it again.
        let wish = ErasureWish { user: &session.user, nid: actor(&session).nid, reason: None, until_ms: None };
        state.rooms.erase_user(wish).await.map_err(error::of_room)?;
    }
    // First, so that nobody joins anything any more.
    let closed = match erase {
        // What a legal hold covers stays.
        true => state.accounts.deactivate_keeping_data(&session.user).await,
        false => state.accounts.deactivate(&session.user).await,
    };
    match closed {
        // The erasure was faster.
        Err(AccountError::Deactivated) if erase => {}
        closed => closed?,
    }
    leave_rooms(&state, &session).await?;
    // Nothing was ever bound at an identity server.
    Ok(Reply(Response::new(ThirdPartyIdRemovalStatus::Success)))
}

/// Takes the user out of every room; one that cannot be left stops none of the others.
async fn leave_rooms(state: &ClientState, session: &Session) -> Result<(), ApiError> {
    let actor = actor(session);
    let memberships = state.rooms.memberships(actor.nid).await.map_err(error::of_room)?;
    for entry in memberships {
        if !matches!(entry.membership, Membership::Join | Membership::Invite | Membership::Knock) {
            continue;
        }
        let left = match state.rooms.view_of(entry.room).await {
            Ok(room) => state.rooms.leave(actor, &room.id, None).await,
            Err(error) => Err(error),
        };
        if let Err(error) = left {
            tracing::warn!(%error, room = entry.room.get(), "a deactivated user could not leave a room");
        }
    }
    Ok(())
}
