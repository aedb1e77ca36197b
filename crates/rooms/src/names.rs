//! Names of users of other servers, as rooms know them: for the user directory (client-server API, section "User
//! Directory").

use std::{collections::HashSet, fmt};

use ruma::{OwnedUserId, UserId};
use wardroom_event::Pdu;
use wardroom_store::{Packed, Scan};

use crate::{
    Engine, MemberProfile, Rooms,
    error::RoomError,
    ids::{NS_USER, RoomNid, UserNid},
    tables::{MEMBERS, MEMBERSHIPS, Membership},
    writer::Writer,
};

/// Members that one page of [`Rooms::names_of_others`] looks at.
pub const NAMES_PAGE: usize = 500;
/// Rooms of one user that are looked at in search of a name.
const ROOMS_PER_USER_MAX: usize = 10_000;

/// A user of another server, under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedUser {
    /// The user's number.
    pub nid: UserNid,
    /// The user.
    pub id: OwnedUserId,
    /// The display name.
    pub displayname: Option<String>,
}

/// Hears of the names of users of other servers who join a room, or change their name in it.
pub trait NameListener: Send + Sync {
    /// They are called so now. Called while others wait for their commit: it must not wait.
    fn named(&self, users: Vec<NamedUser>);
}

impl fmt::Debug for dyn NameListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NameListener")
    }
}

/// How far [`Rooms::names_of_others`] came.
pub type NamesCursor = (RoomNid, u8, UserNid);

impl Writer {
    pub(crate) fn note_name(&mut self, nid: UserNid, pdu: &Pdu) {
        let user = pdu.state_key().and_then(|key| <&UserId>::try_from(key).ok());
        let Some(id) = user.filter(|user| user.server_name() != self.engine.server_name) else { return };
        if self.engine.name_listener.get().is_some() {
            let displayname = pdu.content_as::<MemberProfile>().ok().and_then(|profile| profile.displayname);
            self.named.push(NamedUser { nid, id: id.to_owned(), displayname });
        }
    }
}

impl Engine {
    pub(crate) fn tell_names(&self, named: Vec<NamedUser>) {
        if let Some(listener) = self.name_listener.get().filter(|_| !named.is_empty()) {
            listener.named(named);
        }
    }

    /// What a room knows of a member.
    async fn name_in(&self, room: RoomNid, user: UserNid) -> Result<Option<MemberProfile>, RoomError> {
        let Some(Packed(record)) = self.store.latest().get(&MEMBERSHIPS, &(user, room)).await? else { return Ok(None) };
        let event = self.events(room, &[record.event]).await?.pop().flatten();
        Ok(event.and_then(|event| event.pdu.content_as().ok()))
    }

    async fn id_of_user(&self, user: UserNid) -> Result<Option<OwnedUserId>, RoomError> {
        let name = self.store.interner().resolve(NS_USER, user.get()).await?;
        Ok(name.and_then(|name| UserId::parse(&*name).ok()))
    }
}

impl Rooms {
    /// Says who hears of the names of users of other servers from now on. Counts the first time only.
    pub fn tell_names_to(&self, listener: Box<dyn NameListener>) {
        // A second one is a mistake of whoever puts the parts together, and harmless.
        let _ = self.engine.name_listener.set(listener);
    }

    /// Users of other servers who are joined to rooms, with their names there: a page of them, room by room, and where
    /// the next one begins. Who is in several rooms comes several times. Ungated.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn names_of_others(
        &self,
        after: Option<NamesCursor>,
        known: &HashSet<UserNid>,
    ) -> Result<(Vec<NamedUser>, Option<NamesCursor>), RoomError> {
        let scan = after.map_or_else(Scan::all, |after| Scan::all().after(&after)).limit(NAMES_PAGE);
        let members = self.engine.store.latest().scan_keys(&MEMBERS, scan).await?;
        let next = members.last().copied().filter(|_| members.len() == NAMES_PAGE);
        let joined =
            |(_, membership, user): &NamesCursor| *membership == Membership::Join as u8 && !known.contains(user);
        let mut named = Vec::new();
        for (room, _, nid) in members.into_iter().filter(joined) {
            let id = self.engine.id_of_user(nid).await?;
            let Some(id) = id.filter(|id| id.server_name() != self.engine.server_name) else { continue };
            let displayname = self.engine.name_in(room, nid).await?.and_then(|profile| profile.displayname);
            named.push(NamedUser { nid, id, displayname });
        }
        Ok((named, next))
    }

    /// How a room that two users share, or that anybody may join or read, shows one of them to the other. Ungated beyond
    /// that: who may find whom is [`Rooms::acquaintances`].
    ///
    /// # Errors
    /// When the store fails.
    pub async fn profile_shown_to(
        &self,
        asker: UserNid,
        user: UserNid,
    ) -> Result<Option<(OwnedUserId, MemberProfile)>, RoomError> {
        let Some(id) = self.engine.id_of_user(user).await? else { return Ok(None) };
        let own = self.memberships(asker).await?.into_iter();
        let own: HashSet<RoomNid> =
            own.filter(|entry| entry.membership == Membership::Join).map(|entry| entry.room).collect();
        let scan = Scan::prefix(&user).limit(ROOMS_PER_USER_MAX);
        for (_, room) in self.engine.store.latest().scan_keys(&MEMBERSHIPS, scan).await? {
            let joined = self.engine.store.latest().get(&MEMBERS, &(room, Membership::Join as u8, user)).await?;
            let shown = own.contains(&room) || self.engine.room(room).await?.view().is_open();
            if joined.is_some() && shown {
                return Ok(Some((id, self.engine.name_in(room, user).await?.unwrap_or_default())));
            }
        }
        Ok(None)
    }
}
