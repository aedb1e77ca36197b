//! Bundled aggregations: what is told of an event's children with the event itself, in `unsigned` (specification,
//! "Aggregations of child events").
//!
//! They depend on who is told: on what of the history the user sees, on whom the user ignores, and on whether the user
//! has taken part in a thread.

use std::sync::Arc;

use ruma::{OwnedEventId, RoomId, UserId};
use serde::Serialize;
use serde_json::value::{RawValue as RawJsonValue, to_raw_value};
use wardroom_store::Scan;

use super::{
    Child, ParentFacts, REFERENCE, REPLACEMENT, REPLACEMENTS_SCAN_MAX, Summary, THREAD, THREAD_USERS, Thread, Viewer,
};
use crate::{
    Engine, Rooms,
    error::RoomError,
    events::Stored,
    ids::{EventNid, NS_EVENT, NS_USER, Place, RoomNid, UserNid},
    room::RoomView,
    tables::Membership,
    timeline::{Reader, TimelineItem},
};

/// References listed with an event; the newest, where there are more.
const REFERENCES_MAX: usize = 500;
/// Replies of a thread that are looked at, one by one, for who does not see all of them.
const REPLIES_SCAN_MAX: usize = 1_000;
/// Users of a thread among whom ignored ones are looked for.
const THREAD_USERS_MAX: usize = 1_000;

/// `m.relations` of `unsigned`.
#[derive(Default, Serialize)]
struct Bundle {
    #[serde(rename = "m.replace", skip_serializing_if = "Option::is_none")]
    replacement: Option<Box<RawJsonValue>>,
    #[serde(rename = "m.reference", skip_serializing_if = "Option::is_none")]
    references: Option<References>,
    #[serde(rename = "m.thread", skip_serializing_if = "Option::is_none")]
    thread: Option<ThreadBundle>,
}

#[derive(Serialize)]
struct References {
    chunk: Vec<Reference>,
}

#[derive(Serialize)]
struct Reference {
    event_id: OwnedEventId,
}

#[derive(Serialize)]
struct ThreadBundle {
    latest_event: Box<RawJsonValue>,
    count: u64,
    current_user_participated: bool,
}

/// A thread as one viewer sees it.
pub(super) struct ThreadSeen {
    count: u64,
    latest: TimelineItem,
}

/// To whom events of one room are told, and in which form.
#[derive(Clone, Copy)]
struct Telling<'a> {
    viewer: Viewer<'a>,
    reader: &'a Reader,
    view: &'a RoomView,
    /// Whether events name their room.
    room_id: bool,
}

impl Bundle {
    fn json(&self) -> Result<Option<Box<RawJsonValue>>, RoomError> {
        if self.replacement.is_none() && self.references.is_none() && self.thread.is_none() {
            return Ok(None);
        }
        to_raw_value(self).map(Some).map_err(|_| RoomError::inconsistent("aggregation that is no JSON"))
    }
}

impl Engine {
    /// The event with this number in its room's timeline.
    pub(super) async fn item(&self, room: RoomNid, event: EventNid) -> Result<Option<TimelineItem>, RoomError> {
        let Some((meta, place)) = self.meta(event).await?.filter(|(meta, _)| meta.room == room) else {
            return Ok(None);
        };
        let event = self.event(room, event).await?;
        Ok(event.map(|event| TimelineItem::by_meta(place, event, &meta)))
    }

    /// Whether the reader sees a child that stands here; `all_live` says that no event of the room is over.
    pub(crate) async fn sees_child(
        &self,
        reader: &Reader,
        view: &RoomView,
        place: Place,
        all_live: bool,
    ) -> Result<bool, RoomError> {
        // Members see whatever came since they joined (specification, "Room history visibility", rule 2).
        if all_live && reader.entry.as_ref().is_some_and(|own| own.membership == Membership::Join && place >= own.place)
        {
            return Ok(true);
        }
        match self.items_at(view.nid, &[place]).await?.pop() {
            Some(item) => self.sees(reader, view, &item).await,
            None => Ok(false),
        }
    }

    /// Names of users and whether they are ignored.
    async fn are_ignored(&self, viewer: Viewer<'_>, users: &[UserNid]) -> Result<Vec<bool>, RoomError> {
        let Some(ignores) = viewer.ignores else { return Ok(vec![false; users.len()]) };
        let numbers: Vec<u64> = users.iter().map(|user| user.get()).collect();
        let names = self.store.interner().resolve_many(NS_USER, &numbers).await?;
        let ignored = |name: Option<Arc<str>>| name.is_some_and(|name| <&UserId>::try_from(&*name).is_ok_and(ignores));
        Ok(names.into_iter().map(ignored).collect())
    }

    /// The children among these that the viewer is told of.
    async fn told_children(
        &self,
        viewer: Viewer<'_>,
        reader: &Reader,
        view: &RoomView,
        children: Vec<(Place, Child)>,
    ) -> Result<Vec<(Place, Child)>, RoomError> {
        let senders: Vec<UserNid> = children.iter().map(|(_, child)| child.sender).collect();
        let ignored = self.are_ignored(viewer, &senders).await?;
        let mut told = Vec::with_capacity(children.len());
        let all_live = self.all_live(view).await?;
        for ((place, child), ignored) in children.into_iter().zip(ignored) {
            if !ignored && self.sees_child(reader, view, place, all_live).await? {
                told.push((place, child));
            }
        }
        Ok(told)
    }

    /// A thread as the viewer sees it; none where the viewer sees no reply of it.
    pub(super) async fn thread_seen(
        &self,
        viewer: Viewer<'_>,
        reader: &Reader,
        view: &RoomView,
        (root, thread): (EventNid, &Thread),
    ) -> Result<Option<ThreadSeen>, RoomError> {
        let newest = self.item(view.nid, thread.latest).await?;
        let told = match &newest {
            Some(newest) if !viewer.ignores_event(&newest.event.pdu) => self.sees(reader, view, newest).await?,
            _ => false,
        };
        if told && reader.is_joined() && self.all_live(view).await? {
            let count = thread.count.saturating_sub(self.ignored_replies(viewer, view.nid, root).await?);
            return Ok(newest.map(|latest| ThreadSeen { count, latest }));
        }
        // Somebody who does not see all of the thread, or not its end: the replies are looked at one by one.
        let replies = self.newest_children(view.nid, root, THREAD, Place::LAST, REPLIES_SCAN_MAX).await?;
        let told = self.told_children(viewer, reader, view, replies).await?;
        let Some((place, _)) = told.first() else { return Ok(None) };
        let count = u64::try_from(told.len()).unwrap_or(u64::MAX);
        let latest = self.items_at(view.nid, &[*place]).await?.pop();
        Ok(latest.map(|latest| ThreadSeen { count, latest }))
    }

    /// Replies in a thread by users whom the viewer ignores.
    async fn ignored_replies(&self, viewer: Viewer<'_>, room: RoomNid, root: EventNid) -> Result<u64, RoomError> {
        if viewer.ignores.is_none() {
            return Ok(0);
        }
        let scan = Scan::prefix(&(room, root)).limit(THREAD_USERS_MAX);
        let rows = self.store.latest().scan(&THREAD_USERS, scan).await?;
        let users: Vec<UserNid> = rows.iter().map(|((_, _, user), _)| *user).collect();
        let ignored = self.are_ignored(viewer, &users).await?;
        Ok(rows.into_iter().zip(ignored).filter(|(_, ignored)| *ignored).map(|((_, count), _)| count).sum())
    }

    /// Whether a user has taken part in a thread: sent its root or a reply.
    pub(super) async fn has_participated(
        &self,
        user: UserNid,
        room: RoomNid,
        (root, starter): (EventNid, UserNid),
    ) -> Result<bool, RoomError> {
        Ok(user == starter || self.store.latest().get(&THREAD_USERS, &(room, root, user)).await?.is_some())
    }
}

impl Rooms {
    /// Bundled aggregations of events of one room, in their order: `m.relations` of `unsigned`. Events without children
    /// have none, and neither have state events.
    ///
    /// `room_id` says whether the events within name their room. The reader is one whom the gate let read the room.
    pub async fn bundles(
        &self,
        viewer: Viewer<'_>,
        view: &RoomView,
        reader: &Reader,
        events: &[Arc<Stored>],
        room_id: bool,
    ) -> Result<Vec<Option<Box<RawJsonValue>>>, RoomError> {
        let telling = Telling { viewer, reader, view, room_id };
        let nids: Vec<EventNid> = events.iter().map(|event| event.nid).collect();
        let mut bundles = Vec::with_capacity(events.len());
        for (event, summary) in events.iter().zip(self.engine.summaries(view.nid, &nids).await?) {
            bundles.push(match summary {
                Some(summary) if !event.pdu.is_state() => self.bundle(telling, event, &summary).await?.json()?,
                _ => None,
            });
        }
        Ok(bundles)
    }

    /// Events of one room as a viewer gets them, each with its `room_id` and its bundled aggregations.
    ///
    /// They are ones that the viewer was let read: the gate is not asked again.
    pub async fn client_events(
        &self,
        viewer: Viewer<'_>,
        room: &RoomId,
        events: &[Arc<Stored>],
    ) -> Result<Vec<Box<RawJsonValue>>, RoomError> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let view = self.view(room).await?.ok_or(RoomError::NoSuchRoom)?;
        let reader = self.engine.reader_of(viewer.actor.nid, view.nid).await?;
        let bundles = self.bundles(viewer, &view, &reader, events, true).await?;
        let mut written = Vec::with_capacity(events.len());
        for (event, bundle) in events.iter().zip(bundles) {
            written.push(self.client_event_with(viewer.actor, event, true, bundle.as_deref()).await?);
        }
        Ok(written)
    }

    async fn bundle(&self, telling: Telling<'_>, event: &Stored, summary: &Summary) -> Result<Bundle, RoomError> {
        let mut bundle = self.bundle_without_thread(telling, event, summary).await?;
        if let Some(thread) = &summary.thread {
            bundle.thread = self.thread_bundle(telling, event.nid, thread).await?;
        }
        Ok(bundle)
    }

    async fn bundle_without_thread(
        &self,
        telling: Telling<'_>,
        event: &Stored,
        summary: &Summary,
    ) -> Result<Bundle, RoomError> {
        let mut bundle = Bundle::default();
        let is_shown = event.redacted_because.is_none() && !telling.viewer.ignores_event(&event.pdu);
        if let Some((_, newest)) = summary.replacement.filter(|_| is_shown)
            && let Some(replacement) = self.replacement(telling, event, newest).await?
        {
            let (actor, room_id) = (telling.viewer.actor, telling.room_id);
            bundle.replacement = Some(self.client_event(actor, &replacement.event, room_id).await?);
        }
        if summary.has(REFERENCE) {
            bundle.references = self.references(telling, event.nid).await?;
        }
        Ok(bundle)
    }

    /// The most recent replacement that the viewer sees.
    async fn replacement(
        &self,
        telling: Telling<'_>,
        event: &Stored,
        newest: EventNid,
    ) -> Result<Option<TimelineItem>, RoomError> {
        let (engine, Telling { reader, view, .. }) = (&self.engine, telling);
        let newest = engine.item(view.nid, newest).await?;
        if let Some(newest) = newest
            && engine.sees(reader, view, &newest).await?
        {
            return Ok(Some(newest));
        }
        let sender = engine.store.interner().lookup(NS_USER, event.pdu.sender().as_str()).await?;
        let Some(sender) = sender else { return Ok(None) };
        let facts = ParentFacts::of(&engine.store, &event.pdu, UserNid::new(sender));
        let rows = engine.newest_children(view.nid, event.nid, REPLACEMENT, Place::LAST, REPLACEMENTS_SCAN_MAX).await?;
        let mut best: Option<TimelineItem> = None;
        for (place, _) in rows.into_iter().filter(|(_, child)| facts.is_replaced_by(child)) {
            let Some(item) = engine.items_at(view.nid, &[place]).await?.pop() else { continue };
            let age = |item: &TimelineItem| (item.event.pdu.origin_server_ts(), item.event.pdu.event_id().to_owned());
            if best.as_ref().is_none_or(|best| age(&item) > age(best)) && engine.sees(reader, view, &item).await? {
                best = Some(item);
            }
        }
        Ok(best)
    }

    async fn references(&self, telling: Telling<'_>, event: EventNid) -> Result<Option<References>, RoomError> {
        let (engine, Telling { viewer, reader, view, .. }) = (&self.engine, telling);
        let rows = engine.newest_children(view.nid, event, REFERENCE, Place::LAST, REFERENCES_MAX).await?;
        let mut rows = engine.told_children(viewer, reader, view, rows).await?;
        rows.reverse();
        let nids: Vec<u64> = rows.iter().map(|(_, child)| child.event.get()).collect();
        let names = engine.store.interner().resolve_many(NS_EVENT, &nids).await?;
        let ids = names.into_iter().flatten().filter_map(|name| OwnedEventId::try_from(&*name).ok());
        let chunk: Vec<Reference> = ids.map(|event_id| Reference { event_id }).collect();
        Ok((!chunk.is_empty()).then_some(References { chunk }))
    }

    async fn thread_bundle(
        &self,
        telling: Telling<'_>,
        root: EventNid,
        thread: &Thread,
    ) -> Result<Option<ThreadBundle>, RoomError> {
        let (engine, Telling { viewer, reader, view, room_id }) = (&self.engine, telling);
        let Some(seen) = engine.thread_seen(viewer, reader, view, (root, thread)).await? else { return Ok(None) };
        let latest = &seen.latest.event;
        let within = match engine.summary_of(view.nid, latest.nid).await? {
            Some(summary) if !latest.pdu.is_state() => {
                self.bundle_without_thread(telling, latest, &summary).await?.json()?
            }
            _ => None,
        };
        let user = viewer.actor.nid;
        Ok(Some(ThreadBundle {
            latest_event: self.client_event_with(viewer.actor, latest, room_id, within.as_deref()).await?,
            count: seen.count,
            current_user_participated: engine.has_participated(user, view.nid, (root, thread.starter)).await?,
        }))
    }
}
