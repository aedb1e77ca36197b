//! What calls need of the server: `GET /voip/turnServer`
//! ([spec](https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3voipturnserver)), and where group calls
//! meet ([MSC4143](https://github.com/matrix-org/matrix-spec-proposals/pull/4143)).

use std::fmt;

use axum::{Json, extract::State};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use ruma::{
    UserId,
    api::client::{rtc::transports, voip::get_turn_server_info},
};
use serde_json::{Value, json};
use sha1::Sha1;
use wardroom_web::{ApiError, Routes, Ruma};

use crate::ClientState;

pub(crate) fn routes() -> Routes<ClientState> {
    Routes::new().endpoint(turn_server).endpoint(rtc_transports)
}

/// TURN servers.
#[derive(Clone)]
pub struct TurnServers {
    /// Where they are.
    pub uris: Vec<String>,
    /// Who may use them.
    pub credentials: TurnCredentials,
    /// How long what a client is told is good, in seconds.
    pub lifetime_seconds: u64,
}

/// Who may use TURN servers.
#[derive(Clone)]
pub enum TurnCredentials {
    /// Whoever has a password that was made with this secret, which the servers know too.
    SharedSecret(String),
    /// One name and password for everybody.
    Static {
        /// The name.
        username: String,
        /// The password.
        password: String,
    },
}

impl fmt::Debug for TurnCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TurnCredentials")
    }
}

impl fmt::Debug for TurnServers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TurnServers").field("uris", &self.uris).finish_non_exhaustive()
    }
}

impl TurnServers {
    /// Name and password for a user: with a shared secret, the time at which they end and the user's id, and their
    /// HMAC-SHA1 in base64, as coturn's `use-auth-secret` checks it.
    fn credentials(&self, user: &UserId, now_ms: u64) -> (String, String) {
        match &self.credentials {
            TurnCredentials::Static { username, password } => (username.clone(), password.clone()),
            TurnCredentials::SharedSecret(secret) => {
                let username = format!("{}:{user}", (now_ms / 1_000).saturating_add(self.lifetime_seconds));
                let password = turn_password(secret, &username);
                (username, password)
            }
        }
    }
}

#[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
fn turn_password(secret: &str, username: &str) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).expect("any length");
    mac.update(username.as_bytes());
    BASE64_STANDARD.encode(mac.finalize().into_bytes())
}

async fn turn_server(
    State(state): State<ClientState>,
    request: Ruma<get_turn_server_info::v3::Request>,
) -> Result<Json<Value>, ApiError> {
    let Some(turn) = &state.settings.turn else { return Ok(Json(json!({}))) };
    let (username, password) = turn.credentials(&request.session.user, state.clock.now_ms());
    Ok(Json(json!({
        "username": username,
        "password": password,
        "uris": turn.uris,
        "ttl": turn.lifetime_seconds,
    })))
}

async fn rtc_transports(
    State(state): State<ClientState>,
    _request: Ruma<transports::v1::Request>,
) -> Result<Json<Value>, ApiError> {
    Ok(Json(json!({ "rtc_transports": meeting_points(&state) })))
}

/// Where group calls meet, as clients are told.
pub(crate) fn meeting_points(state: &ClientState) -> Vec<Value> {
    let urls = state.settings.livekit_service_urls.iter();
    urls.map(|url| json!({ "type": "livekit", "livekit_service_url": url })).collect()
}

#[cfg(test)]
mod tests {
    use ruma::user_id;

    use super::{TurnCredentials, TurnServers, turn_password};

    #[test]
    fn passwords_are_those_of_coturn() {
        // printf '1433895918:@alice:hospital-a.example' | openssl dgst -sha1 -hmac 'north' -binary | base64
        let turn = TurnServers {
            uris: Vec::new(),
            credentials: TurnCredentials::SharedSecret("north".to_owned()),
            lifetime_seconds: 100,
        };
        let (username, password) = turn.credentials(user_id!("@alice:hospital-a.example"), 1_433_895_818_999);
        assert_eq!(username, "1433895918:@alice:hospital-a.example");
        assert_eq!(password, "zUhxLDzBRkUn6Hjsw8Psnac2AQI=");
        assert_ne!(turn_password("south", &username), password);
        let credentials = TurnCredentials::Static { username: "a".to_owned(), password: "b".to_owned() };
        let turn = TurnServers { credentials, ..turn };
        assert_eq!(turn.credentials(user_id!("@alice:a.b"), 0), ("a".to_owned(), "b".to_owned()));
    }
}
