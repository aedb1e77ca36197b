//! `m.room.power_levels`.

use wardroom_testkit::{User, json, text, unique};

use crate::ward;

fn room_with_levels(alice: &User, bob: &User) -> String {
    let room = alice.create_room(json!({
        "preset": "public_chat",
        "power_level_content_override": {
            "users": { &bob.id: 50 },
            "events": { "m.room.topic": 60, "example.note": 40, "m.room.message": 10 },
            "events_default": 0, "state_default": 50, "redact": 55,
        },
    }));
    bob.join(&room);
    room
}

#[test]
fn levels_decide_who_sends_what() {
    let (alice, bob, carol) = (ward().user("alice"), ward().user("bob"), ward().user("carol"));
    let room = room_with_levels(&alice, &bob);
    carol.join(&room);
    let send = |user: &User, kind: &str| user.try_send(&room, kind, &unique("txn"), text("x"));
    send(&carol, "m.room.message").refused(403, "M_FORBIDDEN");
    send(&carol, "example.free").ok();
    send(&bob, "m.room.message").ok();
    carol.try_set_state(&room, "example.note", "", json!({})).refused(403, "M_FORBIDDEN");
    bob.try_set_state(&room, "example.note", "", json!({})).ok();
    bob.try_set_state(&room, "m.room.name", "", json!({ "name": "x" })).ok();
    bob.try_set_state(&room, "m.room.topic", "", json!({ "topic": "x" })).refused(403, "M_FORBIDDEN");
    alice.try_set_state(&room, "m.room.topic", "", json!({ "topic": "x" })).ok();
}

#[test]
fn nobody_rises_above_oneself_or_lowers_an_equal() {
    let (alice, bob, carol) = (ward().user("alice"), ward().user("bob"), ward().user("carol"));
    let room = room_with_levels(&alice, &bob);
    carol.join(&room);
    let levels = alice.state(&room, "m.room.power_levels", "");
    let with = |user: &User, level: i64| {
        let mut levels = levels.clone();
        levels["users"][&user.id] = json!(level);
        levels
    };
    let set = |user: &User, levels| user.try_set_state(&room, "m.room.power_levels", "", levels);
    set(&bob, with(&bob, 51)).refused(403, "M_FORBIDDEN");
    set(&bob, with(&carol, 51)).refused(403, "M_FORBIDDEN");
    set(&carol, with(&carol, 1)).refused(403, "M_FORBIDDEN");
    let mut too_high = levels.clone();
    too_high["events"]["m.room.topic"] = json!(50);
    set(&bob, too_high).refused(403, "M_FORBIDDEN");
    assert_eq!(alice.state(&room, "m.room.power_levels", ""), levels, "nothing changed");

    set(&bob, with(&carol, 50)).ok();
    let mut demoted = alice.state(&room, "m.room.power_levels", "");
    demoted["users"][&carol.id] = json!(0);
    set(&bob, demoted.clone()).refused(403, "M_FORBIDDEN");
    set(&carol, demoted).ok();
}

#[test]
fn levels_must_be_integers_where_the_version_says_so() {
    let alice = ward().user("alice");
    for version in ["10", "12"] {
        let room = alice.create_room(json!({ "room_version": version }));
        let before = alice.state(&room, "m.room.power_levels", "");
        for bad in [json!("50"), json!([50]), json!(null)] {
            let mut levels = before.clone();
            levels["ban"] = bad;
            let answer = alice.try_set_state(&room, "m.room.power_levels", "", levels);
            assert!([400, 403].contains(&answer.status), "{}", answer.story());
        }
        let mut users = before.clone();
        users["users"]["no user id"] = json!(1);
        let answer = alice.try_set_state(&room, "m.room.power_levels", "", users);
        assert!([400, 403].contains(&answer.status), "{}", answer.story());
        assert_eq!(alice.state(&room, "m.room.power_levels", ""), before);
    }
}

#[test]
fn redacting_others_takes_the_redact_level() {
    let (alice, bob, carol) = (ward().user("alice"), ward().user("bob"), ward().user("carol"));
    let room = room_with_levels(&alice, &bob);
    carol.join(&room);
    let of_alice = alice.say(&room, "alice's");
    let of_bob = bob.say(&room, "bob's");
    bob.try_redact(&room, &of_alice, &unique("txn")).refused(403, "M_FORBIDDEN");
    bob.redact(&room, &of_bob);
    assert_eq!(alice.try_event(&room, &of_alice).ok()["content"]["body"], "alice's");
    assert_eq!(alice.try_event(&room, &of_bob).ok()["content"], json!({}));
}
