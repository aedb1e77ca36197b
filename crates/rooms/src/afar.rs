//! Rooms of other servers: entering them, and what is known of them before.

use std::sync::Arc;

use futures_util::FutureExt as _;
use ruma::{OwnedEventId, OwnedRoomId, RoomId, RoomVersionId, events::TimelineEventType};
use serde::Deserialize;
use serde_json::value::RawValue as RawJsonValue;
use wardroom_event::{Pdu, RoomVersion, stripped_state};
use wardroom_store::{CommitError, Json, Packed, Position};

use crate::{
    Engine, Membership, Rooms,
    create::room_type,
    error::RoomError,
    ids::{EventNid, UserNid},
    log::{LOG, LogRecord},
    receive::{Authorizing, Before, Judged},
    room::Room,
    tables::{EventMeta, ROOMS, RoomRecord, STRIPPED_STATE, Standing, TimelineEntry},
    writer::Writer,
};

/// A room that a local user enters through another server.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The room.
    pub room: OwnedRoomId,
    /// Its version.
    pub version: RoomVersion,
    /// The user's join, as it was accepted by the other server.
    pub join: Arc<Pdu>,
    /// The state before the join.
    pub state: Vec<Arc<Pdu>>,
    /// Authorization events of the state and the join.
    pub auth_chain: Vec<Arc<Pdu>>,
}

impl Entry {
    /// The create event; it must be of this room and version.
    fn create(&self) -> Result<&Arc<Pdu>, RoomError> {
        #[derive(Deserialize)]
        struct Content {
            room_version: Option<RoomVersionId>,
        }
        let refuse = |sentence: &str| RoomError::Forbidden(sentence.to_owned());
        let is_create = |pdu: &&Arc<Pdu>| *pdu.kind() == TimelineEventType::RoomCreate && pdu.state_key() == Some("");
        let create = self.state.iter().find(is_create);
        let create = create.ok_or_else(|| refuse("The room's state has no create event."))?;
        let content = create.content_as::<Content>().map_err(|_| refuse("The create event makes no sense."))?;
        if content.room_version.unwrap_or(RoomVersionId::V1) != *self.version.id() {
            return Err(refuse("The create event is of another room version."));
        }
        let mut all = self.state.iter().chain(&self.auth_chain).chain([&self.join]);
        if all.any(|pdu| pdu.room_id() != self.room || pdu.version() != self.version) {
            return Err(refuse("The answer has events of another room."));
        }
        Ok(create)
    }
}

impl Engine {
    /// The room with this id; a place for one where there is none.
    pub(crate) async fn room_or_place(
        self: &Arc<Self>,
        id: &RoomId,
        version: RoomVersion,
    ) -> Result<Arc<Room>, RoomError> {
        if let Some(room) = self.find_room(id).await? {
            return Ok(room);
        }
        let mut writer = self.begin_new_room(version, id).await?;
        let record = RoomRecord { version: version.id().clone(), create: EventNid::new(0), room_type: None };
        writer.batch.expect_absent(&ROOMS, &writer.nid());
        writer.batch.put(&ROOMS, &writer.nid(), &Json(record));
        match self.store.commit(writer.into_batch()?).await {
            // Somebody else made it in the meantime.
            Ok(_) | Err(CommitError::Conflict { .. }) => self.find_room(id).await?.ok_or(RoomError::NoSuchRoom),
            Err(error) => Err(error.into()),
        }
    }
}

impl Rooms {
    /// Makes the room one that this server is in.
    ///
    /// # Errors
    /// [`RoomError::Forbidden`] when the authorization rules do not allow the join in that state, or state and chain
    /// do not fit together.
    pub async fn enter(&self, entry: Entry) -> Result<(), RoomError> {
        let create = entry.create()?.event_id().to_owned();
        self.check_unblocked_id(&entry.room).await?;
        let room = self.engine.room_or_place(&entry.room, entry.version).await?;
        if room.view().create.get() == 0 && room.view().version != entry.version {
            // The version that an invite named says nothing against the room's own create event.
            let version = entry.version;
            self.engine.write(&room, move |writer| async move { writer.take_version(version) }.boxed()).await?;
        }
        if room.view().version != entry.version {
            return Err(RoomError::Forbidden("The room is of another version here.".to_owned()));
        }
        let state: Vec<OwnedEventId> = entry.state.iter().map(|pdu| pdu.event_id().to_owned()).collect();
        let events = entry.auth_chain.into_iter().chain(entry.state).collect();
        self.keep_outliers(&entry.room, events).await?;
        let join = entry.join;
        self.engine.write(&room, move |writer| async move { writer.enter(join, state, &create).await }.boxed()).await
    }

    /// Notes an invite, a knock or the end of one of a local user, in a room that this server is not in; `stripped` is
    /// what the user may know of the room. In a room that this server is in, the room's own events say.
    ///
    /// # Errors
    /// [`RoomError::BadContent`] where the event is no membership event; when the store fails.
    pub async fn note_membership(
        &self,
        room: &RoomId,
        event: Arc<Pdu>,
        stripped: Vec<Box<RawJsonValue>>,
    ) -> Result<(), RoomError> {
        if event.membership().is_some_and(|membership| Membership::from(&membership) == Membership::Invite) {
            self.check_unblocked_id(room).await?;
        }
        let room = self.engine.room_or_place(room, event.version()).await?;
        self.engine
            .write(&room, move |writer| async move { writer.note_membership(event, stripped).await }.boxed())
            .await
    }
}

impl Writer {
    /// Takes another version for that of a room of which only an invite or knock is known.
    fn take_version(&mut self, version: RoomVersion) -> Result<(), RoomError> {
        if let Some(failure) = &self.failed {
            return Err(failure.clone());
        }
        if self.view().create.get() == 0 {
            let record = RoomRecord { version: version.id().clone(), create: EventNid::new(0), room_type: None };
            self.becomes(version, record);
        }
        Ok(())
    }

    async fn enter(
        &mut self,
        join: Arc<Pdu>,
        state: Vec<OwnedEventId>,
        create: &OwnedEventId,
    ) -> Result<(), RoomError> {
        if let Some(failure) = &self.failed {
            return Err(failure.clone());
        }
        let resident = self.view().create.get() != 0 && self.engine.is_resident(&self.view()).await?;
        if resident && !self.servers.is_empty() {
            // Somebody else of this server came in meanwhile.
            self.receive(join, Before::Given(state)).await?;
            return Ok(());
        }
        let create = self.numbers(std::iter::once(&**create)).await?.pop().ok_or(RoomError::Lacking)?;
        let create = self.event(create).await?.filter(|create| !create.pdu.is_rejected());
        let create = create.ok_or_else(|| RoomError::Forbidden("The create event is not allowed.".to_owned()))?;
        let root = self.root_of(&state).await?;
        let nids = self.numbers(join.auth_events()).await?;
        let auth = self.events(&nids).await?;
        let missing = self.missing_before(&join).await?;
        let kind = room_type(&create.pdu);
        let record = RoomRecord { version: self.version().id().clone(), create: create.nid, room_type: kind };
        let before = (self.view().create, self.view().room_type);
        // The rules ask for the create event, which a room that is only heard of has not got.
        self.created_by(record.create, record.room_type.as_deref().map(Arc::from));
        let (old, was) = (self.head.state, self.head.state);
        self.head.state = root;
        let judged = self.judge(&join, &Authorizing::Here(auth), root).await;
        self.head.state = was;
        match judged {
            Ok(Judged::Allowed) => {}
            Ok(Judged::SoftFailed(sentence) | Judged::Rejected(sentence)) => {
                self.created_by(before.0, before.1);
                return Err(RoomError::Forbidden(sentence));
            }
            Err(error) => {
                self.created_by(before.0, before.1);
                return Err(error);
            }
        }
        self.becomes(self.version(), record);
        let entered = self.begin_at(join, root, old, missing).await;
        self.guard(entered)
    }

    /// Makes an event the one that everything known of the room from here on follows.
    async fn begin_at(
        &mut self,
        join: Arc<Pdu>,
        root: crate::Root,
        old: crate::Root,
        missing: Vec<OwnedEventId>,
    ) -> Result<(), RoomError> {
        let (nid, named_before) = self.number(&join).await?;
        let slot = self.slot_of(&join).await?;
        let after = match slot {
            Some(slot) => self.with(root, slot, nid).await?,
            None => root,
        };
        let before = self.replaced(slot).await?;
        if !missing.is_empty() {
            self.note_followed(&missing).await?;
            self.leave_gap(missing);
        }
        let index = self.next_index();
        let meta = EventMeta {
            standing: Standing::Timeline,
            state_before: root,
            state_after: after,
            ..self.outlier_meta(Standing::Timeline)
        };
        let stored = self.keep(nid, join, meta).await?;
        self.head.extremities = vec![nid];
        self.head.depth = self.head.depth.max(stored.pdu.depth());
        self.head.events += 1;
        self.head.state = after;
        self.note_jump(old).await?;
        self.record_event(&stored.pdu, Standing::Timeline, before.as_deref());
        let gap = std::mem::take(&mut self.gap_before_next);
        let entry = TimelineEntry { event: nid, state_before: root, graph_before: None, jump: false, gap };
        self.enter_timeline(&stored, (Position::COMMIT, index), &entry, named_before).await?;
        let room = self.nid();
        self.batch.put(&LOG, &(Position::COMMIT, index), &Packed(LogRecord::Event(room, nid)));
        self.head.note(&stored.pdu);
        self.go_on_at(index.saturating_add(1));
        Ok(())
    }

    async fn note_membership(&mut self, pdu: Arc<Pdu>, mut stripped: Vec<Box<RawJsonValue>>) -> Result<(), RoomError> {
        let resident = self.view().create.get() != 0 && self.engine.is_resident(&self.view()).await?;
        if resident && !self.servers.is_empty() {
            return Ok(());
        }
        let Some(user) = self.slot_of(&pdu).await?.and_then(crate::ids::Slot::user) else {
            return Err(RoomError::BadContent("type: this is no membership event".to_owned()));
        };
        let (nid, _) = self.number(&pdu).await?;
        if self.standing(nid).await?.is_none() {
            self.keep(nid, Arc::clone(&pdu), self.outlier_meta(Standing::Outlier)).await?;
        }
        let noted = self.note(user, nid, &pdu, &mut stripped).await;
        self.guard(noted)
    }

    async fn note(
        &mut self,
        user: UserNid,
        nid: EventNid,
        pdu: &Pdu,
        stripped: &mut Vec<Box<RawJsonValue>>,
    ) -> Result<(), RoomError> {
        let room = self.nid();
        let known = self.membership(user).await?.is_some_and(|record| record.event == nid);
        self.record_membership(user, nid, pdu).await?;
        let membership = self.membership(user).await?.map(|record| record.membership);
        if matches!(membership, Some(Membership::Invite | Membership::Knock)) {
            stripped.push(stripped_state(pdu));
            self.batch.put(&STRIPPED_STATE, &(user, room), &Json(std::mem::take(stripped)));
        }
        if !known {
            self.record_event(pdu, Standing::Timeline, None);
            let key = (Position::COMMIT, self.next_index());
            self.batch.put(&LOG, &key, &Packed(LogRecord::Afar(room, user)));
        }
        let next = self.next_index().saturating_add(1);
        self.go_on_at(next);
        Ok(())
    }
}
