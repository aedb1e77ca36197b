//! Accounts: who signs in and out, who does not get in, what becomes of accounts and devices.

use wardroom_testkit::{Actor, Config, User, Value, json, unique, v3, wait_until};

use super::{bare, by};
use crate::{
    SOON,
    admin::{admin_of, own, synapse},
    audit::records,
    server_with,
    sso::{clinic, signed_in},
    ward,
};

/// What happened to a user, but for what is read.
#[track_caller]
fn of(admin: &User, user: &str, acts: &[&str]) -> Vec<Value> {
    let mut conditions = vec![("user_id", user)];
    conditions.extend(acts.iter().map(|act| ("act", *act)));
    bare(records(admin, &conditions))
}

/// A record that names who signed in, whether they are known yet or not.
fn login(user: &User, how: &str) -> Value {
    by(user, "login", json!({ "detail": how, "device": user.device, "user": user.id }))
}

#[test]
fn registering_and_signing_in_and_out() {
    let server = ward();
    let (admin, alice) = (admin_of(server), server.user("alice"));
    let again = server.anonymous().login(&alice.id, &alice.password);
    again.post(v3(&["logout"]), json!({})).ok();
    alice.post(v3(&["logout", "all"]), json!({})).ok();
    let who = json!({ "ip": "127.0.0.1" });
    let made = json!({ "act": "account.create", "on": { "user": alice.id }, "outcome": 0, "who": who });
    let out =
        |user: &User, how: &str| by(user, "logout", json!({ "detail": how, "device": user.device, "user": user.id }));
    let expected =
        [made, login(&alice, "registration"), login(&again, "password"), out(&again, "one"), out(&alice, "all")];
    assert_eq!(of(&admin, &alice.id, &["account.create", "login", "logout"]), expected);
}

#[test]
fn who_does_not_get_in_is_noted_and_not_what_they_typed() {
    let server = ward();
    let (admin, alice) = (admin_of(server), server.user("alice"));
    let secret = unique("my password in the wrong field");
    server.anonymous().try_login(&alice.id, "wrong").refused(403, "M_FORBIDDEN");
    server.anonymous().try_login(&secret, "x").refused(403, "M_FORBIDDEN");
    let failed = of(&admin, &alice.id, &["login.failed"]);
    let on = json!({ "detail": "password", "user": alice.id });
    let who = json!({ "ip": "127.0.0.1" });
    let expected = json!({ "act": "login.failed", "on": on, "outcome": 4, "who": who, "why": "credentials" });
    assert_eq!(failed, [expected]);
    let all = records(&admin, &[("act", "login.failed")]);
    assert!(!json!(all).to_string().contains(&secret));
    let unknown = all.iter().filter(|record| record["on"]["name"].as_str().is_some_and(|name| name.len() == 64));
    assert!(unknown.count() > 0, "{all:?}");

    // The report has both, and says which is which.
    let report = admin.get(own(&["reports", "logins"]).query("user_id", &alice.id)).ok();
    let told: Vec<bool> =
        report["logins"].as_array().unwrap().iter().map(|login| login["failed"].as_bool().unwrap()).collect();
    assert_eq!(told, [true, false], "{report}");
    let failed = admin.get(own(&["reports", "logins"]).query("user_id", &alice.id).query("failed", "true")).ok();
    assert_eq!(failed["logins"][0]["ip"], "127.0.0.1");
    assert_eq!(failed["logins"].as_array().unwrap().len(), 1);
    alice.get(own(&["reports", "logins"])).refused(403, "M_FORBIDDEN");
}

#[test]
fn guessing_again_and_again_fills_no_disk() {
    let server = server_with(Config::default().set("rate_limits.enabled", "false"));
    let (admin, alice) = (admin_of(&server), server.user("alice"));
    for _ in 0..20 {
        server.anonymous().try_login(&alice.id, "wrong").refused(403, "M_FORBIDDEN");
    }
    assert_eq!(of(&admin, &alice.id, &["login.failed"]).len(), 1);
}

#[test]
fn a_session_of_an_identity_provider_carries_who_it_is_there() {
    let (provider, server) = clinic("");
    let admin = admin_of(&server);
    let alice = signed_in(&server, &provider, &json!({ "sub": "4711", "preferred_username": "alice" }));
    let room = alice.create_room(json!({ "preset": "private_chat" }));
    alice.say(&room, "hello");
    let all = records(&admin, &[("user_id", &alice.id)]);
    let of_act = |act: &str| all.iter().find(|record| record["act"] == act).unwrap_or_else(|| panic!("{act}: {all:?}"));
    for act in ["login", "event.send", "member.join"] {
        let who = &of_act(act)["who"];
        assert_eq!((who["subject"].as_str(), who["user"].as_str()), (Some("4711"), Some(&*alice.id)), "{act}");
        assert_eq!(who["device"], alice.device, "{act}");
    }
    assert_eq!(of_act("login")["on"]["detail"], "provider");
    assert_eq!(of_act("account.change")["on"]["detail"], "provider.link");
}

#[test]
fn changes_of_an_account() {
    let server = ward();
    let (admin, alice) = (admin_of(server), server.user("alice"));
    let user = synapse(&["v2", "users", &alice.id]);
    let change = |body: Value| drop(admin.put(synapse(&["v2", "users", &alice.id]), body).ok());
    admin.get(user).ok();
    change(json!({ "admin": true }));
    change(json!({ "admin": false }));
    change(json!({ "threepids": [{ "medium": "email", "address": "alice@a.example" }] }));
    change(json!({ "locked": true }));
    change(json!({ "locked": false }));
    change(json!({ "password": "a new and longer password", "logout_devices": true }));
    admin.post(synapse(&["v1", "deactivate", &alice.id]), json!({ "erase": true })).ok();
    let found = of(&admin, &alice.id, &["account.change", "account.erase", "logout"]);
    let told: Vec<&str> = found
        .iter()
        // What follows from the wish comes in its own time.
        .filter(|record| record["act"] != "account.erase" || record["on"]["detail"] == "requested")
        .map(|record| record["on"]["detail"].as_str().unwrap_or_else(|| record["act"].as_str().unwrap()))
        .collect();
    let mut expected = vec!["admin.give", "admin.take", "identities", "lock", "unlock", "password", "password"];
    expected.extend(["requested", "deactivate"]);
    assert_eq!(told, expected, "{found:?}");
    assert!(found.iter().all(|record| record["who"]["user"] == *admin.id && record["on"]["user"] == *alice.id));
    assert!(!json!(found).to_string().contains("alice@a.example"));
}

#[test]
fn an_administrator_in_a_users_name() {
    let server = server_with(Config::default().set("admin.impersonation", "true"));
    let (admin, alice) = (admin_of(&server), server.user("alice"));
    let answer = admin.post(synapse(&["v1", "users", &alice.id, "login"]), json!({})).ok();
    let acting = alice.with_token(answer["access_token"].as_str().unwrap());
    acting.create_room(json!({ "preset": "private_chat" }));
    let found = of(&admin, &alice.id, &["admin.impersonate"]);
    assert_eq!(found.len(), 1);
    assert_eq!((&found[0]["who"]["user"], &found[0]["on"]["user"]), (&json!(admin.id), &json!(alice.id)));
    // What is done then is the administrator's doing.
    let made = of(&admin, &alice.id, &["room.change"]);
    assert!(!made.is_empty());
    let by_admin = |record: &Value| record["who"]["user"] == *admin.id && record["who"]["as"] == *alice.id;
    assert!(made.iter().all(by_admin), "{made:?}");
}

#[test]
fn devices_and_backups_of_keys() {
    let server = ward();
    let (admin, alice) = (admin_of(server), server.user("alice"));
    let other = server.anonymous().login(&alice.id, &alice.password);
    let backup = json!({ "algorithm": "m.megolm_backup.v1.curve25519-aes-sha2", "auth_data": { "public_key": "x" } });
    let version = alice.post(v3(&["room_keys", "version"]), backup).ok()["version"].as_str().unwrap().to_owned();
    let key = json!({
        "first_message_index": 1, "forwarded_count": 0, "is_verified": true, "session_data": { "ciphertext": "opaque" },
    });
    let target = || v3(&["room_keys", "keys", "!a:b.example", "session"]).query("version", &version);
    alice.put(target(), key).ok();
    for _ in 0..3 {
        other.get(target()).ok();
    }
    alice.delete(v3(&["room_keys", "version", &version])).ok();
    alice.with_password_stage("DELETE", &v3(&["devices", &other.device]), json!({})).ok();
    let found = of(&admin, &alice.id, &["account.change", "keys.restore", "device.delete"]);
    let expected = [
        by(&alice, "account.change", json!({ "detail": "backup.create", "name": version, "user": alice.id })),
        by(&other, "keys.restore", json!({ "name": version, "user": alice.id })),
        by(&alice, "account.change", json!({ "detail": "backup.delete", "name": version, "user": alice.id })),
        by(&alice, "device.delete", json!({ "detail": "deleted", "device": other.device, "user": alice.id })),
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_session_that_nobody_used_for_too_long_ends_once() {
    let server = server_with(Config::default().set("sessions.idle_logout_seconds", "3"));
    let (admin, alice) = (admin_of(&server), server.user("alice"));
    let whoami = || alice.get(v3(&["account", "whoami"]));
    // Syncs are no use.
    let sync = || alice.get(v3(&["sync"]).query("timeout", "0"));
    wait_until("the end of the session", SOON, || (sync().status == 401).then_some(()));
    whoami().refused(401, "M_UNKNOWN_TOKEN");
    let admin = server.anonymous().login(&admin.id, &admin.password);
    let ended = of(&admin, &alice.id, &["logout"]);
    let on = json!({ "detail": "time", "device": alice.device, "user": alice.id });
    assert_eq!(ended, [json!({ "act": "logout", "on": on, "outcome": 0, "who": { "ip": "127.0.0.1" } })]);
}
