//! What push rules ask of an event, found out once for all users who have it to judge.

use std::sync::{Arc, OnceLock};

use quick_cache::{Weighter, sync::Cache};
use ruma::{EventId, OwnedEventId};
use serde::Deserialize;
use serde_json::Value;
use wardroom_event::Pdu;
use wardroom_rooms::{EventNid, RoomNid, Rooms, Stored, TimelineItem, TimelineRange};

use crate::{PushError, paths::segments};

/// Bytes of events kept in memory, as values.
const FACTS_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// What an event costs as values, as a multiple of its JSON, about.
const BYTES_PER_JSON_BYTE: u64 = 4;
/// Mean size of an event as values, from which the cache sizes its tables.
const FACTS_MEAN_BYTES: u64 = 3_000;
/// Relations that lead from an event to its thread (specification, "Marking notifications as read": 3 are encouraged).
const THREAD_HOPS_MAX: u32 = 3;

/// An event as push rules look at it.
#[derive(Debug)]
pub(crate) struct Facts {
    /// The event in federation format, which has all that clients see but the event's id.
    event: Value,
    /// `content.body` in lower case, where it is text.
    pub(crate) body: Option<String>,
    /// The root of the thread that the event is in; none in the main timeline.
    pub(crate) thread: Option<OwnedEventId>,
    /// Whether the sender has the power to notify everybody, once somebody asked.
    sender_may_notify: OnceLock<bool>,
    weight: u64,
}

/// What events are kept, by number. Redacted events are never asked for.
#[derive(Debug)]
pub(crate) struct FactsCache(Cache<EventNid, Arc<Facts>, ByBytes>);

#[derive(Clone, Debug)]
struct ByBytes;

impl Weighter<EventNid, Arc<Facts>> for ByBytes {
    fn weight(&self, _: &EventNid, facts: &Arc<Facts>) -> u64 {
        facts.weight
    }
}

impl Default for FactsCache {
    fn default() -> Self {
        let entries = usize::try_from(FACTS_BYTES_MAX / FACTS_MEAN_BYTES).unwrap_or(usize::MAX);
        Self(Cache::with_weighter(entries, FACTS_BYTES_MAX, ByBytes))
    }
}

impl Facts {
    pub(crate) fn new(pdu: &Pdu, thread: Option<OwnedEventId>) -> Self {
        // Stored events are JSON; one that is not would be an event without properties.
        let event: Value = serde_json::from_slice(pdu.json()).unwrap_or_default();
        let body = event.pointer("/content/body").and_then(Value::as_str).map(str::to_lowercase);
        let weight = BYTES_PER_JSON_BYTE.saturating_mul(u64::try_from(pdu.json().len()).unwrap_or(u64::MAX)).max(1);
        Self { event, body, thread, sender_may_notify: OnceLock::new(), weight }
    }

    /// The property at a dot-separated path.
    pub(crate) fn property(&self, path: &str) -> Option<&Value> {
        if !path.contains(['.', '\\']) {
            return self.event.get(path);
        }
        segments(path).iter().try_fold(&self.event, |value, name| value.as_object()?.get(name))
    }

    /// Users whom the event names: those it mentions, and the one whose membership it is. Rules that look for their
    /// user's own id can match for these alone.
    pub(crate) fn named(&self) -> impl Iterator<Item = &str> {
        let mentioned = self.event.pointer("/content/m.mentions/user_ids").and_then(Value::as_array);
        let mentioned = mentioned.into_iter().flatten().filter_map(Value::as_str);
        mentioned.chain(self.event.get("state_key").and_then(Value::as_str))
    }

    pub(crate) fn sender_may_notify(&self) -> Option<bool> {
        self.sender_may_notify.get().copied()
    }

    pub(crate) fn set_sender_may_notify(&self, may: bool) {
        // Whoever was first found out the same.
        let _ = self.sender_may_notify.set(may);
    }
}

/// How an event relates to another (specification, "Forming relationships between events").
#[derive(Deserialize)]
struct Related {
    #[serde(rename = "m.relates_to")]
    relation: Relation,
}

#[derive(Deserialize)]
struct Relation {
    rel_type: String,
    event_id: OwnedEventId,
}

fn relation(stored: &Stored) -> Option<Relation> {
    stored.pdu.content_as::<Related>().ok().map(|related| related.relation)
}

impl FactsCache {
    /// What rules ask of an event, from memory where somebody asked before.
    pub(crate) async fn of(&self, rooms: &Rooms, room: RoomNid, item: &TimelineItem) -> Result<Arc<Facts>, PushError> {
        if let Some(known) = self.0.get(&item.event.nid) {
            return Ok(known);
        }
        let thread = thread(rooms, room, &item.event).await?;
        let found = Arc::new(Facts::new(&item.event.pdu, thread));
        self.0.insert(item.event.nid, Arc::clone(&found));
        Ok(found)
    }
}

/// The root of the thread that an event is in, by its own relation or that of an event it relates to.
async fn thread(rooms: &Rooms, room: RoomNid, stored: &Stored) -> Result<Option<OwnedEventId>, PushError> {
    let mut related = relation(stored);
    for _ in 0..THREAD_HOPS_MAX {
        let Some(Relation { rel_type, event_id }) = related else { return Ok(None) };
        if rel_type == "m.thread" {
            return Ok(Some(event_id));
        }
        let Some(parent) = event_of(rooms, room, &event_id).await? else { return Ok(None) };
        related = relation(&parent);
    }
    Ok(None)
}

async fn event_of(rooms: &Rooms, room: RoomNid, event: &EventId) -> Result<Option<Arc<Stored>>, PushError> {
    let Some((_, place)) = rooms.place_of(event).await?.filter(|(nid, _)| *nid == room) else {
        return Ok(None);
    };
    let range = TimelineRange { from: place, to: place.next(), backwards: false, limit: 1 };
    Ok(rooms.timeline(room, range).await?.pop().map(|item| item.event))
}
