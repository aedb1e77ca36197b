//! Power levels and join rules across versions, and upgrades among other writes.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use ruma::{owned_user_id, room_version_id, user_id};
use serde_json::{Map, Value, json, value::to_raw_value};
use wardroom_event::{RoomVersion, UserPower};

use super::{
    Upgrade,
    carry::{Levels, carried_join_rules, closed_levels},
};
use crate::{
    MemberProfile, Preset, fsck,
    tests::{World, new_room, run},
};

fn map(value: &Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn levels(old: Option<&Value>, old_version: RoomVersion, new_version: RoomVersion, power: UserPower) -> Levels {
    let sender = owned_user_id!("@alice:a.example");
    let privileged = old_version.rules().authorization.explicitly_privilege_room_creators;
    Levels {
        old: old.map(map),
        old_version,
        old_creators: if privileged { vec![sender.clone()] } else { Vec::new() },
        new_version,
        new_creators: vec![sender.clone()],
        sender,
        sender_power: power,
        kinds: BTreeSet::from(["m.room.name".to_owned()]),
    }
}

#[test]
fn levels_are_carried_as_the_new_version_wants_them() {
    use RoomVersion as V;
    let old = json!({ "users": { "@alice:a.example": "100", "@bob:a.example": 50 }, "ban": "60", "invite": [],
        "events": { "m.room.tombstone": 100, "x": "junk" }, "x.custom": "kept" });
    let carry = |old: &Value, from, to, power| levels(Some(old), from, to, power).carried();
    let (same, last) = carry(&old, V::V9, V::V9, UserPower::Int(100));
    assert_eq!((Value::from(same), last), (old.clone(), None));
    let (integers, _) = carry(&old, V::V9, V::V11, UserPower::Int(100));
    let expected = json!({ "users": { "@alice:a.example": 100, "@bob:a.example": 50 }, "ban": 60,
        "events": { "m.room.tombstone": 100 }, "x.custom": "kept" });
    assert_eq!(Value::from(integers), expected);
    let (owners, _) = carry(&old, V::V9, V::V12, UserPower::Int(100));
    let expected = json!({ "users": { "@bob:a.example": 50 }, "ban": 60,
        "events": { "m.room.tombstone": 150 }, "x.custom": "kept" });
    assert_eq!(Value::from(owners), expected);

    let old = json!({ "users": { "@bob:a.example": 120 }, "events": { "m.room.name": 110 } });
    let (back, last) = carry(&old, V::V12, V::V11, UserPower::Infinite);
    let expected =
        json!({ "users": { "@alice:a.example": 120, "@bob:a.example": 120 }, "events": { "m.room.name": 110 } });
    assert_eq!((Value::from(back), last), (expected, None));
    let (none, last) = levels(None, V::V10, V::V10, UserPower::Int(100)).carried();
    assert_eq!((Value::from(none), last), (json!({ "users": { "@alice:a.example": 100 } }), None));
}

#[test]
fn who_has_too_little_power_gets_it_for_the_time_of_the_upgrade() {
    let old = json!({ "users": { "@alice:a.example": 50, "@bob:a.example": 100 },
        "events": { "m.room.power_levels": 100, "m.room.tombstone": 50 } });
    let (first, last) = levels(Some(&old), RoomVersion::V10, RoomVersion::V10, UserPower::Int(50)).carried();
    assert_eq!(first["users"]["@alice:a.example"], 100);
    assert_eq!(last.map(Value::from), Some(old));
}

#[test]
fn an_ended_room_is_closed_to_those_without_power() {
    let closed = |levels: Value| {
        let levels = closed_levels(map(&levels));
        (levels["events_default"].clone(), levels["invite"].clone())
    };
    assert_eq!(closed(json!({})), (json!(50), json!(50)));
    assert_eq!(closed(json!({ "users_default": 80 })), (json!(81), json!(81)));
    assert_eq!(closed(json!({ "events_default": 100, "invite": "70" })), (json!(100), json!(70)));
}

#[test]
fn no_join_rule_becomes_wider() {
    let carried = |rule: &str, version| {
        let mut fields = map(&json!({ "join_rule": rule, "allow": [] }));
        carried_join_rules(&mut fields, version);
        (fields["join_rule"].as_str().unwrap().to_owned(), fields.contains_key("allow"))
    };
    assert_eq!(carried("knock_restricted", RoomVersion::V8), ("restricted".to_owned(), true));
    assert_eq!(carried("knock_restricted", RoomVersion::V7), ("invite".to_owned(), false));
    assert_eq!(carried("restricted", RoomVersion::V7), ("invite".to_owned(), false));
    assert_eq!(carried("knock", RoomVersion::V6), ("invite".to_owned(), false));
    for rule in ["public", "invite", "private", "example.to_come"] {
        assert_eq!(carried(rule, RoomVersion::V6).0, rule);
    }
}

#[test]
fn every_version_is_upgraded_to_every_version_and_the_store_agrees_with_itself() {
    run(async {
        let world = World::new();
        let (alice, bob) =
            (world.person(user_id!("@alice:a.example")).await, world.person(user_id!("@bob:a.example")).await);
        for from in RoomVersion::ALL {
            for to in RoomVersion::ALL {
                let room =
                    world.rooms.create(alice.actor(), new_room(from.as_str(), Preset::PublicChat)).await.unwrap();
                world.rooms.join(bob.actor(), &room, MemberProfile::default(), None).await.unwrap();
                let upgrade = Upgrade {
                    version: to.id().clone(),
                    additional_creators: Vec::new(),
                    profile: MemberProfile::default(),
                };
                // Other writes share the commit.
                let say = |n: u32| {
                    let content = to_raw_value(&json!({ "msgtype": "m.text", "body": n.to_string() })).unwrap();
                    world.rooms.send(alice.actor(), &room, "m.room.message", content, None)
                };
                let (new, said) =
                    tokio::join!(world.rooms.upgrade(alice.actor(), &room, upgrade), join_all((0..4).map(say)));
                let new = new.unwrap_or_else(|error| panic!("{from} to {to}: {error}"));
                assert!(said.iter().all(Result::is_ok));
                world.rooms.join(bob.actor(), &new, MemberProfile::default(), None).await.unwrap();
                let view = world.rooms.view(&new).await.unwrap().unwrap();
                assert_eq!((view.version, view.joined, view.public), (to, 2, true));
                let replaced = world.rooms.replaced_by(&new, bob.actor().nid).await.unwrap().unwrap();
                assert_eq!(replaced.old.1, room);
            }
        }
        assert_eq!(fsck(&world.store).await.unwrap().problems, Vec::<String>::new());
        let unknown = Upgrade {
            version: room_version_id!("1"),
            additional_creators: Vec::new(),
            profile: MemberProfile::default(),
        };
        let room = world.rooms.create(alice.actor(), new_room("12", Preset::PublicChat)).await.unwrap();
        assert!(world.rooms.upgrade(alice.actor(), &room, unknown).await.is_err());
    });
}
