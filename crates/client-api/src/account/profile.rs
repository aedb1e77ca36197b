//! `/_matrix/client/v3/profile/{userId}` and its fields (client-server API, section "Profiles").
//!
//! `displayname` and `avatar_url` are shown in rooms too, so they are carried there; the other fields are not.

use std::{marker::PhantomData, sync::Arc};

use axum::{Json, extract::State};
use futures_util::FutureExt as _;
use http::StatusCode;
use ruma::{
    MxcUri, OwnedUserId, UserId,
    api::{
        IncomingRequest,
        client::profile::{delete_profile_field, get_profile, get_profile_field, set_profile_field},
        error::{DeserializationError, ErrorKind},
    },
};
use serde_json::{Map, Value, value::RawValue as RawJsonValue, value::to_raw_value};
use wardroom_accounts::{Profile, ProfileFields, Session};
use wardroom_federation::{ProfileError, RemoteProfile};
use wardroom_rooms::{MemberProfile, Membership, ProfileSource, UserNid};
use wardroom_web::{ApiError, Class, Routes, Ruma};

use super::owner;
use crate::{ClientState, caller::unsuspended, error, same_endpoint::same_endpoint};

/// Rooms that hear of a new profile before the request is answered. For who is in more, the rest follows.
const ROOMS_WAITED_FOR_MAX: usize = 32;

/// The whole profile under the prefix from before Matrix 1.16, which ruma does not list.
const UNSTABLE_PROFILE: [&str; 1] = ["/_matrix/client/unstable/uk.tcpip.msc4133/profile/{user_id}"];
/// The field that guests may change has paths of its own, so that the list of what is open to guests can name it.
const DISPLAY_NAME: [&str; 2] =
    ["/_matrix/client/v3/profile/{user_id}/displayname", "/_matrix/client/r0/profile/{user_id}/displayname"];

pub(crate) fn routes() -> Routes<ClientState> {
    Routes::new()
        .endpoint(get_profile)
        .endpoint_at(&UNSTABLE_PROFILE, get_profile)
        .endpoint(get_field)
        .endpoint_at(&DISPLAY_NAME, get_field)
        .endpoint(set_field)
        .endpoint_at(&DISPLAY_NAME, set_field)
        .endpoint(delete_field)
        .endpoint_at(&delete_paths(), delete_field)
}

/// ruma lists the paths of old fields for reading and writing only.
fn delete_paths() -> Vec<&'static str> {
    DISPLAY_NAME.into_iter().chain(["/_matrix/client/r0/profile/{user_id}/{field}"]).collect()
}

/// A request about one field, as `E` of ruma's. Its own type, because ruma's reads values into types of its own, and
/// takes the key from the path alone.
#[derive(Debug)]
struct Field<E> {
    user_id: OwnedUserId,
    key: String,
    endpoint: PhantomData<fn() -> E>,
}

same_endpoint!(Field);

impl<E: IncomingRequest> IncomingRequest for Field<E> {
    type EndpointError = E::EndpointError;
    type OutgoingResponse = E::OutgoingResponse;

    fn try_from_http_request_inner(
        _request: http::Request<&[u8]>,
        path_args: &[&str],
    ) -> Result<Self, DeserializationError> {
        let user_id = path_args.first().copied().unwrap_or_default().try_into()?;
        let key = path_args.get(1).copied().unwrap_or("displayname").to_owned();
        Ok(Self { user_id, key, endpoint: PhantomData })
    }
}

fn no_such_user() -> ApiError {
    ApiError::not_found("There is no such user on this server.")
}

fn no_such_field(key: &str) -> ApiError {
    ApiError::not_found(format!("The user has no {key}."))
}

/// The profile of another server's user; none for users of this one.
async fn remote_profile(state: &ClientState, user: &UserId) -> Result<Option<RemoteProfile>, ApiError> {
    if state.accounts.is_local(user) {
        return Ok(None);
    }
    let federation = state.federation.as_ref().ok_or_else(no_such_user)?;
    let profile = federation.profiles.profile(user).await.map_err(|error| match error {
        ProfileError::NotFound => ApiError::not_found(error.to_string()),
        ProfileError::Forbidden => ApiError::forbidden(error.to_string()),
        ProfileError::Failed => ApiError::new(StatusCode::BAD_GATEWAY, ErrorKind::Unknown, error.to_string()),
    })?;
    Ok(Some(profile))
}

async fn get_profile(
    State(state): State<ClientState>,
    request: Ruma<get_profile::v3::Request>,
) -> Result<Json<Map<String, Value>>, ApiError> {
    let user = &request.body.user_id;
    if let Some(profile) = remote_profile(&state, user).await? {
        return Ok(Json((*profile).clone()));
    }
    let Profile { displayname, avatar_url } = state.accounts.profile(user).await?.ok_or_else(no_such_user)?;
    let fields = state.accounts.profile_fields(user).await?.ok_or_else(no_such_user)?;
    let mut profile = Map::new();
    for (key, value) in fields {
        profile.insert(key, read(&value)?);
    }
    profile.extend(displayname.map(|name| ("displayname".to_owned(), name.into())));
    profile.extend(avatar_url.map(|url| ("avatar_url".to_owned(), url.into())));
    Ok(Json(profile))
}

fn read(value: &RawJsonValue) -> Result<Value, ApiError> {
    serde_json::from_str(value.get()).map_err(|error| ApiError::internal(&error))
}

async fn get_field(
    State(state): State<ClientState>,
    request: Ruma<Field<get_profile_field::v3::Request>>,
) -> Result<Json<ProfileFields>, ApiError> {
    let Field { user_id, key, .. } = request.body;
    if let Some(profile) = remote_profile(&state, &user_id).await? {
        let value = profile.get(&key).ok_or_else(|| no_such_field(&key))?;
        let value = to_raw_value(value).map_err(|error| ApiError::internal(&error))?;
        return Ok(Json(ProfileFields::from([(key, value)])));
    }
    let value = match key.as_str() {
        "displayname" | "avatar_url" => {
            let profile = state.accounts.profile(&user_id).await?.ok_or_else(no_such_user)?;
            let value = if key == "displayname" { profile.displayname } else { profile.avatar_url };
            let value = value.map(|value| to_raw_value(&value)).transpose();
            value.map_err(|error| ApiError::internal(&error))?
        }
        _ => state.accounts.profile_fields(&user_id).await?.ok_or_else(no_such_user)?.remove(&key),
    };
    let value = value.ok_or_else(|| no_such_field(&key))?;
    Ok(Json(ProfileFields::from([(key, value)])))
}

async fn set_field(
    State(state): State<ClientState>,
    request: Ruma<Field<set_profile_field::v3::Request>>,
) -> Result<Json<Map<String, Value>>, ApiError> {
    let Ruma { body: Field { user_id, key, .. }, session, json, .. } = request;
    may_change(&state, &session, &user_id)?;
    let mut body: ProfileFields = serde_json::from_slice(&json)
        .map_err(|error| ApiError::bad_json(format!("The request body is wrong: {error}.")))?;
    let Some(value) = body.remove(&key) else {
        return Err(ApiError::missing_param(format!("`{key}` is missing.")));
    };
    change(&state, &session, &key, Some(value)).await
}

async fn delete_field(
    State(state): State<ClientState>,
    request: Ruma<Field<delete_profile_field::v3::Request>>,
) -> Result<Json<Map<String, Value>>, ApiError> {
    let Ruma { body: Field { user_id, key, .. }, session, .. } = request;
    may_change(&state, &session, &user_id)?;
    change(&state, &session, &key, None).await
}

async fn change(
    state: &ClientState,
    session: &Session,
    key: &str,
    value: Option<Box<RawJsonValue>>,
) -> Result<Json<Map<String, Value>>, ApiError> {
    let user = &session.user;
    if !matches!(key, "displayname" | "avatar_url") {
        if session.guest {
            return Err(ApiError::forbidden("Guests can only set their displayname."));
        }
        state.accounts.set_profile_field(user, key, value.as_deref()).await?;
        return Ok(Json(Map::new()));
    }
    let text = value.map(|value| serde_json::from_str::<Option<String>>(value.get())).transpose();
    let text = text.map_err(|error| ApiError::bad_json(format!("`{key}` is wrong: {error}.")))?;
    // Clients unset a name by making it empty, and by `null`.
    let text = text.flatten().filter(|text| !text.is_empty());
    match key {
        "displayname" => state.accounts.set_displayname(user, text.as_deref()).await?,
        _ => state.accounts.set_avatar_url(user, text.as_deref().map(<&MxcUri>::from)).await?,
    };
    carry_into_rooms(state, session).await?;
    Ok(Json(Map::new()))
}

fn may_change(state: &ClientState, session: &Session, user: &UserId) -> Result<(), ApiError> {
    owner(session, user)?;
    unsuspended(session)?;
    state.limits.take(Class::Account, session.nid)
}

async fn carry_into_rooms(state: &ClientState, session: &Session) -> Result<(), ApiError> {
    let memberships = state.rooms.memberships(UserNid::new(session.nid.get())).await.map_err(error::of_room)?;
    let joined = memberships.into_iter().filter(|entry| entry.membership == Membership::Join);
    let mut first: Vec<_> = joined.map(|entry| entry.room).collect();
    let rest = first.split_off(first.len().min(ROOMS_WAITED_FOR_MAX));
    let (accounts, user) = (state.accounts.clone(), session.user.clone());
    let current: ProfileSource = Arc::new(move || {
        let (accounts, user) = (accounts.clone(), user.clone());
        async move {
            let Profile { displayname, avatar_url } = accounts.profile(&user).await.ok().flatten()?;
            Some(MemberProfile { displayname, avatar_url })
        }
        .boxed()
    });
    state.rooms.carry_profile(&session.user, &first, &current).await.map_err(error::of_room)?;
    if !rest.is_empty() {
        let (rooms, user) = (state.rooms.clone(), session.user.clone());
        tokio::spawn(async move {
            if let Err(error) = rooms.carry_profile(&user, &rest, &current).await {
                tracing::warn!(%error, "a profile could not be carried into all rooms");
            }
        });
    }
    Ok(())
}
