//! Who is on the way into which room, through which server: that server may want to know something of them before it
//! lets them in.

use std::sync::Arc;

use parking_lot::Mutex;
use ruma::{OwnedRoomId, OwnedServerName, OwnedUserId, RoomId, ServerName, UserId};
use wardroom_rooms::{Membership, RoomError, UserNid};

use super::{Passage, RemoteRooms};
use crate::ingest::invites::Told;

type Way = (OwnedUserId, OwnedRoomId, OwnedServerName);

/// Those who are on the way.
#[derive(Clone, Debug, Default)]
pub(super) struct Passing(Arc<Mutex<Vec<Way>>>);

/// Somebody is on the way until this is dropped.
#[derive(Debug)]
pub(super) struct OnTheWay {
    passing: Passing,
    way: Way,
}

impl Passing {
    /// Notes that a user wants into a room through a server.
    pub(super) fn note(&self, passage: &Passage<'_>, server: &ServerName) -> OnTheWay {
        let way = (passage.actor.user.to_owned(), passage.room.to_owned(), server.to_owned());
        self.0.lock().push(way.clone());
        OnTheWay { passing: self.clone(), way }
    }

    fn has(&self, user: &UserId, room: &RoomId, server: &ServerName) -> bool {
        self.0.lock().iter().any(|way| way.0 == user && way.1 == room && way.2 == server)
    }
}

impl Drop for OnTheWay {
    fn drop(&mut self) {
        let mut ways = self.passing.0.lock();
        if let Some(index) = ways.iter().position(|way| *way == self.way) {
            ways.swap_remove(index);
        }
    }
}

impl RemoteRooms {
    /// Whether a user of this server and another server have a room in common: the user is in it, invited to it, knocking
    /// on it or on the way into it, and the server is in it, has invited the user, or is asked to let the user in.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn are_together(
        &self,
        (nid, user): (UserNid, &UserId),
        room: &RoomId,
        server: &ServerName,
    ) -> Result<bool, RoomError> {
        let inner = &self.inner;
        if inner.passing.has(user, room, server) {
            return Ok(true);
        }
        let Some(view) = inner.rooms.view(room).await? else { return Ok(false) };
        let membership = inner.rooms.membership(nid, view.nid).await?.map(|entry| entry.membership);
        if !matches!(membership, Some(Membership::Join | Membership::Invite | Membership::Knock)) {
            return Ok(false);
        }
        if inner.rooms.is_resident(view.nid).await? {
            return Ok(inner.rooms.servers(view.nid).await?.iter().any(|there| there == server));
        }
        let told = Told::of(&inner.rooms, room, nid, user).await?;
        let inviter = told.inviter.is_some_and(|inviter| inviter.server_name() == server);
        Ok(inviter || told.servers.contains(server))
    }
}

#[cfg(test)]
mod tests {
    use ruma::{room_id, server_name, user_id};
    use wardroom_rooms::{Actor, MemberProfile, UserNid};

    use super::{Passage, Passing};

    #[test]
    fn somebody_is_on_the_way_until_the_last_attempt_ends() {
        let (passing, server) = (Passing::default(), server_name!("b.example"));
        let (user, room) = (user_id!("@u:a.example"), room_id!("!r:b.example"));
        let actor = Actor { user, nid: UserNid::new(1), device: None, guest: false };
        let passage = Passage { actor, room, via: &[], profile: MemberProfile::default(), reason: None };
        let (first, second) = (passing.note(&passage, server), passing.note(&passage, server));
        drop(first);
        assert!(passing.has(user, room, server) && !passing.has(user, room, server_name!("c.example")));
        drop(second);
        assert!(!passing.has(user, room, server));
    }
}
