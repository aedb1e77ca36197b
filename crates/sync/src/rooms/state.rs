//! The state that is told with a timeline: what the client needs to understand the timeline's first event, and what
//! the timeline does not tell.

use std::{collections::BTreeSet, sync::Arc};

use ruma::OwnedUserId;
use wardroom_rooms::{EventNid, Root, StateWhich, Stored, passes};
use wardroom_store::Position;

use super::{Room, timeline::Timeline};
use crate::{
    SyncError,
    filter::Members,
    hearing::{Hearing, Span},
    response::Events,
};

/// The states of a room along a timeline.
#[derive(Clone, Copy, Debug)]
pub(super) struct States {
    /// Up to where the client knows the room; [`Root::EMPTY`] where it does not.
    pub(super) known: Root,
    /// Before the timeline's first event.
    pub(super) start: Root,
    /// At its end.
    pub(super) end: Root,
}

impl Hearing<'_> {
    /// The states along a timeline.
    pub(super) async fn states(&self, room: &Room<'_>, timeline: &Timeline) -> Result<States, SyncError> {
        let end = self.state_at_end(room).await?;
        let start = timeline.items.first().map_or(end, |item| item.state_before);
        let known = match timeline.state_at_known {
            Some(root) => root,
            None => self.syncer.rooms.state_before(room.view, room.known).await?,
        };
        Ok(States { known, start, end })
    }

    /// Where the state that is told stands: before the timeline, or at its end for a client that asks for that
    /// (`use_state_after`) and then leaves the timeline's own state events alone.
    fn told_at(&self, states: States) -> Root {
        if self.state_after { states.end } else { states.start }
    }

    /// What the part of the answer is called that tells the state.
    pub(super) const fn state_section(&self) -> &'static str {
        if self.state_after { "state_after" } else { "state" }
    }

    /// The whole state; of the memberships, under lazy loading, none.
    pub(super) async fn whole_state(&self, room: &Room<'_>, states: States) -> Result<Vec<Arc<Stored>>, SyncError> {
        let which = match self.filter.members {
            Members::All => StateWhich::All,
            Members::Lazy | Members::LazyRedundant => StateWhich::WithoutMembers,
        };
        Ok(self.syncer.rooms.state(room.view.nid, self.told_at(states), which).await?)
    }

    /// What changed behind what the client knows, up to the start of a timeline or its end, memberships included: under lazy loading
    /// too, for a client has no other way to hear of them.
    pub(super) async fn state_in_gap(&self, room: &Room<'_>, states: States) -> Result<Vec<Arc<Stored>>, SyncError> {
        self.changed(room, states.known, self.told_at(states), |_| true).await
    }

    /// What changed along a timeline by events that are left out of it.
    pub(super) async fn state_in_holes(
        &self,
        room: &Room<'_>,
        states: States,
        timeline: &Timeline,
    ) -> Result<Vec<Arc<Stored>>, SyncError> {
        if !timeline.has_holes || self.state_after {
            return Ok(Vec::new());
        }
        let told: BTreeSet<EventNid> = timeline.items.iter().map(|item| item.event.nid).collect();
        self.changed(room, states.start, states.end, |nid| !told.contains(&nid)).await
    }

    async fn changed(
        &self,
        room: &Room<'_>,
        from: Root,
        to: Root,
        wanted: impl Fn(EventNid) -> bool,
    ) -> Result<Vec<Arc<Stored>>, SyncError> {
        if from == to {
            return Ok(Vec::new());
        }
        let changes = self.syncer.rooms.state_difference(room.view.nid, from, to).await?;
        let mut nids: Vec<EventNid> = changes.into_iter().filter_map(|change| change.new).collect();
        nids.retain(|nid| wanted(*nid));
        // In the order in which the events came.
        nids.sort_unstable();
        Ok(self.syncer.rooms.events(room.view.nid, &nids).await?)
    }

    /// Memberships that lazy loading tells: those of the senders of a timeline, and of these others. Where there is no
    /// `since`, the client has none of them.
    pub(super) async fn lazy_members(
        &self,
        room: &Room<'_>,
        states: States,
        timeline: &Timeline,
        others: &[OwnedUserId],
        since: Option<Position>,
    ) -> Result<Vec<Arc<Stored>>, SyncError> {
        if self.filter.members == Members::All {
            return Ok(Vec::new());
        }
        let senders = timeline.items.iter().map(|item| item.event.pdu.sender().to_owned());
        let users: BTreeSet<OwnedUserId> = senders.chain(others.iter().cloned()).collect();
        let mut members = self.syncer.rooms.member_events(room.view.nid, self.told_at(states), users.iter()).await?;
        if self.filter.members == Members::Lazy {
            self.syncer.told_members.retain_news(self.session.device_nid, room.view.nid, since, &mut members);
        }
        Ok(members)
    }

    /// Tells state events, each once, as far as the filter wants them, and which those are.
    pub(super) fn tell_state(&self, mut state: Vec<Arc<Stored>>) -> (Events, Vec<Arc<Stored>>) {
        state.sort_by_key(|stored| stored.nid);
        state.dedup_by_key(|stored| stored.nid);
        state.retain(|stored| passes(self.filter.state(), &stored.pdu));
        let mut events = Events::default();
        for stored in &state {
            self.tell_state_event(&mut events, stored);
        }
        (events, state)
    }

    /// Remembers which memberships the device is told with this answer.
    pub(super) fn note_members(&self, room: &Room<'_>, span: Span, state: &[Arc<Stored>], timeline: &Timeline) {
        if self.filter.members != Members::Lazy {
            return;
        }
        let told = state.iter().chain(timeline.items.iter().map(|item| &item.event));
        let members = told.filter(|stored| stored.pdu.membership().is_some()).map(|stored| stored.nid);
        self.syncer.told_members.note(self.session.device_nid, room.view.nid, span.now, members);
    }
}
