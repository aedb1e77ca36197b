//! What a user was notified of, newest first (specification, `GET /notifications`).
//!
//! Nothing is kept for it: the timelines of the user's rooms are read backwards together, and each event is put to the
//! user's rules as they are now. So what was redacted or has expired is not listed, and a list costs nothing until
//! somebody asks for it.

use std::{
    collections::{BinaryHeap, VecDeque},
    sync::Arc,
};

use ruma::{OwnedRoomId, push::Action};
use serde_json::value::RawValue;
use wardroom_accounts::IgnoredUsers;
use wardroom_rooms::{
    Actor, Membership, MembershipEntry, Place, Reader, RoomError, RoomView, Stored, TimelineItem, TimelineRange,
};

use crate::{Push, PushError, Whose, service::Inner, tally::Reads, unread::hides};

/// Notifications that one page holds.
pub const NOTIFICATIONS_PAGE_MAX: usize = 500;
/// Events that one page looks at; where few of them notify, a page is short and the next one goes on.
const EVENTS_LOOKED_AT_MAX: usize = 2_000;
/// Events of a room read at a time.
const EVENTS_PER_READ: usize = 32;
/// Events older than 30 days are not listed.
const AGE_MAX_MS: u64 = 30 * 24 * 60 * 60 * 1_000;

/// Which notifications.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Only {
    /// All.
    #[default]
    All,
    /// Those that stand out.
    Highlights,
}

/// One notification.
#[derive(Debug)]
pub struct Notification {
    /// What the rule that matched does.
    pub actions: Vec<Action>,
    /// The event, as its reader gets it, without the room's id.
    pub event: Box<RawValue>,
    /// The same event, as it is kept.
    pub stored: Arc<Stored>,
    /// Whether the user has read it.
    pub read: bool,
    /// The room.
    pub room: OwnedRoomId,
    /// When it came, in milliseconds since the epoch.
    pub ts_ms: u64,
}

/// A page of notifications.
#[derive(Debug, Default)]
pub struct Notifications {
    /// Newest first.
    pub chunk: Vec<Notification>,
    /// Where the next page goes on, if there may be more.
    pub next: Option<Place>,
}

/// A room whose timeline is read backwards.
struct Room {
    view: Arc<RoomView>,
    /// None for an invitation, which the invited sees whatever else of the room they may not.
    reader: Option<Reader>,
    reads: Reads,
    /// Boundaries of what is not read yet.
    from: Place,
    to: Place,
    /// What was read, newest first.
    read: VecDeque<TimelineItem>,
}

/// What comes next of a room: at this place, or somewhere before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Next {
    place: Place,
    room: usize,
}

impl Push {
    /// A page of what a user was notified of, from new to old, before the boundary `from`.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn notifications(
        &self,
        actor: Actor<'_>,
        from: Option<Place>,
        limit: usize,
        only: Only,
    ) -> Result<Notifications, PushError> {
        let whose = Whose { user: actor.user, nid: actor.nid };
        let (inner, limit) = (&self.0, limit.clamp(1, NOTIFICATIONS_PAGE_MAX));
        let ignored = inner.unread.ignored_by(whose).await?;
        let mut rooms = Vec::new();
        for entry in inner.rooms.memberships(actor.nid).await? {
            rooms.extend(inner.readable(actor, &entry, from.unwrap_or(Place::LAST)).await?);
        }
        let mut next: BinaryHeap<Next> =
            rooms.iter().enumerate().map(|(index, room)| Next { place: room.to, room: index }).collect();
        let oldest_ms = inner.clock.now_ms().saturating_sub(AGE_MAX_MS);
        let (mut page, mut looked_at) = (Notifications::default(), 0);
        while let Some(Next { room: index, .. }) = next.pop() {
            let Some(room) = rooms.get_mut(index) else { continue };
            let Some(item) = room.read.pop_front() else {
                // The place was that of a boundary: what is behind it has to be read first.
                if room.from < room.to {
                    room.read_on(inner).await?;
                    next.extend(room.read.front().map(|item| Next { place: item.place, room: index }));
                }
                continue;
            };
            let place = item.place;
            if item.event.pdu.origin_server_ts() < oldest_ms {
                // And so is what came before it in this room.
                continue;
            }
            looked_at += 1;
            page.chunk.extend(inner.notified(actor, room, item, &ignored, only).await?);
            next.push(Next { place: room.read.front().map_or(room.to, |item| item.place), room: index });
            if page.chunk.len() >= limit || looked_at >= EVENTS_LOOKED_AT_MAX {
                page.next = Some(place);
                break;
            }
            tokio::task::consume_budget().await;
        }
        Ok(page)
    }
}

impl Room {
    async fn read_on(&mut self, inner: &Inner) -> Result<(), PushError> {
        let range = TimelineRange { from: self.from, to: self.to, backwards: true, limit: EVENTS_PER_READ };
        self.read = inner.rooms.timeline(self.view.nid, range).await?.into();
        self.to = match self.read.back() {
            Some(last) if self.read.len() == EVENTS_PER_READ => last.place,
            _ => self.from,
        };
        Ok(())
    }
}

impl Inner {
    /// A room of the user, if the user may read anything of it before a boundary.
    async fn readable(
        &self,
        actor: Actor<'_>,
        entry: &MembershipEntry,
        before: Place,
    ) -> Result<Option<Room>, PushError> {
        let view = self.rooms.view_of(entry.room).await?;
        match entry.membership {
            Membership::Join => {}
            Membership::Invite if entry.place < before => {
                let (from, to) = (entry.place, entry.place.next());
                return Ok(Some(Room { view, reader: None, reads: Reads::default(), from, to, read: VecDeque::new() }));
            }
            _ => return Ok(None),
        }
        let reader = match self.rooms.reader(actor, &view).await {
            Err(RoomError::Forbidden(_)) => return Ok(None),
            reader => reader?,
        };
        let reads = self.unread.reads(Whose { user: actor.user, nid: actor.nid }, view.nid).await?;
        // Nothing notifies of what came before one was in the room.
        let (from, to) = (entry.place.next(), view.end.min(before));
        Ok((from < to).then_some(Room { view, reader: Some(reader), reads, from, to, read: VecDeque::new() }))
    }

    /// The notification of an event, if it has one.
    async fn notified(
        &self,
        actor: Actor<'_>,
        room: &Room,
        item: TimelineItem,
        ignored: &IgnoredUsers,
        only: Only,
    ) -> Result<Option<Notification>, PushError> {
        let pdu = Arc::clone(&item.event.pdu);
        if item.event.redacted_because.is_some() || pdu.sender() == actor.user || hides(ignored, &pdu) {
            return Ok(None);
        }
        let whose = Whose { user: actor.user, nid: actor.nid };
        let facts = self.unread.facts(room.view.nid, &item).await?;
        let rules = self.accounts.shared_push_rules(whose.account()).await?;
        let actions = self.unread.actions(&rules, Some(whose), &room.view, &item, &facts).await?;
        let actions = actions.filter(|actions| {
            actions.iter().any(Action::should_notify) && (only == Only::All || actions.iter().any(Action::is_highlight))
        });
        let Some(actions) = actions else { return Ok(None) };
        let read = room.reads.cover(facts.thread.as_deref(), item.place);
        let item = match &room.reader {
            Some(reader) => self.rooms.visible(reader, &room.view, vec![item]).await?.pop(),
            None => Some(item),
        };
        let Some(item) = item else { return Ok(None) };
        let event = self.rooms.client_event(actor, &item.event, false).await?;
        let (actions, room) = (actions.to_vec(), room.view.id.clone());
        let stored = item.event;
        Ok(Some(Notification { actions, event, stored, read, room, ts_ms: pdu.origin_server_ts() }))
    }
}
