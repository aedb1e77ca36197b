//! Authorization chains, walked by numbers alone.

use std::collections::{HashMap, HashSet};

use wardroom_event::AUTH_CHAIN_EVENTS_MAX;
use wardroom_store::{Packed, Scan};

use crate::{
    Engine, Rooms,
    error::RoomError,
    ids::{EventNid, RoomNid},
    tables::AUTH_EDGES,
};

/// Events of which the authorization events are read at once.
pub(crate) const EDGES_PER_READ: usize = 1_000;

/// Authorization events of events that the store does not have yet.
pub(crate) type Edges = HashMap<EventNid, Vec<EventNid>>;

impl Engine {
    /// The authorization chain of events: all that is reached from them, themselves only if they are.
    pub(crate) async fn auth_chain(
        &self,
        room: RoomNid,
        of: impl Iterator<Item = EventNid>,
        fresh: &Edges,
    ) -> Result<HashSet<EventNid>, RoomError> {
        let mut chain = HashSet::new();
        let mut open: Vec<EventNid> = of.collect();
        while !open.is_empty() {
            let page: Vec<EventNid> = open.split_off(open.len().saturating_sub(EDGES_PER_READ));
            for nid in self.edges(room, &page, fresh).await?.into_iter().flatten() {
                if chain.insert(nid) {
                    open.push(nid);
                }
            }
            if chain.len() > AUTH_CHAIN_EVENTS_MAX {
                return Err(RoomError::Storage(format!(
                    "an authorization chain of over {AUTH_CHAIN_EVENTS_MAX} events"
                )));
            }
        }
        Ok(chain)
    }

    /// The authorization events of events of a room.
    pub(crate) async fn edges(
        &self,
        room: RoomNid,
        nids: &[EventNid],
        fresh: &Edges,
    ) -> Result<Vec<Vec<EventNid>>, RoomError> {
        let mut found: Vec<Option<Vec<EventNid>>> = nids.iter().map(|nid| fresh.get(nid).cloned()).collect();
        let missing: Vec<usize> = (0..nids.len()).filter(|index| found[*index].is_none()).collect();
        let keys: Vec<_> = missing.iter().map(|index| (room, nids[*index])).collect();
        let rows = self.store.latest().multi_get(&AUTH_EDGES, &keys).await?;
        for (index, row) in missing.into_iter().zip(rows) {
            found[index] = Some(row.map(|row| row.0).unwrap_or_default());
        }
        Ok(found.into_iter().flatten().collect())
    }

    /// The authorization events of all events of a room.
    pub(crate) async fn all_edges(&self, room: RoomNid, fresh: &Edges) -> Result<Edges, RoomError> {
        let scan = Scan::prefix(&room).limit(AUTH_CHAIN_EVENTS_MAX);
        let rows = self.store.latest().scan(&AUTH_EDGES, scan).await?;
        let stored = rows.into_iter().map(|((_, nid), Packed(auth))| (nid, auth));
        Ok(stored.chain(fresh.iter().map(|(nid, auth)| (*nid, auth.clone()))).collect())
    }
}

impl Rooms {
    /// The authorization chain of events of a room, without those events unless others of them need them. Ungated.
    ///
    /// # Errors
    /// When the store fails, or the chain has over [`AUTH_CHAIN_EVENTS_MAX`] events.
    pub async fn auth_chain(&self, room: RoomNid, of: &[EventNid]) -> Result<Vec<EventNid>, RoomError> {
        let chain = self.engine.auth_chain(room, of.iter().copied(), &Edges::new()).await?;
        let mut chain: Vec<EventNid> = chain.into_iter().collect();
        chain.sort_unstable();
        Ok(chain)
    }
}
