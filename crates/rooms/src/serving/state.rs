//! States as other servers are told them: before an event, with what authorises it.

use std::{collections::HashSet, sync::Arc};

use ruma::{EventId, OwnedServerName, UserId, events::StateEventType};

use crate::{
    Engine, Rooms,
    error::RoomError,
    events::Stored,
    ids::{EventNid, Slot, UserNid},
    room::RoomView,
    tables::{Membership, Standing},
    trie::{Root, StateWhich},
};

/// Members that a room without a name is called after (client-server API, `/sync`, `m.heroes`).
const HEROES: usize = 5;

/// A state before an event, by numbers: events are read as they are sent ([`Rooms::events`]), since a large room's
/// state is tens of megabytes.
#[derive(Clone, Debug)]
pub struct StateServed {
    /// The state.
    pub state: Vec<EventNid>,
    /// What authorises it.
    pub auth_chain: Vec<EventNid>,
}

impl Rooms {
    /// The state before an event, with its authorization chain.
    ///
    /// # Errors
    /// [`RoomError::NoSuchEvent`] where the event is not part of this room, was rejected, or where its place in the
    /// graph is not known.
    pub async fn state_served(&self, room: &RoomView, event: &EventId) -> Result<StateServed, RoomError> {
        let (_, before) = self.in_graph(room, event).await?;
        let state = self.state_nids(room, before, StateWhich::All).await?;
        let auth_chain = self.auth_chain(room.nid, &state).await?;
        Ok(StateServed { state, auth_chain })
    }

    /// The state before a join, with the authorization chains of the join and the state (`send_join`).
    ///
    /// Without members, state is left out that the joining server need not have at once: all memberships, but those
    /// after which a room without a name is called. The chain then leaves out what the state has.
    ///
    /// # Errors
    /// As [`Rooms::state_served`].
    pub async fn state_for_join(
        &self,
        room: &RoomView,
        join: &EventId,
        members: bool,
    ) -> Result<StateServed, RoomError> {
        let (stored, before) = self.in_graph(room, join).await?;
        let which = if members { StateWhich::All } else { StateWhich::WithoutMembers };
        let mut state = self.state_nids(room, before, which).await?;
        if !members {
            state.extend(self.heroes(room, before, stored.pdu.sender()).await?);
        }
        let mut of = state.clone();
        of.push(stored.nid);
        let mut auth_chain = self.auth_chain(room.nid, &of).await?;
        if !members {
            let told: HashSet<EventNid> = state.iter().copied().collect();
            auth_chain.retain(|event| !told.contains(event));
        }
        Ok(StateServed { state, auth_chain })
    }

    /// An event that has a place in the room's graph and was not rejected, and the state before it.
    async fn in_graph(&self, room: &RoomView, event: &EventId) -> Result<(Arc<Stored>, Root), RoomError> {
        let (there, standing, stored) = self.standing(event).await?.ok_or(RoomError::NoSuchEvent)?;
        if there != room.nid || !matches!(standing, Standing::Timeline | Standing::SoftFailed) {
            return Err(RoomError::NoSuchEvent);
        }
        let (meta, _) = self.engine.any_meta(stored.nid).await?.ok_or(RoomError::NoSuchEvent)?;
        Ok((stored, meta.state_before))
    }

    async fn state_nids(&self, room: &RoomView, root: Root, which: StateWhich) -> Result<Vec<EventNid>, RoomError> {
        let entries = self.engine.tries.entries(&self.engine.store.latest(), None, room.nid, root, which).await?;
        let mut nids: Vec<EventNid> = entries.into_iter().map(|(_, event)| event).collect();
        // In the order in which they came, which the disk likes.
        nids.sort_unstable();
        Ok(nids)
    }

    /// Membership events of those after whom a room is called that has no name of its own.
    async fn heroes(&self, room: &RoomView, root: Root, joining: &UserId) -> Result<Vec<EventNid>, RoomError> {
        for kind in [StateEventType::RoomName, StateEventType::RoomCanonicalAlias] {
            if self.engine.state_event(room.nid, root, &kind, "").await?.is_some() {
                return Ok(Vec::new());
            }
        }
        let joining = self.engine.user_nid(joining).await?;
        let mut heroes = Vec::with_capacity(HEROES);
        for membership in [Membership::Join, Membership::Invite] {
            let members = self.members(room.nid, membership, None, HEROES + 1).await?;
            for user in members.into_iter().filter(|user| Some(*user) != joining).take(HEROES - heroes.len()) {
                heroes.extend(self.engine.member_nid(room, root, user).await?);
            }
        }
        Ok(heroes)
    }

    /// The servers in the room, this one first: whom somebody asks who wants to come in.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn servers_to_join_through(&self, room: &RoomView) -> Result<Vec<OwnedServerName>, RoomError> {
        let mut servers = self.servers(room.nid).await?.to_vec();
        servers.sort_by_key(|server| *server != self.engine.server_name);
        Ok(servers)
    }
}

impl Engine {
    async fn member_nid(&self, room: &RoomView, root: Root, user: UserNid) -> Result<Option<EventNid>, RoomError> {
        Ok(self.tries.get(&self.store.latest(), None, room.nid, root, Slot::member(user)).await?)
    }
}
