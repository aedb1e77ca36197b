//! Witnesses of the audit trail: `GET /_wardroom/federation/v1/audit/checkpoint?from=`, what this server's trail is, with the
//! proof that it continues what it was, and `POST /_wardroom/federation/v1/audit/cosignature`, what a witness says of it
//! (C2SP `tlog-cosignature`). For the servers that are named as witnesses alone, and all that they get are hashes.

use axum::{Json, extract::State};
use http::StatusCode;
use ruma::api::error::ErrorKind;
use serde_json::{Value, json};
use wardroom_audit::{AuditError, Shown};
use wardroom_federation::WitnessError;
use wardroom_web::{ApiError, Routes};

use crate::{
    FederationState, Signed,
    requests::{NewCheckpoint, NewCosignature},
    signed::SignedRoutes as _,
};

/// Largest body: a key and a signature.
const BODY_BYTES_MAX: usize = 32 * 1_024;

pub(crate) fn routes() -> Routes<FederationState> {
    Routes::new().signed(checkpoint).signed_up_to(BODY_BYTES_MAX, cosignature)
}

async fn checkpoint(
    State(state): State<FederationState>,
    Signed { origin, body: asked, .. }: Signed<NewCheckpoint>,
) -> Result<Json<Shown>, ApiError> {
    let shown = state.federation.witness.show(&origin, asked.from).await.map_err(told)?;
    Ok(Json(shown.ok_or_else(|| ApiError::not_found("There is no checkpoint yet."))?))
}

async fn cosignature(
    State(state): State<FederationState>,
    Signed { origin, body: said, .. }: Signed<NewCosignature>,
) -> Result<Json<Value>, ApiError> {
    state.federation.witness.take(&origin, &said.0).await.map_err(told)?;
    Ok(Json(json!({})))
}

#[expect(clippy::needless_pass_by_value, reason = "made for map_err")]
fn told(error: WitnessError) -> ApiError {
    match &error {
        WitnessError::NoWitness | WitnessError::KeyChanged => ApiError::forbidden(error.to_string()),
        WitnessError::Refused(why) => ApiError::new(StatusCode::BAD_REQUEST, ErrorKind::InvalidParam, *why),
        WitnessError::Audit(AuditError::DiskFull) => ApiError::disk_full(),
        WitnessError::Audit(error) => ApiError::internal(error),
    }
}
