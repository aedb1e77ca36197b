//! `POST /createRoom`.

use wardroom_testkit::{Actor, Value, event_ids, events, find_event, json, unique, v3};

use crate::ward;

/// The types of the events that created a room, in order.
fn types(history: &[Value]) -> Vec<&str> {
    history.iter().filter_map(|event| event["type"].as_str()).collect()
}

#[test]
fn presets_set_join_rules_visibility_and_guest_access() {
    let alice = ward().user("alice");
    for (body, join_rule, visibility, guests) in [
        (json!({ "preset": "private_chat" }), "invite", "shared", "can_join"),
        (json!({ "preset": "trusted_private_chat" }), "invite", "shared", "can_join"),
        (json!({ "preset": "public_chat" }), "public", "shared", "forbidden"),
        (json!({}), "invite", "shared", "can_join"),
        (json!({ "visibility": "private" }), "invite", "shared", "can_join"),
        (json!({ "visibility": "public" }), "public", "shared", "forbidden"),
    ] {
        let room = alice.create_room(body.clone());
        assert_eq!(alice.state(&room, "m.room.join_rules", "")["join_rule"], join_rule, "{body}");
        assert_eq!(alice.state(&room, "m.room.history_visibility", "")["history_visibility"], visibility, "{body}");
        assert_eq!(alice.state(&room, "m.room.guest_access", "")["guest_access"], guests, "{body}");
    }
}

#[test]
fn events_come_in_the_specified_order() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let alias = unique("order");
    let room = alice.create_room(json!({
        "preset": "private_chat", "name": "Ward 7", "topic": "Handover", "room_alias_name": alias, "invite": [bob.id],
        "initial_state": [{ "type": "example.beds", "content": { "beds": 12 } }],
    }));
    let history = alice.history(&room);
    assert_eq!(
        types(&history[..4]),
        ["m.room.create", "m.room.member", "m.room.power_levels", "m.room.canonical_alias"]
    );
    let mut preset = types(&history[4..7]);
    preset.sort_unstable();
    assert_eq!(preset, ["m.room.guest_access", "m.room.history_visibility", "m.room.join_rules"]);
    assert_eq!(types(&history[7..]), ["example.beds", "m.room.name", "m.room.topic", "m.room.member"]);
    assert_eq!(history.last().unwrap()["state_key"], bob.id.as_str());

    let full_alias = format!("#{alias}:{}", ward().name());
    assert_eq!(alice.state(&room, "m.room.canonical_alias", "")["alias"], full_alias.as_str());
    assert_eq!(bob.get(v3(&["directory", "room", &full_alias])).ok()["room_id"], room.as_str());
    assert_eq!(alice.state(&room, "m.room.name", ""), json!({ "name": "Ward 7" }));
    assert_eq!(alice.state(&room, "m.room.topic", "")["topic"], "Handover");
    assert_eq!(alice.state(&room, "example.beds", ""), json!({ "beds": 12 }));
}

#[test]
fn events_of_a_room_have_the_client_format() {
    let alice = ward().user("alice");
    let room = alice.create_room(json!({ "name": "Ward 7" }));
    let history = alice.history(&room);
    let ids = event_ids(&history);
    assert_eq!(ids.iter().collect::<std::collections::BTreeSet<_>>().len(), ids.len(), "ids are unique");
    for event in &history {
        assert!(event["event_id"].as_str().is_some_and(|id| id.starts_with('$')), "{event}");
        assert!(event["origin_server_ts"].as_u64().is_some_and(|ms| ms > 1_600_000_000_000), "{event}");
        assert_eq!((&event["sender"], &event["room_id"]), (&json!(alice.id), &json!(room)), "{event}");
        assert!(event["content"].is_object() && event["state_key"].is_string(), "{event}");
        for internal in ["auth_events", "prev_events", "hashes", "signatures", "depth"] {
            assert!(event.get(internal).is_none(), "{internal} is no business of clients: {event}");
        }
    }
}

#[test]
fn initial_state_beats_the_preset_and_is_beaten_by_the_name() {
    let alice = ward().user("alice");
    let room = alice.create_room(json!({
        "preset": "public_chat", "name": "The name",
        "initial_state": [
            { "type": "m.room.name", "state_key": "", "content": { "name": "Not the name" } },
            { "type": "m.room.join_rules", "content": { "join_rule": "invite" } },
            { "type": "m.room.history_visibility", "state_key": "", "content": { "history_visibility": "joined" } },
        ],
    }));
    assert_eq!(alice.state(&room, "m.room.name", "")["name"], "The name");
    assert_eq!(alice.state(&room, "m.room.join_rules", "")["join_rule"], "invite");
    assert_eq!(alice.state(&room, "m.room.history_visibility", "")["history_visibility"], "joined");
}

#[test]
fn power_levels_are_overridden_on_top_of_the_defaults() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_room(json!({
        "power_level_content_override": { "users": { &bob.id: 50 }, "events": { "m.room.topic": 0 }, "invite": 75 },
    }));
    let levels = alice.state(&room, "m.room.power_levels", "");
    assert_eq!(levels["users"][&bob.id], 50, "{levels}");
    assert_eq!((&levels["events"]["m.room.topic"], &levels["invite"]), (&json!(0), &json!(75)));
    assert_eq!(levels["ban"].as_i64().unwrap_or(50), 50, "the rest stays: {levels}");
}

#[test]
fn a_trusted_private_chat_trusts_the_invited() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let body = |version: &str| json!({ "preset": "trusted_private_chat", "invite": [bob.id], "room_version": version });
    let room = alice.create_room(body("11"));
    let levels = alice.state(&room, "m.room.power_levels", "");
    assert_eq!((&levels["users"][&alice.id], &levels["users"][&bob.id]), (&json!(100), &json!(100)), "{levels}");

    let room = alice.create_room(body("12"));
    assert_eq!(alice.state(&room, "m.room.create", "")["additional_creators"], json!([bob.id]));
    bob.join(&room);
    bob.set_state(&room, "m.room.tombstone", "", json!({ "body": "closed", "replacement_room": "!x:example.org" }));
}

#[test]
fn a_room_has_a_type_and_keys_of_the_callers() {
    let alice = ward().user("alice");
    let content = json!({ "type": "m.space", "m.federate": false, "creator": "@mallory:example.org", "room_version": "99", "example.key": 1 });
    let room = alice.create_room(json!({ "creation_content": content }));
    let create = alice.state(&room, "m.room.create", "");
    assert_eq!(
        (&create["type"], &create["m.federate"], &create["example.key"]),
        (&json!("m.space"), &json!(false), &json!(1))
    );
    assert_eq!(create["room_version"], "12", "the server's to say");
    assert_ne!(create["creator"], "@mallory:example.org", "the server's to say");
}

#[test]
fn a_direct_chat_says_so_in_its_invites() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_room(json!({ "is_direct": true, "invite": [bob.id] }));
    assert_eq!(alice.state(&room, "m.room.member", &bob.id)["is_direct"], true);
    let invite = &bob.initial_sync()["rooms"]["invite"][&room]["invite_state"]["events"];
    let member = find_event(events(invite), "m.room.member", Some(&bob.id)).expect("the invite itself");
    assert_eq!(member["content"]["is_direct"], true);
}

#[test]
fn what_cannot_be_created_leaves_nothing_behind() {
    let alice = ward().user("alice");
    let alias = unique("atomic");
    alice.create_room(json!({ "room_alias_name": alias }));
    let rooms = || events(&alice.get(v3(&["joined_rooms"])).ok()["joined_rooms"]).len();
    let before = rooms();
    for (body, errcodes) in [
        (json!({ "room_version": "1" }), &["M_UNSUPPORTED_ROOM_VERSION"][..]),
        (json!({ "room_version": "5" }), &["M_UNSUPPORTED_ROOM_VERSION"]),
        (json!({ "room_version": "13.example" }), &["M_UNSUPPORTED_ROOM_VERSION"]),
        (json!({ "room_alias_name": alias }), &["M_ROOM_IN_USE"]),
        (json!({ "room_alias_name": "with:colon" }), &["M_INVALID_PARAM", "M_INVALID_ROOM_STATE"]),
        (json!({ "preset": "no_such_preset" }), &["M_BAD_JSON", "M_INVALID_PARAM"]),
        (json!({ "visibility": "secret" }), &["M_BAD_JSON", "M_INVALID_PARAM"]),
        (json!({ "invite": ["no user id"] }), &["M_BAD_JSON", "M_INVALID_PARAM"]),
        (json!({ "invite": "@bob:hospital-a.example" }), &["M_BAD_JSON"]),
        (json!({ "initial_state": [{ "type": "m.room.topic" }] }), &["M_BAD_JSON", "M_MISSING_PARAM"]),
        (
            json!({ "power_level_content_override": { "users": "all" } }),
            &["M_BAD_JSON", "M_INVALID_ROOM_STATE", "M_INVALID_PARAM"],
        ),
        (
            json!({ "power_level_content_override": { "users": { &alice.id: 100 } }, "room_version": "12" }),
            &["M_INVALID_ROOM_STATE", "M_BAD_JSON", "M_INVALID_PARAM"],
        ),
        (json!({ "name": 7 }), &["M_BAD_JSON"]),
    ] {
        alice.try_create_room(body).refused_with_one_of(400, errcodes);
        assert_eq!(rooms(), before);
    }
    let unused = format!("#with:colon:{}", ward().name());
    assert_ne!(alice.get(v3(&["directory", "room", &unused])).status, 200);
}

/// HIPAA, 45 CFR 164.502(b): as little as is necessary.
#[test]
fn a_hospital_lets_nobody_read_what_was_said_before_they_came() {
    let visibility = |user: &wardroom_testkit::User, room: &str| -> Value {
        user.state(room, "m.room.history_visibility", "")["history_visibility"].clone()
    };
    let server = crate::server_with(wardroom_testkit::Config::default().set("rooms.private_history", "\"invited\""));
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    for preset in ["private_chat", "trusted_private_chat"] {
        let room = alice.create_room(json!({ "preset": preset }));
        assert_eq!(visibility(&alice, &room), "invited", "{preset}");
        let before = alice.say(&room, "before bob");
        alice.invite(&room, &bob);
        let between = alice.say(&room, "while bob is invited");
        bob.join(&room);
        let history = bob.history(&room);
        assert!(!wardroom_testkit::has_event(&history, &before), "{preset}");
        assert!(wardroom_testkit::has_event(&history, &between), "{preset}");
    }
    let plain = alice.create_room(json!({}));
    assert_eq!(visibility(&alice, &plain), "invited");
    let said = json!([{ "type": "m.room.history_visibility", "content": { "history_visibility": "shared" } }]);
    let room = alice.create_room(json!({ "preset": "private_chat", "initial_state": said }));
    assert_eq!(visibility(&alice, &room), "shared", "who makes the room may say otherwise");
    let room = alice.create_room(json!({ "preset": "public_chat" }));
    assert_eq!(visibility(&alice, &room), "shared", "a public room is none of these");
}
