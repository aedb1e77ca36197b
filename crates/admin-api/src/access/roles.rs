//! `GET /_wardroom/admin/v1/roles` and `GET /_wardroom/admin/v1/role_holders`: which roles there are and who has them.
//! `GET` and `PUT /_wardroom/admin/v1/roles/{role}`: the space of a role.

use std::collections::BTreeMap;

use axum::Json;
use ruma::OwnedUserId;
use serde::Deserialize;
use serde_json::{Value, json};
use wardroom_accounts::AdminScope::Users;
use wardroom_care::{Requirement, SpaceTexts};
use wardroom_web::ApiError;

use crate::{
    AdminState,
    endpoint::{Asked, Endpoints},
    error,
};

const ROLES: &str = "/_wardroom/admin/v1/roles";
const ROLE: &str = "/_wardroom/admin/v1/roles/{role}";
const READMIT: &str = "/_wardroom/admin/v1/roles/{role}/space/readmit";
const HOLDERS: &str = "/_wardroom/admin/v1/role_holders";

pub(super) fn endpoints() -> Endpoints {
    Endpoints::new()
        .get(ROLES, Users, "Lists the roles that somebody has now, with how many, and those that are spaces.", list)
        .get(ROLE, Users, "Shows how many have a role, or meet a requirement, and the space of it.", show)
        .put(ROLE, Users, "Has those who have a role, or meet a requirement, be the members of a space (`space`).", set)
        .post(READMIT, Users, "Brings somebody into the space of a role again who has left it (`user_id`).", readmit)
        .get(HOLDERS, Users, "Lists who has a role now that meets `requirement`, after the user in `from`.", holders)
}

async fn list(state: AdminState, _: Asked) -> Result<Json<Value>, ApiError> {
    let in_use = state.care.roles().in_use().into_iter();
    let mut roles: BTreeMap<String, Value> = in_use
        .map(|(role, holders)| (role.to_string(), json!({ "role": role.to_string(), "holders": holders })))
        .collect();
    for (requirement, room, on) in state.care.space_rooms().await.map_err(error::of_care)? {
        let name = requirement.to_string();
        let role = roles.entry(name).or_insert_with_key(|name| {
            let holders = state.care.roles().holders_of(&requirement, None, usize::MAX).len();
            json!({ "role": name, "holders": holders })
        });
        role["space"] = on.into();
        role["space_room_id"] = room.as_str().into();
    }
    Ok(Json(json!({ "roles": roles.into_values().collect::<Vec<_>>() })))
}

/// The requirement in the path.
fn requirement(asked: &Asked) -> Result<Requirement, ApiError> {
    Requirement::parse(asked.part(0)).map_err(|error| ApiError::invalid_param(format!("role: {error}.")))
}

async fn show(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    shown(&state, &requirement(&asked)?).await
}

async fn shown(state: &AdminState, requirement: &Requirement) -> Result<Json<Value>, ApiError> {
    let space = state.care.space(requirement).await.map_err(error::of_care)?;
    let mut shown = serde_json::to_value(space).map_err(|error| ApiError::internal(&error))?;
    if shown.is_null() {
        shown = json!({ "space": false });
    }
    shown["role"] = requirement.to_string().into();
    shown["holders"] = state.care.roles().holders_of(requirement, None, usize::MAX).len().into();
    Ok(Json(shown))
}

async fn set(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    #[derive(Deserialize)]
    struct Body {
        space: bool,
        name: Option<String>,
        topic: Option<String>,
    }
    let (requirement, Body { space, name, topic }) = (requirement(&asked)?, asked.body()?);
    state.care.set_space(&requirement, space, SpaceTexts { name, topic }).await.map_err(error::of_care)?;
    shown(&state, &requirement).await
}

async fn readmit(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    #[derive(Deserialize)]
    struct Body {
        user_id: OwnedUserId,
    }
    let (requirement, Body { user_id }) = (requirement(&asked)?, asked.body()?);
    state.care.readmit(&requirement, &user_id).await.map_err(error::of_care)?;
    Ok(Json(json!({})))
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
