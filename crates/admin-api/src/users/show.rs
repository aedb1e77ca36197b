//! `GET /_synapse/admin/v2/users/{user}`, `v1/users/{user}/admin` and `v1/whois/{user}`.

use axum::Json;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use wardroom_accounts::{AdminScope::Users, ExternalId, Identities, ThirdPartyId, User};
use wardroom_web::ApiError;

use super::Common;
use crate::{
    AdminState,
    endpoint::{Asked, Endpoints, no_such_user},
};

pub(super) fn endpoints() -> Endpoints {
    Endpoints::new()
        .get("/_synapse/admin/v2/users/{user_id}", Users, "Tells of one account.", show)
        .get("/_synapse/admin/v1/users/{user_id}/admin", Users, "Tells whether a user is an administrator.", is_admin)
        .put(
            "/_synapse/admin/v1/users/{user_id}/admin",
            Users,
            "Makes a user an administrator, or ends that; takes every scope.",
            set_admin,
        )
        .get("/_synapse/admin/v1/whois/{user_id}", Users, "Tells where a user is signed in.", whois)
}

#[derive(Serialize)]
pub(super) struct Shown {
    #[serde(flatten)]
    common: Common,
    threepids: Vec<ThirdPartyId>,
    external_ids: Vec<ExternalId>,
    appservice_id: Option<String>,
    consent_server_notice_sent: Option<String>,
    consent_version: Option<String>,
    consent_ts: Option<u64>,
}

pub(super) async fn shown(state: &AdminState, user: &User) -> Result<Shown, ApiError> {
    let listed = state.accounts.listed_user(user.nid).await?.ok_or_else(no_such_user)?;
    let Identities { threepids, external_ids, .. } = state.accounts.identities(user.nid).await?;
    Ok(Shown {
        common: Common::of(state, listed).await?,
        threepids,
        external_ids,
        appservice_id: None,
        consent_server_notice_sent: None,
        consent_version: None,
        consent_ts: None,
    })
}

async fn show(state: AdminState, asked: Asked) -> Result<Json<Shown>, ApiError> {
    let user = asked.local_user(&state, 0).await?;
    Ok(Json(shown(&state, &user).await?))
}

async fn is_admin(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    let user = asked.local_user(&state, 0).await?;
    Ok(Json(json!({ "admin": user.admin })))
}

async fn set_admin(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    #[derive(Deserialize)]
    struct Body {
        admin: bool,
    }
    let Body { admin } = asked.body()?;
    asked.unrestricted()?;
    let user = asked.local_user(&state, 0).await?;
    if user.nid == asked.session.nid && !admin {
        return Err(ApiError::invalid_param("admin: You may not demote yourself."));
    }
    state.accounts.set_admin(&user.id, admin).await?;
    Ok(Json(json!({})))
}

async fn whois(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    let user = asked.local_user(&state, 0).await?;
    let mut devices = Map::new();
    for device in state.accounts.devices(user.nid).await? {
        let connection = json!({
            "ip": device.last_seen_ip.map(|ip| ip.to_string()),
            "last_seen": device.last_seen_ms,
            "user_agent": null,
        });
        devices.insert(device.id.to_string(), json!({ "sessions": [{ "connections": [connection] }] }));
    }
    Ok(Json(json!({ "user_id": user.id, "devices": devices })))
}
