//! Invitations of people of other servers to the spaces of their roles. Their servers sign these first, which takes as
//! long as those servers like: it holds up nothing else, and no other server.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    pin::Pin,
    sync::Arc,
};

use parking_lot::Mutex;
use ruma::{OwnedServerName, OwnedUserId, RoomId, UserId};
use tokio::{sync::Notify, task::JoinSet};
use wardroom_rooms::{Actor, Membership, NS_USER, RoomNid, UserNid};

use crate::{Care, CareError, alarms::AlarmKind, service_user::actor};

/// Invites users of other servers.
pub trait Inviter: fmt::Debug + Send + Sync {
    /// Invites a user of another server to a room, by somebody who is in it.
    fn invite<'a>(
        &'a self,
        by: Actor<'a>,
        room: &'a RoomId,
        user: &'a UserId,
    ) -> Pin<Box<dyn Future<Output = Result<(), NotInvited>> + Send + 'a>>;
}

/// Why somebody was not invited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotInvited {
    /// In words.
    pub sentence: String,
    /// The user's server did not answer: it would not for others of its users either.
    pub unreachable: bool,
}

/// Who is to be invited, in memory: a look at everybody finds them again.
#[derive(Debug, Default)]
pub(crate) struct Invitations {
    waiting: Mutex<Waiting>,
    added: Notify,
    inviter: std::sync::OnceLock<Arc<dyn Inviter>>,
}

#[derive(Debug, Default)]
struct Waiting {
    by_server: BTreeMap<OwnedServerName, BTreeSet<(RoomNid, OwnedUserId)>>,
    /// Who could not be invited, and until when it is not tried again, in milliseconds since 1970.
    failed: HashMap<(RoomNid, OwnedUserId), u64>,
}

impl Invitations {
    /// Has people invited to a space, but for those of whom that failed a short time ago.
    pub(super) fn ask_for(&self, room: RoomNid, users: Vec<OwnedUserId>, now_ms: u64) {
        if users.is_empty() {
            return;
        }
        let mut waiting = self.waiting.lock();
        waiting.failed.retain(|_, until_ms| *until_ms > now_ms);
        for user in users {
            let entry = (room, user);
            if !waiting.failed.contains_key(&entry) {
                waiting.by_server.entry(entry.1.server_name().to_owned()).or_default().insert(entry);
            }
        }
        self.added.notify_one();
    }

    /// Lets it be tried again at once.
    pub(super) fn forgive(&self, room: RoomNid, user: &OwnedUserId) {
        self.waiting.lock().failed.remove(&(room, user.clone()));
    }

    fn next_of(&self, server: &OwnedServerName) -> Option<(RoomNid, OwnedUserId)> {
        let mut waiting = self.waiting.lock();
        let next = waiting.by_server.get_mut(server)?.pop_first();
        if next.is_none() {
            waiting.by_server.remove(server);
        }
        next
    }

    fn servers(&self) -> Vec<OwnedServerName> {
        self.waiting.lock().by_server.keys().cloned().collect()
    }

    fn give_up(&self, server: &OwnedServerName) {
        self.waiting.lock().by_server.remove(server);
    }
}

impl Care {
    /// Names who invites users of other servers; without anybody, none are.
    pub fn invite_by(&self, inviter: Arc<dyn Inviter>) {
        // The first stays: there is one.
        drop(self.0.judge.spaces().invitations.inviter.set(inviter));
    }

    /// Invites people of other servers to the spaces of their roles, until the server stops.
    pub async fn run_invitations(&self) {
        let invitations = &self.0.judge.spaces().invitations;
        let mut working: JoinSet<()> = JoinSet::new();
        let mut servers: HashMap<tokio::task::Id, OwnedServerName> = HashMap::new();
        loop {
            for server in invitations.servers() {
                if !servers.values().any(|busy| *busy == server) {
                    let (care, of) = (self.clone(), server.clone());
                    let task = working.spawn(async move { care.invite_people_of(&of).await });
                    servers.insert(task.id(), server);
                }
            }
            tokio::select! {
                () = invitations.added.notified() => {}
                Some(ended) = working.join_next_with_id() => {
                    let id = ended.map_or_else(|error| error.id(), |(id, ())| id);
                    servers.remove(&id);
                }
            }
        }
    }

    /// Invites those of one server, one after the other, until it does not answer.
    async fn invite_people_of(&self, server: &OwnedServerName) {
        let invitations = &self.0.judge.spaces().invitations;
        while let Some((room, user)) = invitations.next_of(server) {
            let failure = match self.invite_one(room, &user).await {
                Ok(Ok(())) => continue,
                Ok(Err(failure)) => failure,
                Err(error) => NotInvited { sentence: error.to_string(), unreachable: false },
            };
            let again_ms = self.now_ms().saturating_add(self.0.recheck_ms);
            invitations.waiting.lock().failed.insert((room, user.clone()), again_ms);
            let sentence = format!("somebody could not be invited to the space of their role: {}", failure.sentence);
            let id = self.0.rooms.room_id(room).await.ok().flatten();
            self.0.alarms.raise(AlarmKind::SpaceIncomplete, id.as_deref(), Some(&user), &sentence).await;
            if failure.unreachable {
                invitations.give_up(server);
            }
        }
    }

    async fn invite_one(&self, room: RoomNid, user: &OwnedUserId) -> Result<Result<(), NotInvited>, CareError> {
        let spaces = self.0.judge.spaces();
        let (Some(space), Some(inviter)) = (spaces.of_room(room), spaces.invitations.inviter.get()) else {
            return Ok(Ok(()));
        };
        // As it is now: a good while may have gone by.
        let nid = self.0.store.interner().lookup(NS_USER, user.as_str()).await?.map(UserNid::new);
        let entry = match nid {
            Some(nid) => self.0.rooms.membership(nid, room).await?,
            None => None,
        };
        let there = entry.is_some_and(|entry| matches!(entry.membership, Membership::Join | Membership::Invite));
        if there || !self.is_wanted(&space, user).await? {
            return Ok(Ok(()));
        }
        let account = self.0.service.account().await?;
        let view = self.0.rooms.view_of(room).await?;
        Ok(inviter.invite(actor(&account.id, UserNid::new(account.nid.get())), &view.id, user).await)
    }
}

#[cfg(test)]
mod tests {
    use ruma::{OwnedUserId, user_id};
    use wardroom_rooms::RoomNid;

    use super::Invitations;

    #[test]
    fn invitations_wait_by_server_and_failures_are_not_tried_at_once() {
        let (invitations, room) = (Invitations::default(), RoomNid::new(7));
        let bob: OwnedUserId = user_id!("@bob:b.example").to_owned();
        let carol: OwnedUserId = user_id!("@carol:c.example").to_owned();
        let ask = |now_ms| invitations.ask_for(room, vec![bob.clone(), carol.clone(), bob.clone()], now_ms);
        ask(0);
        assert_eq!(invitations.servers(), ["b.example", "c.example"]);
        let server = bob.server_name().to_owned();
        assert_eq!(invitations.next_of(&server), Some((room, bob.clone())));
        assert_eq!(invitations.next_of(&server), None);
        assert_eq!(invitations.servers(), ["c.example"]);
        invitations.waiting.lock().failed.insert((room, bob.clone()), 100);
        ask(99);
        assert_eq!(invitations.servers(), ["c.example"]);
        invitations.forgive(room, &bob);
        ask(99);
        assert_eq!(invitations.servers().len(), 2);
        invitations.give_up(&server);
        invitations.waiting.lock().failed.insert((room, bob.clone()), 100);
        ask(100);
        assert_eq!(invitations.next_of(&server), Some((room, bob)));
    }
}
