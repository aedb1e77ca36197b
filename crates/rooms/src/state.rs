//! Reading a room's state and members.

use std::sync::Arc;

use ruma::{OwnedRoomId, OwnedUserId, RoomId, UserId, events::StateEventType};
use serde::Deserialize;

use crate::{
    Action, Actor, Rooms,
    error::RoomError,
    events::Stored,
    ids::{EventNid, Place, RoomNid, Slot, UserNid},
    membership::MemberProfile,
    room::RoomView,
    tables::Membership,
    timeline::TimelineRange,
    trie::{Root, StateChange, StateWhich},
};

/// Members that one answer lists.
const MEMBERS_MAX: usize = 100_000;

/// A state that somebody may read.
#[derive(Clone, Debug)]
pub struct StateAt {
    /// The room.
    pub room: Arc<RoomView>,
    /// The state.
    pub root: Root,
}

impl Rooms {
    /// The newest state that the actor may see: the current one, or the one at the end of the actor's membership.
    pub async fn readable_state(&self, actor: Actor<'_>, room: &RoomId) -> Result<StateAt, RoomError> {
        let room = self.view(room).await?.ok_or(RoomError::NoSuchRoom)?;
        let reader = self.reader(actor, &room).await?;
        let world_readable = room.visibility == crate::Visibility::WorldReadable;
        let root = if reader.is_joined() || world_readable || reader.end == Place::FIRST {
            room.state
        } else {
            self.state_before(&room, reader.end).await?
        };
        Ok(StateAt { room, root })
    }

    /// The room's state at a boundary of its timeline.
    pub async fn state_before(&self, room: &RoomView, boundary: Place) -> Result<Root, RoomError> {
        let range = TimelineRange { from: boundary, to: Place::LAST, backwards: false, limit: 1 };
        let next = self.engine.timeline_roots(room.nid, range).await?;
        Ok(next.first().map_or(room.state, |(_, root)| *root))
    }

    /// All state that the actor may see.
    pub async fn current_state(&self, actor: Actor<'_>, room: &RoomId) -> Result<Vec<Arc<Stored>>, RoomError> {
        let at = self.readable_state(actor, room).await?;
        self.engine.state(at.room.nid, at.root, StateWhich::All).await
    }

    /// One state event that the actor may see.
    pub async fn one_state(
        &self,
        actor: Actor<'_>,
        room: &RoomId,
        kind: &StateEventType,
        state_key: &str,
    ) -> Result<Option<Arc<Stored>>, RoomError> {
        let at = self.readable_state(actor, room).await?;
        self.engine.state_event(at.room.nid, at.root, kind, state_key).await
    }

    /// Members of a room, now or at a boundary of the timeline, with or without some membership.
    pub async fn member_list(
        &self,
        actor: Actor<'_>,
        room: &RoomId,
        at: Option<Place>,
        membership: Option<&str>,
        not_membership: Option<&str>,
    ) -> Result<Vec<Arc<Stored>>, RoomError> {
        let StateAt { room, mut root } = self.readable_state(actor, room).await?;
        if let Some(at) = at {
            let reader = self.reader(actor, &room).await?;
            root = self.state_before(&room, at.min(reader.end)).await?;
        }
        let mut members = self.engine.state(room.nid, root, StateWhich::Members).await?;
        // Both conditions together let pass what meets either (specification, same endpoint).
        if membership.is_some() || not_membership.is_some() {
            members.retain(|member| {
                let now = member.pdu.membership().map(|now| now.to_string());
                membership.is_some_and(|wanted| now.as_deref() == Some(wanted))
                    || not_membership.is_some_and(|not| now.as_deref() != Some(not))
            });
        }
        Ok(members)
    }

    /// Who is joined, with the names they have in the room.
    pub async fn joined_members(
        &self,
        actor: Actor<'_>,
        room: &RoomId,
    ) -> Result<Vec<(OwnedUserId, MemberProfile)>, RoomError> {
        #[derive(Deserialize)]
        struct Content {
            displayname: Option<String>,
            avatar_url: Option<String>,
        }
        let room = self.view(room).await?.ok_or(RoomError::NoSuchRoom)?;
        let entry = self.engine.permit(actor, &room, Action::Read).await?;
        if entry.is_none_or(|entry| entry.membership != Membership::Join) {
            return Err(RoomError::Forbidden("You are not in this room.".to_owned()));
        }
        let users = self.members(room.nid, Membership::Join, None, MEMBERS_MAX).await?;
        let slots: Vec<Slot> = users.into_iter().map(Slot::member).collect();
        let events = self.events_at(room.nid, room.state, &slots).await?;
        let named = events.into_iter().filter_map(|event| {
            let user = OwnedUserId::try_from(event.pdu.state_key()?).ok()?;
            let profile = event.pdu.content_as::<Content>().ok();
            let profile = profile
                .map(|content| MemberProfile { displayname: content.displayname, avatar_url: content.avatar_url });
            Some((user, profile.unwrap_or_default()))
        });
        Ok(named.collect())
    }

    /// The rooms a user is joined to.
    pub async fn joined_rooms(&self, user: UserNid) -> Result<Vec<OwnedRoomId>, RoomError> {
        let mut rooms = Vec::new();
        for entry in self.memberships(user).await? {
            if entry.membership == Membership::Join {
                rooms.push(self.view_of(entry.room).await?.id.clone());
            }
        }
        Ok(rooms)
    }

    /// A state of a room, or part of it. Ungated.
    pub async fn state(&self, room: RoomNid, root: Root, which: StateWhich) -> Result<Vec<Arc<Stored>>, RoomError> {
        self.engine.state(room, root, which).await
    }

    /// One event of a state. Ungated.
    pub async fn state_event(
        &self,
        room: RoomNid,
        root: Root,
        kind: &StateEventType,
        state_key: &str,
    ) -> Result<Option<Arc<Stored>>, RoomError> {
        self.engine.state_event(room, root, kind, state_key).await
    }

    /// The events at some places of a state, where there are any. Ungated.
    pub async fn events_at(&self, room: RoomNid, root: Root, slots: &[Slot]) -> Result<Vec<Arc<Stored>>, RoomError> {
        let store = self.engine.store.latest();
        let mut nids: Vec<EventNid> = Vec::with_capacity(slots.len());
        for slot in slots {
            nids.extend(self.engine.tries.get(&store, None, room, root, *slot).await?);
        }
        Ok(self.engine.events(room, &nids).await?.into_iter().flatten().collect())
    }

    /// The membership events of some users in a state. Ungated.
    pub async fn member_events<'a>(
        &self,
        room: RoomNid,
        root: Root,
        users: impl Iterator<Item = &'a OwnedUserId>,
    ) -> Result<Vec<Arc<Stored>>, RoomError> {
        let mut slots = Vec::new();
        for user in users {
            slots.extend(self.user_slot(user).await?);
        }
        self.events_at(room, root, &slots).await
    }

    /// The place of an event type and state key in states; `None` where no room ever had a state event there.
    pub async fn slot(&self, kind: &StateEventType, state_key: &str) -> Result<Option<Slot>, RoomError> {
        self.engine.slot(kind, state_key).await
    }

    async fn user_slot(&self, user: &UserId) -> Result<Option<Slot>, RoomError> {
        self.engine.slot(&StateEventType::RoomMember, user.as_str()).await
    }

    /// What differs between two states of a room, at a cost in proportion to what does. Ungated.
    pub async fn state_difference(&self, room: RoomNid, from: Root, to: Root) -> Result<Vec<StateChange>, RoomError> {
        Ok(self.engine.tries.difference(&self.engine.store.latest(), None, room, from, to).await?)
    }

    /// Events of a room by number; those that are gone are left out. Ungated.
    pub async fn events(&self, room: RoomNid, nids: &[EventNid]) -> Result<Vec<Arc<Stored>>, RoomError> {
        Ok(self.engine.events(room, nids).await?.into_iter().flatten().collect())
    }

    /// Where an event stands. Ungated.
    pub async fn place_of(&self, event: &ruma::EventId) -> Result<Option<(RoomNid, Place)>, RoomError> {
        match self.engine.event_nid(event).await? {
            Some(nid) => Ok(self.engine.meta(nid).await?.map(|(meta, place)| (meta.room, place))),
            None => Ok(None),
        }
    }
}
