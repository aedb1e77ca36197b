//! Simplified sliding sync (MSC4186): rooms in windows of lists, by recency, and rooms by name.
//!
//! `POST /_matrix/client/unstable/org.matrix.simplified_msc3575/sync`. It reads what `/sync` reads, by the same
//! positions; what differs is that the server remembers for each connection what it has told of each room
//! ([`connections`]), so that a room that comes into a window is told from where the client knows it. Invariants besides
//! those of the crate:
//!
//! - What a connection remembers changes only when the client shows that it has got an answer; until then the same
//!   request is answered again.
//! - Which rooms there are to tell of is decided in memory, at a glance at each of the user's rooms; only rooms that are
//!   told are read.
//! - Of a room that the user is not in, only what the user may know decides or is told: stripped state of an
//!   invitation, and the past up to the leaving.

mod connections;
mod extensions;
mod lists;
mod look;
mod personal;
mod request;
mod required_state;
mod rooms;

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, timeout_at};
use wardroom_accounts::{IgnoredUsers, Session};
use wardroom_rooms::{Membership, RoomNid, UserNid};
use wardroom_store::{Position, WatchKey};

pub use self::request::{BadRequest, SlidingRequest};
use self::{
    connections::{Base, Change, Told},
    look::Answer,
    required_state::RequiredState,
};
use crate::{
    Inner, RoomSights, SyncError, Syncer, filter::Filter, hearing::Hearing, memberships::Known, response::Object,
};

/// How long a request may wait.
const TIMEOUT_MAX: Duration = Duration::from_mins(10);

/// An answer to a sliding sync.
#[derive(Clone, Debug)]
pub struct SlidingResponse {
    /// The body, JSON.
    pub body: Vec<u8>,
    /// What it gives away of which room: to be recorded before it is given.
    pub sights: Vec<RoomSights>,
}

/// What all sliding syncs share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    connections: connections::Connections,
    personal: personal::PersonalCache,
    facts: lists::StateFacts,
}

/// A request, and what it goes on from.
#[derive(Debug)]
struct Asked<'a> {
    syncer: &'a Inner,
    session: &'a Session,
    user: UserNid,
    request: &'a SlidingRequest,
    /// What each list wants of the state of its rooms.
    list_wishes: Vec<RequiredState>,
    /// What the client has.
    base: Base,
    /// What was found out since, told or not.
    change: Change,
    /// The time of day, for the age of events.
    now_ms: u64,
    /// Whom the user wants to hear nothing of.
    ignored: IgnoredUsers,
}

impl Syncer {
    /// Tells a connection what is news to it; waits for news where there is none and the client wants to wait, until
    /// `stopping` resolves.
    ///
    /// # Errors
    /// [`SyncError::UnknownPos`] where the client has to start anew; else when something below fails.
    pub async fn sliding_sync(
        &self,
        session: &Session,
        request: &SlidingRequest,
        stopping: impl Future<Output = ()> + Send,
    ) -> Result<SlidingResponse, SyncError> {
        let syncer = &*self.0;
        let (connections, device) = (&syncer.sliding.connections, session.device_nid);
        let base = match request.pos {
            None => connections.open(device, request.connection()),
            Some(pos) => connections.resume(device, request.connection(), pos).map_err(|_| SyncError::UnknownPos)?,
        };
        let change = Change {
            position: base.position.unwrap_or_default(),
            cursors: base.cursors,
            wishes: base.wishes.clone(),
            rooms: connections::ToldRooms::new(),
        };
        let lists = request.body.lists.values();
        let mut asked = Asked {
            syncer,
            session,
            user: UserNid::new(session.nid.get()),
            request,
            list_wishes: lists.map(|list| RequiredState::new(&list.required_state, &session.user)).collect(),
            base,
            change,
            now_ms: syncer.clock.now_ms(),
            ignored: syncer.accounts.ignored_users(session.nid).await?,
        };
        if let Some(told) = request.has_to_device() {
            let told = told.min(syncer.store.position());
            syncer.accounts.forget_to_device(device, told).await?;
        }
        let (mut answer, known) = asked.look().await?;
        // Who starts anew gets an answer at once, if it is that there is nothing.
        if asked.base.position.is_some() && !answer.has_news && !request.timeout.is_zero() {
            let deadline = Instant::now() + request.timeout.min(TIMEOUT_MAX);
            tokio::select! {
                biased;
                told = asked.wait(known, deadline) => answer = told?,
                () = stopping => {}
            }
        }
        asked.end(answer)
    }
}

impl Asked<'_> {
    /// Waits for news; gives an answer without any when the time is up.
    async fn wait(&mut self, mut known: Arc<Known>, deadline: Instant) -> Result<Answer, SyncError> {
        loop {
            // First listen, then look: what comes in between is not missed.
            let mut waiter = self.syncer.store.watches().waiter(self.watched(&known));
            loop {
                self.now_ms = self.syncer.clock.now_ms();
                self.ignored = self.syncer.accounts.ignored_users(self.session.nid).await?;
                let (answer, now_known) = self.look().await?;
                if answer.has_news {
                    return Ok(answer);
                }
                if !Arc::ptr_eq(&known, &now_known) && known.entries != now_known.entries {
                    // The rooms to listen to may be others.
                    known = now_known;
                    break;
                }
                if timeout_at(deadline, waiter.changed()).await.is_err() {
                    return Ok(answer);
                }
            }
        }
    }

    /// What waiters for this connection's news watch: any of the rooms may come into a window.
    fn watched(&self, known: &Known) -> Vec<WatchKey> {
        let joined = known.entries.iter().filter(|entry| entry.membership == Membership::Join);
        let mut keys = vec![self.user.watch(), self.session.device_ref().watch_key()];
        let body = &self.request.body;
        if !body.lists.is_empty() || !body.room_subscriptions.is_empty() || body.extensions.e2ee.is_on() {
            keys.extend(joined.map(|entry| entry.room.watch()));
        }
        keys
    }

    /// What is shared with `/sync`, for this request.
    fn hearing<'a>(&'a self, filter: &'a Filter) -> Hearing<'a> {
        let Self { syncer, session, user, now_ms, .. } = *self;
        let ignored = self.ignored.clone();
        Hearing { syncer, session, user, filter, full_state: false, state_after: false, now_ms, ignored }
    }

    /// How a room was told last, by an answer that the client has or by this one.
    fn told(&self, room: RoomNid) -> Option<&Told> {
        self.change.rooms.get(&room).or_else(|| self.base.rooms.get(&room))
    }

    /// Whether a key may have been touched behind a position.
    fn moved(&self, key: WatchKey, since: Position) -> bool {
        // A connection is younger than this run of the server, which knows of all touches since it began.
        self.syncer.store.watches().last(key) > since
    }

    /// Writes the answer, and remembers it until the client shows that it has got it.
    fn end(self, answer: Answer) -> Result<SlidingResponse, SyncError> {
        let Self { syncer, session, request, base, change, .. } = self;
        let connections = &syncer.sliding.connections;
        let pos = connections.answer(session.device_nid, request.connection(), &base, change);
        let pos = pos.map_err(|_| SyncError::UnknownPos)?;
        let mut body = Object::default();
        body.value("pos", &pos.to_string());
        if let Some(txn_id) = &request.body.txn_id {
            body.value("txn_id", txn_id);
        }
        body.raw("lists", &answer.lists.end());
        body.raw("rooms", &answer.rooms.end());
        body.raw("extensions", &answer.extensions.end());
        Ok(SlidingResponse { body: body.end(), sights: answer.sights })
    }
}
