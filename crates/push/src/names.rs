//! What a notification calls rooms and people.

use ruma::{OwnedRoomAliasId, UserId, events::StateEventType};
use serde::{Deserialize, de::DeserializeOwned};
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

async fn content<T: DeserializeOwned>(
    rooms: &Rooms,
    room: &RoomView,
    kind: StateEventType,
) -> Result<Option<T>, PushError> {
    let event = rooms.state_event(room.nid, room.state, &kind, "").await?;
    Ok(event.and_then(|event| serde_json::from_str(event.pdu.content().get()).ok()))
}

/// What a room is called, for a user who is in it or invited: its name, its alias, or those of the others in it.
pub(crate) async fn of_room(rooms: &Rooms, room: &RoomView, user: UserNid) -> Result<RoomNames, PushError> {
    let name = content::<Name>(rooms, room, StateEventType::RoomName).await?;
    let name = name.map(|content| content.name).filter(|name| !name.trim().is_empty());
    let alias = content::<CanonicalAlias>(rooms, room, StateEventType::RoomCanonicalAlias).await?;
    let alias = alias.map(|content| content.alias);
    let name = match (name, &alias) {
        (Some(name), _) => Some(name),
        (None, Some(alias)) => Some(alias.to_string()),
        (None, None) => of_others(rooms, room, user).await?,
    };
    Ok(RoomNames { name, alias })
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

/// The display name of a member of a room.
pub(crate) async fn of_sender(rooms: &Rooms, room: &RoomView, sender: &UserId) -> Result<Option<String>, PushError> {
    let event = rooms.state_event(room.nid, room.state, &StateEventType::RoomMember, sender.as_str()).await?;
    let content = event.and_then(|event| event.pdu.content_as::<Member>().ok());
    Ok(content.and_then(|content| content.displayname))
}
