//! Which members of a room have pushers.

use std::{collections::HashMap, sync::Arc};

use wardroom_accounts::Accounts;
use wardroom_rooms::{Membership, Place, RoomNid, RoomView, Rooms, UserNid};

use crate::PushError;

/// Members of all rooms together that are remembered, about 24 bytes each.
const REMEMBERED_MAX: usize = 1_000_000;
/// Members read at a time.
const MEMBERS_PER_PAGE: usize = 5_000;
/// From so many members for each user with a pusher on, the users are asked for the room, not the room for its members.
const MEMBERS_PER_USER: u64 = 4;

/// A member with pushers, and since when it is one.
pub(crate) type Listener = (UserNid, Place);

/// The members with pushers of rooms that something happened in. It belongs to the one who follows the log, and is kept
/// in step by what stands there.
#[derive(Debug)]
pub(crate) struct Audience {
    rooms: Rooms,
    accounts: Accounts,
    known: HashMap<RoomNid, Arc<Vec<Listener>>>,
    remembered: usize,
    generation: u64,
}

impl Audience {
    pub(crate) fn new(rooms: Rooms, accounts: Accounts) -> Self {
        Self { rooms, accounts, known: HashMap::new(), remembered: 0, generation: 0 }
    }

    /// The members of a room who have pushers, by number.
    pub(crate) async fn of(&mut self, room: &RoomView) -> Result<Arc<Vec<Listener>>, PushError> {
        let generation = self.accounts.pushers_generation();
        if self.generation != generation {
            self.forget_all();
            self.generation = generation;
        }
        if let Some(known) = self.known.get(&room.nid) {
            return Ok(Arc::clone(known));
        }
        let listeners = Arc::new(self.find(room).await?);
        if self.remembered.saturating_add(listeners.len()) > REMEMBERED_MAX {
            self.forget_all();
        }
        self.remembered += listeners.len() + 1;
        self.known.insert(room.nid, Arc::clone(&listeners));
        Ok(listeners)
    }

    async fn find(&self, room: &RoomView) -> Result<Vec<Listener>, PushError> {
        let users = self.accounts.users_with_pushers();
        let users: Vec<UserNid> = users.into_iter().map(|(user, _)| UserNid::new(user.get())).collect();
        let few = u64::try_from(users.len()).unwrap_or(u64::MAX).saturating_mul(MEMBERS_PER_USER) < room.joined;
        let candidates = if few { users } else { self.members(room.nid).await? };
        let mut listeners = Vec::new();
        for user in candidates {
            listeners.extend(self.listener(user, room.nid).await?);
        }
        listeners.sort_unstable();
        Ok(listeners)
    }

    /// Joined members who have pushers.
    async fn members(&self, room: RoomNid) -> Result<Vec<UserNid>, PushError> {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = self.rooms.members(room, Membership::Join, after, MEMBERS_PER_PAGE).await?;
            after = page.last().copied();
            let (full, has_pushers) = (page.len() == MEMBERS_PER_PAGE, |user: &UserNid| self.has_pushers(*user));
            found.extend(page.into_iter().filter(has_pushers));
            if !full {
                return Ok(found);
            }
        }
    }

    fn has_pushers(&self, user: UserNid) -> bool {
        self.accounts.has_pushers(wardroom_accounts::UserNid::new(user.get()))
    }

    async fn listener(&self, user: UserNid, room: RoomNid) -> Result<Option<Listener>, PushError> {
        let entry = self.rooms.membership(user, room).await?;
        Ok(entry.filter(|entry| entry.membership == Membership::Join).map(|entry| (user, entry.place)))
    }

    /// A user's membership of a room changed.
    pub(crate) async fn member_changed(&mut self, room: RoomNid, user: UserNid) -> Result<(), PushError> {
        if !self.has_pushers(user) || !self.known.contains_key(&room) {
            return Ok(());
        }
        let listener = self.listener(user, room).await?;
        if let Some(known) = self.known.get_mut(&room) {
            let known = Arc::make_mut(known);
            known.retain(|(other, _)| *other != user);
            if let Some(listener) = listener {
                known.insert(known.partition_point(|other| *other < listener), listener);
                self.remembered += 1;
            }
        }
        Ok(())
    }

    fn forget_all(&mut self) {
        self.known.clear();
        self.remembered = 0;
    }
}
