//! Rooms that the user has left or was put out of, and invitations and knocks that ended.

use std::sync::Arc;

use wardroom_rooms::{Place, Root};

use super::{
    super::{connections::Form, lists::RoomText},
    RoomAnswer, Telling,
};
use crate::{
    SyncError,
    rooms::{Room, Timeline},
    sights::Part,
};

impl Telling<'_> {
    /// Tells a room that the user is not in any more: what came up to the leaving, and that it is over.
    pub(super) async fn left(&self) -> Result<RoomAnswer, SyncError> {
        let (view, entry) = (self.view, self.scoped.entry);
        // Who never was in the room hears of the end of the invitation, and of nothing else.
        let reader = if entry.was_joined { self.hearing.reader(view).await? } else { None };
        let end = reader.as_ref().map_or(Place::FIRST, |reader| reader.end).min(Place::after(self.now));
        let known = self.before.map_or(Place::FIRST, |before| Place::after(before.up_to)).min(end);
        let room = Room { view, entry, reader, known, end };
        let rooms = &self.hearing.syncer.rooms;
        let mut timeline = Timeline::default();
        let mut told = self.begin();
        let mut wanted = super::state::Wanted::default();
        if end > Place::FIRST {
            timeline = self.hearing.timeline(&room).await?;
            let end = rooms.state_before(view, end).await?;
            let known = match self.before {
                None => Root::EMPTY,
                Some(_) => rooms.state_before(view, known).await?,
            };
            let states = self.states(known, end).await?;
            wanted = self.wanted(&states).await?;
            self.add_lazy_members(&states, &timeline, &mut wanted).await?;
            if self.before.is_none() {
                // How many members there are is known of today alone, which is not theirs to know.
                for (field, text) in [("name", RoomText::Name), ("avatar", RoomText::Avatar)] {
                    if let Some(text) = self.hearing.syncer.room_text(view.nid, end, text).await? {
                        told.value(field, &text);
                    }
                }
            }
        }
        if entry.place >= room.end
            && let Some(own) = self.hearing.single(&room, entry.place).await?
        {
            // One's own membership is told, whatever the history visibility says: a room must not stay where it was.
            if timeline.items.is_empty() {
                timeline = Timeline::of(Some(own));
            } else {
                timeline.items.push(own);
            }
        }
        self.add_own_member(&mut wanted).await?;
        let mut seen = self.tell_state(&mut told, wanted);
        seen.extend(timeline.items.iter().map(|item| Arc::clone(&item.event)));
        told.value("bump_stamp", &self.scoped.bump.get());
        self.tell_timeline(&mut told, &room, &timeline).await?;
        Ok(RoomAnswer {
            room: view.nid,
            id: view.id.clone(),
            part: Some(Part { json: told.end(), events: seen, ..Part::default() }),
            told: self.told(Form::Left),
            timeline: None,
            oldest: self.now,
        })
    }
}
