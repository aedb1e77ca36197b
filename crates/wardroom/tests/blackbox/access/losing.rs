//! Losing a role.

use wardroom_testkit::{Actor, Body, json, unique, v3};

use super::{Gated, give, policy};
use crate::{SOON, admin::own};

#[test]
fn who_loses_the_role_is_out_of_every_room_that_requires_it() {
    let gated = Gated::of("private_chat");
    let Gated { server, admin, alice, room, role } = &gated;
    let second = alice.create_room(json!({ "preset": "public_chat" }));
    admin.put(own(&["rooms", &second, "policy"]), policy(&[role])).ok();
    let (free, bob) = (alice.create_room(json!({ "preset": "public_chat" })), gated.colleague());
    alice.invite(room, &bob);
    for room in [room, &second, &free] {
        bob.join(room);
    }
    let said = bob.say(room, "on duty");
    let bobs_phone = bob.other_device();
    let (mut sync, mut phone) = (server.follow(&bob), server.follow(&bobs_phone));
    give(admin, &bob.id, &[]);
    for room in [room, &second] {
        // At once, before anybody has looked.
        bob.post(v3(&["join", room]), json!({})).refused(403, "M_FORBIDDEN");
        sync.until("the end", SOON, |sync| sync["rooms"]["leave"].get(room).is_some());
    }
    phone.until("the end", SOON, |sync| sync["rooms"]["leave"].get(room).is_some());
    bob.try_event(room, &said).refused(404, "M_NOT_FOUND");
    bob.try_messages(room, "b", None, "10").refused(403, "M_FORBIDDEN");
    alice.say(room, "not for bob");
    bob.say(&free, "somewhere else");
    let leave = alice.state(room, "m.room.member", &bob.id);
    assert_eq!(leave["membership"], "leave");
    assert!(leave["reason"].as_str().unwrap().contains("role"), "{leave}");
    // And back again.
    give(admin, &bob.id, &[role]);
    alice.invite(room, &bob);
    bob.join(room);
    bob.say(room, "on duty again");
}

#[test]
fn a_role_ends_by_itself() {
    let gated = Gated::of("public_chat");
    let Gated { server, admin, room, role, .. } = &gated;
    let bob = server.user("bob");
    let until = wardroom_testkit::peer::now_ms() + 3_000;
    let roles = json!([{ "role": role, "until_ts": until, "reason": "on call tonight" }]);
    admin.put(own(&["role_bindings", &bob.id]), json!({ "roles": roles })).ok();
    bob.join(room);
    let mut sync = server.follow(&bob);
    sync.until("the end", 2 * SOON, |sync| sync["rooms"]["leave"].get(room).is_some());
    assert!(wardroom_testkit::peer::now_ms() >= until, "not before it ends");
    let shown = admin.get(own(&["role_bindings", &bob.id])).ok();
    assert_eq!((&shown["in_force"], &shown["roles"][0]["until_ts"]), (&json!([]), &json!(until)));
    // One that begins later opens nothing yet.
    let roles = json!([{ "role": role, "from_ts": until + 3_600_000, "reason": "tomorrow" }]);
    admin.put(own(&["role_bindings", &bob.id]), json!({ "roles": roles })).ok();
    bob.post(v3(&["join", room]), json!({})).refused(403, "M_FORBIDDEN");
}

#[test]
fn a_change_of_roles_that_still_fit_puts_nobody_out() {
    let gated = Gated::of("public_chat");
    let Gated { admin, alice, room, role, .. } = &gated;
    let other = format!("{}@h1", unique("nurse"));
    admin.put(own(&["rooms", room, "policy"]), policy(&[role, &other])).ok();
    let bob = gated.colleague();
    bob.join(room);
    for roles in [&[role.as_str(), &other][..], &[&other], &[role, &other], &[role]] {
        give(admin, &bob.id, roles);
    }
    admin.post(own(&["revalidate"]), json!({ "user_id": bob.id })).ok();
    bob.say(room, "never left");
    let memberships = alice.history(room).into_iter().filter(|event| event["state_key"] == *bob.id);
    assert_eq!(memberships.count(), 1, "one join, and nothing after it");
}

#[test]
fn those_who_may_only_read_do_not_send() {
    let gated = Gated::of("public_chat");
    let Gated { admin, alice, room, role, .. } = &gated;
    let mut rules = policy(&[role]);
    rules["on_loss"] = json!({ "action": "readonly" });
    admin.put(own(&["rooms", room, "policy"]), rules).ok();
    let bob = gated.colleague();
    bob.join(room);
    give(admin, &bob.id, &[]);
    admin.post(own(&["revalidate"]), json!({ "user_id": bob.id })).ok();
    let said = alice.say(room, "read on");
    bob.try_event(room, &said).ok();
    let text = json!({ "msgtype": "m.text", "body": "no" });
    bob.put(v3(&["rooms", room, "send", "m.room.message", "t1"]), text).refused(403, "M_FORBIDDEN");
    bob.put(v3(&["rooms", room, "state", "m.room.topic", ""]), json!({ "topic": "x" })).refused(403, "M_FORBIDDEN");
    bob.leave(room);
}

#[test]
fn administrators_hear_of_those_who_stay() {
    let gated = Gated::of("public_chat");
    let Gated { admin, room, role, .. } = &gated;
    let mut rules = policy(&[role]);
    rules["on_loss"] = json!({ "action": "notify" });
    admin.put(own(&["rooms", room, "policy"]), rules).ok();
    let bob = gated.colleague();
    bob.join(room);
    give(admin, &bob.id, &[]);
    let alarm = super::alarm(admin, "role_missing", room);
    assert_eq!(alarm["user_id"], *bob.id);
    bob.say(room, "still here");
    admin.request("DELETE", &own(&["alarms", alarm["id"].as_str().unwrap()]), Body::Empty).ok();
    admin.request("DELETE", &own(&["alarms", alarm["id"].as_str().unwrap()]), Body::Empty).refused(404, "M_NOT_FOUND");
}

#[test]
fn a_time_of_grace_is_kept() {
    let gated = Gated::of("public_chat");
    let Gated { server, admin, room, role, .. } = &gated;
    let mut rules = policy(&[role]);
    rules["on_loss"] = json!({ "action": "kick", "grace_ms": 3_600_000 });
    admin.put(own(&["rooms", room, "policy"]), rules.clone()).ok();
    let bob = gated.colleague();
    bob.join(room);
    give(admin, &bob.id, &[]);
    let looked = admin.post(own(&["revalidate"]), json!({ "room_id": room })).ok();
    assert_eq!((&looked["unmet"], &looked["removed"]), (&json!(1), &json!(0)));
    bob.say(room, "handing over");
    let mut sync = server.follow(&bob);
    rules["on_loss"]["grace_ms"] = json!(0);
    admin.put(own(&["rooms", room, "policy"]), rules).ok();
    sync.until("the end", SOON, |sync| sync["rooms"]["leave"].get(room).is_some());
}
