//! Each room version that the server advertises, once through everyday use.

use wardroom_testkit::{bodies, events, find_event, has_event, json};

use crate::ward;

#[test]
fn a_room_of_each_version_works() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    for version in ["6", "7", "8", "9", "10", "11", "12"] {
        let room = alice.create_room(json!({ "room_version": version, "preset": "private_chat", "name": "Ward" }));
        assert_eq!(room.contains(':'), version != "12", "from version 12 on a room id is the create event's: {room}");
        let create = alice.state(&room, "m.room.create", "");
        assert_eq!(create["room_version"], version);
        let creator = create.get("creator").and_then(|creator| creator.as_str());
        assert_eq!(creator, (version.parse::<u32>().unwrap() < 11).then_some(alice.id.as_str()), "version {version}");

        alice.invite(&room, &bob);
        bob.join(&room);
        let message = bob.say(&room, "hello");
        bob.try_set_state(&room, "m.room.name", "", json!({ "name": "Mine" })).refused(403, "M_FORBIDDEN");
        alice.set_state(&room, "m.room.topic", "", json!({ "topic": version }));
        alice.redact(&room, &message);
        assert_eq!(alice.try_event(&room, &message).ok()["content"], json!({}));
        let history = bob.history(&room);
        assert!(has_event(&history, &message) && bodies(&history).is_empty(), "version {version}: {history:?}");

        alice.on_member("ban", &room, &bob).ok();
        bob.try_join(&room).refused(403, "M_FORBIDDEN");
        alice.on_member("unban", &room, &bob).ok();
        assert_eq!(alice.members(&room, "join"), [alice.id.as_str()]);
    }
}

#[test]
fn creators_of_version_12_stand_above_power_levels() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_room(json!({ "room_version": "12", "preset": "public_chat" }));
    bob.join(&room);
    let levels = alice.state(&room, "m.room.power_levels", "");
    assert!(levels["users"].get(&alice.id).is_none(), "a creator is not listed: {levels}");
    assert!(levels["events"]["m.room.tombstone"].as_i64() > levels["state_default"].as_i64().or(Some(50)), "{levels}");
    let mut listed = levels;
    listed["users"][&alice.id] = json!(100);
    let answer = alice.try_set_state(&room, "m.room.power_levels", "", listed);
    assert!([400, 403].contains(&answer.status), "a creator must not be listed: {}", answer.story());

    alice.change_power_levels(&room, |levels| levels["users"][&bob.id] = json!(100));
    bob.on_member("kick", &room, &alice).refused(403, "M_FORBIDDEN");
    alice.change_power_levels(&room, |levels| levels["users"][&bob.id] = json!(0));
    assert_eq!(alice.state(&room, "m.room.power_levels", "")["users"][&bob.id], 0);
}

#[test]
fn redaction_events_have_the_form_of_their_version() {
    let alice = ward().user("alice");
    for version in ["10", "11", "12"] {
        let room = alice.create_room(json!({ "room_version": version }));
        let message = alice.say(&room, "wrong room");
        let redaction = alice.redact(&room, &message);
        let event = alice.try_event(&room, &redaction).ok();
        assert_eq!(event["content"]["reason"], "a test");
        // For clients both forms carry both keys ("Redactions", compatibility between room versions).
        assert_eq!(event["content"]["redacts"], message.as_str(), "version {version}: {event}");
        assert_eq!(event["redacts"], message.as_str(), "version {version}: {event}");
    }
}

#[test]
fn knocking_and_restricted_joins_work_where_the_version_has_them() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let space = alice.create_public_room(&[&bob]);
    for version in ["8", "9", "10", "11", "12"] {
        let rule = json!({ "join_rule": "restricted", "allow": [{ "type": "m.room_membership", "room_id": space }] });
        let room = alice.create_room(json!({
            "room_version": version, "initial_state": [{ "type": "m.room.join_rules", "content": rule }],
        }));
        let carol = ward().user("carol");
        carol.try_join(&room).refused(403, "M_FORBIDDEN");
        bob.join(&room);
        let history = alice.history(&room);
        let join = find_event(&history, "m.room.member", Some(&bob.id)).unwrap();
        assert_eq!(join["content"]["join_authorised_via_users_server"], alice.id.as_str(), "version {version}");
        assert_eq!(events(&json!(alice.members(&room, "join"))).len(), 2);
        bob.leave(&room);
    }
}
