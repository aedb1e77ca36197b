//! `[turn]` and `[rtc]`

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

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
        if !self.shared_secret.is_empty() && !(self.username.is_empty() && self.password.is_empty()) {
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
    /// Transports, the preferred one first: a `type`, and what goes with it.
    pub(crate) transport: Vec<Map<String, Value>>,
}

impl Rtc {
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for transport in &self.transport {
            let text = |key: &str| transport.get(key).and_then(Value::as_str);
            match text("type") {
                None | Some("") => problems.push("rtc.transport: each needs a type".to_owned()),
                Some("livekit") if !text("livekit_service_url").is_some_and(|url| url.starts_with("http")) => {
                    problems.push("rtc.transport: livekit needs a livekit_service_url, https://...".to_owned());
                }
                Some(_) => {}
            }
        }
        problems
    }
}
