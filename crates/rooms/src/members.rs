//! The membership index: who is in which room, for reads that must not walk a room's state.

use ruma::{OwnedUserId, UserId, events::StateEventType, events::room::member::MembershipState};
use serde_json::value::RawValue as RawJsonValue;
use wardroom_event::{Pdu, stripped_state};
use wardroom_store::{Json, Packed, Position, Scan};

use crate::{
    Engine, Rooms,
    error::RoomError,
    ids::{EventNid, NS_USER, Place, RoomNid, UserNid},
    tables::{
        MEMBERS, MEMBERSHIP_CHANGES, MEMBERSHIPS, Membership, MembershipChange, MembershipRecord, ROOM_SERVERS,
        STRIPPED_STATE,
    },
    writer::Writer,
};

/// Own membership changes that one incremental read may meet.
const CHANGES_MAX: usize = 10_000;
/// Rooms a user may have a membership in, as far as one read goes.
const ROOMS_PER_USER_MAX: usize = 100_000;
/// State that invited and knocking users are told (specification, "Stripped state").
pub(crate) const STRIPPED_TYPES: [StateEventType; 8] = [
    StateEventType::RoomCreate,
    StateEventType::RoomName,
    StateEventType::RoomAvatar,
    StateEventType::RoomTopic,
    StateEventType::RoomJoinRules,
    StateEventType::RoomCanonicalAlias,
    StateEventType::RoomEncryption,
    StateEventType::RoomHistoryVisibility,
];

/// A user's membership of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MembershipEntry {
    /// The room.
    pub room: RoomNid,
    /// The membership now.
    pub membership: Membership,
    /// The membership before this one.
    pub previous: Option<Membership>,
    /// The `m.room.member` event.
    pub event: EventNid,
    /// Where the membership changed to this.
    pub place: Place,
    /// The user has forgotten the room.
    pub forgotten: bool,
    /// Whether the user is or was ever joined.
    pub was_joined: bool,
    /// Where the user last ceased to be joined.
    pub left: Option<Place>,
    /// The user brought the membership about, nobody else: tells leaving from being put out.
    pub by_self: bool,
}

fn entry(room: RoomNid, record: &MembershipRecord, written: Position) -> MembershipEntry {
    let mut record = record.clone();
    record.settle(written);
    MembershipEntry {
        room,
        membership: record.membership,
        previous: record.previous,
        event: record.event,
        place: record.since.unwrap_or(Place::new(written, record.index)),
        forgotten: record.forgotten,
        was_joined: record.was_joined,
        left: record.left,
        by_self: record.by_self,
    }
}

impl From<&MembershipState> for Membership {
    fn from(state: &MembershipState) -> Self {
        match state {
            MembershipState::Join => Self::Join,
            MembershipState::Invite => Self::Invite,
            MembershipState::Knock => Self::Knock,
            MembershipState::Ban => Self::Ban,
            // The authorization rules let nothing else pass.
            _ => Self::Leave,
        }
    }
}

impl Engine {
    /// A user's membership of a room, now.
    pub(crate) async fn membership(&self, user: UserNid, room: RoomNid) -> Result<Option<MembershipEntry>, RoomError> {
        let found = self.store.latest().get_versioned(&MEMBERSHIPS, &(user, room)).await?;
        Ok(found.map(|(record, written)| entry(room, &record.0, written)))
    }

    /// The number of a user, if this server has heard of them.
    pub(crate) async fn user_nid(&self, user: &UserId) -> Result<Option<UserNid>, RoomError> {
        Ok(self.store.interner().lookup(NS_USER, user.as_str()).await?.map(UserNid::new))
    }

    /// Ids of joined users of this server, of the first `among_max` members.
    pub(crate) async fn local_members(&self, room: RoomNid, among_max: usize) -> Result<Vec<OwnedUserId>, RoomError> {
        let scan = Scan::prefix(&(room, Membership::Join as u8)).limit(among_max);
        let keys = self.store.latest().scan_keys(&MEMBERS, scan).await?;
        let numbers: Vec<u64> = keys.into_iter().map(|(_, _, user)| user.get()).collect();
        let names = self.store.interner().resolve_many(NS_USER, &numbers).await?;
        let users = names.into_iter().flatten().filter_map(|name| OwnedUserId::try_from(&*name).ok());
        Ok(users.filter(|user| user.server_name() == self.server_name).collect())
    }
}

impl Rooms {
    /// The rooms in which a user has or had a membership.
    pub async fn memberships(&self, user: UserNid) -> Result<Vec<MembershipEntry>, RoomError> {
        let scan = Scan::prefix(&user).limit(ROOMS_PER_USER_MAX);
        let found = self.engine.store.latest().scan_versioned(&MEMBERSHIPS, scan).await?;
        Ok(found.into_iter().map(|((_, room), record, written)| entry(room, &record.0, written)).collect())
    }

    /// A user's membership of a room, now.
    pub async fn membership(&self, user: UserNid, room: RoomNid) -> Result<Option<MembershipEntry>, RoomError> {
        self.engine.membership(user, room).await
    }

    /// Rooms whose membership changed for this user in (since, up_to], each once, in the order of their last change.
    pub async fn membership_changes(
        &self,
        user: UserNid,
        since: Position,
        up_to: Position,
    ) -> Result<Vec<RoomNid>, RoomError> {
        let (from, to) = (Place::after(since), Place::after(up_to));
        let scan = Scan::range(&(user, from.position(), 0_u16), &(user, to.position(), 0_u16)).limit(CHANGES_MAX);
        let mut rooms: Vec<RoomNid> = Vec::new();
        for (_, change) in self.engine.store.latest().scan(&MEMBERSHIP_CHANGES, scan).await? {
            rooms.retain(|room| *room != change.0.room);
            rooms.push(change.0.room);
        }
        Ok(rooms)
    }

    /// Users of a room by membership now, in a stable order; pages by `after`.
    pub async fn members(
        &self,
        room: RoomNid,
        membership: Membership,
        after: Option<UserNid>,
        limit: usize,
    ) -> Result<Vec<UserNid>, RoomError> {
        let mut scan = Scan::prefix(&(room, membership as u8)).limit(limit);
        if let Some(after) = after {
            scan = scan.after(&(room, membership as u8, after));
        }
        let keys = self.engine.store.latest().scan_keys(&MEMBERS, scan).await?;
        Ok(keys.into_iter().map(|(_, _, user)| user).collect())
    }

    /// The ids of users.
    pub async fn user_ids(&self, users: &[UserNid]) -> Result<Vec<OwnedUserId>, RoomError> {
        let numbers: Vec<u64> = users.iter().map(|user| user.get()).collect();
        let names = self.engine.store.interner().resolve_many(NS_USER, &numbers).await?;
        Ok(names.into_iter().flatten().filter_map(|name| OwnedUserId::try_from(&*name).ok()).collect())
    }

    /// What an invited or knocking user was told of the room.
    pub async fn stripped_state(&self, user: UserNid, room: RoomNid) -> Result<Vec<Box<RawJsonValue>>, RoomError> {
        let found = self.engine.store.latest().get(&STRIPPED_STATE, &(user, room)).await?;
        Ok(found.map(|state| state.0).unwrap_or_default())
    }
}

impl Writer {
    /// A user's membership as this group leaves it so far.
    pub(crate) async fn membership(&self, user: UserNid) -> Result<Option<MembershipRecord>, RoomError> {
        if let Some(record) = self.memberships.get(&user) {
            return Ok(Some(record.clone()));
        }
        let found = self.engine.store.latest().get_versioned(&MEMBERSHIPS, &(user, self.nid())).await?;
        Ok(found.map(|(record, written)| {
            let mut record = record.0;
            record.settle(written);
            record
        }))
    }

    /// Keeps the index in step with an `m.room.member` event that is being added.
    pub(crate) async fn record_membership(
        &mut self,
        user: UserNid,
        event: EventNid,
        pdu: &Pdu,
    ) -> Result<(), RoomError> {
        let Some(membership) = pdu.membership().as_ref().map(Membership::from) else { return Ok(()) };
        self.set_membership(user, membership, event, pdu).await
    }

    async fn set_membership(
        &mut self,
        user: UserNid,
        membership: Membership,
        event: EventNid,
        pdu: &Pdu,
    ) -> Result<(), RoomError> {
        let (room, index) = (self.nid(), self.next_index());
        let before = self.membership(user).await?;
        let unchanged = before.as_ref().is_some_and(|before| before.membership == membership);
        let record = MembershipRecord {
            membership,
            event,
            index,
            // A new display name does not change since when somebody is a member.
            since: before.as_ref().filter(|_| unchanged).and_then(|before| before.since),
            previous: if unchanged {
                before.as_ref().and_then(|before| before.previous)
            } else {
                before.as_ref().map(|before| before.membership)
            },
            left: before.as_ref().and_then(|before| before.left),
            left_here: !unchanged && before.as_ref().is_some_and(|before| before.membership == Membership::Join),
            was_joined: membership == Membership::Join || before.as_ref().is_some_and(|before| before.was_joined),
            forgotten: false,
            by_self: pdu.state_key() == Some(pdu.sender().as_str()),
        };
        if !unchanged {
            if let Some(before) = &before {
                self.batch.delete(&MEMBERS, &(room, before.membership as u8, user));
            }
            self.batch.put(&MEMBERS, &(room, membership as u8, user), &());
            self.batch.touch(room.members_watch());
            self.note_arrival((user, pdu.state_key().unwrap_or_default()), membership);
            self.count(before.as_ref().map(|before| before.membership), membership);
            if let Some(user) = pdu.state_key().and_then(|key| <&UserId>::try_from(key).ok()) {
                self.count_server(user, before.map(|before| before.membership), membership).await?;
            }
            self.tell_user(user, membership, pdu).await?;
        }
        if membership == Membership::Join {
            self.note_name(user, pdu);
        }
        self.batch.put(&MEMBERSHIPS, &(user, room), &Packed(record.clone()));
        self.memberships.insert(user, record);
        Ok(())
    }

    fn count(&mut self, before: Option<Membership>, now: Membership) {
        for (membership, count) in
            [(Membership::Join, &mut self.head.joined), (Membership::Invite, &mut self.head.invited)]
        {
            if before == Some(membership) {
                *count = count.saturating_sub(1);
            }
            if now == membership {
                *count += 1;
            }
        }
    }

    /// Counts the joined users of the user's server.
    async fn count_server(
        &mut self,
        user: &UserId,
        before: Option<Membership>,
        now: Membership,
    ) -> Result<(), RoomError> {
        let (was, is) = (before == Some(Membership::Join), now == Membership::Join);
        if was == is {
            return Ok(());
        }
        let server = self.server(user.server_name()).await?;
        let count = self.servers.get(&server).copied().unwrap_or_default();
        let count = if is { count + 1 } else { count.saturating_sub(1) };
        let key = (self.nid(), server);
        if count == 0 {
            self.servers.remove(&server);
            self.batch.delete(&ROOM_SERVERS, &key);
        } else {
            self.servers.insert(server, count);
            self.batch.put(&ROOM_SERVERS, &key, &Packed(count));
        }
        Ok(())
    }

    /// Ends a membership that the state does not know any more, since it resolved to another line of the graph.
    pub(crate) async fn drop_membership(&mut self, user: UserNid) -> Result<(), RoomError> {
        let Some(before) = self.membership(user).await? else { return Ok(()) };
        if before.membership == Membership::Leave {
            return Ok(());
        }
        let Some(event) = self.event(before.event).await? else { return Ok(()) };
        self.set_membership(user, Membership::Leave, before.event, &event.pdu).await
    }

    /// Writes what a local user's sync has to hear of a changed membership.
    async fn tell_user(&mut self, user: UserNid, membership: Membership, pdu: &Pdu) -> Result<(), RoomError> {
        let room = self.nid();
        let Some(id) = pdu.state_key().and_then(|key| <&UserId>::try_from(key).ok()) else { return Ok(()) };
        if id.server_name() != self.engine.server_name {
            return Ok(());
        }
        if matches!(membership, Membership::Invite | Membership::Knock) {
            let mut told = Vec::with_capacity(STRIPPED_TYPES.len() + 2);
            for kind in &STRIPPED_TYPES {
                told.extend(self.state_event(kind, "").await?.map(|stored| stripped_state(&stored.pdu)));
            }
            let inviter = self.state_event(&StateEventType::RoomMember, pdu.sender().as_str()).await?;
            told.extend(inviter.filter(|_| pdu.sender() != id).map(|stored| stripped_state(&stored.pdu)));
            told.push(stripped_state(pdu));
            self.batch.put(&STRIPPED_STATE, &(user, room), &Json(told));
        } else {
            self.batch.delete(&STRIPPED_STATE, &(user, room));
        }
        let change = Packed(MembershipChange { room, membership });
        self.batch.put(&MEMBERSHIP_CHANGES, &(user, Position::COMMIT, self.next_index()), &change);
        self.batch.touch(user.watch());
        Ok(())
    }
}
