//! Rooms of a hierarchy that this server is not in, as others tell of them.

use std::{fmt, sync::Arc};

use futures_util::future::BoxFuture;
use ruma::{OwnedServerName, OwnedUserId, RoomId, room::RoomSummary};
use serde::Deserialize;
use serde_json::value::RawValue as RawJsonValue;

use super::{ChildFields, Children, child_of, in_order};
use crate::{
    Actor, Engine, Membership, Rooms,
    error::RoomError,
    summary::{ReadSummary, Summary},
    trie::Root,
};

/// Tells of rooms that this server is not in.
pub trait Elsewhere: fmt::Debug + Send + Sync {
    /// A room, by way of servers that may be in it; none where nobody tells of it.
    fn room<'a>(&'a self, room: &'a RoomId, via: &'a [OwnedServerName]) -> BoxFuture<'a, Option<Arc<TheirRoom>>>;
}

/// A room that this server is not in.
#[derive(Debug)]
pub struct TheirRoom {
    summary: Arc<Summary>,
    children: Arc<Children>,
}

impl TheirRoom {
    /// A room as another server tells of it, with the stripped `m.space.child` events of a space. Events that name no child
    /// are left out.
    pub fn new<'a>(room: &RoomSummary, children: impl Iterator<Item = &'a RawJsonValue>) -> Self {
        #[derive(Deserialize)]
        struct Child<'a> {
            state_key: String,
            sender: OwnedUserId,
            origin_server_ts: u64,
            #[serde(borrow)]
            content: &'a RawJsonValue,
        }
        let ranked = children.filter_map(|event| {
            let Child { state_key, sender, origin_server_ts, content } = serde_json::from_str(event.get()).ok()?;
            child_of(&ChildFields { state_key: &state_key, sender: &sender, origin_server_ts, content })
        });
        let children = in_order(ranked.collect(), Root::EMPTY);
        Self { summary: Arc::new(Summary::told(room)), children: Arc::new(children) }
    }

    /// Whether guests may join.
    pub fn lets_guests_in(&self) -> bool {
        self.summary.chunk.guest_can_join
    }

    /// Whether the room is a space, which has children to ask for.
    pub fn is_space(&self) -> bool {
        self.summary.is_space()
    }

    pub(super) fn children(&self) -> Arc<Children> {
        Arc::clone(&self.children)
    }
}

impl Rooms {
    /// The summary of a room elsewhere, if this user may know of it: whoever told it spoke to this server, not to the user.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn glimpse_elsewhere(
        &self,
        actor: Actor<'_>,
        room: &TheirRoom,
    ) -> Result<Option<ReadSummary>, RoomError> {
        self.engine.glimpse_elsewhere(actor, room).await
    }
}

impl Engine {
    pub(super) async fn glimpse_elsewhere(
        &self,
        actor: Actor<'_>,
        room: &TheirRoom,
    ) -> Result<Option<ReadSummary>, RoomError> {
        let summary = &room.summary;
        let membership = match self.room_nid(&summary.chunk.room_id).await? {
            Some(nid) => self.membership(actor.nid, nid).await?.map(|entry| entry.membership),
            None => None,
        };
        let may = matches!(membership, Some(Membership::Join | Membership::Invite))
            || summary.is_for_everybody()
            || self.is_in_one_of(actor.nid, summary.allowed_room_ids()).await?;
        Ok(may.then(|| ReadSummary { summary: Arc::clone(summary), membership }))
    }
}
