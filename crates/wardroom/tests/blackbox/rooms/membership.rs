//! Invite, join, leave, kick, ban, unban, forget, members.

use wardroom_testkit::{Actor, events, json, same_set, unique, v3};

use crate::ward;

#[test]
fn an_invited_user_joins_a_private_room_and_leaves_it() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_room(json!({ "preset": "private_chat" }));
    bob.try_join(&room).refused(403, "M_FORBIDDEN");
    alice.invite(&room, &bob);
    assert_eq!(alice.members(&room, "invite"), [bob.id.as_str()]);
    let answer = bob.post(v3(&["rooms", &room, "join"]), json!({ "reason": "on duty" })).ok();
    assert_eq!(answer["room_id"], room.as_str());
    assert!(bob.is_in(&room));
    assert_eq!(alice.state(&room, "m.room.member", &bob.id)["reason"], "on duty");
    bob.leave(&room);
    assert!(!bob.is_in(&room));
    assert_eq!(alice.state(&room, "m.room.member", &bob.id)["membership"], "leave");
    bob.try_join(&room).refused(403, "M_FORBIDDEN");
}

#[test]
fn an_invite_can_be_rejected_and_taken_back() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_room(json!({}));
    alice.invite(&room, &bob);
    bob.leave(&room);
    assert!(bob.initial_sync()["rooms"]["invite"].get(&room).is_none());
    alice.invite(&room, &bob);
    alice.on_member("kick", &room, &bob).ok();
    assert_eq!(alice.state(&room, "m.room.member", &bob.id)["membership"], "leave");
    bob.try_join(&room).refused(403, "M_FORBIDDEN");
}

#[test]
fn joining_twice_is_no_error_and_no_second_event() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_public_room(&[&bob]);
    let before = alice.history(&room).len();
    assert_eq!(bob.try_join(&room).ok()["room_id"], room.as_str());
    assert_eq!(alice.history(&room).len(), before);
}

#[test]
fn unknown_rooms_cannot_be_joined() {
    let alice = ward().user("alice");
    let unknown = format!("!{}:{}", unique("nowhere"), ward().name());
    for answer in [alice.try_join(&unknown), alice.post(v3(&["rooms", &unknown, "join"]), json!({}))] {
        answer.denied();
    }
    alice.try_join(&format!("#{}:{}", unique("nowhere"), ward().name())).refused(404, "M_NOT_FOUND");
    alice.try_join("neither room nor alias").refused(400, "M_INVALID_PARAM");
}

#[test]
fn only_the_allowed_invite() {
    let (alice, bob, carol) = (ward().user("alice"), ward().user("bob"), ward().user("carol"));
    let room = alice.create_room(json!({ "power_level_content_override": { "invite": 50 } }));
    carol.on_member("invite", &room, &bob).refused(403, "M_FORBIDDEN");
    alice.invite(&room, &bob);
    bob.join(&room);
    bob.on_member("invite", &room, &carol).refused(403, "M_FORBIDDEN");
    alice.change_power_levels(&room, |levels| levels["users"][&bob.id] = json!(50));
    bob.invite(&room, &carol);
    bob.on_member("invite", &room, &alice).refused(403, "M_FORBIDDEN");
    assert_eq!(alice.state(&room, "m.room.member", &alice.id)["membership"], "join", "a member is not invited");
}

#[test]
fn kick_and_ban_follow_power() {
    let (alice, bob, carol) = (ward().user("alice"), ward().user("bob"), ward().user("carol"));
    let room = alice.create_public_room(&[&bob, &carol]);
    for action in ["kick", "ban"] {
        bob.on_member(action, &room, &carol).refused(403, "M_FORBIDDEN");
        bob.on_member(action, &room, &alice).refused(403, "M_FORBIDDEN");
    }
    assert!(carol.is_in(&room) && alice.is_in(&room));

    let body = json!({ "user_id": carol.id, "reason": "wrong ward" });
    alice.post(v3(&["rooms", &room, "kick"]), body).ok();
    let member = bob.state(&room, "m.room.member", &carol.id);
    assert_eq!((&member["membership"], &member["reason"]), (&json!("leave"), &json!("wrong ward")));
    alice.on_member("kick", &room, &carol).refused(403, "M_FORBIDDEN");
    carol.join(&room);

    alice.on_member("ban", &room, &carol).ok();
    assert!(!carol.is_in(&room));
    carol.try_join(&room).refused(403, "M_FORBIDDEN");
    alice.on_member("invite", &room, &carol).refused(403, "M_FORBIDDEN");
    alice.on_member("unban", &room, &carol).ok();
    assert_eq!(bob.state(&room, "m.room.member", &carol.id)["membership"], "leave");
    carol.join(&room);
    alice.on_member("unban", &room, &carol).refused(403, "M_FORBIDDEN");
    assert!(carol.is_in(&room), "unban is not kick");
}

#[test]
fn somebody_who_was_never_there_can_be_banned() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_public_room(&[]);
    alice.on_member("ban", &room, &bob).ok();
    bob.try_join(&room).refused(403, "M_FORBIDDEN");
}

#[test]
fn a_room_is_forgotten_only_after_leaving_and_then_really() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_public_room(&[&bob]);
    bob.try_forget(&room).refused(400, "M_UNKNOWN");
    bob.leave(&room);
    bob.try_messages(&room, "b", None, "5").ok();
    bob.try_forget(&room).ok();
    bob.try_messages(&room, "b", None, "5").refused(403, "M_FORBIDDEN");
    bob.get(v3(&["rooms", &room, "state"])).refused(403, "M_FORBIDDEN");
    let everything = bob.try_sync(None, std::time::Duration::ZERO, Some(r#"{"room":{"include_leave":true}}"#)).ok();
    assert!(everything["rooms"]["leave"].get(&room).is_none(), "{everything}");
    bob.join(&room);
    assert!(bob.is_in(&room));
}

#[test]
fn membership_events_set_by_state_follow_the_same_rules() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_room(json!({ "preset": "private_chat" }));
    let member = |membership: &str| json!({ "membership": membership });
    alice.try_set_state(&room, "m.room.member", &bob.id, member("join")).refused(403, "M_FORBIDDEN");
    alice.set_state(&room, "m.room.member", &bob.id, member("invite"));
    bob.set_state(&room, "m.room.member", &bob.id, member("join"));
    assert!(bob.is_in(&room));
    let nonsense = alice.try_set_state(&room, "m.room.member", &bob.id, member("banished"));
    assert!([400, 403].contains(&nonsense.status), "{}", nonsense.story());
    assert!(bob.is_in(&room));
}

#[test]
fn members_are_listed_by_membership() {
    let (alice, bob, carol, dave) =
        (ward().user("alice"), ward().user("bob"), ward().user("carol"), ward().user("dave"));
    let room = alice.create_public_room(&[&bob, &carol]);
    alice.invite(&room, &dave);
    carol.leave(&room);
    let mut joined = [alice.id.clone(), bob.id.clone()];
    joined.sort();
    assert_eq!(alice.members(&room, "join"), joined);
    assert_eq!(alice.members(&room, "invite"), [dave.id.as_str()]);
    assert_eq!(alice.members(&room, "leave"), [carol.id.as_str()]);
    let not_left = alice.get(v3(&["rooms", &room, "members"]).query("not_membership", "leave")).ok();
    assert_eq!(events(&not_left["chunk"]).len(), 3, "{not_left}");
    let all = alice.get(v3(&["rooms", &room, "members"])).ok();
    assert_eq!(events(&all["chunk"]).len(), 4, "{all}");
    let map = bob.get(v3(&["rooms", &room, "joined_members"])).ok();
    let ids: Vec<&str> = map["joined"].as_object().unwrap().keys().map(String::as_str).collect();
    assert!(same_set(&json!(ids), &[&alice.id, &bob.id]), "{map}");

    let stranger = ward().user("stranger");
    stranger.get(v3(&["rooms", &room, "members"])).refused(403, "M_FORBIDDEN");
    stranger.get(v3(&["rooms", &room, "joined_members"])).refused(403, "M_FORBIDDEN");
}

#[test]
fn members_can_be_asked_for_at_an_earlier_point() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_public_room(&[]);
    let before = alice.initial_sync()["next_batch"].as_str().unwrap().to_owned();
    bob.join(&room);
    let then = alice.get(v3(&["rooms", &room, "members"]).query("at", &before)).ok();
    assert_eq!(events(&then["chunk"]).len(), 1, "{then}");
}

#[test]
fn who_left_sees_the_members_of_that_time() {
    let (alice, bob, carol) = (ward().user("alice"), ward().user("bob"), ward().user("carol"));
    let room = alice.create_public_room(&[&bob]);
    bob.leave(&room);
    carol.join(&room);
    let seen = bob.members(&room, "join");
    assert_eq!(seen, [alice.id.as_str()], "{seen:?}");
}
