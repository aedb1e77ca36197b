//! The trail as it goes on, to repositories of audit records (IHE ATNA, ITI-20): over syslog, or as FHIR resources.
//!
//! Each destination follows the trail with a cursor of its own, which is kept: the trail itself is what waits for a destination
//! that is away, for as long as it takes. Records go out in their order, each at least once; some come twice after a failure.
//! A destination that fails is tried again, ever more slowly, and never passed over. One that is new begins with the first record.

mod fhir;
mod syslog;
mod tls;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use wardroom_audit::{AuditError, AuditLog, Entry, WATCH_AUDIT};
use wardroom_clock::SharedClock;
use wardroom_store::{Batch, CommitError, Packed, ReadError, Store};

pub use self::{fhir::FhirFeed, syslog::SyslogFeed};
use self::{fhir::FhirSender, syslog::SyslogSender};
use crate::tables::FEEDS;

/// Domain of the hashes that cursors are found by.
const FEED_DOMAIN: u8 = 0x82;
/// The wait after a first failure, and the longest one.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Why a feed cannot go on for now, or cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// What the configuration says of it cannot be used.
    #[error("{0}: {1}")]
    Setting(&'static str, String),
    /// There is no connection, or it ended.
    #[error("the connection: {0}")]
    Connection(std::io::Error),
    /// It took too long.
    #[error("the destination did not take it in time")]
    Timeout,
    /// The destination closed the connection.
    #[error("the destination closed the connection")]
    Closed,
    /// The request failed.
    #[error("the request failed")]
    Request(#[from] wardroom_outbound::OutboundError),
    /// The destination does not take a record.
    #[error("the destination answers {0}")]
    Refused(String),
    /// The trail cannot be read.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The store cannot be read.
    #[error("how far a destination is cannot be read")]
    Read(#[from] ReadError),
    /// The store cannot be written.
    #[error("how far a destination is cannot be written")]
    Commit(#[from] CommitError),
}

/// How a destination is spoken to.
#[derive(Clone, Debug)]
pub enum Destination {
    /// Syslog over TLS.
    Syslog(SyslogFeed),
    /// FHIR resources over HTTPS.
    Fhir(FhirFeed),
}

/// A destination.
#[derive(Clone, Debug)]
pub struct FeedSettings {
    /// Its name here; another name is another destination, which begins with the first record.
    pub name: String,
    /// How it is spoken to.
    pub destination: Destination,
    /// After how long without success somebody has to look at it.
    pub alarm_after: Duration,
}

/// How a destination fares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedSample {
    /// Its name.
    pub name: String,
    /// Records that it has yet to get, or to be certain to have.
    pub waiting: u64,
    /// Failures in a row.
    pub failures: u64,
    /// When it last took something, or was found ready to, in milliseconds since 1970; 0 for never since the start.
    pub last_success_ms: u64,
    /// Whether it has failed for so long that somebody has to look at it.
    pub alarm: bool,
}

/// How far a destination is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct FeedRow {
    /// The number of the first record that it may not have.
    next: u64,
}

/// How a destination fares, as its follower knows it.
#[derive(Debug, Default)]
struct Health {
    next: u64,
    failures: u64,
    last_success_ms: u64,
    failing_since: Option<Instant>,
    alarm: bool,
}

enum Sender {
    Syslog(SyslogSender),
    Fhir(Box<FhirSender>),
}

/// A follower of the trail, for one destination.
struct Feed {
    key: [u8; 16],
    name: String,
    sender: Sender,
    alarm_after: Duration,
    health: Mutex<Health>,
    parts: Arc<Parts>,
}

/// What every follower needs.
struct Parts {
    store: Store,
    clock: SharedClock,
    trail: AuditLog,
    server_name: String,
}

/// The destinations. Clones share everything.
#[derive(Clone)]
pub struct Feeds(Arc<Vec<Feed>>);

impl fmt::Debug for Feeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|feed| &feed.name)).finish()
    }
}

impl Feeds {
    /// Destinations of the trail in a store, whose catalogue must hold [`crate::TABLES`].
    ///
    /// # Errors
    /// [`FeedError::Setting`].
    pub fn new(
        store: Store,
        clock: SharedClock,
        trail: AuditLog,
        server_name: &str,
        destinations: Vec<FeedSettings>,
    ) -> Result<Self, FeedError> {
        let parts = Arc::new(Parts { store, clock, trail, server_name: server_name.to_owned() });
        let feed = |settings: FeedSettings| {
            let FeedSettings { name, destination, alarm_after } = settings;
            let sender = match destination {
                Destination::Syslog(feed) => Sender::Syslog(SyslogSender::new(feed)?),
                Destination::Fhir(feed) => Sender::Fhir(Box::new(FhirSender::new(feed)?)),
            };
            let key = parts.store.keyed_hash(FEED_DOMAIN, name.as_bytes());
            Ok(Feed { key, name, sender, alarm_after, health: Mutex::default(), parts: Arc::clone(&parts) })
        };
        Ok(Self(Arc::new(destinations.into_iter().map(feed).collect::<Result<_, FeedError>>()?)))
    }

    /// Follows the trail for every destination, for as long as it is polled.
    pub async fn run(&self) {
        join_all(self.0.iter().map(Feed::run)).await;
    }

    /// How the destinations fare.
    ///
    /// # Errors
    /// When the trail cannot be read.
    pub async fn samples(&self) -> Result<Vec<FeedSample>, AuditError> {
        let Some(first) = self.0.first() else { return Ok(Vec::new()) };
        let size = first.parts.trail.catch_up().await?;
        let sample = |feed: &Feed| {
            let health = feed.health.lock();
            FeedSample {
                name: feed.name.clone(),
                waiting: size.saturating_sub(health.next),
                failures: health.failures,
                last_success_ms: health.last_success_ms,
                alarm: health.alarm,
            }
        };
        Ok(self.0.iter().map(sample).collect())
    }
}

impl Feed {
    async fn run(&self) {
        let mut pause = PAUSE_MIN;
        loop {
            let before = self.health.lock().last_success_ms;
            let error = match self.follow().await {
                Err(error) => error,
                Ok(never) => match never {},
            };
            let worked = self.health.lock().last_success_ms != before;
            pause = if worked { PAUSE_MIN } else { pause.saturating_mul(2).min(PAUSE_MAX) };
            self.failed(&error);
            tokio::time::sleep(pause).await;
        }
    }

    /// Sends what comes, until something fails.
    async fn follow(&self) -> Result<std::convert::Infallible, FeedError> {
        let next = self.row().await?.next;
        self.health.lock().next = next;
        match &self.sender {
            Sender::Syslog(sender) => sender.follow(self, next).await,
            Sender::Fhir(sender) => sender.follow(self, next).await,
        }
    }

    async fn row(&self) -> Result<FeedRow, ReadError> {
        Ok(self.parts.store.latest().get(&FEEDS, &self.key).await?.map(|Packed(row)| row).unwrap_or_default())
    }

    /// The next records; none where there are none yet.
    async fn page(&self, next: u64, limit: usize) -> Result<Vec<Entry>, FeedError> {
        Ok(self.parts.trail.entries(next, limit).await?)
    }

    /// Ends when there may be new records.
    fn news(&self) -> wardroom_store::Waiter {
        self.parts.store.watches().waiter([WATCH_AUDIT])
    }

    /// Keeps how far the destination is for certain.
    async fn advance(&self, next: u64) -> Result<(), FeedError> {
        let mut batch = Batch::default();
        batch.put(&FEEDS, &self.key, &Packed(FeedRow { next }));
        self.parts.store.commit(batch).await?;
        self.health.lock().next = next;
        Ok(())
    }

    /// The destination took something, or is ready to.
    fn succeeded(&self) {
        let mut health = self.health.lock();
        if std::mem::take(&mut health.alarm) {
            tracing::info!(destination = self.name, "a destination of audit records works again");
        }
        health.failures = 0;
        health.failing_since = None;
        health.last_success_ms = self.parts.clock.now_ms();
    }

    fn failed(&self, error: &FeedError) {
        let mut health = self.health.lock();
        health.failures = health.failures.saturating_add(1);
        let since = *health.failing_since.get_or_insert_with(Instant::now);
        if !health.alarm && since.elapsed() >= self.alarm_after {
            health.alarm = true;
            tracing::error!(destination = self.name, %error, "a destination gets no audit records: an administrator is needed");
        } else if health.failures == 1 {
            tracing::warn!(destination = self.name, %error, "a destination of audit records fails; trying again");
        }
    }
}
