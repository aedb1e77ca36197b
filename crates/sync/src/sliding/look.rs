//! One look at what a connection has to hear.

use std::{collections::HashMap, sync::Arc};

use futures_util::future::try_join_all;
use ruma::OwnedRoomId;
use wardroom_rooms::{Membership, RoomNid};
use wardroom_store::Position;

use super::{
    Asked,
    connections::{Told, ToldRooms, WishId, Wishes, wish_id},
    lists::{InScope, Scope},
    personal::Personal,
    required_state::RequiredState,
};
use crate::{RoomSights, SyncError, filter::Filter, memberships::Known, response::Object, sights::Part};

/// Rooms that are read at the same time.
const ROOMS_AT_ONCE: usize = 8;
/// Rooms that one answer tells of; the next answer tells of the others, at once.
const ROOMS_PER_ANSWER_MAX: usize = 1_000;

/// What one look found.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) lists: Object,
    pub(crate) rooms: Object,
    pub(crate) extensions: Object,
    /// What the rooms give away.
    pub(crate) sights: Vec<RoomSights>,
    /// There is something to tell, so that the answer should not wait.
    pub(crate) has_news: bool,
}

/// What is wanted of a room, by all rules that name it.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) timeline_limit: usize,
    pub(crate) required: Arc<RequiredState>,
    pub(crate) wish: WishId,
    /// The same for the shared parts of `/sync`.
    pub(crate) filter: Filter,
}

/// A room, told.
#[derive(Debug)]
pub(crate) struct RoomAnswer {
    pub(crate) room: RoomNid,
    pub(crate) id: OwnedRoomId,
    /// The room's part of the answer; none where there is no news.
    pub(crate) part: Option<Part>,
    pub(crate) told: Told,
    /// Events of the answer's timeline, where the client did not have the room's newest before: for receipts.
    pub(crate) timeline: Option<Vec<ruma::OwnedEventId>>,
    /// Position of the oldest of them.
    pub(crate) oldest: Position,
}

/// What a look goes by.
#[derive(Debug)]
pub(crate) struct Sight<'a> {
    /// Up to where it looks.
    pub(crate) now: Position,
    pub(crate) scope: Scope<'a>,
    pub(crate) personal: Arc<Personal>,
}

impl Asked<'_> {
    /// Looks at what there is to tell. What it finds out of rooms is kept for the next look, whether it is told or not.
    pub(crate) async fn look(&mut self) -> Result<(Answer, Arc<Known>), SyncError> {
        let (now, known) = self.syncer.memberships(self.user).await?;
        let filters = self.request.body.lists.values().filter_map(|list| list.filters.as_ref());
        let with_tags = filters.into_iter().any(super::request::Filters::asks_for_tags);
        let personal = self.syncer.personal(self.user, &known, now, with_tags).await?;
        let mut wishes = self.change.wishes.clone();
        let (mut rooms, mut fresh) = (Object::default(), ToldRooms::new());
        let scope = self.scope(&known, &personal).await?;
        let sight = Sight { now, scope, personal };
        let mut answers = self.tell_rooms(&sight, &mut wishes).await?;
        let mut sights = Vec::new();
        for answer in &mut answers {
            if let Some(part) = &mut answer.part {
                rooms.raw(answer.id.as_str(), &part.json);
                sights.extend(part.sights(&answer.id));
            }
            fresh.insert(answer.room, answer.told.clone());
        }
        let mut cursors = self.change.cursors;
        let extensions = self.extensions(&sight, &known, &answers, &mut fresh, &mut cursors).await?;
        let mut lists = Object::default();
        for (name, count) in self.request.body.lists.keys().zip(&sight.scope.counts) {
            let mut list = Object::default();
            list.value("count", count);
            lists.raw(name, &list.end());
        }
        drop(sight);
        self.change.position = now;
        self.change.wishes = wishes;
        self.change.cursors = cursors;
        self.change.rooms.extend(fresh);
        let has_news = !rooms.is_empty() || extensions.has_news;
        Ok((Answer { lists, rooms, extensions: extensions.object, sights, has_news }, known))
    }

    /// Tells the rooms of which there is something to tell, the most recent first.
    async fn tell_rooms(&self, sight: &Sight<'_>, wishes: &mut Wishes) -> Result<Vec<RoomAnswer>, SyncError> {
        let configs = self.configs(&sight.scope, wishes);
        let todo = sight.scope.rooms.iter().zip(&configs).filter(|(room, config)| self.needs_look(sight, room, config));
        let todo: Vec<_> = todo.take(ROOMS_PER_ANSWER_MAX).collect();
        let mut answers = Vec::with_capacity(todo.len());
        for some in todo.chunks(ROOMS_AT_ONCE) {
            let told = some.iter().map(|(room, config)| self.tell_room(sight, room, config));
            answers.extend(try_join_all(told).await?.into_iter().flatten());
            tokio::task::consume_budget().await;
        }
        Ok(answers)
    }

    /// Whether there may be something to tell of a room, as far as that can be said without looking at it.
    fn needs_look(&self, sight: &Sight<'_>, room: &InScope<'_>, config: &Config) -> bool {
        let Some(told) = self.told(room.entry.room) else { return true };
        if room.entry.place.position() > told.up_to {
            return true;
        }
        if room.entry.membership != Membership::Join {
            return false;
        }
        let knew = self.wish(told.wish);
        config.timeline_limit > told.have
            || knew.is_some_and(|knew| config.wish != told.wish && config.required.exceeds(knew))
            || sight.personal.direct.contains(&room.entry.room) != told.is_dm
            || self.moved(room.entry.room.watch(), told.up_to)
    }

    /// What was wanted of a room's state when it was told last, where that is still known.
    pub(crate) fn wish(&self, wish: WishId) -> Option<&RequiredState> {
        let known = self.change.wishes.iter().find(|(id, _)| *id == wish);
        known.map(|(_, wanted)| &**wanted)
    }

    /// What is wanted of each room. Most rooms are in the same lists.
    fn configs(&self, scope: &Scope<'_>, wishes: &mut Wishes) -> Vec<Arc<Config>> {
        let mut by_rules: HashMap<(&[usize], Option<&ruma::RoomId>), Arc<Config>> = HashMap::new();
        let body = &self.request.body;
        let limits: Vec<u64> = body.lists.values().map(|list| list.timeline_limit).collect();
        let config = |room: &InScope<'_>, wishes: &mut Wishes| {
            let (mut limit, mut required) = (0, RequiredState::default());
            for list in &room.lists {
                limit = limit.max(limits[*list]);
                required.add(&self.list_wishes[*list]);
            }
            if let Some(subscription) = room.subscribed.and_then(|id| body.room_subscriptions.get(id)) {
                limit = limit.max(subscription.timeline_limit);
                required.add(&RequiredState::new(&subscription.required_state, &self.session.user));
            }
            let (wish, required) = wish_id(wishes, &required);
            let filter = Filter::of_timelines(limit);
            Arc::new(Config { timeline_limit: filter.timeline_limit, required, wish, filter })
        };
        let configs = scope.rooms.iter().map(|room| {
            let rules = (room.lists.as_slice(), room.subscribed);
            let known = by_rules.entry(rules).or_insert_with(|| config(room, wishes));
            Arc::clone(known)
        });
        configs.collect()
    }
}
