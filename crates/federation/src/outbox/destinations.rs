//! How sending to other servers fares, for administrators and measurements.

use std::cmp::Ordering;

use ruma::{OwnedRoomId, OwnedServerName, ServerName};
use wardroom_rooms::{NS_ROOM, NS_SERVER, Place, RoomNid};
use wardroom_store::{Batch, Packed, Scan};

use super::{
    Outbox,
    tables::{DESTINATIONS, DestinationRow, SENT, ServerNid},
};
use crate::FederationError;

/// Rows read at once.
const ROWS_PER_READ: usize = 1_000;

/// How sending to a server fares. Times are milliseconds since the epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DestinationView {
    /// The server.
    pub server: OwnedServerName,
    /// When it failed last, zero if it does not fail.
    pub retry_last_ts: u64,
    /// How long it is left alone since then, in milliseconds.
    pub retry_interval_ms: u64,
    /// When it began to fail.
    pub failure_ts: Option<u64>,
    /// Position in the log of the newest event that it took.
    pub last_position: Option<u64>,
}

/// By what [`Destinations`] are ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DestinationOrder {
    /// The name.
    #[default]
    Server,
    /// [`DestinationView::retry_last_ts`].
    RetryLast,
    /// [`DestinationView::retry_interval_ms`].
    RetryInterval,
    /// [`DestinationView::failure_ts`].
    Failure,
    /// [`DestinationView::last_position`].
    LastPosition,
}

/// Which servers to list.
#[derive(Clone, Debug, Default)]
pub struct DestinationQuery {
    /// Only those with this in their name.
    pub name_part: Option<String>,
    /// In which order.
    pub order: DestinationOrder,
    /// The other way round.
    pub backwards: bool,
    /// How many to leave out.
    pub from: usize,
    /// How many to list.
    pub limit: usize,
}

/// Servers to which something was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destinations {
    /// Those asked for.
    pub page: Vec<DestinationView>,
    /// How many match.
    pub total: usize,
}

/// A room of which a server took events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DestinationRoom {
    /// The room.
    pub room: OwnedRoomId,
    /// Position in the log of the newest of them.
    pub last_position: u64,
}

/// Rooms of which a server took events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DestinationRooms {
    /// Those asked for.
    pub page: Vec<DestinationRoom>,
    /// How many there are.
    pub total: usize,
}

/// What was counted since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutboxStats {
    /// Transactions that were taken.
    pub transactions: u64,
    /// Attempts that failed.
    pub failures: u64,
    /// Events in transactions that were taken.
    pub events: u64,
    /// Of those, the ones that the other server did not accept.
    pub events_refused: u64,
    /// Other things in them.
    pub edus: u64,
    /// Messages that were dropped since their server did not answer for long, or is not admitted.
    pub edus_dropped: u64,
    /// Events and messages that were dropped since their server refused them again and again.
    pub refused: u64,
    /// Signals that were dropped.
    pub signals_dropped: u64,
    /// Bytes of signals that wait, in memory.
    pub signal_bytes: u64,
    /// Events that wait.
    pub events_waiting: u64,
    /// Other things that wait.
    pub edus_waiting: u64,
    /// Servers that are left alone since they failed.
    pub failing: u64,
    /// Servers for which something waits although they are not admitted.
    pub not_admitted: u64,
}

/// A measurement of one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DestinationSample {
    /// The server.
    pub server: OwnedServerName,
    /// Events that wait.
    pub events_waiting: u64,
    /// Other things that wait.
    pub edus_waiting: u64,
    /// Whether it is told only the newest events of its rooms first, since it was away for long.
    pub is_catching_up: bool,
    /// Failures in a row.
    pub failures: u64,
    /// When it last took something, about, in milliseconds since the epoch; zero for never.
    pub success_ts: u64,
}

impl DestinationView {
    fn new(server: OwnedServerName, row: &DestinationRow) -> Self {
        Self {
            server,
            retry_last_ts: row.retry_last_ts,
            retry_interval_ms: row.retry_interval_ms,
            failure_ts: (row.failures > 0).then_some(row.failure_ts),
            last_position: row.success_place.map(|place| place.position().get()),
        }
    }

    fn compare(&self, other: &Self, order: DestinationOrder) -> Ordering {
        let by = match order {
            DestinationOrder::Server => Ordering::Equal,
            DestinationOrder::RetryLast => self.retry_last_ts.cmp(&other.retry_last_ts),
            DestinationOrder::RetryInterval => self.retry_interval_ms.cmp(&other.retry_interval_ms),
            DestinationOrder::Failure => self.failure_ts.cmp(&other.failure_ts),
            DestinationOrder::LastPosition => self.last_position.cmp(&other.last_position),
        };
        by.then_with(|| self.server.cmp(&other.server))
    }
}

/// A part of a list.
fn page<T>(all: Vec<T>, backwards: bool, from: usize, limit: usize) -> Vec<T> {
    if backwards {
        all.into_iter().rev().skip(from).take(limit).collect()
    } else {
        all.into_iter().skip(from).take(limit).collect()
    }
}

impl Outbox {
    /// Servers to which something was sent.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn destinations(&self, query: &DestinationQuery) -> Result<Destinations, FederationError> {
        let part = query.name_part.as_deref().map(str::to_lowercase);
        let (mut found, mut scan) = (Vec::new(), Scan::all());
        loop {
            let rows = self.inner.store.latest().scan(&DESTINATIONS, scan.limit(ROWS_PER_READ)).await?;
            let nids: Vec<ServerNid> = rows.iter().map(|(server, _)| *server).collect();
            let names = self.inner.store.interner().resolve_many(NS_SERVER, &nids).await?;
            for (name, (_, Packed(row))) in names.into_iter().zip(&rows) {
                let Some(server) = name.and_then(|name| ServerName::parse(&*name).ok()) else { continue };
                let name_fits = part.as_ref().is_none_or(|part| server.as_str().to_lowercase().contains(part));
                if name_fits {
                    found.push(DestinationView::new(server, row));
                }
            }
            match nids.last() {
                Some(last) if nids.len() == ROWS_PER_READ => scan = Scan::all().after(last),
                _ => break,
            }
        }
        found.sort_by(|a, b| a.compare(b, query.order));
        let total = found.len();
        Ok(Destinations { page: page(found, query.backwards, query.from, query.limit), total })
    }

    /// How sending to a server fares; `None` if nothing was ever sent there.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn destination(&self, server: &ServerName) -> Result<Option<DestinationView>, FederationError> {
        let found = self.destination_row(server).await?;
        Ok(found.map(|(_, row)| DestinationView::new(server.to_owned(), &row)))
    }

    /// Rooms of which a server took events; `None` if nothing was ever sent there.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn destination_rooms(
        &self,
        server: &ServerName,
        backwards: bool,
        from: usize,
        limit: usize,
    ) -> Result<Option<DestinationRooms>, FederationError> {
        let Some((nid, _)) = self.destination_row(server).await? else { return Ok(None) };
        let (mut found, mut scan) = (Vec::new(), Scan::prefix(&nid));
        loop {
            let rows = self.inner.store.latest().scan(&SENT, scan.limit(ROWS_PER_READ)).await?;
            let nids: Vec<u64> = rows.iter().map(|((_, room), _)| room.get()).collect();
            let names = self.inner.store.interner().resolve_many(NS_ROOM, &nids).await?;
            for (name, (_, Packed(place))) in names.into_iter().zip(&rows) {
                let room = name.and_then(|name| OwnedRoomId::try_from(&*name).ok());
                found.extend(room.map(|room| DestinationRoom { room, last_position: place.position().get() }));
            }
            match rows.last() {
                Some((last, _)) if rows.len() == ROWS_PER_READ => scan = Scan::prefix(&nid).after(last),
                _ => break,
            }
        }
        found.sort_by(|a, b| a.room.cmp(&b.room));
        let total = found.len();
        Ok(Some(DestinationRooms { page: page(found, backwards, from, limit), total }))
    }

    /// Up to where other servers took what was sent to them of a room.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn taken_of(&self, room: RoomNid) -> Result<Vec<(OwnedServerName, Place)>, FederationError> {
        let (view, mut taken, mut scan) = (self.inner.store.latest(), Vec::new(), Scan::all());
        loop {
            let servers = view.scan_keys(&DESTINATIONS, scan.limit(ROWS_PER_READ)).await?;
            let Some(last) = servers.last().copied() else { return Ok(taken) };
            let places = view.multi_get(&SENT, &servers.iter().map(|nid| (*nid, room)).collect::<Vec<_>>()).await?;
            let names = self.inner.store.interner().resolve_many(NS_SERVER, &servers).await?;
            for (name, place) in names.into_iter().zip(places) {
                let name = name.and_then(|name| OwnedServerName::try_from(&*name).ok());
                taken.extend(name.zip(place.map(|place| place.0)));
            }
            scan = Scan::all().after(&last);
        }
    }

    /// Ends the time for which a server is left alone: it is tried at once. Says whether it was left alone; `None` if
    /// nothing was ever sent there.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn reset(&self, server: &ServerName) -> Result<Option<bool>, FederationError> {
        let Some((nid, row)) = self.destination_row(server).await? else { return Ok(None) };
        if row.failures == 0 {
            return Ok(Some(false));
        }
        let mut batch = Batch::default();
        // The transaction that failed stays as it is: it may have arrived.
        let row = DestinationRow { failures: 0, failure_ts: 0, retry_last_ts: 0, retry_interval_ms: 0, ..row };
        batch.put(&DESTINATIONS, &nid, &Packed(row));
        self.inner.store.commit(batch).await?;
        self.inner.lanes.reset(server, self.inner.clock.now_ms());
        Ok(Some(true))
    }

    async fn destination_row(
        &self,
        server: &ServerName,
    ) -> Result<Option<(ServerNid, DestinationRow)>, FederationError> {
        let store = &self.inner.store;
        let Some(nid) = store.interner().lookup(NS_SERVER, server.as_str()).await? else { return Ok(None) };
        Ok(store.latest().get(&DESTINATIONS, &nid).await?.map(|Packed(row)| (nid, row)))
    }

    /// What was counted since the start, and what waits.
    pub fn stats(&self) -> OutboxStats {
        let counters = &self.inner.counters;
        let mut stats = OutboxStats {
            transactions: counters.transactions.get(),
            failures: counters.failures.get(),
            events: counters.events.get(),
            events_refused: counters.events_refused.get(),
            edus: counters.edus.get(),
            edus_dropped: counters.edus_dropped.get(),
            refused: counters.refused.get(),
            signals_dropped: counters.signals_dropped.get(),
            signal_bytes: self.inner.lanes.signal_bytes() as u64,
            ..OutboxStats::default()
        };
        for sight in self.inner.lanes.sights() {
            stats.events_waiting += sight.events;
            stats.edus_waiting += sight.edus;
            stats.failing += u64::from(sight.failing);
            stats.not_admitted += u64::from(sight.shelved);
        }
        stats
    }

    /// Measurements of single servers: those for which most waits, then others.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn samples(&self, limit: usize) -> Result<Vec<DestinationSample>, FederationError> {
        let mut sights = self.inner.lanes.sights();
        sights
            .sort_by_key(|sight| (std::cmp::Reverse((sight.failing, sight.events + sight.edus)), sight.server.clone()));
        sights.truncate(limit);
        let mut samples = Vec::new();
        for sight in sights {
            let (nid, row) = self.destination_row(&sight.server).await?.unwrap_or_default();
            let is_catching_up = sight.failing && self.inner.queues.is_catching_up(nid).await?;
            samples.push(DestinationSample {
                server: sight.server,
                events_waiting: sight.events,
                edus_waiting: sight.edus,
                is_catching_up,
                failures: row.failures.into(),
                success_ts: row.success_ts,
            });
        }
        let rows = self.inner.store.latest().scan(&DESTINATIONS, Scan::all().limit(limit)).await?;
        for (nid, Packed(row)) in rows {
            if samples.len() >= limit {
                break;
            }
            let Some(server) = self.inner.name(nid).await? else { continue };
            if samples.iter().all(|sample| sample.server != server) {
                let (failures, success_ts) = (row.failures.into(), row.success_ts);
                let (events_waiting, edus_waiting, is_catching_up) = (0, 0, false);
                samples.push(DestinationSample {
                    server,
                    events_waiting,
                    edus_waiting,
                    is_catching_up,
                    failures,
                    success_ts,
                });
            }
        }
        samples.sort_by(|a, b| a.server.cmp(&b.server));
        Ok(samples)
    }
}
