//! Events of other servers, as they come in.
//!
//! [Checks performed on receipt of a PDU](https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu):
//! format, signatures and hash were checked before. Here an event is put to the authorization rules three times: against
//! its own authorization events and against the state before it, which reject it, and against the room's state now,
//! which makes it fail softly.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use futures_util::FutureExt as _;
use ruma::{EventId, OwnedEventId, RoomId, ServerName, events::StateEventType, events::TimelineEventType};
use wardroom_audit::Act;
use wardroom_event::{Pdu, auth_types, authorize, check_standalone};
use wardroom_store::Packed;

use crate::{
    Rooms,
    error::RoomError,
    events::Stored,
    ids::{NS_EVENT, RoomNid, Slot},
    tables::{EventMeta, GAPS, Standing},
    trie::{Growth, Root},
    writer::{Placing, Tell, Writer},
};

/// Outliers that one batch keeps.
const OUTLIERS_PER_BATCH: usize = 500;
/// Indexes of a commit that are left free before an event above a gap, for what will fill the gap.
const GAP_INDEXES: u16 = 16_384;

/// Where the state before a received event comes from.
#[derive(Clone, Debug)]
pub enum Before {
    /// From the events it follows, all of which have a place in the graph.
    Derived,
    /// From another server: ids of the whole state, all of them here, as outliers at least.
    Given(Vec<OwnedEventId>),
}

/// What became of a received event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// It is part of the room now.
    Accepted,
    /// See [`Standing::SoftFailed`].
    SoftFailed,
    /// See [`Standing::Rejected`].
    Rejected,
    /// It had a place before.
    Known,
}

/// What has to be here before an event can be received.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lacking {
    /// Of the events it follows, those that have no place in the graph.
    pub prev_events: Vec<OwnedEventId>,
    /// Of its authorization events, those that are not here at all. One of another room is all that its rejection needs.
    pub auth_events: Vec<OwnedEventId>,
}

impl Lacking {
    /// Whether nothing is lacking.
    pub fn is_empty(&self) -> bool {
        self.prev_events.is_empty() && self.auth_events.is_empty()
    }
}

/// What the rules say of an event.
#[derive(Clone, Debug)]
pub(crate) enum Judged {
    Allowed,
    SoftFailed(String),
    Rejected(String),
}

/// The authorization events of an event.
pub(crate) enum Authorizing {
    /// All are here.
    Here(Vec<Arc<Stored>>),
    /// One is of another room, which no rule allows: the rest does not matter.
    OfAnotherRoom,
}

type StateEvents = Vec<(StateEventType, String, Arc<Stored>)>;

fn allowed_by(pdu: &Pdu, state: &StateEvents) -> Result<(), String> {
    let find = |kind: &StateEventType, key: &str| {
        state.iter().find(|(k, s, _)| k == kind && s == key).map(|(_, _, stored)| Arc::clone(&stored.pdu))
    };
    authorize(pdu, find).map_err(|rejection| rejection.to_string())
}

impl Writer {
    /// The authorization events of an event; none where one of them is not here.
    async fn auth_events_of(&self, pdu: &Pdu) -> Result<Option<Authorizing>, RoomError> {
        let nids = self.numbers(pdu.auth_events()).await?;
        let found = self.events(&nids).await?;
        let distinct: HashSet<&EventId> = pdu.auth_events().collect();
        if found.len() < distinct.len() {
            for nid in nids {
                if self.engine.any_meta(nid).await?.is_some_and(|(meta, _)| meta.room != self.nid()) {
                    return Ok(Some(Authorizing::OfAnotherRoom));
                }
            }
            return Ok(None);
        }
        let begins = *pdu.kind() == TimelineEventType::RoomCreate;
        Ok((begins || self.create_event(&found).await?.is_some()).then_some(Authorizing::Here(found)))
    }

    /// The create event: of the room, or of an outlier's room that is not known yet.
    async fn create_event(&self, auth: &[Arc<Stored>]) -> Result<Option<Arc<Stored>>, RoomError> {
        let create = self.view().create;
        if create.get() != 0 {
            return self.event(create).await;
        }
        if let Some(create) = auth.iter().find(|stored| *stored.pdu.kind() == TimelineEventType::RoomCreate) {
            return Ok(Some(Arc::clone(create)));
        }
        // Version 12 events do not name the create event: the room id does.
        let id = OwnedEventId::try_from(format!("${}", self.view().id.strip_sigil()));
        let Ok(id) = id else { return Ok(None) };
        match self.numbers(std::iter::once(&*id)).await?.first() {
            Some(nid) => self.event(*nid).await,
            None => Ok(None),
        }
    }

    /// Checks an event against its own authorization events.
    async fn judge_by_auth_events(&self, pdu: &Pdu, auth: &Authorizing) -> Result<Result<(), String>, RoomError> {
        let auth = match auth {
            Authorizing::Here(auth) => auth,
            Authorizing::OfAnotherRoom => {
                return Ok(Err("One of its authorization events is of another room.".to_owned()));
            }
        };
        let create = self.create_event(auth).await?;
        let find = |id: &EventId| {
            auth.iter().chain(&create).find(|stored| stored.pdu.event_id() == id).map(|stored| Arc::clone(&stored.pdu))
        };
        if let Err(rejection) = check_standalone(pdu, find) {
            return Ok(Err(rejection.to_string()));
        }
        let keyed = |stored: &Arc<Stored>| {
            let kind = StateEventType::from(stored.pdu.kind().to_string());
            (kind, stored.pdu.state_key().unwrap_or_default().to_owned(), Arc::clone(stored))
        };
        let state: StateEvents = auth.iter().chain(&create).map(keyed).collect();
        Ok(allowed_by(pdu, &state))
    }

    /// Checks an event against a state.
    pub(crate) async fn judge_by_state(&self, pdu: &Pdu, root: Root) -> Result<Result<(), String>, RoomError> {
        let types = auth_types(self.version(), pdu.kind(), pdu.sender(), pdu.state_key(), pdu.content());
        let types = match types {
            Ok(types) => types,
            Err(rejection) => return Ok(Err(rejection.to_string())),
        };
        let mut state = StateEvents::with_capacity(types.len() + 1);
        for (kind, state_key) in types {
            if let Some(stored) = self.state_event_at(root, &kind, &state_key).await? {
                state.push((kind, state_key, stored));
            }
        }
        if !state.iter().any(|(kind, ..)| *kind == StateEventType::RoomCreate)
            && let Some(create) = self.create_event(&[]).await?
        {
            state.push((StateEventType::RoomCreate, String::new(), create));
        }
        Ok(allowed_by(pdu, &state))
    }

    /// Puts an event to the rules: its authorization events, the state before it, the state now.
    pub(crate) async fn judge(&self, pdu: &Pdu, auth: &Authorizing, before: Root) -> Result<Judged, RoomError> {
        let second_create = *pdu.kind() == TimelineEventType::RoomCreate;
        if second_create || pdu.prev_events().len() == 0 {
            let sentence = "A room begins once: only its create event follows no other.";
            return Ok(Judged::Rejected(sentence.to_owned()));
        }
        if let Err(sentence) = self.judge_by_auth_events(pdu, auth).await? {
            return Ok(Judged::Rejected(sentence));
        }
        if let Err(sentence) = self.judge_by_state(pdu, before).await? {
            return Ok(Judged::Rejected(sentence));
        }
        if before != self.head.state
            && let Err(sentence) = self.judge_by_state(pdu, self.head.state).await?
        {
            return Ok(Judged::SoftFailed(sentence));
        }
        if !self.is_recommended(pdu).await? {
            return Ok(Judged::SoftFailed("The room's policy server has not signed the event.".to_owned()));
        }
        match self.ask_gate(pdu).await? {
            Some(sentence) => Ok(Judged::SoftFailed(sentence)),
            None => Ok(Judged::Allowed),
        }
    }

    /// Puts an event of the past to the rules: its authorization events and the state before it.
    pub(crate) async fn judge_past(&self, pdu: &Pdu, before: Root) -> Result<Judged, RoomError> {
        let Some(auth) = self.auth_events_of(pdu).await? else {
            return Ok(Judged::Rejected("Its authorization events are not here.".to_owned()));
        };
        if let Err(sentence) = self.judge_by_auth_events(pdu, &auth).await? {
            return Ok(Judged::Rejected(sentence));
        }
        let begins = *pdu.kind() == TimelineEventType::RoomCreate;
        if !begins && let Err(sentence) = self.judge_by_state(pdu, before).await? {
            return Ok(Judged::Rejected(sentence));
        }
        Ok(Judged::Allowed)
    }

    /// The state before an event that follows others; none where one of those has no place.
    pub(crate) async fn state_before(&mut self, pdu: &Pdu) -> Result<Option<Root>, RoomError> {
        let nids = self.numbers(pdu.prev_events()).await?;
        if nids.len() < pdu.prev_events().len() {
            return Ok(None);
        }
        let mut roots = Vec::with_capacity(nids.len());
        for nid in nids {
            match self.state_after(nid).await? {
                Some(root) => roots.push(root),
                None => return Ok(None),
            }
        }
        self.resolve(roots).await.map(Some)
    }

    /// The state that these events make. Rejected ones are no part of any state.
    pub(crate) async fn root_of(&mut self, ids: &[OwnedEventId]) -> Result<Root, RoomError> {
        let nids = self.numbers(ids.iter().map(|id| &**id)).await?;
        if nids.len() < ids.len() {
            return Err(RoomError::Lacking);
        }
        let mut entries: HashMap<Slot, _> = HashMap::with_capacity(nids.len());
        for nids in nids.chunks(OUTLIERS_PER_BATCH) {
            let events = self.events(nids).await?;
            if events.len() < nids.len() {
                return Err(RoomError::Lacking);
            }
            for stored in events.iter().filter(|stored| !stored.pdu.is_rejected()) {
                if let Some(slot) = self.slot_of(&stored.pdu).await? {
                    entries.insert(slot, stored.nid);
                }
            }
        }
        let mut entries: Vec<_> = entries.into_iter().collect();
        entries.sort_unstable_by_key(|entry| entry.0);
        let room = self.nid();
        let mut growth = Growth { view: &self.store, overlay: &mut self.overlay, batch: &mut self.batch, room };
        Ok(growth.whole(entries))
    }

    fn check_room(&self, pdu: &Pdu) -> Result<(), RoomError> {
        if let Some(failure) = &self.failed {
            return Err(failure.clone());
        }
        if pdu.room_id() != self.view().id || pdu.version() != self.version() {
            return Err(RoomError::BadContent("room_id: the event is of another room".to_owned()));
        }
        Ok(())
    }

    /// Receives an event of another server; see [`Rooms::receive`].
    pub(crate) async fn receive(&mut self, pdu: Arc<Pdu>, before: Before) -> Result<Received, RoomError> {
        self.check_room(&pdu)?;
        if let Some(nid) = self.numbers(std::iter::once(pdu.event_id())).await?.first()
            && (*nid == self.view().create || self.standing(*nid).await?.is_some_and(Standing::is_placed))
        {
            return Ok(Received::Known);
        }
        let auth = self.auth_events_of(&pdu).await?.ok_or(RoomError::Lacking)?;
        let root = match &before {
            Before::Derived => self.state_before(&pdu).await?.ok_or(RoomError::Lacking)?,
            Before::Given(ids) => self.root_of(ids).await?,
        };
        let (standing, received) = match self.judge(&pdu, &auth, root).await? {
            Judged::Allowed => (Standing::Timeline, Received::Accepted),
            Judged::SoftFailed(_) => (Standing::SoftFailed, Received::SoftFailed),
            Judged::Rejected(_) => (Standing::Rejected, Received::Rejected),
        };
        let outcome = self.take(pdu, root, standing, Tell::Nobody).await;
        self.guard(outcome).map(|()| received)
    }

    /// From here on the batch changes: half of it must not be committed.
    pub(crate) fn guard<T>(&mut self, outcome: Result<T, RoomError>) -> Result<T, RoomError> {
        if let Err(failure) = &outcome {
            self.fail(failure.clone());
        }
        outcome
    }

    async fn take(&mut self, pdu: Arc<Pdu>, before: Root, standing: Standing, tell: Tell) -> Result<(), RoomError> {
        let missing = self.missing_before(&pdu).await?;
        if standing == Standing::Timeline && !missing.is_empty() {
            self.note_followed(&missing).await?;
            self.leave_gap(missing);
        }
        let stored = self.place(pdu, Placing { before, standing, transaction: None, tell }).await?;
        if standing == Standing::Timeline {
            self.end_typing(&stored.pdu).await?;
            if stored.pdu.redacts().is_some() {
                self.carry_out_redaction(&stored).await?;
            }
        }
        Ok(())
    }

    /// Of the events that an event follows, those that have no place in the graph.
    pub(crate) async fn missing_before(&self, pdu: &Pdu) -> Result<Vec<OwnedEventId>, RoomError> {
        let mut missing = Vec::new();
        for id in pdu.prev_events() {
            let nid = self.numbers(std::iter::once(id)).await?.pop();
            let placed = match nid {
                Some(nid) => self.standing(nid).await?.is_some_and(Standing::is_placed),
                None => false,
            };
            if !placed {
                missing.push(id.to_owned());
            }
        }
        Ok(missing)
    }

    /// Notes that events are missing before the next event of the timeline, with room for them.
    pub(crate) fn leave_gap(&mut self, missing: Vec<OwnedEventId>) {
        if self.next_index() > 0 {
            let index = self.next_index().saturating_add(GAP_INDEXES);
            self.go_on_at(index);
        }
        let key = (self.nid(), wardroom_store::Position::COMMIT, self.next_index());
        self.batch.put(&GAPS, &key, &Packed(missing));
        self.gap_before_next = true;
    }

    /// Keeps an event as an outlier; false where it is here already, or an authorization event of it is not.
    async fn keep_outlier(&mut self, pdu: Arc<Pdu>) -> Result<bool, RoomError> {
        self.check_room(&pdu)?;
        if let Some(nid) = self.numbers(std::iter::once(pdu.event_id())).await?.first()
            && self.standing(*nid).await?.is_some()
        {
            return Ok(false);
        }
        let Some(auth) = self.auth_events_of(&pdu).await? else { return Ok(false) };
        let standing = match self.judge_by_auth_events(&pdu, &auth).await? {
            Ok(()) => Standing::Outlier,
            Err(_) => Standing::RejectedOutlier,
        };
        let (nid, _) = self.number(&pdu).await?;
        let kept = self.keep(nid, pdu, self.outlier_meta(standing)).await.map(drop);
        self.guard(kept).map(|()| true)
    }

    pub(crate) fn outlier_meta(&self, standing: Standing) -> EventMeta {
        EventMeta {
            room: self.nid(),
            standing,
            index: self.next_index(),
            past: None,
            state_before: Root::EMPTY,
            state_after: Root::EMPTY,
            transaction: None,
        }
    }
}

/// Events with those before them that authorize them.
fn by_authorization(events: Vec<Arc<Pdu>>) -> Vec<Arc<Pdu>> {
    let mut waiting: HashMap<OwnedEventId, Arc<Pdu>> =
        events.iter().map(|pdu| (pdu.event_id().to_owned(), Arc::clone(pdu))).collect();
    let mut sorted = Vec::with_capacity(waiting.len());
    // The create event first, which those of version 12 need without naming it.
    let begins = |pdu: &Arc<Pdu>| *pdu.kind() == TimelineEventType::RoomCreate;
    let (create, others): (Vec<_>, Vec<_>) = events.into_iter().partition(begins);
    for event in create.into_iter().chain(others) {
        let mut open = vec![(event, false)];
        while let Some((pdu, expanded)) = open.pop() {
            if expanded {
                sorted.push(pdu);
            } else if waiting.remove(pdu.event_id()).is_some() {
                let auth: Vec<_> = pdu.auth_events().filter_map(|id| waiting.get(id).cloned()).collect();
                open.push((pdu, true));
                open.extend(auth.into_iter().map(|auth| (auth, false)));
            }
        }
    }
    sorted
}

impl Rooms {
    /// Which of these events are not here at all, as outliers neither.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn not_here(&self, room: &RoomId, ids: &[OwnedEventId]) -> Result<Vec<OwnedEventId>, RoomError> {
        let Some(room) = self.engine.room_nid(room).await? else { return Ok(ids.to_vec()) };
        let mut missing = Vec::new();
        for id in ids {
            if self.standing_in(room, id).await?.is_none() {
                missing.push(id.clone());
            }
        }
        Ok(missing)
    }

    /// Whether an event is here, in this room or another.
    async fn is_anywhere(&self, id: &EventId) -> Result<bool, RoomError> {
        let names = self.engine.store.interner();
        let Some(nid) = names.lookup(NS_EVENT, id.as_str()).await? else { return Ok(false) };
        Ok(self.engine.any_meta(crate::EventNid::new(nid)).await?.is_some())
    }

    async fn standing_in(&self, room: RoomNid, id: &EventId) -> Result<Option<Standing>, RoomError> {
        let names = self.engine.store.interner();
        let Some(nid) = names.lookup(NS_EVENT, id.as_str()).await? else { return Ok(None) };
        let meta = self.engine.any_meta(crate::EventNid::new(nid)).await?;
        Ok(meta.filter(|(meta, _)| meta.room == room).map(|(meta, _)| meta.standing))
    }

    /// What has to be here before the event can be received.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn lacking(&self, room: &RoomId, event: &Pdu) -> Result<Lacking, RoomError> {
        let room = self.engine.room_nid(room).await?.ok_or(RoomError::NoSuchRoom)?;
        let mut lacking = Lacking::default();
        for id in event.prev_events() {
            if !self.standing_in(room, id).await?.is_some_and(Standing::is_placed) {
                lacking.prev_events.push(id.to_owned());
            }
        }
        for id in event.auth_events() {
            if !self.is_anywhere(id).await? {
                lacking.auth_events.push(id.to_owned());
            }
        }
        Ok(lacking)
    }

    /// Keeps events whose place in the graph is not known. Those that lack an authorization event, here or among the
    /// others, are left out. Each is checked against its authorization events.
    ///
    /// # Errors
    /// [`RoomError::NoSuchRoom`]; when the store fails.
    pub async fn keep_outliers(&self, room: &RoomId, events: Vec<Arc<Pdu>>) -> Result<(), RoomError> {
        let room = self.engine.find_room(room).await?.ok_or(RoomError::NoSuchRoom)?;
        for events in by_authorization(events).chunks(OUTLIERS_PER_BATCH) {
            let events = events.to_vec();
            let kept = self.engine.write(&room, move |writer| {
                async move {
                    let mut kept = Vec::new();
                    for event in events {
                        let id = event.event_id().to_owned();
                        if writer.keep_outlier(event).await? {
                            kept.push(id);
                        }
                    }
                    writer.record_several(Act::FederationReceive, &kept, "state");
                    Ok(())
                }
                .boxed()
            });
            kept.await?;
        }
        Ok(())
    }

    /// Receives a checked event of another server.
    ///
    /// # Errors
    /// [`RoomError::NoSuchRoom`]; [`RoomError::Lacking`] when something is not here that has to be.
    pub async fn receive(&self, room: &RoomId, event: Arc<Pdu>, before: Before) -> Result<Received, RoomError> {
        let received = self.receive_many(room, vec![(event, before)]).await?.pop();
        received.unwrap_or_else(|| Err(RoomError::inconsistent("event that was not received")))
    }

    /// Receives checked events of other servers in this order, in one commit. What is refused does not keep the others
    /// out.
    ///
    /// # Errors
    /// [`RoomError::NoSuchRoom`]; when the store fails.
    pub async fn receive_many(
        &self,
        room: &RoomId,
        events: Vec<(Arc<Pdu>, Before)>,
    ) -> Result<Vec<Result<Received, RoomError>>, RoomError> {
        let room = self.engine.find_room(room).await?.ok_or(RoomError::NoSuchRoom)?;
        self.prepare_for(events.iter().map(|(event, _)| &**event), &room.view()).await;
        let events = self.recommend(&room.view(), events).await?;
        let received = self.engine.write(&room, move |writer| {
            async move {
                let mut received = Vec::with_capacity(events.len());
                for (event, before) in events {
                    received.push(writer.receive(event, before).await);
                }
                Ok(received)
            }
            .boxed()
        });
        received.await
    }

    /// Receives a membership event that another server made from a [`crate::Template`] and signed (`send_join`,
    /// `send_leave`, `send_knock`), or an invite of this server's that the invited user's server signed, and passes it on
    /// to the servers in the room but `origin`.
    ///
    /// # Errors
    /// [`RoomError::Forbidden`] when the rules or the gate do not allow it: nothing is kept then.
    /// [`RoomError::Lacking`] when it follows events that are not here.
    pub async fn admit(&self, room: &RoomId, event: Arc<Pdu>, origin: &ServerName) -> Result<(), RoomError> {
        let room = self.engine.find_room(room).await?.ok_or(RoomError::NoSuchRoom)?;
        let origin = origin.to_owned();
        self.prepare_for(std::iter::once(&*event), &room.view()).await;
        let event = self.recommend(&room.view(), vec![(event, Before::Derived)]).await?.pop();
        let (event, _) = event.ok_or_else(|| RoomError::inconsistent("event that was lost"))?;
        self.engine.write(&room, move |writer| async move { writer.admit(event, &origin).await }.boxed()).await
    }
}

impl Writer {
    async fn admit(&mut self, pdu: Arc<Pdu>, origin: &ServerName) -> Result<(), RoomError> {
        self.check_room(&pdu)?;
        self.check_resident().await?;
        if matches!(
            pdu.membership().as_ref().map(crate::Membership::from),
            Some(crate::Membership::Join | crate::Membership::Knock)
        ) {
            self.require_let_in(pdu.sender())?;
        }
        if let Some(nid) = self.numbers(std::iter::once(pdu.event_id())).await?.first() {
            match self.standing(*nid).await? {
                Some(Standing::Timeline) => return Ok(()),
                Some(Standing::SoftFailed | Standing::Rejected) => {
                    return Err(RoomError::Forbidden("The event was refused before.".to_owned()));
                }
                _ => {}
            }
        }
        let auth = self.auth_events_of(&pdu).await?.ok_or(RoomError::Lacking)?;
        let root = self.state_before(&pdu).await?.ok_or(RoomError::Lacking)?;
        match self.judge(&pdu, &auth, root).await? {
            Judged::Allowed => {}
            Judged::SoftFailed(sentence) | Judged::Rejected(sentence) => return Err(RoomError::Forbidden(sentence)),
        }
        let origin = self.server(origin).await?;
        let outcome = self.take(pdu, root, Standing::Timeline, Tell::Others(Some(origin))).await;
        self.guard(outcome)
    }
}
