//! Rooms that the user has left or was put out of, and invitations and knocks that ended.

use std::sync::Arc;

use wardroom_rooms::{MembershipEntry, Place, RoomView, Stored, TimelineItem, passes};

use super::{Room, timeline::Timeline};
use crate::{
    SyncError,
    account_data::AccountDataNews,
    hearing::{Hearing, Span},
    response::{Events, Object},
    sights::Part,
};

impl Hearing<'_> {
    /// Tells a room that the user is not in any more: what came up to the leaving.
    pub(super) async fn left(
        &self,
        view: &RoomView,
        entry: &MembershipEntry,
        span: Span,
        news: &AccountDataNews,
    ) -> Result<Option<Part>, SyncError> {
        // Who never was in the room hears of the end of the invitation, and of nothing else.
        let reader = if entry.was_joined { self.reader(view).await? } else { None };
        let newly = span.has(entry.place.position());
        let end = reader.as_ref().map_or(Place::FIRST, |reader| reader.end).min(Place::after(span.now));
        let known = match span.since {
            // The leaving itself was told: what changed since is the user's membership, say from leave to ban.
            Some(since) if end <= Place::after(since) => end,
            _ => self.known(view, entry, span).await?,
        };
        let room = Room { view, entry, reader, known, end };
        let mut state = Vec::new();
        let mut timeline = Timeline::default();
        if room.end > Place::FIRST {
            timeline = self.timeline(&room).await?;
            state = self.left_state(&room, &timeline, span).await?;
        }
        if newly
            && entry.place >= room.end
            && let Some(own) = self.own_end(&room).await?
        {
            // One's own membership is told, whatever the history visibility says: a room must not stay where it was.
            if timeline.items.is_empty() {
                timeline = Timeline::of(Some(own));
            } else {
                timeline.items.push(own);
            }
        }
        let mut account_data = Events::default();
        let everything = span.since.is_none() || self.full_state;
        self.tell_room_account_data(&mut account_data, view, everything, news).await?;
        let mut told = Object::default();
        let (state, mut seen) = self.tell_state(state);
        told.all_events(self.state_section(), state);
        told.events("account_data", account_data);
        told.object("timeline", self.tell_timeline(&room, &timeline).await?);
        seen.extend(timeline.items.into_iter().map(|item| item.event));
        Ok(Some(Part { json: told.end(), events: seen, ..Part::default() }))
    }

    /// The user's own membership event. Of a room that this server never was in, it is all that there is.
    async fn own_end(&self, room: &Room<'_>) -> Result<Option<TimelineItem>, SyncError> {
        let own = self.single(room, room.entry.place).await?;
        if own.is_some() || room.entry.was_joined {
            return Ok(own);
        }
        let event = self.syncer.rooms.own_end(room.entry).await?;
        Ok(event.filter(|item| passes(self.filter.timeline(), &item.event.pdu)))
    }

    async fn left_state(
        &self,
        room: &Room<'_>,
        timeline: &Timeline,
        span: Span,
    ) -> Result<Vec<Arc<Stored>>, SyncError> {
        let states = self.states(room, timeline).await?;
        let everything = room.known == Place::FIRST || self.full_state;
        let mut state =
            if everything { self.whole_state(room, states).await? } else { self.state_in_gap(room, states).await? };
        state.extend(self.state_in_holes(room, states, timeline).await?);
        let others = if everything { vec![self.session.user.clone()] } else { Vec::new() };
        let since = span.since.filter(|_| !everything);
        state.extend(self.lazy_members(room, states, timeline, &others, since).await?);
        Ok(state)
    }
}
