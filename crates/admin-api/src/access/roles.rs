//! `GET /_wardroom/admin/v1/roles` and `GET /_wardroom/admin/v1/role_holders`: which roles there are and who has them.

use axum::Json;
use ruma::OwnedUserId;
use serde_json::{Value, json};
use wardroom_accounts::AdminScope::Users;
use wardroom_care::Requirement;
use wardroom_web::ApiError;

use crate::{
    AdminState,
    endpoint::{Asked, Endpoints},
};

const ROLES: &str = "/_wardroom/admin/v1/roles";
const HOLDERS: &str = "/_wardroom/admin/v1/role_holders";

pub(super) fn endpoints() -> Endpoints {
    Endpoints::new().get(ROLES, Users, "Lists the roles that somebody has now, with how many.", list).get(
        HOLDERS,
        Users,
        "Lists who has a role now that meets `requirement`, after the user in `from`.",
        holders,
    )
}

async fn list(state: AdminState, _: Asked) -> Result<Json<Value>, ApiError> {
    let roles = state.care.roles().in_use().into_iter();
    let roles: Vec<Value> =
        roles.map(|(role, holders)| json!({ "role": role.to_string(), "holders": holders })).collect();
    Ok(Json(json!({ "roles": roles })))
}

async fn holders(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    let requirement = Requirement::parse(asked.get("requirement").unwrap_or_default())
        .map_err(|error| ApiError::invalid_param(format!("requirement: {error}.")))?;
    let after = asked.get("from").map(OwnedUserId::try_from).transpose();
    let after = after.map_err(|_| ApiError::invalid_param("from: this is no user id."))?;
    let (_, limit) = match after {
        Some(_) => (0, asked.number("limit")?.map_or(100, |limit| usize::try_from(limit).unwrap_or(1_000).min(1_000))),
        None => asked.page()?,
    };
    let users = state.care.roles().holders_of(&requirement, after.as_deref(), limit);
    let next = users.last().filter(|_| users.len() == limit).cloned();
    Ok(Json(json!({ "users": users, "next_token": next })))
}
