//! Spaces and what leads from room to room: hierarchies, summaries, restricted joins, upgrades, directories of rooms
//! and users, the way from a time to an event, and reports.

mod creators;
mod hierarchy;
mod mutual_rooms;
mod reports;
mod restricted_joins;
mod room_directory;
mod summaries;
mod timestamps;
mod upgrades;
mod user_directory;

use wardroom_testkit::{User, Value, json};

/// Creates a space with these children, in this order.
fn space(owner: &User, name: &str, children: &[&str]) -> String {
    let body = json!({ "name": name, "preset": "public_chat", "creation_content": { "type": "m.space" } });
    let space = owner.create_room(body);
    for (place, child) in children.iter().enumerate() {
        set_child(owner, &space, child, json!({ "order": format!("{place:04}") }));
    }
    space
}

/// Makes a room the child of a space, with these fields besides `via`.
fn set_child(owner: &User, space: &str, child: &str, mut content: Value) {
    content["via"] = json!(["hospital-a.example"]);
    owner.set_state(space, "m.space.child", child, content);
}

/// Creates a room that members of another one may join.
fn restricted(owner: &User, version: &str, rule: &str, allow: &[&str]) -> String {
    let allow: Vec<Value> = allow.iter().map(|room| json!({ "type": "m.room_membership", "room_id": room })).collect();
    let rules = json!({ "type": "m.room.join_rules", "content": { "join_rule": rule, "allow": allow } });
    owner.create_room(json!({ "room_version": version, "name": "Restricted", "initial_state": [rules] }))
}

/// The `room_id` of each room, in order.
fn room_ids(rooms: &Value) -> Vec<&str> {
    let rooms = rooms.as_array().unwrap_or_else(|| panic!("a list of rooms: {rooms}"));
    rooms.iter().map(|room| room["room_id"].as_str().unwrap()).collect()
}
