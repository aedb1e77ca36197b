//! What a notification calls rooms and people.

use ruma::{OwnedRoomAliasId, UserId, events::StateEventType};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, value::RawValue};
use wardroom_rooms::{Membership, RoomView, Rooms, Slot, UserNid};

use crate::PushError;

/// Members among whom those are looked for whose names make the name of a room without one.
const MEMBERS_LOOKED_AT: usize = 5;

#[derive(Deserialize)]
struct Name {
    name: String,
}

#[derive(Deserialize)]
struct CanonicalAlias {
    alias: OwnedRoomAliasId,
}

#[derive(Deserialize)]
struct Member {
    displayname: Option<String>,
}

/// Names of a room, as it is now.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct RoomNames {
    pub(crate) name: Option<String>,
    pub(crate) alias: Option<OwnedRoomAliasId>,
}

/// What is known of a room's state.
#[derive(Debug)]
pub(crate) struct Sight<'a> {
    pub(crate) rooms: &'a Rooms,
    pub(crate) room: &'a RoomView,
    /// What came with the invitation to a room that this server is not in; empty otherwise.
    pub(crate) stripped: &'a [Box<RawValue>],
}

impl Sight<'_> {
    async fn content<T: DeserializeOwned>(
        &self,
        kind: &StateEventType,
        state_key: &str,
    ) -> Result<Option<T>, PushError> {
        if !self.stripped.is_empty() {
            return Ok(content_of(self.stripped, &kind.to_string(), state_key));
        }
        let event = self.rooms.state_event(self.room.nid, self.room.state, kind, state_key).await?;
        Ok(event.and_then(|event| serde_json::from_str(event.pdu.content().get()).ok()))
    }

    /// What the room is called, for a user who is in it or invited: its name, its alias, or those of the others in it.
    pub(crate) async fn names(&self, user: UserNid) -> Result<RoomNames, PushError> {
        let name = self.content::<Name>(&StateEventType::RoomName, "").await?;
        let name = name.map(|content| content.name).filter(|name| !name.trim().is_empty());
        let alias = self.content::<CanonicalAlias>(&StateEventType::RoomCanonicalAlias, "").await?;
        let alias = alias.map(|content| content.alias);
        let name = match (name, &alias) {
            (Some(name), _) => Some(name),
            (None, Some(alias)) => Some(alias.to_string()),
            (None, None) => of_others(self.rooms, self.room, user).await?,
        };
        Ok(RoomNames { name, alias })
    }

    /// The display name of a member of the room.
    pub(crate) async fn name_of(&self, member: &UserId) -> Result<Option<String>, PushError> {
        let content = self.content::<Member>(&StateEventType::RoomMember, member.as_str()).await?;
        Ok(content.and_then(|content| content.displayname))
    }
}

/// The content of an event among those that came with an invitation.
fn content_of<T: DeserializeOwned>(stripped: &[Box<RawValue>], kind: &str, state_key: &str) -> Option<T> {
    #[derive(Deserialize)]
    struct Event {
        #[serde(rename = "type")]
        kind: String,
        state_key: String,
        content: Value,
    }
    let mut events = stripped.iter().filter_map(|event| serde_json::from_str::<Event>(event.get()).ok());
    let event = events.find(|event| event.kind == kind && event.state_key == state_key)?;
    serde_json::from_value(event.content).ok()
}

async fn of_others(rooms: &Rooms, room: &RoomView, user: UserNid) -> Result<Option<String>, PushError> {
    let mut others = Vec::new();
    for membership in [Membership::Join, Membership::Invite] {
        let members = rooms.members(room.nid, membership, None, MEMBERS_LOOKED_AT).await?;
        others.extend(members.into_iter().filter(|member| *member != user));
    }
    let Some(first) = others.first() else { return Ok(None) };
    let first = of_member(rooms, room, *first).await?;
    let count = room.joined.saturating_add(room.invited).saturating_sub(1);
    Ok(match (first, others.get(1)) {
        (Some(first), None) => Some(first),
        (Some(first), Some(second)) if count <= 2 => {
            of_member(rooms, room, *second).await?.map(|second| format!("{first} and {second}"))
        }
        (Some(first), Some(_)) => Some(format!("{first} and {} others", count.saturating_sub(1))),
        (None, _) => None,
    })
}

async fn of_member(rooms: &Rooms, room: &RoomView, user: UserNid) -> Result<Option<String>, PushError> {
    let event = rooms.events_at(room.nid, room.state, &[Slot::member(user)]).await?.pop();
    let Some(event) = event else { return Ok(None) };
    let name = event.pdu.content_as::<Member>().ok().and_then(|content| content.displayname);
    let id = event.pdu.state_key().map(str::to_owned);
    Ok(name.filter(|name| !name.trim().is_empty()).or(id))
}

#[cfg(test)]
mod tests {
    use serde_json::{json, value::to_raw_value};

    use super::{Member, Name, content_of};

    #[test]
    fn names_are_found_in_what_came_with_an_invitation() {
        let stripped = [
            json!({ "type": "m.room.name", "content": { "name": "no state key" } }),
            json!("nonsense"),
            json!({ "type": "m.room.name", "state_key": "", "sender": "@a:b", "content": { "name": "Ward 7" } }),
            json!({ "type": "m.room.member", "state_key": "@a:b", "content": { "displayname": "A" } }),
        ];
        let stripped = stripped.map(|event| to_raw_value(&event).unwrap());
        let name = content_of::<Name>(&stripped, "m.room.name", "");
        assert_eq!(name.map(|content| content.name).as_deref(), Some("Ward 7"));
        let member = content_of::<Member>(&stripped, "m.room.member", "@a:b");
        assert_eq!(member.and_then(|content| content.displayname).as_deref(), Some("A"));
        assert!(content_of::<Member>(&stripped, "m.room.member", "@c:b").is_none());
    }
}
