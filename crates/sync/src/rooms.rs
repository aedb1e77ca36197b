//! What is told of one room, by the user's membership.

mod ephemeral;
mod joined;
mod left;
mod state;
mod stripped;
mod summary;
mod timeline;

pub(crate) use self::timeline::Timeline;

use ruma::OwnedRoomId;
use wardroom_rooms::{Membership, MembershipEntry, Place, Reader, RoomError, RoomView, Root};

use crate::{
    SyncError,
    account_data::AccountDataNews,
    hearing::{Hearing, Span},
    sights::Part,
};

/// A room's part of the answer.
#[derive(Debug)]
pub(crate) enum Told {
    Join(Part),
    Invite(Part),
    Knock(Part),
    Leave(Part),
}

/// A room that is looked at, and the listening user's relation to it.
#[derive(Debug)]
pub(crate) struct Room<'a> {
    pub(crate) view: &'a RoomView,
    pub(crate) entry: &'a MembershipEntry,
    /// How far the user may read; none where the gate lets nothing be read.
    pub(crate) reader: Option<Reader>,
    /// Up to where the client knows the room already.
    pub(crate) known: Place,
    /// Up to where the room is told.
    pub(crate) end: Place,
}

impl Hearing<'_> {
    /// Tells a room, if the filter wants it and there is something to tell.
    pub(crate) async fn room(
        &self,
        entry: &MembershipEntry,
        span: Span,
        news: &AccountDataNews,
    ) -> Result<Option<(OwnedRoomId, Told)>, SyncError> {
        let view = match self.syncer.rooms.view_of(entry.room).await {
            Err(RoomError::NoSuchRoom) => return self.deleted(entry, span).await,
            view => view?,
        };
        if !self.filter.admits_room(&view.id) {
            return Ok(None);
        }
        let told = match entry.membership {
            Membership::Join => self.joined(&view, entry, span, news).await?.map(Told::Join),
            Membership::Invite => self.invited(entry).await?.map(Told::Invite),
            Membership::Knock => Some(Told::Knock(self.knocked(entry).await?)),
            Membership::Leave | Membership::Ban => self.left(&view, entry, span, news).await?.map(Told::Leave),
        };
        Ok(told.map(|told| (view.id.clone(), told)))
    }

    /// Tells that the user is not any more in a room that was deleted; of the room itself nothing is left to tell.
    async fn deleted(&self, entry: &MembershipEntry, span: Span) -> Result<Option<(OwnedRoomId, Told)>, SyncError> {
        let newly = span.since.is_some() && span.has(entry.place.position());
        let room = self.syncer.rooms.room_id(entry.room).await?;
        let room = room.filter(|room| newly && self.filter.admits_room(room));
        let nothing = br#"{"state":{"events":[]},"timeline":{"events":[],"limited":false}}"#;
        Ok(room.map(|room| (room, Told::Leave(Part { json: nothing.to_vec(), ..Part::default() }))))
    }

    /// Puts reading the room to the gate.
    pub(crate) async fn reader(&self, view: &RoomView) -> Result<Option<Reader>, SyncError> {
        match self.syncer.rooms.reader(self.actor(), view).await {
            Ok(reader) => Ok(Some(reader)),
            Err(RoomError::Forbidden(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Up to where the client knows a room: up to `since`, unless the user was not joined then.
    async fn known(&self, view: &RoomView, entry: &MembershipEntry, span: Span) -> Result<Place, SyncError> {
        let Some(since) = span.since else { return Ok(Place::FIRST) };
        let boundary = Place::after(since);
        if entry.place < boundary && entry.membership == Membership::Join {
            return Ok(boundary);
        }
        if !entry.was_joined {
            return Ok(Place::FIRST);
        }
        let root = self.syncer.rooms.state_before(view, boundary).await?;
        let then = self.own_member_event(view.nid, root).await?.and_then(|member| member.pdu.membership());
        let joined = then.is_some_and(|then| Membership::from(&then) == Membership::Join);
        Ok(if joined { boundary } else { Place::FIRST })
    }

    /// The room's state at the end of what is told.
    pub(crate) async fn state_at_end(&self, room: &Room<'_>) -> Result<Root, SyncError> {
        if room.view.end <= room.end {
            return Ok(room.view.state);
        }
        Ok(self.syncer.rooms.state_before(room.view, room.end).await?)
    }
}
