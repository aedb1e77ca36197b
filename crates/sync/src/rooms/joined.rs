//! Rooms that the user is in.

use std::sync::Arc;

use wardroom_rooms::{MembershipEntry, Place, RoomView, Stored};

use super::{Room, state::States, summary::Summary, timeline::Timeline};
use crate::{
    SyncError,
    account_data::AccountDataNews,
    filter::Members,
    hearing::{Hearing, Span},
    response::{Events, Object},
    sights::Part,
};

impl Hearing<'_> {
    /// Tells a room that the user is in; nothing where there is no news.
    pub(super) async fn joined(
        &self,
        view: &RoomView,
        entry: &MembershipEntry,
        span: Span,
        news: &AccountDataNews,
    ) -> Result<Option<Part>, SyncError> {
        let Some(reader) = self.reader(view).await? else { return Ok(None) };
        let newly = span.has(entry.place.position());
        let known = self.known(view, entry, span).await?;
        let room = Room { view, entry, reader: Some(reader), known, end: Place::after(span.now) };
        // Somebody who left and came back missed state in between, so gets all of it again.
        let everything = newly || self.full_state;

        let timeline = self.timeline(&room).await?;
        let states = self.states(&room, &timeline).await?;
        let summary = if everything || self.summary_changed(&room, states).await? {
            Some(self.summary(&room, states).await?)
        } else {
            None
        };
        let state = self.state(&room, states, &timeline, summary.as_ref(), span, everything).await?;
        self.note_members(&room, span, &state, &timeline);
        let mut account_data = Events::default();
        self.tell_room_account_data(&mut account_data, view, newly, news).await?;
        // To those who come, everything is news.
        let heard = if newly { Span { since: None, ..span } } else { span };
        let ephemeral = self.ephemeral(&room, heard).await?;

        let has_news = everything || !timeline.items.is_empty() || timeline.limited || ephemeral.own_receipt;
        let mut told = Object::default();
        if let Some(summary) = &summary {
            told.value("summary", summary);
        }
        let (state, mut seen) = self.tell_state(state);
        let says_something = summary.is_some() || !ephemeral.events.is_empty() || !account_data.is_empty();
        if !has_news && !says_something && state.is_empty() {
            return Ok(None);
        }
        told.all_events("ephemeral", ephemeral.events);
        told.all_events("account_data", account_data);
        told.all_events(self.state_section(), state);
        told.object("timeline", self.tell_timeline(&room, &timeline).await?);
        self.tell_unread(&mut told, &room).await?;
        seen.extend(timeline.items.into_iter().map(|item| item.event));
        Ok(Some(Part { json: told.end(), events: seen, ..Part::default() }))
    }

    async fn state(
        &self,
        room: &Room<'_>,
        states: States,
        timeline: &Timeline,
        summary: Option<&Summary>,
        span: Span,
        everything: bool,
    ) -> Result<Vec<Arc<Stored>>, SyncError> {
        let mut state =
            if everything { self.whole_state(room, states).await? } else { self.state_in_gap(room, states).await? };
        state.extend(self.state_in_holes(room, states, timeline).await?);
        if self.filter.members != Members::All {
            let mut others = summary.map(Summary::heroes).unwrap_or_default().to_vec();
            if everything {
                others.push(self.session.user.clone());
            }
            let since = span.since.filter(|_| !everything);
            state.extend(self.lazy_members(room, states, timeline, &others, since).await?);
        }
        Ok(state)
    }
}
