//! `/_synapse/admin/v1/registration_tokens` and below.

use axum::Json;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use wardroom_accounts::{AdminScope::Users, RegistrationToken, new_registration_token};
use wardroom_web::ApiError;

use crate::{
    AdminState,
    endpoint::{Asked, Endpoints},
};

/// One token.
const TOKEN: &str = "/_synapse/admin/v1/registration_tokens/{token}";

pub(crate) fn endpoints() -> Endpoints {
    Endpoints::new()
        .get("/_synapse/admin/v1/registration_tokens", Users, "Lists registration tokens.", list)
        .post("/_synapse/admin/v1/registration_tokens/new", Users, "Gives out a registration token.", make)
        .get(TOKEN, Users, "Tells of one registration token.", show)
        .put(TOKEN, Users, "Changes how often and until when a registration token is good.", change)
        .delete(TOKEN, Users, "Takes a registration token back.", delete)
}

/// What a field says that may be left out, be `null`, or have a value.
fn said<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Option<u64>>, D::Error> {
    Option::deserialize(value).map(Some)
}

#[derive(Deserialize)]
struct Limits {
    #[serde(default, deserialize_with = "said")]
    uses_allowed: Option<Option<u64>>,
    #[serde(default, deserialize_with = "said")]
    expiry_time: Option<Option<u64>>,
}

impl Limits {
    fn check(&self, now_ms: u64) -> Result<(), ApiError> {
        if self.expiry_time.flatten().is_some_and(|until_ms| until_ms < now_ms) {
            return Err(ApiError::invalid_param("expiry_time: is in the past."));
        }
        Ok(())
    }
}

fn no_such_token() -> ApiError {
    ApiError::not_found("token: there is no such registration token.")
}

async fn list(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    let (valid, now_ms) = (asked.flag("valid")?, state.accounts.now_ms());
    let mut tokens = state.accounts.registration_tokens().await?;
    tokens.retain(|token| valid.is_none_or(|valid| token.is_valid(now_ms) == valid));
    tokens.sort_by(|a, b| a.token.cmp(&b.token));
    Ok(Json(json!({ "registration_tokens": tokens })))
}

async fn make(state: AdminState, asked: Asked) -> Result<Json<RegistrationToken>, ApiError> {
    #[derive(Deserialize)]
    struct Body {
        #[serde(default)]
        token: Option<String>,
        #[serde(default)]
        length: Option<u64>,
        #[serde(flatten)]
        limits: Limits,
    }
    let Body { token, length, limits } = asked.body()?;
    limits.check(state.accounts.now_ms())?;
    let token = match token {
        Some(token) => token,
        None => new_registration_token(length)?,
    };
    let token = RegistrationToken {
        token,
        uses_allowed: limits.uses_allowed.flatten(),
        pending: 0,
        completed: 0,
        expiry_time: limits.expiry_time.flatten(),
    };
    state.accounts.add_registration_token(token.clone()).await?;
    Ok(Json(token))
}

async fn show(state: AdminState, asked: Asked) -> Result<Json<RegistrationToken>, ApiError> {
    let token = state.accounts.registration_token(asked.part(0)).await?;
    token.map(Json).ok_or_else(no_such_token)
}

async fn change(state: AdminState, asked: Asked) -> Result<Json<RegistrationToken>, ApiError> {
    let limits: Limits = asked.body()?;
    limits.check(state.accounts.now_ms())?;
    let change = |token: &mut RegistrationToken| {
        if let Some(uses) = limits.uses_allowed {
            token.uses_allowed = uses;
        }
        if let Some(until_ms) = limits.expiry_time {
            token.expiry_time = until_ms;
        }
    };
    let token = state.accounts.change_registration_token(asked.part(0), change).await?;
    token.map(Json).ok_or_else(no_such_token)
}

async fn delete(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    match state.accounts.delete_registration_token(asked.part(0)).await? {
        true => Ok(Json(json!({}))),
        false => Err(no_such_token()),
    }
}
