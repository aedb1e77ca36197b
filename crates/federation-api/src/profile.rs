//! `GET /_matrix/federation/v1/query/profile`
//! ([spec](https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1queryprofile)).

use axum::{Json, extract::State};
use ruma::api::federation::query::get_profile_information::v1;
use serde_json::{Map, Value};
use wardroom_accounts::Profile;
use wardroom_audit::Act;
use wardroom_web::{ApiError, Routes};

use crate::{FederationState, Signed, SignedRoutes as _, disclosures::looked};

pub(crate) fn routes() -> Routes<FederationState> {
    Routes::new().signed(query_profile)
}

async fn query_profile(
    State(state): State<FederationState>,
    Signed { origin, body: request, .. }: Signed<v1::Request>,
) -> Result<Json<Map<String, Value>>, ApiError> {
    let user = &request.user_id;
    if !state.accounts.is_local(user) {
        return Err(ApiError::invalid_param("user_id: this is no user of this server."));
    }
    state.disclose_often(looked(Act::Directory, &origin, "profile").user(user.as_str())).await?;
    let no_such_user = || ApiError::not_found("There is no such user on this server.");
    let Profile { displayname, avatar_url } = state.accounts.profile(user).await?.ok_or_else(no_such_user)?;
    let fields = state.accounts.profile_fields(user).await?.ok_or_else(no_such_user)?;
    let wanted = request.field.as_ref().map(|field| field.as_str());
    let is_wanted = |key: &str| wanted.is_none_or(|wanted| wanted == key);
    let mut profile = Map::new();
    for (key, value) in fields.into_iter().filter(|(key, _)| is_wanted(key)) {
        let value = serde_json::from_str(value.get()).map_err(|error| ApiError::internal(&error))?;
        profile.insert(key, value);
    }
    let own = [("displayname", displayname), ("avatar_url", avatar_url)];
    let own = own.into_iter().filter(|(key, _)| is_wanted(key));
    profile.extend(own.filter_map(|(key, value)| Some((key.to_owned(), value?.into()))));
    match wanted {
        Some(key) if profile.is_empty() && !matches!(key, "displayname" | "avatar_url") => {
            Err(ApiError::not_found(format!("The user has no {key}.")))
        }
        _ => Ok(Json(profile)),
    }
}
