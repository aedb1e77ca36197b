//! Rooms of a space and of the spaces in it (specification, `GET /rooms/{roomId}/hierarchy`).
//!
//! The tree is walked anew for each page, up to where the last one ended: a token needs no memory, survives a restart,
//! and what changes between two pages moves no other room. The walk reads rooms' summaries and the children of spaces
//! from memory where they did not change.

mod elsewhere;
mod for_servers;

use std::{collections::HashSet, fmt::Write as _, sync::Arc};

use quick_cache::{Weighter, sync::Cache};
use ruma::{OwnedRoomId, OwnedServerName, RoomId, UserId, events::TimelineEventType};
use serde::Serialize;
use serde_json::{
    Map, Value,
    value::{RawValue as RawJsonValue, to_raw_value},
};
use wardroom_event::Pdu;

pub use self::{
    elsewhere::{Elsewhere, TheirRoom},
    for_servers::ServerHierarchy,
};
use crate::{
    Actor, Engine, Rooms,
    error::RoomError,
    ids::RoomNid,
    room::RoomView,
    summary::Summary,
    trie::{Root, StateWhich},
};

/// Rooms on a page, at most.
pub const HIERARCHY_PAGE_MAX: usize = 500;
/// Rooms on a page where the request does not say.
const HIERARCHY_PAGE_DEFAULT: usize = 50;
/// Bytes of summaries and children after which a page ends all the same.
const PAGE_BYTES_MAX: u64 = 2 * 1024 * 1024;
/// Spaces within spaces, from the one asked for, that are looked into.
const DEPTH_MAX: u64 = 50;
/// Rooms that one walk looks at.
const WALK_ROOMS_MAX: usize = 10_000;
/// Rooms after which a walk lets other requests go on.
const ROOMS_PER_BREATH: usize = 64;
/// Rooms that wait to be looked at.
const WAITING_ROOMS_MAX: usize = 100_000;
/// Children of one space; in the order of the specification, those beyond are not there.
const CHILDREN_MAX: usize = 10_000;
/// Bytes of the children of one space, likewise.
const CHILDREN_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Bytes of children of spaces kept in memory.
const CACHED_CHILDREN_BYTES_MAX: u64 = 6 * 1024 * 1024;
/// What a child costs in memory besides its event, about.
const CHILD_OVERHEAD_BYTES: usize = 150;
/// Longest `order` of a child, in characters (specification, `m.space.child`).
const ORDER_CHARS_MAX: usize = 50;
/// Domain of the keyed hash that binds a token to its request.
const HASH_TOKEN: u8 = 0x30;
/// Domain of the keyed hash that stands for a room in a token.
const HASH_ROOM: u8 = 0x31;
/// Servers of a child that are remembered.
const VIA_MAX: usize = 10;

/// What is asked of a space's hierarchy.
#[derive(Clone, Debug, Default)]
pub struct HierarchyQuery {
    /// `next_batch` of the page before.
    pub from: Option<String>,
    /// Rooms wanted; [`HIERARCHY_PAGE_MAX`] at most are given.
    pub limit: Option<u64>,
    /// Spaces within spaces to look into; none: as deep as the server goes.
    pub max_depth: Option<u64>,
    /// Only children that their space suggests.
    pub suggested_only: bool,
}

/// A room of a space.
#[derive(Clone, Debug)]
pub struct HierarchyRoom {
    /// What the room is.
    pub summary: Arc<Summary>,
    /// The stripped `m.space.child` events of a space, in the order of the specification.
    pub children_state: Vec<Arc<RawJsonValue>>,
}

/// A page of a space's hierarchy.
#[derive(Clone, Debug)]
pub struct HierarchyPage {
    /// The rooms, each once: a space comes before its children.
    pub rooms: Vec<HierarchyRoom>,
    /// Where the next page begins, if there is one.
    pub next_batch: Option<String>,
}

/// A child of a space.
#[derive(Debug)]
struct Child {
    room: OwnedRoomId,
    /// Servers that the space names as being in the room.
    via: Arc<[OwnedServerName]>,
    suggested: bool,
    stripped: Arc<RawJsonValue>,
}

/// The children of a space in one of its states, in order.
#[derive(Debug)]
pub(crate) struct Children {
    /// The space's state; of a space elsewhere there is none.
    state: Root,
    children: Vec<Child>,
    bytes: usize,
}

/// The fields of an `m.space.child` event that matter.
struct ChildFields<'a> {
    state_key: &'a str,
    sender: &'a UserId,
    origin_server_ts: u64,
    content: &'a RawJsonValue,
}

#[derive(Clone, Debug)]
pub(crate) struct BySize;

impl Weighter<RoomNid, Arc<Children>> for BySize {
    fn weight(&self, _: &RoomNid, children: &Arc<Children>) -> u64 {
        u64::try_from(children.bytes + CHILD_OVERHEAD_BYTES).unwrap_or(u64::MAX / 2)
    }
}

/// Children of spaces, bounded by bytes.
pub(crate) type ChildrenCache = Cache<RoomNid, Arc<Children>, BySize>;

pub(crate) fn children_cache() -> ChildrenCache {
    Cache::with_weighter(1_000, CACHED_CHILDREN_BYTES_MAX, BySize)
}

/// A child's event as the endpoint shows it: stripped state with a time.
#[derive(Serialize)]
struct StrippedChild<'a> {
    content: &'a RawJsonValue,
    origin_server_ts: u64,
    sender: &'a UserId,
    state_key: &'a str,
    #[serde(rename = "type")]
    kind: &'a TimelineEventType,
}

/// Where a child stands among the others: those with an order come first, then the older, then by room id.
type ChildRank = (bool, String, u64, OwnedRoomId);

/// Reads an `m.space.child` event; `None` where it names no child (any more).
fn read_child(pdu: &Pdu) -> Option<(ChildRank, Child)> {
    let (sender, origin_server_ts) = (pdu.sender(), pdu.origin_server_ts());
    child_of(&ChildFields { state_key: pdu.state_key()?, sender, origin_server_ts, content: pdu.content() })
}

/// The child that the fields of an `m.space.child` event name, if they do.
fn child_of(event: &ChildFields<'_>) -> Option<(ChildRank, Child)> {
    let room = <&RoomId>::try_from(event.state_key).ok()?.to_owned();
    let fields: Map<String, Value> = serde_json::from_str(event.content.get()).ok()?;
    let via = fields.get("via")?.as_array()?;
    if via.is_empty() || !via.iter().all(Value::is_string) {
        return None;
    }
    let is_order = |order: &&str| {
        (1..=ORDER_CHARS_MAX).contains(&order.len()) && order.bytes().all(|byte| matches!(byte, 0x20..=0x7E))
    };
    let order = fields.get("order").and_then(Value::as_str).filter(is_order);
    let stripped = StrippedChild {
        content: event.content,
        origin_server_ts: event.origin_server_ts,
        sender: event.sender,
        state_key: event.state_key,
        kind: &TimelineEventType::SpaceChild,
    };
    let stripped = Arc::from(to_raw_value(&stripped).ok()?);
    let suggested = fields.get("suggested") == Some(&Value::Bool(true));
    let rank = (order.is_none(), order.unwrap_or_default().to_owned(), event.origin_server_ts, room.clone());
    let via = via.iter().filter_map(Value::as_str).filter_map(|name| name.try_into().ok()).take(VIA_MAX).collect();
    Some((rank, Child { room, via, suggested, stripped }))
}

/// The children in their order, as many as are shown.
fn in_order(mut ranked: Vec<(ChildRank, Child)>, state: Root) -> Children {
    ranked.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    let (mut children, mut bytes) = (Vec::with_capacity(ranked.len().min(CHILDREN_MAX)), 0);
    for (_, child) in ranked.into_iter().take(CHILDREN_MAX) {
        bytes += child.stripped.get().len();
        if bytes > CHILDREN_BYTES_MAX {
            break;
        }
        children.push(child);
    }
    let bytes = bytes + children.len() * CHILD_OVERHEAD_BYTES;
    Children { state, children, bytes }
}

/// What of the walk was told before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// Nothing: the first page.
    Nothing,
    /// Everything up to this room, by its hash.
    UpTo(u64),
    /// So many rooms.
    Rooms(u64),
}

/// What a walk sees of a room.
struct Looked {
    summary: Arc<Summary>,
    children: Option<Arc<Children>>,
}

/// One walk through a hierarchy.
struct Walk<'a> {
    actor: Actor<'a>,
    room: &'a RoomId,
    /// Hash of the room.
    root: u64,
    elsewhere: Option<&'a dyn Elsewhere>,
    depth_max: u64,
    suggested_only: bool,
    limit: usize,
    /// Everything that is here is told.
    administrator: bool,
}

impl Rooms {
    /// A page of the rooms that a space holds and this user may know of. `elsewhere` is asked about rooms that this server
    /// is not in.
    ///
    /// # Errors
    /// [`RoomError::Forbidden`] where there is no such room or the user may not know of it,
    /// [`RoomError::InvalidParam`] where `from` is not a token of an earlier page for the same user, room, `max_depth`
    /// and `suggested_only`, or `limit` is zero.
    pub async fn hierarchy(
        &self,
        actor: Actor<'_>,
        room: &RoomId,
        query: &HierarchyQuery,
        elsewhere: Option<&dyn Elsewhere>,
    ) -> Result<HierarchyPage, RoomError> {
        self.hierarchy_of(actor, room, query, elsewhere, false).await
    }

    /// As [`Rooms::hierarchy`], of the rooms that are here, whoever may know of them. Ungated: for administrators.
    ///
    /// # Errors
    /// [`RoomError::InvalidParam`], [`RoomError::Forbidden`] where the room is not here.
    pub async fn hierarchy_for_administrators(
        &self,
        actor: Actor<'_>,
        room: &RoomId,
        query: &HierarchyQuery,
    ) -> Result<HierarchyPage, RoomError> {
        self.hierarchy_of(actor, room, query, None, true).await
    }

    async fn hierarchy_of(
        &self,
        actor: Actor<'_>,
        room: &RoomId,
        query: &HierarchyQuery,
        elsewhere: Option<&dyn Elsewhere>,
        administrator: bool,
    ) -> Result<HierarchyPage, RoomError> {
        if query.limit == Some(0) {
            return Err(RoomError::InvalidParam("limit: must be greater than zero.".to_owned()));
        }
        let forbidden = || RoomError::Forbidden("You are not allowed to view this room.".to_owned());
        let limit = query.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(HIERARCHY_PAGE_DEFAULT);
        let walk = Walk {
            actor,
            room,
            root: self.engine.hash_of_room(room),
            elsewhere,
            depth_max: query.max_depth.unwrap_or(DEPTH_MAX).min(DEPTH_MAX),
            suggested_only: query.suggested_only,
            limit: limit.min(HIERARCHY_PAGE_MAX),
            administrator,
        };
        self.engine.look(&walk, room, &[]).await?.ok_or_else(forbidden)?;
        let Some(from) = &query.from else {
            return Ok(self.engine.walk(&walk, Told::Nothing).await?.unwrap_or_else(HierarchyPage::empty));
        };
        let (told, last) = self.engine.read_token(&walk, from).ok_or_else(|| {
            let sentence =
                "from: this token is not one that this server gave for this room, max_depth and suggested_only.";
            RoomError::InvalidParam(sentence.to_owned())
        })?;
        match self.engine.walk(&walk, Told::UpTo(last)).await? {
            Some(page) => Ok(page),
            // The room at which the last page ended is gone from the tree: those before it are not.
            None => Ok(self
                .engine
                .walk(&walk, Told::Rooms(told.saturating_sub(1)))
                .await?
                .unwrap_or_else(HierarchyPage::empty)),
        }
    }
}

impl HierarchyPage {
    const fn empty() -> Self {
        Self { rooms: Vec::new(), next_batch: None }
    }
}

impl Engine {
    /// Walks a hierarchy depth first, and returns the page behind what was told before; `None` where the walk ended
    /// before that.
    async fn walk(&self, walk: &Walk<'_>, told: Told) -> Result<Option<HierarchyPage>, RoomError> {
        let mut waiting: Vec<(OwnedRoomId, Arc<[OwnedServerName]>, u64)> =
            vec![(walk.room.to_owned(), Arc::default(), 0)];
        let (mut seen, mut page, mut bytes) = (HashSet::new(), HierarchyPage::empty(), 0_u64);
        let mut count = 0_u64;
        let (mut behind, mut last) = (told == Told::Nothing || told == Told::Rooms(0), walk.root);
        while let Some((room, via, depth)) = waiting.pop() {
            if !seen.insert(room.clone()) {
                continue;
            }
            if seen.len() > WALK_ROOMS_MAX {
                break;
            }
            if seen.len().is_multiple_of(ROOMS_PER_BREATH) {
                // What lies in memory never waits: let others have their turn.
                tokio::task::yield_now().await;
            }
            let Some(looked) = self.look(walk, &room, &via).await? else { continue };
            let hash = self.hash_of_room(&room);
            let children = looked.children.iter().flat_map(|children| &children.children);
            let children: Vec<&Child> = children.filter(|child| child.suggested || !walk.suggested_only).collect();
            if behind {
                if page.rooms.len() >= walk.limit || (bytes > PAGE_BYTES_MAX && !page.rooms.is_empty()) {
                    page.next_batch = Some(self.token(walk, count, last));
                    break;
                }
                let children_state: Vec<_> = children.iter().map(|child| Arc::clone(&child.stripped)).collect();
                let children_bytes: usize = children_state.iter().map(|child| child.get().len()).sum();
                bytes += looked.summary.bytes() + u64::try_from(children_bytes).unwrap_or(u64::MAX / 2);
                page.rooms.push(HierarchyRoom { summary: looked.summary, children_state });
            }
            count += 1;
            last = hash;
            behind = behind || told == Told::UpTo(hash) || told == Told::Rooms(count);
            if depth < walk.depth_max {
                // The first child is to be on top.
                for child in children.iter().rev() {
                    if waiting.len() < WAITING_ROOMS_MAX && !seen.contains(&child.room) {
                        waiting.push((child.room.clone(), Arc::clone(&child.via), depth + 1));
                    }
                }
            }
        }
        Ok(behind.then_some(page))
    }

    /// What a user may know of a room, here or elsewhere.
    async fn look(&self, walk: &Walk<'_>, room: &RoomId, via: &[OwnedServerName]) -> Result<Option<Looked>, RoomError> {
        if let Some(found) = self.find_room(room).await? {
            let view = found.view();
            if self.is_resident(&view).await? {
                let summary = match self.glimpse(walk.actor, &view).await? {
                    Some(read) => read.summary,
                    None if walk.administrator => self.summary(&view).await?,
                    None => return Ok(None),
                };
                let children = if summary.is_space() { Some(self.children_of_space(&view).await?) } else { None };
                return Ok(Some(Looked { summary, children }));
            }
        }
        let Some(elsewhere) = walk.elsewhere else { return Ok(None) };
        let Some(told) = elsewhere.room(room, via).await else { return Ok(None) };
        let read = self.glimpse_elsewhere(walk.actor, &told).await?;
        Ok(read.map(|read| Looked { summary: read.summary, children: Some(told.children()) }))
    }

    /// What stands for a room in a token: rooms elsewhere have no number.
    fn hash_of_room(&self, room: &RoomId) -> u64 {
        let hash = self.store.keyed_hash(HASH_ROOM, room.as_bytes());
        hash.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
    }

    /// The children of a space, in order.
    async fn children_of_space(&self, space: &RoomView) -> Result<Arc<Children>, RoomError> {
        if let Some(known) = self.space_children.get(&space.nid)
            && known.state == space.state
        {
            return Ok(known);
        }
        let state = self.state(space.nid, space.state, StateWhich::WithoutMembers).await?;
        let events = state.iter().filter(|stored| *stored.pdu.kind() == TimelineEventType::SpaceChild);
        let ranked = events.filter_map(|stored| read_child(&stored.pdu)).collect();
        let children = Arc::new(in_order(ranked, space.state));
        self.space_children.insert(space.nid, Arc::clone(&children));
        Ok(children)
    }

    /// `h<rooms told>_<last room told>_<check>`.
    fn token(&self, walk: &Walk<'_>, told: u64, last: u64) -> String {
        format!("h{told}_{last}_{}", self.check(walk, told, last))
    }

    fn read_token(&self, walk: &Walk<'_>, token: &str) -> Option<(u64, u64)> {
        let mut parts = token.strip_prefix('h')?.split('_');
        let (told, last, check) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?);
        (parts.next().is_none() && self.check(walk, told, last) == check).then_some((told, last))
    }

    /// What binds a token to the user and the request that it was given for.
    fn check(&self, walk: &Walk<'_>, told: u64, last: u64) -> String {
        let numbers = [walk.root, walk.actor.nid.get(), walk.depth_max, u64::from(walk.suggested_only), told, last];
        let bytes: Vec<u8> = numbers.into_iter().flat_map(u64::to_be_bytes).collect();
        let hash = self.store.keyed_hash(HASH_TOKEN, &bytes);
        hash.iter().take(8).fold(String::new(), |mut hex, byte| {
            // Writing to a String does not fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use ruma::{OwnedRoomId, RoomId, events::StateEventType, user_id};
    use serde_json::{Value, json, value::to_raw_value};

    use super::{HIERARCHY_PAGE_MAX, HierarchyQuery};
    use crate::{
        Preset, RoomError,
        tests::{Person, World, new_room, run},
    };

    async fn space(world: &World, by: &Person, name: &str) -> OwnedRoomId {
        let mut request = new_room("12", Preset::PublicChat);
        request.name = Some(name.to_owned());
        request.creation_content.insert("type".to_owned(), json!("m.space"));
        world.rooms.create(by.actor(), request).await.unwrap()
    }

    async fn put_child(world: &World, by: &Person, space: &RoomId, child: &RoomId, content: Value) {
        let content = to_raw_value(&content).unwrap();
        let kind = StateEventType::SpaceChild;
        world.rooms.set_state(by.actor(), space, &kind, child.as_str(), content).await.unwrap();
    }

    #[test]
    fn a_space_with_a_thousand_rooms_is_paged_through_in_order() {
        run(async {
            let world = World::new();
            let alice = world.person(user_id!("@alice:a.example")).await;
            let space = space(&world, &alice, "Hospital").await;
            let mut rooms = vec![space.clone()];
            for number in 0..1_000 {
                let room = world.rooms.create(alice.actor(), new_room("12", Preset::PublicChat)).await.unwrap();
                put_child(&world, &alice, &space, &room, json!({ "via": ["x"], "order": format!("{number:04}") }))
                    .await;
                rooms.push(room);
            }
            let mut query = HierarchyQuery { limit: Some(64), ..HierarchyQuery::default() };
            let mut found = Vec::new();
            loop {
                let page = world.rooms.hierarchy(alice.actor(), &space, &query, None).await.unwrap();
                assert!(page.rooms.len() <= 64);
                found.extend(page.rooms.iter().map(|room| room.summary.chunk.room_id.clone()));
                query.from = page.next_batch;
                if query.from.is_none() {
                    break;
                }
            }
            assert_eq!(found, rooms);
            let query = HierarchyQuery { limit: Some(u64::MAX), ..HierarchyQuery::default() };
            let page = world.rooms.hierarchy(alice.actor(), &space, &query, None).await.unwrap();
            assert_eq!(page.rooms.len(), HIERARCHY_PAGE_MAX);
            assert_eq!(page.rooms[0].children_state.len(), 1_000);
        });
    }

    #[test]
    fn a_tangle_of_spaces_ends_and_a_chain_ends_at_the_deepest_allowed() {
        run(async {
            let world = World::new();
            let alice = world.person(user_id!("@alice:a.example")).await;
            let mut spaces = Vec::new();
            for number in 0..60 {
                spaces.push(space(&world, &alice, &number.to_string()).await);
            }
            for pair in spaces.windows(2) {
                put_child(&world, &alice, &pair[0], &pair[1], json!({ "via": ["x"] })).await;
            }
            let query = HierarchyQuery { limit: Some(500), ..HierarchyQuery::default() };
            let page = world.rooms.hierarchy(alice.actor(), &spaces[0], &query, None).await.unwrap();
            assert_eq!(page.rooms.len(), 51, "the root and fifty below");
            for a in spaces.iter().take(12) {
                for b in spaces.iter().take(12) {
                    put_child(&world, &alice, a, b, json!({ "via": ["x"] })).await;
                }
            }
            let page = world.rooms.hierarchy(alice.actor(), &spaces[0], &query, None).await.unwrap();
            let told: HashSet<_> = page.rooms.iter().map(|room| room.summary.chunk.room_id.clone()).collect();
            assert_eq!(told.len(), page.rooms.len());
        });
    }

    #[test]
    fn tokens_are_bound_to_user_room_and_request() {
        run(async {
            let world = World::new();
            let (alice, bob) =
                (world.person(user_id!("@alice:a.example")).await, world.person(user_id!("@bob:a.example")).await);
            let (one, two) = (space(&world, &alice, "One").await, space(&world, &alice, "Two").await);
            put_child(&world, &alice, &one, &two, json!({ "via": ["x"] })).await;
            put_child(&world, &alice, &two, &one, json!({ "via": ["x"] })).await;
            let first = HierarchyQuery { limit: Some(1), ..HierarchyQuery::default() };
            let token = world.rooms.hierarchy(alice.actor(), &one, &first, None).await.unwrap().next_batch;
            let next = HierarchyQuery { from: token.clone(), ..HierarchyQuery::default() };
            let page = world.rooms.hierarchy(alice.actor(), &one, &next, None).await.unwrap();
            assert_eq!(page.rooms[0].summary.chunk.room_id, two);
            let refused = |result: Result<_, RoomError>| matches!(result, Err(RoomError::InvalidParam(_)));
            assert!(refused(world.rooms.hierarchy(bob.actor(), &one, &next, None).await));
            assert!(refused(world.rooms.hierarchy(alice.actor(), &two, &next, None).await));
            let other = HierarchyQuery { max_depth: Some(2), ..next.clone() };
            assert!(refused(world.rooms.hierarchy(alice.actor(), &one, &other, None).await));
            for junk in ["", "h", "h1", "h1_1", "h1_1_zz", "h-1_1_0", "x1_1_0", "h1_1_0_0", "ü"] {
                let query = HierarchyQuery { from: Some(junk.to_owned()), ..HierarchyQuery::default() };
                assert!(refused(world.rooms.hierarchy(alice.actor(), &one, &query, None).await), "{junk}");
            }
        });
    }
}
