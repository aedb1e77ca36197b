//! `PUT` and `GET /presence/{userId}/status`
//! ([spec](https://spec.matrix.org/v1.19/client-server-api/#presence)).

use std::time::Duration;

use axum::extract::State;
use ruma::{
    api::client::presence::{get_presence, set_presence},
    presence::PresenceState,
};
use wardroom_accounts::{Availability, PresenceView};
use wardroom_web::{ApiError, Class, Reply, Routes, Ruma};

use crate::{ClientState, caller::owner, error};

pub(crate) fn routes() -> Routes<ClientState> {
    Routes::new().endpoint(get_presence).endpoint(set_presence)
}

/// The availability that a client names in this field.
pub(crate) fn availability(field: &str, state: &PresenceState) -> Result<Availability, ApiError> {
    Availability::named(state)
        .ok_or_else(|| ApiError::invalid_param(format!("{field}: must be online, offline or unavailable.")))
}

async fn set_presence(
    State(state): State<ClientState>,
    Ruma { body: request, session, .. }: Ruma<set_presence::v3::Request>,
) -> Result<Reply<set_presence::v3::Response>, ApiError> {
    state.limits.take(Class::Account, session.nid)?;
    owner(&session, &request.user_id)?;
    let availability = availability("presence", &request.presence)?;
    if !state.accounts.presence().is_enabled() {
        return Err(ApiError::forbidden("Presence is turned off on this server."));
    }
    let set = state.sync.set_presence(&session, availability, request.status_msg.as_deref());
    set.await.map_err(error::of_sync)?;
    Ok(Reply(set_presence::v3::Response::new()))
}

async fn get_presence(
    State(state): State<ClientState>,
    Ruma { body: request, session, .. }: Ruma<get_presence::v3::Request>,
) -> Result<Reply<get_presence::v3::Response>, ApiError> {
    if !state.accounts.presence().is_enabled() {
        return Err(ApiError::not_found("Presence is turned off on this server."));
    }
    let user = state.accounts.user_nid(&request.user_id).await?;
    let visible = match user {
        Some(user) => state.sync.sees_presence(session.nid, user).await.map_err(error::of_sync)?,
        None => false,
    };
    // Who does not exist looks like a stranger, or anybody could find out who exists.
    let Some(user) = user.filter(|_| visible) else {
        return Err(ApiError::forbidden("You share no room with this user, so you may not see their presence."));
    };
    let view = state.accounts.presence().of(user);
    let name = view.as_ref().map_or(Availability::Offline, |view| view.availability).name();
    let mut response = get_presence::v3::Response::new(name.into());
    if let Some(PresenceView { availability, currently_active, last_active_ago_ms, status_msg, .. }) = view {
        response.currently_active = (availability == Availability::Online).then_some(currently_active);
        response.last_active_ago = last_active_ago_ms.map(Duration::from_millis);
        response.status_msg = status_msg.as_deref().map(str::to_owned);
    }
    Ok(Reply(response))
}
