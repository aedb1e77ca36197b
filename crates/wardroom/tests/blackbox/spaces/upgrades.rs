//! `POST /rooms/{roomId}/upgrade`.

use wardroom_testkit::{
    Actor, Reply, User, Value, event_ids, events, find_event, has_event, json, same_set, unique, v3,
};

use super::set_child;
use crate::{SOON, ward};

fn try_upgrade(user: &User, room: &str, body: Value) -> Reply {
    user.post(v3(&["rooms", room, "upgrade"]), body)
}

#[track_caller]
fn upgrade(user: &User, room: &str, version: &str) -> String {
    let answer = try_upgrade(user, room, json!({ "new_version": version })).ok();
    answer["replacement_room"].as_str().unwrap_or_else(|| panic!("a replacement_room: {answer}")).to_owned()
}

/// The whole state of a room, as (type, state key, content).
fn state(user: &User, room: &str) -> Vec<(String, String, Value)> {
    let all = user.get(v3(&["rooms", room, "state"])).ok();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    events(&all)
        .iter()
        .map(|event| (text(&event["type"]), text(&event["state_key"]), event["content"].clone()))
        .collect()
}

#[test]
fn the_new_room_gets_the_state_and_the_old_one_ends() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let carried = [
        ("m.room.name", json!({ "name": "Ward 7" })),
        ("m.room.topic", json!({ "topic": "Beds" })),
        ("m.room.avatar", json!({ "url": "mxc://hospital-a.example/ward7" })),
        ("m.room.guest_access", json!({ "guest_access": "forbidden" })),
        ("m.room.history_visibility", json!({ "history_visibility": "joined" })),
        ("m.room.join_rules", json!({ "join_rule": "public" })),
        ("m.room.encryption", json!({ "algorithm": "m.megolm.v1.aes-sha2", "rotation_period_msgs": 50 })),
        ("m.room.server_acl", json!({ "allow": ["*"], "deny": ["evil.example"], "allow_ip_literals": false })),
    ];
    let room = alice.create_room(json!({
        "room_version": "10", "creation_content": { "m.federate": false, "type": "example.ward" },
    }));
    for (kind, content) in &carried {
        alice.set_state(&room, kind, "", content.clone());
    }
    alice.set_state(&room, "example.custom", "", json!({ "stays": "behind" }));
    bob.join(&room);
    let mut sync = ward().follow(&bob);
    let new = upgrade(&alice, &room, "11");

    let create = alice.state(&new, "m.room.create", "");
    assert_eq!((&create["room_version"], &create["m.federate"]), (&json!("11"), &json!(false)));
    assert_eq!(create["type"], "example.ward");
    let told = sync.until("the tombstone", SOON, |sync| {
        let timeline = events(&sync["rooms"]["join"][&room]["timeline"]["events"]);
        find_event(timeline, "m.room.tombstone", Some("")).is_some()
    });
    let timeline = events(&told["rooms"]["join"][&room]["timeline"]["events"]);
    let tombstone = find_event(timeline, "m.room.tombstone", Some("")).unwrap();
    assert_eq!(create["predecessor"], json!({ "room_id": room, "event_id": tombstone["event_id"] }));
    assert_eq!((&tombstone["sender"], &tombstone["content"]["replacement_room"]), (&json!(alice.id), &json!(new)));
    assert!(tombstone["content"]["body"].as_str().is_some_and(|body| !body.is_empty()));
    for (kind, content) in &carried {
        assert_eq!(alice.state(&new, kind, ""), *content, "{kind}");
    }
    let kinds: Vec<String> = state(&alice, &new).into_iter().map(|(kind, ..)| kind).collect();
    assert!(!kinds.contains(&"example.custom".to_owned()), "{kinds:?}");
    assert_eq!(alice.members(&new, "join"), std::slice::from_ref(&alice.id));
    assert!(event_ids(&alice.history(&new)).len() >= 11);

    let levels = alice.state(&room, "m.room.power_levels", "");
    assert_eq!((&levels["events_default"], &levels["invite"]), (&json!(50), &json!(50)));
    bob.try_send(&room, "m.room.message", &unique("txn"), wardroom_testkit::text("hello?")).refused(403, "M_FORBIDDEN");
    bob.join(&new);
    bob.say(&new, "here we are");
}

#[test]
fn power_levels_are_carried_and_closed_as_they_are() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_room(json!({
        "room_version": "9", "power_level_content_override": { "users": { alice.id.clone(): 500, bob.id: 60 } },
    }));
    alice.change_power_levels(&room, |levels| {
        levels["users_default"] = json!(80);
        levels["kick"] = json!("55");
        levels["events"]["example.rare"] = json!(99);
    });
    let before = alice.state(&room, "m.room.power_levels", "");
    let new = upgrade(&alice, &room, "9");
    assert_eq!(alice.state(&new, "m.room.power_levels", ""), before);
    let closed = alice.state(&room, "m.room.power_levels", "");
    assert_eq!((&closed["events_default"], &closed["invite"]), (&json!(81), &json!(81)));
    let integers = upgrade(&alice, &new, "10");
    assert_eq!(alice.state(&integers, "m.room.power_levels", "")["kick"], 55, "strings are no levels any more");
}

#[test]
fn a_moderator_who_may_upgrade_ends_up_with_the_power_they_had() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_room(json!({ "room_version": "10", "preset": "public_chat", "name": "Ward" }));
    bob.join(&room);
    alice.change_power_levels(&room, |levels| {
        levels["users"][&bob.id] = json!(50);
        levels["events"]["m.room.tombstone"] = json!(50);
    });
    let before = alice.state(&room, "m.room.power_levels", "");
    let new = upgrade(&bob, &room, "11");
    assert_eq!(bob.state(&new, "m.room.power_levels", ""), before);
    assert_eq!(alice.state(&room, "m.room.power_levels", ""), before, "a moderator may not change these");
    alice.join(&new);
    alice.change_power_levels(&new, |levels| levels["ban"] = json!(100));
}

#[test]
fn version_12_makes_creators_of_who_upgrades_and_whom_they_name() {
    let (alice, bob, carol) = (ward().user("alice"), ward().user("bob"), ward().user("carol"));
    let room = alice.create_room(json!({ "room_version": "11", "preset": "public_chat" }));
    bob.join(&room);
    alice.change_power_levels(&room, |levels| {
        levels["users"][&bob.id] = json!(100);
        levels["users"][&carol.id] = json!(40);
    });
    let body = json!({ "new_version": "12", "additional_creators": [bob.id, alice.id, bob.id] });
    let new = try_upgrade(&alice, &room, body).ok()["replacement_room"].as_str().unwrap().to_owned();
    assert!(!new.contains(':'), "{new} is made of the create event");
    let create = alice.state(&new, "m.room.create", "");
    assert_eq!(create["additional_creators"], json!([bob.id]));
    assert_eq!(create["predecessor"], json!({ "room_id": room }), "the tombstone cannot be known before the room");
    assert_eq!(alice.state(&room, "m.room.tombstone", "")["replacement_room"], new.as_str());
    let levels = alice.state(&new, "m.room.power_levels", "");
    assert_eq!(levels["users"], json!({ carol.id.clone(): 40 }), "creators have no level");
    assert_eq!(levels["events"]["m.room.tombstone"], 150);
    bob.join(&new);
    bob.change_power_levels(&new, |levels| levels["users_default"] = json!(7));

    // Creators are not handed on; a version without them gets levels instead, and is told of no creators.
    let next = upgrade(&bob, &new, "12");
    assert_eq!(bob.state(&next, "m.room.create", "")["additional_creators"], Value::Null);
    let body = json!({ "new_version": "11", "additional_creators": [carol.id] });
    let back = try_upgrade(&bob, &next, body).ok()["replacement_room"].as_str().unwrap().to_owned();
    assert_eq!(bob.state(&back, "m.room.create", "")["additional_creators"], Value::Null);
    assert_eq!(bob.state(&back, "m.room.power_levels", "")["users"], json!({ bob.id: 150, carol.id: 40 }));
}

#[test]
fn aliases_and_listing_move() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let (first, second) = (unique("first"), unique("second"));
    let full = |name: &str| format!("#{name}:{}", ward().name());
    let room = alice.create_room(json!({ "room_alias_name": first, "visibility": "public" }));
    alice.put(v3(&["directory", "room", &full(&second)]), json!({ "room_id": room })).ok();
    let canonical = json!({ "alias": full(&first), "alt_aliases": [full(&second)] });
    alice.set_state(&room, "m.room.canonical_alias", "", canonical.clone());
    let new = upgrade(&alice, &room, "12");
    for name in [&first, &second] {
        assert_eq!(bob.get(v3(&["directory", "room", &full(name)])).ok()["room_id"], new.as_str());
    }
    assert_eq!(alice.state(&new, "m.room.canonical_alias", ""), canonical);
    assert_eq!(alice.state(&room, "m.room.canonical_alias", ""), json!({}));
    assert!(same_set(&alice.get(v3(&["rooms", &new, "aliases"])).ok()["aliases"], &[&full(&first), &full(&second)]));
    assert_eq!(alice.get(v3(&["rooms", &room, "aliases"])).ok()["aliases"], json!([]));
    let listed = |room: &str| bob.get(v3(&["directory", "list", "room", room])).ok()["visibility"].clone();
    assert_eq!((listed(&room), listed(&new)), (json!("private"), json!("public")));
    // The aliases are the new room's in every way: they can be taken away there.
    alice.delete(v3(&["directory", "room", &full(&second)])).ok();
}

#[test]
fn spaces_keep_their_children_and_bans_stay() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let body = json!({ "room_version": "10", "preset": "public_chat", "creation_content": { "type": "m.space" } });
    let space = alice.create_room(body);
    let (kept, removed) = (alice.create_room(json!({})), alice.create_room(json!({})));
    set_child(&alice, &space, &kept, json!({ "suggested": true, "order": "a" }));
    set_child(&alice, &space, &removed, json!({}));
    alice.set_state(&space, "m.space.child", &removed, json!({}));
    let parent = json!({ "via": ["hospital-a.example"], "canonical": true });
    alice.set_state(&space, "m.space.parent", &kept, parent.clone());
    let ban = json!({ "membership": "ban", "reason": "spam" });
    alice.set_state(&space, "m.room.member", "@bob:b.example", ban.clone());
    alice.on_member("ban", &space, &bob).ok();
    let new = upgrade(&alice, &space, "12");
    let state = state(&alice, &new);
    let of = |kind: &str| state.iter().filter(|event| event.0 == kind).map(|event| &*event.1).collect::<Vec<_>>();
    assert_eq!(of("m.space.child"), [&kept]);
    assert_eq!(alice.state(&new, "m.space.child", &kept), alice.state(&space, "m.space.child", &kept));
    assert_eq!(alice.state(&new, "m.space.parent", &kept), parent);
    assert_eq!(alice.state(&new, "m.room.member", "@bob:b.example"), ban);
    bob.try_join(&new).refused(403, "M_FORBIDDEN");
}

#[test]
fn join_rules_that_the_version_does_not_know_become_stricter_ones() {
    let alice = ward().user("alice");
    let key = alice.create_room(json!({}));
    let allow = json!([{ "type": "m.room_membership", "room_id": key }]);
    for (rule, version, expected) in [
        ("knock_restricted", "11", "knock_restricted"),
        ("knock_restricted", "9", "restricted"),
        ("knock_restricted", "7", "invite"),
        ("restricted", "6", "invite"),
        ("knock", "6", "invite"),
    ] {
        let rules = json!({ "join_rule": rule, "allow": allow });
        let rules = json!({ "type": "m.room.join_rules", "content": rules });
        let room = alice.create_room(json!({ "room_version": "10", "initial_state": [rules] }));
        let new = upgrade(&alice, &room, version);
        assert_eq!(alice.state(&new, "m.room.join_rules", "")["join_rule"], expected, "{rule} in {version}");
    }
}

#[test]
fn personal_settings_follow_into_the_new_room() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_room(json!({ "preset": "public_chat" }));
    bob.join(&room);
    let people = [&alice, &bob];
    for user in people {
        let tag = v3(&["user", &user.id, "rooms", &room, "tags", "m.favourite"]);
        user.put(tag, json!({ "order": 0.25 })).ok();
        user.put(v3(&["pushrules", "global", "room", &room]), json!({ "actions": [] })).ok();
        let mute = json!({
            "actions": [], "conditions": [{ "kind": "event_match", "key": "room_id", "pattern": room }],
        });
        user.put(v3(&["pushrules", "global", "override", &room]), mute).ok();
        let direct = json!({ alice.id.clone(): [room], bob.id.clone(): ["!other:a.example"] });
        user.put(v3(&["user", &user.id, "account_data", "m.direct"]), direct).ok();
    }
    let new = upgrade(&alice, &room, "12");
    bob.join(&new);
    for user in people {
        let tags = user.get(v3(&["user", &user.id, "rooms", &new, "tags"])).ok();
        assert_eq!(tags["tags"], json!({ "m.favourite": { "order": 0.25 } }));
        assert_eq!(user.get(v3(&["pushrules", "global", "room", &new])).ok()["actions"], json!([]));
        let muted = user.get(v3(&["pushrules", "global", "override", &new])).ok();
        assert_eq!(muted["conditions"], json!([{ "kind": "event_match", "key": "room_id", "pattern": new }]));
        let direct = user.get(v3(&["user", &user.id, "account_data", "m.direct"])).ok();
        assert_eq!(direct, json!({ alice.id.clone(): [room, new], bob.id.clone(): ["!other:a.example"] }));
    }
    // A room that only says it replaces another changes nobody's settings.
    let claim = json!({ "preset": "public_chat", "creation_content": { "predecessor": { "room_id": room } } });
    let false_heir = ward().user("eve").create_room(claim);
    bob.join(&false_heir);
    assert_eq!(bob.get(v3(&["user", &bob.id, "rooms", &false_heir, "tags"])).ok()["tags"], json!({}));
}

#[test]
fn an_upgrade_that_is_not_allowed_changes_nothing() {
    let (alice, bob, eve) = (ward().user("alice"), ward().user("bob"), ward().user("eve"));
    let room = alice.create_public_room(&[&bob]);
    let before = event_ids(&alice.history(&room));
    try_upgrade(&bob, &room, json!({ "new_version": "12" })).refused(403, "M_FORBIDDEN");
    try_upgrade(&eve, &room, json!({ "new_version": "12" })).refused(403, "M_FORBIDDEN");
    try_upgrade(&alice, "!fail:unknown", json!({ "new_version": "12" })).refused(404, "M_NOT_FOUND");
    for version in ["my_bad_version", "2", "13"] {
        try_upgrade(&alice, &room, json!({ "new_version": version })).refused(400, "M_UNSUPPORTED_ROOM_VERSION");
    }
    try_upgrade(&alice, &room, json!({ "new_version": 12 })).refused(400, "M_BAD_JSON");
    try_upgrade(&alice, &room, json!({})).refused(400, "M_BAD_JSON");
    let creators = json!({ "new_version": "12", "additional_creators": ["nobody"] });
    try_upgrade(&alice, &room, creators).refused(400, "M_BAD_JSON");
    let many: Vec<String> = (0..501).map(|n| format!("@u{n}:b.example")).collect();
    let many = json!({ "new_version": "12", "additional_creators": many });
    try_upgrade(&alice, &room, many).refused(400, "M_INVALID_PARAM");
    assert_eq!(event_ids(&alice.history(&room)), before);
    alice.anonymous().post(v3(&["rooms", &room, "upgrade"]), json!({})).refused(401, "M_MISSING_TOKEN");
}

#[test]
fn a_room_does_not_replace_itself() {
    let alice = ward().user("alice");
    let room = alice.create_room(json!({}));
    let content = json!({ "body": "Round and round", "replacement_room": room });
    alice.try_set_state(&room, "m.room.tombstone", "", content.clone()).refused(400, "M_BAD_JSON");
    alice.try_send(&room, "m.room.tombstone", &unique("txn"), content).refused(400, "M_BAD_JSON");
}

#[test]
fn an_upgrade_and_messages_at_the_same_time_leave_both_rooms_whole() {
    let alice = ward().user("alice");
    let room = alice.create_room(json!({ "room_version": "10" }));
    let (said, new) = std::thread::scope(|scope| {
        let speaker = scope.spawn(|| (0..20).map(|n| alice.say(&room, &n.to_string())).collect::<Vec<_>>());
        let new = upgrade(&alice, &room, "11");
        (speaker.join().unwrap(), new)
    });
    let history = alice.history(&room);
    assert!(said.iter().all(|event| has_event(&history, event)));
    assert_eq!(alice.history(&new).first().unwrap()["type"], "m.room.create");
}
