//! Rooms that the user is in.

use std::sync::Arc;

use wardroom_rooms::{Place, Root};
use wardroom_store::Position;

use super::{
    super::connections::{Form, Told},
    RoomAnswer, Telling,
};
use crate::{
    SyncError,
    rooms::{Room, Timeline},
    sights::Part,
};

/// The client has all there is.
const HAS_ALL: usize = usize::MAX;

impl Telling<'_> {
    /// Tells a room that the user is in; nothing where the gate lets nothing be read.
    pub(super) async fn joined(&self) -> Result<Option<RoomAnswer>, SyncError> {
        let (view, entry) = (self.view, self.scoped.entry);
        let Some(reader) = self.hearing.reader(view).await? else { return Ok(None) };
        let boundary = self.before.map_or(Place::FIRST, |before| Place::after(before.up_to));
        // Where more of the newest events are wanted than the client has, all of them are told, again or not.
        let expands = self.before.is_some_and(|before| self.config.timeline_limit > before.have);
        let known = if expands { Place::FIRST } else { boundary };
        let room = Room { view, entry, reader: Some(reader), known, end: Place::after(self.now) };
        let timeline = self.hearing.timeline(&room).await?;
        let end = self.hearing.state_at_end(&room).await?;
        let known = match self.before {
            None => Root::EMPTY,
            Some(_) if view.end <= boundary => end,
            Some(_) => self.hearing.syncer.rooms.state_before(view, boundary).await?,
        };
        let states = self.states(known, end).await?;
        let mut wanted = self.wanted(&states).await?;
        let members = self.add_lazy_members(&states, &timeline, &mut wanted).await?;
        let unread = self.hearing.tally(&room).await?.total();
        let unread = (unread.highlight_count, unread.notification_count);
        let remembered = Told { have: self.have(&timeline, expands), members, unread, ..self.told(Form::Joined) };

        let mut told = self.begin();
        let mut has_news = self.before.is_none() || !timeline.items.is_empty() || timeline.limited;
        has_news |= self.tell_summary(&mut told, &states).await?;
        let mut seen = self.tell_state(&mut told, wanted);
        has_news |= !seen.is_empty();
        seen.extend(timeline.items.iter().map(|item| Arc::clone(&item.event)));
        if self.before.map_or(self.is_dm, |before| before.is_dm != self.is_dm) {
            told.value("is_dm", &self.is_dm);
            has_news = true;
        }
        if self.before.is_none_or(|before| before.bump != self.scoped.bump) {
            told.value("bump_stamp", &self.scoped.bump.get());
        }
        // Clients take counts that are not told for zero.
        told.value("highlight_count", &unread.0);
        told.value("notification_count", &unread.1);
        has_news |= self.before.is_some_and(|before| before.unread != unread);
        let older = |timeline: &Timeline| timeline.items.first().is_some_and(|item| item.place < boundary);
        if expands && older(&timeline) {
            told.value("unstable_expanded_timeline", &true);
            told.value("expanded_timeline", &true);
        }
        self.tell_timeline(&mut told, &room, &timeline).await?;
        let newest = (self.before.is_none() || expands)
            .then(|| timeline.items.iter().map(|item| item.event.pdu.event_id().to_owned()).collect());
        Ok(Some(RoomAnswer {
            room: view.nid,
            id: view.id.clone(),
            part: has_news.then(|| Part { json: told.end(), events: seen, ..Part::default() }),
            told: remembered,
            timeline: newest,
            oldest: timeline
                .items
                .first()
                .map_or(self.now, |item| Position::new(item.place.position().get().saturating_sub(1))),
        }))
    }

    /// So many of the newest events has the client got after this answer.
    fn have(&self, timeline: &Timeline, expands: bool) -> usize {
        let count = timeline.items.len();
        match self.before {
            Some(before) if !expands && !timeline.limited => before.have.saturating_add(count),
            _ if !timeline.limited => HAS_ALL,
            // Fewer are told than wanted where hidden ones lie between; looking again would not find more.
            _ => count.max(self.config.timeline_limit),
        }
    }
}
