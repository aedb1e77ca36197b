//! Fetching the lists that are followed.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use ruma::{OwnedServerName, OwnedUserId, UserId};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use wardroom_accounts::{DeviceSnapshot, ListState, RemoteDevice};

use super::{KEYS_TIMEOUT_MAX, RemoteDevices, wire::UserDevices};
use crate::{FederationError, Limits, PartnerError};

/// Bytes of one user's list.
const LIST_BYTES_MAX: usize = 8 * 1_024 * 1_024;
/// Lists that are fetched in the background at the same time.
const FETCHES_MAX: usize = 8;
/// Of these, from one server.
const FETCHES_PER_SERVER_MAX: usize = 2;
/// Stale lists that are looked at together.
const LOOK_AHEAD: usize = 1_000;
/// The rest that a server is given which could not be reached.
const SERVER_REST: Duration = Duration::from_secs(60);
/// Servers at rest that are remembered.
const RESTING_MAX: usize = 10_000;
/// The longest time until stale lists are looked for again.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// How long to wait after a failure of the store.
const FAILURE_PAUSE: Duration = Duration::from_secs(1);

/// What is under way in the background.
#[derive(Default)]
struct Work {
    fetches: JoinSet<(OwnedUserId, Result<(), FederationError>)>,
    under_way: HashSet<OwnedUserId>,
    by_server: HashMap<OwnedServerName, usize>,
}

impl RemoteDevices {
    /// Fetches a list unless it is up to date. Who calls it for the same user meanwhile waits for the same answer.
    ///
    /// # Errors
    /// When the server cannot be asked or gives no sensible answer, or the store fails.
    pub(super) async fn fetch(&self, user: &UserId) -> Result<(), FederationError> {
        let turn = self.turn(user);
        let _turn = turn.lock().await;
        let accounts = &self.0.accounts;
        let Some(nid) = accounts.user_nid(user).await? else { return Ok(()) };
        let heard = match accounts.remote_list(nid).await? {
            ListState::Fresh => return Ok(()),
            ListState::Stale(heard) => heard,
            ListState::Unknown => 0,
        };
        let limits = Limits { timeout: KEYS_TIMEOUT_MAX, answer_bytes_max: LIST_BYTES_MAX, ignore_backoff: false };
        let answer = self.0.partners.request(user.server_name(), UserDevices(user.to_owned()), limits).await?;
        if answer.user_id != user {
            let sentence = String::from("user_id: it is of another user than the one asked for");
            return Err(PartnerError::Malformed(sentence).into());
        }
        let devices = answer.devices.into_iter().map(|device| RemoteDevice {
            id: device.device_id,
            display_name: device.device_display_name,
            keys: device.keys,
        });
        let snapshot = DeviceSnapshot {
            stream_id: answer.stream_id.into(),
            devices: devices.collect(),
            master: answer.master_key,
            self_signing: answer.self_signing_key,
        };
        accounts.keep_remote_list(user, &snapshot, heard).await?;
        // The last shared room may have been left meanwhile.
        self.neighbour(user).await.map(drop)
    }

    /// The lock of a user's list.
    fn turn(&self, user: &UserId) -> Arc<tokio::sync::Mutex<()>> {
        let mut fetching = self.0.fetching.lock();
        if let Some(turn) = fetching.get(user).and_then(std::sync::Weak::upgrade) {
            return turn;
        }
        fetching.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::default();
        fetching.insert(user.to_owned(), Arc::downgrade(&turn));
        turn
    }

    /// Fetches stale lists until the server stops.
    pub(crate) async fn run(&self) {
        let mut work = Work::default();
        loop {
            let next = match self.start_fetches(&mut work).await {
                Ok(next) => next,
                Err(error) => {
                    tracing::warn!(%error, "stale device lists cannot be looked for");
                    FAILURE_PAUSE
                }
            };
            tokio::select! {
                () = self.0.stale.notified() => {}
                () = sleep(next) => {}
                Some(done) = work.fetches.join_next() => {
                    if let Ok((user, done)) = done {
                        self.fetched(&mut work, user, done).await;
                    }
                }
            }
        }
    }

    /// Begins what can be begun. Says when to look again at the latest.
    async fn start_fetches(&self, work: &mut Work) -> Result<Duration, FederationError> {
        let now = Instant::now();
        self.0.resting.lock().retain(|_, until| *until > now);
        for user in self.0.accounts.stale_remote_lists(LOOK_AHEAD).await? {
            if work.fetches.len() >= FETCHES_MAX {
                return Ok(LOOK_EVERY);
            }
            let server = user.server_name();
            if work.under_way.contains(&user)
                || work.by_server.get(server).copied().unwrap_or_default() >= FETCHES_PER_SERVER_MAX
            {
                continue;
            }
            if self.0.resting.lock().contains_key(server) {
                self.0.accounts.put_off_remote_list(&user).await?;
                continue;
            }
            *work.by_server.entry(server.to_owned()).or_default() += 1;
            work.under_way.insert(user.clone());
            let devices = self.clone();
            work.fetches.spawn(async move {
                let done = devices.refresh(&user).await;
                (user, done)
            });
        }
        let Some(due_ms) = self.0.accounts.next_stale_remote_list().await? else { return Ok(LOOK_EVERY) };
        let wait = Duration::from_millis(due_ms.saturating_sub(self.0.accounts.now_ms()));
        // What is due now waits for its server's turn.
        Ok(if wait.is_zero() { FAILURE_PAUSE } else { wait.min(LOOK_EVERY) })
    }

    /// Fetches a stale list, or drops one that nobody needs any more.
    async fn refresh(&self, user: &UserId) -> Result<(), FederationError> {
        match self.neighbour(user).await? {
            Some(_) => self.fetch(user).await,
            None => Ok(()),
        }
    }

    async fn fetched(&self, work: &mut Work, user: OwnedUserId, done: Result<(), FederationError>) {
        work.under_way.remove(&user);
        let server = user.server_name();
        if let Some(count) = work.by_server.get_mut(server) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                work.by_server.remove(server);
            }
        }
        let Err(error) = done else { return };
        tracing::debug!(%server, %error, "a device list could not be fetched");
        if is_unreachable(&error) {
            let mut resting = self.0.resting.lock();
            if resting.len() < RESTING_MAX {
                resting.insert(server.to_owned(), Instant::now() + SERVER_REST);
            }
        }
        if let Err(error) = self.0.accounts.put_off_remote_list(&user).await {
            tracing::warn!(%error, "a device list that could not be fetched cannot be put off");
        }
    }
}

/// Whether it is the whole server that does not answer.
pub(super) fn is_unreachable(error: &FederationError) -> bool {
    let FederationError::Partner(error) = error else { return false };
    matches!(error, PartnerError::Denied(_) | PartnerError::BackingOff | PartnerError::Unreachable(_))
}
