//! Looking at rooms, and keeping users out of them.

use wardroom_testkit::{Actor, Value, json, unique, v3};

use super::{admin_of, synapse};
use crate::ward;

#[test]
fn rooms_are_listed_shown_and_found() {
    let (server, admin) = (ward(), admin_of(ward()));
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let name = unique("Ward");
    let alias = unique("ward");
    let room = alice.create_room(json!({
        "name": name, "topic": "Visits", "preset": "public_chat", "room_alias_name": alias, "visibility": "public",
    }));
    let empty = alice.create_room(json!({ "name": format!("{name} empty") }));
    alice.leave(&empty);
    bob.join(&room);
    let list = |query: &[(&str, &str)]| {
        let target = query.iter().fold(synapse(&["v1", "rooms"]), |target, (key, value)| target.query(key, value));
        admin.get(target).ok()
    };
    let found = list(&[("search_term", &name.to_uppercase()), ("order_by", "joined_members")]);
    assert_eq!((&found["total_rooms"], &found["offset"]), (&json!(2), &json!(0)));
    let shown = &found["rooms"][0];
    assert_eq!(shown["room_id"], room);
    assert_eq!(shown["canonical_alias"], format!("#{alias}:{}", server.name()));
    assert_eq!((&shown["joined_members"], &shown["joined_local_members"]), (&json!(2), &json!(2)));
    assert_eq!(
        (&shown["public"], &shown["federatable"], &shown["join_rules"]),
        (&json!(true), &json!(true), &json!("public"))
    );
    assert_eq!((&shown["creator"], &shown["encryption"]), (&json!(alice.id), &Value::Null));
    assert!(shown["state_events"].as_u64().unwrap() >= 9, "{shown}");
    assert_eq!(list(&[("search_term", &name), ("empty_rooms", "true")])["rooms"][0]["room_id"], empty);
    assert_eq!(list(&[("search_term", &name), ("public_rooms", "true")])["rooms"][0]["room_id"], room);
    let page = list(&[("search_term", &name), ("limit", "1")]);
    assert_eq!((&page["rooms"][0]["room_id"], &page["next_batch"]), (&json!(room), &json!(1)));
    let page = list(&[("search_term", &name), ("limit", "1"), ("from", "1")]);
    assert_eq!((&page["rooms"][0]["room_id"], &page["prev_batch"]), (&json!(empty), &json!(0)));
    assert_eq!(list(&[("search_term", &room)])["rooms"][0]["name"], name);
    admin.get(synapse(&["v1", "rooms"]).query("order_by", "colour")).refused(400, "M_INVALID_PARAM");

    let details = admin.get(synapse(&["v1", "rooms", &room])).ok();
    assert_eq!((&details["topic"], &details["joined_local_devices"]), (&json!("Visits"), &json!(2)));
    let members = admin.get(synapse(&["v1", "rooms", &room, "members"])).ok();
    assert_eq!(members["total"], 2);
    let state = admin.get(synapse(&["v1", "rooms", &room, "state"])).ok();
    assert!(state["state"].as_array().unwrap().iter().any(|event| event["content"]["topic"] == "Visits"), "{state}");
    admin.get(synapse(&["v1", "rooms", "!nowhere:elsewhere.example"])).refused(404, "M_NOT_FOUND");
    admin.get(synapse(&["v1", "rooms", "nonsense"])).refused(400, "M_INVALID_PARAM");
}

#[test]
fn nobody_joins_a_blocked_room_or_is_invited_to_it() {
    let (server, admin) = (ward(), admin_of(ward()));
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room = alice.create_public_room(&[]);
    let block = || synapse(&["v1", "rooms", &room, "block"]);
    assert_eq!(admin.get(block()).ok(), json!({ "block": false }));
    assert_eq!(admin.put(block(), json!({ "block": true })).ok(), json!({ "block": true }));
    assert_eq!(admin.get(block()).ok(), json!({ "block": true, "user_id": admin.id }));
    bob.try_join(&room).refused(403, "M_FORBIDDEN");
    alice.on_member("invite", &room, &bob).refused(403, "M_FORBIDDEN");
    let member = v3(&["rooms", &room, "state", "m.room.member", &bob.id]);
    bob.put(member, json!({ "membership": "join" })).refused(403, "M_FORBIDDEN");
    alice.say(&room, "who is in it goes on");
    admin.put(block(), json!({ "block": false })).ok();
    bob.join(&room);
    let unheard = synapse(&["v1", "rooms", "!unheard:elsewhere.example", "block"]);
    admin.put(unheard.clone(), json!({ "block": true })).ok();
    assert_eq!(admin.get(unheard).ok()["block"], true);
    admin.put(block(), json!({})).refused(400, "M_BAD_JSON");
}
