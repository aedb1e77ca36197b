//! The hierarchy of a space as another server is told it (specification, server-server API, `GET /hierarchy/{roomId}`):
//! the space and its children, which are not looked into.

use std::sync::Arc;

use ruma::{OwnedRoomId, RoomId, ServerName};

use super::{CHILDREN_BYTES_MAX, HierarchyRoom};
use crate::{Engine, Rooms, error::RoomError, room::RoomView, summary::Summary, tables::Membership};

/// Children of a space that another server is told of; in the order of the specification, those beyond are left out.
const CHILDREN_TOLD_MAX: usize = 1_000;

/// A space and its children as another server may know of them.
#[derive(Clone, Debug)]
pub struct ServerHierarchy {
    /// The space.
    pub room: HierarchyRoom,
    /// Its children that users of the server could join or read.
    pub children: Vec<Arc<Summary>>,
    /// Its children that they could not.
    pub inaccessible: Vec<OwnedRoomId>,
}

impl Rooms {
    /// A space and its children, as far as users of a server could join or read them. Children that this server is not
    /// in are left out.
    ///
    /// # Errors
    /// [`RoomError::NotFound`] where there is no such room, or the server may not know of it.
    pub async fn hierarchy_for_server(
        &self,
        server: &ServerName,
        room: &RoomId,
        suggested_only: bool,
    ) -> Result<ServerHierarchy, RoomError> {
        const NO_SUCH_ROOM: RoomError = RoomError::NotFound("There is no such room, or you may not know of it.");
        let view = self.view(room).await?.ok_or(NO_SUCH_ROOM)?;
        if !self.is_in_room(&view).await? {
            return Err(NO_SUCH_ROOM);
        }
        let summary = self.glimpse_of_server(server, &view).await?.ok_or(NO_SUCH_ROOM)?;
        let space = if summary.is_space() { Some(self.engine.children_of_space(&view).await?) } else { None };
        let listed = space.iter().flat_map(|space| &space.children);
        let listed = listed.filter(|child| child.suggested || !suggested_only).take(CHILDREN_TOLD_MAX);
        let (mut children_state, mut bytes) = (Vec::new(), 0);
        let (mut children, mut inaccessible) = (Vec::new(), Vec::new());
        for child in listed {
            bytes += child.stripped.get().len();
            if bytes > CHILDREN_BYTES_MAX {
                break;
            }
            children_state.push(Arc::clone(&child.stripped));
            let Some(view) = self.view(&child.room).await? else { continue };
            if !self.is_in_room(&view).await? {
                continue;
            }
            match self.glimpse_of_server(server, &view).await? {
                Some(summary) => {
                    bytes += usize::try_from(summary.bytes()).unwrap_or(CHILDREN_BYTES_MAX);
                    children.push(summary);
                }
                None => inaccessible.push(child.room.clone()),
            }
        }
        Ok(ServerHierarchy { room: HierarchyRoom { summary, children_state }, children, inaccessible })
    }

    /// Whether users of this server are in a room.
    async fn is_in_room(&self, room: &RoomView) -> Result<bool, RoomError> {
        Ok(!room.servers.is_empty() && self.engine.is_resident(room).await?)
    }

    /// What a room is, if users of a server are in it, are invited, or could join, ask to, or read it.
    async fn glimpse_of_server(&self, server: &ServerName, room: &RoomView) -> Result<Option<Arc<Summary>>, RoomError> {
        if !self.admits_server(room.nid, server).await? {
            return Ok(None);
        }
        let summary = self.engine.summary(room).await?;
        if summary.is_for_everybody() || self.engine.invites_server(room, server).await? {
            return Ok(Some(summary));
        }
        for there in std::iter::once(&room.id).chain(summary.allowed_room_ids()) {
            let Some(nid) = self.room_nid(there).await? else { continue };
            if self.view(there).await?.is_some() && self.servers(nid).await?.iter().any(|in_it| *in_it == *server) {
                return Ok(Some(summary));
            }
        }
        Ok(None)
    }
}

impl Engine {
    /// Whether a user of the server is invited.
    async fn invites_server(&self, room: &RoomView, server: &ServerName) -> Result<bool, RoomError> {
        if room.invited == 0 {
            return Ok(false);
        }
        Ok(!self.users_of_server(room.nid, server, Some(Membership::Invite)).await?.is_empty())
    }
}
