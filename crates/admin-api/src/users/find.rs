//! Finding an account: `GET /_synapse/admin/v1/username_available`, `v1/threepid/{medium}/users/{address}` and
//! `v1/auth_providers/{provider}/users/{id}`.

use axum::Json;
use serde_json::{Value, json};
use wardroom_accounts::{AdminScope::Users, Identity, canonical_address};
use wardroom_web::ApiError;

use crate::{
    AdminState,
    endpoint::{Asked, Endpoints, no_such_user},
};

pub(super) fn endpoints() -> Endpoints {
    Endpoints::new()
        .get("/_synapse/admin/v1/username_available", Users, "Tells whether a user name is free.", available)
        .get(
            "/_synapse/admin/v1/threepid/{medium}/users/{address}",
            Users,
            "Finds the user who has an e-mail address or telephone number.",
            by_address,
        )
        .get(
            "/_synapse/admin/v1/auth_providers/{provider}/users/{external_id}",
            Users,
            "Finds the user who has an identity at another provider.",
            by_identity,
        )
}

async fn available(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    let name = asked.get("username").ok_or_else(|| ApiError::missing_param("`username` is missing."))?;
    state.accounts.check_username(name).await?;
    Ok(Json(json!({ "available": true })))
}

async fn by_address(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    let address = canonical_address(asked.part(0), asked.part(1))?;
    owner(&state, Identity::ThirdParty(asked.part(0), &address)).await
}

async fn by_identity(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    owner(&state, Identity::External(asked.part(0), asked.part(1))).await
}

async fn owner(state: &AdminState, identity: Identity<'_>) -> Result<Json<Value>, ApiError> {
    let nid = state.accounts.identity_owner(identity).await?.ok_or_else(no_such_user)?;
    let user = state.accounts.user_by_nid(nid).await?.ok_or_else(no_such_user)?;
    Ok(Json(json!({ "user_id": user.id })))
}
