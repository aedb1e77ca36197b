//! Coming in, and looking in.

use wardroom_testkit::{Actor, json, unique, v1, v3};

use super::{Gated, POLICY, give, policy};
use crate::{SOON, admin::own};

#[test]
fn who_does_not_have_the_role_comes_in_by_no_door() {
    let gated = Gated::of("public_chat");
    let Gated { server, alice, room, .. } = &gated;
    let (bob, alias) = (server.user("bob"), format!("#{}:{}", unique("ward"), server.name()));
    alice.put(v3(&["directory", "room", &alias]), json!({ "room_id": room })).ok();
    bob.post(v3(&["join", room]), json!({})).refused(403, "M_FORBIDDEN");
    bob.post(v3(&["join", &alias]), json!({})).refused(403, "M_FORBIDDEN");
    bob.post(v3(&["rooms", room, "join"]), json!({})).refused(403, "M_FORBIDDEN");
    let join = json!({ "membership": "join" });
    bob.put(v3(&["rooms", room, "state", "m.room.member", &bob.id]), join).refused(403, "M_FORBIDDEN");
    bob.post(v3(&["knock", room]), json!({})).refused(403, "M_FORBIDDEN");
    alice.post(v3(&["rooms", room, "invite"]), json!({ "user_id": bob.id })).refused(403, "M_FORBIDDEN");
    let invite = json!({ "membership": "invite" });
    alice.put(v3(&["rooms", room, "state", "m.room.member", &bob.id]), invite).refused(403, "M_FORBIDDEN");
    let mut members = alice.members(room, "join");
    members.retain(|user| *user != alice.id);
    assert!(members.len() == 1 && members[0].contains("_access"), "{members:?}");

    let colleague = gated.colleague();
    colleague.join(room);
    colleague.say(room, "here");
    alice.post(v3(&["rooms", room, "invite"]), json!({ "user_id": gated.colleague().id })).ok();
}

#[test]
fn who_does_not_have_the_role_sees_nothing_of_an_open_room() {
    let gated = Gated::of("public_chat");
    let Gated { server, alice, room, .. } = &gated;
    alice.set_state(room, "m.room.history_visibility", "", json!({ "history_visibility": "world_readable" }));
    let said = alice.say(room, "confidential, too");
    let bob = server.user("bob");
    bob.try_messages(room, "b", None, "10").refused(403, "M_FORBIDDEN");
    for target in [
        v3(&["rooms", room, "event", &said]),
        v3(&["rooms", room, "context", &said]),
        v3(&["rooms", room, "state"]),
        v3(&["rooms", room, "state", "m.room.member", &alice.id]),
        v3(&["rooms", room, "members"]),
        v3(&["rooms", room, "joined_members"]),
        v3(&["rooms", room, "initialSync"]),
        v1(&["rooms", room, "relations", &said]),
        v1(&["rooms", room, "threads"]),
        v1(&["rooms", room, "timestamp_to_event"]).query("ts", "0").query("dir", "f"),
        v1(&["rooms", room, "hierarchy"]),
        v1(&["room_summary", room]),
        v3(&["rooms", room, "aliases"]),
    ] {
        let reply = bob.get(target.clone());
        assert!(matches!(reply.status, 403 | 404), "{target:?}: {reply:?}");
        assert!(!String::from_utf8_lossy(&reply.bytes).contains("confidential"), "{target:?}");
    }
    let found =
        bob.post(v3(&["search"]), json!({ "search_categories": { "room_events": { "search_term": "confidential" } } }));
    assert!(!String::from_utf8_lossy(&found.bytes).contains("confidential, too"), "{found:?}");
    let colleague = gated.colleague();
    colleague.get(v3(&["rooms", room, "event", &said])).ok();
}

#[test]
fn what_was_asked_before_is_worth_nothing_afterwards() {
    let server = crate::ward();
    let gated = Gated::of("private_chat");
    let Gated { admin, alice, .. } = &gated;
    let (invited, knocking) = (server.user("invited"), server.user("knocking"));
    let room = alice.create_room(json!({ "preset": "private_chat" }));
    alice.invite(&room, &invited);
    alice.set_state(&room, "m.room.join_rules", "", json!({ "join_rule": "knock" }));
    knocking.post(v3(&["knock", &room]), json!({})).ok();
    let mut sync = server.follow(&invited);
    admin.put(own(&["rooms", &room, "policy"]), policy(&[&gated.role])).ok();
    invited.post(v3(&["join", &room]), json!({})).refused(403, "M_FORBIDDEN");
    sync.until("the end of the invitation", SOON, |sync| sync["rooms"]["leave"].get(&room).is_some());
    wardroom_testkit::wait_until("the knock is gone", SOON, || {
        (alice.members(&room, "knock").is_empty() && alice.members(&room, "invite").is_empty()).then_some(())
    });
}

#[test]
fn an_invitation_is_enough_where_the_policy_says_so() {
    let gated = Gated::of("private_chat");
    let Gated { server, admin, alice, room, role } = &gated;
    let mut open = policy(&[role]);
    open["invite"] = json!("role_or_invite");
    admin.put(own(&["rooms", room, "policy"]), open).ok();
    let (bob, carol) = (server.user("bob"), server.user("carol"));
    bob.post(v3(&["join", room]), json!({})).refused(403, "M_FORBIDDEN");
    alice.invite(room, &bob);
    bob.join(room);
    bob.say(room, "thank you");
    admin.post(own(&["revalidate"]), json!({ "room_id": room })).ok();
    bob.say(room, "still here");
    // Who was asked in does not ask others in.
    bob.post(v3(&["rooms", room, "invite"]), json!({ "user_id": carol.id })).refused(403, "M_FORBIDDEN");
}

#[test]
fn a_policy_that_cannot_be_read_is_not_sent() {
    let gated = Gated::of("private_chat");
    let Gated { admin, alice, room, role, .. } = &gated;
    for (wrong, field) in [
        (json!({ "version": 2, "require": policy(&[role])["require"] }), "version"),
        (json!({ "version": 1 }), "require"),
        (policy(&["physician"]), "require.any_of[0].all_of[0]"),
        (json!({ "version": 1, "require": { "any_of": [] } }), "require.any_of"),
    ] {
        let sent = alice.put(v3(&["rooms", room, "state", POLICY, ""]), wrong.clone()).refused(400, "M_BAD_JSON");
        assert!(sent["error"].as_str().unwrap().contains(field), "{sent}");
        let put = admin.put(own(&["rooms", room, "policy"]), wrong).refused(400, "M_INVALID_PARAM");
        assert!(put["error"].as_str().unwrap().starts_with(field), "{put}");
    }
    assert_eq!(admin.get(own(&["rooms", room, "policy"])).ok()["policy"], policy(&[role]));
    let initial = json!([{ "type": POLICY, "state_key": "", "content": { "version": 7 } }]);
    alice.post(v3(&["createRoom"]), json!({ "initial_state": initial })).refused_with_one_of(400, &["M_BAD_JSON"]);
}

#[test]
fn administrators_of_a_room_may_open_it_again() {
    let gated = Gated::of("public_chat");
    let Gated { server, admin, alice, room, .. } = &gated;
    let bob = server.user("bob");
    bob.post(v3(&["join", room]), json!({})).refused(403, "M_FORBIDDEN");
    alice.set_state(room, POLICY, "", json!({}));
    bob.join(room);
    admin.get(own(&["rooms", room, "policy"])).refused(404, "M_NOT_FOUND");
    // A member who may not change states does not.
    bob.put(v3(&["rooms", room, "state", POLICY, ""]), policy(&["x@y"])).refused(403, "M_FORBIDDEN");
}

#[test]
fn roles_of_several_units_open_what_they_say() {
    let gated = Gated::of("public_chat");
    let Gated { server, admin, room, .. } = &gated;
    let unit = unique("icu");
    let any = json!([
        { "all_of": [format!("nurse@h1"), format!("unit:{unit}@h1")] },
        { "all_of": [format!("chief@h1/{unit}")] },
    ]);
    let rules = json!({ "version": 1, "require": { "any_of": any } });
    let alice_keeps = format!("chief@h1/{unit}");
    give(admin, &gated.alice.id, &[&alice_keeps]);
    admin.put(own(&["rooms", room, "policy"]), rules).ok();
    let bob = server.user("bob");
    for (roles, enters) in [
        (vec!["nurse@h1".to_owned()], false),
        (vec![format!("porter@h1/{unit}")], false),
        (vec!["nurse@h1".to_owned(), format!("porter@h1/{unit}")], true),
        (vec![format!("chief@h2/{unit}")], false),
        (vec![format!("nurse@h1/{unit}")], true),
    ] {
        give(admin, &bob.id, &roles.iter().map(String::as_str).collect::<Vec<_>>());
        let reply = bob.post(v3(&["join", room]), json!({}));
        assert_eq!(reply.status == 200, enters, "{roles:?}: {reply:?}");
        if enters {
            bob.leave(room);
        }
    }
}
