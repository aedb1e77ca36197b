//! Profiles of users on whose behalf administrators act.

use std::sync::Arc;

use futures_util::FutureExt as _;
use wardroom_accounts::{Profile, User};
use wardroom_rooms::{MemberProfile, Membership, ProfileSource, UserNid};
use wardroom_web::ApiError;

use crate::{AdminState, error};

/// How a user is shown in rooms.
pub(crate) async fn of(state: &AdminState, user: &User) -> Result<MemberProfile, ApiError> {
    let Profile { displayname, avatar_url } = state.accounts.profile(&user.id).await?.unwrap_or_default();
    Ok(MemberProfile { displayname, avatar_url })
}

/// Carries a changed profile into the user's rooms, in the background.
pub(crate) async fn carry(state: &AdminState, user: &User) -> Result<(), ApiError> {
    let entries = state.rooms.memberships(UserNid::new(user.nid.get())).await.map_err(error::of_room)?;
    let rooms: Vec<_> =
        entries.into_iter().filter(|entry| entry.membership == Membership::Join).map(|entry| entry.room).collect();
    let (accounts, id) = (state.accounts.clone(), user.id.clone());
    let current: ProfileSource = Arc::new(move || {
        let (accounts, id) = (accounts.clone(), id.clone());
        async move {
            let Profile { displayname, avatar_url } = accounts.profile(&id).await.ok().flatten()?;
            Some(MemberProfile { displayname, avatar_url })
        }
        .boxed()
    });
    let (rooms_of, user) = (state.rooms.clone(), user.id.clone());
    tokio::spawn(async move {
        if let Err(error) = rooms_of.carry_profile(&user, &rooms, &current).await {
            tracing::warn!(%error, "a profile could not be carried into all rooms");
        }
    });
    Ok(())
}
