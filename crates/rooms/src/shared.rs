//! Rooms that this server shares with others: what `federation` asks of the engine.

use std::sync::Arc;

use ruma::{EventId, OwnedEventId, OwnedRoomId, OwnedServerName, OwnedUserId, RoomId, ServerName, UserId};
use serde_json::value::RawValue as RawJsonValue;
use wardroom_event::{Pdu, RoomVersion};
use wardroom_store::{Batch, Position};

use crate::{
    Actor, Membership, Rooms,
    error::RoomError,
    events::Stored,
    ids::{EventNid, Place, RoomNid},
};

/// What an event is to its room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Part of the timeline.
    Timeline,
    /// Allowed where it was sent, but not by the state that the room had when it came. Clients do not see it.
    SoftFailed,
    /// Not allowed. Later events may name it all the same.
    Rejected,
    /// Known because others name it as authorization or state; where it stands in the graph is not known.
    Outlier,
    /// An outlier that its own authorization events do not allow.
    RejectedOutlier,
}

/// Where the state before a received event comes from.
#[derive(Clone, Debug)]
pub enum Before {
    /// From the events it follows, all of which have a place in the graph.
    Derived,
    /// From another server: ids of the whole state, all of them here, as outliers at least.
    Given(Vec<OwnedEventId>),
}

/// What became of a received event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// It is part of the room now.
    Accepted,
    /// See [`Standing::SoftFailed`].
    SoftFailed,
    /// See [`Standing::Rejected`].
    Rejected,
    /// It had a place before.
    Known,
}

/// What has to be here before an event can be received.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lacking {
    /// Of the events it follows, those that have no place in the graph.
    pub prev_events: Vec<OwnedEventId>,
    /// Of its authorization events, those that are not here at all.
    pub auth_events: Vec<OwnedEventId>,
}

/// A place in a timeline before which events are missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The room.
    pub room: RoomNid,
    /// The oldest event above the gap.
    pub at: Place,
    /// Events that are named from above the gap and have no place in the graph.
    pub missing: Vec<OwnedEventId>,
}

/// A room that a local user enters through another server.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The room.
    pub room: OwnedRoomId,
    /// Its version.
    pub version: RoomVersion,
    /// The user's join, as it was accepted by the other server.
    pub join: Arc<Pdu>,
    /// The state before the join.
    pub state: Vec<Arc<Pdu>>,
    /// Authorization events of the state and the join.
    pub auth_chain: Vec<Arc<Pdu>>,
}

/// An event for a user of another server to sign.
#[derive(Clone, Debug)]
pub struct Template {
    /// Version of the room.
    pub version: RoomVersion,
    /// The event, without hashes and signatures.
    pub event: Box<RawJsonValue>,
}

/// An event that has to reach other servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Where in the log.
    pub place: Place,
    /// The room.
    pub room: RoomNid,
    /// The event.
    pub event: EventNid,
    /// The servers.
    pub servers: Vec<OwnedServerName>,
}

fn not_yet<T>() -> Result<T, RoomError> {
    Err(RoomError::inconsistent("rooms are not shared yet"))
}

impl Rooms {
    /// Which of these events are not here at all, as outliers neither.
    pub async fn not_here(&self, _room: &RoomId, _ids: &[OwnedEventId]) -> Result<Vec<OwnedEventId>, RoomError> {
        not_yet()
    }

    /// What has to be here before the event can be received.
    pub async fn lacking(&self, _room: &RoomId, _event: &Pdu) -> Result<Lacking, RoomError> {
        not_yet()
    }

    /// Keeps events whose place in the graph is not known. Those that lack an authorization event, here or among the
    /// others, are left out. Each is checked against its authorization events.
    pub async fn keep_outliers(&self, _room: &RoomId, _events: Vec<Arc<Pdu>>) -> Result<(), RoomError> {
        not_yet()
    }

    /// Receives a checked event of another server.
    ///
    /// # Errors
    /// [`RoomError::NoSuchRoom`]; [`RoomError::Lacking`] when something is not here that has to be.
    pub async fn receive(&self, _room: &RoomId, _event: Arc<Pdu>, _before: Before) -> Result<Received, RoomError> {
        not_yet()
    }

    /// Receives a membership event that another server made from a [`Template`] and signed (`send_join`, `send_leave`,
    /// `send_knock`), or an invite of this server's that the invited user's server signed, and passes it on to the
    /// servers in the room but `origin`.
    ///
    /// # Errors
    /// [`RoomError::Forbidden`] when the rules or the gate do not allow it: nothing is kept then.
    pub async fn admit(&self, _room: &RoomId, _event: Arc<Pdu>, _origin: &ServerName) -> Result<(), RoomError> {
        not_yet()
    }

    /// An event of this server's that is not yet part of the room: an invite that the invited user's server has to
    /// sign first ([`Rooms::admit`] then takes it). The gate and the authorization rules have allowed it.
    pub async fn draft_member(
        &self,
        _actor: Actor<'_>,
        _room: &RoomId,
        _target: &UserId,
        _content: Box<RawJsonValue>,
    ) -> Result<Arc<Pdu>, RoomError> {
        not_yet()
    }

    /// A membership event for a user of another server to sign (`make_join`, `make_leave`, `make_knock`). Joins of
    /// restricted rooms name a local user who authorises them.
    ///
    /// # Errors
    /// [`RoomError::Forbidden`], [`RoomError::CannotAuthorizeJoin`], [`RoomError::NoSuchRoom`].
    pub async fn member_template(
        &self,
        _room: &RoomId,
        _user: &UserId,
        _membership: Membership,
    ) -> Result<Template, RoomError> {
        not_yet()
    }

    /// Makes the room one that this server is in.
    ///
    /// # Errors
    /// [`RoomError::Forbidden`] when the authorization rules do not allow the join in that state, or state and chain
    /// do not fit together.
    pub async fn enter(&self, _entry: Entry) -> Result<(), RoomError> {
        not_yet()
    }

    /// Notes an invite, a knock or the end of one of a local user, in a room that this server is not in; `stripped` is
    /// what the user may know of the room.
    pub async fn note_membership(
        &self,
        _room: &RoomId,
        _event: Arc<Pdu>,
        _stripped: Vec<Box<RawJsonValue>>,
    ) -> Result<(), RoomError> {
        not_yet()
    }

    /// Whether a user of this server is joined.
    pub async fn is_resident(&self, _room: RoomNid) -> Result<bool, RoomError> {
        not_yet()
    }

    /// The servers that have users in the room, this one too if it has.
    pub async fn servers(&self, _room: RoomNid) -> Result<Arc<[OwnedServerName]>, RoomError> {
        not_yet()
    }

    /// Other servers that have users in a room with this user.
    pub async fn servers_of_acquaintances(&self, _user: &UserId) -> Result<Vec<OwnedServerName>, RoomError> {
        not_yet()
    }

    /// Whether the room's server access control list (`m.room.server_acl`) lets a server take part.
    pub async fn admits_server(&self, _room: RoomNid, _server: &ServerName) -> Result<bool, RoomError> {
        not_yet()
    }

    /// Where an event stands, and the event; `None` if it is not here.
    pub async fn standing(&self, _id: &EventId) -> Result<Option<(RoomNid, Standing, Arc<Stored>)>, RoomError> {
        not_yet()
    }

    /// The state before an event that has a place in the graph.
    pub async fn state_before_event(&self, _room: &RoomId, _event: &EventId) -> Result<Vec<Arc<Stored>>, RoomError> {
        not_yet()
    }

    /// The authorization chain of events of a room, without those events unless others of them need them.
    pub async fn auth_chain(&self, _room: RoomNid, _of: &[EventNid]) -> Result<Vec<EventNid>, RoomError> {
        not_yet()
    }

    /// Ids of events of a room.
    pub async fn event_ids(&self, _events: &[EventNid]) -> Result<Vec<OwnedEventId>, RoomError> {
        not_yet()
    }

    /// The forward extremities.
    pub async fn extremities(&self, _room: &RoomId) -> Result<Vec<OwnedEventId>, RoomError> {
        not_yet()
    }

    /// The newest gap at or below `from` and above `down_to`.
    pub async fn gap(&self, _room: RoomNid, _from: Place, _down_to: Place) -> Result<Option<Gap>, RoomError> {
        not_yet()
    }

    /// Puts checked events of the past, oldest first, into a gap. Says what is left of the gap.
    pub async fn fill_gap(&self, _gap: &Gap, _events: Vec<(Arc<Pdu>, Before)>) -> Result<Option<Gap>, RoomError> {
        not_yet()
    }

    /// Users of this server who are joined to a room.
    pub async fn local_members(&self, _room: RoomNid) -> Result<Vec<OwnedUserId>, RoomError> {
        not_yet()
    }

    /// Events that have to reach other servers, from a place on, oldest first.
    pub async fn outgoing(&self, _from: Place, _up_to: Position, _limit: usize) -> Result<Vec<Outgoing>, RoomError> {
        not_yet()
    }

    /// Drops an entry of [`Rooms::outgoing`] in the batch that takes it over.
    pub fn taken_over(&self, _batch: &mut Batch, _entry: &Outgoing) {}
}
