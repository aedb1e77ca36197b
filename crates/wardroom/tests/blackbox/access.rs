//! Rooms that require roles (`org.wardroom.access_policy`).

mod administration;
mod attestations;
mod doors;
pub(crate) mod emergency;
mod guards;
mod history;
mod losing;
mod mappings;
mod media;
mod orders;
mod partners;
mod powers;
mod registry;
mod restricted;
mod spaces;
mod templates;
mod watching;

use wardroom_testkit::{Actor, Server, User, Value, json, wait_until};

use crate::{
    SOON,
    admin::{admin_of, own},
};

const POLICY: &str = "org.wardroom.access_policy";

/// A policy that requires one of these.
pub(crate) fn policy(roles: &[&str]) -> Value {
    let any_of: Vec<Value> = roles.iter().map(|role| json!({ "all_of": [role] })).collect();
    json!({ "version": 1, "require": { "any_of": any_of } })
}

/// Gives a user these roles, and no others, by an administrator.
#[track_caller]
pub(crate) fn give(admin: &User, user: &str, roles: &[&str]) {
    let roles: Vec<Value> = roles.iter().map(|role| json!({ "role": role, "reason": "on duty" })).collect();
    admin.put(own(&["role_bindings", user]), json!({ "roles": roles })).ok();
}

/// Waits for an alarm of this kind about this room.
#[track_caller]
fn alarm(admin: &User, kind: &str, room: &str) -> Value {
    wait_until(&format!("the alarm {kind}"), SOON, || {
        let alarms = admin.get(own(&["alarms"])).ok();
        let mut all = alarms["alarms"].as_array().unwrap().iter();
        all.find(|alarm| alarm["kind"] == kind && alarm["room_id"] == room).cloned()
    })
}

/// A server with a room that requires a role, which its creator has.
pub(crate) struct Gated {
    pub(crate) server: &'static Server,
    pub(crate) admin: User,
    /// Has the role.
    pub(crate) alice: User,
    pub(crate) room: String,
    role: String,
}

impl Gated {
    /// A room of this preset; the role is of this room alone.
    pub(crate) fn of(preset: &str) -> Self {
        let (server, role) = (crate::ward(), format!("{}@h1/cardiology", wardroom_testkit::unique("physician")));
        let (admin, alice) = (admin_of(server), server.user("alice"));
        give(&admin, &alice.id, &[&role]);
        let room = alice.create_room(json!({ "preset": preset }));
        alice.say(&room, "confidential");
        admin.put(own(&["rooms", &room, "policy"]), policy(&[&role])).ok();
        Self { server, admin, alice, room, role }
    }

    /// A user with the role.
    pub(crate) fn colleague(&self) -> User {
        let user = self.server.user("colleague");
        give(&self.admin, &user.id, &[&self.role]);
        user
    }
}
