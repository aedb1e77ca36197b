//! The one writer of a room.
//!
//! Writes to a room queue up as [`Job`]s. A task takes what waits, lets each job build its events on the state that
//! the jobs before it left, and commits them all as one batch: a busy room pays one fsync for many messages, and no
//! write ever builds on something that is not yet part of the same or an earlier commit. A job that is refused
//! leaves nothing behind; when the commit fails, nothing of any of them happened.

mod draft;
mod place;
mod resolve;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    mem,
    sync::Arc,
};

use futures_util::{FutureExt as _, future::BoxFuture};
use ruma::{OwnedUserId, events::StateEventType};
use serde_json::value::RawValue as RawJsonValue;
use tokio::sync::oneshot;
use wardroom_audit::{Origin, origin};
use wardroom_event::RoomVersion;
use wardroom_store::{Batch, Hash16, Json, Position, View};

pub(crate) use self::place::{Placing, Tell};
use crate::{
    Engine,
    ends::Activity,
    error::RoomError,
    events::Stored,
    gate::Policy,
    glance::Glance,
    ids::{EventNid, Place, RoomNid, ServerNid, Slot, UserNid},
    names::NamedUser,
    relations::Relating,
    retention::{Lifetime, Override},
    room::{Room, RoomView},
    tables::{HEADS, Head, MembershipRecord, ROOMS, RoomRecord, Standing},
    trie::{Overlay, Root},
    visibility::Visibility,
};

/// Jobs that share one commit.
const GROUP_JOBS_MAX: usize = 64;
/// Jobs that wait for one room; more are refused.
const QUEUE_JOBS_MAX: usize = 4_096;
/// Forward extremities that a new event names as `prev_events` (specification, server-server API: at most 20).
pub(crate) const PREV_EVENTS_MAX: usize = 20;
/// Where an event stands, as keys have it: what is being added stands at [`Position::COMMIT`].
pub(crate) type KeyPlace = (Position, u16);

/// Something that wants to write to a room.
pub(crate) trait Job: Send {
    /// Builds its events, or refuses. Must not leave anything in the writer when it refuses.
    fn build<'a>(&'a mut self, writer: &'a mut Writer) -> BoxFuture<'a, ()>;
    /// The commit is done.
    fn finish(self: Box<Self>, outcome: &Result<Position, RoomError>);
}

/// A job made of a function, and of whoever waits for what it returns.
struct Call<F, T> {
    function: Option<F>,
    built: Option<Result<T, RoomError>>,
    /// Who asks for it.
    origin: Origin,
    waiting: oneshot::Sender<Result<T, RoomError>>,
}

impl<F, T> Job for Call<F, T>
where
    F: for<'w> FnOnce(&'w mut Writer) -> BoxFuture<'w, Result<T, RoomError>> + Send,
    T: Send,
{
    fn build<'a>(&'a mut self, writer: &'a mut Writer) -> BoxFuture<'a, ()> {
        async move {
            if let Some(function) = self.function.take() {
                writer.origin = mem::take(&mut self.origin);
                self.built = Some(function(writer).await);
            }
        }
        .boxed()
    }

    fn finish(self: Box<Self>, outcome: &Result<Position, RoomError>) {
        let answer = match (outcome, self.built) {
            (Ok(_), Some(built)) => built,
            (Ok(_), None) => Err(RoomError::inconsistent("write that was not built")),
            (Err(failure), built) => built.unwrap_or_else(|| Err(failure.clone())).and(Err(failure.clone())),
        };
        // Whoever asked may have gone away; what was written stays written.
        drop(self.waiting.send(answer));
    }
}

impl Engine {
    /// Queues a write to a room and waits until it is durable.
    pub(crate) async fn write<F, T>(self: &Arc<Self>, room: &Arc<Room>, function: F) -> Result<T, RoomError>
    where
        F: for<'w> FnOnce(&'w mut Writer) -> BoxFuture<'w, Result<T, RoomError>> + Send + 'static,
        T: Send + 'static,
    {
        let (waiting, answer) = oneshot::channel();
        let job = Box::new(Call { function: Some(function), built: None, origin: origin::current(), waiting });
        let start = {
            let mut queue = room.queue.lock();
            if queue.jobs.len() >= QUEUE_JOBS_MAX {
                return Err(RoomError::Busy);
            }
            queue.jobs.push_back(job);
            !mem::replace(&mut queue.draining, true)
        };
        if start {
            tokio::spawn(Arc::clone(self).drain(Arc::clone(room)));
        }
        answer.await.unwrap_or_else(|_| Err(RoomError::inconsistent("write that was dropped")))
    }

    /// Works a room's queue off, group by group.
    async fn drain(self: Arc<Self>, room: Arc<Room>) {
        loop {
            let jobs: Vec<_> = {
                let mut queue = room.queue.lock();
                if queue.jobs.is_empty() {
                    queue.draining = false;
                    return;
                }
                let group = queue.jobs.len().min(GROUP_JOBS_MAX);
                queue.jobs.drain(..group).collect()
            };
            // A job that panics takes its group with it, but must not leave the room without a writer.
            let group = std::panic::AssertUnwindSafe(Arc::clone(&self).run_group(Arc::clone(&room), jobs));
            if group.catch_unwind().await.is_err() {
                tracing::error!("a write to a room panicked");
            }
        }
    }

    async fn run_group(self: Arc<Self>, room: Arc<Room>, mut jobs: Vec<Box<dyn Job>>) {
        if room.is_closed() {
            for job in jobs {
                job.finish(&Err(RoomError::NoSuchRoom));
            }
            return;
        }
        let mut writer = Writer::begin(Arc::clone(&self), room);
        writer.jobs = jobs.len();
        let mut refused = Vec::new();
        for index in 0..jobs.len() {
            if writer.room.is_closed() {
                // One of those before closed it.
                refused = jobs.split_off(index);
                break;
            }
            if let Some(job) = jobs.get_mut(index) {
                job.build(&mut writer).await;
            }
        }
        writer.jobs = jobs.len();
        let outcome = writer.commit().await;
        for job in jobs {
            job.finish(&outcome);
        }
        for job in refused {
            job.finish(&Err(RoomError::NoSuchRoom));
        }
    }
}

/// An event to be made on the room's forward extremities.
#[derive(Debug)]
pub(crate) struct NewEvent {
    pub(crate) sender: OwnedUserId,
    pub(crate) kind: String,
    pub(crate) state_key: Option<String>,
    pub(crate) content: Box<RawJsonValue>,
    pub(crate) redacts: Option<ruma::OwnedEventId>,
    /// The device that sends and its transaction id.
    pub(crate) transaction: Option<([u8; 16], String)>,
}

impl NewEvent {
    pub(crate) fn state(
        sender: OwnedUserId,
        kind: &str,
        state_key: impl Into<String>,
        content: Box<RawJsonValue>,
    ) -> Self {
        let (kind, state_key) = (kind.to_owned(), Some(state_key.into()));
        Self { sender, kind, state_key, content, redacts: None, transaction: None }
    }
}

/// A room while it is written to: its state as the jobs so far leave it, and the batch they share.
pub(crate) struct Writer {
    pub(crate) engine: Arc<Engine>,
    room: Arc<Room>,
    base: Arc<RoomView>,
    pub(crate) head: Head,
    pub(crate) visibility: Visibility,
    public: bool,
    pub(crate) policy: Option<Policy>,
    pub(crate) lifetime: Lifetime,
    pub(crate) retention_set: Option<Override>,
    pub(crate) template: Option<Hash16>,
    pub(crate) activity: Activity,
    pub(crate) batch: Batch,
    pub(crate) overlay: Overlay,
    pub(crate) store: View,
    next_index: u16,
    /// Events of this group, which the store does not have yet.
    fresh: HashMap<EventNid, Arc<Stored>>,
    /// Where those of them stand that are in the timeline.
    pub(crate) fresh_places: HashMap<EventNid, KeyPlace>,
    /// What they are, and the states after them.
    fresh_graph: HashMap<EventNid, Standing>,
    fresh_roots: HashMap<EventNid, Root>,
    /// Events without a place that those follow.
    fresh_followed: HashSet<EventNid>,
    /// Events are missing before the next that is added.
    pub(crate) gap_before_next: bool,
    /// Their authorization events.
    fresh_auth: HashMap<EventNid, Vec<EventNid>>,
    /// Joined users by server.
    pub(crate) servers: BTreeMap<ServerNid, u64>,
    /// Memberships of this group.
    pub(crate) memberships: HashMap<UserNid, MembershipRecord>,
    /// Transactions of this group.
    pub(crate) transactions: HashMap<[u8; 16], EventNid>,
    /// Relations of this group.
    pub(crate) relating: Relating,
    /// Names of users of other servers that this group brings.
    pub(crate) named: Vec<NamedUser>,
    /// Days of past events of which this group keeps originals.
    pub(crate) days_of_originals: HashSet<u32>,
    /// What this group has pruned, as [`crate::retention::PRUNED_RANGES`] has it.
    pub(crate) pruned_range: Option<(EventNid, EventNid)>,
    /// First failure after which the batch must not be committed.
    pub(crate) failed: Option<RoomError>,
    pub(crate) now_ms: u64,
    /// Who asks for what is being built.
    pub(crate) origin: Origin,
    new_room: bool,
    /// Jobs of this group, and those of them that change nothing that anybody has to hear of.
    jobs: usize,
    quiet_jobs: usize,
}

impl Writer {
    fn begin(engine: Arc<Engine>, room: Arc<Room>) -> Self {
        Self::over(engine, room, false)
    }

    /// The writer of a room that is not there yet; it exists once this writer has committed.
    pub(crate) fn begin_room(engine: Arc<Engine>, view: RoomView) -> Self {
        Self::over(engine, Arc::new(Room::new(view)), true)
    }

    fn over(engine: Arc<Engine>, room: Arc<Room>, new_room: bool) -> Self {
        let base = room.view();
        let now_ms = engine.clock.now_ms();
        Self {
            head: (*base.head).clone(),
            visibility: base.visibility,
            public: base.public,
            policy: base.policy.clone(),
            lifetime: base.lifetime,
            retention_set: base.retention_set,
            template: base.template,
            activity: base.activity,
            jobs: 0,
            quiet_jobs: 0,
            batch: Batch::default(),
            overlay: Overlay::default(),
            store: engine.store.latest(),
            next_index: 0,
            fresh: HashMap::new(),
            fresh_places: HashMap::new(),
            fresh_graph: HashMap::new(),
            fresh_roots: HashMap::new(),
            fresh_followed: HashSet::new(),
            fresh_auth: HashMap::new(),
            gap_before_next: false,
            servers: (*base.servers).clone(),
            memberships: HashMap::new(),
            transactions: HashMap::new(),
            relating: Relating::default(),
            named: Vec::new(),
            days_of_originals: HashSet::new(),
            pruned_range: None,
            failed: None,
            engine,
            room,
            base,
            now_ms,
            origin: origin::current(),
            new_room,
        }
    }

    /// Names the create event of a new room.
    pub(crate) fn created_by(&mut self, create: EventNid, room_type: Option<Arc<str>>) {
        let base = Arc::make_mut(&mut self.base);
        base.create = create;
        base.room_type = room_type;
    }

    pub(crate) fn room(&self) -> &Room {
        &self.room
    }

    pub(crate) fn nid(&self) -> RoomNid {
        self.base.nid
    }

    pub(crate) fn version(&self) -> RoomVersion {
        self.base.version
    }

    /// Takes the room for what another server says it is, which this server has only heard of until now.
    pub(crate) fn becomes(&mut self, version: RoomVersion, record: RoomRecord) {
        Arc::make_mut(&mut self.base).version = version;
        self.created_by(record.create, record.room_type.as_deref().map(Arc::from));
        self.batch.put(&ROOMS, &self.nid(), &Json(record));
    }

    /// The room as this group leaves it so far.
    pub(crate) fn view(&self) -> RoomView {
        RoomView {
            state: self.head.state,
            joined: self.head.joined,
            invited: self.head.invited,
            visibility: self.visibility,
            public: self.public,
            policy: self.policy.clone(),
            lifetime: self.lifetime,
            retention_set: self.retention_set,
            template: self.template,
            activity: self.activity,
            servers: self.servers_of_view(),
            head: Arc::new(self.head.clone()),
            ..(*self.base).clone()
        }
    }

    fn servers_of_view(&self) -> Arc<BTreeMap<ServerNid, u64>> {
        if *self.base.servers == self.servers { Arc::clone(&self.base.servers) } else { Arc::new(self.servers.clone()) }
    }

    /// Whether the room is as it was in this picture, also after the jobs of this group so far.
    pub(crate) fn is_as_of(&self, view: &RoomView) -> bool {
        self.base.end == view.end && self.next_index == 0
    }

    /// The room's state before this group.
    pub(crate) fn base_state(&self) -> Root {
        self.base.state
    }

    /// The events of this group.
    pub(crate) fn fresh_events(&self) -> Vec<Arc<Stored>> {
        self.fresh.values().cloned().collect()
    }

    /// An event of this group or of the store.
    pub(crate) async fn event(&self, nid: EventNid) -> Result<Option<Arc<Stored>>, RoomError> {
        match self.fresh.get(&nid) {
            Some(stored) => Ok(Some(Arc::clone(stored))),
            None => Ok(self.engine.events_in(self.nid(), Some(self.version()), &[nid]).await?.pop().flatten()),
        }
    }

    /// The state event at this place, as this group leaves it so far.
    pub(crate) async fn state_event(
        &self,
        kind: &StateEventType,
        state_key: &str,
    ) -> Result<Option<Arc<Stored>>, RoomError> {
        self.state_event_at(self.head.state, kind, state_key).await
    }

    /// The state event at this place of a state of the room.
    pub(crate) async fn state_event_at(
        &self,
        root: Root,
        kind: &StateEventType,
        state_key: &str,
    ) -> Result<Option<Arc<Stored>>, RoomError> {
        let Some(slot) = self.known_slot(kind, state_key).await? else { return Ok(None) };
        match self.engine.tries.get(&self.store, Some(&self.overlay), self.nid(), root, slot).await? {
            Some(nid) => self.event(nid).await,
            None => Ok(None),
        }
    }

    /// Refuses to act on a room of other servers: they have to be asked.
    ///
    /// # Errors
    /// [`RoomError::NoSuchRoom`].
    pub(crate) async fn check_resident(&self) -> Result<(), RoomError> {
        if self.new_room || self.engine.is_resident(&self.view()).await? { Ok(()) } else { Err(RoomError::NoSuchRoom) }
    }

    async fn known_slot(&self, kind: &StateEventType, state_key: &str) -> Result<Option<Slot>, RoomError> {
        self.engine.slot(kind, state_key).await
    }

    /// Whether others wait for what they write, with this job or behind it.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.jobs > 1 || !self.room.queue.lock().jobs.is_empty()
    }

    /// Gives up the whole group: the batch holds half of something.
    pub(crate) fn fail(&mut self, failure: RoomError) {
        self.failed.get_or_insert(failure);
    }

    /// Index within the commit of the next event.
    pub(crate) fn next_index(&self) -> u16 {
        self.next_index
    }

    /// Leaves the indexes before this one to another room's events in the same commit.
    pub(crate) fn go_on_at(&mut self, index: u16) {
        self.next_index = self.next_index.max(index);
    }

    /// Says of the job that is being built that nobody has to hear of what it changes.
    pub(crate) fn quiet(&mut self) {
        self.quiet_jobs += 1;
    }

    fn is_quiet(&self) -> bool {
        self.next_index == 0 && self.jobs > 0 && self.quiet_jobs == self.jobs
    }

    /// Puts what is left of an event in its place.
    pub(crate) fn replace_fresh(&mut self, stored: Stored) {
        self.fresh.insert(stored.nid, Arc::new(stored));
    }

    /// Commits what the jobs built; a group that built nothing costs nothing.
    pub(crate) async fn commit(self) -> Result<Position, RoomError> {
        if self.failed.is_none() && self.next_index == 0 && self.batch.is_empty() {
            return Ok(self.engine.store.position());
        }
        let engine = Arc::clone(&self.engine);
        Ok(engine.store.commit(self.into_batch()?).await?)
    }

    /// What the jobs built, as a batch to commit, alone or as part of another.
    pub(crate) fn into_batch(mut self) -> Result<Batch, RoomError> {
        if let Some(failure) = self.failed {
            return Err(failure);
        }
        let quiet = self.is_quiet();
        if !quiet || self.head != *self.base.head {
            self.batch.put(&HEADS, &self.nid(), &wardroom_store::Packed(self.head.clone()));
        }
        if !quiet {
            self.batch.touch(self.nid().watch());
        }
        let (engine, room, view) = (Arc::clone(&self.engine), Arc::clone(&self.room), self.view());
        let (fresh, overlay, new_room) = (self.fresh, self.overlay, self.new_room);
        let summaries = self.relating.into_summaries();
        let named = self.named;
        let other_state = new_room || self.base.state != self.head.state || self.base.create != view.create;
        self.batch.on_commit(move |position| {
            engine.tries.keep(overlay);
            for (nid, stored) in fresh {
                engine.event_cache.insert((room.nid, nid), stored);
            }
            let head = Arc::new(view.head.as_ref().clone().settled(position));
            let end = if quiet { view.end } else { Place::after(position) };
            let view = RoomView { end, head, ..view };
            engine.glances.insert(view.nid, Arc::new(Glance::of(&view)));
            for (parent, summary) in summaries {
                engine.summaries_of_children.set(room.nid, parent, summary);
            }
            engine.tell_names(named);
            if other_state {
                engine.overview.changed(room.nid);
            }
            room.publish(view);
            if new_room {
                engine.registry.enter(room);
            }
        });
        Ok(self.batch)
    }
}
