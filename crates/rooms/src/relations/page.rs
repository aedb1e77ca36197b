//! Pages of an event's children (specification, "Relationships API").

use std::{collections::BTreeMap, sync::Arc};

use ruma::{EventId, RoomId};
use wardroom_store::{Packed, Position, Scan};

use super::{CHILDREN, CLASSES, Child, Viewer, class_of, event_type_hash, rel_type_hash};
use crate::{
    Engine, Rooms,
    error::RoomError,
    events::Stored,
    history::PAGE_EVENTS_MAX,
    ids::{EventNid, Place, RoomNid},
    room::RoomView,
    tables::TIMELINE,
    timeline::{Reader, TimelineItem},
};

/// How far relations of relations are followed where that is asked for (specification: at least 3).
pub const RELATIONS_RECURSION_DEPTH: u32 = 3;
/// Children that one page may look at, when most do not match, are not visible, or are to be sorted.
const PAGE_SCAN_MAX: usize = 10_000;
/// Children read at a time.
const SCAN_STEP_ROWS: usize = 200;

/// Children that are asked for.
#[derive(Clone, Copy, Debug)]
pub struct RelationsQuery<'a> {
    /// Only those with this type of relation.
    pub rel_type: Option<&'a str>,
    /// Only events of this type.
    pub event_type: Option<&'a str>,
    /// Where to start: at the newest, or forwards at the oldest, where none is given.
    pub from: Option<Place>,
    /// Where to stop before the limit is reached.
    pub to: Option<Place>,
    /// From new to old.
    pub backwards: bool,
    /// Events at most.
    pub limit: usize,
    /// Children of children too, down to [`RELATIONS_RECURSION_DEPTH`].
    pub recurse: bool,
}

/// A page of children.
#[derive(Clone, Debug)]
pub struct RelationsPage {
    /// The children, in the direction asked for.
    pub chunk: Vec<Arc<Stored>>,
    /// Where the next page starts; none where there is no more to see.
    pub next: Option<Place>,
}

/// What a child must be like, and where it may stand.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    /// The kind of relation, and the hash of its type.
    rel: Option<(u8, u64)>,
    /// Hash of the event type.
    kind: Option<u64>,
    from: Place,
    to: Place,
    backwards: bool,
}

impl Wanted {
    fn admits(&self, child: &Child) -> bool {
        self.rel.is_none_or(|(_, hash)| hash == child.rel) && self.kind.is_none_or(|hash| hash == child.kind)
    }

    /// What is left behind (or, backwards, before) the child at this place.
    fn beyond(self, place: Place) -> Self {
        if self.backwards { Self { to: place, ..self } } else { Self { from: place.next(), ..self } }
    }
}

impl Engine {
    /// Children of one kind of relation in a stretch of the timeline, in the direction asked for.
    async fn children_of_class(
        &self,
        room: RoomNid,
        parent: EventNid,
        class: u8,
        wanted: Wanted,
        limit: usize,
    ) -> Result<Vec<(Place, Child)>, RoomError> {
        let key = |place: Place| (room, parent, class, place.position(), place.index());
        let mut scan = Scan::range(&key(wanted.from), &key(wanted.to)).limit(limit);
        if wanted.backwards {
            scan = scan.reverse();
        }
        let rows: Vec<((_, _, _, Position, u16), Packed<Child>)> = self.store.latest().scan(&CHILDREN, scan).await?;
        Ok(rows.into_iter().map(|((.., position, index), child)| (Place::new(position, index), child.0)).collect())
    }

    /// The newest children of one kind of relation, newest first.
    pub(super) async fn newest_children(
        &self,
        room: RoomNid,
        parent: EventNid,
        class: u8,
        before: Place,
        limit: usize,
    ) -> Result<Vec<(Place, Child)>, RoomError> {
        let wanted = Wanted { rel: None, kind: None, from: Place::FIRST, to: before, backwards: true };
        self.children_of_class(room, parent, class, wanted, limit).await
    }

    /// Children of every kind in a stretch, in the direction asked for, at most `limit`; those that do not match too.
    async fn children(
        &self,
        room: RoomNid,
        parent: EventNid,
        wanted: Wanted,
        limit: usize,
    ) -> Result<Vec<(Place, Child)>, RoomError> {
        let Some(summary) = self.summary_of(room, parent).await? else { return Ok(Vec::new()) };
        if let Some((class, _)) = wanted.rel {
            return self.children_of_class(room, parent, class, wanted, limit).await;
        }
        let mut all = Vec::new();
        for class in CLASSES.into_iter().filter(|class| summary.has(*class)) {
            all.extend(self.children_of_class(room, parent, class, wanted, limit).await?);
        }
        all.sort_by_key(|(place, _)| *place);
        if wanted.backwards {
            all.reverse();
        }
        all.truncate(limit);
        Ok(all)
    }

    /// Children and their children that match, down to the depth that is followed, by place. An event is reached through
    /// matching ones only.
    async fn descendants(
        &self,
        room: RoomNid,
        parent: EventNid,
        wanted: Wanted,
    ) -> Result<BTreeMap<Place, Child>, RoomError> {
        // Children stand behind their parents, so what lies behind the stretch leads to nothing within it.
        let reach = Wanted { from: Place::FIRST, backwards: false, ..wanted };
        let (mut found, mut parents) = (BTreeMap::new(), vec![parent]);
        for _ in 0..RELATIONS_RECURSION_DEPTH {
            let summaries = self.summaries(room, &parents).await?;
            let with_children = parents.iter().zip(summaries).filter(|(_, summary)| summary.is_some());
            let mut next = Vec::new();
            for (parent, _) in with_children {
                let left = PAGE_SCAN_MAX.saturating_sub(found.len());
                for (place, child) in self.children(room, *parent, reach, left).await? {
                    if reach.admits(&child) && found.insert(place, child).is_none() {
                        next.push(child.event);
                    }
                }
                tokio::task::consume_budget().await;
            }
            parents = next;
        }
        found.retain(|place, _| *place >= wanted.from && *place < wanted.to);
        Ok(found)
    }

    /// Events at places of a timeline, with the states before them.
    pub(crate) async fn items_at(&self, room: RoomNid, places: &[Place]) -> Result<Vec<TimelineItem>, RoomError> {
        let keys: Vec<_> = places.iter().map(|place| (room, place.position(), place.index())).collect();
        let entries = self.store.latest().multi_get(&TIMELINE, &keys).await?;
        let entries: Vec<_> = places.iter().zip(entries).filter_map(|(place, entry)| Some((*place, entry?))).collect();
        let nids: Vec<EventNid> = entries.iter().map(|(_, entry)| entry.event).collect();
        let events = self.events(room, &nids).await?;
        let items = entries
            .into_iter()
            .zip(events)
            .filter_map(|((place, entry), event)| Some(TimelineItem::new(place, event?, &entry)));
        Ok(items.collect())
    }

    /// The children among these that the viewer is told of.
    async fn told(
        &self,
        viewer: Viewer<'_>,
        reader: &Reader,
        view: &RoomView,
        places: &[Place],
    ) -> Result<Vec<TimelineItem>, RoomError> {
        let mut told = Vec::with_capacity(places.len());
        for item in self.items_at(view.nid, places).await? {
            if !viewer.ignores_event(&item.event.pdu) && self.sees(reader, view, &item).await? {
                told.push(item);
            }
        }
        Ok(told)
    }
}

impl Rooms {
    /// A page of the events that relate to an event, directly or, where asked, through others.
    ///
    /// # Errors
    /// [`RoomError::NoSuchEvent`] where the viewer does not see the event.
    pub async fn relations(
        &self,
        viewer: Viewer<'_>,
        room: &RoomId,
        parent: &EventId,
        query: RelationsQuery<'_>,
    ) -> Result<RelationsPage, RoomError> {
        let view = self.view(room).await?.ok_or(RoomError::NoSuchEvent)?;
        let reader = match self.reader(viewer.actor, &view).await {
            Err(RoomError::Forbidden(_)) => return Err(RoomError::NoSuchEvent),
            reader => reader?,
        };
        let parent = self.find_place(&reader, &view, parent).await?;
        let (first, last) = (Place::FIRST, view.end);
        let (from, to) = if query.backwards {
            (query.to.unwrap_or(first), query.from.unwrap_or(last).min(last))
        } else {
            (query.from.unwrap_or(first), query.to.unwrap_or(last).min(last))
        };
        let engine = &self.engine;
        let wanted = Wanted {
            rel: query.rel_type.map(|rel_type| (class_of(rel_type), rel_type_hash(&engine.store, rel_type))),
            kind: query.event_type.map(|kind| event_type_hash(&engine.store, kind)),
            from,
            to,
            backwards: query.backwards,
        };
        let limit = query.limit.clamp(1, PAGE_EVENTS_MAX);
        let parent = parent.event.nid;
        // One more than asked for tells whether there is a next page.
        let (mut items, stopped) = if query.recurse {
            let found = engine.descendants(view.nid, parent, wanted).await?;
            self.first_of(viewer, &reader, &view, found, query.backwards, limit + 1).await?
        } else {
            self.direct(viewer, &reader, &view, (parent, wanted), limit + 1).await?
        };
        let more = items.len() > limit;
        items.truncate(limit);
        let next = match items.last().filter(|_| more) {
            Some(last) if query.backwards => Some(last.place),
            Some(last) => Some(last.place.next()),
            None => stopped,
        };
        Ok(RelationsPage { chunk: items.into_iter().map(|item| item.event).collect(), next })
    }

    /// The first children that match and are told, and where the search stopped before it had looked at all.
    async fn direct(
        &self,
        viewer: Viewer<'_>,
        reader: &Reader,
        view: &RoomView,
        (parent, mut wanted): (EventNid, Wanted),
        limit: usize,
    ) -> Result<(Vec<TimelineItem>, Option<Place>), RoomError> {
        let (mut items, mut scanned) = (Vec::new(), 0);
        while wanted.from < wanted.to && items.len() < limit {
            if scanned >= PAGE_SCAN_MAX {
                return Ok((items, Some(if wanted.backwards { wanted.to } else { wanted.from })));
            }
            let rows = self.engine.children(view.nid, parent, wanted, SCAN_STEP_ROWS).await?;
            let Some((last, _)) = rows.last().copied() else { break };
            let complete = rows.len() < SCAN_STEP_ROWS;
            scanned += rows.len();
            let places: Vec<Place> =
                rows.iter().filter(|(_, child)| wanted.admits(child)).map(|(place, _)| *place).collect();
            items.extend(self.engine.told(viewer, reader, view, &places).await?);
            if complete {
                break;
            }
            wanted = wanted.beyond(last);
        }
        Ok((items, None))
    }

    /// The first of these events that are told.
    async fn first_of(
        &self,
        viewer: Viewer<'_>,
        reader: &Reader,
        view: &RoomView,
        found: BTreeMap<Place, Child>,
        backwards: bool,
        limit: usize,
    ) -> Result<(Vec<TimelineItem>, Option<Place>), RoomError> {
        let mut places: Vec<Place> = found.into_keys().collect();
        if backwards {
            places.reverse();
        }
        let mut items = Vec::new();
        for places in places.chunks(SCAN_STEP_ROWS) {
            if items.len() >= limit {
                break;
            }
            items.extend(self.engine.told(viewer, reader, view, places).await?);
        }
        Ok((items, None))
    }
}
