//! What stands around a search result.

use std::sync::Arc;

use ruma::{OwnedUserId, api::client::filter::RoomEventFilter};
use serde::Deserialize;

use super::SearchHit;
use crate::{
    Actor, MemberProfile, Rooms,
    error::RoomError,
    events::Stored,
    ids::Place,
    timeline::{TimelineItem, TimelineRange},
};

/// Events on one side of a result that its context may hold.
pub const SEARCH_CONTEXT_MAX: usize = 50;

/// What stands around a search result.
#[derive(Clone, Debug)]
pub struct SearchContext {
    /// What came before, newest first.
    pub before: Vec<Arc<Stored>>,
    /// What came after, oldest first.
    pub after: Vec<Arc<Stored>>,
    /// From where to read on backwards.
    pub start: Place,
    /// From where to read on forwards.
    pub end: Place,
    /// Profiles that the senders of all of them had then.
    pub profiles: Vec<(OwnedUserId, MemberProfile)>,
}

impl Rooms {
    /// What the actor sees around a result, and the senders' profiles where they are asked for.
    pub async fn search_context(
        &self,
        actor: Actor<'_>,
        hit: &SearchHit,
        (before, after): (usize, usize),
        profiles: bool,
    ) -> Result<SearchContext, RoomError> {
        let (view, filter) = (&*hit.room, RoomEventFilter::default());
        let reader = self.engine.reader_of(actor.nid, view.nid).await?;
        let place = hit.item.place;
        let (before, after) = (before.min(SEARCH_CONTEXT_MAX), after.min(SEARCH_CONTEXT_MAX));
        let (mut older, mut newer) = (Vec::new(), Vec::new());
        if before > 0 {
            let range = TimelineRange { from: Place::FIRST, to: place, backwards: true, limit: before };
            older = self.seen(&reader, view, range, &filter).await?.0;
        }
        if after > 0 {
            let range = TimelineRange { from: place.next(), to: view.end, backwards: false, limit: after };
            newer = self.seen(&reader, view, range, &filter).await?.0;
        }
        let start = older.last().map_or(place, |item| item.place);
        let end = newer.last().map_or(place, |item| item.place).next();
        let profiles = if profiles {
            let all: Vec<TimelineItem> = older.iter().chain(&newer).chain([&hit.item]).cloned().collect();
            self.senders(view, &all).await?.iter().filter_map(|member| profile(member)).collect()
        } else {
            Vec::new()
        };
        let events = |items: Vec<TimelineItem>| items.into_iter().map(|item| item.event).collect();
        Ok(SearchContext { before: events(older), after: events(newer), start, end, profiles })
    }
}

/// The profile that a membership event tells.
fn profile(member: &Stored) -> Option<(OwnedUserId, MemberProfile)> {
    #[derive(Default, Deserialize)]
    struct Content {
        displayname: Option<String>,
        avatar_url: Option<String>,
    }
    let user = OwnedUserId::try_from(member.pdu.state_key()?).ok()?;
    let Content { displayname, avatar_url } = member.pdu.content_as().unwrap_or_default();
    Some((user, MemberProfile { displayname, avatar_url }))
}
