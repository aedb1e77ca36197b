//! Checking the index of relations against the events that make it.

use std::collections::{BTreeMap, HashMap, HashSet};

use wardroom_event::{Pdu, RoomVersion};
use wardroom_store::{Key, Packed, Scan, Store, Table, Value};

use super::{
    ANNOTATION, ANNOTATIONS, CHILDREN, Child, ParentFacts, REPLACEMENT, REPLACEMENTS_SCAN_MAX, Relation, SUMMARIES,
    Summary, THREAD, THREAD_USERS, THREADS, Thread, ThreadEntry,
};
use crate::{
    error::RoomError,
    ids::{EventNid, NS_EVENT, NS_USER, Place, RoomNid, UserNid},
    tables::EVENTS,
};

/// Rows read at a time.
const ROWS_PER_PAGE: usize = 1_000;

/// What the events of one room make of its relations.
#[derive(Debug, Default)]
pub(crate) struct RelationsCheck {
    children: BTreeMap<(EventNid, u8), BTreeMap<Place, Child>>,
}

/// What is wrong, in words that name events by number only.
type Problems = Vec<String>;

/// All rows of a room.
async fn rows<K: Key, V: Value>(store: &Store, table: &Table<K, V>, room: RoomNid) -> Result<Vec<(K, V)>, RoomError> {
    let (mut all, mut scan) = (Vec::new(), Scan::prefix(&room).limit(ROWS_PER_PAGE));
    loop {
        let page = store.latest().scan(table, scan).await?;
        let Some((last, _)) = page.last() else { return Ok(all) };
        scan = Scan::prefix(&room).after(last).limit(ROWS_PER_PAGE);
        all.extend(page);
    }
}

impl RelationsCheck {
    /// Notes an event of the timeline.
    pub(crate) async fn note(
        &mut self,
        store: &Store,
        event: EventNid,
        place: Place,
        pdu: &Pdu,
    ) -> Result<(), RoomError> {
        let Some(relation) = Relation::of(pdu) else { return Ok(()) };
        let names = store.interner();
        let parent = names.lookup(NS_EVENT, relation.parent.as_str()).await?;
        let sender = names.lookup(NS_USER, pdu.sender().as_str()).await?;
        // Without numbers there can be no entry, which counts as an entry that is missing.
        let (parent, sender) = (EventNid::new(parent.unwrap_or_default()), UserNid::new(sender.unwrap_or_default()));
        let child = Child::of(store, pdu, &relation, event, sender);
        self.children.entry((parent, relation.class())).or_default().insert(place, child);
        Ok(())
    }

    /// Compares with what is stored.
    pub(crate) async fn compare(
        &self,
        store: &Store,
        room: RoomNid,
        version: RoomVersion,
    ) -> Result<Problems, RoomError> {
        let mut problems = Vec::new();
        self.compare_children(store, room, &mut problems).await?;
        let mut threads = BTreeMap::new();
        let mut participants: HashMap<(EventNid, UserNid), u64> = HashMap::new();
        let parents: HashSet<EventNid> = self.children.keys().map(|(parent, _)| *parent).collect();
        for parent in parents {
            let summary = store.latest().get(&SUMMARIES, &(room, parent)).await?.map(|summary| summary.0);
            let summary = summary.unwrap_or_default();
            self.compare_summary(store, (room, version), parent, &summary, &mut problems).await?;
            if let Some(thread) = summary.thread {
                let replies = self.children.get(&(parent, THREAD));
                for reply in replies.into_iter().flat_map(BTreeMap::values) {
                    *participants.entry((parent, reply.sender)).or_default() += 1;
                }
                let last = replies.and_then(|replies| replies.last_key_value()).map(|(place, _)| *place);
                threads.insert(last.unwrap_or(Place::FIRST), ThreadEntry { root: parent, starter: thread.starter });
            }
        }
        let listed = rows(store, &THREADS, room).await?;
        let listed: BTreeMap<Place, ThreadEntry> =
            listed.into_iter().map(|((_, position, index), entry)| (Place::new(position, index), entry.0)).collect();
        if listed != threads {
            problems.push("has a list of threads that its events do not make".to_owned());
        }
        let counted = rows(store, &THREAD_USERS, room).await?;
        let counted: HashMap<_, _> =
            counted.into_iter().map(|((_, root, user), count)| ((root, user), count)).collect();
        if counted != participants {
            problems.push("counts the replies of its threads wrongly".to_owned());
        }
        Ok(problems)
    }

    async fn compare_children(&self, store: &Store, room: RoomNid, problems: &mut Problems) -> Result<(), RoomError> {
        let mut missing: usize = self.children.values().map(BTreeMap::len).sum();
        for ((_, parent, class, position, index), child) in rows(store, &CHILDREN, room).await? {
            let expected = self.children.get(&(parent, class));
            if expected.and_then(|children| children.get(&Place::new(position, index))) == Some(&child.0) {
                missing -= 1;
            } else {
                problems.push(format!("relates event {} to event {} wrongly", child.0.event.get(), parent.get()));
            }
        }
        if missing > 0 {
            problems.push(format!("lacks {missing} relations that its events have"));
        }
        let annotations = self.children.iter().filter(|((_, class), _)| *class == ANNOTATION);
        let known: HashSet<EventNid> =
            annotations.flat_map(|(_, children)| children.values()).map(|child| child.event).collect();
        for (_, Packed(event)) in rows(store, &ANNOTATIONS, room).await? {
            if !known.contains(&event) {
                problems.push(format!("keeps event {} as an annotation, which it is not", event.get()));
            }
        }
        Ok(())
    }

    async fn compare_summary(
        &self,
        store: &Store,
        (room, version): (RoomNid, RoomVersion),
        parent: EventNid,
        summary: &Summary,
        problems: &mut Problems,
    ) -> Result<(), RoomError> {
        let mut wrong = self.children.keys().any(|(of, class)| *of == parent && !summary.has(*class));
        let record = store.latest().get(&EVENTS, &(room, parent)).await?;
        let pdu = match record {
            // Of a redacted event nobody knows any more which children counted.
            Some(record) if record.redacted_by.is_some() => return Ok(()),
            Some(record) => Pdu::from_stored(record.json, record.id, version).ok(),
            None => None,
        };
        let expected = match pdu {
            Some(pdu) => self.summarize(store, parent, &pdu).await?,
            None => Summary::default(),
        };
        let replacements = self.children.get(&(parent, REPLACEMENT)).map_or(0, BTreeMap::len);
        wrong |= replacements <= REPLACEMENTS_SCAN_MAX && expected.replacement != summary.replacement;
        wrong |= expected.thread != summary.thread;
        if wrong {
            problems.push(format!("summarizes the children of event {} wrongly", parent.get()));
        }
        Ok(())
    }

    async fn summarize(&self, store: &Store, parent: EventNid, pdu: &Pdu) -> Result<Summary, RoomError> {
        let sender = store.interner().lookup(NS_USER, pdu.sender().as_str()).await?.unwrap_or_default();
        let (starter, mut summary) = (UserNid::new(sender), Summary::default());
        let facts = ParentFacts::of(store, pdu, starter);
        let replacements = self.children.get(&(parent, REPLACEMENT)).into_iter().flat_map(BTreeMap::values);
        let mut best = None;
        for child in replacements.filter(|child| facts.is_replaced_by(child)) {
            let id = store.interner().resolve(NS_EVENT, child.event.get()).await?;
            best = best.max(Some((child.ts_ms, id, child.event)));
        }
        summary.replacement = best.map(|(ts_ms, _, event)| (ts_ms, event));
        if let Some(replies) = self.children.get(&(parent, THREAD)).filter(|_| facts.can_have_thread()) {
            let count = u64::try_from(replies.len()).unwrap_or(u64::MAX);
            let latest = replies.last_key_value().map(|(_, reply)| reply.event);
            summary.thread = latest.map(|latest| Thread { count, latest, starter });
        }
        Ok(summary)
    }
}
