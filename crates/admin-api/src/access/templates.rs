//! `/_wardroom/admin/v1/policy_templates`: access policies that new rooms get by themselves.

use axum::Json;
use serde_json::{Value, json};
use wardroom_accounts::AdminScope::Rooms;
use wardroom_care::Template;
use wardroom_web::ApiError;

use crate::{
    AdminState,
    endpoint::{Asked, Endpoints},
    error,
};

const TEMPLATES: &str = "/_wardroom/admin/v1/policy_templates";
const TEMPLATE: &str = "/_wardroom/admin/v1/policy_templates/{name}";

pub(super) fn endpoints() -> Endpoints {
    Endpoints::new()
        .get(TEMPLATES, Rooms, "Lists the policies that new rooms get by themselves.", list)
        .get(TEMPLATE, Rooms, "Shows one of the policies that new rooms get by themselves.", show)
        .put(TEMPLATE, Rooms, "Has new rooms of a type, by makers with a role or with an alias get a policy.", set)
        .delete(TEMPLATE, Rooms, "Ends that new rooms get a policy by themselves.", remove)
}

async fn list(state: AdminState, _: Asked) -> Result<Json<Value>, ApiError> {
    Ok(Json(json!({ "templates": state.care.templates().all() })))
}

async fn show(state: AdminState, asked: Asked) -> Result<Json<Template>, ApiError> {
    state.care.templates().get(asked.part(0)).map(Json).ok_or_else(no_such_template)
}

async fn set(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    state.care.set_template(asked.part(0), asked.body()?).await.map_err(error::of_care)?;
    Ok(Json(json!({})))
}

async fn remove(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    if !state.care.remove_template(asked.part(0)).await.map_err(error::of_care)? {
        return Err(no_such_template());
    }
    Ok(Json(json!({})))
}

fn no_such_template() -> ApiError {
    ApiError::not_found("There is no template of this name.")
}
