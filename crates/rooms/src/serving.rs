//! What other servers may read of a room, and how their questions about its graph are answered (specification,
//! server-server API, sections "Backfilling and retrieving missing events" and "Retrieving events").
//!
//! Whether a server takes part in the room at all is asked before ([`Rooms::admits_server`], [`Rooms::servers`]). Here
//! it is about single events: a server gets an event whole if one of its users may see it by the history visibility
//! rules, and in its redacted form otherwise, which still shows where the event stands in the graph.

mod doors;
mod erased;
mod state;
mod walk;

use std::{collections::HashMap, sync::Arc};

use ruma::{OwnedServerName, ServerName, UserId, events::TimelineEventType};
use wardroom_event::{Pdu, redact};
use wardroom_store::Scan;

pub(crate) use self::erased::ERASED;
pub use self::{doors::Admission, state::StateServed, walk::WALK_EVENTS_MAX};
use crate::{
    Engine, Rooms,
    error::RoomError,
    events::Stored,
    ids::{NS_USER, RoomNid, Slot, UserNid},
    room::RoomView,
    tables::{MEMBERS, Membership},
    trie::Root,
    visibility::Visibility,
};

/// Members of a room that are looked at for users of a server.
const MEMBERS_MAX: usize = 200_000;
/// Users of one server whose memberships decide what the server sees.
const SERVER_USERS_MAX: usize = 10_000;

/// A server that reads a room, and what was found out about it on the way: to be used for one request.
#[derive(Clone, Debug)]
pub struct ServerReader {
    room: Arc<RoomView>,
    server: OwnedServerName,
    /// Users of the server that have any membership of the room, the joined ones first; read when it is needed.
    users: Option<Vec<UserNid>>,
    /// Whether the server has a member with at least this membership in a state.
    present: HashMap<(Root, bool), bool>,
}

impl ServerReader {
    /// A server that reads a room.
    pub fn new(room: Arc<RoomView>, server: &ServerName) -> Self {
        Self { room, server: server.to_owned(), users: None, present: HashMap::new() }
    }

    /// The room.
    pub fn room(&self) -> &RoomView {
        &self.room
    }

    fn has(&self, user: &str) -> bool {
        <&UserId>::try_from(user).is_ok_and(|user| user.server_name() == self.server)
    }
}

impl Rooms {
    /// Whether a server gets an event whole. Events that have no place in the graph, it does not.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn server_sees(&self, reader: &mut ServerReader, event: &Stored) -> Result<bool, RoomError> {
        match self.engine.any_meta(event.nid).await? {
            Some((meta, _)) if meta.room == reader.room.nid && meta.standing.is_placed() => {
                self.engine.server_sees(reader, &event.pdu, meta.state_before).await
            }
            _ => Ok(false),
        }
    }

    /// Events as a server gets them: whole or redacted, in the order given; without those whose time is over.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn served(
        &self,
        reader: &mut ServerReader,
        events: Vec<Arc<Stored>>,
    ) -> Result<Vec<Arc<Pdu>>, RoomError> {
        let mut served = Vec::with_capacity(events.len());
        let room = Arc::clone(&reader.room);
        for event in events.into_iter().filter(|event| self.engine.is_served(&room, event)) {
            let erased = self.engine.is_erased(event.pdu.sender()).await?;
            if !erased && self.server_sees(reader, &event).await? {
                served.push(Arc::clone(&event.pdu));
            } else {
                let redacted = redact(&event.pdu, None);
                served.push(Arc::new(redacted.map_err(|_| RoomError::inconsistent("event that does not parse"))?));
            }
        }
        Ok(served)
    }
}

impl Engine {
    /// Whether a server gets an event whole, given the state before it (client-server API, module "Room history
    /// visibility": what one of its users may see, the server may).
    pub(crate) async fn server_sees(
        &self,
        reader: &mut ServerReader,
        pdu: &Pdu,
        before: Root,
    ) -> Result<bool, RoomError> {
        let mut visibility = self.visibility_at(reader.room.nid, before).await?;
        if *pdu.kind() == TimelineEventType::RoomHistoryVisibility && pdu.state_key() == Some("") {
            // A change of the visibility is seen under the more permissive of the two (same module).
            visibility = visibility.max(Visibility::of(Some(pdu)));
        }
        // Who asks has a user in the room now, or the room is world-readable; `shared` asks for no more.
        if visibility >= Visibility::Shared || reader.has(pdu.sender().as_str()) {
            return Ok(true);
        }
        // A membership event is seen by the one whom it makes a member, or asks in.
        let own = pdu.membership().filter(|_| reader.has(pdu.state_key().unwrap_or_default()));
        if own.is_some() {
            return Ok(true);
        }
        self.has_member(reader, before, visibility == Visibility::Invited).await
    }

    /// Whether a user of the server was joined in a state, or at least invited.
    async fn has_member(
        &self,
        reader: &mut ServerReader,
        state: Root,
        invited_counts: bool,
    ) -> Result<bool, RoomError> {
        if let Some(known) = reader.present.get(&(state, invited_counts)) {
            return Ok(*known);
        }
        let room = reader.room.nid;
        if reader.users.is_none() {
            let users = self.users_of_server(room, &reader.server, None).await?;
            reader.users = Some(users);
        }
        let mut found = None;
        for (index, user) in reader.users.iter().flatten().enumerate() {
            let event = self.event_at(room, state, Slot::member(*user)).await?;
            let then = event.and_then(|event| event.pdu.membership()).as_ref().map(Membership::from);
            if then == Some(Membership::Join) || (invited_counts && then == Some(Membership::Invite)) {
                found = Some(index);
                break;
            }
        }
        // Who was there then is likely to have been there before and after.
        if let (Some(index), Some(users)) = (found, &mut reader.users) {
            users.swap(0, index);
        }
        reader.present.insert((state, invited_counts), found.is_some());
        Ok(found.is_some())
    }

    /// Users of a server with a membership of a room now, of any kind or of one.
    pub(crate) async fn users_of_server(
        &self,
        room: RoomNid,
        server: &ServerName,
        membership: Option<Membership>,
    ) -> Result<Vec<UserNid>, RoomError> {
        let scan = match membership {
            Some(membership) => Scan::prefix(&(room, membership as u8)),
            None => Scan::prefix(&room),
        };
        let keys = self.store.latest().scan_keys(&MEMBERS, scan.limit(MEMBERS_MAX)).await?;
        let numbers: Vec<u64> = keys.into_iter().map(|(_, _, user)| user.get()).collect();
        let names = self.store.interner().resolve_many(NS_USER, &numbers).await?;
        let of_server = numbers.into_iter().zip(names).filter(|(_, name)| {
            let user = name.as_deref().and_then(|name| <&UserId>::try_from(name).ok());
            user.is_some_and(|user| user.server_name() == server)
        });
        Ok(of_server.take(SERVER_USERS_MAX).map(|(nid, _)| UserNid::new(nid)).collect())
    }
}

#[cfg(test)]
mod tests;
