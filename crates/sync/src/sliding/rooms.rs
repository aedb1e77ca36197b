//! What is told of one room, by the user's membership.

mod joined;
mod left;
mod state;
mod stripped;

use std::sync::Arc;

use wardroom_rooms::{Membership, RoomError, RoomView};
use wardroom_store::Position;

use super::{
    Asked,
    connections::{Form, Told},
    lists::InScope,
    look::{Config, RoomAnswer, Sight},
};
use crate::{
    SyncError,
    hearing::Hearing,
    response::Object,
    rooms::{Room, Timeline},
};

/// A room that is to be told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Telling<'a> {
    pub(super) asked: &'a Asked<'a>,
    pub(super) hearing: &'a Hearing<'a>,
    pub(super) scoped: &'a InScope<'a>,
    pub(super) config: &'a Config,
    pub(super) view: &'a RoomView,
    /// How the room was told last; none where the client is to forget what it has of it.
    pub(super) before: Option<&'a Told>,
    pub(super) now: Position,
    pub(super) is_dm: bool,
}

impl Asked<'_> {
    /// Tells a room, if the user may know of it.
    pub(super) async fn tell_room(
        &self,
        sight: &Sight<'_>,
        scoped: &InScope<'_>,
        config: &Config,
    ) -> Result<Option<RoomAnswer>, SyncError> {
        let view = match self.syncer.rooms.view_of(scoped.entry.room).await {
            // It was deleted.
            Err(RoomError::NoSuchRoom) => return Ok(None),
            view => view?,
        };
        let hearing = self.hearing(&config.filter);
        let is_dm = sight.personal.direct.contains(&scoped.entry.room);
        let (now, told) = (sight.now, self.told(scoped.entry.room));
        let hearing = &hearing;
        let telling = Telling { asked: self, hearing, scoped, config, view: &view, before: None, now, is_dm };
        match scoped.entry.membership {
            Membership::Join => {
                // Somebody who left and came back missed state in between, so gets all of it again.
                let stayed = |told: &&Told| told.form == Form::Joined && scoped.entry.place.position() <= told.up_to;
                Telling { before: told.filter(stayed), ..telling }.joined().await
            }
            Membership::Invite | Membership::Knock => telling.stripped().await.map(Some),
            Membership::Leave | Membership::Ban => {
                let was_in = |told: &&Told| told.form != Form::Stripped;
                Telling { before: told.filter(was_in), ..telling }.left().await.map(Some)
            }
        }
    }
}

impl Telling<'_> {
    /// Begins the room's part of the answer.
    fn begin(&self) -> Object {
        let mut told = Object::default();
        if self.before.is_none() {
            told.value("initial", &true);
        }
        told.value("membership", &self.membership());
        if !self.scoped.lists.is_empty() {
            let names: Vec<&String> = self.asked.request.body.lists.keys().collect();
            let lists: Vec<_> = self.scoped.lists.iter().filter_map(|list| names.get(*list)).collect();
            told.value("lists", &lists);
        }
        told
    }

    const fn membership(&self) -> &'static str {
        match self.scoped.entry.membership {
            Membership::Join => "join",
            Membership::Invite => "invite",
            Membership::Knock => "knock",
            Membership::Leave => "leave",
            Membership::Ban => "ban",
        }
    }

    /// What is remembered of a room that is told with no more than this.
    fn told(&self, form: Form) -> Told {
        Told {
            up_to: self.now,
            form,
            wish: self.config.wish,
            have: 0,
            bump: self.scoped.bump,
            is_dm: self.is_dm,
            unread: (0, 0),
            members: self.before.map(|before| Arc::clone(&before.members)).unwrap_or_default(),
            // To those who come, everything is news.
            account_data: self.before.is_some_and(|before| before.account_data),
            receipts: self.before.and_then(|before| before.receipts),
            typing: self.before.and_then(|before| before.typing),
        }
    }

    /// Tells a timeline, oldest first, and whether there is more before it.
    async fn tell_timeline(&self, told: &mut Object, room: &Room<'_>, timeline: &Timeline) -> Result<(), SyncError> {
        if !timeline.items.is_empty() {
            let mut events = crate::response::Events::default();
            for item in &timeline.items {
                self.hearing.tell_timeline_event(&mut events, room, item).await?;
            }
            told.raw("timeline", &events.end());
        }
        if timeline.limited {
            told.value("limited", &true);
        }
        if let Some(prev_batch) = timeline.prev_batch {
            told.value("prev_batch", &prev_batch.to_string());
        }
        // What came since the last answer just happened; where there was none, nothing did.
        let since = self.asked.base.position.unwrap_or(self.now);
        let live = timeline.items.iter().filter(|item| item.place.position() > since).count();
        told.value("num_live", &live);
        Ok(())
    }
}
