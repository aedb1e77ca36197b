//! `[turn]` and `[rtc]`

use serde::{Deserialize, Serialize};

/// Longest life of TURN passwords: a day.
const LIFETIME_SECONDS_DEFAULT: u64 = 24 * 60 * 60;

/// TURN servers, over which calls go where devices cannot reach each other.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Turn {
    /// Where they are. Empty: there are none.
    pub(crate) uris: Vec<String>,
    /// The `static-auth-secret` of coturn, from which passwords are made.
    pub(crate) shared_secret: String,
    /// How long such a password is good, in seconds.
    pub(crate) lifetime_seconds: u64,
    /// Name and password for all, where there is no shared secret.
    pub(crate) username: String,
    pub(crate) password: String,
}

impl Default for Turn {
    fn default() -> Self {
        Self {
            uris: Vec::new(),
            shared_secret: String::new(),
            lifetime_seconds: LIFETIME_SECONDS_DEFAULT,
            username: String::new(),
            password: String::new(),
        }
    }
}

impl Turn {
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.uris.iter().any(|uri| !uri.starts_with("turn:") && !uri.starts_with("turns:")) {
            problems.push("turn.uris: each must begin with turn: or turns:".to_owned());
        }
        if self.lifetime_seconds == 0 {
            problems.push("turn.lifetime_seconds: must be at least 1".to_owned());
        }
        let fixed = !self.username.is_empty() && !self.password.is_empty();
        if !(self.shared_secret.is_empty() || self.username.is_empty() && self.password.is_empty()) {
            problems.push("turn: give shared_secret, or username and password, not both".to_owned());
        } else if !self.uris.is_empty() && self.shared_secret.is_empty() && !fixed {
            problems.push("turn: uris need a shared_secret, or a username and a password".to_owned());
        }
        problems
    }
}

/// Where group calls meet.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Rtc {
    /// Transports, the preferred one first.
    pub(crate) transport: Vec<Transport>,
}

/// A transport of group calls.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Transport {
    /// What it is; LiveKit is what clients know.
    #[serde(rename = "type")]
    pub(crate) kind: TransportKind,
    /// Where its authorization service is.
    pub(crate) livekit_service_url: String,
}

/// Kinds of transports.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum TransportKind {
    Livekit,
}

impl Rtc {
    pub(super) fn problems(&self) -> Option<String> {
        let is_url = |transport: &Transport| {
            ["https://", "http://"].iter().any(|scheme| transport.livekit_service_url.starts_with(scheme))
        };
        let wrong = !self.transport.iter().all(is_url);
        wrong.then(|| "rtc.transport: livekit_service_url must begin with https:// or http://".to_owned())
    }
}
