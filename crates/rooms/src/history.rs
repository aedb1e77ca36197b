//! Reading the history: pages of it, one event, and an event with its surroundings.

use std::{collections::BTreeSet, sync::Arc};

use ruma::{
    EventId, OwnedUserId, RoomId,
    api::client::filter::{LazyLoadOptions, RoomEventFilter},
};

use crate::{
    Action, Actor, Rooms,
    error::RoomError,
    events::Stored,
    filter,
    ids::Place,
    room::RoomView,
    timeline::{Reader, TimelineItem, TimelineRange},
    trie::{Root, StateWhich},
};

/// Events that one page may hold.
pub const PAGE_EVENTS_MAX: usize = 1_000;
/// Events that one page may look at when most do not pass the filter or are not visible.
const PAGE_SCAN_MAX: usize = 10_000;

/// A page of history that is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    /// Where to start; at the newest event, or forwards at the oldest, where none is given.
    pub from: Option<Place>,
    /// Where to stop before the limit is reached.
    pub to: Option<Place>,
    /// From new to old.
    pub backwards: bool,
    /// Events at most.
    pub limit: usize,
    /// Which events.
    pub filter: &'a RoomEventFilter,
}

/// A page of history.
#[derive(Clone, Debug)]
pub struct MessagesPage {
    /// Where it starts.
    pub start: Place,
    /// Where the next page starts; none where there is no more to see.
    pub end: Option<Place>,
    /// The events, in the direction asked for.
    pub chunk: Vec<Arc<Stored>>,
    /// Memberships of the events' senders, where the filter asks to load members lazily.
    pub members: Vec<Arc<Stored>>,
}

/// An event with its surroundings.
#[derive(Clone, Debug)]
pub struct ContextPage {
    /// The event.
    pub event: Arc<Stored>,
    /// What came before, newest first.
    pub before: Vec<Arc<Stored>>,
    /// What came after, oldest first.
    pub after: Vec<Arc<Stored>>,
    /// From where to read on backwards.
    pub start: Place,
    /// From where to read on forwards.
    pub end: Place,
    /// State at the last event returned.
    pub state: Vec<Arc<Stored>>,
}

impl Rooms {
    /// A page of a room's history.
    pub async fn messages(&self, actor: Actor<'_>, room: &RoomId, page: Page<'_>) -> Result<MessagesPage, RoomError> {
        let view = self.view(room).await?.ok_or(RoomError::NoSuchRoom)?;
        let reader = self.reader(actor, &view).await?;
        self.messages_as(&reader, &view, page).await
    }

    /// As [`Rooms::messages`], for a reader whom the gate has let in.
    pub async fn messages_as(
        &self,
        reader: &Reader,
        view: &RoomView,
        page: Page<'_>,
    ) -> Result<MessagesPage, RoomError> {
        let newest = view.end;
        let start = page.from.unwrap_or(if page.backwards { newest } else { Place::FIRST });
        let range = if page.backwards {
            TimelineRange {
                from: page.to.unwrap_or(Place::FIRST),
                to: start.min(newest),
                backwards: true,
                limit: page.limit,
            }
        } else {
            TimelineRange {
                from: start,
                to: page.to.unwrap_or(newest).min(newest),
                backwards: false,
                limit: page.limit,
            }
        };
        let (items, end) = self.seen(reader, view, range, page.filter).await?;
        let members = match &page.filter.lazy_load_options {
            LazyLoadOptions::Enabled { .. } => self.senders(view, &items).await?,
            LazyLoadOptions::Disabled => Vec::new(),
        };
        let chunk = items.into_iter().map(|item| item.event).collect();
        Ok(MessagesPage { start, end, chunk, members })
    }

    /// The events of a stretch that the reader sees and the filter lets pass, and where to go on.
    pub(crate) async fn seen(
        &self,
        reader: &Reader,
        view: &RoomView,
        mut range: TimelineRange,
        filter: &RoomEventFilter,
    ) -> Result<(Vec<TimelineItem>, Option<Place>), RoomError> {
        let limit = range.limit.clamp(1, PAGE_EVENTS_MAX);
        let (mut found, mut scanned) = (Vec::with_capacity(limit), 0);
        while range.from < range.to && scanned < PAGE_SCAN_MAX {
            range.limit = limit - found.len();
            let items = self.timeline(view.nid, range).await?;
            let (count, last) = (items.len(), items.last().map(|item| item.place));
            scanned += count;
            match last {
                Some(last) if range.backwards => range.to = last,
                Some(last) => range.from = last.next(),
                None => return Ok((found, None)),
            }
            let passing = items.into_iter().filter(|item| filter::passes(filter, &item.event.pdu)).collect();
            found.extend(self.visible(reader, view, passing).await?);
            if count < range.limit {
                return Ok((found, None));
            }
            if found.len() >= limit {
                break;
            }
        }
        let next = if range.backwards { range.to } else { range.from };
        Ok((found, (range.from < range.to).then_some(next)))
    }

    /// Memberships of the senders of these events, as they were at the newest of them.
    pub(crate) async fn senders(&self, view: &RoomView, items: &[TimelineItem]) -> Result<Vec<Arc<Stored>>, RoomError> {
        let Some(newest) = items.iter().max_by_key(|item| item.place) else { return Ok(Vec::new()) };
        let senders: BTreeSet<OwnedUserId> = items.iter().map(|item| item.event.pdu.sender().to_owned()).collect();
        let root = self.state_after(newest).await?;
        self.member_events(view.nid, root, senders.iter()).await
    }

    /// The state after an event.
    async fn state_after(&self, item: &TimelineItem) -> Result<Root, RoomError> {
        let meta = self.engine.meta(item.event.nid).await?;
        Ok(meta.map_or(item.state_before, |(meta, _)| meta.state_after))
    }

    /// One event of a room.
    pub async fn event(&self, actor: Actor<'_>, room: &RoomId, event: &EventId) -> Result<Arc<Stored>, RoomError> {
        let view = self.view(room).await?.ok_or(RoomError::NoSuchEvent)?;
        let reader = match self.reader(actor, &view).await {
            Err(RoomError::Forbidden(_)) => return Err(RoomError::NoSuchEvent),
            reader => reader?,
        };
        Ok(self.find_seen(&reader, &view, event).await?.event)
    }

    /// An event that the reader sees.
    pub(crate) async fn find_seen(
        &self,
        reader: &Reader,
        view: &RoomView,
        event: &EventId,
    ) -> Result<TimelineItem, RoomError> {
        let item = self.find_place(reader, view, event).await?;
        if self.engine.is_live(view, &item.event) { Ok(item) } else { Err(RoomError::NoSuchEvent) }
    }

    /// As [`Rooms::find_seen`], also where the event's time is over: others may relate to it, and users have read up to it.
    /// What it said is not to be told.
    pub(crate) async fn find_place(
        &self,
        reader: &Reader,
        view: &RoomView,
        event: &EventId,
    ) -> Result<TimelineItem, RoomError> {
        let nid = self.engine.event_nid(event).await?.ok_or(RoomError::NoSuchEvent)?;
        let (meta, place) = self.engine.meta(nid).await?.ok_or(RoomError::NoSuchEvent)?;
        if meta.room != view.nid {
            return Err(RoomError::NoSuchEvent);
        }
        let event = self.engine.event(view.nid, nid).await?.ok_or(RoomError::NoSuchEvent)?;
        let item = TimelineItem::by_meta(place, event, &meta);
        if self.engine.sees_place(reader, view, &item).await? { Ok(item) } else { Err(RoomError::NoSuchEvent) }
    }

    /// An event with at most `limit` others around it, and the state at the last of them.
    pub async fn context(
        &self,
        actor: Actor<'_>,
        room: &RoomId,
        event: &EventId,
        limit: usize,
        event_filter: &RoomEventFilter,
    ) -> Result<ContextPage, RoomError> {
        let view = self.view(room).await?.ok_or(RoomError::NoSuchRoom)?;
        let reader = self.reader(actor, &view).await?;
        self.context_as(&reader, &view, event, limit, event_filter).await
    }

    /// As [`Rooms::context`], for a reader whom the gate has let in.
    pub async fn context_as(
        &self,
        reader: &Reader,
        view: &RoomView,
        event: &EventId,
        limit: usize,
        event_filter: &RoomEventFilter,
    ) -> Result<ContextPage, RoomError> {
        let item = self.find_seen(reader, view, event).await?;
        let (before, after) = (limit / 2, limit - limit / 2);
        let (mut before_items, mut after_items) = (Vec::new(), Vec::new());
        let (mut start, mut end) = (item.place, item.place.next());
        if before > 0 {
            let range = TimelineRange { from: Place::FIRST, to: item.place, backwards: true, limit: before };
            before_items = self.seen(reader, view, range, event_filter).await?.0;
            start = before_items.last().map_or(start, |item| item.place);
        }
        if after > 0 {
            let range = TimelineRange { from: item.place.next(), to: view.end, backwards: false, limit: after };
            after_items = self.seen(reader, view, range, event_filter).await?.0;
            end = after_items.last().map_or(end, |item| item.place.next());
        }
        let root = self.state_after(after_items.last().unwrap_or(&item)).await?;
        let mut state = match &event_filter.lazy_load_options {
            LazyLoadOptions::Disabled => self.engine.state(view.nid, root, StateWhich::All).await?,
            LazyLoadOptions::Enabled { .. } => {
                let all = before_items.iter().chain(&after_items).chain([&item]);
                let senders: BTreeSet<OwnedUserId> = all.map(|item| item.event.pdu.sender().to_owned()).collect();
                let mut state = self.engine.state(view.nid, root, StateWhich::WithoutMembers).await?;
                state.extend(self.member_events(view.nid, root, senders.iter()).await?);
                state
            }
        };
        state.retain(|event| filter::passes(event_filter, &event.pdu));
        let events = |items: Vec<TimelineItem>| items.into_iter().map(|item| item.event).collect();
        Ok(ContextPage {
            event: item.event,
            before: events(before_items),
            after: events(after_items),
            start,
            end,
            state,
        })
    }

    /// Whether an actor may signal (receipts, typing, read markers) in a room; tells the room.
    pub async fn permit_signal(&self, actor: Actor<'_>, room: &RoomId) -> Result<Arc<RoomView>, RoomError> {
        let view = self.view(room).await?.ok_or(RoomError::NoSuchRoom)?;
        self.engine.permit(actor, &view, Action::Signal).await?;
        Ok(view)
    }
}
