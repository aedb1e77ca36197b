//! Rooms in memory: an immutable picture of each for readers, and one queue of writes each.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::Mutex;
use ruma::{OwnedRoomId, RoomId, events::StateEventType};
use wardroom_event::RoomVersion;
use wardroom_store::{Hash16, Packed, Position, Scan};

use crate::{
    Engine,
    ends::{ACTIVITY, Activity},
    error::RoomError,
    gate::Policy,
    ids::{EventNid, NS_ROOM, Place, RoomNid, ServerNid},
    join_rules::JoinRules,
    retention::{Lifetime, Override, RETENTION_TYPES, RetentionOf, terms_of},
    tables::{HEADS, Head, ROOM_SERVERS, ROOMS},
    trie::Root,
    visibility::Visibility,
    writer::Job,
};

/// Rooms kept in memory, about 500 bytes each. Rooms at rest are dropped beyond that.
const ROOMS_IN_MEMORY_MAX: usize = 20_000;

/// Servers of one room, as far as one read goes; the index of a room with more would be wrong.
const SERVERS_PER_ROOM_MAX: usize = 1_000_000;

/// An immutable picture of a room at one position of the log.
#[derive(Clone, Debug)]
pub struct RoomView {
    /// The room's number.
    pub nid: RoomNid,
    /// The room's id.
    pub id: OwnedRoomId,
    /// The room's version.
    pub version: RoomVersion,
    /// The create event.
    pub create: EventNid,
    /// The room's type: none of ordinary rooms, `m.space` of spaces.
    pub room_type: Option<Arc<str>>,
    /// Current state.
    pub state: Root,
    /// Users whose membership is `join`.
    pub joined: u64,
    /// Users whose membership is `invite`.
    pub invited: u64,
    /// History visibility now.
    pub visibility: Visibility,
    /// Whether anybody may join: the join rule is `public`.
    pub public: bool,
    /// What the gate decides by in this room, besides what it does everywhere.
    pub policy: Option<Policy>,
    /// How long its message events are kept.
    pub lifetime: Lifetime,
    /// What an administrator has set of that.
    pub(crate) retention_set: Option<Override>,
    /// The template that it was made by.
    pub(crate) template: Option<Hash16>,
    /// When something was last said.
    pub(crate) activity: Activity,
    /// Boundary after the newest event.
    pub end: Place,
    /// Joined users by server.
    pub(crate) servers: Arc<BTreeMap<ServerNid, u64>>,
    pub(crate) head: Arc<Head>,
}

impl RoomView {
    /// Whether anybody may know who is in it: anybody may join, or read without.
    pub fn is_open(&self) -> bool {
        self.public || self.visibility == Visibility::WorldReadable
    }
}

/// A room in memory.
#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) nid: RoomNid,
    view: RwLock<Arc<RoomView>>,
    pub(crate) queue: Mutex<Queue>,
    /// The room is being destroyed: nothing is written to it any more.
    closed: AtomicBool,
}

/// Writes waiting for the room's one writer.
#[derive(Default)]
pub(crate) struct Queue {
    pub(crate) jobs: VecDeque<Box<dyn Job>>,
    /// A task is draining the queue.
    pub(crate) draining: bool,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("jobs", &self.jobs.len()).field("draining", &self.draining).finish()
    }
}

impl Room {
    pub(crate) fn new(view: RoomView) -> Self {
        Self {
            nid: view.nid,
            view: RwLock::new(Arc::new(view)),
            queue: Mutex::default(),
            closed: AtomicBool::new(false),
        }
    }

    /// Refuses every write from now on.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// The room now.
    pub(crate) fn view(&self) -> Arc<RoomView> {
        Arc::clone(&self.view.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn publish(&self, view: RoomView) {
        *self.view.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(view);
    }
}

/// The rooms in memory, loaded on first use.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    rooms: Mutex<HashMap<RoomNid, Arc<Room>>>,
    /// Held while a room is read and entered, so that no second writer of a room comes to be.
    loading: tokio::sync::Mutex<()>,
}

impl Registry {
    fn get(&self, nid: RoomNid) -> Option<Arc<Room>> {
        self.rooms.lock().get(&nid).cloned()
    }

    /// The rooms in memory; none that is being loaded is missing.
    pub(crate) async fn loaded(&self) -> Vec<Arc<Room>> {
        let _alone = self.loading.lock().await;
        self.rooms.lock().values().cloned().collect()
    }

    /// Forgets a room that is not there any more.
    pub(crate) fn remove(&self, room: RoomNid) {
        self.rooms.lock().remove(&room);
    }

    /// Enters a room, dropping others that nobody uses where there are too many.
    pub(crate) fn enter(&self, room: Arc<Room>) {
        let mut rooms = self.rooms.lock();
        if rooms.len() >= ROOMS_IN_MEMORY_MAX {
            // Whoever uses a room holds a second reference; without one there is nothing in flight either.
            rooms.retain(|_, room| Arc::strong_count(room) > 1);
        }
        rooms.insert(room.nid, room);
    }
}

impl Engine {
    /// The room with this number; it must exist.
    pub(crate) async fn room(&self, nid: RoomNid) -> Result<Arc<Room>, RoomError> {
        self.check_open(nid)?;
        if let Some(room) = self.registry.get(nid) {
            return Ok(room);
        }
        let _alone = self.registry.loading.lock().await;
        if let Some(room) = self.registry.get(nid) {
            return Ok(room);
        }
        let room = Arc::new(Room::new(self.load(nid).await?));
        self.registry.enter(Arc::clone(&room));
        Ok(room)
    }

    /// The room with this id, if there is one.
    pub(crate) async fn find_room(&self, id: &RoomId) -> Result<Option<Arc<Room>>, RoomError> {
        match self.room_nid(id).await? {
            // A room of which only the name is known (in somebody's allow list, say) is not there.
            Some(nid) => match self.room(nid).await {
                Err(RoomError::NoSuchRoom) => Ok(None),
                found => found.map(Some),
            },
            None => Ok(None),
        }
    }

    /// The number of a room, if it has one.
    pub(crate) async fn room_nid(&self, id: &RoomId) -> Result<Option<RoomNid>, RoomError> {
        Ok(self.store.interner().lookup(NS_ROOM, id.as_str()).await?.map(RoomNid::new))
    }

    /// Forgets what is kept in memory of a room that is not there any more.
    pub(crate) fn forget_pictures(&self, room: RoomNid) {
        self.glances.remove(&room);
        self.summaries.remove(&room);
        self.space_children.remove(&room);
        self.overview.changed(room);
    }

    pub(crate) async fn load(&self, nid: RoomNid) -> Result<RoomView, RoomError> {
        let store = self.store.latest();
        let record = store.get(&ROOMS, &nid).await?.ok_or(RoomError::NoSuchRoom)?.0;
        let (head, written): (_, Position) =
            store.get_versioned(&HEADS, &nid).await?.ok_or_else(|| RoomError::inconsistent("room without head"))?;
        let head = Arc::new(head.0.settled(written));
        let id = self.store.interner().resolve(NS_ROOM, nid.get()).await?;
        let id = id.and_then(|id| OwnedRoomId::try_from(&*id).ok());
        let id = id.ok_or_else(|| RoomError::inconsistent("room without id"))?;
        let version = RoomVersion::new(&record.version).ok_or_else(|| RoomError::unsupported(&record.version))?;
        let servers = store.scan(&ROOM_SERVERS, Scan::prefix(&nid).limit(SERVERS_PER_ROOM_MAX)).await?;
        let mut read = Vec::with_capacity(5);
        let retention = RETENTION_TYPES.map(StateEventType::from);
        let kinds = [&StateEventType::RoomHistoryVisibility, &StateEventType::RoomJoinRules];
        for kind in kinds.into_iter().chain(&retention).chain(self.gate.policy_type()) {
            let event = match self.slot(kind, "").await? {
                Some(slot) => self.tries.get(&store, None, nid, head.state, slot).await?,
                None => None,
            };
            // Boxed because reading events may load their room: it never does here, the version being known.
            read.push(Box::pin(self.events_in(nid, Some(version), event.as_slice())).await?.pop().flatten());
        }
        let read = |index: usize| read.get(index).and_then(Option::as_ref);
        let pdu = |index: usize| read(index).map(|event| &*event.pdu);
        let (retention_set, template) = (self.retention_set(nid).await?, self.template_of(nid).await?);
        let of = RetentionOf {
            set: retention_set,
            said: [2, 3].into_iter().find_map(|index| pdu(index).and_then(terms_of)),
            template: template.and_then(|template| self.gate.terms_of_template(template)),
        };
        let activity = store.get(&ACTIVITY, &nid).await?.map(|Packed(activity)| activity).unwrap_or_default();
        Ok(RoomView {
            nid,
            id,
            version,
            create: record.create,
            room_type: record.room_type.map(Arc::from),
            state: head.state,
            joined: head.joined,
            invited: head.invited,
            visibility: Visibility::of(pdu(0)),
            public: JoinRules::of(pdu(1)).is_public(),
            lifetime: self.retention.lifetime(&of).ended(activity.ended_ms),
            retention_set,
            template,
            activity,
            policy: read(4).and_then(|event| self.gate.read_policy(event)),
            end: Place::after(written),
            servers: Arc::new(servers.into_iter().map(|((_, server), Packed(count))| (server, count)).collect()),
            head,
        })
    }
}
