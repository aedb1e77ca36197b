//! Keeping relations in step with the events that a room's writer adds and redacts.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use wardroom_event::Pdu;
use wardroom_store::{Packed, Position, Scan};

use super::{
    ANNOTATION, ANNOTATIONS, CHILDREN, Child, HASH_ANNOTATION, ParentFacts, REPLACEMENT, REPLACEMENTS_SCAN_MAX,
    Relation, SUMMARIES, Summary, THREAD, THREAD_USERS, THREADS, Thread, ThreadEntry, class_of,
};
use crate::{
    error::RoomError,
    events::Stored,
    ids::{EventNid, NS_EVENT, NS_USER, RoomNid, UserNid},
    writer::{KeyPlace, Writer},
};

/// Replies of one thread that are counted when its root comes after them.
const ADOPTED_REPLIES_MAX: usize = 10_000;

/// A child of this group, which the store does not have yet.
#[derive(Clone, Copy, Debug)]
struct Added {
    parent: EventNid,
    class: u8,
    /// Where the child stands, as keys have it.
    at: KeyPlace,
    child: Child,
}

/// Relations as the group of writes leaves them so far.
#[derive(Debug, Default)]
pub(crate) struct Relating {
    summaries: HashMap<EventNid, Summary>,
    annotations: HashMap<[u8; 16], Option<EventNid>>,
    participants: HashMap<(EventNid, UserNid), u64>,
    added: Vec<Added>,
    removed: HashSet<EventNid>,
}

impl Relating {
    /// The summaries that changed.
    pub(crate) fn into_summaries(self) -> HashMap<EventNid, Summary> {
        self.summaries
    }

    /// Children of a parent that this group added and did not remove again, oldest first.
    fn added(&self, parent: EventNid, class: u8) -> impl DoubleEndedIterator<Item = &Added> {
        self.added.iter().filter(move |added| {
            added.parent == parent && added.class == class && !self.removed.contains(&added.child.event)
        })
    }
}

impl Writer {
    /// Refuses what would break the rules of a relation: a second equal annotation (specification, "Avoiding duplicate
    /// annotations"), and a thread that starts off an event which is itself a child ("Validation of `m.thread`
    /// relationships").
    pub(crate) async fn check_relation(&self, pdu: &Pdu) -> Result<(), RoomError> {
        let Some(relation) = Relation::of(pdu) else { return Ok(()) };
        let Some(parent) = self.engine.store.interner().known(NS_EVENT, relation.parent.as_str()).await? else {
            return Ok(());
        };
        match relation.class() {
            ANNOTATION => {
                let Some(hash) = self.annotation(parent, &relation, pdu) else { return Ok(()) };
                if self.annotated(hash).await?.is_some() { Err(RoomError::DuplicateAnnotation) } else { Ok(()) }
            }
            THREAD => match self.event(EventNid::new(parent)).await? {
                Some(root) if Relation::of(&root.pdu).is_some() => Err(RoomError::NotAThreadRoot),
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// The hash that an annotation shares with its duplicates.
    fn annotation(&self, parent: u64, relation: &Relation, pdu: &Pdu) -> Option<[u8; 16]> {
        let key = relation.key.as_ref()?;
        let mut bytes = parent.to_be_bytes().to_vec();
        for part in [pdu.sender().as_str(), &pdu.kind().to_string(), key] {
            bytes.extend_from_slice(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            bytes.extend_from_slice(part.as_bytes());
        }
        Some(self.engine.store.keyed_hash(HASH_ANNOTATION, &bytes))
    }

    async fn annotated(&self, hash: [u8; 16]) -> Result<Option<EventNid>, RoomError> {
        if let Some(known) = self.relating.annotations.get(&hash) {
            return Ok(*known);
        }
        let found = self.engine.store.latest().get(&ANNOTATIONS, &(self.nid(), hash)).await?;
        Ok(found.map(|event| event.0))
    }

    /// What is known of an event's children, as this group leaves it so far.
    async fn summary(&self, parent: EventNid) -> Result<Option<Summary>, RoomError> {
        match self.relating.summaries.get(&parent) {
            Some(summary) => Ok(Some(*summary)),
            None => self.engine.summary_of(self.nid(), parent).await,
        }
    }

    fn set_summary(&mut self, parent: EventNid, summary: Summary) {
        self.batch.put(&SUMMARIES, &(self.nid(), parent), &Packed(summary));
        self.relating.summaries.insert(parent, summary);
    }

    /// Enters a new event, at this place, with its parent; `named_before` says that an event has named it as a parent
    /// already.
    pub(crate) async fn relate(
        &mut self,
        stored: &Arc<Stored>,
        at: KeyPlace,
        named_before: bool,
    ) -> Result<(), RoomError> {
        let (room, pdu) = (self.nid(), &*stored.pdu);
        if named_before {
            self.adopt(stored).await?;
        }
        let Some(relation) = Relation::of(pdu) else { return Ok(()) };
        let names = self.engine.store.interner();
        let parent = EventNid::new(names.intern(&mut self.batch, NS_EVENT, relation.parent.as_str()).await?);
        let sender = UserNid::new(names.intern(&mut self.batch, NS_USER, pdu.sender().as_str()).await?);
        let class = relation.class();
        let child = Child::of(&self.engine.store, pdu, &relation, stored.nid, sender);
        self.batch.put(&CHILDREN, &(room, parent, class, at.0, at.1), &Packed(child));
        self.relating.added.push(Added { parent, class, at, child });
        self.note_related(stored, parent).await?;
        let before = self.summary(parent).await?;
        let mut summary = before.unwrap_or_default();
        summary.classes |= 1 << class;
        match class {
            ANNOTATION => {
                if let Some(hash) = self.annotation(parent.get(), &relation, pdu) {
                    self.batch.put(&ANNOTATIONS, &(room, hash), &Packed(stored.nid));
                    self.relating.annotations.insert(hash, Some(stored.nid));
                }
            }
            REPLACEMENT => summary.replacement = self.replaced_by(parent, summary.replacement, &child).await?,
            THREAD => {
                if let Some(facts) = self.parent_facts(parent).await?.filter(ParentFacts::can_have_thread) {
                    summary.thread = Some(self.grow_thread(parent, facts, summary.thread, &child, at).await?);
                }
            }
            _ => {}
        }
        if before != Some(summary) {
            self.set_summary(parent, summary);
        }
        Ok(())
    }

    async fn parent_facts(&self, parent: EventNid) -> Result<Option<ParentFacts>, RoomError> {
        let Some(stored) = self.event(parent).await? else { return Ok(None) };
        let sender = self.engine.store.interner().known(NS_USER, stored.pdu.sender().as_str()).await?;
        Ok(sender.map(|sender| ParentFacts::of(&self.engine.store, &stored.pdu, UserNid::new(sender))))
    }

    /// The replacement of an event that counts, now that it got this one.
    async fn replaced_by(
        &self,
        parent: EventNid,
        best: Option<(u64, EventNid)>,
        child: &Child,
    ) -> Result<Option<(u64, EventNid)>, RoomError> {
        match self.parent_facts(parent).await? {
            Some(facts) if facts.is_replaced_by(child) => {
                self.more_recent(best, (child.ts_ms, child.event)).await.map(Some)
            }
            _ => Ok(best),
        }
    }

    /// The more recent of two replacements, each with its `origin_server_ts` (specification, "Server-side aggregation of
    /// `m.replace` relationships").
    async fn more_recent(
        &self,
        best: Option<(u64, EventNid)>,
        other: (u64, EventNid),
    ) -> Result<(u64, EventNid), RoomError> {
        let Some(best) = best else { return Ok(other) };
        if best.0 != other.0 {
            return Ok(if other.0 > best.0 { other } else { best });
        }
        let (Some(left), Some(right)) = (self.event(best.1).await?, self.event(other.1).await?) else {
            return Ok(best);
        };
        Ok(if right.pdu.event_id() > left.pdu.event_id() { other } else { best })
    }

    /// Adds a reply to a thread and moves the thread to where it stands.
    async fn grow_thread(
        &mut self,
        root: EventNid,
        facts: ParentFacts,
        thread: Option<Thread>,
        reply: &Child,
        at: KeyPlace,
    ) -> Result<Thread, RoomError> {
        self.count_replies(root, reply.sender, 1).await?;
        let count = thread.map_or(0, |thread| thread.count) + 1;
        if let Some(thread) = thread {
            if at.0 != Position::COMMIT {
                // A reply of the past: the thread stands where its newest does.
                return Ok(Thread { count, ..thread });
            }
            self.unlist_thread(thread.latest).await?;
        }
        let entry = ThreadEntry { root, starter: facts.sender };
        self.batch.put(&THREADS, &(self.nid(), at.0, at.1), &Packed(entry));
        Ok(Thread { count, latest: reply.event, starter: facts.sender })
    }

    /// Takes a thread whose newest reply this was out of the list.
    async fn unlist_thread(&mut self, latest: EventNid) -> Result<(), RoomError> {
        if let Some((position, index)) = self.key_place(latest).await? {
            self.batch.delete(&THREADS, &(self.nid(), position, index));
        }
        Ok(())
    }

    async fn count_replies(&mut self, root: EventNid, user: UserNid, change: i64) -> Result<(), RoomError> {
        let (room, key) = (self.nid(), (root, user));
        let before = match self.relating.participants.get(&key) {
            Some(count) => *count,
            None => self.engine.store.latest().get(&THREAD_USERS, &(room, root, user)).await?.unwrap_or_default(),
        };
        let count = before.saturating_add_signed(change);
        if count == 0 {
            self.batch.delete(&THREAD_USERS, &(room, root, user));
        } else {
            self.batch.put(&THREAD_USERS, &(room, root, user), &count);
        }
        self.relating.participants.insert(key, count);
        Ok(())
    }

    /// Where an event stands, as keys have it: what this group added stands at the commit to come.
    pub(crate) async fn key_place(&self, event: EventNid) -> Result<Option<KeyPlace>, RoomError> {
        if let Some(at) = self.fresh_places.get(&event) {
            return Ok(Some(*at));
        }
        Ok(self.engine.meta(event).await?.map(|(_, place)| (place.position(), place.index())))
    }

    /// Takes an event that is being redacted away from its parent.
    pub(crate) async fn unrelate(&mut self, target: &Stored) -> Result<(), RoomError> {
        let Some(relation) = Relation::of(&target.pdu) else { return Ok(()) };
        let (room, names) = (self.nid(), self.engine.store.interner());
        let Some(parent) = names.known(NS_EVENT, relation.parent.as_str()).await? else { return Ok(()) };
        let Some(sender) = names.known(NS_USER, target.pdu.sender().as_str()).await? else { return Ok(()) };
        let (parent, sender) = (EventNid::new(parent), UserNid::new(sender));
        let class = class_of(&relation.rel_type);
        let Some((position, index)) = self.key_place(target.nid).await? else { return Ok(()) };
        if class == ANNOTATION
            && let Some(hash) = self.annotation(parent.get(), &relation, &target.pdu)
            && self.annotated(hash).await? == Some(target.nid)
        {
            self.batch.delete(&ANNOTATIONS, &(room, hash));
            self.relating.annotations.insert(hash, None);
        }
        self.take_child((room, parent, class, position, index), target.nid, sender).await
    }

    /// Takes a child that stands here in the index away from its parent.
    pub(crate) async fn take_child(
        &mut self,
        key: (RoomNid, EventNid, u8, Position, u16),
        child: EventNid,
        sender: UserNid,
    ) -> Result<(), RoomError> {
        let (_, parent, class, ..) = key;
        self.batch.delete(&CHILDREN, &key);
        self.relating.removed.insert(child);
        let Some(before) = self.summary(parent).await? else { return Ok(()) };
        let mut summary = before;
        if before.replacement.is_some_and(|(_, event)| event == child) {
            summary.replacement = self.find_replacement(parent).await?;
        }
        if class == THREAD
            && let Some(thread) = before.thread
        {
            self.count_replies(parent, sender, -1).await?;
            summary.thread = self.shrink_thread(parent, thread, child).await?;
        }
        if summary != before {
            self.set_summary(parent, summary);
        }
        Ok(())
    }

    /// Forgets what was worked out of an event's children, since the event itself goes.
    pub(crate) async fn forget_children(&mut self, parent: EventNid) -> Result<(), RoomError> {
        let Some(before) = self.summary(parent).await? else { return Ok(()) };
        if let Some(thread) = before.thread {
            self.unlist_thread(thread.latest).await?;
            let users = Scan::prefix(&(self.nid(), parent));
            for key in self.engine.store.latest().scan_keys(&THREAD_USERS, users).await? {
                self.batch.delete(&THREAD_USERS, &key);
                self.relating.participants.insert((parent, key.2), 0);
            }
        }
        let after = Summary { thread: None, replacement: None, ..before };
        if after != before {
            self.set_summary(parent, after);
        }
        Ok(())
    }

    /// A thread without one of its replies; none where that was the last one.
    async fn shrink_thread(
        &mut self,
        root: EventNid,
        thread: Thread,
        reply: EventNid,
    ) -> Result<Option<Thread>, RoomError> {
        let count = thread.count.saturating_sub(1);
        if thread.latest != reply {
            return Ok(Some(Thread { count, ..thread }));
        }
        self.unlist_thread(reply).await?;
        let Some((latest, (position, index))) = self.newest_reply(root).await? else { return Ok(None) };
        let entry = ThreadEntry { root, starter: thread.starter };
        self.batch.put(&THREADS, &(self.nid(), position, index), &Packed(entry));
        Ok(Some(Thread { count, latest, ..thread }))
    }

    async fn newest_reply(&self, root: EventNid) -> Result<Option<(EventNid, (Position, u16))>, RoomError> {
        if let Some(added) = self.relating.added(root, THREAD).next_back() {
            return Ok(Some((added.child.event, added.at)));
        }
        // The store still has what this group removed.
        let scan = Scan::prefix(&(self.nid(), root, THREAD)).reverse().limit(self.relating.removed.len() + 1);
        let rows = self.engine.store.latest().scan(&CHILDREN, scan).await?;
        let stays = |(_, child): &(_, Packed<Child>)| !self.relating.removed.contains(&child.0.event);
        Ok(rows.into_iter().find(stays).map(|((.., position, index), child)| (child.0.event, (position, index))))
    }

    /// The replacement of an event that counts, among the newest that there are.
    async fn find_replacement(&self, parent: EventNid) -> Result<Option<(u64, EventNid)>, RoomError> {
        let Some(facts) = self.parent_facts(parent).await? else { return Ok(None) };
        let scan = Scan::prefix(&(self.nid(), parent, REPLACEMENT)).reverse().limit(REPLACEMENTS_SCAN_MAX);
        let rows = self.engine.store.latest().scan(&CHILDREN, scan).await?;
        let stored = rows.into_iter().map(|(_, child)| child.0);
        let stored = stored.filter(|child| !self.relating.removed.contains(&child.event));
        let fresh = self.relating.added(parent, REPLACEMENT).map(|added| added.child);
        let mut best = None;
        for child in stored.chain(fresh).filter(|child| facts.is_replaced_by(child)).collect::<Vec<_>>() {
            best = Some(self.more_recent(best, (child.ts_ms, child.event)).await?);
        }
        Ok(best)
    }

    /// Works out what belongs to an event that came after some of its children.
    async fn adopt(&mut self, stored: &Arc<Stored>) -> Result<(), RoomError> {
        let Some(before) = self.summary(stored.nid).await? else { return Ok(()) };
        let Some(facts) = self.parent_facts(stored.nid).await? else { return Ok(()) };
        let mut summary = Summary { replacement: self.find_replacement(stored.nid).await?, ..before };
        if facts.can_have_thread() && summary.has(THREAD) && summary.thread.is_none() {
            summary.thread = self.adopt_thread(stored.nid, facts).await?;
        }
        if summary != before {
            self.set_summary(stored.nid, summary);
        }
        Ok(())
    }

    async fn adopt_thread(&mut self, root: EventNid, facts: ParentFacts) -> Result<Option<Thread>, RoomError> {
        let Some((latest, (position, index))) = self.newest_reply(root).await? else { return Ok(None) };
        let scan = Scan::prefix(&(self.nid(), root, THREAD)).limit(ADOPTED_REPLIES_MAX);
        let rows = self.engine.store.latest().scan(&CHILDREN, scan).await?;
        let stored = rows.into_iter().map(|(_, child)| child.0);
        let stored = stored.filter(|child| !self.relating.removed.contains(&child.event));
        let fresh = self.relating.added(root, THREAD).map(|added| added.child);
        let replies: Vec<Child> = stored.chain(fresh).collect();
        for reply in &replies {
            self.count_replies(root, reply.sender, 1).await?;
        }
        let entry = ThreadEntry { root, starter: facts.sender };
        self.batch.put(&THREADS, &(self.nid(), position, index), &Packed(entry));
        let count = u64::try_from(replies.len()).unwrap_or(u64::MAX);
        Ok(Some(Thread { count, latest, starter: facts.sender }))
    }
}
