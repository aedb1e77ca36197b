//! Checking a store of rooms: log, timelines, state tries and indexes must tell the same story.

use std::collections::{BTreeMap, HashMap, HashSet};

use wardroom_event::{Pdu, RoomVersion};
use wardroom_store::{Position, ReadError, Scan, Store};

use crate::{
    error::RoomError,
    ids::{EventNid, NS_SLOT, NS_USER, Place, RoomNid, Slot, UserNid, is_member},
    relations::RelationsCheck,
    search::{SEARCH_WORDS, missing_words},
    tables::{
        EVENT_META, EVENT_TIMES, EVENTS, EventMeta, EventRecord, GAPS, HEADS, Head, MEMBERS, MEMBERSHIPS, Membership,
        ROOMS, Standing, TIMELINE, TimelineEntry,
    },
    trie::{Root, StateWhich, Tries},
};

/// Rows read at a time.
const ROWS_PER_PAGE: usize = 1_000;
/// Problems that one report lists.
const PROBLEMS_MAX: usize = 1_000;

/// What a check of the rooms found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FsckReport {
    /// Rooms looked at.
    pub rooms: u64,
    /// Events looked at.
    pub events: u64,
    /// Rooms with events whose keys were destroyed: these are looked at no further.
    pub destroyed: u64,
    /// What does not agree, in words that name rooms and events by number only.
    pub problems: Vec<String>,
}

/// Reads every room from end to end and compares what is written twice.
///
/// # Errors
/// Where the store cannot be read at all; rows that cannot be read are problems of the report.
pub async fn fsck(store: &Store) -> Result<FsckReport, RoomError> {
    let mut report = FsckReport::default();
    let mut scan = Scan::all().limit(ROWS_PER_PAGE);
    loop {
        let rooms = store.latest().scan(&HEADS, scan).await?;
        let Some(last) = rooms.last().map(|(nid, _)| *nid) else { return Ok(report) };
        for (nid, head) in rooms {
            report.rooms += 1;
            let mut check = Check::new(store, nid, &mut report);
            check.room(&head.0).await?;
        }
        scan = Scan::all().after(&last).limit(ROWS_PER_PAGE);
    }
}

/// The check of one room.
struct Check<'a> {
    store: &'a Store,
    tries: Tries,
    room: RoomNid,
    report: &'a mut FsckReport,
    /// The state as the timeline so far makes it.
    state: BTreeMap<Slot, EventNid>,
    /// An event of the room cannot be read, because its key was destroyed.
    destroyed: bool,
}

/// What the walk along a timeline has seen.
#[derive(Default)]
struct Walk {
    seen: HashSet<EventNid>,
    ids: HashSet<String>,
    previous: Option<(EventNid, Root, u64)>,
    /// The state behind the event before is not the one after it in the graph.
    forked: bool,
    /// Events of other servers came: the timeline alone does not make the state.
    shared: bool,
    relations: RelationsCheck,
    /// Entries of the search index that the events should have.
    words: usize,
}

impl<'a> Check<'a> {
    fn new(store: &'a Store, room: RoomNid, report: &'a mut FsckReport) -> Self {
        Self { store, tries: Tries::new(), room, report, state: BTreeMap::new(), destroyed: false }
    }

    fn problem(&mut self, what: impl std::fmt::Display) {
        if self.report.problems.len() < PROBLEMS_MAX {
            self.report.problems.push(format!("room {}: {what}", self.room.get()));
        }
    }

    async fn room(&mut self, head: &Head) -> Result<(), RoomError> {
        let Some(record) = self.store.latest().get(&ROOMS, &self.room).await? else {
            self.problem("has a head but no record");
            return Ok(());
        };
        let Some(version) = RoomVersion::new(&record.0.version) else {
            self.problem("has an unknown version");
            return Ok(());
        };
        if record.0.create.get() == 0 {
            // Only heard of, by an invite or a knock.
            return Ok(());
        }
        let mut walk = Walk::default();
        let mut scan = Scan::prefix(&self.room).limit(ROWS_PER_PAGE);
        loop {
            let rows = self.store.latest().scan(&TIMELINE, scan).await?;
            let Some(last) = rows.last().map(|(key, _)| *key) else { break };
            for ((_, position, index), entry) in rows {
                self.event(version, &mut walk, Place::new(position, index), entry).await?;
            }
            if self.destroyed {
                self.report.destroyed += 1;
                return Ok(());
            }
            scan = Scan::prefix(&self.room).after(&last).limit(ROWS_PER_PAGE);
        }
        self.times(&walk).await?;
        self.head(head, &walk, record.0.create).await?;
        for problem in walk.relations.compare(self.store, self.room, version).await? {
            self.problem(problem);
        }
        self.words(&walk).await?;
        self.members(head).await
    }

    /// Memberships as the current state has them.
    async fn members_of_state(&mut self, head: &Head) -> Result<HashMap<UserNid, Membership>, RoomError> {
        let which = StateWhich::Members;
        let entries = self.tries.entries(&self.store.latest(), None, self.room, head.state, which).await?;
        let mut members = HashMap::with_capacity(entries.len());
        for (slot, nid) in entries {
            let membership = self.rows(nid).await?.and_then(|(_, record)| {
                #[derive(serde::Deserialize)]
                struct Event {
                    content: Content,
                }
                #[derive(serde::Deserialize)]
                struct Content {
                    membership: ruma::events::room::member::MembershipState,
                }
                serde_json::from_slice::<Event>(&record.json).ok().map(|event| event.content.membership)
            });
            if let (Some(user), Some(membership)) = (slot.user(), membership) {
                members.insert(user, Membership::from(&membership));
            }
        }
        Ok(members)
    }

    /// The search index must hold nothing but the words of the room's events.
    async fn words(&mut self, walk: &Walk) -> Result<(), RoomError> {
        let (mut found, mut scan) = (0, Scan::prefix(&self.room).limit(ROWS_PER_PAGE));
        loop {
            let keys = self.store.latest().scan_keys(&SEARCH_WORDS, scan).await?;
            let Some(last) = keys.last().copied() else { break };
            found += keys.len();
            scan = Scan::prefix(&self.room).after(&last).limit(ROWS_PER_PAGE);
        }
        if found > walk.words {
            self.problem(format_args!("has {} words in the search index that no event has", found - walk.words));
        }
        Ok(())
    }

    async fn event(
        &mut self,
        version: RoomVersion,
        walk: &mut Walk,
        place: Place,
        entry: TimelineEntry,
    ) -> Result<(), RoomError> {
        self.report.events += 1;
        let nid = entry.event;
        if !walk.seen.insert(nid) {
            self.problem(format_args!("event {} stands twice in the timeline", nid.get()));
        }
        let Some((meta, record)) = self.rows(nid).await? else {
            if !self.destroyed {
                self.problem(format_args!("event {} is in the timeline but not stored", nid.get()));
            }
            return Ok(());
        };
        let stands = meta.0.past.unwrap_or(Place::new(meta.1, meta.0.index));
        let before = entry.graph_before.unwrap_or(entry.state_before);
        if (meta.0.room, meta.0.standing, stands, meta.0.state_before) != (self.room, Standing::Timeline, place, before)
        {
            self.problem(format_args!("event {} stands elsewhere than its record says", nid.get()));
        }
        // Parsing recomputes the event id from the content.
        let Ok(pdu) = Pdu::parse(&record.json, version) else {
            self.problem(format_args!("event {} does not parse", nid.get()));
            return Ok(());
        };
        if pdu.event_id() != record.id {
            self.problem(format_args!("event {} has an id that is not its hash", nid.get()));
        }
        if !walk.ids.insert(record.id.to_string()) {
            self.problem(format_args!("the id of event {} stands twice", nid.get()));
        }
        let time = (self.room, pdu.origin_server_ts(), place.position(), place.index());
        if self.store.latest().get(&EVENT_TIMES, &time).await?.is_none() {
            self.problem(format_args!("event {} is not found by its time", nid.get()));
        }
        let expected = walk.previous.map_or(Root::EMPTY, |(_, state, _)| state);
        // Where lines of the graph come together, or events are missing, the state goes on from elsewhere.
        let gap = self.store.latest().get(&GAPS, &(self.room, place.position(), place.index())).await?.is_some();
        let forked = walk.forked || entry.graph_before.is_some() || meta.0.past.is_some() || gap;
        walk.forked = entry.jump || meta.0.past.is_some();
        walk.shared |= forked || walk.forked;
        if !forked && meta.0.state_before != expected {
            self.problem(format_args!("event {} does not start from the state that the one before left", nid.get()));
        }
        if pdu.is_state() {
            self.state_event(nid, &pdu, &meta.0).await?;
        } else if meta.0.state_after != meta.0.state_before {
            self.problem(format_args!("message event {} changes the state", nid.get()));
        }
        walk.relations.note(self.store, nid, place, &pdu).await?;
        let (missing, words) = missing_words(self.store, self.room, place, &pdu).await?;
        walk.words += words;
        if missing > 0 {
            self.problem(format_args!("event {} lacks {missing} words in the search index", nid.get()));
        }
        walk.previous = Some((nid, meta.0.state_after, pdu.depth()));
        Ok(())
    }

    async fn rows(&mut self, nid: EventNid) -> Result<Option<((EventMeta, Position), EventRecord)>, RoomError> {
        let store = self.store.latest();
        let meta = store.get_versioned(&EVENT_META, &nid).await?;
        let record = match store.get(&EVENTS, &(self.room, nid)).await {
            Err(ReadError::Shredded) => {
                self.destroyed = true;
                None
            }
            read => read?,
        };
        Ok(meta.zip(record).map(|((meta, written), record)| ((meta.0, written), record)))
    }

    async fn state_event(&mut self, nid: EventNid, pdu: &Pdu, meta: &EventMeta) -> Result<(), RoomError> {
        let (names, state_key) = (self.store.interner(), pdu.state_key().unwrap_or_default());
        let slot = if is_member(pdu.kind()) {
            names.lookup(NS_USER, state_key).await?.map(|user| Slot::member(UserNid::new(user)))
        } else {
            let kind = ruma::events::StateEventType::from(pdu.kind().to_string());
            names.lookup(NS_SLOT, &Slot::name(&kind, state_key)).await?.map(Slot::new)
        };
        let Some(slot) = slot else {
            self.problem(format_args!("state event {} has no place in the state", nid.get()));
            return Ok(());
        };
        self.state.insert(slot, nid);
        let found = self.tries.get(&self.store.latest(), None, self.room, meta.state_after, slot).await?;
        if found != Some(nid) {
            self.problem(format_args!("the state after event {} does not hold it", nid.get()));
        }
        Ok(())
    }

    /// The index of times must hold the events of the timeline and no more.
    async fn times(&mut self, walk: &Walk) -> Result<(), RoomError> {
        let mut scan = Scan::prefix(&self.room).limit(ROWS_PER_PAGE);
        let mut found = 0;
        loop {
            let keys = self.store.latest().scan_keys(&EVENT_TIMES, scan).await?;
            let Some(last) = keys.last() else { break };
            found += keys.len();
            scan = Scan::prefix(&self.room).after(last).limit(ROWS_PER_PAGE);
        }
        if found != walk.seen.len() {
            self.problem(format_args!("finds {found} events by their times but has {}", walk.seen.len()));
        }
        Ok(())
    }

    /// The head must be where the timeline ends, and the current state what the timeline makes.
    async fn head(&mut self, head: &Head, walk: &Walk, create: EventNid) -> Result<(), RoomError> {
        let Some((last, state, depth)) = walk.previous else {
            self.problem("has no events");
            return Ok(());
        };
        // What a restored store lost stays where the graph goes on.
        let lost = self.has_lost(&head.extremities).await?;
        if !walk.shared && !lost && (head.extremities != [last] || head.state != state || head.depth != depth) {
            self.problem("has a head that is not the end of its timeline");
        }
        if let [extremity] = head.extremities[..]
            && self
                .store
                .latest()
                .get(&EVENT_META, &extremity)
                .await?
                .is_none_or(|meta| meta.0.state_after != head.state)
        {
            self.problem("has a current state that is not the one after its newest event");
        }
        if head.events != walk.seen.len() as u64 {
            self.problem(format_args!("counts {} events but has {}", head.events, walk.seen.len()));
        }
        if !walk.shared && !walk.seen.contains(&create) {
            self.problem("does not hold its create event");
        }
        let entries = self.tries.entries(&self.store.latest(), None, self.room, head.state, StateWhich::All).await?;
        if !walk.shared && entries.into_iter().collect::<BTreeMap<_, _>>() != self.state {
            self.problem("has a current state that its timeline does not make");
        }
        Ok(())
    }

    /// Whether one of these events has a place in the graph, and nothing else any more.
    async fn has_lost(&self, events: &[EventNid]) -> Result<bool, RoomError> {
        for event in events {
            let meta = self.store.latest().get(&EVENT_META, event).await?;
            let is_dropped = meta.is_some_and(|meta| meta.0.standing == Standing::SoftFailed);
            if is_dropped && self.store.latest().get(&EVENTS, &(self.room, *event)).await?.is_none() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The membership index must say what the state says.
    async fn members(&mut self, head: &Head) -> Result<(), RoomError> {
        let mut scan = Scan::prefix(&self.room).limit(ROWS_PER_PAGE);
        let mut indexed: HashMap<UserNid, u8> = HashMap::new();
        loop {
            let keys = self.store.latest().scan_keys(&MEMBERS, scan).await?;
            let Some(last) = keys.last().copied() else { break };
            for (_, membership, user) in keys {
                if indexed.insert(user, membership).is_some() {
                    self.problem(format_args!("user {} has two memberships in the index", user.get()));
                }
            }
            scan = Scan::prefix(&self.room).after(&last).limit(ROWS_PER_PAGE);
        }
        let members = self.members_of_state(head).await?;
        for (user, membership) in &members {
            let record = self.store.latest().get(&MEMBERSHIPS, &(*user, self.room)).await?;
            if indexed.remove(user) != Some(*membership as u8)
                || record.is_none_or(|record| record.0.membership != *membership)
            {
                self.problem(format_args!("the index of memberships is wrong about user {}", user.get()));
            }
        }
        // Somebody whom the state does not know any more, since it resolved to another line of the graph, has left.
        indexed.retain(|_, membership| *membership != Membership::Leave as u8);
        if !indexed.is_empty() {
            self.problem("has members in the index that are not in its state");
        }
        let count = |wanted: Membership| members.values().filter(|membership| **membership == wanted).count() as u64;
        if (head.joined, head.invited) != (count(Membership::Join), count(Membership::Invite)) {
            self.problem("counts its members wrongly");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::fsck;
    use crate::{
        EventNid, MemberProfile, Preset, RoomNid,
        tables::{HEADS, Head, MEMBERS, TIMELINE, TimelineEntry},
        tests::{World, new_room, run},
    };
    use ruma::user_id;
    use wardroom_store::{Batch, Packed, Position, Scan};

    async fn world() -> World {
        let world = World::new();
        let (alice, bob) =
            (world.person(user_id!("@alice:a.example")).await, world.person(user_id!("@bob:a.example")).await);
        for version in ["6", "12"] {
            let room = world.rooms.create(alice.actor(), new_room(version, Preset::PublicChat)).await.unwrap();
            world.rooms.join(bob.actor(), &room, MemberProfile::default(), None).await.unwrap();
            world.rooms.leave(bob.actor(), &room, None).await.unwrap();
        }
        world
    }

    #[test]
    fn a_sound_store_has_no_problems() {
        run(async {
            let report = fsck(&world().await.store).await.unwrap();
            assert_eq!((report.rooms, report.events, report.problems), (2, 18, Vec::new()));
        });
    }

    #[test]
    fn every_damage_is_found() {
        let damages: [fn(&mut Batch, Rows); 6] = [
            |batch, rows| batch.delete(&TIMELINE, &rows.key),
            |batch, rows| {
                batch.put(&TIMELINE, &rows.key, &TimelineEntry { event: EventNid::new(999_999), ..rows.entry });
            },
            |batch, rows| batch.put(&TIMELINE, &(rows.room, Position::COMMIT, 1), &rows.entry),
            |batch, rows| batch.put(&HEADS, &rows.room, &Packed(Head { joined: 77, ..rows.head })),
            |batch, rows| batch.put(&HEADS, &rows.room, &Packed(Head { state: rows.entry.state_before, ..rows.head })),
            |batch, rows| batch.delete_prefix(&MEMBERS, &rows.room),
        ];
        run(async {
            for (number, damage) in damages.into_iter().enumerate() {
                let store = world().await.store;
                let (room, head) = store.latest().scan(&HEADS, Scan::all()).await.unwrap().swap_remove(0);
                let (key, entry) = store.latest().scan(&TIMELINE, Scan::prefix(&room)).await.unwrap().swap_remove(3);
                let mut batch = Batch::default();
                damage(&mut batch, Rows { room, head: head.0, key, entry });
                store.commit(batch).await.unwrap();
                assert!(!fsck(&store).await.unwrap().problems.is_empty(), "damage {number}");
            }
        });
    }

    struct Rows {
        room: RoomNid,
        head: Head,
        key: (RoomNid, Position, u16),
        entry: TimelineEntry,
    }
}
