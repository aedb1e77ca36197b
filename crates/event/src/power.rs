//! Power levels.
//!
//! [`m.room.power_levels`](https://spec.matrix.org/v1.19/client-server-api/#mroompower_levels).

use std::collections::HashSet;

use ruma::{
    Int, OwnedUserId, UserId,
    events::TimelineEventType,
    room_version_rules::AuthorizationRules,
    serde::deserialize_v1_powerlevel,
    state_res::events::{RoomCreateEvent, RoomPowerLevelsEvent},
};
use serde::Deserialize;
use serde_json::value::RawValue as RawJsonValue;

use crate::Pdu;

/// The power of a user. Greater is more powerful.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum UserPower {
    /// A level, usually 0 to 100.
    Int(i64),
    /// A creator of the room, in versions that set creators above every level (12).
    Infinite,
}

impl UserPower {
    /// Whether this suffices for what needs `level`.
    pub fn reaches(self, level: i64) -> bool {
        self >= Self::Int(level)
    }
}

/// What a level is required for.
#[derive(Debug, Clone, Copy)]
pub enum Action<'a> {
    /// Banning and unbanning.
    Ban,
    /// Kicking, and unbanning together with `Ban`.
    Kick,
    /// Inviting.
    Invite,
    /// Redacting events of others.
    Redact,
    /// Sending an event of this type.
    Send(&'a TimelineEventType),
    /// Setting state of this type.
    SetState(&'a TimelineEventType),
    /// Notifying everybody with `@room`.
    NotifyRoom,
}

/// Level of a room's creator while the room has no power levels.
const CREATOR_LEVEL: i64 = 100;
/// Required where the room's power levels cannot be read, which authorization does not let happen: nobody reaches it.
const UNREADABLE_LEVEL: i64 = i64::MAX;

/// The power levels of a room, read once for many questions.
#[derive(Debug)]
pub struct PowerLevels<'a> {
    levels: Option<RoomPowerLevelsEvent<&'a Pdu>>,
    creators: HashSet<OwnedUserId>,
    rules: &'static AuthorizationRules,
}

impl<'a> PowerLevels<'a> {
    /// From the current `m.room.power_levels`, if any, and `m.room.create` of a room.
    pub fn new(levels: Option<&'a Pdu>, create: &Pdu) -> Self {
        let rules = &create.version().rules().authorization;
        // An unreadable create event leaves the room without creators; authorization rejects all its events.
        let creators = RoomCreateEvent::new(create).creators(rules).unwrap_or_default();
        Self { levels: levels.map(RoomPowerLevelsEvent::new), creators, rules }
    }

    /// The power of a user.
    pub fn of(&self, user: &UserId) -> UserPower {
        let creator = self.creators.contains(user);
        if creator && self.rules.explicitly_privilege_room_creators {
            return UserPower::Infinite;
        }
        UserPower::Int(match &self.levels {
            Some(levels) => levels.user_power_level(user, self.rules).map_or(0, i64::from),
            None if creator => CREATOR_LEVEL,
            None => 0,
        })
    }

    /// The level that an action needs.
    pub fn required(&self, action: Action<'_>) -> i64 {
        required(self.levels.as_ref(), action)
    }
}

/// The power of a user, from the current power levels, if any, and the create event of the room.
///
/// For several questions about one room see [`PowerLevels`].
pub fn power_of(levels: Option<&Pdu>, create: &Pdu, user: &UserId) -> UserPower {
    PowerLevels::new(levels, create).of(user)
}

/// The level that an action needs, from the current power levels, if any.
pub fn level_for(levels: Option<&Pdu>, action: Action<'_>) -> i64 {
    required(levels.map(RoomPowerLevelsEvent::new).as_ref(), action)
}

fn required(levels: Option<&RoomPowerLevelsEvent<&Pdu>>, action: Action<'_>) -> i64 {
    let Some(levels) = levels else { return default_level(action) };
    let rules = &levels.version().rules().authorization;
    let level = match action {
        Action::Send(kind) => levels.event_power_level(kind, None, rules).ok().map(i64::from),
        Action::SetState(kind) => levels.event_power_level(kind, Some(""), rules).ok().map(i64::from),
        Action::NotifyRoom => levels.notifications(rules).ok().map(|levels| {
            levels.and_then(|levels| levels.get("room").copied()).map_or(default_level(action), i64::from)
        }),
        Action::Ban | Action::Kick | Action::Invite | Action::Redact => field(levels, action, rules),
    };
    level.unwrap_or(UNREADABLE_LEVEL)
}

fn default_level(action: Action<'_>) -> i64 {
    match action {
        Action::Ban | Action::Kick | Action::Redact | Action::SetState(_) | Action::NotifyRoom => 50,
        Action::Invite | Action::Send(_) => 0,
    }
}

/// One of the levels at the top of the content, read as authorization reads it; `None` if it is no level.
fn field(levels: &Pdu, action: Action<'_>, rules: &AuthorizationRules) -> Option<i64> {
    #[derive(Deserialize)]
    struct Content<'a> {
        #[serde(borrow)]
        ban: Option<&'a RawJsonValue>,
        #[serde(borrow)]
        kick: Option<&'a RawJsonValue>,
        #[serde(borrow)]
        invite: Option<&'a RawJsonValue>,
        #[serde(borrow)]
        redact: Option<&'a RawJsonValue>,
    }

    let content: Content<'_> = levels.content_as().ok()?;
    let raw = match action {
        Action::Ban => content.ban,
        Action::Kick => content.kick,
        Action::Invite => content.invite,
        _ => content.redact,
    };
    let Some(raw) = raw else { return Some(default_level(action)) };
    let level = if rules.integer_power_levels {
        serde_json::from_str::<Int>(raw.get())
    } else {
        deserialize_v1_powerlevel(&mut serde_json::Deserializer::from_str(raw.get()))
    };
    level.ok().map(i64::from)
}
