//! Rooms that a user is invited to or has knocked on: stripped state, and nothing else.

use ruma::OwnedUserId;
use serde::Deserialize;
use serde_json::value::RawValue as RawJsonValue;
use wardroom_rooms::MembershipEntry;

use crate::{
    SyncError,
    hearing::Hearing,
    response::{Events, Object},
    sights::Part,
};

impl Hearing<'_> {
    /// What an invited user may know of the room; nothing of invitations that the user does not want to hear of: those
    /// by ignored users, and all while the user lets nobody invite them.
    pub(super) async fn invited(&self, entry: &MembershipEntry) -> Result<Option<Part>, SyncError> {
        if self.hides_invite(entry).await? {
            return Ok(None);
        }
        let state = self.syncer.rooms.stripped_state(self.user, entry.room).await?;
        Ok(Some(told(&state, "invite_state")))
    }

    /// Whether the user does not want to hear of an invitation.
    pub(crate) async fn hides_invite(&self, entry: &MembershipEntry) -> Result<bool, SyncError> {
        if self.syncer.accounts.blocks_invites(self.session.nid).await? {
            return Ok(true);
        }
        if self.ignored.is_empty() {
            return Ok(false);
        }
        let state = self.syncer.rooms.stripped_state(self.user, entry.room).await?;
        Ok(inviter(&state).is_some_and(|user| self.ignored.contains(&user)))
    }

    /// What a user who has knocked may know of the room.
    pub(super) async fn knocked(&self, entry: &MembershipEntry) -> Result<Part, SyncError> {
        Ok(told(&self.syncer.rooms.stripped_state(self.user, entry.room).await?, "knock_state"))
    }
}

/// Who has sent the membership event, which is the last one of the stripped state.
fn inviter(state: &[Box<RawJsonValue>]) -> Option<OwnedUserId> {
    #[derive(Deserialize)]
    struct Sent {
        sender: OwnedUserId,
    }
    serde_json::from_str::<Sent>(state.last()?.get()).ok().map(|event| event.sender)
}

/// The room under this name.
///
/// [Stripped state](https://spec.matrix.org/v1.19/client-server-api/#stripped-state). Event filters do not apply to
/// it: it is what the user decides by.
fn told(stripped: &[Box<RawJsonValue>], name: &str) -> Part {
    let mut events = Events::default();
    for event in stripped {
        events.next().extend_from_slice(event.get().as_bytes());
    }
    let mut state = Object::default();
    state.raw("events", &events.end());
    let mut room = Object::default();
    room.object(name, state);
    Part { json: room.end(), stripped: stripped.len(), ..Part::default() }
}
