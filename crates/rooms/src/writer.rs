//! The one writer of a room.
//!
//! Writes to a room queue up as [`Job`]s. A task takes what waits, lets each job build its events on the state that
//! the jobs before it left, and commits them all as one batch: a busy room pays one fsync for many messages, and no
//! write ever builds on something that is not yet part of the same or an earlier commit. A job that is refused
//! leaves nothing behind; when the commit fails, nothing of any of them happened.

use std::{collections::HashMap, mem, sync::Arc};

use futures_util::{FutureExt as _, future::BoxFuture};
use ruma::{
    OwnedUserId, UserId,
    events::{StateEventType, TimelineEventType},
};
use serde_json::value::RawValue as RawJsonValue;
use tokio::sync::oneshot;
use wardroom_event::{Draft, Pdu, RoomVersion, auth_types, authorize};
use wardroom_store::{Batch, DataKey, Position, Scope, View};

use crate::{
    Engine,
    error::RoomError,
    events::Stored,
    glance::Glance,
    ids::{EventNid, NS_EVENT, NS_SLOT, NS_USER, Place, RoomNid, Slot, UserNid, is_member},
    join_rules::JoinRules,
    log::{LOG, LogRecord},
    relations::Relating,
    room::{Room, RoomView},
    tables::{
        EVENT_META, EVENT_TIMES, EVENTS, EventMeta, EventRecord, HEADS, Head, MembershipRecord, TIMELINE, TimelineEntry,
    },
    trie::{Growth, Overlay, Root},
    visibility::Visibility,
};

/// Jobs that share one commit.
const GROUP_JOBS_MAX: usize = 64;
/// Jobs that wait for one room; more are refused.
const QUEUE_JOBS_MAX: usize = 4_096;
/// Forward extremities that a new event names as `prev_events` (specification, server-server API: at most 20).
pub(crate) const PREV_EVENTS_MAX: usize = 20;
/// Kind of the [`Scope`] under which event contents of a room and day are sealed.
pub(crate) const SCOPE_ROOM_DAY: u8 = 1;
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// Days since 1970.
pub(crate) fn day_of(now_ms: u64) -> u32 {
    u32::try_from(now_ms / DAY_MS).unwrap_or(u32::MAX)
}

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
                self.built = Some(function(writer).await);
            }
        }
        .boxed()
    }

    fn finish(self: Box<Self>, outcome: &Result<Position, RoomError>) {
        let built = self.built.unwrap_or_else(|| Err(RoomError::inconsistent("write that was not built")));
        let answer = match outcome {
            Ok(_) => built,
            Err(failure) => built.and(Err(failure.clone())),
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
        let job = Box::new(Call { function: Some(function), built: None, waiting });
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
        let outcome = match Writer::begin(Arc::clone(&self), room).await {
            Ok(mut writer) => {
                for job in &mut jobs {
                    job.build(&mut writer).await;
                }
                writer.commit().await
            }
            Err(error) => Err(error),
        };
        for job in jobs {
            job.finish(&outcome);
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
    pub(crate) batch: Batch,
    overlay: Overlay,
    store: View,
    next_index: u16,
    /// Events of this group, which the store does not have yet.
    fresh: HashMap<EventNid, Arc<Stored>>,
    /// Their indexes within the commit.
    pub(crate) fresh_indexes: HashMap<EventNid, u16>,
    /// Memberships of this group.
    pub(crate) memberships: HashMap<UserNid, MembershipRecord>,
    /// Transactions of this group.
    pub(crate) transactions: HashMap<[u8; 16], EventNid>,
    /// Relations of this group.
    pub(crate) relating: Relating,
    /// First failure after which the batch must not be committed.
    failed: Option<RoomError>,
    pub(crate) now_ms: u64,
    key: DataKey,
    new_room: bool,
}

impl Writer {
    async fn begin(engine: Arc<Engine>, room: Arc<Room>) -> Result<Self, RoomError> {
        Self::over(engine, room, false).await
    }

    /// The writer of a room that is not there yet; it exists once this writer has committed.
    pub(crate) async fn begin_room(engine: Arc<Engine>, view: RoomView) -> Result<Self, RoomError> {
        Self::over(engine, Arc::new(Room::new(view)), true).await
    }

    async fn over(engine: Arc<Engine>, room: Arc<Room>, new_room: bool) -> Result<Self, RoomError> {
        let base = room.view();
        let now_ms = engine.clock.now_ms();
        let key = engine.day_key(base.nid, day_of(now_ms)).await?;
        Ok(Self {
            head: (*base.head).clone(),
            visibility: base.visibility,
            public: base.public,
            batch: Batch::default(),
            overlay: Overlay::default(),
            store: engine.store.latest(),
            next_index: 0,
            fresh: HashMap::new(),
            fresh_indexes: HashMap::new(),
            memberships: HashMap::new(),
            transactions: HashMap::new(),
            relating: Relating::default(),
            failed: None,
            engine,
            room,
            base,
            now_ms,
            key,
            new_room,
        })
    }

    /// Names the create event of a new room.
    pub(crate) fn created_by(&mut self, create: EventNid, room_type: Option<Arc<str>>) {
        let base = Arc::make_mut(&mut self.base);
        base.create = create;
        base.room_type = room_type;
    }

    pub(crate) fn nid(&self) -> RoomNid {
        self.base.nid
    }

    pub(crate) fn version(&self) -> RoomVersion {
        self.base.version
    }

    /// The room as this group leaves it so far.
    pub(crate) fn view(&self) -> RoomView {
        RoomView {
            state: self.head.state,
            joined: self.head.joined,
            invited: self.head.invited,
            visibility: self.visibility,
            public: self.public,
            head: Arc::new(self.head.clone()),
            ..(*self.base).clone()
        }
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
        let Some(slot) = self.known_slot(kind, state_key).await? else { return Ok(None) };
        let tries = &self.engine.tries;
        match tries.get(&self.store, Some(&self.overlay), self.nid(), self.head.state, slot).await? {
            Some(nid) => self.event(nid).await,
            None => Ok(None),
        }
    }

    async fn known_slot(&self, kind: &StateEventType, state_key: &str) -> Result<Option<Slot>, RoomError> {
        self.engine.slot(kind, state_key).await
    }

    /// Makes an event on the forward extremities, checks it against the authorization rules, and adds it to the batch.
    pub(crate) async fn append(&mut self, new: NewEvent) -> Result<Arc<Stored>, RoomError> {
        if let Some(failure) = &self.failed {
            return Err(failure.clone());
        }
        let transaction = new.transaction.clone();
        let pdu = self.prepare(new).await?;
        self.accept(pdu, transaction).await
    }

    /// Makes an event on the forward extremities and checks it against the authorization rules. It is the next that
    /// [`Writer::accept`] takes, or none.
    pub(crate) async fn prepare(&self, new: NewEvent) -> Result<Arc<Pdu>, RoomError> {
        self.check_reachable(&new)?;
        let (pdu, state) = self.draft(new).await?;
        let find = |kind: &StateEventType, key: &str| {
            state.iter().find(|(k, s, _)| k == kind && s == key).map(|(_, _, stored)| Arc::clone(&stored.pdu))
        };
        authorize(&pdu, find).map_err(|rejection| RoomError::Forbidden(rejection.to_string()))?;
        self.check_relation(&pdu).await?;
        Ok(pdu)
    }

    /// Adds a prepared event to the batch.
    pub(crate) async fn accept(
        &mut self,
        pdu: Arc<Pdu>,
        transaction: Option<([u8; 16], String)>,
    ) -> Result<Arc<Stored>, RoomError> {
        // From here on the batch changes, and only the store can fail.
        let added = self.add(pdu, transaction).await;
        if let Ok(stored) = &added {
            self.end_typing(&stored.pdu).await?;
        }
        if let Err(failure) = &added {
            self.failed = Some(failure.clone());
        }
        added
    }

    /// An invitation to a user of another server would never arrive: this server does not federate.
    fn check_reachable(&self, new: &NewEvent) -> Result<(), RoomError> {
        #[derive(serde::Deserialize)]
        struct Content {
            membership: Option<String>,
        }
        let Some(user) = new.state_key.as_deref().filter(|_| new.kind == "m.room.member") else { return Ok(()) };
        let remote = <&UserId>::try_from(user).is_ok_and(|user| user.server_name() != self.engine.server_name);
        let content = remote.then(|| serde_json::from_str::<Content>(new.content.get()));
        match content {
            Some(Ok(Content { membership: Some(membership) })) if membership == "invite" => {
                Err(RoomError::Forbidden("user_id: users of other servers cannot be invited.".to_owned()))
            }
            _ => Ok(()),
        }
    }

    /// Who is in the room no more does not type any more. Who has sent a message may well go on typing the next one:
    /// their client says.
    async fn end_typing(&mut self, pdu: &Pdu) -> Result<(), RoomError> {
        let Some(user) = pdu.state_key().filter(|_| is_member(pdu.kind())) else { return Ok(()) };
        if let Some(user) = self.engine.store.interner().known(NS_USER, user).await? {
            let room = self.nid();
            self.engine.typing_ends(&mut self.batch, UserNid::new(user), room);
        }
        Ok(())
    }

    /// Gives up the whole group: the batch holds half of something.
    pub(crate) fn fail(&mut self, failure: RoomError) {
        self.failed.get_or_insert(failure);
    }

    /// Builds and signs an event; returns it with the state it is authorized by.
    async fn draft(&self, new: NewEvent) -> Result<(Arc<Pdu>, Vec<(StateEventType, String, Arc<Stored>)>), RoomError> {
        let kind = new.kind.as_str().into();
        let types = auth_types(self.version(), &kind, &new.sender, new.state_key.as_deref(), &new.content)
            .map_err(|rejection| RoomError::BadContent(rejection.to_string()))?;
        let mut state = Vec::with_capacity(types.len() + 1);
        for (kind, state_key) in types {
            if let Some(stored) = self.state_event(&kind, &state_key).await? {
                state.push((kind, state_key, stored));
            }
        }
        let auth_events = state.iter().map(|(_, _, stored)| stored.pdu.event_id().to_owned()).collect();
        let has_create = state.iter().any(|(kind, ..)| *kind == StateEventType::RoomCreate);
        if !has_create && let Some(create) = self.event(self.base.create).await? {
            // Version 12 names the create event by the room id alone; the rules still read it.
            state.push((StateEventType::RoomCreate, String::new(), create));
        }
        let mut prev_events = Vec::with_capacity(self.head.extremities.len().min(PREV_EVENTS_MAX));
        for nid in self.head.extremities.iter().rev().take(PREV_EVENTS_MAX) {
            let stored = self.event(*nid).await?.ok_or_else(|| RoomError::inconsistent("extremity without event"))?;
            prev_events.push(stored.pdu.event_id().to_owned());
        }
        let draft = Draft {
            room_id: Some(self.base.id.clone()),
            sender: new.sender,
            kind,
            state_key: new.state_key,
            content: new.content,
            redacts: new.redacts,
            prev_events,
            auth_events,
            depth: self.head.depth + 1,
            origin_server_ts: self.now_ms,
        };
        let pdu = draft.sign(self.version(), &self.engine.server_name, &self.engine.key)?;
        Ok((Arc::new(pdu), state))
    }

    /// Adds an authorized event to timeline, state and indexes.
    pub(crate) async fn add(
        &mut self,
        pdu: Arc<Pdu>,
        transaction: Option<([u8; 16], String)>,
    ) -> Result<Arc<Stored>, RoomError> {
        let names = self.engine.store.interner();
        let named_before = names.known(NS_EVENT, pdu.event_id().as_str()).await?.is_some();
        let nid = EventNid::new(names.intern(&mut self.batch, NS_EVENT, pdu.event_id().as_str()).await?);
        let room = self.nid();
        let state_before = self.head.state;
        if let Some(state_key) = pdu.state_key() {
            let slot = if is_member(pdu.kind()) {
                Slot::member(UserNid::new(names.intern(&mut self.batch, NS_USER, state_key).await?))
            } else {
                let name = Slot::name(&StateEventType::from(pdu.kind().to_string()), state_key);
                Slot::new(names.intern(&mut self.batch, NS_SLOT, &name).await?)
            };
            let mut growth = Growth { view: &self.store, overlay: &mut self.overlay, batch: &mut self.batch, room };
            self.head.state = self.engine.tries.insert(&mut growth, state_before, slot, nid).await?;
            if let Some(user) = slot.user() {
                self.record_membership(user, nid, &pdu).await?;
            } else if state_key.is_empty() {
                match pdu.kind() {
                    TimelineEventType::RoomHistoryVisibility => self.visibility = Visibility::of(Some(&pdu)),
                    TimelineEventType::RoomJoinRules => self.public = JoinRules::of(Some(&pdu)).is_public(),
                    _ => {}
                }
            }
        }
        let record = EventRecord { redacted_by: None, id: pdu.event_id().to_owned(), json: pdu.json().clone() };
        self.batch.put_sealed(&EVENTS, &(room, nid), &record, &self.key);
        let (index, day) = (self.next_index, day_of(self.now_ms));
        let meta = EventMeta { room, index, state_before, state_after: self.head.state, day, transaction };
        self.batch.put(&EVENT_META, &nid, &wardroom_store::Packed(meta));
        let entry = TimelineEntry { event: nid, state_before };
        self.batch.put(&TIMELINE, &(room, Position::COMMIT, index), &entry);
        self.batch.put(&LOG, &(Position::COMMIT, index), &wardroom_store::Packed(LogRecord::Event(room, nid)));
        self.batch.put(&EVENT_TIMES, &(room, pdu.origin_server_ts(), Position::COMMIT, index), &());
        self.next_index =
            index.checked_add(1).ok_or_else(|| RoomError::inconsistent("too many events in one commit"))?;
        self.head.extremities.clear();
        self.head.extremities.push(nid);
        self.head.depth = self.head.depth.saturating_add(1);
        self.head.events += 1;
        self.head.note(&pdu);
        let stored = Arc::new(Stored { nid, pdu, redacted_because: None });
        self.fresh.insert(nid, Arc::clone(&stored));
        self.fresh_indexes.insert(nid, index);
        self.index_words(&stored.pdu, index);
        self.relate(&stored, index, named_before).await?;
        Ok(stored)
    }

    /// Index within the commit of the next event.
    pub(crate) fn next_index(&self) -> u16 {
        self.next_index
    }

    /// Leaves the indexes before this one to another room's events in the same commit.
    pub(crate) fn go_on_at(&mut self, index: u16) {
        self.next_index = self.next_index.max(index);
    }

    /// Replaces an event's content by its redacted form.
    pub(crate) async fn replace_redacted(
        &mut self,
        target: &Stored,
        redacted: Pdu,
        by: EventNid,
    ) -> Result<(), RoomError> {
        self.unrelate(target).await?;
        self.forget_words(target).await?;
        // An event of this very group has no record yet and arrived today.
        let day = self.engine.meta(target.nid).await?.map_or_else(|| day_of(self.now_ms), |(meta, _)| meta.day);
        let key = self.engine.day_key(self.nid(), day).await?;
        let record =
            EventRecord { redacted_by: Some(by), id: redacted.event_id().to_owned(), json: redacted.json().clone() };
        self.batch.put_sealed(&EVENTS, &(self.nid(), target.nid), &record, &key);
        let because = self.fresh.get(&by).map(|stored| Arc::clone(&stored.pdu));
        let stored = Stored { nid: target.nid, pdu: Arc::new(redacted), redacted_because: because };
        self.fresh.insert(target.nid, Arc::new(stored));
        if target.pdu.kind() == &TimelineEventType::RoomHistoryVisibility {
            let now = self.state_event(&StateEventType::RoomHistoryVisibility, "").await?;
            self.visibility = Visibility::of(now.as_ref().map(|stored| &*stored.pdu));
        }
        Ok(())
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
        self.batch.put(&HEADS, &self.nid(), &wardroom_store::Packed(self.head.clone()));
        self.batch.touch(self.nid().watch());
        let (engine, room, view) = (Arc::clone(&self.engine), Arc::clone(&self.room), self.view());
        let (fresh, overlay, new_room) = (self.fresh, self.overlay, self.new_room);
        let summaries = self.relating.into_summaries();
        self.batch.on_commit(move |position| {
            engine.tries.keep(overlay);
            for (nid, stored) in fresh {
                engine.event_cache.insert((room.nid, nid), stored);
            }
            let head = Arc::new(view.head.as_ref().clone().settled(position));
            let view = RoomView { end: Place::after(position), head, ..view };
            engine.glances.insert(view.nid, Arc::new(Glance::of(&view)));
            for (parent, summary) in summaries {
                engine.summaries_of_children.set(room.nid, parent, summary);
            }
            room.publish(view);
            if new_room {
                engine.registry.enter(room);
            }
        });
        Ok(self.batch)
    }
}

impl Engine {
    /// The data key of a room's events that arrived on a day.
    pub(crate) async fn day_key(&self, room: RoomNid, day: u32) -> Result<DataKey, RoomError> {
        let scope = Scope { kind: SCOPE_ROOM_DAY, a: room.get(), b: u64::from(day) };
        Ok(self.store.data_key(scope).await?)
    }
}
