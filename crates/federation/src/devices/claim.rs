//! Claiming one-time keys: `POST /keys/claim` of clients, for users of other servers.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use ruma::{
    OneTimeKeyAlgorithm, OwnedDeviceId, OwnedOneTimeKeyId, OwnedServerName, OwnedUserId,
    api::federation::keys::claim_keys::v1 as claim_keys, encryption::OneTimeKey, serde::Raw,
};
use tokio::time::{Instant, timeout_at};

use super::{KEYS_TIMEOUT_MAX, RemoteDevices};
use crate::Limits;

/// Servers that are asked at the same time.
const SERVERS_MAX: usize = 16;
/// Bytes of a server's answer.
const ANSWER_BYTES_MAX: usize = 8 * 1_024 * 1_024;

/// One key each of these devices, of this algorithm.
pub type KeyClaim = BTreeMap<OwnedUserId, BTreeMap<OwnedDeviceId, OneTimeKeyAlgorithm>>;

/// What became of a claim.
#[derive(Clone, Default)]
pub struct KeyClaims {
    /// The keys that were given out, by user, device and key id.
    pub keys: BTreeMap<OwnedUserId, BTreeMap<OwnedDeviceId, BTreeMap<OwnedOneTimeKeyId, Raw<OneTimeKey>>>>,
    /// Servers that did not answer.
    pub failures: BTreeSet<OwnedServerName>,
}

impl fmt::Debug for KeyClaims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyClaims").finish_non_exhaustive()
    }
}

impl RemoteDevices {
    /// Claims keys of devices of users of other servers, within a time of at most [`KEYS_TIMEOUT_MAX`].
    pub async fn claim(&self, wanted: KeyClaim, within: Option<Duration>) -> KeyClaims {
        let within = within.unwrap_or(KEYS_TIMEOUT_MAX).min(KEYS_TIMEOUT_MAX);
        let deadline = Instant::now() + within;
        let mut by_server: BTreeMap<OwnedServerName, KeyClaim> = BTreeMap::new();
        for (user, devices) in wanted {
            by_server.entry(user.server_name().to_owned()).or_default().insert(user, devices);
        }
        let mut claims = KeyClaims { keys: BTreeMap::new(), failures: by_server.keys().cloned().collect() };
        let ask = async |(server, wanted): (OwnedServerName, KeyClaim)| {
            let limits = Limits { timeout: within, answer_bytes_max: ANSWER_BYTES_MAX, ignore_backoff: false };
            let answer = self.0.partners.request(&server, claim_keys::Request::new(wanted.clone()), limits).await;
            (server, wanted, answer)
        };
        let mut asking = std::pin::pin!(stream::iter(by_server).map(ask).buffer_unordered(SERVERS_MAX));
        while let Ok(Some((server, wanted, answer))) = timeout_at(deadline, asking.next()).await {
            match answer {
                Ok(answer) => {
                    claims.failures.remove(&server);
                    claims.keys.extend(chosen(&wanted, answer));
                }
                Err(error) => tracing::debug!(%server, %error, "a server could not be asked for one-time keys"),
            }
        }
        claims
    }
}

/// Of a server's answer, what it was asked for: one key of the wanted algorithm per device.
fn chosen(
    wanted: &KeyClaim,
    mut answer: claim_keys::Response,
) -> BTreeMap<OwnedUserId, BTreeMap<OwnedDeviceId, BTreeMap<OwnedOneTimeKeyId, Raw<OneTimeKey>>>> {
    let mut users = BTreeMap::new();
    for (user, devices) in wanted {
        let Some(mut found) = answer.one_time_keys.remove(user) else { continue };
        let mut of_user = BTreeMap::new();
        for (device, algorithm) in devices {
            let key = found.remove(device).into_iter().flatten().find(|(id, _)| id.algorithm() == *algorithm);
            if let Some(key) = key {
                of_user.insert(device.clone(), BTreeMap::from([key]));
            }
        }
        if !of_user.is_empty() {
            users.insert(user.clone(), of_user);
        }
    }
    users
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ruma::{OneTimeKeyAlgorithm, OwnedDeviceId, api::federation::keys::claim_keys::v1::Response, owned_user_id};
    use serde_json::{from_value, json};

    use super::chosen;

    #[test]
    fn only_what_was_claimed_is_taken() {
        let answer: Response = Response::new(
            from_value(json!({
                "@alice:a.example": {
                    "A": { "signed_curve25519:1": { "key": "x" }, "signed_curve25519:2": { "key": "y" } },
                    "B": { "signed_curve25519:1": { "key": "x" } },
                },
                "@eve:a.example": { "A": { "signed_curve25519:1": { "key": "x" } } },
            }))
            .unwrap(),
        );
        let alice = owned_user_id!("@alice:a.example");
        let device = OwnedDeviceId::from("A");
        let wanted = BTreeMap::from([(
            alice.clone(),
            BTreeMap::from([(device.clone(), OneTimeKeyAlgorithm::SignedCurve25519)]),
        )]);
        let keys = chosen(&wanted, answer);
        assert_eq!((keys.len(), keys[&alice].len(), keys[&alice][&device].len()), (1, 1, 1));
    }
}
