//! Timelines: a room's events in the order in which they came, and who sees which of them.

use std::sync::Arc;

use ruma::{EventId, events::StateEventType};
use serde_json::value::RawValue as RawJsonValue;
use wardroom_event::{ClientFormat, Pdu, PowerLevels, client_json};
use wardroom_store::Scan;

use crate::{
    Action, Actor, Engine, Rooms,
    error::RoomError,
    events::Stored,
    ids::{EventNid, Place, RoomNid, Slot, UserNid},
    members::MembershipEntry,
    room::RoomView,
    tables::{EventMeta, Membership, Standing, TIMELINE, TimelineEntry},
    trie::Root,
    visibility::Visibility,
};

/// States of which the history visibility is kept at hand, about 40 bytes each.
pub(crate) const SIGHTS_MAX: usize = 20_000;

/// An event in its room's timeline.
#[derive(Clone, Debug)]
pub struct TimelineItem {
    /// Where it stands.
    pub place: Place,
    /// The event.
    pub event: Arc<Stored>,
    /// The room's state when it came: what clients know before they hear of it.
    pub state_before: Root,
    /// The state before it in the graph, which decides who may see it.
    pub seen_under: Root,
    /// The room's state changed by more or by less than this event.
    pub jump: bool,
    /// Events were missing before it when it came: what stands before it in the timeline may not be what came before.
    pub gap: bool,
}

impl TimelineItem {
    pub(crate) fn new(place: Place, event: Arc<Stored>, entry: &TimelineEntry) -> Self {
        let TimelineEntry { state_before, graph_before, jump, gap, .. } = *entry;
        Self { place, event, state_before, seen_under: graph_before.unwrap_or(state_before), jump, gap }
    }

    /// An event by its record.
    pub(crate) fn by_meta(place: Place, event: Arc<Stored>, meta: &EventMeta) -> Self {
        Self { place, event, state_before: meta.state_before, seen_under: meta.state_before, jump: false, gap: false }
    }
}

/// A stretch of a timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimelineRange {
    /// Boundary before the oldest event of the stretch.
    pub from: Place,
    /// Boundary after the newest.
    pub to: Place,
    /// Newest first.
    pub backwards: bool,
    /// Events at most.
    pub limit: usize,
}

/// Somebody whom the gate lets read a room, and how far.
#[derive(Clone, Debug)]
pub struct Reader {
    /// The user's number.
    pub nid: UserNid,
    /// The user's membership now.
    pub entry: Option<MembershipEntry>,
    /// Boundary up to which the user was joined: [`Place::LAST`] for members, [`Place::FIRST`] for who never was.
    pub end: Place,
    /// An administrator, who sees what nobody else may.
    everything: bool,
}

impl Reader {
    /// An administrator of the server, whom the history visibility does not hold back.
    pub const fn administrator(nid: UserNid) -> Self {
        Self { nid, entry: None, end: Place::LAST, everything: true }
    }

    fn new(nid: UserNid, entry: Option<MembershipEntry>) -> Self {
        let end = match &entry {
            Some(entry) if entry.membership == Membership::Join => Place::LAST,
            Some(entry) => entry.left.map_or(Place::FIRST, Place::next),
            None => Place::FIRST,
        };
        Self { nid, entry, end, everything: false }
    }

    /// Whether the user is joined now.
    pub fn is_joined(&self) -> bool {
        self.end == Place::LAST
    }
}

impl Rooms {
    /// The membership event of an invitation or a knock, or the one that ended it, where it stands in no timeline because
    /// this server is not in the room.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn own_end(&self, entry: &MembershipEntry) -> Result<Option<TimelineItem>, RoomError> {
        let Some((meta, _)) = self.engine.any_meta(entry.event).await? else { return Ok(None) };
        if meta.standing.is_placed() {
            return Ok(None);
        }
        let event = self.engine.event(entry.room, entry.event).await?;
        Ok(event.map(|event| TimelineItem::by_meta(entry.place, event, &meta)))
    }
}

impl Engine {
    /// Events of a stretch of a room's timeline; ungated.
    pub(crate) async fn timeline(&self, room: RoomNid, range: TimelineRange) -> Result<Vec<TimelineItem>, RoomError> {
        let key = |place: Place| (room, place.position(), place.index());
        let mut scan = Scan::range(&key(range.from), &key(range.to)).limit(range.limit);
        if range.backwards {
            scan = scan.reverse();
        }
        let entries = self.store.latest().scan(&TIMELINE, scan).await?;
        let nids: Vec<EventNid> = entries.iter().map(|(_, entry)| entry.event).collect();
        let events = self.events(room, &nids).await?;
        let items = entries.into_iter().zip(events).filter_map(|(((_, position, index), entry), event)| {
            Some(TimelineItem::new(Place::new(position, index), event?, &entry))
        });
        Ok(items.collect())
    }

    /// As [`Engine::timeline`], without the events: places and the states before them.
    pub(crate) async fn timeline_roots(
        &self,
        room: RoomNid,
        range: TimelineRange,
    ) -> Result<Vec<(Place, Root)>, RoomError> {
        let key = |place: Place| (room, place.position(), place.index());
        let mut scan = Scan::range(&key(range.from), &key(range.to)).limit(range.limit);
        if range.backwards {
            scan = scan.reverse();
        }
        let entries = self.store.latest().scan(&TIMELINE, scan).await?;
        Ok(entries
            .into_iter()
            .map(|((_, position, index), entry)| (Place::new(position, index), entry.state_before))
            .collect())
    }

    /// The history visibility of a state.
    pub(crate) async fn visibility_at(&self, room: RoomNid, root: Root) -> Result<Visibility, RoomError> {
        if let Some(visibility) = self.sights.get(&root) {
            return Ok(visibility);
        }
        let event = self.state_event(room, root, &StateEventType::RoomHistoryVisibility, "").await?;
        let visibility = Visibility::of(event.as_ref().map(|event| &*event.pdu));
        self.sights.insert(root, visibility);
        Ok(visibility)
    }

    /// How far a user may read a room whom the gate has let read it.
    pub(crate) async fn reader_of(&self, user: UserNid, room: RoomNid) -> Result<Reader, RoomError> {
        Ok(Reader::new(user, self.membership(user, room).await?))
    }

    async fn membership_at(&self, room: RoomNid, root: Root, user: UserNid) -> Result<Option<Membership>, RoomError> {
        let event = self.event_at(room, root, Slot::member(user)).await?;
        Ok(event.and_then(|event| event.pdu.membership()).as_ref().map(Membership::from))
    }

    /// Whether the reader sees an event: its time is not over, and the history visibility rules show it.
    pub(crate) async fn sees(&self, reader: &Reader, room: &RoomView, item: &TimelineItem) -> Result<bool, RoomError> {
        Ok(self.is_live(room, &item.event) && self.sees_place(reader, room, item).await?)
    }

    /// Whether the reader sees an event, or saw it before its time was over, by the history visibility rules.
    pub(crate) async fn sees_place(
        &self,
        reader: &Reader,
        room: &RoomView,
        item: &TimelineItem,
    ) -> Result<bool, RoomError> {
        if reader.everything {
            return Ok(true);
        }
        if !self.is_shown(room.nid, item).await? {
            return Ok(false);
        }
        let joined_after = item.place < reader.end;
        let mut visibility = self.visibility_at(room.nid, item.seen_under).await?;
        let pdu = &item.event.pdu;
        if pdu.is_state() && *pdu.kind() == ruma::events::TimelineEventType::RoomHistoryVisibility {
            // A change of the visibility is seen under the more permissive of the two (specification, same module).
            visibility = visibility.max(Visibility::of(Some(pdu)));
        }
        if visibility.shows(None, joined_after) {
            return Ok(true);
        }
        let then = self.membership_at(room.nid, item.seen_under, reader.nid).await?;
        if visibility.shows(then, joined_after) {
            return Ok(true);
        }
        // One's own membership event is seen under the membership before or the one it brings.
        let own = self.own_membership(reader.nid, pdu).await?;
        Ok(own.is_some_and(|own| own <= Membership::Invite || visibility.shows(Some(own), joined_after)))
    }

    /// Whether clients are told of an event at all: of a redaction, once what it redacts is here, if it may redact that.
    ///
    /// [Handling redactions](https://spec.matrix.org/v1.19/rooms/v12/#handling-redactions).
    async fn is_shown(&self, room: RoomNid, item: &TimelineItem) -> Result<bool, RoomError> {
        let redaction = &item.event.pdu;
        let Some(target) = redaction.redacts() else { return Ok(true) };
        let Some((meta, target)) = self.known_event(room, target).await? else { return Ok(false) };
        if !matches!(meta.standing, Standing::Timeline | Standing::SoftFailed) {
            return Ok(false);
        }
        let is_its_doing = target.redacted_because.as_ref().is_some_and(|by| by.event_id() == redaction.event_id());
        if is_its_doing || target.pdu.sender().server_name() == redaction.sender().server_name() {
            return Ok(true);
        }
        let state = async |kind| self.state_event(room, item.seen_under, &kind, "").await;
        let (levels, create) =
            (state(StateEventType::RoomPowerLevels).await?, state(StateEventType::RoomCreate).await?);
        let Some(create) = create else { return Ok(false) };
        let levels = PowerLevels::new(levels.as_ref().map(|stored| &*stored.pdu), &create.pdu);
        Ok(levels.of(redaction.sender()).reaches(levels.required(wardroom_event::Action::Redact)))
    }

    /// An event of a room, by its id.
    async fn known_event(&self, room: RoomNid, id: &EventId) -> Result<Option<(EventMeta, Arc<Stored>)>, RoomError> {
        let Some(nid) = self.event_nid(id).await? else { return Ok(None) };
        let Some((meta, _)) = self.any_meta(nid).await?.filter(|(meta, _)| meta.room == room) else { return Ok(None) };
        Ok(self.event(room, nid).await?.map(|event| (meta, event)))
    }

    async fn own_membership(&self, user: UserNid, pdu: &Pdu) -> Result<Option<Membership>, RoomError> {
        let Some(membership) = pdu.membership() else { return Ok(None) };
        let slot = self.slot(&StateEventType::RoomMember, pdu.state_key().unwrap_or_default()).await?;
        Ok((slot == Some(Slot::member(user))).then(|| Membership::from(&membership)))
    }

    /// What the room's state held before a state event, for its `unsigned`.
    async fn replaced(&self, room: RoomNid, stored: &Stored) -> Result<Option<Arc<Stored>>, RoomError> {
        let Some(state_key) = stored.pdu.state_key() else { return Ok(None) };
        let Some((meta, _)) = self.meta(stored.nid).await? else { return Ok(None) };
        let kind = StateEventType::from(stored.pdu.kind().to_string());
        self.state_event(room, meta.state_before, &kind, state_key).await
    }
}

impl Rooms {
    /// Lets somebody read a room, as far as the gate allows.
    pub async fn reader(&self, actor: Actor<'_>, room: &RoomView) -> Result<Reader, RoomError> {
        let entry = self.engine.permit(actor, room, Action::Read).await?;
        Ok(Reader::new(actor.nid, entry))
    }

    /// Events of a stretch of a room's timeline. Ungated: pass each through [`Rooms::visible`].
    pub async fn timeline(&self, room: RoomNid, range: TimelineRange) -> Result<Vec<TimelineItem>, RoomError> {
        self.engine.timeline(room, range).await
    }

    /// Drops the events that the reader does not see.
    pub async fn visible(
        &self,
        reader: &Reader,
        room: &RoomView,
        mut items: Vec<TimelineItem>,
    ) -> Result<Vec<TimelineItem>, RoomError> {
        let mut seen = Vec::with_capacity(items.len());
        for item in items.drain(..) {
            if self.engine.sees(reader, room, &item).await? {
                seen.push(item);
            }
        }
        Ok(seen)
    }

    /// An event as its reader gets it (specification, "Room event format").
    ///
    /// `unsigned` carries what it replaced, its redaction, its age, and the transaction id where the reader's own
    /// device sent it. Inside `/sync`, where the room is known, `room_id` is left out.
    pub async fn client_event(
        &self,
        reader: Actor<'_>,
        stored: &Stored,
        room_id: bool,
    ) -> Result<Box<RawJsonValue>, RoomError> {
        self.client_event_with(reader, stored, room_id, None).await
    }

    /// As [`Rooms::client_event`], with bundled aggregations.
    pub(crate) async fn client_event_with(
        &self,
        reader: Actor<'_>,
        stored: &Stored,
        room_id: bool,
        relations: Option<&RawJsonValue>,
    ) -> Result<Box<RawJsonValue>, RoomError> {
        let pdu = &stored.pdu;
        let redaction = stored
            .redacted_because
            .as_ref()
            .map(|by| client_json(by, &ClientFormat { room_id, ..ClientFormat::default() }));
        let is_state = pdu.is_state();
        let own = reader.device.is_some() && pdu.sender() == reader.user;
        let room = if is_state { self.engine.room_nid(pdu.room_id()).await? } else { None };
        let replaced = match room {
            Some(room) => self.engine.replaced(room, stored).await?,
            None => None,
        };
        let transaction = if own { self.transaction_of(reader, stored).await? } else { None };
        let format = ClientFormat {
            room_id,
            age_ms: Some(self.engine.clock.now_ms().saturating_sub(pdu.origin_server_ts())),
            redacted_because: redaction.as_deref(),
            redacted_by: stored.redacted_because.as_ref().map(|by| by.event_id()),
            prev_content: replaced.as_ref().map(|replaced| replaced.pdu.content()),
            replaces_state: replaced.as_ref().map(|replaced| replaced.pdu.event_id()),
            transaction_id: transaction.as_deref(),
            relations,
            ..ClientFormat::default()
        };
        Ok(client_json(pdu, &format))
    }

    async fn transaction_of(&self, reader: Actor<'_>, stored: &Stored) -> Result<Option<String>, RoomError> {
        let device = self.engine.device_hash(reader);
        let meta = self.engine.meta(stored.nid).await?;
        Ok(meta.and_then(|(meta, _)| meta.transaction).filter(|(by, _)| Some(*by) == device).map(|(_, id)| id))
    }
}
