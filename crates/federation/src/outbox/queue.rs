//! The queues of other servers in the store.

use std::collections::{BTreeMap, HashMap};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::value::RawValue as RawJsonValue;
use sha2::{Digest, Sha256};
use wardroom_rooms::{EventNid, Place, RoomError, RoomNid};
use wardroom_store::{Batch, Packed, Position, Scan, Store};

use super::{
    carrier::Source,
    tables::{CATCH_UP, DESTINATIONS, DestinationRow, EDUS, EVENTS, EduKey, EduRow, EventKey, ServerNid},
};
use crate::FederationError;

/// Events in one transaction (server-server API, section "Transactions").
pub(super) const TRANSACTION_EVENTS_MAX: usize = 50;
/// Other things in one transaction.
pub(super) const TRANSACTION_EDUS_MAX: usize = 100;
/// Bytes of other things in one transaction, unless a single one is larger.
pub(super) const TRANSACTION_EDUS_BYTES_MAX: usize = 512 * 1024;
/// Bytes of an event (client-server API, section "Size limits").
const EVENT_BYTES_MAX: usize = 65_536;
/// Rows that are read at once where they may be large.
const EDUS_PER_READ: usize = 10;
/// Rows that one commit moves or drops.
const ROWS_PER_COMMIT: usize = 1_000;

/// An event that is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct QueuedEvent {
    pub(super) row: EventRowKey,
    pub(super) place: Place,
    pub(super) room: RoomNid,
    pub(super) event: EventNid,
}

/// Where its row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EventRowKey {
    Live(EventKey),
    CatchUp((ServerNid, RoomNid)),
}

/// What is to be sent next.
#[derive(Debug, Default)]
pub(super) struct Load {
    pub(super) events: Vec<QueuedEvent>,
    /// Of those, the ones that are still there, in their order.
    pub(super) pdus: Vec<Box<RawJsonValue>>,
    pub(super) edu_rows: Vec<EduKey>,
    pub(super) edus: Vec<Box<RawJsonValue>>,
}

impl Load {
    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty() && self.edu_rows.is_empty()
    }

    /// The id of the transaction that holds this: the same for the same rows, also after a restart, and for no others.
    pub(super) fn transaction_id(&self, server: ServerNid) -> String {
        let mut hash = Sha256::new();
        hash.update(server.to_be_bytes());
        for QueuedEvent { room, event, place, .. } in &self.events {
            hash.update(room.get().to_be_bytes());
            hash.update(event.get().to_be_bytes());
            hash.update(place.position().get().to_be_bytes());
        }
        hash.update([0xFF]);
        for (_, position, order) in &self.edu_rows {
            hash.update(position.get().to_be_bytes());
            hash.update(order.to_be_bytes());
        }
        BASE64_URL_SAFE_NO_PAD.encode(&hash.finalize()[..16])
    }

    /// Removes its rows in a batch.
    pub(super) fn remove(&self, batch: &mut Batch) {
        for queued in &self.events {
            match queued.row {
                EventRowKey::Live(key) => batch.delete(&EVENTS, &key),
                EventRowKey::CatchUp(key) => batch.delete(&CATCH_UP, &key),
            }
        }
        self.edu_rows.iter().for_each(|key| batch.delete(&EDUS, key));
    }

    /// Of its events, those that came from the queue of single events.
    pub(super) fn live_events(&self) -> usize {
        self.events.iter().filter(|queued| matches!(queued.row, EventRowKey::Live(_))).count()
    }

    /// The newest event of each room.
    pub(super) fn newest(&self) -> BTreeMap<RoomNid, Place> {
        let mut newest = BTreeMap::new();
        for queued in &self.events {
            let place = newest.entry(queued.room).or_insert(queued.place);
            *place = queued.place.max(*place);
        }
        newest
    }
}

/// What a load may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LoadLimits {
    pub(super) events: usize,
    pub(super) edus: usize,
    /// Whether exactly so much is wanted, since it was sent before.
    pub(super) again: bool,
}

/// Reads and writes queues.
#[derive(Clone, Debug)]
pub(super) struct Queues(pub(super) Store);

impl Queues {
    /// How sending to a server fares.
    pub(super) async fn destination(&self, server: ServerNid) -> Result<DestinationRow, FederationError> {
        Ok(self.0.latest().get(&DESTINATIONS, &server).await?.map(|Packed(row)| row).unwrap_or_default())
    }

    /// What waits for a server: events, and what else, each counted up to a limit.
    pub(super) async fn count(&self, server: ServerNid, up_to: u64) -> Result<(u64, u64), FederationError> {
        let scan = Scan::prefix(&server).limit(usize::try_from(up_to).unwrap_or(usize::MAX));
        let events = self.0.latest().scan_keys(&EVENTS, scan.clone()).await?.len();
        let edus = self.0.latest().scan_keys(&EDUS, scan).await?.len();
        Ok((events as u64, edus as u64))
    }

    /// Rooms of which only the newest event is sent.
    pub(super) async fn is_catching_up(&self, server: ServerNid) -> Result<bool, FederationError> {
        Ok(!self.0.latest().scan_keys(&CATCH_UP, Scan::prefix(&server).limit(1)).await?.is_empty())
    }

    /// The first events to send: of rooms in which the server has missed much, then one by one.
    pub(super) async fn first_events(
        &self,
        server: ServerNid,
        limit: usize,
    ) -> Result<Vec<QueuedEvent>, FederationError> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let scan = Scan::prefix(&server).limit(limit);
        let missed = self.0.latest().scan(&CATCH_UP, scan.clone()).await?;
        if !missed.is_empty() {
            let queued = missed.into_iter().map(|(key, Packed((place, event)))| QueuedEvent {
                row: EventRowKey::CatchUp(key),
                place,
                room: key.1,
                event,
            });
            return Ok(queued.collect());
        }
        let rows = self.0.latest().scan(&EVENTS, scan).await?;
        let queued = rows.into_iter().map(|(key, Packed((room, event)))| QueuedEvent {
            row: EventRowKey::Live(key),
            place: Place::new(key.1, key.2),
            room,
            event,
        });
        Ok(queued.collect())
    }

    /// What may be needed in memory for a load of these events, in bytes.
    pub(super) fn bytes_max(events: usize) -> usize {
        events * EVENT_BYTES_MAX + 2 * TRANSACTION_EDUS_BYTES_MAX
    }

    /// Reads what is to be sent.
    pub(super) async fn load(
        &self,
        source: &dyn Source,
        server: ServerNid,
        events: Vec<QueuedEvent>,
        limits: LoadLimits,
    ) -> Result<Load, FederationError> {
        let pdus = read_events(source, &events).await?;
        let mut load = Load { events, pdus, ..Load::default() };
        let (mut scan, mut bytes) = (Scan::prefix(&server), 0);
        while load.edus.len() < limits.edus {
            let page = EDUS_PER_READ.min(limits.edus - load.edus.len());
            let rows: Vec<(EduKey, Packed<EduRow>)> = self.0.latest().scan(&EDUS, scan.clone().limit(page)).await?;
            let full = rows.len() == page;
            for (key, Packed(row)) in rows {
                bytes += row.content.len();
                if bytes > TRANSACTION_EDUS_BYTES_MAX && !load.edus.is_empty() && !limits.again {
                    return Ok(load);
                }
                load.edu_rows.push(key);
                load.edus.extend(edu_json(&row.kind, &row.content));
                scan = scan.after(&key);
            }
            if !full {
                break;
            }
        }
        Ok(load)
    }

    /// Replaces the events that wait for a server by the newest of each room. Returns whether there were any.
    pub(super) async fn shorten_events(&self, server: ServerNid) -> Result<bool, FederationError> {
        let mut moved = false;
        // What comes while this works is younger than all that is moved: it can stay.
        let end = Position::new(self.0.position().get().saturating_add(1));
        loop {
            let scan = Scan::prefix(&server).before(&(server, end)).limit(ROWS_PER_COMMIT);
            let rows = self.0.latest().scan(&EVENTS, scan).await?;
            if rows.is_empty() {
                return Ok(moved);
            }
            let (mut batch, mut newest) = (Batch::default(), HashMap::new());
            for (key, Packed((room, event))) in &rows {
                batch.delete(&EVENTS, key);
                newest.insert(*room, (Place::new(key.1, key.2), *event));
            }
            for (room, event) in newest {
                batch.put(&CATCH_UP, &(server, room), &Packed(event));
            }
            if !moved {
                self.forget_pending(&mut batch, server).await?;
            }
            self.0.commit(batch).await?;
            moved = true;
        }
    }

    /// Drops the oldest of what else waits for a server, beyond the newest `kept`. Returns how many.
    pub(super) async fn shorten_edus(&self, server: ServerNid, kept: u64) -> Result<u64, FederationError> {
        let kept = usize::try_from(kept).unwrap_or(usize::MAX);
        let mut dropped = 0;
        if kept > 0 {
            let newest = Scan::prefix(&server).reverse().limit(kept);
            let newest = self.0.latest().scan_keys(&EDUS, newest).await?;
            let Some(oldest_kept) = newest.last().filter(|_| newest.len() == kept) else { return Ok(0) };
            let older = Scan::prefix(&server).before(oldest_kept);
            dropped += self.drop_edus(server, older).await?;
        } else {
            let end = Position::new(self.0.position().get().saturating_add(1));
            dropped += self.drop_edus(server, Scan::prefix(&server).before(&(server, end))).await?;
        }
        Ok(dropped)
    }

    async fn drop_edus(&self, server: ServerNid, which: Scan) -> Result<u64, FederationError> {
        let mut dropped = 0;
        loop {
            let keys = self.0.latest().scan_keys(&EDUS, which.clone().limit(ROWS_PER_COMMIT)).await?;
            if keys.is_empty() {
                return Ok(dropped);
            }
            let mut batch = Batch::default();
            keys.iter().for_each(|key| batch.delete(&EDUS, key));
            if dropped == 0 {
                self.forget_pending(&mut batch, server).await?;
            }
            self.0.commit(batch).await?;
            dropped += keys.len() as u64;
        }
    }

    /// What was sent and not taken is not the beginning of the queue any more.
    async fn forget_pending(&self, batch: &mut Batch, server: ServerNid) -> Result<(), FederationError> {
        let row = self.destination(server).await?;
        if row.pending.is_some() {
            batch.put(&DESTINATIONS, &server, &Packed(DestinationRow { pending: None, ..row }));
        }
        Ok(())
    }
}

/// The events in their order, without those that are gone.
async fn read_events(source: &dyn Source, events: &[QueuedEvent]) -> Result<Vec<Box<RawJsonValue>>, FederationError> {
    let mut by_room: BTreeMap<RoomNid, Vec<EventNid>> = BTreeMap::new();
    for queued in events {
        by_room.entry(queued.room).or_default().push(queued.event);
    }
    let mut found = HashMap::new();
    for (room, nids) in by_room {
        match source.events(room, &nids).await {
            Ok(read) => found.extend(read),
            // The room is gone, and with it what was to be told of it.
            Err(RoomError::NoSuchRoom) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(events.iter().filter_map(|queued| found.remove(&queued.event)).collect())
}

/// The form in which other servers are told.
pub(super) fn edu_json(kind: &str, content: &str) -> Option<Box<RawJsonValue>> {
    let kind = serde_json::to_string(kind).ok()?;
    RawJsonValue::from_string(format!("{{\"edu_type\":{kind},\"content\":{content}}}")).ok()
}
