//! Events at rest and in memory.

use std::sync::Arc;

use quick_cache::{Weighter, sync::Cache};
use ruma::{EventId, OwnedEventId, events::StateEventType};
use wardroom_event::{Pdu, RoomVersion};
use wardroom_store::{Position, ReadError};

use crate::{
    Engine,
    error::RoomError,
    ids::{EventNid, NS_EVENT, NS_SLOT, NS_USER, Place, RoomNid, Slot, UserNid},
    tables::{EVENT_META, EVENTS, EventMeta, EventRecord, Standing},
    trie::{Root, StateWhich},
};

/// Bytes of events kept in memory.
const CACHED_EVENTS_BYTES_MAX: u64 = 10 * 1024 * 1024;
/// What an event costs in memory besides its JSON, about.
const EVENT_OVERHEAD_BYTES: u64 = 700;
/// Mean size of a cached event, from which the cache sizes its tables.
const EVENT_MEAN_BYTES: u64 = 1_500;

/// An event as this server keeps it.
#[derive(Debug)]
pub struct Stored {
    /// The event's number.
    pub nid: EventNid,
    /// The event; in its redacted form where it was redacted.
    pub pdu: Arc<Pdu>,
    /// The redaction, where it was redacted.
    pub redacted_because: Option<Arc<Pdu>>,
    /// When it came to this server, in milliseconds since 1970.
    pub received_ms: u64,
    /// Its time was over, and only its redacted form is left.
    pub pruned: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct ByBytes;

impl Weighter<EventKey, Arc<Stored>> for ByBytes {
    fn weight(&self, _: &EventKey, stored: &Arc<Stored>) -> u64 {
        let redaction = stored.redacted_because.as_ref().map_or(0, |pdu| pdu.json().len());
        EVENT_OVERHEAD_BYTES + u64::try_from(stored.pdu.json().len() + redaction).unwrap_or(u64::MAX / 2)
    }
}

/// Events in memory, bounded by bytes.
pub(crate) type EventCache = Cache<EventKey, Arc<Stored>, ByBytes>;

/// An event is looked up in its room: asked for in another, it is not there.
pub(crate) type EventKey = (RoomNid, EventNid);

pub(crate) fn event_cache() -> EventCache {
    let entries = usize::try_from(CACHED_EVENTS_BYTES_MAX / EVENT_MEAN_BYTES).unwrap_or(usize::MAX);
    Cache::with_weighter(entries, CACHED_EVENTS_BYTES_MAX, ByBytes)
}

impl Engine {
    /// The number of an event, if this server knows it.
    pub(crate) async fn event_nid(&self, id: &EventId) -> Result<Option<EventNid>, RoomError> {
        Ok(self.store.interner().lookup(NS_EVENT, id.as_str()).await?.map(EventNid::new))
    }

    /// The id of an event by its number.
    pub(crate) async fn event_id(&self, event: EventNid) -> Result<OwnedEventId, RoomError> {
        let name = self.store.interner().resolve(NS_EVENT, event.get()).await?;
        let id = name.and_then(|name| OwnedEventId::try_from(&*name).ok());
        id.ok_or_else(|| RoomError::inconsistent("number of an event"))
    }

    /// Where an event stands in its room's timeline; `None` of one that is in none.
    pub(crate) async fn meta(&self, event: EventNid) -> Result<Option<(EventMeta, Place)>, RoomError> {
        Ok(self.any_meta(event).await?.filter(|(meta, _)| meta.standing == Standing::Timeline))
    }

    /// Where an event stands, whatever it is to its room; the place is one in the timeline for [`Standing::Timeline`] only.
    pub(crate) async fn any_meta(&self, event: EventNid) -> Result<Option<(EventMeta, Place)>, RoomError> {
        let found: Option<(_, Position)> = self.store.latest().get_versioned(&EVENT_META, &event).await?;
        Ok(found.map(|(meta, position)| {
            let place = meta.0.past.unwrap_or(Place::new(position, meta.0.index));
            (meta.0, place)
        }))
    }

    /// Events of one room, in the order asked for; `None` where there is none.
    pub(crate) async fn events(&self, room: RoomNid, nids: &[EventNid]) -> Result<Vec<Option<Arc<Stored>>>, RoomError> {
        self.events_in(room, None, nids).await
    }

    /// As [`Engine::events`], for a room whose version may be known.
    pub(crate) async fn events_in(
        &self,
        room: RoomNid,
        version: Option<RoomVersion>,
        nids: &[EventNid],
    ) -> Result<Vec<Option<Arc<Stored>>>, RoomError> {
        let mut found: Vec<Option<Arc<Stored>>> = nids.iter().map(|nid| self.event_cache.get(&(room, *nid))).collect();
        let missing: Vec<usize> = (0..nids.len()).filter(|index| found[*index].is_none()).collect();
        if missing.is_empty() {
            return Ok(found);
        }
        let version = match version {
            Some(version) => version,
            None => match self.room(room).await {
                Ok(room) => room.view().version,
                // A room that was deleted has no events.
                Err(RoomError::NoSuchRoom) => return Ok(found),
                Err(error) => return Err(error),
            },
        };
        let keys: Vec<_> = missing.iter().map(|index| (room, nids[*index])).collect();
        let records = self.records(&keys).await?;
        for (index, record) in missing.into_iter().zip(records) {
            if let Some(record) = record {
                let stored = Arc::new(self.open(room, version, nids[index], record).await?);
                self.event_cache.insert((room, stored.nid), Arc::clone(&stored));
                found[index] = Some(stored);
            }
        }
        Ok(found)
    }

    /// Rows of events; `None` also where the key that sealed one was destroyed. A store that was restored from an old copy
    /// has such rows.
    async fn records(&self, keys: &[EventKey]) -> Result<Vec<Option<EventRecord>>, RoomError> {
        let store = self.store.latest();
        match store.multi_get(&EVENTS, keys).await {
            Err(ReadError::Shredded) => {}
            records => return Ok(records?),
        }
        let mut records = Vec::with_capacity(keys.len());
        for key in keys {
            records.push(match store.get(&EVENTS, key).await {
                Err(ReadError::Shredded) => None,
                record => record?,
            });
        }
        Ok(records)
    }

    async fn open(
        &self,
        room: RoomNid,
        version: RoomVersion,
        nid: EventNid,
        record: EventRecord,
    ) -> Result<Stored, RoomError> {
        let corrupt = |_| RoomError::inconsistent("event that does not parse");
        let EventRecord { received_ms, pruned, .. } = record;
        let pdu = Pdu::from_stored(record.json, record.id, version).map_err(corrupt)?;
        let pdu = Arc::new(pdu.with_rejected(record.rejected));
        let redaction = match record.redacted_by {
            Some(by) => self.records(&[(room, by)]).await?.pop().flatten(),
            None => None,
        };
        let redacted_because = match redaction {
            Some(by) => Some(Arc::new(Pdu::from_stored(by.json, by.id, version).map_err(corrupt)?)),
            None => None,
        };
        Ok(Stored { nid, pdu, redacted_because, received_ms, pruned })
    }

    /// One event of a room.
    pub(crate) async fn event(&self, room: RoomNid, nid: EventNid) -> Result<Option<Arc<Stored>>, RoomError> {
        if let Some(stored) = self.event_cache.get(&(room, nid)) {
            return Ok(Some(stored));
        }
        Ok(self.events(room, &[nid]).await?.pop().flatten())
    }

    /// The slot of a type and state key; `None` where no room ever had a state event there.
    pub(crate) async fn slot(&self, kind: &StateEventType, state_key: &str) -> Result<Option<Slot>, RoomError> {
        let names = self.store.interner();
        if *kind == StateEventType::RoomMember {
            let user = names.known(NS_USER, state_key).await?;
            return Ok(user.map(|user| Slot::member(UserNid::new(user))));
        }
        Ok(names.known(NS_SLOT, &Slot::name(kind, state_key)).await?.map(Slot::new))
    }

    /// The event at a place of a state.
    pub(crate) async fn state_event(
        &self,
        room: RoomNid,
        root: Root,
        kind: &StateEventType,
        state_key: &str,
    ) -> Result<Option<Arc<Stored>>, RoomError> {
        let Some(slot) = self.slot(kind, state_key).await? else { return Ok(None) };
        self.event_at(room, root, slot).await
    }

    /// The event at a slot of a state.
    pub(crate) async fn event_at(
        &self,
        room: RoomNid,
        root: Root,
        slot: Slot,
    ) -> Result<Option<Arc<Stored>>, RoomError> {
        match self.tries.get(&self.store.latest(), None, room, root, slot).await? {
            Some(nid) => self.event(room, nid).await,
            None => Ok(None),
        }
    }

    /// A state, or part of it.
    pub(crate) async fn state(
        &self,
        room: RoomNid,
        root: Root,
        which: StateWhich,
    ) -> Result<Vec<Arc<Stored>>, RoomError> {
        let mut nids: Vec<EventNid> = self
            .tries
            .entries(&self.store.latest(), None, room, root, which)
            .await?
            .into_iter()
            .map(|entry| entry.1)
            .collect();
        // In the order in which the events came: readers like it, and so does the disk.
        nids.sort_unstable();
        Ok(self.events(room, &nids).await?.into_iter().flatten().collect())
    }
}
