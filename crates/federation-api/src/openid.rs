//! `GET /_matrix/federation/v1/openid/userinfo`
//! ([spec](https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1openiduserinfo)). Services ask here, not
//! servers, so nothing is signed.

use axum::{
    Json,
    extract::{Query, State},
};
use http::{Method, StatusCode};
use ruma::api::{
    Metadata, error::ErrorKind, federation::openid::get_openid_userinfo::v1, path_builder::PathBuilder as _,
};
use serde_json::{Value, json};
use wardroom_web::{ApiError, Routes};

use crate::FederationState;

/// Longest token that is looked for, in bytes. Those of this server are much shorter.
const TOKEN_BYTES_MAX: usize = 1_000;

pub(crate) fn routes() -> Routes<FederationState> {
    let mut routes = Routes::new();
    for path in v1::Request::PATH_BUILDER.all_paths() {
        routes = routes.plain(Method::GET, path, userinfo);
    }
    routes
}

async fn userinfo(
    State(state): State<FederationState>,
    query: Result<Query<Vec<(String, String)>>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<Value>, ApiError> {
    let params = query.map(|Query(params)| params).unwrap_or_default();
    let token = params.into_iter().find(|(key, _)| key == "access_token").map(|(_, value)| value);
    // The specification has one answer for every token that is none, also for one that is missing.
    let token = token.filter(|token| token.len() <= TOKEN_BYTES_MAX).ok_or_else(unknown)?;
    let user = state.accounts.openid_user(&token).await?.ok_or_else(unknown)?;
    Ok(Json(json!({ "sub": user })))
}

fn unknown() -> ApiError {
    let sentence = "access_token: it is missing, unknown, or has expired.";
    let kind = ErrorKind::UnknownToken(ruma::api::error::UnknownTokenErrorData::new());
    ApiError::new(StatusCode::UNAUTHORIZED, kind, sentence)
}
