//! The service: pushers as clients set them, and the work in the background.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use ruma::{EventId, push::HttpPusherData};
use tokio::task::JoinSet;
use wardroom_accounts::{Accounts, NewPusher, Session};
use wardroom_audit::AuditLog;
use wardroom_clock::SharedClock;
use wardroom_rooms::{Rooms, UserNid};
use wardroom_store::Store;

use crate::{
    PushError, Settings, Unread, badge::Badges, follower::Tail, gateway::Gateways, lanes::Lanes, queue::Queue,
    tables::PusherNid,
};

/// Requests to gateways at the same time.
const REQUESTS_AT_ONCE: usize = 64;

/// Push notifications. Clones share everything.
#[derive(Clone)]
pub struct Push(pub(crate) Arc<Inner>);

impl fmt::Debug for Push {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Push").finish_non_exhaustive()
    }
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) store: Store,
    pub(crate) rooms: Rooms,
    pub(crate) accounts: Accounts,
    pub(crate) clock: SharedClock,
    pub(crate) settings: Settings,
    pub(crate) unread: Unread,
    pub(crate) badges: Badges,
    pub(crate) gateways: Gateways,
    pub(crate) queue: Queue,
    pub(crate) lanes: Lanes,
    pub(crate) counters: Counters,
    pub(crate) audit: AuditLog,
    seen: Mutex<Seen>,
}

/// Which pushers there were when it was last looked.
#[derive(Debug, Default)]
struct Seen {
    generation: Option<u64>,
    pushers: BTreeSet<PusherNid>,
}

/// What happened to notifications since the start.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    sent: AtomicU64,
    failed: AtomicU64,
    rejected: AtomicU64,
}

impl Counters {
    pub(crate) fn sent(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn rejected(&self) {
        self.rejected.fetch_add(1, Ordering::Relaxed);
    }
}

/// What was counted since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PushStats {
    /// Notifications that gateways took.
    pub sent: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Pushers removed because their gateway rejected them, or failed for too long.
    pub rejected: u64,
    /// Pushers that failed and wait to be tried again.
    pub waiting: usize,
}

impl Push {
    /// Notifications by the counts of `unread`. Nothing is sent before [`Push::run`].
    ///
    /// # Errors
    /// [`PushError::Outbound`] when certificates cannot be used.
    pub fn new(
        store: Store,
        unread: Unread,
        clock: SharedClock,
        audit: AuditLog,
        settings: Settings,
    ) -> Result<Self, PushError> {
        Ok(Self(Arc::new(Inner {
            rooms: unread.rooms().clone(),
            accounts: unread.accounts().clone(),
            clock,
            badges: Badges::new(store.clone(), unread.clone(), settings.badge),
            gateways: Gateways::new(&settings)?,
            settings,
            unread,
            queue: Queue(store.clone()),
            store,
            lanes: Lanes::default(),
            counters: Counters::default(),
            audit,
            seen: Mutex::default(),
        })))
    }

    /// Begins to follow what happens in rooms: from the first time on, nothing is missed. To be called before anything
    /// can happen.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn start(&self) -> Result<(), PushError> {
        self.0.rooms.follow(wardroom_rooms::Follower::Push).await?;
        Ok(())
    }

    /// Follows what happens in rooms and sends notifications, for as long as it is polled.
    pub async fn run(self) {
        let inner = self.0;
        if let Err(error) = inner.resume().await {
            tracing::error!(%error, "waiting notifications could not be read; they are sent after the next start");
        }
        let tail = match Tail::start(Arc::clone(&inner)).await {
            Ok(tail) => tail,
            Err(error) => {
                tracing::error!(%error, "push notifications could not be started");
                return;
            }
        };
        // They end when this does: dropping the set ends its tasks.
        let mut tasks = JoinSet::new();
        for _ in 0..REQUESTS_AT_ONCE {
            let inner = Arc::clone(&inner);
            tasks.spawn(async move { inner.work().await });
        }
        let timers = Arc::clone(&inner);
        tasks.spawn(async move { timers.lanes.run_timers(&timers.clock).await });
        tasks.spawn(tail.run());
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a part of push notifications ended");
            }
        }
    }

    /// Sets an HTTP pusher of the session's device; see [`Accounts::set_pusher`].
    ///
    /// # Errors
    /// [`PushError::Invalid`] names `data.url` where this server does not talk to that gateway; those of accounts.
    pub async fn set_pusher(&self, session: &Session, pusher: NewPusher, append: bool) -> Result<(), PushError> {
        let invalid = PushError::Invalid { field: "data", problem: "must hold the url of a push gateway" };
        let data: HttpPusherData = serde_json::from_str(pusher.data.get()).map_err(|_| invalid)?;
        self.0.gateways.check(&data.url).await?;
        Ok(self.0.accounts.set_pusher(session, pusher, append).await?)
    }

    /// Whom of some users an event notifies, if it still is there: what is worked out of every event for the members
    /// who have pushers. For measurements.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn notified(&self, event: &EventId, users: &[UserNid]) -> Result<Vec<UserNid>, PushError> {
        let inner = &self.0;
        let Some((room, place)) = inner.rooms.place_of(event).await? else { return Ok(Vec::new()) };
        let Some(item) = inner.unread.item(room, place).await? else { return Ok(Vec::new()) };
        let room = inner.rooms.view_of(room).await?;
        let told = inner.told(&room, &item, users.iter().copied()).await?;
        Ok(told.into_iter().map(|(user, _)| user).collect())
    }

    /// What was counted since the start.
    pub fn stats(&self) -> PushStats {
        let counters = &self.0.counters;
        PushStats {
            sent: counters.sent.load(Ordering::Relaxed),
            failed: counters.failed.load(Ordering::Relaxed),
            rejected: counters.rejected.load(Ordering::Relaxed),
            waiting: self.0.lanes.waiting(),
        }
    }
}

impl Inner {
    /// Whether anybody has pushers.
    pub(crate) fn anybody(&self) -> bool {
        !self.seen.lock().pushers.is_empty()
    }

    /// Goes on with what waited when the server stopped.
    async fn resume(&self) -> Result<(), PushError> {
        // What is left of pushers that ended while nobody looked.
        self.seen.lock().pushers = self.queue.with_state().await?.into_iter().collect();
        for (pusher, user) in self.queue.with_something().await? {
            self.lanes.wake(pusher, user);
        }
        for (user, pushers) in self.accounts.users_with_pushers() {
            for pusher in pushers {
                if self.queue.state(pusher).await?.failures > 0 {
                    self.lanes.wake(pusher, UserNid::new(user.get()));
                }
            }
        }
        self.clean_up().await
    }

    /// Drops what is left of pushers that are no more, where there may be such.
    pub(crate) async fn clean_up(&self) -> Result<(), PushError> {
        let generation = self.accounts.pushers_generation();
        if self.seen.lock().generation == Some(generation) {
            return Ok(());
        }
        let now: BTreeSet<PusherNid> =
            self.accounts.users_with_pushers().into_iter().flat_map(|(_, pushers)| pushers).collect();
        let gone: Vec<PusherNid> = self.seen.lock().pushers.difference(&now).copied().collect();
        for pusher in gone {
            self.queue.forget(pusher).await?;
        }
        *self.seen.lock() = Seen { generation: Some(generation), pushers: now };
        Ok(())
    }
}
