//! Profiles of users of other servers (server-server API, `GET /_matrix/federation/v1/query/profile`).
//!
//! Clients ask for the same profile again and again while they draw a room, so an answer is good for a little while,
//! and those who ask at the same time share one request.

use std::{sync::Arc, time::Duration};

use http::StatusCode;
use quick_cache::{Weighter, sync::Cache};
use ruma::{OwnedUserId, UserId, api::federation::query::get_profile_information::v1 as query};
use serde_json::{Map, Value};
use wardroom_clock::SharedClock;

use crate::{Limits, PartnerError, Partners, Parts};

/// How long a profile is good, in milliseconds.
const FRESH_MS: u64 = 10 * 1_000;
/// How long it is believed that there is none, or that its server does not answer, in milliseconds.
const FAILURE_MS: u64 = 5 * 1_000;
/// Profiles remembered, about.
const PROFILES: usize = 10_000;
/// What they may take in all, in bytes of their JSON, about.
const CACHE_BYTES_MAX: u64 = 16 << 20;
/// Longest answer: the specification's limit of a profile, and something for its spelling.
const ANSWER_BYTES_MAX: usize = 128 * 1_024;
/// How long a server may take: somebody looks at a screen.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The fields of a profile.
pub type RemoteProfile = Arc<Map<String, Value>>;

/// Why the profile of another server's user cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// There is no such user, or no profile.
    #[error("There is no such user on that server.")]
    NotFound,
    /// Their server does not tell, or this server does not speak to it.
    #[error("That server does not tell this one about its users.")]
    Forbidden,
    /// Their server cannot be reached, or its answer makes no sense.
    #[error("The user's server could not be asked for the profile.")]
    Failed,
}

#[derive(Clone, Debug)]
struct Known {
    answer: Result<RemoteProfile, ProfileError>,
    until_ms: u64,
    bytes: u64,
}

#[derive(Clone, Debug)]
struct Bytes;

impl Weighter<OwnedUserId, Known> for Bytes {
    fn weight(&self, user: &OwnedUserId, known: &Known) -> u64 {
        known.bytes + user.as_str().len() as u64 + 100
    }
}

/// Profiles of users of other servers. Clones are cheap.
#[derive(Clone, Debug)]
pub struct RemoteProfiles(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    partners: Partners,
    clock: SharedClock,
    known: Cache<OwnedUserId, Known, Bytes>,
}

impl RemoteProfiles {
    pub(crate) fn new(parts: &Parts, partners: &Partners) -> Self {
        let known = Cache::with_weighter(PROFILES, CACHE_BYTES_MAX, Bytes);
        Self(Arc::new(Inner { partners: partners.clone(), clock: Arc::clone(&parts.clock), known }))
    }

    /// The profile of another server's user, without the fields that are not set.
    ///
    /// # Errors
    /// As [`ProfileError`] says.
    pub async fn profile(&self, user: &UserId) -> Result<RemoteProfile, ProfileError> {
        let inner = &self.0;
        loop {
            match inner.known.get_value_or_guard_async(user).await {
                Ok(known) if inner.clock.now_ms() < known.until_ms => return known.answer,
                Ok(stale) => drop(inner.known.remove_if(user, |known| known.until_ms == stale.until_ms)),
                Err(guard) => {
                    let known = inner.ask(user).await;
                    let answer = known.answer.clone();
                    // Somebody removed the place meanwhile: then the next one asks again.
                    let _ = guard.insert(known);
                    return answer;
                }
            }
        }
    }
}

impl Inner {
    async fn ask(&self, user: &UserId) -> Known {
        let limits = Limits { timeout: TIMEOUT, answer_bytes_max: ANSWER_BYTES_MAX, ignore_backoff: false };
        let request = query::Request::new(user.to_owned());
        let asked = self.partners.request(user.server_name(), request, limits).await;
        let answer = asked.map(|response| Arc::new(cleaned(response))).map_err(|error| failure(&error));
        let fresh_ms = if answer.is_ok() { FRESH_MS } else { FAILURE_MS };
        let bytes = answer.as_ref().map_or(0, |profile| size(profile));
        Known { answer, until_ms: self.clock.now_ms() + fresh_ms, bytes }
    }
}

fn failure(error: &PartnerError) -> ProfileError {
    match error {
        PartnerError::Refused { errcode, .. } if errcode == "M_UNRECOGNIZED" => ProfileError::Failed,
        PartnerError::Refused { status: StatusCode::NOT_FOUND, .. } => ProfileError::NotFound,
        PartnerError::Refused { status: StatusCode::FORBIDDEN, .. } | PartnerError::Denied(_) => {
            ProfileError::Forbidden
        }
        _ => ProfileError::Failed,
    }
}

/// What clients are shown of an answer: nothing that is null, and name and picture only where they are texts.
fn cleaned(response: query::Response) -> Map<String, Value> {
    let shown = |(key, value): &(String, Value)| match key.as_str() {
        "displayname" | "avatar_url" => value.as_str().is_some_and(|text| !text.is_empty()),
        _ => !value.is_null(),
    };
    response.into_iter().filter(shown).collect()
}

fn size(profile: &Map<String, Value>) -> u64 {
    // What a value takes in memory is some times its text.
    let bytes: usize = profile.iter().map(|(key, value)| key.len() + 4 * value.to_string().len() + 100).sum();
    bytes as u64
}

#[cfg(test)]
mod tests {
    use ruma::owned_server_name;
    use serde_json::json;

    use super::*;

    #[test]
    fn clients_are_shown_what_is_set() {
        let fields = [
            ("displayname", json!("Dr. Ada")),
            ("avatar_url", json!(7)),
            ("m.tz", Value::Null),
            ("org.example.ward", json!({"beds": 7})),
        ];
        let response = fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        let profile = cleaned(response);
        assert_eq!(Value::Object(profile), json!({"displayname": "Dr. Ada", "org.example.ward": {"beds": 7}}));
    }

    #[test]
    fn failures_are_told_apart() {
        let refused = |status: u16, errcode: &str| PartnerError::Refused {
            status: StatusCode::from_u16(status).unwrap(),
            errcode: errcode.to_owned(),
            message: String::new(),
            body: None,
        };
        assert_eq!(failure(&refused(404, "M_NOT_FOUND")), ProfileError::NotFound);
        assert_eq!(failure(&refused(404, "M_UNRECOGNIZED")), ProfileError::Failed);
        assert_eq!(failure(&refused(403, "M_FORBIDDEN")), ProfileError::Forbidden);
        assert_eq!(failure(&refused(500, "")), ProfileError::Failed);
        assert_eq!(failure(&PartnerError::Denied(owned_server_name!("b.example"))), ProfileError::Forbidden);
        assert_eq!(failure(&PartnerError::BackingOff), ProfileError::Failed);
    }
}
