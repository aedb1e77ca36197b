//! What administrators do with accounts.

use wardroom_testkit::{Actor, Target, User, json, unique, v1, v3};

use crate::ward;

const SECRET: &str = "a shared secret of the tests";

fn lock(user: &str) -> Target {
    v1(&["admin", "lock", user])
}

fn suspend(user: &str) -> Target {
    v1(&["admin", "suspend", user])
}

/// An administrator.
#[track_caller]
fn admin() -> User {
    let answer = ward().anonymous().register_with_secret(SECRET, &unique("admin"), true).ok();
    User::from_answer(ward().http(), &answer, "correct horse battery staple")
}

fn whoami(user: &User) -> u16 {
    user.get(v3(&["account", "whoami"])).status
}

#[test]
fn a_locked_account_can_log_out_and_nothing_else() {
    let (admin, alice) = (admin(), ward().user("alice"));
    let other = alice.other_device();
    assert_eq!(admin.get(lock(&alice.id)).ok(), json!({ "locked": false }));
    assert_eq!(admin.put(lock(&alice.id), json!({ "locked": true })).ok(), json!({ "locked": true }));
    assert_eq!(admin.get(lock(&alice.id)).ok(), json!({ "locked": true }));
    for target in [v3(&["account", "whoami"]), v3(&["sync"]), v3(&["joined_rooms"])] {
        assert_eq!(alice.get(target).refused(401, "M_USER_LOCKED")["soft_logout"], true);
    }
    alice.anonymous().try_login(&alice.id, &alice.password).refused(401, "M_USER_LOCKED");
    other.post(v3(&["logout"]), json!({})).ok();
    other.get(v3(&["account", "whoami"])).refused(401, "M_UNKNOWN_TOKEN");
    admin.put(lock(&alice.id), json!({ "locked": false })).ok();
    assert_eq!(whoami(&alice), 200, "the session lasts");
}

#[test]
fn a_suspended_account_reads_and_leaves_but_does_not_act() {
    let (admin, alice, bob) = (admin(), ward().user("alice"), ward().user("bob"));
    let (room, other) = (bob.create_public_room(&[&alice]), bob.create_public_room(&[]));
    let (own, others) = (alice.say(&room, "mine"), bob.say(&room, "his"));
    assert_eq!(admin.get(suspend(&alice.id)).ok(), json!({ "suspended": false }));
    assert_eq!(admin.put(suspend(&alice.id), json!({ "suspended": true })).ok(), json!({ "suspended": true }));
    assert_eq!(admin.get(suspend(&alice.id)).ok(), json!({ "suspended": true }));
    for refused in [
        alice.try_send(&room, "m.room.message", &unique("t"), json!({ "body": "x", "msgtype": "m.text" })),
        alice.try_join(&other),
        alice.try_knock(&other),
        alice.try_create_room(json!({})),
        alice.on_member("invite", &room, &admin),
        alice.on_member("kick", &room, &bob),
        alice.try_set_state(&room, "m.room.name", "", json!({ "name": "x" })),
        alice.put(v3(&["profile", &alice.id, "displayname"]), json!({ "displayname": "x" })),
        alice.try_redact(&room, &others, &unique("t")),
    ] {
        refused.refused(403, "M_USER_SUSPENDED");
    }
    alice.initial_sync();
    alice.history(&room);
    alice.redact(&room, &own);
    alice.leave(&room);
    alice.other_device().post(v3(&["logout"]), json!({})).ok();
    admin.put(suspend(&alice.id), json!({ "suspended": false })).ok();
    alice.join(&other);
}

#[test]
fn only_administrators_moderate_and_not_each_other() {
    let (admin, second) = (admin(), admin());
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    for target in [lock(&bob.id), suspend(&bob.id), lock("@nobody:elsewhere.example")] {
        alice.get(target).refused(403, "M_FORBIDDEN");
    }
    alice.put(lock(&bob.id), json!({ "locked": true })).refused(403, "M_FORBIDDEN");
    admin.put(lock(&second.id), json!({ "locked": true })).refused(403, "M_FORBIDDEN");
    admin.put(lock(&admin.id), json!({ "locked": true })).refused(403, "M_FORBIDDEN");
    admin.put(suspend(&second.id), json!({ "suspended": true })).refused(403, "M_FORBIDDEN");
    let unknown = format!("@{}:{}", unique("unknown"), ward().name());
    admin.get(lock(&unknown)).refused(404, "M_NOT_FOUND");
    admin.put(suspend(&unknown), json!({ "suspended": true })).refused(404, "M_NOT_FOUND");
    admin.get(lock("@alice:elsewhere.example")).refused(400, "M_INVALID_PARAM");
    admin.put(lock(&bob.id), json!({ "locked": "yes" })).refused(400, "M_BAD_JSON");
    admin.put(lock(&bob.id), json!({})).refused(400, "M_BAD_JSON");
    assert_eq!(whoami(&bob), 200);
    let allowed = json!({ "lock": true, "suspend": true });
    assert_eq!(admin.get(v3(&["capabilities"])).ok()["capabilities"]["m.account_moderation"], allowed);
    assert!(alice.get(v3(&["capabilities"])).ok()["capabilities"].get("m.account_moderation").is_none());
}

#[test]
fn users_and_administrators_see_where_an_account_is_signed_in() {
    let (admin, alice, bob) = (admin(), ward().user("alice"), ward().user("bob"));
    let target = || v3(&["admin", "whois", &alice.id]);
    for user in [&alice, &admin] {
        let answer = user.get(target()).ok();
        assert_eq!(answer["user_id"], alice.id.as_str());
        assert!(answer["devices"][&alice.device]["sessions"][0]["connections"][0].is_object(), "{answer}");
    }
    bob.get(target()).refused(403, "M_FORBIDDEN");
    admin.get(v3(&["admin", "whois", &format!("@{}:{}", unique("x"), ward().name())])).refused(404, "M_NOT_FOUND");
}

#[test]
fn there_are_no_third_parties() {
    let alice = ward().user("alice");
    assert_eq!(alice.get(v3(&["account", "3pid"])).ok(), json!({ "threepids": [] }));
    assert_eq!(alice.get(v3(&["thirdparty", "protocols"])).ok(), json!({}));
    alice.anonymous().get(v3(&["thirdparty", "protocols"])).refused(401, "M_MISSING_TOKEN");
}

#[test]
fn a_login_token_lets_one_more_device_in_once() {
    let alice = ward().user("alice");
    let target = v1(&["login", "get_token"]);
    let given = alice.with_password_stage("POST", &target, json!({})).ok();
    assert_eq!(given["expires_in_ms"], 120_000);
    let body = json!({ "type": "m.login.token", "token": given["login_token"] });
    let phone = alice.anonymous().post(v3(&["login"]), body.clone()).ok();
    assert_eq!(phone["user_id"], alice.id.as_str());
    assert_ne!(phone["device_id"], alice.device.as_str());
    alice.anonymous().post(v3(&["login"]), body).refused(403, "M_FORBIDDEN");
    let flows = alice.anonymous().get(v3(&["login"])).ok();
    let token = flows["flows"].as_array().unwrap().iter().find(|flow| flow["type"] == "m.login.token").unwrap();
    assert_eq!(token["get_login_token"], true);
    assert_eq!(alice.get(v3(&["capabilities"])).ok()["capabilities"]["m.get_login_token"], json!({ "enabled": true }));
}
