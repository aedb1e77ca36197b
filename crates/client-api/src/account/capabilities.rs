//! `GET /_matrix/client/v3/capabilities` (client-server API, section "Capabilities negotiation").

use axum::{Json, extract::State};
use ruma::api::client::discovery::get_capabilities::v3::Request;
use serde_json::{Map, Value, json};
use wardroom_event::RoomVersion;
use wardroom_web::{ApiError, Routes, Ruma};

use super::interactive_auth::has_only_single_sign_on;
use crate::ClientState;

pub(crate) fn routes() -> Routes<ClientState> {
    Routes::new().endpoint(get_capabilities)
}

async fn get_capabilities(State(state): State<ClientState>, request: Ruma<Request>) -> Result<Json<Value>, ApiError> {
    let versions: Map<String, Value> =
        RoomVersion::ALL.iter().map(|version| (version.id().to_string(), "stable".into())).collect();
    let delayed = state.settings.delayed_events;
    // By hand: ruma leaves out what is the default, and some clients take what is missing for "no".
    let mut capabilities = json!({
        "m.change_password": { "enabled": !has_only_single_sign_on(&state, &request.session).await? },
        "m.room_versions": { "default": state.rooms.default_version(), "available": versions },
        "m.profile_fields": { "enabled": true },
        "m.set_displayname": { "enabled": true },
        "m.set_avatar_url": { "enabled": true },
        "m.3pid_changes": { "enabled": false },
        "m.get_login_token": { "enabled": true },
        "org.matrix.msc4140.delayed_events": {
            "max_delay_ms": u64::try_from(delayed.max_delay.as_millis()).unwrap_or(u64::MAX),
            "max_scheduled": delayed.max_per_user,
        },
    });
    if request.session.admin {
        capabilities["m.account_moderation"] = json!({ "lock": true, "suspend": true });
    }
    Ok(Json(json!({ "capabilities": capabilities })))
}
