//! Authorization rules over the versions.

use std::sync::Arc;

use ruma::owned_event_id;
use serde_json::{Value, json};
use wardroom_event::{Pdu, RoomVersion, check_standalone};

use crate::room::{ALICE, BOB, CAROL, DAVE, Room};

fn levels(version: RoomVersion, users: Value) -> Value {
    let mut users = users;
    if version.rules().authorization.explicitly_privilege_room_creators {
        users.as_object_mut().unwrap().remove(ALICE);
    }
    json!({"users": users})
}

#[test]
fn membership_follows_the_join_rule() {
    for version in RoomVersion::ALL {
        let mut room = Room::with_create(version, &json!({}));
        room.state(ALICE, "m.room.join_rules", "", json!({"join_rule": "invite"})).unwrap();
        room.member(BOB, BOB, "join").expect_err("invitation needed");
        room.message(BOB).expect_err("not joined");
        room.member(ALICE, BOB, "invite").unwrap();
        room.member(CAROL, CAROL, "leave").expect_err("nothing to leave");
        room.member(BOB, BOB, "join").unwrap();
        room.member(BOB, CAROL, "invite").unwrap();
        room.message(BOB).unwrap();
        room.member(BOB, ALICE, "ban").expect_err("less power");
        room.member(ALICE, CAROL, "ban").unwrap();
        room.member(CAROL, CAROL, "join").expect_err("banned");
        room.member(ALICE, CAROL, "join").expect_err("joining somebody else");
        room.state(ALICE, "m.room.join_rules", "", json!({"join_rule": "public"})).unwrap();
        room.member(CAROL, CAROL, "join").expect_err("still banned");
        room.member(ALICE, CAROL, "leave").unwrap();
        room.member(CAROL, CAROL, "join").unwrap();
        room.member(DAVE, DAVE, "join").unwrap();
        room.member(BOB, BOB, "leave").unwrap();
        room.message(BOB).expect_err("left");
    }
}

#[test]
fn knocking_depends_on_the_version() {
    for version in RoomVersion::ALL {
        let mut room = Room::with_create(version, &json!({}));
        room.member(BOB, BOB, "knock").expect_err("not a knock room");
        room.state(ALICE, "m.room.join_rules", "", json!({"join_rule": "knock"})).unwrap();
        assert_eq!(room.member(BOB, BOB, "knock").is_ok(), version >= RoomVersion::V7, "{version}");
        room.state(ALICE, "m.room.join_rules", "", json!({"join_rule": "knock_restricted", "allow": []})).unwrap();
        assert_eq!(room.member(CAROL, CAROL, "knock").is_ok(), version >= RoomVersion::V10, "{version}");
    }
}

#[test]
fn restricted_joins_are_authorized_by_a_member_who_may_invite() {
    for version in RoomVersion::ALL {
        let mut room = Room::public(version, &levels(version, json!({ALICE: 100, BOB: 0})));
        let mut content = levels(version, json!({ALICE: 100}));
        content["invite"] = json!(50);
        room.state(ALICE, "m.room.power_levels", "", content).unwrap();
        for join_rule in ["restricted", "knock_restricted"] {
            let known = version >= if join_rule == "restricted" { RoomVersion::V8 } else { RoomVersion::V10 };
            room.state(ALICE, "m.room.join_rules", "", json!({"join_rule": join_rule, "allow": []})).unwrap();
            let join = |via: Option<&str>| {
                let mut content = json!({"membership": "join"});
                if let Some(via) = via {
                    content["join_authorised_via_users_server"] = json!(via);
                }
                room.clone().state(CAROL, "m.room.member", CAROL, content)
            };
            join(None).expect_err("nobody vouches");
            join(Some(BOB)).expect_err("may not invite");
            join(Some(DAVE)).expect_err("no member");
            assert_eq!(join(Some(ALICE)).is_ok(), known, "{version} {join_rule}");
        }
    }
}

#[test]
fn power_levels_bind_those_below() {
    for version in RoomVersion::ALL {
        let users = |alice: i64, bob: i64, carol: i64| levels(version, json!({ALICE: alice, BOB: bob, CAROL: carol}));
        let mut room = Room::public(version, &users(100, 50, 0));
        room.member(CAROL, CAROL, "join").unwrap();
        room.state(CAROL, "m.room.topic", "", json!({"topic": "t"})).expect_err("state needs 50");
        room.state(BOB, "m.room.topic", "", json!({"topic": "t"})).unwrap();
        let change = |sender: &str, content: Value| room.clone().state(sender, "m.room.power_levels", "", content);
        change(BOB, users(100, 100, 0)).expect_err("above the own level");
        change(BOB, users(100, 50, 60)).expect_err("above the own level");
        change(BOB, users(100, 50, 50)).unwrap();
        change(BOB, users(100, 10, 0)).unwrap();
        change(ALICE, users(100, 0, 0)).unwrap();
        let mut ban = users(100, 50, 0);
        ban["ban"] = json!(51);
        change(BOB, ban.clone()).expect_err("raises a level above the own");
        change(ALICE, ban).unwrap();
        let mut notifications = users(100, 50, 0);
        notifications["notifications"] = json!({"room": 51});
        change(BOB, notifications).expect_err("room notifications above the own level");
        // One of equal level cannot be demoted, except by themselves.
        let mut equal = room.clone();
        equal.state(ALICE, "m.room.power_levels", "", users(100, 50, 50)).unwrap();
        equal.state(BOB, "m.room.power_levels", "", users(100, 50, 0)).expect_err("same level");
    }
}

#[test]
fn strings_are_levels_in_old_versions_only() {
    for version in RoomVersion::ALL {
        let mut room = Room::public(version, &levels(version, json!({ALICE: 100})));
        let result = room.state(ALICE, "m.room.power_levels", "", levels(version, json!({ALICE: "100", BOB: "50"})));
        assert_eq!(result.is_ok(), version < RoomVersion::V10, "{version}");
        let result = room.state(ALICE, "m.room.power_levels", "", json!({"users": {"bob": 1}}));
        result.expect_err("not a user id");
    }
}

#[test]
fn creators_stand_above_levels_in_version_12() {
    for version in RoomVersion::ALL {
        let extra = json!({"additional_creators": [BOB]});
        let mut room = Room::with_create(version, &extra);
        room.state(ALICE, "m.room.join_rules", "", json!({"join_rule": "public"})).unwrap();
        room.member(BOB, BOB, "join").unwrap();
        let privileged = version >= RoomVersion::V12;
        let named = room.clone().state(ALICE, "m.room.power_levels", "", json!({"users": {ALICE: 100}}));
        assert_eq!(named.is_ok(), !privileged, "{version}");
        let high = json!({"users": {}, "state_default": 0, "events": {"m.room.topic": 9_000_000}});
        room.state(ALICE, "m.room.power_levels", "", high).unwrap();
        let topic = room.state(BOB, "m.room.topic", "", json!({"topic": "t"}));
        assert_eq!(topic.is_ok(), privileged, "{version}");
        let kick = room.member(BOB, ALICE, "leave");
        assert!(kick.is_err(), "{version}: creators cannot kick creators, Bob cannot kick Alice");
    }
}

#[test]
fn version_12_wants_valid_additional_creators() {
    for creators in [json!("@bob:one.example"), json!(["bob"]), json!([1])] {
        let room = Room::with_create(RoomVersion::V12, &json!({}));
        let mut draft = room.draft(
            ALICE,
            "m.room.create",
            Some(""),
            &json!({"room_version": "12", "additional_creators": creators}),
        );
        draft.room_id = None;
        draft.prev_events.clear();
        let create = room.sign(draft);
        check_standalone(&create, |_| None).expect_err("malformed creators");
    }
}

#[test]
fn state_keys_of_users_are_their_own() {
    for version in RoomVersion::ALL {
        let mut room = Room::public(version, &levels(version, json!({ALICE: 100, BOB: 50})));
        room.state(BOB, "org.example.status", BOB, json!({})).unwrap();
        room.state(BOB, "org.example.status", ALICE, json!({})).expect_err("another user's");
        room.state(ALICE, "org.example.status", BOB, json!({})).expect_err("another user's");
    }
}

#[test]
fn unfederated_rooms_are_for_their_server() {
    for version in RoomVersion::ALL {
        let mut room = Room::with_create(version, &json!({"m.federate": false}));
        room.state(ALICE, "m.room.join_rules", "", json!({"join_rule": "public"})).unwrap();
        room.member(DAVE, DAVE, "join").expect_err("other server");
        room.member(BOB, BOB, "join").unwrap();
    }
}

#[test]
fn auth_events_must_be_the_right_ones() {
    for version in RoomVersion::ALL {
        let mut room = Room::public(version, &levels(version, json!({ALICE: 100})));
        let old_join = room.id_of("m.room.join_rules").unwrap();
        let good = room.draft(ALICE, "m.room.message", None, &json!({}));
        let lists_create = !version.rules().authorization.room_create_event_id_as_room_id;
        assert_eq!(good.auth_events.contains(&room.create.event_id().to_owned()), lists_create);
        let check = |change: &dyn Fn(&mut wardroom_event::Draft)| {
            let mut draft = good.clone();
            change(&mut draft);
            room.check(&room.sign(draft))
        };
        check(&|_| {}).unwrap();
        check(&|draft| draft.auth_events.push(draft.auth_events[0].clone())).expect_err("twice");
        check(&|draft| draft.auth_events.push(old_join.clone())).expect_err("not wanted");
        check(&|draft| draft.auth_events.push(owned_event_id!("$unknown"))).expect_err("unknown");
        let without = check(&|draft| draft.auth_events.retain(|id| id != room.create.event_id()));
        assert_eq!(without.is_err(), lists_create, "{version}");

        let pdu = room.sign(good.clone());
        let reject = |rejected: &ruma::EventId| {
            check_standalone(&pdu, |id| {
                let found = room.event(id)?;
                if id != rejected {
                    return Some(found);
                }
                let copy = Pdu::from_stored(found.json().clone(), id.to_owned(), version).unwrap();
                Some(Arc::new(copy.with_rejected(true)))
            })
        };
        reject(&good.auth_events[0]).expect_err("a rejected auth event");
        reject(room.create.event_id()).expect_err("a rejected create event");
        reject(&old_join).unwrap();

        let other = Room::with_create(version, &json!({"other": true}));
        if version >= RoomVersion::V12 {
            check_standalone(&pdu, |id| other.event(id)).expect_err("another room");
        }
        room.message(ALICE).unwrap();
    }
}

#[test]
fn create_events_begin_rooms() {
    for version in RoomVersion::ALL {
        let room = Room::with_create(version, &json!({}));
        let own_id = version.rules().authorization.room_create_event_id_as_room_id;
        let content = json!({"creator": ALICE, "room_version": version.as_str()});
        let mut draft = room.draft(ALICE, "m.room.create", Some(""), &content);
        draft.room_id = (!own_id).then(|| ruma::owned_room_id!("!a:one.example"));
        check_standalone(&room.sign(draft.clone()), |_| None).expect_err("has previous events");
        draft.prev_events.clear();
        check_standalone(&room.sign(draft.clone()), |_| None).unwrap();
        if !own_id {
            draft.room_id = Some(ruma::owned_room_id!("!a:two.example"));
            check_standalone(&room.sign(draft), |_| None).expect_err("another server's room");
        }
    }
}
