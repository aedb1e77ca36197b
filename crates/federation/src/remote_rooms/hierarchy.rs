//! What other servers tell of rooms that this one is not in (specification, server-server API,
//! `GET /hierarchy/{roomId}`).

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::{FutureExt as _, future::BoxFuture};
use parking_lot::Mutex;
use quick_cache::{Weighter, sync::Cache};
use ruma::{
    OwnedRoomId, OwnedServerName, RoomId, api::federation::space::get_hierarchy::v1 as get_hierarchy, room::RoomSummary,
};

use super::{Inner, RemoteError, RemoteRooms, telling};
use tokio::time::Instant;
use wardroom_rooms::{Elsewhere, TheirRoom};

use crate::Limits;

/// How long an answer is good.
const KEPT_MS: u64 = 5 * 60 * 1_000;
/// Bytes of answers that are kept.
const KEPT_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// What an answer costs in memory, about, besides what it lists.
const ANSWER_OVERHEAD_BYTES: usize = 1_000;
/// What a room or a child of one costs in memory, about.
const LISTED_BYTES: usize = 700;
/// Time for an answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of an answer.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Rooms that one walk asks about.
const LOOKUPS_MAX: usize = 50;
/// Time that one walk spends on asking.
const LOOKUPS_TIME_MAX: Duration = Duration::from_secs(20);
/// Servers asked for the same room.
const SERVERS_MAX: usize = 3;

/// A room as another server told of it.
#[derive(Clone, Debug)]
pub struct ToldRoom {
    /// The room.
    pub room: Arc<TheirRoom>,
    /// Those of its children that the server let this one know of.
    pub children: Vec<RoomSummary>,
}

/// An answer and when it came.
pub(super) type Kept = (u64, Arc<ToldRoom>);

#[derive(Clone, Debug)]
pub(super) struct BySize;

impl Weighter<OwnedRoomId, Kept> for BySize {
    fn weight(&self, _: &OwnedRoomId, (_, told): &Kept) -> u64 {
        // Each child is listed by the space as well.
        let listed = told.children.len() * 2;
        u64::try_from(ANSWER_OVERHEAD_BYTES + listed * LISTED_BYTES).unwrap_or(u64::MAX / 2)
    }
}

/// Answers, bounded by bytes.
pub(super) type ToldRooms = Cache<OwnedRoomId, Kept, BySize>;

pub(super) fn told_rooms() -> ToldRooms {
    Cache::with_weighter(1_000, KEPT_BYTES_MAX, BySize)
}

impl RemoteRooms {
    /// What other servers tell of a room that this server is not in. The answer may be a few minutes old.
    ///
    /// # Errors
    /// As [`RemoteError`] says.
    pub async fn told_room(&self, room: &RoomId, via: &[OwnedServerName]) -> Result<Arc<ToldRoom>, RemoteError> {
        let inner = &self.inner;
        let now_ms = inner.clock.now_ms();
        if let Some((came_ms, told)) = inner.told_rooms.get(room)
            && now_ms.saturating_sub(came_ms) < KEPT_MS
        {
            return Ok(told);
        }
        let mut servers = via.to_vec();
        servers.extend(room.server_name().map(ToOwned::to_owned));
        let mut failure = RemoteError::NoServer;
        for server in inner.admitted(servers)?.into_iter().take(SERVERS_MAX) {
            match inner.told_room_by(&server, room).await {
                Ok(told) => {
                    let told = Arc::new(told);
                    inner.told_rooms.insert(room.to_owned(), (now_ms, Arc::clone(&told)));
                    return Ok(told);
                }
                Err(error) => failure = telling(Some(failure), error),
            }
        }
        Err(failure)
    }
}

/// Asks about rooms for one walk through a hierarchy.
#[derive(Debug)]
pub struct Lookups {
    rooms: RemoteRooms,
    known: Mutex<HashMap<OwnedRoomId, Arc<TheirRoom>>>,
    left: AtomicUsize,
    until: Instant,
}

impl RemoteRooms {
    /// Asks about rooms for one walk through a hierarchy, with bounded work.
    pub fn lookups(&self) -> Lookups {
        Lookups {
            rooms: self.clone(),
            known: Mutex::default(),
            left: AtomicUsize::new(LOOKUPS_MAX),
            until: Instant::now() + LOOKUPS_TIME_MAX,
        }
    }
}

impl Elsewhere for Lookups {
    fn room<'a>(&'a self, room: &'a RoomId, via: &'a [OwnedServerName]) -> BoxFuture<'a, Option<Arc<TheirRoom>>> {
        async move {
            if let Some(known) = self.known.lock().get(room) {
                return Some(Arc::clone(known));
            }
            self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).ok()?;
            let told = tokio::time::timeout_at(self.until, self.rooms.told_room(room, via)).await.ok()?.ok()?;
            let mut known = self.known.lock();
            for child in &told.children {
                let child_room = TheirRoom::new(child, std::iter::empty());
                // Spaces have children of their own, which only their servers tell.
                if !child_room.is_space() {
                    known.insert(child.room_id.clone(), Arc::new(child_room));
                }
            }
            Some(Arc::clone(&told.room))
        }
        .boxed()
    }
}

impl Inner {
    /// Whether a room lets guests in, as a server tells that lets this one know of the room.
    pub(super) async fn lets_guests_in(&self, server: &OwnedServerName, room: &RoomId) -> Result<bool, RemoteError> {
        Ok(self.told_room_by(server, room).await?.room.lets_guests_in())
    }

    async fn told_room_by(&self, server: &OwnedServerName, room: &RoomId) -> Result<ToldRoom, RemoteError> {
        let limits = Limits { timeout: TIMEOUT, answer_bytes_max: ANSWER_BYTES_MAX, ..Limits::default() };
        let answer = self.partners.request(server, get_hierarchy::Request::new(room.to_owned()), limits).await?;
        if answer.room.summary.room_id != room {
            return Err(RemoteError::Untrustworthy("it tells of another room"));
        }
        let listed = answer.room.children_state.iter().map(|child| child.json());
        let room = Arc::new(TheirRoom::new(&answer.room.summary, listed));
        Ok(ToldRoom { room, children: answer.children })
    }
}
