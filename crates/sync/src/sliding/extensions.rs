//! What is told besides rooms, as far as the request asks for it.

mod account_data;
mod encryption;
mod ephemeral;
mod thread_subscriptions;

use std::collections::HashMap;

use wardroom_rooms::{Membership, RoomNid};

pub(crate) use self::encryption::DeviceToken;
use super::{
    Asked,
    connections::{Cursors, Told, ToldRooms},
    lists::InScope,
    look::{RoomAnswer, Sight},
    request::ByRoom,
};
use crate::{SyncError, filter::Filter, hearing::Hearing, memberships::Known, response::Object};

/// The extensions' part of an answer.
#[derive(Debug, Default)]
pub(super) struct Extensions {
    pub(super) object: Object,
    /// There is something to tell, so that the answer should not wait.
    pub(super) has_news: bool,
}

/// What extensions go by, and what they change.
struct Extending<'a> {
    asked: &'a Asked<'a>,
    hearing: Hearing<'a>,
    sight: &'a Sight<'a>,
    /// Rooms that this answer tells.
    answers: HashMap<RoomNid, &'a RoomAnswer>,
    /// How rooms were told by this answer.
    fresh: &'a mut ToldRooms,
}

impl Asked<'_> {
    /// Tells what the extensions of the request ask for.
    pub(super) async fn extensions(
        &self,
        sight: &Sight<'_>,
        known: &Known,
        answers: &[RoomAnswer],
        fresh: &mut ToldRooms,
        cursors: &mut Cursors,
    ) -> Result<Extensions, SyncError> {
        let filter = Filter::of_timelines(0);
        let hearing = self.hearing(&filter);
        let answers = answers.iter().map(|answer| (answer.room, answer)).collect();
        let mut extending = Extending { asked: self, hearing, sight, answers, fresh };
        let mut told = Extensions::default();
        extending.messages(&mut told).await?;
        extending.e2ee(&mut told, cursors, known).await?;
        extending.account_data(&mut told, cursors).await?;
        extending.ephemeral(&mut told).await?;
        extending.thread_subscriptions(&mut told, cursors).await?;
        Ok(told)
    }
}

impl<'a> Extending<'a> {
    /// How a room was told last, this answer included.
    fn told(&self, room: RoomNid) -> Option<&Told> {
        self.fresh.get(&room).or_else(|| self.asked.told(room))
    }

    /// Changes what is remembered of a room that was told.
    fn remember(&mut self, room: RoomNid, change: impl FnOnce(&mut Told)) {
        let Some(mut told) = self.told(room).cloned() else { return };
        change(&mut told);
        self.fresh.insert(room, told);
    }

    /// The rooms that an extension is asked to tell of: those the user is in, in the lists and subscriptions named.
    fn rooms(&self, asked: &ByRoom) -> Vec<&'a InScope<'a>> {
        let names: Vec<&String> = self.asked.request.body.lists.keys().collect();
        let lists: Vec<bool> = names.iter().map(|name| asked.has_list(name)).collect();
        let is_asked = |room: &&InScope<'_>| {
            room.entry.membership == Membership::Join
                && (room.lists.iter().any(|list| lists[*list])
                    || room.subscribed.is_some_and(|id| asked.has_subscription(id.as_str())))
        };
        self.sight.scope.rooms.iter().filter(is_asked).collect()
    }
}
