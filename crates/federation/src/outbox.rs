//! What is sent to other servers (server-server API, sections "Transactions" and "EDUs").
//!
//! Each server has a queue of events and one of other things in the store, and some signals in memory. Whose turn it is
//! sends one transaction; rows are removed when it was taken. Invariants:
//!
//! - One transaction at a time is on its way to a server, and events go out in the order in which they were queued.
//! - A transaction that may have arrived is sent again with the same id and the same rows.
//! - A server that was away for long gets the newest event of each room first; it asks for what it misses between.
//! - For a server that does not answer, memory holds its name and a few numbers.
//! - A server that is not admitted gets nothing. Of its events, the newest of each room waits for it to be admitted;
//!   everything else is dropped.

mod carrier;
mod counters;
mod deeds;
mod destinations;
mod distributor;
mod lanes;
mod queue;
mod signals;
pub(crate) mod tables;
mod worker;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use ruma::{OwnedServerName, ServerName};
use serde_json::value::RawValue as RawJsonValue;
use tokio::{
    sync::{Notify, Semaphore},
    task::{Id, JoinSet},
    time::sleep,
};
use wardroom_audit::AuditLog;
use wardroom_clock::SharedClock;
use wardroom_rooms::NS_SERVER;
use wardroom_store::{Batch, Packed, Position, Scan, Store};

pub use self::destinations::{
    DestinationOrder, DestinationQuery, DestinationRoom, DestinationRooms, DestinationSample, DestinationView,
    Destinations, OutboxStats,
};
use self::{
    carrier::{Carrier, Signed, Source},
    counters::Counters,
    lanes::{Lanes, Outcome, Pool},
    queue::Queues,
    tables::{CATCH_UP, DESTINATIONS, EDUS, EVENTS, EduRow, ServerNid},
    worker::{BUDGET_UNIT_BYTES, OWN_FAILURE_PAUSE_MS},
};
use crate::{FederationError, Partners, Parts};

/// Bytes of something other than an event.
pub const EDU_BYTES_MAX: usize = 1 << 20;
/// Transactions on their way at the same time to servers that answer.
const WORKING_TURNS_MAX: usize = 256;
/// Transactions on their way at the same time to servers that failed before.
const FAILING_TURNS_MAX: usize = 128;
/// Memory for transactions on their way, in bytes, for those that answer and for those that failed before.
const BUDGET_BYTES: [usize; 2] = [48 << 20, 24 << 20];
/// The longest sleep of whoever watches the time: a clock that is set forward is noticed.
const SLEEP_MAX: Duration = Duration::from_secs(60);
/// How long to wait when the queues cannot be read at start.
const START_PAUSE: Duration = Duration::from_secs(5);
/// Rows read at once at start.
const ROWS_PER_READ: usize = 1_000;

/// Something other than an event that is sent to another server (server-server API, section "EDUs").
#[derive(Clone, Debug)]
pub struct OutgoingEdu {
    /// `edu_type`, such as `m.typing`.
    pub kind: &'static str,
    /// Of those with the same kind and key that wait for the same server, only the newest is sent. Only for
    /// [`Outbox::signal`].
    pub coalesce: Option<String>,
    /// `content`, a JSON object.
    pub content: Box<RawJsonValue>,
}

/// What is sent to other servers. Clones are cheap.
#[derive(Clone, Debug)]
pub struct Outbox {
    inner: Arc<Inner>,
}

/// What all parts of the outbox share.
#[derive(Debug)]
struct Inner {
    server_name: OwnedServerName,
    store: Store,
    audit: AuditLog,
    clock: SharedClock,
    carrier: Arc<dyn Carrier>,
    source: Arc<dyn Source>,
    queues: Queues,
    lanes: Arc<Lanes>,
    /// Something may have to be distributed.
    distribution: Notify,
    counters: Counters,
    /// Orders what one batch queues, and makes ids.
    sequence: AtomicU64,
    budget_working: Arc<Semaphore>,
    budget_failing: Arc<Semaphore>,
}

impl Inner {
    /// An id for a transaction that is not sent again.
    fn next_id(&self) -> String {
        format!("s{}-{}", self.store.opened_at().get(), self.sequence.fetch_add(1, Ordering::Relaxed))
    }
}

impl Outbox {
    pub(crate) fn new(parts: &Parts, partners: &Partners) -> Self {
        let carrier = Arc::new(Signed { origin: parts.server_name.clone(), partners: partners.clone() });
        let source = Arc::new(parts.rooms.clone());
        let kept = (parts.store.clone(), parts.audit.clone());
        Self::over(parts.server_name.clone(), kept, Arc::clone(&parts.clock), carrier, source)
    }

    fn over(
        server_name: OwnedServerName,
        (store, audit): (Store, AuditLog),
        clock: SharedClock,
        carrier: Arc<dyn Carrier>,
        source: Arc<dyn Source>,
    ) -> Self {
        let budget = |bytes: usize| Arc::new(Semaphore::new(bytes / BUDGET_UNIT_BYTES));
        let [working, failing] = BUDGET_BYTES;
        Self {
            inner: Arc::new(Inner {
                server_name,
                queues: Queues(store.clone()),
                store,
                audit,
                clock,
                carrier,
                source,
                lanes: Arc::default(),
                distribution: Notify::new(),
                counters: Counters::default(),
                sequence: AtomicU64::new(0),
                budget_working: budget(working),
                budget_failing: budget(failing),
            }),
        }
    }

    /// Adds something that must not get lost to a batch: it is sent when the batch is committed, and again until the
    /// server takes it. What is queued for a server is sent in the order of the commits, and within one in the order of
    /// the calls. Nothing is queued for a server that is not admitted, nor for this one. Of more than 10,000 that wait
    /// for a server that does not answer, the oldest are dropped.
    ///
    /// # Errors
    /// [`FederationError::TooLarge`]; when the store cannot be read. The batch is as it was then.
    pub async fn queue_edu(
        &self,
        batch: &mut Batch,
        server: &ServerName,
        edu: OutgoingEdu,
    ) -> Result<(), FederationError> {
        let inner = &self.inner;
        let bytes = edu.content.get().len();
        if bytes > EDU_BYTES_MAX {
            return Err(FederationError::TooLarge { bytes, max: EDU_BYTES_MAX });
        }
        if *server == *inner.server_name || !inner.carrier.admits(server) {
            return Ok(());
        }
        let nid = inner.store.interner().intern(batch, NS_SERVER, server.as_str()).await?;
        let order = inner.sequence.fetch_add(1, Ordering::Relaxed);
        let row = EduRow { kind: edu.kind.to_owned(), content: edu.content.get().to_owned() };
        batch.put(&EDUS, &(nid, Position::COMMIT, order), &Packed(row));
        let (lanes, clock, server) = (Arc::clone(&inner.lanes), Arc::clone(&inner.clock), server.to_owned());
        batch.on_commit(move |_| lanes.added(&server, 0, 1, clock.now_ms()));
        Ok(())
    }

    /// Sends something that loses its worth quickly, such as typing: it may get lost when the server cannot be reached,
    /// when this one stops, or when there is too much of it.
    pub fn signal(&self, server: &ServerName, edu: OutgoingEdu) {
        let inner = &self.inner;
        if *server == *inner.server_name || !inner.carrier.admits(server) {
            return;
        }
        if edu.content.get().len() > EDU_BYTES_MAX || !inner.lanes.signal(server, edu, inner.clock.now_ms()) {
            inner.counters.signals_dropped.add(1);
        }
    }

    /// A server has sent us something: it is there again. What waits for it is tried soon.
    pub fn heard_from(&self, server: &ServerName) {
        self.inner.lanes.heard_from(server, self.inner.clock.now_ms());
    }

    /// Looks at once at what waits, also for servers that were not admitted before: to be called when the policy changed.
    pub fn wake(&self) {
        self.inner.distribution.notify_one();
        self.inner.lanes.reset_shelved(self.inner.clock.now_ms());
    }

    /// Works until the server stops.
    pub(crate) async fn run(&self) {
        while let Err(error) = self.inner.restore().await {
            tracing::warn!(%error, "the queues of other servers could not be read; trying again");
            sleep(START_PAUSE).await;
        }
        futures_util::future::join(self.inner.distribute(), Arc::clone(&self.inner).dispatch()).await;
    }
}

impl Inner {
    /// Finds out for whom something waits, and who is left alone until when. Queues are not read.
    async fn restore(&self) -> Result<(), FederationError> {
        let mut found: BTreeMap<ServerNid, (u64, u64, bool)> = BTreeMap::new();
        let view = self.store.latest();
        let mut scan = Scan::all();
        loop {
            let page = view.scan(&DESTINATIONS, scan.limit(ROWS_PER_READ)).await?;
            for (server, Packed(row)) in &page {
                if row.failures > 0 {
                    found.insert(*server, (row.retry_at_ms(), row.retry_last_ts, true));
                }
            }
            match page.last() {
                Some((last, _)) if page.len() == ROWS_PER_READ => scan = Scan::all().after(last),
                _ => break,
            }
        }
        let mut from: ServerNid = 0;
        while let Some((server, ..)) = view.scan_keys(&EVENTS, Scan::all().from(&from).limit(1)).await?.pop() {
            found.entry(server).or_default();
            from = server.saturating_add(1);
        }
        from = 0;
        while let Some((server, ..)) = view.scan_keys(&EDUS, Scan::all().from(&from).limit(1)).await?.pop() {
            found.entry(server).or_default();
            from = server.saturating_add(1);
        }
        from = 0;
        while let Some((server, _)) = view.scan_keys(&CATCH_UP, Scan::all().from(&from).limit(1)).await?.pop() {
            found.entry(server).or_default();
            from = server.saturating_add(1);
        }
        for (server, (until_ms, attempted_ms, failing)) in found {
            if let Some(name) = self.name(server).await? {
                self.lanes.restore(&name, until_ms, attempted_ms, failing);
            }
            tokio::task::consume_budget().await;
        }
        Ok(())
    }

    /// The name of a server.
    async fn name(&self, server: ServerNid) -> Result<Option<OwnedServerName>, FederationError> {
        let name = self.store.interner().resolve(NS_SERVER, server).await?;
        Ok(name.and_then(|name| ServerName::parse(&*name).ok()))
    }

    /// Gives servers their turns, for as long as it is polled.
    async fn dispatch(self: Arc<Self>) {
        let mut turns: JoinSet<Outcome> = JoinSet::new();
        let mut serving: HashMap<Id, (OwnedServerName, Pool)> = HashMap::new();
        let mut busy = [0_usize; 2];
        loop {
            let moved = self.lanes.moved.notified();
            let now_ms = self.clock.now_ms();
            let next_ms = self.lanes.release(now_ms);
            for (pool, turns_max) in [(Pool::Working, WORKING_TURNS_MAX), (Pool::Failing, FAILING_TURNS_MAX)] {
                while busy[pool as usize] < turns_max
                    && let Some(turn) = self.lanes.next(pool, now_ms)
                {
                    busy[pool as usize] += 1;
                    let (inner, server) = (Arc::clone(&self), turn.server.clone());
                    let id = turns.spawn(async move { inner.turn(pool, &turn).await }).id();
                    serving.insert(id, (server, pool));
                }
            }
            let pause = next_ms.map_or(SLEEP_MAX, |at_ms| Duration::from_millis(at_ms.saturating_sub(now_ms)));
            let ended = tokio::select! {
                () = moved => continue,
                () = sleep(pause.min(SLEEP_MAX)) => continue,
                Some(ended) = turns.join_next_with_id() => ended,
            };
            let now_ms = self.clock.now_ms();
            let (id, outcome) = match ended {
                Ok(done) => done,
                Err(error) => {
                    tracing::error!("sending to a server ended in the middle");
                    (error.id(), Outcome::RetryAt(now_ms.saturating_add(OWN_FAILURE_PAUSE_MS)))
                }
            };
            if let Some((server, pool)) = serving.remove(&id) {
                busy[pool as usize] -= 1;
                self.lanes.done(&server, outcome, now_ms);
            }
        }
    }
}

#[cfg(test)]
mod tests;
