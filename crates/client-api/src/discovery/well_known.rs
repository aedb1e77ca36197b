//! `GET /.well-known/matrix/client` (client-server API, section "Well-known URIs").

use axum::{Json, extract::State};
use ruma::api::client::discovery::discover_homeserver::Request;
use serde_json::{Value, json};
use wardroom_web::{ApiError, Routes, Ruma};

use crate::{ClientState, calls};

pub(crate) fn routes() -> Routes<ClientState> {
    Routes::new().endpoint(discover_homeserver)
}

/// Element Call before the endpoint for transports looks for them here.
async fn discover_homeserver(
    State(state): State<ClientState>,
    _request: Ruma<Request>,
) -> Result<Json<Value>, ApiError> {
    let mut found = json!({ "m.homeserver": { "base_url": state.settings.public_url } });
    let transports = calls::meeting_points(&state);
    if !transports.is_empty() {
        found["org.matrix.msc4143.rtc_foci"] = transports.into();
    }
    Ok(Json(found))
}
