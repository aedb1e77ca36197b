//! Creators of rooms of version 12, who stand above every power level (`POST /createRoom`).

use wardroom_testkit::{json, same_set};

use crate::ward;

#[test]
fn the_invited_to_a_trusted_chat_are_creators_too() {
    let (alice, bob, carol) = (ward().user("alice"), ward().user("bob"), ward().user("carol"));
    let room = alice.create_room(json!({
        "room_version": "12", "preset": "trusted_private_chat", "invite": [bob.id, carol.id],
        "creation_content": { "additional_creators": [bob.id], "type": "example.ward", "room_version": "1", "creator": bob.id },
    }));
    let create = alice.state(&room, "m.room.create", "");
    assert!(same_set(&create["additional_creators"], &[&bob.id, &carol.id]), "{create}");
    assert_eq!((&create["room_version"], &create["type"]), (&json!("12"), &json!("example.ward")));
    assert!(create.get("creator").is_none(), "{create}");
    assert_eq!(alice.state(&room, "m.room.power_levels", "")["users"], json!({}));
    bob.join(&room);
    bob.change_power_levels(&room, |levels| levels["events_default"] = json!(100));
    bob.say(&room, "creators reach every level");

    // Where versions know no such creators, everybody has the creator's level.
    let old = alice.create_room(json!({ "room_version": "11", "preset": "trusted_private_chat", "invite": [bob.id] }));
    assert_eq!(alice.state(&old, "m.room.power_levels", "")["users"], json!({ alice.id.clone(): 100, bob.id: 100 }));
    assert!(alice.state(&old, "m.room.create", "").get("additional_creators").is_none());
}

#[test]
fn power_levels_do_not_name_creators() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    for mut body in [
        json!({ "power_level_content_override": { "users": { alice.id.clone(): 100 } } }),
        json!({
            "creation_content": { "additional_creators": [bob.id] },
            "power_level_content_override": { "users": { bob.id: 50 } },
        }),
    ] {
        body["room_version"] = json!("12");
        alice.try_create_room(body).refused(400, "M_INVALID_ROOM_STATE");
    }
    let room = alice.create_room(json!({ "room_version": "12" }));
    let mut levels = alice.state(&room, "m.room.power_levels", "");
    levels["users"][&alice.id] = json!(100);
    alice.try_set_state(&room, "m.room.power_levels", "", levels).refused_somehow();
}

#[test]
fn additional_creators_are_users() {
    let alice = ward().user("alice");
    for wrong in [json!("@bob:a.example"), json!(["bob"]), json!([5]), json!({ "@bob:a.example": 1 })] {
        let body = json!({ "room_version": "12", "creation_content": { "additional_creators": wrong } });
        alice.try_create_room(body).refused(400, "M_BAD_JSON");
    }
}

#[test]
fn to_end_a_room_takes_more_than_other_state() {
    let alice = ward().user("alice");
    let level = |body: wardroom_testkit::Value| {
        let mut body = json!({ "room_version": "12", "power_level_content_override": body });
        body["name"] = json!("Ward");
        let room = alice.create_room(body);
        alice.state(&room, "m.room.power_levels", "")["events"]["m.room.tombstone"].clone()
    };
    assert_eq!(level(json!({})), 150);
    assert_eq!(level(json!({ "events": { "m.room.name": 100 } })), 150);
    assert_eq!(level(json!({ "events": {}, "state_default": 200 })), 201);
    assert_eq!(level(json!({ "state_default": 200 })), 201);
    assert_eq!(level(json!({ "events": { "m.room.tombstone": 100 } })), 100, "who asks for less gets less");
}
