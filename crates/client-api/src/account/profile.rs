//! `/_matrix/client/v3/profile/{userId}` with `displayname` and `avatar_url` (client-server API, section "Profiles").
//!
//! Fields of one's own choice (Matrix 1.16) are not offered yet.

use axum::extract::State;
use ruma::{
    OwnedMxcUri, UserId,
    api::client::profile::{get_avatar_url, get_display_name, get_profile, set_avatar_url, set_display_name},
};
use wardroom_accounts::{Profile, Session};
use wardroom_rooms::MemberProfile;
use wardroom_web::{ApiError, Class, Reply, Routes, Ruma};

use super::{actor, owner};
use crate::{ClientState, error};

pub(crate) fn routes() -> Routes<ClientState> {
    Routes::new()
        .endpoint(get_profile)
        .endpoint(get_display_name)
        .endpoint(get_avatar_url)
        .endpoint(set_display_name)
        .endpoint(set_avatar_url)
}

async fn profile_of(state: &ClientState, user: &UserId) -> Result<Profile, ApiError> {
    let profile = state.accounts.profile(user).await?;
    profile.ok_or_else(|| ApiError::not_found("There is no such user on this server."))
}

async fn get_profile(
    State(state): State<ClientState>,
    request: Ruma<get_profile::v3::Request>,
) -> Result<Reply<get_profile::v3::Response>, ApiError> {
    let profile = profile_of(&state, &request.body.user_id).await?;
    let fields = [("displayname", profile.displayname), ("avatar_url", profile.avatar_url)];
    let set = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.into())));
    Ok(Reply(set.collect()))
}

async fn get_display_name(
    State(state): State<ClientState>,
    request: Ruma<get_display_name::v3::Request>,
) -> Result<Reply<get_display_name::v3::Response>, ApiError> {
    let name = profile_of(&state, &request.body.user_id).await?.displayname;
    let name = name.ok_or_else(|| ApiError::not_found("The user has no displayname."))?;
    Ok(Reply(get_display_name::v3::Response::new(Some(name))))
}

async fn get_avatar_url(
    State(state): State<ClientState>,
    request: Ruma<get_avatar_url::v3::Request>,
) -> Result<Reply<get_avatar_url::v3::Response>, ApiError> {
    let url = profile_of(&state, &request.body.user_id).await?.avatar_url;
    let url = url.ok_or_else(|| ApiError::not_found("The user has no avatar_url."))?;
    Ok(Reply(get_avatar_url::v3::Response::new(Some(OwnedMxcUri::from(url)))))
}

async fn set_display_name(
    State(state): State<ClientState>,
    request: Ruma<set_display_name::v3::Request>,
) -> Result<Reply<set_display_name::v3::Response>, ApiError> {
    may_change(&state, &request.session, &request.body.user_id)?;
    let user = &request.session.user;
    // Clients unset a name by making it empty.
    let name = request.body.displayname.as_deref().filter(|name| !name.is_empty());
    let profile = state.accounts.set_displayname(user, name).await?;
    carry_into_rooms(&state, &request.session, profile).await?;
    Ok(Reply(set_display_name::v3::Response::new()))
}

async fn set_avatar_url(
    State(state): State<ClientState>,
    request: Ruma<set_avatar_url::v3::Request>,
) -> Result<Reply<set_avatar_url::v3::Response>, ApiError> {
    may_change(&state, &request.session, &request.body.user_id)?;
    let user = &request.session.user;
    let url = request.body.avatar_url.as_deref().filter(|url| !url.as_str().is_empty());
    let profile = state.accounts.set_avatar_url(user, url).await?;
    carry_into_rooms(&state, &request.session, profile).await?;
    Ok(Reply(set_avatar_url::v3::Response::new()))
}

fn may_change(state: &ClientState, session: &Session, user: &UserId) -> Result<(), ApiError> {
    owner(session, user)?;
    state.limits.take(Class::Account, session.nid)
}

async fn carry_into_rooms(state: &ClientState, session: &Session, profile: Profile) -> Result<(), ApiError> {
    let Profile { displayname, avatar_url } = profile;
    let profile = MemberProfile { displayname, avatar_url };
    state.rooms.update_profile(actor(session), &profile).await.map_err(error::of_room)
}
