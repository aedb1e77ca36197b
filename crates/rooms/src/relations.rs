//! Relations: which events point at which, and what is worked out from it (specification, "Forming relationships
//! between events").
//!
//! An event names its parent in its content. The writer of the room keeps, in the batch of the event itself:
//!
//! - [`CHILDREN`]: the children of a parent, by kind of relation and by place, so that their pages mix with those of the
//!   timeline. A parent is found in its child's room only, and need not have come yet.
//! - [`SUMMARIES`]: what is told of a parent with its children, as far as counting them anew would be slow. An event
//!   without children has none, which is a look-up in memory for events that are read.
//! - [`ANNOTATIONS`]: who has annotated what with what, to refuse doing so twice.
//! - [`THREADS`] and [`THREAD_USERS`]: the threads of a room by their newest reply, and who has replied in them.
//!
//! Redacting a child takes it out of all of them; redacting a parent leaves its children where they are, unless whoever does it
//! wishes otherwise (`redacting`).

mod bundle;
mod check;
mod index;
mod page;
mod redacting;
mod summaries;
#[cfg(test)]
mod tests;
mod threads;

use std::{borrow::Cow, sync::Arc};

use ruma::{EventId, OwnedEventId, UserId};
use serde::{Deserialize, Serialize};
use wardroom_event::Pdu;
use wardroom_store::{Packed, Position, Profile, Seal, Store, Table};

use crate::{
    Actor, Engine, Rooms,
    error::RoomError,
    events::Stored,
    ids::{EventNid, RoomNid, UserNid},
};

pub(crate) use self::{
    check::RelationsCheck,
    index::Relating,
    redacting::{RELATED_DUE, RELATED_WISHES, Wish},
    summaries::SummaryCache,
};
pub use self::{
    page::{RELATIONS_RECURSION_DEPTH, RelationsPage, RelationsQuery},
    redacting::{RELATED_TYPES_MAX, Related},
    threads::{THREADS_PAGE_MAX, ThreadsPage},
};

/// Relations that lead from an event to its thread (specification, "Threaded read receipts": 3 are recommended).
pub(crate) const THREAD_HOPS_MAX: u32 = 3;
/// Replacements of one event, the newest, among which the one that counts is looked for.
const REPLACEMENTS_SCAN_MAX: usize = 1_000;
/// Longest event id (specification, appendix "Common identifier format"); a longer one names nothing.
const EVENT_ID_BYTES_MAX: usize = 255;
/// Domain of the keyed hash of a relation type.
const HASH_REL_TYPE: u8 = 0x20;
/// Domain of the keyed hash of an event type.
const HASH_EVENT_TYPE: u8 = 0x21;
/// Domain of the keyed hash of an annotation.
const HASH_ANNOTATION: u8 = 0x22;

/// Kinds of relation in keys.
pub(crate) const ANNOTATION: u8 = 1;
pub(crate) const REPLACEMENT: u8 = 2;
pub(crate) const REFERENCE: u8 = 3;
pub(crate) const THREAD: u8 = 4;
/// Every type that this server attaches no meaning to.
pub(crate) const OTHER: u8 = 5;
pub(crate) const CLASSES: [u8; 5] = [ANNOTATION, REPLACEMENT, REFERENCE, THREAD, OTHER];

/// Children of an event: (room, parent, kind of relation, place of the child).
pub(crate) const CHILDREN: Table<(RoomNid, EventNid, u8, Position, u16), Packed<Child>> =
    Table::new(0x0220, "relation_children", Profile::Scan, Seal::System);
/// What is known of an event's children without looking at them.
pub(crate) const SUMMARIES: Table<(RoomNid, EventNid), Packed<Summary>> =
    Table::new(0x0221, "relation_summaries", Profile::Point, Seal::System);
/// Annotations: room, and keyed hash of parent, sender, event type and key.
pub(crate) const ANNOTATIONS: Table<(RoomNid, [u8; 16]), Packed<EventNid>> =
    Table::new(0x0222, "annotations", Profile::Point, Seal::System);
/// Threads by the place of their newest reply.
pub(crate) const THREADS: Table<(RoomNid, Position, u16), Packed<ThreadEntry>> =
    Table::new(0x0223, "threads", Profile::Scan, Seal::System);
/// Replies of a user in a thread: (room, root, user).
pub(crate) const THREAD_USERS: Table<(RoomNid, EventNid, UserNid), u64> =
    Table::new(0x0224, "thread_users", Profile::Point, Seal::System);

/// A child at rest. Types are kept as hashes: what a client wrote into its content ends with the content's data key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Child {
    pub(crate) event: EventNid,
    /// Keyed hash of the relation type.
    pub(crate) rel: u64,
    /// Keyed hash of the event type.
    pub(crate) kind: u64,
    pub(crate) sender: UserNid,
    /// `origin_server_ts`.
    pub(crate) ts_ms: u64,
    /// The event could replace one of the same sender and type.
    pub(crate) replaces: bool,
}

/// What is known of an event's children.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Summary {
    /// A bit for each kind of relation that a child ever had.
    pub(crate) classes: u8,
    /// The most recent valid replacement, and its `origin_server_ts`.
    pub(crate) replacement: Option<(u64, EventNid)>,
    pub(crate) thread: Option<Thread>,
}

impl Summary {
    pub(crate) const fn has(&self, class: u8) -> bool {
        self.classes & (1 << class) != 0
    }
}

/// A thread, as its root knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Thread {
    /// Replies.
    pub(crate) count: u64,
    /// The newest reply.
    pub(crate) latest: EventNid,
    /// Who sent the root.
    pub(crate) starter: UserNid,
}

/// A thread in the list of a room's threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ThreadEntry {
    pub(crate) root: EventNid,
    /// Who sent the root.
    pub(crate) starter: UserNid,
}

/// What an event's content says of the event it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Relation {
    pub(crate) parent: OwnedEventId,
    pub(crate) rel_type: String,
    /// The key of an annotation.
    pub(crate) key: Option<String>,
}

#[derive(Deserialize)]
struct Content<'a> {
    #[serde(borrow, rename = "m.relates_to")]
    relates_to: RelatesTo<'a>,
}

#[derive(Deserialize)]
struct RelatesTo<'a> {
    #[serde(borrow)]
    rel_type: Cow<'a, str>,
    event_id: OwnedEventId,
    #[serde(default)]
    key: serde_json::Value,
}

impl Relation {
    /// The relation of an event; none where it has none, or one that does not match the specification's schema, which
    /// is ignored. A rich reply alone is none.
    pub(crate) fn of(pdu: &Pdu) -> Option<Self> {
        // Stored content is canonical: nothing in a field's name is escaped that need not be.
        if !pdu.content().get().contains("\"m.relates_to\"") {
            return None;
        }
        let RelatesTo { rel_type, event_id, key } = pdu.content_as::<Content<'_>>().ok()?.relates_to;
        if event_id.as_bytes().len() > EVENT_ID_BYTES_MAX {
            return None;
        }
        let key = match key {
            serde_json::Value::String(key) => Some(key),
            _ => None,
        };
        Some(Self { parent: event_id, rel_type: rel_type.into_owned(), key })
    }

    pub(crate) fn class(&self) -> u8 {
        class_of(&self.rel_type)
    }
}

/// The kind of a relation type.
pub(crate) fn class_of(rel_type: &str) -> u8 {
    match rel_type {
        "m.annotation" => ANNOTATION,
        "m.replace" => REPLACEMENT,
        "m.reference" => REFERENCE,
        "m.thread" => THREAD,
        _ => OTHER,
    }
}

fn short_hash(store: &Store, domain: u8, text: &str) -> u64 {
    let hash = store.keyed_hash(domain, text.as_bytes());
    hash.first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

fn rel_type_hash(store: &Store, rel_type: &str) -> u64 {
    short_hash(store, HASH_REL_TYPE, rel_type)
}

fn event_type_hash(store: &Store, kind: &str) -> u64 {
    short_hash(store, HASH_EVENT_TYPE, kind)
}

impl Child {
    /// The child that an event is by its relation, where the event and its sender have these numbers.
    fn of(store: &Store, pdu: &Pdu, relation: &Relation, event: EventNid, sender: UserNid) -> Self {
        Self {
            event,
            rel: rel_type_hash(store, &relation.rel_type),
            kind: event_type_hash(store, &pdu.kind().to_string()),
            sender,
            ts_ms: pdu.origin_server_ts(),
            replaces: relation.class() == REPLACEMENT && could_replace(pdu),
        }
    }
}

/// Whether an event could replace another: it is no state event and has the new content, where that can be seen.
fn could_replace(pdu: &Pdu) -> bool {
    #[derive(Deserialize)]
    struct Replacing {
        #[serde(rename = "m.new_content")]
        new_content: Option<serde_json::Map<String, serde_json::Value>>,
    }
    let encrypted = pdu.kind().to_string() == "m.room.encrypted";
    !pdu.is_state() && (encrypted || pdu.content_as::<Replacing>().is_ok_and(|content| content.new_content.is_some()))
}

/// What of a parent decides which of its children count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ParentFacts {
    sender: UserNid,
    kind: u64,
    is_state: bool,
    /// Kind of the parent's own relation.
    class: Option<u8>,
}

impl ParentFacts {
    /// The facts of a parent whose sender has this number.
    pub(crate) fn of(store: &Store, pdu: &Pdu, sender: UserNid) -> Self {
        Self {
            sender,
            kind: event_type_hash(store, &pdu.kind().to_string()),
            is_state: pdu.is_state(),
            class: Relation::of(pdu).map(|relation| relation.class()),
        }
    }

    /// Whether this child is a valid replacement (specification, "Validity of replacement events").
    pub(crate) fn is_replaced_by(&self, child: &Child) -> bool {
        child.replaces
            && !self.is_state
            && self.class != Some(REPLACEMENT)
            && child.sender == self.sender
            && child.kind == self.kind
    }

    /// Whether the event can be a thread's root: one that is itself a child cannot.
    pub(crate) fn can_have_thread(&self) -> bool {
        self.class.is_none()
    }
}

/// Somebody to whom events are told with what belongs to them.
#[derive(Clone, Copy)]
pub struct Viewer<'a> {
    /// Who.
    pub actor: Actor<'a>,
    /// Whom the user ignores; `None` where that is nobody.
    pub ignores: Option<&'a (dyn Fn(&UserId) -> bool + Send + Sync)>,
}

impl std::fmt::Debug for Viewer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Viewer").field("actor", &self.actor).finish_non_exhaustive()
    }
}

impl<'a> Viewer<'a> {
    /// A viewer who ignores nobody.
    pub const fn new(actor: Actor<'a>) -> Self {
        Self { actor, ignores: None }
    }

    /// Whether nothing of this event is told: it is no state event, and by somebody ignored.
    pub(crate) fn ignores_event(&self, pdu: &Pdu) -> bool {
        !pdu.is_state() && self.ignores.is_some_and(|ignores| ignores(pdu.sender()))
    }
}

impl Engine {
    /// The event that a relation names, if it stands in this room.
    pub(crate) async fn related(&self, room: RoomNid, event: &EventId) -> Result<Option<Arc<Stored>>, RoomError> {
        match self.event_nid(event).await? {
            Some(nid) => self.event(room, nid).await,
            None => Ok(None),
        }
    }
}

impl Rooms {
    /// The root of the thread that an event is in, by its own relation or that of an event it relates to (specification,
    /// "Threaded read receipts"); none for events of the main timeline, among them the roots themselves.
    ///
    /// Costs nothing for events without a relation and no look-up for a thread's replies. Of a redacted event nobody
    /// knows any more where it belonged.
    pub async fn thread_root_of(&self, room: RoomNid, event: &Stored) -> Result<Option<OwnedEventId>, RoomError> {
        let mut relation = Relation::of(&event.pdu);
        for _ in 0..THREAD_HOPS_MAX {
            let Some(Relation { parent, rel_type, .. }) = relation else { return Ok(None) };
            if class_of(&rel_type) == THREAD {
                return Ok(Some(parent));
            }
            let Some(parent) = self.engine.related(room, &parent).await? else { return Ok(None) };
            relation = Relation::of(&parent.pdu);
        }
        Ok(None)
    }
}
