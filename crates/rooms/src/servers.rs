//! Which servers are in a room, and which it lets take part.

use std::{collections::BTreeSet, sync::Arc};

use ruma::{
    OwnedRoomId, OwnedServerName, RoomId, ServerName, UserId,
    events::{StateEventType, room::server_acl::RoomServerAclEventContent},
};

use crate::{
    Engine, Membership, Rooms,
    error::RoomError,
    ids::{NS_SERVER, RoomNid, ServerNid, UserNid},
    room::RoomView,
};

impl Engine {
    /// The names of servers.
    pub(crate) async fn server_names(&self, servers: &[ServerNid]) -> Result<Vec<OwnedServerName>, RoomError> {
        let numbers: Vec<u64> = servers.iter().map(|server| server.get()).collect();
        let names = self.store.interner().resolve_many(NS_SERVER, &numbers).await?;
        Ok(names.into_iter().flatten().filter_map(|name| OwnedServerName::try_from(&*name).ok()).collect())
    }

    /// Whether this server may act on a room without asking others: it has users in it, or nobody has.
    pub(crate) async fn is_resident(&self, view: &RoomView) -> Result<bool, RoomError> {
        if view.create.get() == 0 {
            return Ok(false);
        }
        if view.servers.is_empty() {
            return Ok(true);
        }
        let own = self.store.interner().known(NS_SERVER, self.server_name.as_str()).await?;
        Ok(own.is_some_and(|own| view.servers.contains_key(&ServerNid::new(own))))
    }
}

impl Rooms {
    /// Whether this server may act on the room without asking others: users of its are joined, or nobody is and it was
    /// in the room before.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn is_resident(&self, room: RoomNid) -> Result<bool, RoomError> {
        let view = self.engine.room(room).await?.view();
        self.engine.is_resident(&view).await
    }

    /// Whether there is such a room and this server is in it, as [`Rooms::is_resident`] says.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn is_here(&self, room: &RoomId) -> Result<bool, RoomError> {
        match self.view(room).await? {
            Some(view) => self.engine.is_resident(&view).await,
            None => Ok(false),
        }
    }

    /// Whether a user is joined to one of these rooms.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn is_in_any(&self, user: UserNid, rooms: &[OwnedRoomId]) -> Result<bool, RoomError> {
        self.engine.is_in_one_of(user, rooms).await
    }

    /// The servers that have users in the room, this one too if it has; none of a room that was deleted.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn servers(&self, room: RoomNid) -> Result<Arc<[OwnedServerName]>, RoomError> {
        let view = match self.engine.room(room).await {
            Ok(room) => room.view(),
            Err(RoomError::NoSuchRoom) => return Ok(Arc::default()),
            Err(error) => return Err(error),
        };
        let servers: Vec<ServerNid> = view.servers.keys().copied().collect();
        Ok(self.engine.server_names(&servers).await?.into())
    }

    /// Other servers that have users in a room with this user.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn servers_of_acquaintances(&self, user: &UserId) -> Result<Vec<OwnedServerName>, RoomError> {
        let Some(nid) = self.engine.user_nid(user).await? else { return Ok(Vec::new()) };
        let mut servers: BTreeSet<ServerNid> = BTreeSet::new();
        for entry in self.memberships(nid).await? {
            if entry.membership == Membership::Join {
                servers.extend(self.engine.room(entry.room).await?.view().servers.keys());
            }
        }
        let servers: Vec<ServerNid> = servers.into_iter().collect();
        let mut names = self.engine.server_names(&servers).await?;
        names.retain(|name| *name != self.engine.server_name);
        Ok(names)
    }

    /// Whether the room's server access control list lets a server take part. A list that cannot be read lets nobody.
    ///
    /// [`m.room.server_acl`](https://spec.matrix.org/v1.19/client-server-api/#server-access-control-lists-acls-for-rooms).
    ///
    /// # Errors
    /// When the store fails.
    pub async fn admits_server(&self, room: RoomNid, server: &ServerName) -> Result<bool, RoomError> {
        let view = self.engine.room(room).await?.view();
        let acl = self.engine.state_event(room, view.state, &StateEventType::RoomServerAcl, "").await?;
        Ok(acl.is_none_or(|acl| {
            acl.pdu.content_as::<RoomServerAclEventContent>().is_ok_and(|acl| acl.is_allowed(server))
        }))
    }
}
