//! Power levels that come from roles.

use wardroom_testkit::{Actor, User, json, unique, wait_until};

use super::{Gated, give, policy};
use crate::{SOON, admin::own};

/// Waits until a user has this level by name, or none.
#[track_caller]
fn until_level(sees: &User, room: &str, user: &str, level: Option<i64>) {
    wait_until(&format!("the level {level:?}"), SOON, || {
        let levels = sees.state(room, "m.room.power_levels", "");
        (levels["users"].get(user).and_then(|level| level.as_i64()) == level).then_some(())
    });
}

#[test]
fn a_role_gives_power_and_its_end_takes_it_away() {
    for version in ["11", "12"] {
        let gated = Gated::of("public_chat");
        let Gated { admin, alice, role, .. } = &gated;
        let charge = format!("{}@h1", unique("charge-nurse"));
        let room = alice.create_room(json!({ "preset": "public_chat", "room_version": version }));
        let mut rules = policy(&[role]);
        rules["power"] = json!([{ "if": charge, "level": 50 }, { "if": role, "level": 10 }]);
        admin.put(own(&["rooms", &room, "policy"]), rules.clone()).ok();
        let bob = gated.colleague();
        bob.join(&room);
        until_level(alice, &room, &bob.id, Some(10));
        give(admin, &bob.id, &[role, &charge]);
        until_level(alice, &room, &bob.id, Some(50));
        bob.set_state(&room, "m.room.topic", "", json!({ "topic": "in charge" }));
        give(admin, &bob.id, &[role]);
        until_level(alice, &room, &bob.id, Some(10));
        bob.try_set_state(&room, "m.room.topic", "", json!({ "topic": "no more" })).refused(403, "M_FORBIDDEN");
        // Who made the room stays above everybody.
        alice.set_state(&room, "m.room.topic", "", json!({ "topic": "mine" }));
        rules["power"] = json!([]);
        admin.put(own(&["rooms", &room, "policy"]), rules).ok();
        until_level(alice, &room, &bob.id, None);
    }
}

#[test]
fn what_was_given_by_hand_is_left_alone() {
    let gated = Gated::of("public_chat");
    let Gated { admin, alice, room, role, .. } = &gated;
    let (bob, carol) = (gated.colleague(), gated.colleague());
    bob.join(room);
    carol.join(room);
    alice.change_power_levels(room, |levels| levels["users"][&bob.id] = json!(75));
    let mut rules = policy(&[role]);
    rules["power"] = json!([{ "if": role, "level": 50 }]);
    admin.put(own(&["rooms", room, "policy"]), rules.clone()).ok();
    until_level(alice, room, &carol.id, Some(50));
    until_level(alice, room, &bob.id, Some(75));
    // A level that was changed by hand since is nobody's but theirs who changed it.
    alice.change_power_levels(room, |levels| levels["users"][&carol.id] = json!(60));
    rules["power"] = json!([]);
    admin.put(own(&["rooms", room, "policy"]), rules).ok();
    admin.post(own(&["revalidate"]), json!({ "room_id": room })).ok();
    until_level(alice, room, &carol.id, Some(60));
    until_level(alice, room, &bob.id, Some(75));
}

#[test]
fn those_who_may_only_read_have_no_power_to_send() {
    let gated = Gated::of("public_chat");
    let Gated { admin, alice, room, role, .. } = &gated;
    let mut rules = policy(&[role]);
    rules["on_loss"] = json!({ "action": "readonly" });
    admin.put(own(&["rooms", room, "policy"]), rules).ok();
    let bob = gated.colleague();
    bob.join(room);
    give(admin, &bob.id, &[]);
    until_level(alice, room, &bob.id, Some(-1));
    give(admin, &bob.id, &[role]);
    until_level(alice, room, &bob.id, None);
    bob.say(room, "back");
}
