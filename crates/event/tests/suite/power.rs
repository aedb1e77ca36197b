//! Power levels as questions.

use ruma::events::TimelineEventType;
use serde_json::json;
use wardroom_event::{Action, PowerLevels, RoomVersion, UserPower, level_for, power_of};

use crate::room::{ALICE, BOB, CAROL, Room, user};

#[test]
fn rooms_without_power_levels_belong_to_their_creator() {
    for version in RoomVersion::ALL {
        let room = Room::with_create(version, &json!({"additional_creators": [BOB]}));
        let power = |id| power_of(None, &room.create, &user(id));
        let privileged = version >= RoomVersion::V12;
        assert_eq!(power(ALICE), if privileged { UserPower::Infinite } else { UserPower::Int(100) });
        assert_eq!(power(BOB), if privileged { UserPower::Infinite } else { UserPower::Int(0) });
        assert_eq!(power(CAROL), UserPower::Int(0));
        assert_eq!(level_for(None, Action::SetState(&TimelineEventType::RoomTopic)), 50);
        assert_eq!(level_for(None, Action::Send(&TimelineEventType::RoomMessage)), 0);
    }
}

#[test]
fn levels_are_those_of_the_event() {
    for version in RoomVersion::ALL {
        let content = json!({
            "users": {BOB: 60}, "users_default": 5, "ban": 1, "kick": 2, "invite": 3, "redact": 4,
            "events_default": 6, "state_default": 7, "events": {"m.room.name": 8}, "notifications": {"room": 9},
        });
        let mut room = Room::with_create(version, &json!({}));
        let pdu = room.sign(room.draft(ALICE, "m.room.power_levels", Some(""), &content));
        let levels = PowerLevels::new(Some(&pdu), &room.create);
        assert_eq!(levels.of(&user(BOB)), UserPower::Int(60));
        assert_eq!(levels.of(&user(CAROL)), UserPower::Int(5));
        let alice = if version >= RoomVersion::V12 { UserPower::Infinite } else { UserPower::Int(5) };
        assert_eq!(levels.of(&user(ALICE)), alice);
        let (name, topic) = (TimelineEventType::RoomName, TimelineEventType::RoomTopic);
        let expected = [
            (Action::Ban, 1),
            (Action::Kick, 2),
            (Action::Invite, 3),
            (Action::Redact, 4),
            (Action::Send(&topic), 6),
            (Action::SetState(&topic), 7),
            (Action::SetState(&name), 8),
            (Action::NotifyRoom, 9),
        ];
        for (action, level) in expected {
            assert_eq!(levels.required(action), level);
            assert_eq!(level_for(Some(&pdu), action), level);
        }
        assert!(levels.of(&user(BOB)).reaches(60) && !levels.of(&user(BOB)).reaches(61));
        assert!(UserPower::Infinite.reaches(i64::MAX) && UserPower::Infinite > UserPower::Int(i64::MAX));

        let empty = room.state(ALICE, "m.room.power_levels", "", json!({})).ok();
        if let Some(empty) = empty {
            let defaults = [Action::Ban, Action::Kick, Action::Invite, Action::Redact, Action::NotifyRoom]
                .map(|action| level_for(Some(&empty), action));
            assert_eq!(defaults, [50, 50, 0, 50, 50]);
        }
    }
}

#[test]
fn string_levels_are_read_in_old_versions() {
    for version in RoomVersion::ALL {
        let room = Room::with_create(version, &json!({}));
        let content = json!({"users": {BOB: " 60 "}, "ban": "10", "notifications": {"room": "20"}});
        let pdu = room.sign(room.draft(ALICE, "m.room.power_levels", Some(""), &content));
        let old = version < RoomVersion::V10;
        assert_eq!(power_of(Some(&pdu), &room.create, &user(BOB)), UserPower::Int(if old { 60 } else { 0 }));
        // Unreadable levels are out of reach.
        assert_eq!(level_for(Some(&pdu), Action::Ban), if old { 10 } else { i64::MAX });
        assert_eq!(level_for(Some(&pdu), Action::NotifyRoom), if old { 20 } else { i64::MAX });
    }
}
