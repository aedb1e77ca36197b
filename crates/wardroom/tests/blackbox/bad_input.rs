//! Bad input: the specified status and `errcode`, a sentence that names the field, and nothing changed.

mod bodies;
mod fields;
mod numbers;
mod paths;
mod sizes;

use std::time::Duration;

use wardroom_testkit::{Actor, Target, User, Value, event_ids, json, unique, v3};

use crate::ward;

/// A user with a room to aim at, and everything that a request could wrongly change.
struct Scene {
    alice: User,
    bob: User,
    room: String,
    message: String,
}

/// What must be the same before and after a refused request.
#[derive(Debug, PartialEq)]
struct Everything {
    history: Vec<String>,
    state: Value,
    profile: Value,
    devices: Vec<String>,
    rooms: Value,
    account_data: Value,
    tags: Value,
}

impl Scene {
    fn new() -> Self {
        let (alice, bob) = (ward().user("alice"), ward().user("bob"));
        let room = alice.create_public_room(&[]);
        let message = alice.say(&room, "hello");
        Self { alice, bob, room, message }
    }

    fn everything(&self) -> Everything {
        let alice = &self.alice;
        let sync = alice.try_sync(None, Duration::ZERO, None).ok();
        let devices = alice.get(v3(&["devices"])).ok();
        let ids = wardroom_testkit::events(&devices["devices"])
            .iter()
            .map(|device| format!("{} {}", device["device_id"], device["display_name"]));
        let state: Vec<Value> = wardroom_testkit::events(&alice.get(v3(&["rooms", &self.room, "state"])).ok())
            .iter()
            .map(|event| json!([event["event_id"], event["content"]]))
            .collect();
        Everything {
            history: event_ids(&alice.history(&self.room)),
            state: json!(state),
            profile: alice.get(v3(&["profile", &alice.id])).json(),
            devices: ids.collect(),
            rooms: alice.get(v3(&["joined_rooms"])).ok(),
            account_data: sync["account_data"].clone(),
            tags: alice.get(v3(&["user", &alice.id, "rooms", &self.room, "tags"])).ok(),
        }
    }

    /// Runs requests that must all be refused, and checks that they changed nothing.
    #[track_caller]
    fn unchanged_by(&self, requests: impl FnOnce()) {
        let before = self.everything();
        requests();
        assert_eq!(self.everything(), before, "a refused request changed something");
    }

    fn in_room(&self, segments: &[&str]) -> Target {
        let mut path = vec!["rooms", self.room.as_str()];
        path.extend(segments);
        v3(&path)
    }

    fn of_alice(&self, segments: &[&str]) -> Target {
        let mut path = vec!["user", self.alice.id.as_str()];
        path.extend(segments);
        v3(&path)
    }

    /// Every endpoint that reads a JSON object from its body.
    fn json_endpoints(&self) -> Vec<(&'static str, Target)> {
        let alias = format!("#{}:{}", unique("bad"), ward().name());
        vec![
            ("POST", v3(&["createRoom"])),
            ("POST", self.in_room(&["join"])),
            ("POST", v3(&["join", &self.room])),
            ("POST", v3(&["knock", &self.room])),
            ("POST", self.in_room(&["invite"])),
            ("POST", self.in_room(&["kick"])),
            ("POST", self.in_room(&["ban"])),
            ("POST", self.in_room(&["unban"])),
            ("POST", self.in_room(&["leave"])),
            ("PUT", self.in_room(&["send", "m.room.message", &unique("bad")])),
            ("PUT", self.in_room(&["state", "example.bad", ""])),
            ("PUT", self.in_room(&["redact", &self.message, &unique("bad")])),
            ("PUT", self.in_room(&["typing", &self.alice.id])),
            ("POST", self.in_room(&["receipt", "m.read", &self.message])),
            ("POST", self.in_room(&["read_markers"])),
            ("PUT", self.of_alice(&["account_data", "example.bad"])),
            ("PUT", self.of_alice(&["rooms", &self.room, "account_data", "example.bad"])),
            ("PUT", self.of_alice(&["rooms", &self.room, "tags", "u.bad"])),
            ("POST", self.of_alice(&["filter"])),
            ("PUT", v3(&["profile", &self.alice.id, "displayname"])),
            ("PUT", v3(&["profile", &self.alice.id, "avatar_url"])),
            ("PUT", v3(&["directory", "room", &alias])),
            ("PUT", v3(&["directory", "list", "room", &self.room])),
            ("POST", v3(&["publicRooms"])),
            ("PUT", v3(&["pushrules", "global", "content", "bad"])),
            ("PUT", v3(&["pushrules", "global", "override", ".m.rule.master", "enabled"])),
            ("PUT", v3(&["pushrules", "global", "override", ".m.rule.master", "actions"])),
            ("PUT", v3(&["devices", &self.alice.device])),
            ("POST", v3(&["delete_devices"])),
            ("POST", v3(&["account", "password"])),
            ("POST", v3(&["account", "deactivate"])),
            ("POST", v3(&["refresh"])),
            ("POST", v3(&["register"])),
            ("POST", v3(&["login"])),
        ]
    }
}
