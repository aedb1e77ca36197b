//! `PUT /_synapse/admin/v2/users/{user}`: makes an account, or changes it.

use axum::{Json, response::IntoResponse};
use http::StatusCode;
use ruma::MxcUri;
use serde::{Deserialize, Deserializer};
use wardroom_accounts::{
    AccountError, AdminScope::Users, ExternalId, Identities, LogoutDevices, ThirdPartyId, User, canonical_address,
};
use wardroom_rooms::UserNid;
use wardroom_web::ApiError;

use super::{close, show};
use crate::{
    AdminState,
    endpoint::{Asked, Endpoints},
    error, profile,
};

pub(super) fn endpoints() -> Endpoints {
    Endpoints::new().put(
        "/_synapse/admin/v2/users/{user_id}",
        Users,
        "Makes an account, or changes one; making administrators takes every scope.",
        change,
    )
}

/// What a field says that may be left out, be `null`, or have a value.
fn said<'de, D: Deserializer<'de>, T: Deserialize<'de>>(value: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(value).map(Some)
}

#[derive(Debug, Deserialize)]
struct Body {
    #[serde(default)]
    password: Option<String>,
    #[serde(default)]
    logout_devices: Option<bool>,
    #[serde(default, deserialize_with = "said")]
    displayname: Option<Option<String>>,
    #[serde(default, deserialize_with = "said")]
    avatar_url: Option<Option<String>>,
    #[serde(default)]
    threepids: Option<Vec<Threepid>>,
    #[serde(default)]
    external_ids: Option<Vec<ExternalId>>,
    #[serde(default)]
    admin: Option<bool>,
    #[serde(default)]
    deactivated: Option<bool>,
    #[serde(default)]
    locked: Option<bool>,
    #[serde(default, deserialize_with = "said")]
    user_type: Option<Option<String>>,
}

#[derive(Debug, Deserialize)]
struct Threepid {
    medium: String,
    address: String,
}

/// Kinds of user that Synapse knows.
const USER_TYPES: [&str; 2] = ["bot", "support"];

async fn change(state: AdminState, asked: Asked) -> Result<impl IntoResponse, ApiError> {
    let (id, body) = (asked.local_id(&state, 0)?, asked.body::<Body>()?);
    check(&body)?;
    let known = state.accounts.user(&id).await?;
    // A user who was no administrator and stays none needs no more than the scope itself.
    if body.admin == Some(true) && !known.as_ref().is_some_and(|user| user.admin) {
        asked.unrestricted()?;
    }
    let (user, status) = match known {
        Some(user) => {
            asked.check_subject(&state, &user).await?;
            (change_known(&state, &asked, user, &body).await?, StatusCode::OK)
        }
        None => (make(&state, id.localpart(), &body).await?, StatusCode::CREATED),
    };
    note(&state, &user, &body).await?;
    let user = state.accounts.user(&user.id).await?.ok_or(AccountError::UnknownUser)?;
    Ok((status, Json(show::shown(&state, &user).await?)))
}

fn check(body: &Body) -> Result<(), ApiError> {
    if let Some(Some(kind)) = &body.user_type
        && !USER_TYPES.contains(&kind.as_str())
    {
        return Err(ApiError::invalid_param("user_type: must be bot, support or null."));
    }
    if body.deactivated == Some(true) && body.admin == Some(true) {
        return Err(ApiError::invalid_param("deactivated: an administrator cannot be a deactivated account."));
    }
    for id in body.threepids.iter().flatten() {
        canonical_address(&id.medium, &id.address)?;
    }
    if let Some(Some(url)) = &body.avatar_url
        && !url.is_empty()
        && !<&MxcUri>::from(url.as_str()).is_valid()
    {
        return Err(ApiError::invalid_param("avatar_url: is not an mxc:// URI"));
    }
    Ok(())
}

async fn make(state: &AdminState, localpart: &str, body: &Body) -> Result<User, ApiError> {
    let admin = body.admin.unwrap_or(false);
    let user = state.accounts.create_user(localpart, body.password.as_deref(), admin).await?;
    if let Some(name) = &body.displayname {
        state.accounts.set_displayname(&user.id, filled(name.as_deref())).await?;
    }
    if let Some(url) = &body.avatar_url {
        state.accounts.set_avatar_url(&user.id, filled(url.as_deref()).map(<&MxcUri>::from)).await?;
    }
    if body.locked == Some(true) {
        state.accounts.moderate(&user.id, |moderation| moderation.locked = true).await?;
    }
    if body.deactivated == Some(true) {
        close::close(state, &user, false).await?;
    }
    Ok(user)
}

fn filled(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.is_empty())
}

async fn change_known(state: &AdminState, asked: &Asked, mut user: User, body: &Body) -> Result<User, ApiError> {
    let own = user.nid == asked.session.nid;
    if own && (body.admin == Some(false) || body.deactivated == Some(true) || body.locked == Some(true)) {
        return Err(ApiError::invalid_param("admin, deactivated, locked: You may not take your own account away."));
    }
    if user.deactivated {
        if body.deactivated != Some(false) {
            let other = body.password.is_some() || body.displayname.is_some() || body.admin == Some(true);
            return if other { Err(AccountError::Deactivated.into()) } else { Ok(user) };
        }
        if state.rooms.is_erased_user(UserNid::new(user.nid.get())).await.map_err(error::of_room)? {
            let sentence = "deactivated: this person was erased; the account is not opened again.";
            return Err(ApiError::invalid_param(sentence));
        }
        user = state.accounts.reopen(&user.id, body.password.as_deref()).await?;
    } else if let Some(password) = &body.password {
        let kept = own.then_some(&*asked.session.device);
        let logout = match body.logout_devices {
            Some(false) => LogoutDevices::Keep,
            _ => LogoutDevices::AllBut(kept),
        };
        state.accounts.set_password(&user.id, password, logout).await?;
    }
    let mut shown_otherwise = false;
    if let Some(name) = &body.displayname {
        state.accounts.set_displayname(&user.id, filled(name.as_deref())).await?;
        shown_otherwise = true;
    }
    if let Some(url) = &body.avatar_url {
        state.accounts.set_avatar_url(&user.id, filled(url.as_deref()).map(<&MxcUri>::from)).await?;
        shown_otherwise = true;
    }
    if shown_otherwise {
        profile::carry(state, &user).await?;
    }
    if let Some(admin) = body.admin.filter(|admin| *admin != user.admin) {
        // Restricted administrators do not get to decide who is one.
        asked.unrestricted()?;
        state.accounts.set_admin(&user.id, admin).await?;
    }
    if let Some(locked) = body.locked {
        state.accounts.moderate(&user.id, |moderation| moderation.locked = locked).await?;
    }
    if body.deactivated == Some(true) {
        close::close(state, &user, false).await?;
    }
    Ok(user)
}

/// Notes addresses, identities and the kind of user.
async fn note(state: &AdminState, user: &User, body: &Body) -> Result<(), ApiError> {
    if body.threepids.is_none() && body.external_ids.is_none() && body.user_type.is_none() {
        return Ok(());
    }
    let now_ms = state.accounts.now_ms();
    let mut addresses = Vec::new();
    for id in body.threepids.iter().flatten() {
        let address = canonical_address(&id.medium, &id.address)?;
        let medium = id.medium.clone();
        let new = ThirdPartyId { medium, address, added_at: now_ms, validated_at: now_ms };
        if !addresses.iter().any(|known: &ThirdPartyId| known.medium == new.medium && known.address == new.address) {
            addresses.push(new);
        }
    }
    let mut external_ids = body.external_ids.clone();
    if let Some(ids) = &mut external_ids {
        ids.sort_by(|a, b| (&a.auth_provider, &a.external_id).cmp(&(&b.auth_provider, &b.external_id)));
        ids.dedup();
    }
    let change = |known: &mut Identities| {
        if body.threepids.is_some() {
            let before = std::mem::take(&mut known.threepids);
            known.threepids = addresses.clone();
            for id in &mut known.threepids {
                let same = before.iter().find(|old| old.medium == id.medium && old.address == id.address);
                // Since when an address is known does not change when it is said again.
                if let Some(same) = same {
                    *id = same.clone();
                }
            }
        }
        if let Some(ids) = &external_ids {
            known.external_ids.clone_from(ids);
        }
        if let Some(kind) = &body.user_type {
            known.user_type.clone_from(kind);
        }
    };
    Ok(state.accounts.change_identities(&user.id, change).await?)
}
