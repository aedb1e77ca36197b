//! Sends: one turn is one transaction to one server.

use std::sync::Arc;

use http::StatusCode;
use ruma::ServerName;
use serde::Deserialize;
use tokio::sync::OwnedSemaphorePermit;
use wardroom_rooms::NS_SERVER;
use wardroom_store::{Batch, Packed};

use super::{
    Inner,
    carrier::Transaction,
    lanes::{EDUS_MAX_FAILING, EVENTS_MAX, Outcome, Pool, Turn},
    queue::{
        Load, LoadLimits, Queues, TRANSACTION_EDUS_BYTES_MAX, TRANSACTION_EDUS_MAX, TRANSACTION_EVENTS_MAX, edu_json,
    },
    signals::Signal,
    tables::{DESTINATIONS, DestinationRow, Pending, SENT, ServerNid},
};
use crate::{FederationError, PartnerError};

/// The pause after the first failure; each further one doubles it.
const PAUSE_FIRST_MS: u64 = 1_000;
/// The longest pause, 1 hour.
const PAUSE_MAX_MS: u64 = 60 * 60 * 1_000;
/// A server that failed for 7 days without one success is asked more rarely.
const FAILING_LONG_MS: u64 = 7 * 24 * 60 * 60 * 1_000;
/// The longest pause of such a server, and of one that asks for a pause, 1 day.
const PAUSE_LONG_MAX_MS: u64 = 24 * 60 * 60 * 1_000;
/// How often it is looked whether a server is admitted now, 10 minutes.
const SHELVED_PAUSE_MS: u64 = 10 * 60 * 1_000;
/// The pause after a failure of our own.
pub(super) const OWN_FAILURE_PAUSE_MS: u64 = 5_000;
/// A single item that a server refused so often for what is in it is not sent any more.
const REFUSALS_MAX: u32 = 5;
/// How exactly it is kept when a server last took a transaction, where nothing else is written.
const SUCCESS_PRECISION_MS: u64 = 60_000;
/// The unit in which memory for transactions is given out.
pub(super) const BUDGET_UNIT_BYTES: usize = 1_024;

/// What one turn sends.
struct Sending {
    nid: ServerNid,
    load: Load,
    signals: Vec<Signal>,
    /// How many events it is.
    pdus: usize,
    /// How much else.
    edus: usize,
}

impl Sending {
    fn items(&self) -> usize {
        self.load.events.len() + self.load.edu_rows.len() + self.signals.len()
    }
}

impl Inner {
    /// One turn of a server.
    pub(super) async fn turn(&self, pool: Pool, turn: &Turn) -> Outcome {
        match self.try_turn(pool, turn).await {
            Ok(outcome) => outcome,
            Err(error) => {
                tracing::warn!(%error, server = %turn.server, "nothing could be sent to a server; trying again");
                Outcome::RetryAt(self.clock.now_ms().saturating_add(OWN_FAILURE_PAUSE_MS))
            }
        }
    }

    async fn try_turn(&self, pool: Pool, turn: &Turn) -> Result<Outcome, FederationError> {
        let server = &turn.server;
        if !self.carrier.admits(server) {
            return self.shelve(server).await;
        }
        let Some(nid) = self.store.interner().lookup(NS_SERVER, server.as_str()).await? else {
            return self.send_signals_alone(server).await;
        };
        if turn.too_long || !turn.counted {
            self.keep_short(server, nid, turn.too_long).await?;
        }
        if !turn.due {
            return Ok(Outcome::NotDue);
        }
        let row = self.queues.destination(nid).await?;
        let mut limits = limits(&row);
        let events = self.queues.first_events(nid, limits.events).await?;
        if row.items_max == 1 && events.is_empty() {
            limits.edus = 1;
        }
        let mut permit = self.budget(pool, Queues::bytes_max(events.len())).await;
        let load = self.queues.load(&*self.source, nid, events, limits).await?;
        let signals = if !load.is_empty() && (limits.again || row.items_max > 0) {
            // A transaction that is sent again may have been taken before: what is new in it would get lost.
            Vec::new()
        } else {
            self.signals(server, load.edus.len())
        };
        let (pdus, edus) = (load.pdus.len(), load.edus.len() + signals.len());
        let mut sending = Sending { nid, load, signals, pdus, edus };
        if sending.load.is_empty() && sending.signals.is_empty() {
            return Ok(Outcome::Idle);
        }
        let transaction = self.transaction(&mut sending, &row);
        if let Some(permit) = &mut permit {
            shrink(permit, transaction.pdus.iter().chain(&transaction.edus).map(|json| json.get().len()).sum());
        }
        if transaction.pdus.is_empty() && transaction.edus.is_empty() {
            return self.gone(server, sending, row).await;
        }
        let at_ms = transaction.at_ms;
        let answer = self.carrier.carry(server, transaction).await;
        drop(permit);
        match answer {
            Ok(refused) => self.taken(server, sending, row, refused).await,
            Err(PartnerError::Denied(_)) => {
                self.lanes.put_back(server, sending.signals);
                self.shelve(server).await
            }
            Err(error @ (PartnerError::Store(_) | PartnerError::Setting(_))) => {
                // Not the other server's fault.
                self.lanes.put_back(server, sending.signals);
                Err(error.into())
            }
            Err(error) => self.failed(server, sending, row, at_ms, &error).await,
        }
    }

    /// Memory for a transaction of so many bytes.
    async fn budget(&self, pool: Pool, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let units = u32::try_from(bytes / BUDGET_UNIT_BYTES).unwrap_or(u32::MAX);
        let budget = match pool {
            Pool::Working => &self.budget_working,
            Pool::Failing => &self.budget_failing,
        };
        Arc::clone(budget).acquire_many_owned(units).await.ok()
    }

    fn signals(&self, server: &ServerName, edus: usize) -> Vec<Signal> {
        let count_max = TRANSACTION_EDUS_MAX.saturating_sub(edus);
        self.lanes.take_signals(server, self.clock.now_ms(), count_max, TRANSACTION_EDUS_BYTES_MAX)
    }

    fn transaction(&self, sending: &mut Sending, row: &DestinationRow) -> Transaction {
        let id = if sending.load.is_empty() { self.next_id() } else { sending.load.transaction_id(sending.nid) };
        let signals = sending.signals.iter().filter_map(|signal| edu_json(signal.edu.kind, signal.edu.content.get()));
        Transaction {
            id,
            at_ms: row.pending.map_or_else(|| self.clock.now_ms(), |pending| pending.at_ms),
            pdus: std::mem::take(&mut sending.load.pdus),
            edus: std::mem::take(&mut sending.load.edus).into_iter().chain(signals).collect(),
        }
    }

    /// Sends to a server for which nothing was ever queued.
    async fn send_signals_alone(&self, server: &ServerName) -> Result<Outcome, FederationError> {
        let mut batch = Batch::default();
        // From now on it has a number, under which it is kept how it fares.
        self.store.interner().intern(&mut batch, NS_SERVER, server.as_str()).await?;
        self.store.commit(batch).await?;
        Ok(Outcome::More)
    }

    /// Sees that the queue is not longer than is kept.
    async fn keep_short(&self, server: &ServerName, nid: ServerNid, too_long: bool) -> Result<(), FederationError> {
        if too_long {
            self.queues.shorten_events(nid).await?;
            let dropped = self.queues.shorten_edus(nid, EDUS_MAX_FAILING).await?;
            self.counters.edus_dropped.add(dropped);
            if dropped > 0 {
                tracing::warn!(%server, dropped, "a server does not answer: the oldest messages for it are dropped");
            }
        }
        let (events, edus) = self.queues.count(nid, EVENTS_MAX).await?;
        self.lanes.counted(server, events, edus);
        Ok(())
    }

    /// A server that is not admitted: events wait, one per room, for the case that it will be again. Nothing else does.
    async fn shelve(&self, server: &ServerName) -> Result<Outcome, FederationError> {
        if let Some(nid) = self.store.interner().lookup(NS_SERVER, server.as_str()).await? {
            self.queues.shorten_events(nid).await?;
            let dropped = self.queues.shorten_edus(nid, 0).await?;
            self.counters.edus_dropped.add(dropped);
            let (events, edus) = self.queues.count(nid, EVENTS_MAX).await?;
            self.lanes.counted(server, events, edus);
        }
        Ok(Outcome::Shelved(self.clock.now_ms().saturating_add(SHELVED_PAUSE_MS)))
    }

    /// Nothing of a transaction is here any more.
    async fn gone(
        &self,
        server: &ServerName,
        Sending { nid, load, .. }: Sending,
        row: DestinationRow,
    ) -> Result<Outcome, FederationError> {
        let mut batch = Batch::default();
        load.remove(&mut batch);
        batch.put(&DESTINATIONS, &nid, &Packed(DestinationRow { pending: None, ..row }));
        self.store.commit(batch).await?;
        self.lanes.removed(server, load.live_events() as u64, load.edu_rows.len() as u64);
        Ok(Outcome::More)
    }

    /// The server took a transaction.
    async fn taken(
        &self,
        server: &ServerName,
        sending: Sending,
        before: DestinationRow,
        refused: usize,
    ) -> Result<Outcome, FederationError> {
        let Sending { nid, load, pdus, edus, .. } = sending;
        let now_ms = self.clock.now_ms();
        self.counters.taken(pdus, edus, refused);
        if before.failures > 0 {
            tracing::info!(%server, "a server answers again");
        }
        let mut batch = Batch::default();
        load.remove(&mut batch);
        self.record_taken(&mut batch, server, &load).await?;
        let newest = load.newest();
        for (room, place) in &newest {
            batch.put(&SENT, &(nid, *room), &Packed(*place));
        }
        let row = DestinationRow {
            success_ts: now_ms,
            success_place: newest.values().max().copied().max(before.success_place),
            // What the server takes offence at was found, or is among what comes now: the load grows again.
            items_max: if before.items_max == 0 { 0 } else { grown(before.items_max) },
            ..DestinationRow::default()
        };
        let only_time_moved = row == DestinationRow { success_ts: now_ms, ..before.clone() };
        if !only_time_moved || now_ms.saturating_sub(before.success_ts) >= SUCCESS_PRECISION_MS {
            batch.put(&DESTINATIONS, &nid, &Packed(row));
        }
        if !batch.is_empty() {
            self.store.commit(batch).await?;
        }
        self.lanes.removed(server, load.live_events() as u64, load.edu_rows.len() as u64);
        Ok(Outcome::More)
    }

    /// The server did not take a transaction.
    async fn failed(
        &self,
        server: &ServerName,
        sending: Sending,
        before: DestinationRow,
        at_ms: u64,
        error: &PartnerError,
    ) -> Result<Outcome, FederationError> {
        let now_ms = self.clock.now_ms();
        self.counters.failed();
        let items = sending.items();
        let Sending { nid, load, signals, .. } = sending;
        let failure_ts = if before.failures == 0 { now_ms } else { before.failure_ts };
        let pause_max_ms =
            if now_ms.saturating_sub(failure_ts) > FAILING_LONG_MS { PAUSE_LONG_MAX_MS } else { PAUSE_MAX_MS };
        let mut row = DestinationRow {
            failures: before.failures.saturating_add(1),
            failure_ts,
            retry_last_ts: now_ms,
            retry_interval_ms: pause_ms(before.failures, pause_max_ms, asked_ms(error), rand::random()),
            ..before.clone()
        };
        let mut batch = Batch::default();
        if is_about_content(error) {
            row.pending = None;
            if items > 1 {
                row.items_max = u16::try_from(items / 2).unwrap_or(u16::MAX);
            } else {
                row.refusals = before.refusals.saturating_add(1);
            }
            if row.refusals >= REFUSALS_MAX {
                tracing::warn!(%server, "a server refuses one message again and again: it is dropped");
                load.remove(&mut batch);
                row.refusals = 0;
                self.counters.dropped_as_refused();
                self.lanes.removed(server, load.live_events() as u64, load.edu_rows.len() as u64);
            }
        } else {
            row.pending = (!load.is_empty()).then(|| Pending {
                at_ms,
                events: u16::try_from(load.events.len()).unwrap_or(u16::MAX),
                edus: u16::try_from(load.edu_rows.len()).unwrap_or(u16::MAX),
            });
            self.lanes.put_back(server, signals);
        }
        if before.failures == 0 {
            let reason = reason(error);
            tracing::info!(%server, reason, "a server does not take what is sent to it; trying again");
        }
        let retry_at_ms = row.retry_at_ms();
        batch.put(&DESTINATIONS, &nid, &Packed(row));
        self.store.commit(batch).await?;
        Ok(Outcome::RetryAt(retry_at_ms))
    }
}

/// What the next transaction may hold.
fn limits(row: &DestinationRow) -> LoadLimits {
    if let Some(pending) = row.pending {
        return LoadLimits { events: pending.events.into(), edus: pending.edus.into(), again: true };
    }
    let (events, edus) = (TRANSACTION_EVENTS_MAX, TRANSACTION_EDUS_MAX);
    match usize::from(row.items_max) {
        0 => LoadLimits { events, edus, again: false },
        // One by one: events first.
        1 => LoadLimits { events: 1, edus: 0, again: false },
        items => LoadLimits { events: events.min(items / 2), edus: edus.min(items - items / 2), again: false },
    }
}

/// Twice as much, until it is as much as the specification allows.
fn grown(items_max: u16) -> u16 {
    let doubled = items_max.saturating_mul(2);
    if usize::from(doubled) > TRANSACTION_EVENTS_MAX + TRANSACTION_EDUS_MAX { 0 } else { doubled }
}

/// Gives back the memory that a transaction does not need.
fn shrink(permit: &mut OwnedSemaphorePermit, bytes: usize) {
    let needed = bytes / BUDGET_UNIT_BYTES + 1;
    drop(permit.split(permit.num_permits().saturating_sub(needed)));
}

/// Why a server did not take a transaction, without what it says itself.
fn reason(error: &PartnerError) -> String {
    match error {
        PartnerError::Refused { status, .. } => format!("it answered {status}"),
        error => error.to_string(),
    }
}

/// Whether the server refused a transaction for what is in it.
fn is_about_content(error: &PartnerError) -> bool {
    let statuses = [StatusCode::BAD_REQUEST, StatusCode::PAYLOAD_TOO_LARGE, StatusCode::UNPROCESSABLE_ENTITY];
    matches!(error, PartnerError::Refused { status, .. } if statuses.contains(status))
}

/// The pause that a server asks for (client-server API, section "Rate limiting"), in milliseconds.
fn asked_ms(error: &PartnerError) -> u64 {
    #[derive(Deserialize)]
    struct Limited {
        retry_after_ms: u64,
    }
    match error {
        PartnerError::Refused { status, body: Some(body), .. } if *status == StatusCode::TOO_MANY_REQUESTS => {
            serde_json::from_slice(body).map_or(0, |Limited { retry_after_ms }| retry_after_ms)
        }
        _ => 0,
    }
}

/// How long a server is left alone after a failure, the last of `failures` and one: doubled each time, with a quarter
/// more or less so that servers that failed together do not come back together.
fn pause_ms(failures: u32, max_ms: u64, asked_ms: u64, random: u32) -> u64 {
    let doubled = PAUSE_FIRST_MS.checked_shl(failures.min(32)).unwrap_or(max_ms).min(max_ms);
    let quarter = doubled / 4;
    let jittered = doubled - quarter + u64::from(random) % (2 * quarter + 1);
    jittered.max(asked_ms.min(PAUSE_LONG_MAX_MS))
}
