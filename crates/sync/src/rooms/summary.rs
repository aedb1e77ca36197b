//! What clients make a room's name of, where it has none, and how many members it has.

use std::sync::Arc;

use ruma::{
    OwnedUserId,
    events::{StateEventType, TimelineEventType},
};
use serde::{Deserialize, Serialize};
use wardroom_rooms::{Membership, RoomNid, Root, Slot, StateChange, Stored, UserNid};

use super::{Room, state::States};
use crate::{SyncError, hearing::Hearing};

/// Heroes of a room (specification, `/sync`, `m.heroes`).
const HEROES_MAX: usize = 5;
/// Members of each kind among whom the heroes are looked for.
const CANDIDATES_MAX: usize = 50;
/// Changed slots that are looked at before a summary counts as changed.
const CHANGES_LOOKED_AT_MAX: usize = 100;

/// `RoomSummary` of the [specification](https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3sync).
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    /// Present where the room has neither name nor alias.
    #[serde(rename = "m.heroes", skip_serializing_if = "Option::is_none")]
    heroes: Option<Vec<OwnedUserId>>,
    #[serde(rename = "m.joined_member_count")]
    joined: u64,
    #[serde(rename = "m.invited_member_count")]
    invited: u64,
}

impl Summary {
    pub(super) fn heroes(&self) -> &[OwnedUserId] {
        self.heroes.as_deref().unwrap_or_default()
    }
}

impl Hearing<'_> {
    /// The summary of a room.
    pub(super) async fn summary(&self, room: &Room<'_>, states: States) -> Result<Summary, SyncError> {
        let has_name = self.has_name(room.view.nid, states.end).await?;
        let heroes = if has_name { None } else { Some(self.heroes(room, states.end).await?) };
        Ok(Summary { heroes, joined: room.view.joined, invited: room.view.invited })
    }

    /// Whether anything that a summary tells changed behind what the client knows.
    pub(super) async fn summary_changed(&self, room: &Room<'_>, states: States) -> Result<bool, SyncError> {
        if states.known == states.end {
            return Ok(false);
        }
        let nid = room.view.nid;
        let changes = self.syncer.rooms.state_difference(nid, states.known, states.end).await?;
        if changes.len() > CHANGES_LOOKED_AT_MAX {
            return Ok(true);
        }
        for change in changes {
            if self.changes_summary(nid, change).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn changes_summary(&self, room: RoomNid, change: StateChange) -> Result<bool, SyncError> {
        let nids: Vec<_> = change.old.into_iter().chain(change.new).collect();
        let events = self.syncer.rooms.events(room, &nids).await?;
        if change.slot.user().is_some() {
            let memberships: Vec<_> = events.iter().map(|stored| stored.pdu.membership()).collect();
            return Ok(!matches!(memberships.as_slice(), [before, after] if before == after));
        }
        Ok(events.iter().any(|stored| {
            matches!(stored.pdu.kind(), TimelineEventType::RoomName | TimelineEventType::RoomCanonicalAlias)
        }))
    }

    async fn has_name(&self, room: RoomNid, root: Root) -> Result<bool, SyncError> {
        #[derive(Deserialize)]
        struct Content {
            name: Option<String>,
            alias: Option<String>,
        }
        for kind in [StateEventType::RoomName, StateEventType::RoomCanonicalAlias] {
            let event = self.syncer.rooms.state_event(room, root, &kind, "").await?;
            let content = event.and_then(|event| event.pdu.content_as::<Content>().ok());
            let text =
                content.and_then(|content| if kind == StateEventType::RoomName { content.name } else { content.alias });
            if text.is_some_and(|text| !text.is_empty()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn heroes(&self, room: &Room<'_>, root: Root) -> Result<Vec<OwnedUserId>, SyncError> {
        let members = self.hero_events(room.view.nid, root).await?;
        Ok(members.iter().filter_map(|stored| OwnedUserId::try_from(stored.pdu.state_key()?).ok()).collect())
    }

    /// The first members who are joined or invited, or else those who were, in the order in which they came.
    pub(crate) async fn hero_events(&self, room: RoomNid, root: Root) -> Result<Vec<Arc<Stored>>, SyncError> {
        for memberships in [[Membership::Join, Membership::Invite], [Membership::Leave, Membership::Ban]] {
            let mut users: Vec<UserNid> = Vec::new();
            for membership in memberships {
                users.extend(self.syncer.rooms.members(room, membership, None, CANDIDATES_MAX).await?);
            }
            users.retain(|user| *user != self.user);
            let slots: Vec<Slot> = users.into_iter().map(Slot::member).collect();
            let mut events: Vec<Arc<Stored>> = self.syncer.rooms.events_at(room, root, &slots).await?;
            if !events.is_empty() {
                events.sort_by_key(|stored| stored.nid);
                events.truncate(HEROES_MAX);
                return Ok(events);
            }
        }
        Ok(Vec::new())
    }
}
