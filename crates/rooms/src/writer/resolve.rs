//! One state out of the states after several forward extremities.
//!
//! What differs between the states is found by their tries, what differs between their authorization chains by numbers
//! alone: a large room whose states differ in a few places is resolved by looking at few events. The algorithm itself
//! runs on a thread that may block.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use ruma::{OwnedEventId, events::StateEventType};
use wardroom_event::{Conflict, Pdu, StateMap, auth_types, resolve_conflict};

use super::Writer;
use crate::{
    auth_chain::EDGES_PER_READ,
    error::RoomError,
    events::Stored,
    ids::{EventNid, Slot},
    trie::{Growth, Root, StateWhich},
};

/// Unresolved differences from which on reading all of a room's edges is cheaper than asking for them one by one.
const SCAN_ALL_EDGES_FROM: usize = 2_000;

/// What a resolution looks at.
#[derive(Default)]
struct Participants {
    events: HashMap<OwnedEventId, Arc<Pdu>>,
    numbers: HashMap<OwnedEventId, EventNid>,
}

impl Participants {
    fn add(&mut self, stored: &Stored) {
        self.events.insert(stored.pdu.event_id().to_owned(), Arc::clone(&stored.pdu));
        self.numbers.insert(stored.pdu.event_id().to_owned(), stored.nid);
    }
}

fn key_of(pdu: &Pdu) -> (StateEventType, String) {
    (StateEventType::from(pdu.kind().to_string()), pdu.state_key().unwrap_or_default().to_owned())
}

impl Writer {
    /// The state to which these states resolve.
    pub(crate) async fn resolve(&mut self, mut roots: Vec<Root>) -> Result<Root, RoomError> {
        roots.sort_unstable();
        roots.dedup();
        let Some((base, others)) = roots.split_first() else { return Ok(Root::EMPTY) };
        if others.is_empty() {
            return Ok(*base);
        }
        let room = self.nid();
        let mut slots: BTreeSet<Slot> = BTreeSet::new();
        for other in others {
            let tries = &self.engine.tries;
            let changes = tries.difference(&self.store, Some(&self.overlay), room, *base, *other).await?;
            slots.extend(changes.into_iter().map(|change| change.slot));
        }
        let mut sides: Vec<Vec<(Slot, EventNid)>> = Vec::with_capacity(roots.len());
        for root in &roots {
            let mut side = Vec::new();
            for slot in &slots {
                let found = self.engine.tries.get(&self.store, Some(&self.overlay), room, *root, *slot).await?;
                side.extend(found.map(|nid| (*slot, nid)));
            }
            sides.push(side);
        }
        let (conflict, participants, places) = self.conflict(*base, &slots, sides).await?;
        let Participants { events, numbers } = participants;
        let version = self.version();
        let resolved = tokio::task::spawn_blocking(move || {
            resolve_conflict(version, conflict, |id| events.get(id).map(Arc::clone))
        });
        let resolved = resolved.await.map_err(|_| RoomError::inconsistent("state resolution ended early"))?;
        let resolved = resolved.map_err(|error| RoomError::Storage(format!("state resolution: {error}")))?;
        let mut root = *base;
        for (slot, key) in places {
            let mut growth = Growth { view: &self.store, overlay: &mut self.overlay, batch: &mut self.batch, room };
            let tries = &self.engine.tries;
            root = match resolved.get(&key).and_then(|id| numbers.get(id)) {
                Some(nid) => tries.insert(&mut growth, root, slot, *nid).await?,
                None => tries.remove(&mut growth, root, slot).await?,
            };
        }
        Ok(root)
    }

    /// Works out what differs, and reads the events that take part.
    async fn conflict(
        &self,
        base: Root,
        slots: &BTreeSet<Slot>,
        sides: Vec<Vec<(Slot, EventNid)>>,
    ) -> Result<(Conflict, Participants, HashMap<Slot, (StateEventType, String)>), RoomError> {
        let mut chains = Vec::with_capacity(sides.len());
        for side in &sides {
            chains.push(self.auth_chain(side.iter().map(|(_, nid)| *nid)).await?);
        }
        let all: HashSet<EventNid> = chains.iter().flatten().copied().collect();
        let mut differing: HashSet<EventNid> =
            all.iter().filter(|nid| !chains.iter().all(|chain| chain.contains(nid))).copied().collect();
        self.drop_shared(base, slots, &mut differing).await?;

        let mut participants = Participants::default();
        let in_conflict: HashSet<EventNid> = sides.iter().flatten().map(|(_, nid)| *nid).collect();
        let taking_part: Vec<EventNid> = in_conflict.union(&all).copied().collect();
        let ids = self.read(&mut participants, &taking_part).await?;
        let agreed = self.agreed(base, slots, &mut participants).await?;

        let mut places = HashMap::new();
        let mut maps = Vec::with_capacity(sides.len());
        for side in sides {
            let mut map = StateMap::new();
            for (slot, nid) in side {
                let pdu = ids.get(&nid).and_then(|id| participants.events.get(id)).ok_or(RoomError::Lacking)?;
                places.insert(slot, key_of(pdu));
                map.insert(key_of(pdu), pdu.event_id().to_owned());
            }
            maps.push(map);
        }
        let named = |chain: &HashSet<EventNid>| {
            chain.intersection(&differing).filter_map(|nid| ids.get(nid).cloned()).collect::<HashSet<_>>()
        };
        let differences = chains.iter().map(named).collect();
        Ok((Conflict { sides: maps, agreed, differences }, participants, places))
    }

    /// Reads events into the participants; returns their ids by number.
    async fn read(
        &self,
        participants: &mut Participants,
        nids: &[EventNid],
    ) -> Result<HashMap<EventNid, OwnedEventId>, RoomError> {
        let mut ids = HashMap::with_capacity(nids.len());
        for stored in self.events(nids).await? {
            ids.insert(stored.nid, stored.pdu.event_id().to_owned());
            participants.add(&stored);
        }
        if ids.len() < nids.iter().collect::<HashSet<_>>().len() {
            return Err(RoomError::Lacking);
        }
        Ok(ids)
    }

    /// What all states agree about, as far as the authorization of the participants asks for it. The power levels among
    /// it bring those that they follow, along which the algorithm sorts.
    async fn agreed(
        &self,
        base: Root,
        slots: &BTreeSet<Slot>,
        participants: &mut Participants,
    ) -> Result<StateMap, RoomError> {
        let mut keys: HashSet<(StateEventType, String)> = HashSet::new();
        for pdu in participants.events.values() {
            let types = auth_types(self.version(), pdu.kind(), pdu.sender(), pdu.state_key(), pdu.content());
            keys.extend(types.unwrap_or_default());
        }
        keys.insert((StateEventType::RoomPowerLevels, String::new()));
        keys.insert((StateEventType::RoomCreate, String::new()));
        let mut agreed: Vec<((StateEventType, String), EventNid)> = Vec::new();
        for (kind, state_key) in keys {
            let Some(slot) = self.engine.slot(&kind, &state_key).await? else { continue };
            if slots.contains(&slot) {
                continue;
            }
            let found = self.engine.tries.get(&self.store, Some(&self.overlay), self.nid(), base, slot).await?;
            agreed.extend(found.map(|nid| ((kind, state_key), nid)));
        }
        let nids: Vec<EventNid> = agreed.iter().map(|(_, nid)| *nid).collect();
        let chain: Vec<EventNid> = self.auth_chain(nids.iter().copied()).await?.into_iter().collect();
        self.read(participants, &chain).await?;
        let mut ids = self.read(participants, &nids).await?;
        Ok(agreed.into_iter().filter_map(|(key, nid)| Some((key, ids.remove(&nid)?))).collect())
    }

    /// Leaves out what is in the authorization chains of what all states agree about, and so in all chains.
    async fn drop_shared(
        &self,
        base: Root,
        slots: &BTreeSet<Slot>,
        differing: &mut HashSet<EventNid>,
    ) -> Result<(), RoomError> {
        if differing.is_empty() {
            return Ok(());
        }
        let tries = &self.engine.tries;
        let entries = tries.entries(&self.store, Some(&self.overlay), self.nid(), base, StateWhich::All).await?;
        let mut open: Vec<EventNid> =
            entries.into_iter().filter(|(slot, _)| !slots.contains(slot)).map(|(_, nid)| nid).collect();
        // Everything but memberships and few of those lead to most of what is shared: the rest only where need be.
        open.sort_unstable();
        let all = if open.len() > SCAN_ALL_EDGES_FROM {
            Some(self.engine.all_edges(self.nid(), &self.fresh_auth).await?)
        } else {
            None
        };
        let mut seen: HashSet<EventNid> = HashSet::with_capacity(open.len());
        while !open.is_empty() && !differing.is_empty() {
            let page: Vec<EventNid> = open.split_off(open.len().saturating_sub(EDGES_PER_READ));
            let edges = match &all {
                Some(all) => page.iter().map(|nid| all.get(nid).cloned().unwrap_or_default()).collect(),
                None => self.engine.edges(self.nid(), &page, &self.fresh_auth).await?,
            };
            for nid in edges.into_iter().flatten() {
                if seen.insert(nid) {
                    differing.remove(&nid);
                    open.push(nid);
                }
            }
        }
        Ok(())
    }

    async fn auth_chain(&self, of: impl Iterator<Item = EventNid>) -> Result<HashSet<EventNid>, RoomError> {
        self.engine.auth_chain(self.nid(), of, &self.fresh_auth).await
    }

    /// Events of this group or of the store; those that are not here are left out.
    pub(crate) async fn events(&self, nids: &[EventNid]) -> Result<Vec<Arc<Stored>>, RoomError> {
        let mut found: Vec<Arc<Stored>> = nids.iter().filter_map(|nid| self.fresh.get(nid).cloned()).collect();
        let others: Vec<EventNid> = nids.iter().filter(|nid| !self.fresh.contains_key(nid)).copied().collect();
        let stored = self.engine.events_in(self.nid(), Some(self.version()), &others).await?;
        found.extend(stored.into_iter().flatten());
        Ok(found)
    }
}
