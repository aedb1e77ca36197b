//! `GET /_matrix/federation/v1/query/{queryType}`: questions of kinds that servers agree on among themselves
//! ([spec](https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1queryquerytype)). This server knows
//! those of the specification, which have paths of their own.

use axum::{Json, extract::State};
use http::StatusCode;
use ruma::api::{error::ErrorKind, federation::query::get_custom_information::v1::Request};
use serde_json::Value;
use wardroom_web::{ApiError, Routes};

use crate::{FederationState, Signed, signed::SignedRoutes as _};

pub(crate) fn routes() -> Routes<FederationState> {
    Routes::new().signed(query)
}

async fn query(State(_): State<FederationState>, _: Signed<Request>) -> Result<Json<Value>, ApiError> {
    let sentence = "queryType: this server answers questions about profile and directory only.";
    Err(ApiError::new(StatusCode::NOT_FOUND, ErrorKind::Unrecognized, sentence))
}
