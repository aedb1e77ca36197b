//! What is asked of rooms on behalf of other servers. Ungated: what they may see is decided by who asks.

use std::sync::Arc;

use ruma::{EventId, OwnedEventId, OwnedUserId, RoomId};

use crate::{
    Rooms,
    error::RoomError,
    events::Stored,
    ids::{EventNid, RoomNid},
    tables::{EventMeta, Standing},
    trie::StateWhich,
};

/// Users of this server in one room that are listed.
const LOCAL_MEMBERS_MAX: usize = 1_000_000;

/// What is said of where an event stands. Of a history that was purged nothing is told but the state that is left of it.
fn told_standing(meta: &EventMeta, event: &Stored) -> Standing {
    match (meta.standing, meta.past) {
        (Standing::SoftFailed, Some(_)) if event.pdu.is_state() => Standing::Outlier,
        (Standing::SoftFailed, Some(_)) => Standing::RejectedOutlier,
        (standing, _) => standing,
    }
}

impl Rooms {
    /// Where an event stands, and the event; `None` if it is not here.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn standing(&self, id: &EventId) -> Result<Option<(RoomNid, Standing, Arc<Stored>)>, RoomError> {
        let Some(nid) = self.engine.event_nid(id).await? else { return Ok(None) };
        let Some((meta, _)) = self.engine.any_meta(nid).await? else { return Ok(None) };
        let event = self.engine.event(meta.room, nid).await?;
        Ok(event.map(|event| (meta.room, told_standing(&meta, &event), event)))
    }

    /// The state before an event that has a place in the graph.
    ///
    /// # Errors
    /// [`RoomError::NoSuchEvent`]; when the store fails.
    pub async fn state_before_event(&self, room: &RoomId, event: &EventId) -> Result<Vec<Arc<Stored>>, RoomError> {
        let room = self.engine.room_nid(room).await?.ok_or(RoomError::NoSuchRoom)?;
        let nid = self.engine.event_nid(event).await?.ok_or(RoomError::NoSuchEvent)?;
        let meta = self.engine.any_meta(nid).await?.map(|(meta, _)| meta);
        let meta = meta.filter(|meta| meta.room == room && meta.standing.is_placed()).ok_or(RoomError::NoSuchEvent)?;
        self.engine.state(room, meta.state_before, StateWhich::All).await
    }

    /// Ids of events of a room; those that are not here are left out.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn event_ids(&self, events: &[EventNid]) -> Result<Vec<OwnedEventId>, RoomError> {
        let numbers: Vec<u64> = events.iter().map(|event| event.get()).collect();
        let names = self.engine.store.interner().resolve_many(crate::NS_EVENT, &numbers).await?;
        Ok(names.into_iter().flatten().filter_map(|name| OwnedEventId::try_from(&*name).ok()).collect())
    }

    /// The forward extremities.
    ///
    /// # Errors
    /// [`RoomError::NoSuchRoom`]; when the store fails.
    pub async fn extremities(&self, room: &RoomId) -> Result<Vec<OwnedEventId>, RoomError> {
        let view = self.view(room).await?.ok_or(RoomError::NoSuchRoom)?;
        self.event_ids(&view.head.extremities).await
    }

    /// Users of this server who are joined to a room.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn local_members(&self, room: RoomNid) -> Result<Vec<OwnedUserId>, RoomError> {
        self.engine.local_members(room, LOCAL_MEMBERS_MAX).await
    }
}

#[cfg(test)]
mod tests;
