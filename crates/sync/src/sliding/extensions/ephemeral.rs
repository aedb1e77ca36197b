//! Who has read up to where (MSC3960), and who types (MSC3961).

use std::collections::BTreeSet;

use ruma::{OwnedEventId, events::receipt::ReceiptThread};
use wardroom_rooms::{Place, Receipt, RoomView};

use super::{Extending, Extensions, InScope};
use crate::{
    SyncError,
    hearing::Span,
    response::{Events, Object},
    rooms::Room,
};

impl Extending<'_> {
    pub(super) async fn ephemeral(&mut self, told: &mut Extensions) -> Result<(), SyncError> {
        let extensions = &self.asked.request.body.extensions;
        if extensions.receipts.is_on() {
            let mut rooms = Object::default();
            for scoped in self.rooms(&extensions.receipts) {
                self.receipts(&mut rooms, scoped).await?;
            }
            told.has_news |= !rooms.is_empty();
            let mut section = Object::default();
            section.object("rooms", rooms);
            told.object.object("receipts", section);
        }
        if extensions.typing.is_on() {
            let mut rooms = Object::default();
            for scoped in self.rooms(&extensions.typing) {
                self.typing(&mut rooms, scoped).await?;
            }
            told.has_news |= !rooms.is_empty();
            let mut section = Object::default();
            section.object("rooms", rooms);
            told.object.object("typing", section);
        }
        Ok(())
    }

    async fn receipts(&mut self, rooms: &mut Object, scoped: &InScope<'_>) -> Result<(), SyncError> {
        let (room, now) = (scoped.entry.room, self.sight.now);
        let Some(told) = self.told(room) else { return Ok(()) };
        let since = told.receipts;
        let grown = self.answers.get(&room).and_then(|answer| Some((answer, answer.timeline.as_ref()?)));
        if grown.is_none() && since.is_some_and(|since| !self.asked.moved(room.watch(), since)) {
            return Ok(());
        }
        let engine = &self.hearing.syncer.rooms;
        let mut receipts = match since {
            Some(since) => engine.receipts_since(room, since, now).await?,
            None if grown.is_some() => engine.own_receipts(self.hearing.user, room).await?,
            None => engine.receipts(room).await?,
        };
        if let Some((answer, timeline)) = grown {
            // With events that are new to the client come their receipts, which are younger than they; with history
            // that it does not have, none.
            let timeline: BTreeSet<&OwnedEventId> = timeline.iter().collect();
            let more = engine.receipts_since(room, answer.oldest, now).await?;
            receipts.extend(more.into_iter().filter(|receipt| timeline.contains(&receipt.event_id)));
        }
        let view = engine.view_of(room).await?;
        let mut events = Events::default();
        self.hearing.tell_receipts(&mut events, &each_once(receipts));
        if let Some(event) = events.only() {
            rooms.raw(view.id.as_str(), &event);
        }
        self.remember(room, |told| told.receipts = Some(now));
        Ok(())
    }

    async fn typing(&mut self, rooms: &mut Object, scoped: &InScope<'_>) -> Result<(), SyncError> {
        let (room, now) = (scoped.entry.room, self.sight.now);
        let Some(told) = self.told(room) else { return Ok(()) };
        let span = Span { since: told.typing, now };
        if span.since.is_some_and(|since| !self.asked.moved(room.watch(), since)) {
            return Ok(());
        }
        let view = self.hearing.syncer.rooms.view_of(room).await?;
        let mut events = Events::default();
        self.hearing.tell_typing(&mut events, &place(&view, scoped, now), span);
        if let Some(event) = events.only() {
            rooms.raw(view.id.as_str(), &event);
        }
        self.remember(room, |told| told.typing = Some(now));
        Ok(())
    }
}

fn place<'a>(view: &'a RoomView, scoped: &InScope<'a>, now: wardroom_store::Position) -> Room<'a> {
    let end = Place::after(now);
    Room { view, entry: scoped.entry, reader: None, known: end, end }
}

/// Of several receipts of a user for one event, the one that says most: here a room has one event of receipts, in which
/// there is place for one of them.
fn each_once(mut receipts: Vec<Receipt>) -> Vec<Receipt> {
    let rank = |thread: &ReceiptThread| match thread {
        ReceiptThread::Unthreaded => 0,
        ReceiptThread::Main => 1,
        _ => 2,
    };
    let mut seen = BTreeSet::new();
    receipts.sort_by_key(|receipt| rank(&receipt.thread));
    receipts.retain(|receipt| seen.insert((receipt.event_id.clone(), receipt.kind.as_str().to_owned(), receipt.user)));
    receipts
}
