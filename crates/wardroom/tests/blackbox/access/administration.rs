//! What administrators see of roles and access.

use wardroom_testkit::{Actor, Body, json, unique, v3};

use super::{Gated, give, policy};
use crate::admin::{own, synapse};

#[test]
fn a_dry_run_says_who_would_stay_and_why() {
    let gated = Gated::of("public_chat");
    let Gated { server, admin, alice, room, role } = &gated;
    let stranger = server.user("stranger");
    let other = format!("{}@h1", unique("porter"));
    let porter = server.user("porter");
    give(admin, &porter.id, &[&other]);
    let users = json!([alice.id, stranger.id, porter.id]);
    let ran = admin.post(own(&["rooms", room, "policy", "evaluate"]), json!({ "users": users })).ok();
    assert_eq!(ran["totals"], json!({ "compliant": 1, "nonCompliant": 1, "inconclusive": 1 }), "{ran}");
    let of = |user: &str| ran["results"].as_array().unwrap().iter().find(|one| one["user_id"] == *user).unwrap();
    assert_eq!(of(&alice.id)["verdict"], "compliant");
    assert_eq!(of(&porter.id)["verdict"], "nonCompliant");
    assert_eq!((&of(&porter.id)["roles"], &of(&porter.id)["missing"]), (&json!([other]), &json!([role])));
    assert_eq!(of(&stranger.id)["verdict"], "inconclusive");
    // Another policy, for those who are there.
    let tried = json!({ "policy": policy(&[&other]) });
    let ran = admin.post(own(&["rooms", room, "policy", "evaluate"]), tried).ok();
    assert_eq!(ran["totals"]["nonCompliant"], 1, "{ran}");
    alice.say(room, "nothing happened");
    let wrong = json!({ "policy": { "version": 1, "require": {} } });
    let error = admin.post(own(&["rooms", room, "policy", "evaluate"]), wrong).refused(400, "M_BAD_JSON");
    assert!(error["error"].as_str().unwrap().starts_with("policy.require.any_of"), "{error}");
}

#[test]
fn it_is_told_why_somebody_may_enter_or_may_not() {
    let gated = Gated::of("public_chat");
    let Gated { server, admin, alice, room, role } = &gated;
    let bob = server.user("bob");
    let open = alice.create_room(json!({ "preset": "public_chat" }));
    let target = |user: &str| own(&["users", user, "access"]);
    let one = admin.get(target(&bob.id).query("room_id", room)).ok();
    assert_eq!((&one["rooms"][0]["verdict"], &one["rooms"][0]["membership"]), (&json!("inconclusive"), &json!(null)));
    assert_eq!(one["rooms"][0]["missing"], json!([role]));
    let all = admin.get(target(&alice.id)).ok();
    let of = |id: &str| all["rooms"].as_array().unwrap().iter().find(|one| one["room_id"] == *id).unwrap();
    assert_eq!((&of(room)["verdict"], &of(room)["requires_roles"]), (&json!("compliant"), &json!(true)));
    assert_eq!((&of(&open)["verdict"], &of(&open)["requires_roles"]), (&json!("compliant"), &json!(false)));
}

#[test]
fn roles_are_listed_with_their_holders_and_taken_back() {
    let gated = Gated::of("public_chat");
    let Gated { server, admin, alice, role, .. } = &gated;
    let bob = gated.colleague();
    let roles = admin.get(own(&["roles"])).ok();
    let ours = roles["roles"].as_array().unwrap().iter().find(|one| one["role"] == *role).unwrap();
    assert_eq!(ours["holders"], 2);
    let mut expected = [alice.id.clone(), bob.id.clone()];
    expected.sort();
    let first = admin.get(own(&["role_holders"]).query("requirement", role).query("limit", "1")).ok();
    assert_eq!((&first["users"], &first["next_token"]), (&json!([expected[0]]), &json!(expected[0])));
    let from = own(&["role_holders"]).query("requirement", role).query("from", &expected[0]);
    assert_eq!(admin.get(from).ok()["users"], json!([expected[1]]));
    for wrong in [json!([{ "role": "no role", "reason": "x" }]), json!([{ "role": "a@b", "reason": " " }])] {
        admin.put(own(&["role_bindings", &bob.id]), json!({ "roles": wrong })).refused(400, "M_INVALID_PARAM");
    }
    admin
        .request("DELETE", &own(&["role_bindings", &bob.id]).query("role", "other@h1"), Body::Empty)
        .refused(404, "M_NOT_FOUND");
    admin.request("DELETE", &own(&["role_bindings", &bob.id]).query("role", role), Body::Empty).ok();
    assert_eq!(admin.get(own(&["role_bindings", &bob.id])).ok()["roles"], json!([]));
    // Nobody else gives roles.
    let roles = json!({ "roles": [{ "role": role, "reason": "I want it" }] });
    let user = server.user("user");
    user.put(own(&["role_bindings", &user.id]), roles).refused(403, "M_FORBIDDEN");
}

#[test]
fn a_role_is_given_beside_the_others() {
    let gated = Gated::of("public_chat");
    let Gated { admin, alice, role, .. } = &gated;
    let bindings = || own(&["role_bindings", &alice.id]);
    let other = format!("{}@h1", unique("charge-nurse"));
    admin.post(bindings(), json!({ "role": other, "reason": "this week" })).ok();
    // Once more is no second one.
    let until_ts = 4_000_000_000_000_u64;
    admin.post(bindings(), json!({ "role": other, "reason": "this year", "until_ts": until_ts })).ok();
    let shown = admin.get(bindings()).ok();
    let roles: Vec<_> = shown["roles"].as_array().unwrap().iter().map(|one| (&one["role"], &one["reason"])).collect();
    assert_eq!(roles, [(&json!(role), &json!("on duty")), (&json!(other), &json!("this year"))], "{shown}");
    assert_eq!(shown["roles"][1]["until_ts"], until_ts);
    for wrong in [json!({ "role": "no role", "reason": "x" }), json!({ "role": "a@b", "reason": " " })] {
        admin.post(bindings(), wrong).refused(400, "M_INVALID_PARAM");
    }
    admin.post(bindings(), json!({ "role": "a@b" })).refused(400, "M_BAD_JSON");
}

#[test]
fn the_review_lists_everybody_in_rooms_that_require_roles() {
    let gated = Gated::of("public_chat");
    let Gated { admin, alice, room, role, .. } = &gated;
    let mut from: Option<u64> = None;
    let members = loop {
        let target = own(&["access_review"]);
        let target = if let Some(from) = from { target.query("from", &from.to_string()) } else { target };
        let page = admin.get(target).ok();
        if let Some(ours) = page["rooms"].as_array().unwrap().iter().find(|one| one["room_id"] == **room) {
            break ours["members"].clone();
        }
        from = Some(page["next_token"].as_u64().expect("the room is in the review"));
    };
    let alice_there = members.as_array().unwrap().iter().find(|one| one["user_id"] == *alice.id).unwrap();
    assert_eq!((&alice_there["verdict"], &alice_there["roles"]), (&json!("compliant"), &json!([role])));
    let csv = admin.get(own(&["access_review"]).query("format", "csv"));
    assert_eq!(csv.status, 200);
    assert!(
        String::from_utf8_lossy(&csv.bytes).starts_with("room_id,user_id,verdict,roles,missing,reason\r\n"),
        "{}",
        String::from_utf8_lossy(&csv.bytes)
    );
}

#[test]
fn nobody_becomes_one_of_the_servers_own_users() {
    let gated = Gated::of("public_chat");
    let Gated { server, admin, room, .. } = &gated;
    let service = format!("@_access:{}", server.name());
    assert!(gated.alice.members(room, "join").contains(&service), "the server's own user is in the room");
    for name in ["_access", "_ACCESS", &service] {
        server.anonymous().try_register(json!({ "username": name, "password": "a long enough one" })).refused_somehow();
    }
    let available = server.anonymous().get(v3(&["register", "available"]).query("username", "_access"));
    available.refused(400, "M_USER_IN_USE");
    // An administrator can set a password, but nobody signs in with it.
    let target = synapse(&["v1", "reset_password", &service]);
    admin.post(target, json!({ "new_password": "a long enough one" })).ok();
    server.anonymous().try_login("_access", "a long enough one").refused(403, "M_FORBIDDEN");
}
