//! Asking what is held.

use std::sync::Arc;

use ruma::{OwnedRoomId, OwnedUserId, RoomId, UserId};
use tokio::sync::OwnedRwLockReadGuard;

use crate::{
    hold::{HoldId, Scope},
    index::{Covering, Index},
};

/// Whether something may be destroyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No hold covers it.
    Free,
    /// This hold covers it; there may be more.
    Held(HoldId),
}

impl Verdict {
    /// The hold, where there is one.
    pub fn hold(self) -> Option<HoldId> {
        match self {
            Self::Free => None,
            Self::Held(id) => Some(id),
        }
    }

    /// Whether a hold covers it.
    pub fn is_held(self) -> bool {
        self != Self::Free
    }

    /// This one, or where nothing holds by it the other.
    #[must_use]
    pub fn or(self, other: impl FnOnce() -> Self) -> Self {
        if self.is_held() { self } else { other() }
    }
}

impl From<Option<&Arc<Covering>>> for Verdict {
    fn from(covering: Option<&Arc<Covering>>) -> Self {
        covering.map_or(Self::Free, |covering| Self::Held(covering.id))
    }
}

/// While this lives no hold is set. To be held for a bounded piece of work only, and never a second one with it.
#[derive(Debug)]
pub struct Guard(pub(crate) OwnedRwLockReadGuard<Index>);

impl Guard {
    /// Whether a room as a whole is held: a hold names it, or names no more than a time. Holds of users who have sent
    /// something to the room have to be looked for besides ([`Self::users`]).
    pub fn room(&self, room: &RoomId) -> Verdict {
        let named = self.0.rooms.get(room).and_then(|holds| holds.first());
        named.or(self.0.times.first()).into()
    }

    /// Whether an account, and what goes with it, is held: a hold names the user, or names no more than a time. Holds of
    /// rooms to which the user has sent something have to be looked for besides ([`Self::rooms`], [`Self::event`]).
    pub fn user(&self, user: &UserId) -> Verdict {
        let named = self.0.users.get(user).and_then(|holds| holds.first());
        named.or(self.0.times.first()).into()
    }

    /// Whether a hold names the file.
    pub fn media(&self, server: &str, media_id: &str) -> Verdict {
        let key = (server.to_owned(), media_id.to_owned());
        self.0.files.get(&key).and_then(|holds| holds.first()).into()
    }

    /// Whether a file is held: a hold names it, or everything of who uploaded it, or its time. Times are in milliseconds
    /// since 1970.
    pub fn upload(&self, server: &str, media_id: &str, uploader: Option<&UserId>, uploaded_ms: u64) -> Verdict {
        self.media(server, media_id).or(|| {
            let of_uploader = uploader.and_then(|user| self.0.users.get(user)).into_iter().flatten();
            let mut all = of_uploader.chain(&self.0.times);
            all.find(|covering| covering.scope.has_time(uploaded_ms, uploaded_ms)).into()
        })
    }

    /// Whether an event is held. Times are in milliseconds since 1970.
    pub fn event(&self, room: &RoomId, sender: &UserId, received_ms: u64, sent_ms: u64) -> Verdict {
        let named = |scope: &Scope| {
            scope.room_id.as_deref().is_none_or(|named| named == room)
                && scope.user_id.as_deref().is_none_or(|named| named == sender)
                && scope.has_time(received_ms, sent_ms)
        };
        let of_room = self.0.rooms.get(room).into_iter().flatten();
        let of_sender = self.0.users.get(sender).into_iter().flatten();
        of_room.chain(of_sender).chain(&self.0.times).find(|covering| named(&covering.scope)).into()
    }

    /// Whether a hold could cover an event of a room that was sent or received in this stretch of time, in milliseconds since
    /// 1970, whoever sent it.
    pub fn any_in_room(&self, room: &RoomId, from_ms: u64, to_ms: u64) -> bool {
        let meets = |covering: &Arc<Covering>| covering.scope.meets(from_ms, to_ms);
        let of_users = self.0.users.values().flatten().filter(|covering| covering.scope.room_id.is_none());
        let of_room = self.0.rooms.get(room).into_iter().flatten();
        of_room.chain(&self.0.times).chain(of_users).any(meets)
    }

    /// Whether any hold is in force.
    pub fn is_any(&self) -> bool {
        self.0.len() > 0
    }

    /// Users whom a hold names, in whichever rooms.
    pub fn users(&self) -> impl Iterator<Item = &OwnedUserId> {
        let anywhere = |holds: &Vec<Arc<Covering>>| holds.iter().any(|covering| covering.scope.room_id.is_none());
        self.0.users.iter().filter(move |(_, holds)| anywhere(holds)).map(|(user, _)| user)
    }

    /// Rooms that a hold names without a user: what anybody sent to them.
    pub fn rooms(&self) -> impl Iterator<Item = &OwnedRoomId> {
        let anybody = |holds: &Vec<Arc<Covering>>| holds.iter().any(|covering| covering.scope.user_id.is_none());
        self.0.rooms.iter().filter(move |(_, holds)| anybody(holds)).map(|(room, _)| room)
    }

    /// Whether this hold is in force and covers an event.
    pub fn covers(&self, hold: HoldId, room: &RoomId, sender: &UserId, received_ms: u64, sent_ms: u64) -> bool {
        self.0.get(hold).is_some_and(|covering| {
            let scope = &covering.scope;
            scope.media.is_none()
                && scope.room_id.as_deref().is_none_or(|named| named == room)
                && scope.user_id.as_deref().is_none_or(|named| named == sender)
                && scope.has_time(received_ms, sent_ms)
        })
    }
}
