//! Adding events to a room's graph, and to timeline, state and indexes those of them that are part of the room.

use std::{collections::BTreeSet, sync::Arc};

use ruma::{
    UserId,
    events::{StateEventType, TimelineEventType},
};
use wardroom_event::{Pdu, PowerLevels, redact};
use wardroom_store::{Packed, Position};

use super::{KeyPlace, Writer};
use crate::{
    error::RoomError,
    events::Stored,
    ids::{
        EventNid, NS_EVENT, NS_SERVER, NS_SLOT, NS_USER, Place, ServerNid, Slot, UserNid, WATCH_OUTGOING, is_member,
    },
    join_rules::JoinRules,
    log::{LOG, LogRecord},
    retention::is_retention,
    sealing::day_of,
    tables::{
        AUTH_EDGES, EARLY_REDACTIONS, EVENT_META, EVENT_TIMES, EVENTS, EventMeta, EventRecord, FOLLOWED, Membership,
        OUTGOING, OutgoingRecord, Standing, TIMELINE, TimelineEntry,
    },
    trie::{Growth, Root},
    visibility::Visibility,
};

/// Soft-failed and rejected events through which the events that a new one follows are looked for.
const PASSED_OVER_MAX: usize = 1_000;

/// Which other servers an event has to reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tell {
    /// None: they have it.
    Nobody,
    /// Those in the room, but this one.
    Others(Option<ServerNid>),
}

/// How an event is added.
#[derive(Clone, Debug)]
pub(crate) struct Placing {
    /// State before it in the graph.
    pub(crate) before: Root,
    /// What it is to the room.
    pub(crate) standing: Standing,
    /// The device of this server that sent it and the transaction id it gave.
    pub(crate) transaction: Option<([u8; 16], String)>,
    /// Whom to send it.
    pub(crate) tell: Tell,
}

impl Writer {
    /// Adds an authorized event that follows the forward extremities.
    pub(crate) async fn add(
        &mut self,
        pdu: Arc<Pdu>,
        transaction: Option<([u8; 16], String)>,
    ) -> Result<Arc<Stored>, RoomError> {
        let (before, tell) = (self.head.state, Tell::Others(None));
        self.place(pdu, Placing { before, standing: Standing::Timeline, transaction, tell }).await
    }

    /// Adds a checked event with a place in the graph.
    pub(crate) async fn place(&mut self, pdu: Arc<Pdu>, placing: Placing) -> Result<Arc<Stored>, RoomError> {
        let Placing { before, standing, transaction, tell } = placing;
        let (nid, named_before) = self.number(&pdu).await?;
        let slot = self.slot_of(&pdu).await?;
        let after = match slot {
            Some(slot) if !standing.is_rejected() => self.with(before, slot, nid).await?,
            _ => before,
        };
        let index = self.next_index;
        let meta = EventMeta {
            room: self.nid(),
            standing,
            index,
            past: None,
            state_before: before,
            state_after: after,
            transaction,
        };
        let stored = self.keep(nid, pdu, meta).await?;
        let replaced = self.replaced(slot).await?;
        self.record_event(&stored.pdu, standing, replaced.as_deref());
        if standing == Standing::Timeline {
            if stored.pdu.is_state() {
                self.note_superseded(replaced.as_deref());
            } else if !stored.pruned {
                self.note_activity();
            }
            let servers: BTreeSet<ServerNid> = self.servers.keys().copied().collect();
            let old = self.head.state;
            self.follow(&stored, after).await?;
            let jump = before != old || self.head.state != after;
            self.note_state(&stored, slot, old, jump).await?;
            if jump || *stored.pdu.kind() == TimelineEventType::RoomGuestAccess {
                self.note_guest_access(old).await?;
            }
            let graph_before = (before != old).then_some(before);
            let gap = std::mem::take(&mut self.gap_before_next);
            let entry = TimelineEntry { event: nid, state_before: old, graph_before, jump, gap };
            self.enter_timeline(&stored, (Position::COMMIT, index), &entry, named_before).await?;
            self.batch.put(&LOG, &(Position::COMMIT, index), &Packed(LogRecord::Event(self.nid(), nid)));
            self.head.note(&stored.pdu);
            self.tell(&stored, index, servers, tell).await?;
            self.next_index =
                index.checked_add(1).ok_or_else(|| RoomError::inconsistent("too many events in one commit"))?;
        }
        Ok(self.fresh.get(&nid).cloned().unwrap_or(stored))
    }

    /// The number of an event, and whether it was named before it came.
    pub(crate) async fn number(&mut self, pdu: &Pdu) -> Result<(EventNid, bool), RoomError> {
        let names = self.engine.store.interner();
        let known = names.known(NS_EVENT, pdu.event_id().as_str()).await?.is_some();
        Ok((EventNid::new(names.intern(&mut self.batch, NS_EVENT, pdu.event_id().as_str()).await?), known))
    }

    /// The place of a state event in states.
    pub(crate) async fn slot_of(&mut self, pdu: &Pdu) -> Result<Option<Slot>, RoomError> {
        let Some(state_key) = pdu.state_key() else { return Ok(None) };
        let names = self.engine.store.interner();
        if is_member(pdu.kind()) {
            return Ok(Some(Slot::member(UserNid::new(names.intern(&mut self.batch, NS_USER, state_key).await?))));
        }
        let name = Slot::name(&StateEventType::from(pdu.kind().to_string()), state_key);
        Ok(Some(Slot::new(names.intern(&mut self.batch, NS_SLOT, &name).await?)))
    }

    /// A state with an event at a place.
    pub(crate) async fn with(&mut self, root: Root, slot: Slot, event: EventNid) -> Result<Root, RoomError> {
        let room = self.nid();
        let mut growth = Growth { view: &self.store, overlay: &mut self.overlay, batch: &mut self.batch, room };
        Ok(self.engine.tries.insert(&mut growth, root, slot, event).await?)
    }

    /// Stores an event and where it stands.
    pub(crate) async fn keep(
        &mut self,
        nid: EventNid,
        pdu: Arc<Pdu>,
        meta: EventMeta,
    ) -> Result<Arc<Stored>, RoomError> {
        let (room, rejected) = (self.nid(), meta.standing.is_rejected());
        let pdu = if pdu.is_rejected() == rejected {
            pdu
        } else {
            let parsed = Pdu::from_stored(pdu.json().clone(), pdu.event_id().to_owned(), pdu.version());
            let parsed = parsed.map_err(|_| RoomError::inconsistent("event that does not parse"))?;
            Arc::new(parsed.with_rejected(rejected))
        };
        let mut stored = Stored { nid, pdu, redacted_because: None, received_ms: self.now_ms, pruned: false };
        self.put_event(&mut stored).await?;
        if !rejected && !stored.pruned {
            self.note_named(&stored);
        }
        let pdu = &stored.pdu;
        let mut auth = Vec::with_capacity(pdu.auth_events().len());
        for id in pdu.auth_events() {
            auth.push(EventNid::new(
                self.engine.store.interner().intern(&mut self.batch, NS_EVENT, id.as_str()).await?,
            ));
        }
        self.batch.put(&AUTH_EDGES, &(room, nid), &Packed(auth.clone()));
        self.fresh_auth.insert(nid, auth);
        self.fresh_graph.insert(nid, meta.standing);
        self.fresh_roots.insert(nid, meta.state_after);
        self.batch.put(&EVENT_META, &nid, &Packed(meta));
        let stored = Arc::new(stored);
        self.fresh.insert(nid, Arc::clone(&stored));
        Ok(stored)
    }

    /// Writes an event under the key that it belongs to. Of one that comes when its time is over already, only what is left
    /// of it: but a redaction has to be carried out first.
    async fn put_event(&mut self, stored: &mut Stored) -> Result<(), RoomError> {
        let room = self.nid();
        let forgotten = !stored.pdu.is_state() && self.engine.is_forgotten(stored.pdu.sender());
        let is_over = forgotten || !stored.is_live(self.lifetime, self.now_ms);
        if is_over && *stored.pdu.kind() != TimelineEventType::RoomRedaction {
            let redacted = redact(&stored.pdu, None);
            stored.pdu = Arc::new(redacted.map_err(|_| RoomError::inconsistent("event that does not parse"))?);
            stored.pruned = true;
            return self.put_stub(stored, None, self.now_ms).await;
        }
        let record = EventRecord {
            redacted_by: None,
            rejected: stored.pdu.is_rejected(),
            pruned: false,
            received_ms: stored.received_ms,
            id: stored.pdu.event_id().to_owned(),
            json: stored.pdu.json().clone(),
        };
        let key = if stored.pdu.is_state() {
            self.engine.lasting_key(room).await?
        } else {
            self.note_perishable(stored.nid, stored.age());
            self.engine.day_key(room, day_of(self.now_ms)).await?
        };
        self.batch.put_sealed(&EVENTS, &(room, stored.nid), &record, &key);
        Ok(())
    }

    /// What an event of the room is, as this group leaves it so far.
    pub(crate) async fn standing(&self, event: EventNid) -> Result<Option<Standing>, RoomError> {
        if let Some(standing) = self.fresh_graph.get(&event) {
            return Ok(Some(*standing));
        }
        let meta = self.engine.any_meta(event).await?;
        Ok(meta.filter(|(meta, _)| meta.room == self.nid()).map(|(meta, _)| meta.standing))
    }

    /// The state after an event that has a place in the graph.
    pub(crate) async fn state_after(&self, event: EventNid) -> Result<Option<Root>, RoomError> {
        let placed = self.standing(event).await?.is_some_and(Standing::is_placed);
        if !placed {
            return Ok(None);
        }
        if let Some(root) = self.fresh_roots.get(&event) {
            return Ok(Some(*root));
        }
        Ok(self.engine.any_meta(event).await?.map(|(meta, _)| meta.state_after))
    }

    /// The numbers of events, of those that have one.
    pub(crate) async fn numbers<'i>(
        &self,
        ids: impl Iterator<Item = &'i ruma::EventId>,
    ) -> Result<Vec<EventNid>, RoomError> {
        let mut nids = Vec::new();
        for id in ids {
            nids.extend(self.engine.store.interner().known(NS_EVENT, id.as_str()).await?.map(EventNid::new));
        }
        Ok(nids)
    }

    /// Makes the event a forward extremity in the place of those that it follows, and works out the room's state.
    async fn follow(&mut self, stored: &Stored, after: Root) -> Result<(), RoomError> {
        let mut followed: BTreeSet<EventNid> = BTreeSet::new();
        let mut open = self.numbers(stored.pdu.prev_events()).await?;
        while let Some(nid) = open.pop() {
            if !followed.insert(nid) || followed.len() > PASSED_OVER_MAX || self.head.extremities.contains(&nid) {
                continue;
            }
            // What a soft-failed or rejected event follows is followed by who follows that event.
            let passed_over = matches!(self.standing(nid).await?, Some(Standing::SoftFailed | Standing::Rejected));
            if passed_over && let Some(event) = self.event(nid).await? {
                open.extend(self.numbers(event.pdu.prev_events()).await?);
            }
        }
        self.head.extremities.retain(|nid| !followed.contains(nid));
        let late = self.is_followed(stored.nid).await?;
        if !late {
            self.head.extremities.push(stored.nid);
        }
        self.head.depth = self.head.depth.max(stored.pdu.depth());
        self.head.events += 1;
        let mut roots = if late { Vec::new() } else { vec![after] };
        for nid in self.head.extremities.clone() {
            if nid != stored.nid {
                roots.extend(self.state_after(nid).await?);
            }
        }
        self.head.state = self.resolve(roots).await?;
        Ok(())
    }

    /// Whether events of the timeline follow an event that only now gets its place.
    async fn is_followed(&mut self, event: EventNid) -> Result<bool, RoomError> {
        let key = (self.nid(), event);
        let followed = self.fresh_followed.remove(&event) || self.store.get(&FOLLOWED, &key).await?.is_some();
        if followed {
            self.batch.delete(&FOLLOWED, &key);
        }
        Ok(followed)
    }

    /// Notes that an event of the timeline follows events that have no place.
    pub(crate) async fn note_followed(&mut self, missing: &[ruma::OwnedEventId]) -> Result<(), RoomError> {
        for id in missing {
            let nid = EventNid::new(self.engine.store.interner().intern(&mut self.batch, NS_EVENT, id.as_str()).await?);
            self.batch.put(&FOLLOWED, &(self.nid(), nid), &());
            self.fresh_followed.insert(nid);
        }
        Ok(())
    }

    /// Brings the indexes of the state in step with the room's new state.
    async fn note_state(
        &mut self,
        stored: &Arc<Stored>,
        slot: Option<Slot>,
        old: Root,
        jump: bool,
    ) -> Result<(), RoomError> {
        if jump {
            return self.note_jump(old).await;
        }
        let Some(slot) = slot else { return Ok(()) };
        let pdu = &stored.pdu;
        if let Some(user) = slot.user() {
            return self.record_membership(user, stored.nid, pdu).await;
        }
        match pdu.kind() {
            TimelineEventType::RoomHistoryVisibility if pdu.state_key() == Some("") => {
                self.visibility = Visibility::of(Some(pdu));
            }
            TimelineEventType::RoomJoinRules if pdu.state_key() == Some("") => {
                self.public = JoinRules::of(Some(pdu)).is_public();
            }
            TimelineEventType::RoomPowerLevels | TimelineEventType::RoomTombstone => self.note_powers(),
            kind if pdu.state_key() == Some("") && self.engine.is_policy(kind) => self.note_policy(Some(stored)),
            kind if pdu.state_key() == Some("") && is_retention(&kind.to_string()) => self.note_retention().await?,
            _ => {}
        }
        Ok(())
    }

    /// Brings the indexes in step where the state changed by more or by less than one event.
    pub(crate) async fn note_jump(&mut self, old: Root) -> Result<(), RoomError> {
        let tries = &self.engine.tries;
        let changes = tries.difference(&self.store, Some(&self.overlay), self.nid(), old, self.head.state).await?;
        for change in changes {
            let Some(user) = change.slot.user() else { continue };
            match change.new {
                Some(nid) => {
                    let event = self.event(nid).await?.ok_or_else(|| RoomError::inconsistent("state without event"))?;
                    self.record_membership(user, nid, &event.pdu).await?;
                }
                None => self.drop_membership(user).await?,
            }
        }
        let visibility = self.state_event(&StateEventType::RoomHistoryVisibility, "").await?;
        self.visibility = Visibility::of(visibility.as_ref().map(|stored| &*stored.pdu));
        let rules = self.state_event(&StateEventType::RoomJoinRules, "").await?;
        self.public = JoinRules::of(rules.as_ref().map(|stored| &*stored.pdu)).is_public();
        self.head.encrypted = self.state_event(&StateEventType::RoomEncryption, "").await?.is_some();
        self.note_retention().await?;
        self.note_policy_of_state().await
    }

    /// Adds an event to the timeline and to what is found through it.
    pub(crate) async fn enter_timeline(
        &mut self,
        stored: &Arc<Stored>,
        at: KeyPlace,
        entry: &TimelineEntry,
        named_before: bool,
    ) -> Result<(), RoomError> {
        let (room, pdu) = (self.nid(), &stored.pdu);
        self.batch.put(&TIMELINE, &(room, at.0, at.1), entry);
        self.batch.put(&EVENT_TIMES, &(room, pdu.origin_server_ts(), at.0, at.1), &());
        self.fresh_places.insert(stored.nid, at);
        self.index_words(pdu, at);
        self.note_media(pdu).await?;
        self.relate(stored, at, named_before).await?;
        if named_before {
            self.redact_late(stored).await?;
        }
        Ok(())
    }

    /// Notes that an event has to reach the servers that are, or were until now, in the room.
    async fn tell(
        &mut self,
        stored: &Stored,
        index: u16,
        mut servers: BTreeSet<ServerNid>,
        tell: Tell,
    ) -> Result<(), RoomError> {
        let Tell::Others(but) = tell else { return Ok(()) };
        servers.extend(self.servers.keys());
        let user = stored.pdu.state_key().filter(|_| is_member(stored.pdu.kind()));
        if let Some(user) = user.and_then(|user| <&UserId>::try_from(user).ok())
            && user.server_name() != self.engine.server_name
            && let Some(record) = self.membership_of(user).await?
            && matches!(record.membership, Membership::Leave | Membership::Ban)
            && matches!(record.previous, Some(Membership::Invite | Membership::Knock))
        {
            // Whoever was asked in, or asked, is told that this is over.
            servers.insert(self.server(user.server_name()).await?);
        }
        let own = self.engine.server_name.clone();
        let own = self.server(&own).await?;
        servers.retain(|server| *server != own && Some(*server) != but);
        if servers.is_empty() {
            return Ok(());
        }
        let record = OutgoingRecord { room: self.nid(), event: stored.nid, servers: servers.into_iter().collect() };
        self.batch.put(&OUTGOING, &(Position::COMMIT, index), &Packed(record));
        self.batch.touch(WATCH_OUTGOING);
        Ok(())
    }

    /// The number of a server.
    pub(crate) async fn server(&mut self, name: &ruma::ServerName) -> Result<ServerNid, RoomError> {
        let names = self.engine.store.interner();
        Ok(ServerNid::new(names.intern(&mut self.batch, NS_SERVER, name.as_str()).await?))
    }

    /// Replaces an event's content by its redacted form.
    pub(crate) async fn replace_redacted(
        &mut self,
        target: &Stored,
        redacted: Pdu,
        by: EventNid,
    ) -> Result<(), RoomError> {
        let kept = self.keep_original(target).await?;
        self.unrelate(target).await?;
        self.forget_words(target).await?;
        if !kept {
            self.forget_named(target);
        }
        let key = self.engine.lasting_key(self.nid()).await?;
        let Stored { received_ms, pruned, .. } = *target;
        let record = EventRecord {
            redacted_by: Some(by),
            rejected: target.pdu.is_rejected(),
            pruned,
            received_ms,
            id: redacted.event_id().to_owned(),
            json: redacted.json().clone(),
        };
        self.batch.put_sealed(&EVENTS, &(self.nid(), target.nid), &record, &key);
        let because = match self.fresh.get(&by) {
            Some(stored) => Some(Arc::clone(&stored.pdu)),
            None => self.event(by).await?.map(|stored| Arc::clone(&stored.pdu)),
        };
        let redacted = Arc::new(redacted.with_rejected(target.pdu.is_rejected()));
        let stored = Stored { nid: target.nid, pdu: redacted, redacted_because: because, received_ms, pruned };
        self.fresh.insert(target.nid, Arc::new(stored));
        if target.pdu.kind() == &TimelineEventType::RoomHistoryVisibility {
            let now = self.state_event(&StateEventType::RoomHistoryVisibility, "").await?;
            self.visibility = Visibility::of(now.as_ref().map(|stored| &*stored.pdu));
        }
        if self.engine.is_policy(target.pdu.kind()) {
            self.note_policy_of_state().await?;
        }
        if is_retention(&target.pdu.kind().to_string()) {
            self.note_retention().await?;
        }
        Ok(())
    }

    /// Carries out a redaction of another server's, where its target is here and it may; else it waits for the target.
    ///
    /// [Handling redactions](https://spec.matrix.org/v1.19/rooms/v12/#handling-redactions).
    pub(crate) async fn carry_out_redaction(&mut self, redaction: &Stored) -> Result<(), RoomError> {
        let Some(target) = redaction.pdu.redacts() else { return Ok(()) };
        let names = self.engine.store.interner();
        let nid = EventNid::new(names.intern(&mut self.batch, NS_EVENT, target.as_str()).await?);
        let placed = self.standing(nid).await?.is_some_and(Standing::is_placed);
        match self.event(nid).await?.filter(|_| placed) {
            Some(target) => self.redact_by(&target, redaction).await,
            None => {
                self.batch.put(&EARLY_REDACTIONS, &(self.nid(), nid), &Packed(redaction.nid));
                Ok(())
            }
        }
    }

    /// Carries out a redaction that came before this event.
    async fn redact_late(&mut self, target: &Stored) -> Result<(), RoomError> {
        let key = (self.nid(), target.nid);
        let Some(Packed(by)) = self.engine.store.latest().get(&EARLY_REDACTIONS, &key).await? else { return Ok(()) };
        self.batch.delete(&EARLY_REDACTIONS, &key);
        match self.event(by).await? {
            Some(redaction) => self.redact_by(target, &redaction).await,
            None => Ok(()),
        }
    }

    async fn redact_by(&mut self, target: &Stored, redaction: &Stored) -> Result<(), RoomError> {
        let same_server = target.pdu.sender().server_name() == redaction.pdu.sender().server_name();
        if target.redacted_because.is_some()
            || *target.pdu.kind() == TimelineEventType::RoomCreate
            || !(same_server || self.has_power_to_redact(redaction.pdu.sender()).await?)
        {
            return Ok(());
        }
        match redact(&target.pdu, None) {
            Ok(redacted) => self.replace_redacted(target, redacted, redaction.nid).await,
            Err(_) => Ok(()),
        }
    }

    /// Whether a user may take away the content of anybody's events.
    pub(crate) async fn has_power_to_redact(&self, user: &UserId) -> Result<bool, RoomError> {
        let levels = self.state_event(&StateEventType::RoomPowerLevels, "").await?;
        let create = self.state_event(&StateEventType::RoomCreate, "").await?;
        let create = create.ok_or_else(|| RoomError::inconsistent("room without create event"))?;
        let levels = PowerLevels::new(levels.as_ref().map(|stored| &*stored.pdu), &create.pdu);
        Ok(levels.of(user).reaches(levels.required(wardroom_event::Action::Redact)))
    }

    /// Adds an event of the past to the timeline at this place.
    pub(crate) async fn place_in_past(&mut self, pdu: Arc<Pdu>, before: Root, place: Place) -> Result<(), RoomError> {
        let (nid, named_before) = self.number(&pdu).await?;
        let after = match self.slot_of(&pdu).await? {
            Some(slot) => self.with(before, slot, nid).await?,
            None => before,
        };
        let meta = EventMeta {
            room: self.nid(),
            standing: Standing::Timeline,
            index: place.index(),
            past: Some(place),
            state_before: before,
            state_after: after,
            transaction: None,
        };
        let stored = self.keep(nid, pdu, meta).await?;
        let entry = TimelineEntry { event: nid, state_before: before, graph_before: None, jump: false, gap: false };
        self.enter_timeline(&stored, (place.position(), place.index()), &entry, named_before).await?;
        if named_before {
            self.is_followed(nid).await?;
        }
        self.head.events += 1;
        if stored.pdu.redacts().is_some() {
            self.carry_out_redaction(&stored).await?;
        }
        Ok(())
    }
}
