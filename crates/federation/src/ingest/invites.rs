//! Events of rooms that this server is not in: those that end an invitation or a knock of one of its users.

use std::{collections::BTreeSet, sync::Arc};

use ruma::{
    OwnedEventId, OwnedServerName, OwnedUserId, RoomId, ServerName, UserId, events::room::member::MembershipState,
};
use serde::Deserialize;
use serde_json::value::RawValue as RawJsonValue;
use wardroom_event::{Pdu, RoomVersion};
use wardroom_rooms::{Membership, RoomError, Rooms, UserNid};

use super::{Inner, Taken, incoming};

const NOT_HERE: &str = "this server is not in the room";

/// What a user who is not in a room was told of it.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// The room's version, where the room is known at all.
    pub(crate) version: Option<RoomVersion>,
    /// Who sent the user's membership event.
    pub(crate) inviter: Option<OwnedUserId>,
    /// The servers of those who sent what it says.
    pub(crate) servers: BTreeSet<OwnedServerName>,
}

impl Told {
    /// Reads the stripped state that came with an invitation or a knock.
    pub(crate) fn read(stripped: &[Box<RawJsonValue>], user: &UserId) -> Self {
        #[derive(Deserialize)]
        struct Stripped {
            #[serde(rename = "type")]
            kind: String,
            state_key: Option<String>,
            sender: Option<OwnedUserId>,
        }
        let mut told = Self::default();
        for event in stripped {
            let Ok(event) = serde_json::from_str::<Stripped>(event.get()) else { continue };
            told.servers.extend(event.sender.as_ref().map(|sender| sender.server_name().to_owned()));
            if event.kind == "m.room.member" && event.state_key.as_deref() == Some(user.as_str()) {
                told.inviter = event.sender;
            }
        }
        told
    }

    /// What a user was told of a room; nothing of one that nobody told of.
    pub(crate) async fn of(rooms: &Rooms, room: &RoomId, nid: UserNid, user: &UserId) -> Result<Self, RoomError> {
        let Some(view) = rooms.view(room).await? else { return Ok(Self::default()) };
        let mut told = Self::read(&rooms.stripped_state(nid, view.nid).await?, user);
        // What the invitation itself was made by.
        told.version = Some(view.version);
        Ok(told)
    }
}

/// The fields of a membership event, before it is known of which version it is.
#[derive(Deserialize)]
struct MemberFields {
    #[serde(rename = "type")]
    kind: String,
    state_key: Option<OwnedUserId>,
}

impl Inner {
    /// Takes events of a room that this server is not in.
    pub(crate) async fn receive_elsewhere(
        &self,
        origin: &ServerName,
        room: &RoomId,
        pdus: Vec<Box<RawJsonValue>>,
    ) -> Vec<(OwnedEventId, Taken)> {
        let mut taken = Vec::new();
        for pdu in pdus {
            match self.receive_end_of_invite(origin, room, pdu).await {
                Ok(result) => taken.extend(result),
                Err(error) => tracing::error!(%error, "the end of an invitation cannot be noted"),
            }
        }
        taken
    }

    /// Notes that an invitation or a knock of a local user was ended by the server that could.
    async fn receive_end_of_invite(
        &self,
        origin: &ServerName,
        room: &RoomId,
        pdu: Box<RawJsonValue>,
    ) -> Result<Option<(OwnedEventId, Taken)>, RoomError> {
        let Ok(fields) = serde_json::from_str::<MemberFields>(pdu.get()) else { return Ok(None) };
        let target = fields.state_key.filter(|user| user.server_name() == self.server_name);
        let Some(target) = target.filter(|_| fields.kind == "m.room.member") else { return Ok(None) };
        let Some(nid) = self.rooms.room_nid(room).await? else { return Ok(None) };
        let Ok(Some(user)) = self.accounts.user_nid(&target).await else { return Ok(None) };
        let user = UserNid::new(user.get());
        let told = Told::of(&self.rooms, room, user, &target).await?;
        let Some(version) = told.version else { return Ok(None) };
        let Some(event) = incoming(version, vec![pdu]).pop() else { return Ok(None) };
        let membership = self.rooms.membership(user, nid).await?.map(|entry| entry.membership);
        if !matches!(membership, Some(Membership::Invite | Membership::Knock)) {
            return Ok(Some((event.id, Err(NOT_HERE.to_owned()))));
        }
        let checked = self.fetcher.ask.check(version, vec![event.raw]).await.pop();
        let result = match checked {
            Some(Ok(end)) if ends_invite(&end, origin, room, membership, &told) => {
                self.rooms.note_membership(room, end, Vec::new()).await?;
                Ok(())
            }
            Some(Ok(_)) => Err(NOT_HERE.to_owned()),
            Some(Err(reason)) => Err(reason),
            None => Err("the server failed".to_owned()),
        };
        Ok(Some((event.id, result)))
    }
}

/// Whether an event may end an invitation or a knock. The room's rules cannot be asked, so the server of whoever invited is
/// believed; a knock may be answered by the servers whose users have made the room what the user was told it is.
fn ends_invite(
    end: &Arc<Pdu>,
    origin: &ServerName,
    room: &RoomId,
    membership: Option<Membership>,
    told: &Told,
) -> bool {
    let ends = matches!(end.membership(), Some(MembershipState::Leave | MembershipState::Ban));
    let by = end.sender().server_name();
    let inviter = told.inviter.as_ref().map(|inviter| inviter.server_name());
    let may = match membership {
        Some(Membership::Invite) => inviter == Some(by),
        _ => told.servers.contains(by),
    };
    ends && may && by == origin && end.room_id() == room
}

#[cfg(test)]
mod tests {
    use ruma::{owned_user_id, user_id};
    use serde_json::{json, value::to_raw_value};

    use super::Told;

    #[test]
    fn who_invited_is_read_from_what_was_told() {
        let told = [
            json!({ "type": "m.room.create", "state_key": "", "sender": "@founder:b.example", "content": {} }),
            json!({ "type": "m.room.member", "state_key": "@u:a.example", "sender": "@boss:c.example", "content": {} }),
            json!({ "type": "m.room.member", "state_key": "@boss:c.example", "sender": "@boss:c.example" }),
            json!({ "type": 5 }),
            json!([]),
            json!({ "type": "m.room.name", "sender": "nobody" }),
        ];
        let told: Vec<_> = told.iter().map(|event| to_raw_value(event).unwrap()).collect();
        let told = Told::read(&told, user_id!("@u:a.example"));
        assert_eq!(told.inviter, Some(owned_user_id!("@boss:c.example")));
        let servers: Vec<&str> = told.servers.iter().map(|server| server.as_str()).collect();
        assert_eq!(servers, ["b.example", "c.example"]);
        assert!(told.version.is_none());
    }
}
