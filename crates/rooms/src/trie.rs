//! Room state as an immutable hash trie.
//!
//! A state maps slots to events. It is named by its [`Root`]; states share nodes, so that a change writes
//! O(log n) nodes, any historical state is looked up in O(log n), equal states have equal roots, and what differs
//! between two states is found in O(changes).
//!
//! A node's id is a hash of its bytes. The path of a slot through the trie is a bijection of its number, sixteen
//! ways at each level, with memberships in the upper half of the root's children: the state without memberships,
//! which lazy-loading clients want of rooms with 50,000 members, is read without touching the rest.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use quick_cache::sync::Cache;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use wardroom_store::{Batch, ReadError, View};

use crate::{
    ids::{EventNid, RoomNid, Slot},
    tables::STATE_NODES,
};

/// Entries a leaf holds before it becomes a branch.
const LEAF_ENTRIES_MAX: usize = 16;
/// Levels below which no two slots share a path (16 nibbles of a 64-bit path).
const DEPTH_MAX: u32 = 16;
/// Nodes kept in memory over all rooms, about 300 bytes each.
const CACHED_NODES_MAX: usize = 20_000;

/// Name of a state: equal roots, equal states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Root([u8; 16]);

impl Root {
    /// The state of a room before its first event.
    pub const EMPTY: Self = Self([0; 16]);

    /// The root with this name.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The name.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// Which part of a state is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateWhich {
    /// Everything.
    All,
    /// All but `m.room.member`.
    WithoutMembers,
    /// `m.room.member` alone.
    Members,
}

impl StateWhich {
    const fn wants(self, slot: Slot) -> bool {
        match self {
            Self::All => true,
            Self::WithoutMembers => slot.user().is_none(),
            Self::Members => slot.user().is_some(),
        }
    }

    const fn wants_root_child(self, nibble: usize) -> bool {
        match self {
            Self::All => true,
            Self::WithoutMembers => nibble < 8,
            Self::Members => nibble >= 8,
        }
    }
}

type NodeId = [u8; 16];

#[derive(Debug, PartialEq, Eq)]
enum Node {
    /// Entries sorted by slot.
    Leaf(Vec<(Slot, EventNid)>),
    /// Children by nibble; all zeroes where there is none.
    Branch(Box<[NodeId; 16]>),
}

const ABSENT: NodeId = [0; 16];
const LEAF_TAG: u8 = 0;
const BRANCH_TAG: u8 = 1;

impl Node {
    fn encode(&self) -> Vec<u8> {
        match self {
            Self::Leaf(entries) => {
                let mut out = Vec::with_capacity(1 + entries.len() * 16);
                out.push(LEAF_TAG);
                for (slot, event) in entries {
                    out.extend_from_slice(&slot.get().to_be_bytes());
                    out.extend_from_slice(&event.get().to_be_bytes());
                }
                out
            }
            Self::Branch(children) => {
                let mut out = Vec::with_capacity(3 + children.len() * 16);
                let mut present: u16 = 0;
                for (nibble, child) in children.iter().enumerate() {
                    present |= u16::from(*child != ABSENT) << nibble;
                }
                out.push(BRANCH_TAG);
                out.extend_from_slice(&present.to_be_bytes());
                for child in children.iter().filter(|child| **child != ABSENT) {
                    out.extend_from_slice(child);
                }
                out
            }
        }
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (tag, rest) = bytes.split_first()?;
        match *tag {
            LEAF_TAG => {
                let (entries, rest) = rest.as_chunks::<16>();
                let entries = entries.iter().map(|entry| {
                    let number = u128::from_be_bytes(*entry);
                    #[expect(clippy::cast_possible_truncation, reason = "the two halves of the number")]
                    (Slot::new((number >> 64) as u64), EventNid::new(number as u64))
                });
                rest.is_empty().then(|| Self::Leaf(entries.collect()))
            }
            BRANCH_TAG => {
                let (present, rest) = rest.split_first_chunk::<2>()?;
                let present = u16::from_be_bytes(*present);
                let (mut ids, rest) = (rest.as_chunks::<16>().0.iter(), rest.as_chunks::<16>().1);
                let mut children = Box::new([ABSENT; 16]);
                for (nibble, child) in children.iter_mut().enumerate() {
                    if present >> nibble & 1 == 1 {
                        *child = *ids.next()?;
                    }
                }
                (rest.is_empty() && ids.next().is_none()).then_some(Self::Branch(children))
            }
            _ => None,
        }
    }
}

/// The way of a slot from the root: a bijection of its number that keeps the top bit (memberships).
const fn path(slot: Slot) -> u64 {
    const LOW: u64 = u64::MAX >> 1;
    let top = slot.get() & !LOW;
    // Multiplication by an odd number and xor with a right shift are invertible on 63 bits.
    let mut low = slot.get() & LOW;
    low = low.wrapping_mul(0x9E37_79B9_7F4A_7C15) & LOW;
    low ^= low >> 32;
    low = low.wrapping_mul(0xD6E8_FEB8_6659_FD93) & LOW;
    low ^= low >> 29;
    top | low
}

const fn nibble(path: u64, depth: u32) -> usize {
    (path >> (60 - 4 * depth) & 0xF) as usize
}

/// A changed slot between two states: the event before and the event after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateChange {
    /// What changed.
    pub slot: Slot,
    /// What stood there before.
    pub old: Option<EventNid>,
    /// What stands there after.
    pub new: Option<EventNid>,
}

/// The tries of all rooms, through one bounded cache of nodes.
#[derive(Debug)]
pub(crate) struct Tries {
    cache: Cache<NodeId, Arc<Node>>,
}

/// Nodes of a batch that is not committed yet.
#[derive(Debug, Default)]
pub(crate) struct Overlay(HashMap<NodeId, Arc<Node>>);

impl Tries {
    pub(crate) fn new() -> Self {
        Self { cache: Cache::new(CACHED_NODES_MAX) }
    }

    async fn node(
        &self,
        view: &View,
        overlay: Option<&Overlay>,
        room: RoomNid,
        id: NodeId,
    ) -> Result<Arc<Node>, ReadError> {
        if let Some(node) = overlay.and_then(|overlay| overlay.0.get(&id)).cloned().or_else(|| self.cache.get(&id)) {
            return Ok(node);
        }
        let corrupt = || ReadError::Corrupt { table: STATE_NODES.spec().name };
        let bytes = view.get(&STATE_NODES, &(room, id)).await?.ok_or_else(corrupt)?;
        let node = Arc::new(Node::decode(&bytes).ok_or_else(corrupt)?);
        self.cache.insert(id, Arc::clone(&node));
        Ok(node)
    }

    /// The event at a slot of a state.
    pub(crate) async fn get(
        &self,
        view: &View,
        overlay: Option<&Overlay>,
        room: RoomNid,
        root: Root,
        slot: Slot,
    ) -> Result<Option<EventNid>, ReadError> {
        let path = path(slot);
        let mut id = root.0;
        for depth in 0..=DEPTH_MAX {
            if id == ABSENT {
                return Ok(None);
            }
            match &*self.node(view, overlay, room, id).await? {
                Node::Leaf(entries) => {
                    let found = entries.binary_search_by_key(&slot, |entry| entry.0);
                    return Ok(found.ok().and_then(|index| entries.get(index)).map(|entry| entry.1));
                }
                Node::Branch(children) => id = children[nibble(path, depth.min(DEPTH_MAX - 1))],
            }
        }
        Ok(None)
    }

    /// The state with `event` at `slot`; its new nodes go to the batch and to the overlay.
    pub(crate) async fn insert(
        &self,
        growth: &mut Growth<'_>,
        root: Root,
        slot: Slot,
        event: EventNid,
    ) -> Result<Root, ReadError> {
        let path = path(slot);
        let mut above = Vec::new();
        let mut id = root.0;
        let mut entries = loop {
            if id == ABSENT {
                break Vec::new();
            }
            match &*self.node(growth.view, Some(growth.overlay), growth.room, id).await? {
                Node::Leaf(entries) => break entries.clone(),
                Node::Branch(children) => {
                    let depth = u32::try_from(above.len()).unwrap_or(DEPTH_MAX).min(DEPTH_MAX - 1);
                    id = children[nibble(path, depth)];
                    above.push(children.clone());
                }
            }
        };
        match entries.binary_search_by_key(&slot, |entry| entry.0) {
            Ok(index) => entries[index].1 = event,
            Err(index) => entries.insert(index, (slot, event)),
        }
        let mut depth = u32::try_from(above.len()).unwrap_or(DEPTH_MAX);
        let mut id = growth.build(entries, depth);
        while let Some(mut children) = above.pop() {
            depth -= 1;
            children[nibble(path, depth)] = id;
            id = growth.add(Node::Branch(children));
        }
        Ok(Root(id))
    }

    /// The state with nothing at `slot`.
    pub(crate) async fn remove(&self, growth: &mut Growth<'_>, root: Root, slot: Slot) -> Result<Root, ReadError> {
        let path = path(slot);
        let mut above: Vec<Box<[NodeId; 16]>> = Vec::new();
        let mut id = root.0;
        let mut id = loop {
            if id == ABSENT {
                return Ok(root);
            }
            match &*self.node(growth.view, Some(growth.overlay), growth.room, id).await? {
                Node::Leaf(entries) => {
                    let Ok(index) = entries.binary_search_by_key(&slot, |entry| entry.0) else { return Ok(root) };
                    let mut entries = entries.clone();
                    entries.remove(index);
                    let depth = u32::try_from(above.len()).unwrap_or(DEPTH_MAX);
                    break growth.build(entries, depth);
                }
                Node::Branch(children) => {
                    let depth = u32::try_from(above.len()).unwrap_or(DEPTH_MAX).min(DEPTH_MAX - 1);
                    id = children[nibble(path, depth)];
                    above.push(children.clone());
                }
            }
        };
        while let Some(mut children) = above.pop() {
            let depth = u32::try_from(above.len()).unwrap_or(DEPTH_MAX);
            children[nibble(path, depth)] = id;
            // Equal states must have equal roots: what fits in a leaf is one.
            id = match self.few_entries(growth, &children).await? {
                Some(entries) => growth.build(entries, depth),
                None => growth.add(Node::Branch(children)),
            };
        }
        Ok(Root(id))
    }

    /// What stands below a branch, where that fits in a leaf.
    async fn few_entries(
        &self,
        growth: &Growth<'_>,
        children: &[NodeId; 16],
    ) -> Result<Option<Vec<(Slot, EventNid)>>, ReadError> {
        let mut found: Vec<(Slot, EventNid)> = Vec::new();
        for child in children.iter().filter(|child| **child != ABSENT) {
            match &*self.node(growth.view, Some(growth.overlay), growth.room, *child).await? {
                Node::Leaf(entries) if found.len() + entries.len() <= LEAF_ENTRIES_MAX => found.extend(entries),
                _ => return Ok(None),
            }
        }
        found.sort_unstable_by_key(|entry| entry.0);
        Ok(Some(found))
    }

    /// The entries of a state, in no particular order.
    pub(crate) async fn entries(
        &self,
        view: &View,
        overlay: Option<&Overlay>,
        room: RoomNid,
        root: Root,
        which: StateWhich,
    ) -> Result<Vec<(Slot, EventNid)>, ReadError> {
        let mut found = Vec::new();
        let mut waiting = vec![(root.0, true)];
        while let Some((id, is_root)) = waiting.pop() {
            if id == ABSENT {
                continue;
            }
            match &*self.node(view, overlay, room, id).await? {
                Node::Leaf(entries) => found.extend(entries.iter().filter(|entry| which.wants(entry.0))),
                Node::Branch(children) => {
                    let wanted =
                        children.iter().enumerate().filter(|(nibble, _)| !is_root || which.wants_root_child(*nibble));
                    waiting.extend(wanted.map(|(_, child)| (*child, false)));
                }
            }
        }
        Ok(found)
    }

    /// What differs between two states of a room.
    pub(crate) async fn difference(
        &self,
        view: &View,
        overlay: Option<&Overlay>,
        room: RoomNid,
        from: Root,
        to: Root,
    ) -> Result<Vec<StateChange>, ReadError> {
        let mut changes = Vec::new();
        let mut waiting = vec![(from.0, to.0)];
        while let Some((from, to)) = waiting.pop() {
            if from == to {
                continue;
            }
            let from = self.optional_node(view, overlay, room, from).await?;
            let to = self.optional_node(view, overlay, room, to).await?;
            if let (Some(Node::Branch(from)), Some(Node::Branch(to))) = (from.as_deref(), to.as_deref()) {
                waiting.extend(from.iter().copied().zip(to.iter().copied()));
                continue;
            }
            let mut changed: HashMap<Slot, StateChange> = HashMap::new();
            for (slot, old) in self.below(view, overlay, room, from).await? {
                changed.insert(slot, StateChange { slot, old: Some(old), new: None });
            }
            for (slot, new) in self.below(view, overlay, room, to).await? {
                changed.entry(slot).or_insert(StateChange { slot, old: None, new: None }).new = Some(new);
            }
            changes.extend(changed.into_values().filter(|change| change.old != change.new));
        }
        Ok(changes)
    }

    async fn optional_node(
        &self,
        view: &View,
        overlay: Option<&Overlay>,
        room: RoomNid,
        id: NodeId,
    ) -> Result<Option<Arc<Node>>, ReadError> {
        if id == ABSENT { Ok(None) } else { self.node(view, overlay, room, id).await.map(Some) }
    }

    /// Everything below a node.
    async fn below(
        &self,
        view: &View,
        overlay: Option<&Overlay>,
        room: RoomNid,
        top: Option<Arc<Node>>,
    ) -> Result<Vec<(Slot, EventNid)>, ReadError> {
        let mut found = Vec::new();
        let mut waiting: Vec<Arc<Node>> = top.into_iter().collect();
        while let Some(node) = waiting.pop() {
            match &*node {
                Node::Leaf(entries) => found.extend_from_slice(entries),
                Node::Branch(children) => {
                    for child in children.iter().filter(|child| **child != ABSENT) {
                        waiting.push(self.node(view, overlay, room, *child).await?);
                    }
                }
            }
        }
        Ok(found)
    }

    /// Keeps the nodes of a committed batch at hand.
    pub(crate) fn keep(&self, overlay: Overlay) {
        for (id, node) in overlay.0 {
            self.cache.insert(id, node);
        }
    }
}

/// What a state grows into: new nodes go to the batch, and to the overlay where the next insertion finds them.
pub(crate) struct Growth<'a> {
    pub(crate) view: &'a View,
    pub(crate) overlay: &'a mut Overlay,
    pub(crate) batch: &'a mut Batch,
    pub(crate) room: RoomNid,
}

impl Growth<'_> {
    fn add(&mut self, node: Node) -> NodeId {
        let bytes = Bytes::from(node.encode());
        let mut id = ABSENT;
        let digest = Sha256::digest(&bytes);
        id.copy_from_slice(&digest[..16]);
        if self.overlay.0.insert(id, Arc::new(node)).is_none() {
            self.batch.put(&STATE_NODES, &(self.room, id), &bytes);
        }
        id
    }

    /// The state with these entries and no others, which are sorted by slot.
    pub(crate) fn whole(&mut self, entries: Vec<(Slot, EventNid)>) -> Root {
        Root(self.build(entries, 0))
    }

    /// A leaf where the entries fit in one, else a branch over leaves.
    fn build(&mut self, entries: Vec<(Slot, EventNid)>, depth: u32) -> NodeId {
        if entries.is_empty() {
            return ABSENT;
        }
        if entries.len() <= LEAF_ENTRIES_MAX || depth >= DEPTH_MAX {
            return self.add(Node::Leaf(entries));
        }
        let mut parts: [Vec<(Slot, EventNid)>; 16] = Default::default();
        for entry in entries {
            parts[nibble(path(entry.0), depth)].push(entry);
        }
        let children = parts.map(|part| self.build(part, depth + 1));
        self.add(Node::Branch(Box::new(children)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashSet};

    use super::{Growth, Node, Overlay, Root, StateWhich, Tries, path};
    use crate::{
        ids::{EventNid, RoomNid, Slot, UserNid},
        tables::TABLES,
    };
    use proptest::prelude::{Strategy, any, proptest};
    use wardroom_store::{Batch, Catalogue, Store};

    const ROOM: RoomNid = RoomNid::new(1);

    fn slot() -> impl Strategy<Value = Slot> {
        (any::<bool>(), 1_u64..60)
            .prop_map(|(member, n)| if member { Slot::member(UserNid::new(n)) } else { Slot::new(n) })
    }

    async fn grow(store: &Store, tries: &Tries, changes: &[(Slot, u64)]) -> Vec<Root> {
        let (mut overlay, mut batch, mut root) = (Overlay::default(), Batch::default(), Root::EMPTY);
        let mut roots = vec![root];
        for (slot, event) in changes {
            let event = EventNid::new(*event);
            let mut growth = Growth { view: &store.latest(), overlay: &mut overlay, batch: &mut batch, room: ROOM };
            root = tries.insert(&mut growth, root, *slot, event).await.unwrap();
            roots.push(root);
        }
        store.commit(batch).await.unwrap();
        roots
    }

    fn model(changes: &[(Slot, u64)]) -> BTreeMap<Slot, u64> {
        changes.iter().copied().collect()
    }

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    proptest! {
        #[test]
        fn behaves_as_a_map_at_every_point_of_its_history(
            changes in proptest::collection::vec((slot(), 1_u64..1000), 0..80),
            from in 0_usize..80,
        ) {
            run(async {
                let store = Store::in_memory(Catalogue::new(&[TABLES]).unwrap());
                let tries = Tries::new();
                let roots = grow(&store, &tries, &changes).await;
                // A second set of tries reads everything from the store.
                let (tries, view) = (Tries::new(), store.latest());
                for (length, root) in roots.iter().enumerate().step_by(9) {
                    let expected = model(&changes[..length]);
                    let all = tries.entries(&view, None, ROOM, *root, StateWhich::All).await.unwrap();
                    let all: BTreeMap<_, _> = all.into_iter().map(|(slot, event)| (slot, event.get())).collect();
                    assert_eq!(all, expected);
                    for (slot, event) in &expected {
                        let found = tries.get(&view, None, ROOM, *root, *slot).await.unwrap();
                        assert_eq!(found, Some(EventNid::new(*event)));
                    }
                    let members = tries.entries(&view, None, ROOM, *root, StateWhich::Members).await.unwrap();
                    let others = tries.entries(&view, None, ROOM, *root, StateWhich::WithoutMembers).await.unwrap();
                    assert!(members.iter().all(|entry| entry.0.user().is_some()));
                    assert!(others.iter().all(|entry| entry.0.user().is_none()));
                    assert_eq!(members.len() + others.len(), expected.len());
                }
                let from = from.min(changes.len());
                let difference = tries.difference(&view, None, ROOM, roots[from], *roots.last().unwrap()).await.unwrap();
                let (old, new) = (model(&changes[..from]), model(&changes));
                let changed: HashSet<Slot> =
                    old.keys().chain(new.keys()).filter(|slot| old.get(slot) != new.get(slot)).copied().collect();
                assert_eq!(difference.len(), changed.len());
                for change in difference {
                    assert_eq!(change.old.map(EventNid::get), old.get(&change.slot).copied());
                    assert_eq!(change.new.map(EventNid::get), new.get(&change.slot).copied());
                    assert!(changed.contains(&change.slot));
                }
            });
        }

        #[test]
        fn the_same_state_has_the_same_root_whatever_the_order(
            mut changes in proptest::collection::btree_map(slot(), 1_u64..1000, 0..60).prop_map(|map| map.into_iter().collect::<Vec<_>>()),
        ) {
            run(async {
                let store = Store::in_memory(Catalogue::new(&[TABLES]).unwrap());
                let tries = Tries::new();
                let forwards = grow(&store, &tries, &changes).await;
                changes.reverse();
                let backwards = grow(&store, &tries, &changes).await;
                assert_eq!(forwards.last(), backwards.last());
            });
        }

        #[test]
        fn paths_do_not_collide_and_keep_members_apart(a in any::<u64>(), b in any::<u64>()) {
            assert_eq!(path(Slot::new(a)) == path(Slot::new(b)), a == b);
            assert_eq!(path(Slot::new(a)) >> 63, a >> 63);
        }

        #[test]
        fn junk_is_no_node(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Some(node) = Node::decode(&bytes) {
                assert_eq!(node.encode(), bytes);
            }
        }
    }
}
