//! What changes in state that a new room gets from the one it replaces, so that its version allows it.

use std::collections::BTreeSet;

use ruma::{OwnedUserId, events::StateEventType};
use serde_json::{Map, Value, json};
use wardroom_event::{Pdu, RoomVersion, UserPower};

use crate::{
    create::{TOMBSTONE_LEVEL_OF_OWNERS, guard_tombstone},
    summary::content,
};

/// Level of those who stand above every level where the new version does not know such.
const ADMIN_LEVEL: i64 = 100;
/// Level that a room's end asks of those who would write or invite there (specification, "Room upgrades").
const CLOSED_LEVEL: i64 = 50;

/// The fields of power levels that hold one level, with the level that counts where they are absent.
const SINGLE_LEVELS: [(&str, i64); 7] = [
    ("ban", 50),
    ("kick", 50),
    ("redact", 50),
    ("invite", 0),
    ("state_default", 50),
    ("events_default", 0),
    ("users_default", 0),
];

/// The creators that stand above every level, in versions that know such.
pub(super) fn creators_of(create: &Pdu) -> Vec<OwnedUserId> {
    if !create.version().rules().authorization.explicitly_privilege_room_creators {
        return Vec::new();
    }
    let fields = content(create).unwrap_or_default();
    let also = fields.get("additional_creators").and_then(Value::as_array).into_iter().flatten();
    let also = also.filter_map(Value::as_str).filter_map(|id| OwnedUserId::try_from(id).ok());
    also.chain([create.sender().to_owned()]).collect()
}

/// Everything that the power levels of a new room are made of.
pub(super) struct Levels {
    pub(super) old: Option<Map<String, Value>>,
    pub(super) old_version: RoomVersion,
    /// Who stood above every level.
    pub(super) old_creators: Vec<OwnedUserId>,
    pub(super) new_version: RoomVersion,
    pub(super) new_creators: Vec<OwnedUserId>,
    pub(super) sender: OwnedUserId,
    pub(super) sender_power: UserPower,
    /// Types of the state that the sender sets in the new room.
    pub(super) kinds: BTreeSet<String>,
}

impl Levels {
    /// The power levels with which the new room begins, and those it ends up with where the sender needs more power
    /// than they had to set the room up.
    pub(super) fn carried(&self) -> (Map<String, Value>, Option<Map<String, Value>>) {
        let mut levels = self.old.clone().unwrap_or_default();
        let new_rules = &self.new_version.rules().authorization;
        if new_rules.integer_power_levels {
            make_integers(&mut levels);
        }
        if new_rules.explicitly_privilege_room_creators {
            if let Some(Value::Object(users)) = levels.get_mut("users") {
                users.retain(|user, _| !self.new_creators.iter().any(|creator| creator == user));
            }
            if !self.old_version.rules().authorization.explicitly_privilege_room_creators {
                raise_tombstone(&mut levels);
            }
            return (levels, None);
        }
        // Whoever stood above every level keeps the power to do everything.
        let top = highest(&levels).max(ADMIN_LEVEL);
        for creator in &self.old_creators {
            set_user(&mut levels, creator, top);
        }
        if self.old.is_none() {
            // A creator has level 100 for as long as the room has no power levels.
            set_user(&mut levels, &self.sender, top);
        }
        let (needed, has) = (self.needed(&levels), user_level(&levels, &self.sender));
        if has >= needed || self.sender_power == UserPower::Infinite {
            return (levels, None);
        }
        let mut first = levels.clone();
        set_user(&mut first, &self.sender, needed);
        (first, Some(levels))
    }

    /// The level that setting up the new room takes.
    fn needed(&self, levels: &Map<String, Value>) -> i64 {
        let events = levels.get("events").and_then(Value::as_object);
        let default = single(levels, "state_default", 50);
        let of = |kind: &str| events.and_then(|events| events.get(kind)).and_then(level).unwrap_or(default);
        let kinds = self.kinds.iter().map(String::as_str).chain(["m.room.power_levels"]).map(of);
        // To ban takes more power than the banned have, too.
        let ban = single(levels, "ban", 50).max(single(levels, "users_default", 0).saturating_add(1));
        kinds.chain([ban]).max().unwrap_or(default)
    }
}

/// The old room's power levels once it has ended: only those with power may write or invite.
pub(super) fn closed_levels(mut levels: Map<String, Value>) -> Map<String, Value> {
    let closed = CLOSED_LEVEL.max(single(&levels, "users_default", 0).saturating_add(1));
    for (field, default) in [("events_default", 0), ("invite", 0)] {
        let now = single(&levels, field, default);
        levels.insert(field.to_owned(), now.max(closed).into());
    }
    levels
}

/// A join rule that the new version does not know becomes the next stricter one that it knows: nobody may come in who
/// could not before.
pub(super) fn carried_join_rules(fields: &mut Map<String, Value>, version: RoomVersion) {
    let rules = &version.rules().authorization;
    let known = match fields.get("join_rule").and_then(Value::as_str) {
        Some("knock") if !rules.knocking => "invite",
        Some("restricted") if !rules.restricted_join_rule => "invite",
        Some("knock_restricted") if !rules.restricted_join_rule => "invite",
        Some("knock_restricted") if !rules.knock_restricted_join_rule => "restricted",
        _ => return,
    };
    fields.insert("join_rule".to_owned(), known.into());
    if known == "invite" {
        fields.remove("allow");
    }
}

/// Closing a room of owners takes more than an ordinary admin's power.
fn raise_tombstone(levels: &mut Map<String, Value>) {
    let events = levels.entry("events").or_insert_with(|| json!({}));
    let kind = StateEventType::RoomTombstone.to_string();
    if let Some(events) = events.as_object_mut() {
        let now = events.remove(&kind).as_ref().and_then(level).filter(|now| *now > TOMBSTONE_LEVEL_OF_OWNERS);
        events.extend(now.map(|now| (kind, now.into())));
    }
    guard_tombstone(levels);
}

/// Old versions let levels be strings.
fn make_integers(levels: &mut Map<String, Value>) {
    let integers = |map: &mut Map<String, Value>| {
        map.retain(|_, value| match level(value) {
            Some(level) => {
                *value = level.into();
                true
            }
            None => false,
        });
    };
    for (field, _) in SINGLE_LEVELS {
        if let Some(value) = levels.get(field) {
            match level(value) {
                Some(level) => drop(levels.insert(field.to_owned(), level.into())),
                None => drop(levels.remove(field)),
            }
        }
    }
    for field in ["users", "events", "notifications"] {
        if let Some(Value::Object(map)) = levels.get_mut(field) {
            integers(map);
        }
    }
}

/// The highest of all levels, of users and of what they may do.
fn highest(levels: &Map<String, Value>) -> i64 {
    let singles = SINGLE_LEVELS.iter().map(|(field, default)| single(levels, field, *default));
    let maps = ["users", "events", "notifications"].into_iter().filter_map(|field| levels.get(field)?.as_object());
    singles.chain(maps.flat_map(Map::values).filter_map(level)).max().unwrap_or(ADMIN_LEVEL)
}

fn single(levels: &Map<String, Value>, field: &str, default: i64) -> i64 {
    levels.get(field).and_then(level).unwrap_or(default)
}

fn user_level(levels: &Map<String, Value>, user: &OwnedUserId) -> i64 {
    let named = levels.get("users").and_then(|users| level(users.get(user.as_str())?));
    named.unwrap_or_else(|| single(levels, "users_default", 0))
}

fn set_user(levels: &mut Map<String, Value>, user: &OwnedUserId, level: i64) {
    let users = levels.entry("users").or_insert_with(|| json!({}));
    if let Some(users) = users.as_object_mut() {
        users.insert(user.to_string(), level.into());
    }
}

/// A level as a number or, as old versions have it, as a string.
fn level(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.trim().parse().ok())
}
