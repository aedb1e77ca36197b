//! What the user has stored for all of their devices, globally and with rooms (MSC3959).

use wardroom_rooms::RoomNid;

use super::{Cursors, Extending, Extensions};
use crate::{
    SyncError,
    account_data::AccountDataNews,
    hearing::Span,
    response::{Events, Object},
};

impl Extending<'_> {
    pub(super) async fn account_data(&mut self, told: &mut Extensions, cursors: &mut Cursors) -> Result<(), SyncError> {
        let asked = &self.asked.request.body.extensions.account_data;
        if !asked.is_on() {
            return Ok(());
        }
        let span = Span { since: cursors.account_data, now: self.sight.now };
        let has_moved = span.since.is_none_or(|since| self.asked.moved(self.hearing.user.watch(), since));
        let news = if has_moved { self.hearing.account_data_news(span).await? } else { AccountDataNews::default() };
        let mut global = Events::default();
        self.hearing.tell_account_data(&mut global, news.global());
        let mut rooms = Object::default();
        let mut missed: Vec<RoomNid> = news.rooms().collect();
        for scoped in self.rooms(asked) {
            let room = scoped.entry.room;
            // A room that is not told yet gets its data with the rest.
            let Some(has_rest) = self.told(room).map(|told| told.account_data) else { continue };
            missed.retain(|missed| *missed != room);
            if has_rest && !news.has_room(room) {
                continue;
            }
            let view = self.hearing.syncer.rooms.view_of(room).await?;
            let mut events = Events::default();
            self.hearing.tell_room_account_data(&mut events, &view, !has_rest, &news).await?;
            if !events.is_empty() {
                rooms.raw(view.id.as_str(), &events.end());
            }
            if !has_rest {
                self.remember(room, |told| told.account_data = true);
            }
        }
        // Rooms that were told before and are out of sight now get all of it when they come back.
        for room in missed {
            self.remember(room, |told| told.account_data = false);
        }
        cursors.account_data = Some(span.now);
        let mut section = Object::default();
        if !global.is_empty() {
            section.raw("global", &global.end());
        }
        section.object("rooms", rooms);
        told.has_news |= !section.is_empty();
        told.object.object("account_data", section);
        Ok(())
    }
}
