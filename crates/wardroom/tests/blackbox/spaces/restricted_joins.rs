//! Join rules `restricted` and `knock_restricted`.

use wardroom_testkit::{User, Value, json};

use super::restricted;
use crate::ward;

const VERSIONS: [&str; 5] = ["8", "9", "10", "11", "12"];

#[test]
fn members_of_an_allowed_room_join_on_the_word_of_somebody_who_may_invite() {
    for version in VERSIONS {
        let (alice, bob) = (ward().user("alice"), ward().user("bob"));
        let key = alice.create_public_room(&[&bob]);
        let room = restricted(&alice, version, "restricted", &[&key]);
        bob.join(&room);
        let member = alice.state(&room, "m.room.member", &bob.id);
        assert_eq!(member["join_authorised_via_users_server"], alice.id.as_str(), "version {version}: {member}");
        bob.say(&room, "I am in");
        // Membership of the other room is a matter of the join alone.
        bob.leave(&key);
        bob.say(&room, "I am still in");
        bob.leave(&room);
        bob.try_join(&room).refused(403, "M_FORBIDDEN");
    }
}

#[test]
fn who_meets_no_condition_is_refused() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let (key, left) = (alice.create_room(json!({ "invite": [bob.id] })), alice.create_public_room(&[&bob]));
    bob.leave(&left);
    let room = restricted(&alice, "12", "restricted", &[&key, &left, "!unknown:b.example"]);
    bob.try_join(&room).refused(403, "M_FORBIDDEN");
    let member = json!({ "membership": "join", "join_authorised_via_users_server": alice.id });
    bob.try_set_state(&room, "m.room.member", &bob.id, member).refused(403, "M_FORBIDDEN");
    assert!(!bob.is_in(&room));
    // Who is in the allowed room may, by this way too; whom the client names does not count.
    bob.join(&key);
    let member = json!({ "membership": "join", "join_authorised_via_users_server": bob.id, "displayname": "Bob" });
    bob.try_set_state(&room, "m.room.member", &bob.id, member).ok();
    let member = alice.state(&room, "m.room.member", &bob.id);
    assert_eq!(member["join_authorised_via_users_server"], alice.id.as_str());
    assert_eq!(member["displayname"], "Bob");
}

#[test]
fn the_invited_join_and_the_banned_do_not_whatever_the_conditions() {
    let (alice, bob, carol) = (ward().user("alice"), ward().user("bob"), ward().user("carol"));
    let key = alice.create_public_room(&[&carol]);
    let room = restricted(&alice, "12", "restricted", &[&key]);
    alice.invite(&room, &bob);
    bob.join(&room);
    assert_eq!(alice.state(&room, "m.room.member", &bob.id)["join_authorised_via_users_server"], Value::Null);
    alice.on_member("ban", &room, &carol).ok();
    carol.try_join(&room).refused(403, "M_FORBIDDEN");
}

#[test]
fn conditions_that_cannot_be_read_close_no_door() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let key = alice.create_public_room(&[&bob]);
    let content = json!({ "join_rule": "restricted", "allow": [
        7, "x", { "type": "m.room_membership" }, { "type": "m.room_membership", "room_id": 5 },
        { "type": "example.moon_phase", "room_id": key }, { "type": "m.room_membership", "room_id": "nonsense" },
        { "type": "m.room_membership", "room_id": key },
    ] });
    let rules = json!({ "type": "m.room.join_rules", "content": content });
    let room = alice.create_room(json!({ "room_version": "11", "initial_state": [rules] }));
    bob.join(&room);
    for allow in [json!("all"), json!([]), json!([{ "type": "example.moon_phase", "room_id": key }])] {
        let carol = ward().user("carol");
        carol.join(&key);
        alice.set_state(&room, "m.room.join_rules", "", json!({ "join_rule": "restricted", "allow": allow }));
        carol.try_join(&room).refused(403, "M_FORBIDDEN");
    }
}

/// A room in which nobody has the power to invite any more.
fn without_inviters(alice: &User, bob: &User) -> String {
    let key = alice.create_public_room(&[bob]);
    let room = restricted(alice, "11", "restricted", &[&key]);
    alice.change_power_levels(&room, |levels| levels["invite"] = json!(100));
    alice.leave(&room);
    room
}

#[test]
fn somebody_must_be_there_to_let_people_in() {
    let (alice, bob, carol) = (ward().user("alice"), ward().user("bob"), ward().user("carol"));
    let room = without_inviters(&alice, &bob);
    bob.try_join(&room).refused(400, "M_UNABLE_TO_AUTHORISE_JOIN");
    carol.try_join(&room).refused(403, "M_FORBIDDEN");
}

#[test]
fn a_knock_restricted_room_lets_in_and_lets_ask() {
    for version in ["10", "11", "12"] {
        let (alice, bob, carol) = (ward().user("alice"), ward().user("bob"), ward().user("carol"));
        let key = alice.create_public_room(&[&bob]);
        let room = restricted(&alice, version, "knock_restricted", &[&key]);
        bob.join(&room);
        carol.try_join(&room).refused(403, "M_FORBIDDEN");
        carol.try_knock(&room).ok();
        carol.try_join(&room).refused(403, "M_FORBIDDEN");
        alice.invite(&room, &carol);
        carol.join(&room);
    }
}

#[test]
fn versions_that_do_not_know_a_rule_let_nobody_in_by_it() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let key = alice.create_public_room(&[&bob]);
    for (version, rule) in [("7", "restricted"), ("9", "knock_restricted"), ("6", "knock")] {
        let room = restricted(&alice, version, rule, &[&key]);
        bob.try_join(&room).refused(403, "M_FORBIDDEN");
        bob.try_knock(&room).refused(403, "M_FORBIDDEN");
    }
}
