//! Asking for identity keys: `POST /keys/query` of clients, for users of other servers.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fmt,
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use parking_lot::Mutex;
use ruma::{
    DeviceId, OwnedDeviceId, OwnedServerName, OwnedUserId, UserId, api::federation::keys::get_keys::v1 as get_keys,
};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::{Instant, timeout_at};
use wardroom_accounts::{ListState, QueriedDevice, UserNid};

use super::{KEYS_TIMEOUT_MAX, RemoteDevices, resync::is_unreachable};
use crate::{FederationError, Limits, PartnerError};

/// Lists that one question fetches at the same time.
const FETCHES_MAX: usize = 16;
/// Servers that one question asks at the same time.
const SERVERS_MAX: usize = 16;
/// Bytes of a server's answer.
const ANSWER_BYTES_MAX: usize = 16 * 1_024 * 1_024;

/// Which devices of which users; all devices where none is named.
type Wanted = BTreeMap<OwnedUserId, Vec<OwnedDeviceId>>;

/// Keys of a user.
#[derive(Clone, Default)]
pub struct RemoteKeys {
    /// Identity keys of devices.
    pub devices: Vec<QueriedDevice>,
    /// The cross-signing keys are those that `accounts` has.
    pub followed: bool,
    /// The user's identity, of a user who is not followed.
    pub master: Option<Box<RawValue>>,
    /// Signs the user's devices, of a user who is not followed.
    pub self_signing: Option<Box<RawValue>>,
}

/// What became of a question.
#[derive(Clone, Default)]
pub struct KeyAnswers {
    /// Keys by user.
    pub users: BTreeMap<OwnedUserId, RemoteKeys>,
    /// Servers that did not answer.
    pub failures: BTreeSet<OwnedServerName>,
}

macro_rules! opaque {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    )*};
}

opaque!(RemoteKeys, KeyAnswers);

impl RemoteDevices {
    /// Keys of users of other servers, within a time of at most [`KEYS_TIMEOUT_MAX`]. Lists of users who share a room
    /// come from what is kept here, and are fetched first where that is not up to date.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn query(&self, wanted: Wanted, within: Option<Duration>) -> Result<KeyAnswers, FederationError> {
        let deadline = Instant::now() + within.unwrap_or(KEYS_TIMEOUT_MAX).min(KEYS_TIMEOUT_MAX);
        self.caught_up().await;
        let (mut followed, mut lacking, mut asked) = (Vec::new(), Vec::new(), BTreeMap::new());
        for (user, devices) in wanted {
            match self.neighbour(&user).await? {
                Some(nid) => {
                    if self.0.accounts.remote_list(nid).await? != ListState::Fresh {
                        lacking.push((user.clone(), nid));
                    }
                    followed.push((user, nid, devices));
                }
                None => {
                    let of_server: &mut Wanted = asked.entry(user.server_name().to_owned()).or_default();
                    of_server.insert(user, devices);
                }
            }
            tokio::task::consume_budget().await;
        }
        // What does not come in time is fetched in the background.
        let nids: Vec<UserNid> = lacking.iter().map(|(_, nid)| *nid).collect();
        self.0.accounts.follow_remote_lists(&nids).await?;
        let (unfetched, (mut answers, failures)) = tokio::join!(
            self.fetch_all(lacking.into_iter().map(|(user, _)| user).collect(), deadline),
            self.ask_all(asked, deadline),
        );
        let mut answers = KeyAnswers { users: std::mem::take(&mut answers), failures };
        if !unfetched.is_empty() {
            self.wake();
        }
        answers.failures.extend(unfetched.iter().map(|user| user.server_name().to_owned()));
        for (user, nid, devices) in followed {
            let devices = self.0.accounts.remote_device_keys(nid, &devices).await?;
            // Of somebody of whom nothing is known, not even that there are no devices may be said.
            if devices.is_empty() && unfetched.contains(&user) {
                continue;
            }
            answers.users.insert(user, RemoteKeys { devices, followed: true, ..RemoteKeys::default() });
        }
        Ok(answers)
    }

    /// Fetches lists until a deadline; says whose could not be.
    async fn fetch_all(&self, users: Vec<OwnedUserId>, deadline: Instant) -> HashSet<OwnedUserId> {
        let mut left: HashSet<OwnedUserId> = users.iter().cloned().collect();
        if users.is_empty() {
            return left;
        }
        let unreachable: Mutex<HashSet<OwnedServerName>> = Mutex::default();
        let fetch = async |user: OwnedUserId| {
            let server = user.server_name();
            let done = if unreachable.lock().contains(server) {
                Err(PartnerError::BackingOff.into())
            } else {
                self.fetch(&user).await
            };
            if let Err(error) = &done {
                tracing::debug!(%server, %error, "a device list could not be fetched");
                if is_unreachable(error) {
                    unreachable.lock().insert(server.to_owned());
                }
            }
            (user, done.is_ok())
        };
        let mut fetches = std::pin::pin!(stream::iter(users).map(fetch).buffer_unordered(FETCHES_MAX));
        while let Ok(Some((user, done))) = timeout_at(deadline, fetches.next()).await {
            if done {
                left.remove(&user);
            }
        }
        left
    }

    /// Asks servers for keys of users who are not followed, until a deadline.
    async fn ask_all(
        &self,
        asked: BTreeMap<OwnedServerName, Wanted>,
        deadline: Instant,
    ) -> (BTreeMap<OwnedUserId, RemoteKeys>, BTreeSet<OwnedServerName>) {
        let mut failures: BTreeSet<OwnedServerName> = asked.keys().cloned().collect();
        let mut users = BTreeMap::new();
        let ask = async |(server, wanted): (OwnedServerName, Wanted)| {
            let limits =
                Limits { timeout: KEYS_TIMEOUT_MAX, answer_bytes_max: ANSWER_BYTES_MAX, ignore_backoff: false };
            let answer = self.0.partners.request(&server, get_keys::Request::new(wanted.clone()), limits).await;
            (server, wanted, answer)
        };
        let mut asking = std::pin::pin!(stream::iter(asked).map(ask).buffer_unordered(SERVERS_MAX));
        while let Ok(Some((server, wanted, answer))) = timeout_at(deadline, asking.next()).await {
            match answer {
                Ok(answer) => {
                    failures.remove(&server);
                    users.extend(chosen(&wanted, answer));
                }
                Err(error) => tracing::debug!(%server, %error, "a server could not be asked for keys"),
            }
        }
        (users, failures)
    }
}

/// Of a server's answer, what it was asked for and may say.
fn chosen(wanted: &Wanted, mut answer: get_keys::Response) -> BTreeMap<OwnedUserId, RemoteKeys> {
    let mut users = BTreeMap::new();
    for (user, devices) in wanted {
        let Some(found) = answer.device_keys.remove(user) else { continue };
        let found = found.into_iter().filter(|(id, _)| devices.is_empty() || devices.contains(id));
        let found = found.map(|(id, keys)| QueriedDevice { id, keys: keys.into_json() });
        let keys = RemoteKeys {
            devices: found.filter(|device| is_of(user, Some(&device.id), &device.keys)).collect(),
            followed: false,
            master: answer
                .master_keys
                .remove(user)
                .map(ruma::serde::Raw::into_json)
                .filter(|key| is_of(user, None, key)),
            self_signing: answer
                .self_signing_keys
                .remove(user)
                .map(ruma::serde::Raw::into_json)
                .filter(|key| is_of(user, None, key)),
        };
        users.insert(user.clone(), keys);
    }
    users
}

/// Whether keys do not say to be somebody else's.
fn is_of(user: &UserId, device: Option<&DeviceId>, keys: &RawValue) -> bool {
    #[derive(Deserialize)]
    struct Owner<'a> {
        #[serde(borrow)]
        user_id: Option<std::borrow::Cow<'a, str>>,
        #[serde(borrow)]
        device_id: Option<std::borrow::Cow<'a, str>>,
    }
    let Ok(owner) = serde_json::from_str::<Owner<'_>>(keys.get()) else { return false };
    owner.user_id.is_none_or(|owner| owner == user.as_str())
        && device.is_none_or(|device| owner.device_id.is_none_or(|owner| owner == device.as_str()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ruma::{OwnedDeviceId, api::federation::keys::get_keys::v1::Response, owned_user_id};
    use serde_json::{from_value, json};

    use super::chosen;

    #[test]
    fn a_server_speaks_for_whom_it_was_asked_for_alone() {
        let (alice, bob) = (owned_user_id!("@alice:a.example"), owned_user_id!("@bob:b.example"));
        let keys = |user: &str, device: &str| json!({ "user_id": user, "device_id": device });
        let mut answer = Response::new(BTreeMap::new());
        answer.device_keys = from_value(json!({
            "@alice:a.example": {
                "A": keys("@alice:a.example", "A"),
                "B": keys("@alice:a.example", "A"),
                "C": keys("@bob:b.example", "C"),
                "D": keys("@alice:a.example", "D"),
            },
            "@bob:b.example": { "A": keys("@bob:b.example", "A") },
        }))
        .unwrap();
        answer.master_keys = from_value(json!({ "@alice:a.example": { "user_id": "@bob:b.example" } })).unwrap();
        let found = chosen(&BTreeMap::from([(alice.clone(), vec![])]), answer.clone());
        assert!(!found.contains_key(&bob));
        let ids: Vec<&str> = found[&alice].devices.iter().map(|device| device.id.as_str()).collect();
        assert_eq!((ids, found[&alice].master.is_some()), (vec!["A", "D"], false));
        let found = chosen(&BTreeMap::from([(alice.clone(), vec![OwnedDeviceId::from("D")])]), answer);
        assert_eq!(found[&alice].devices.len(), 1);
    }
}
