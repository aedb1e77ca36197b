//! `POST /register`, its user-interactive authentication and its checks of names.

use wardroom_testkit::{Actor, Config, User, Value, dummy_auth, json, same_set, unique, v1, v3};

use crate::{server_with, ward};

/// Whether one of the flows of a 401 has exactly these stages.
fn offers(asked: &Value, stages: &[&str]) -> bool {
    asked["flows"].as_array().is_some_and(|flows| flows.iter().any(|flow| same_set(&flow["stages"], stages)))
}

#[test]
fn a_name_registers_through_the_dummy_stage() {
    let (nobody, name) = (ward().anonymous(), unique("reg"));
    let mut body = json!({ "username": name, "password": "secret of the test" });
    let asked = nobody.post(v3(&["register"]), body.clone());
    assert_eq!(asked.status, 401, "{}", asked.story());
    let asked = asked.json();
    assert!(offers(&asked, &["m.login.dummy"]), "{asked}");
    assert!(asked["params"].is_object(), "{asked}");
    assert!(asked.get("errcode").is_none(), "nothing failed yet: {asked}");

    body["auth"] = dummy_auth(&asked);
    let answer = nobody.post(v3(&["register"]), body).ok();
    assert_eq!(answer["user_id"], format!("@{name}:{}", ward().name()));
    let user = User::from_answer(nobody.http(), &answer, "secret of the test");
    let me = user.get(v3(&["account", "whoami"])).ok();
    assert_eq!(me["user_id"], user.id.as_str());
    assert_eq!(me["device_id"], user.device.as_str());
    assert_ne!(me["is_guest"], true);
    assert!(answer.get("refresh_token").is_none(), "none was asked for: {answer}");
}

#[test]
fn registration_takes_the_device_that_the_client_names() {
    let body = json!({
        "username": unique("dev"), "password": "secret", "device_id": "WARDPHONE", "initial_device_display_name": "Ward phone",
    });
    let answer = ward().anonymous().try_register(body).ok();
    let user = User::from_answer(ward().http(), &answer, "secret");
    assert_eq!(user.device, "WARDPHONE");
    let device = user.get(v3(&["devices", "WARDPHONE"])).ok();
    assert_eq!(device["display_name"], "Ward phone");
}

#[test]
fn a_login_can_be_inhibited() {
    let (nobody, name) = (ward().anonymous(), unique("quiet"));
    let body = json!({ "username": name, "password": "secret", "inhibit_login": true });
    let answer = nobody.try_register(body).ok();
    assert_eq!(answer["user_id"], format!("@{name}:{}", ward().name()));
    assert!(answer.get("access_token").is_none() && answer.get("device_id").is_none(), "{answer}");
    nobody.login(&name, "secret");
}

#[test]
fn a_name_is_made_up_when_the_client_gives_none() {
    let answer = ward().anonymous().try_register(json!({ "password": "secret" })).ok();
    let user = User::from_answer(ward().http(), &answer, "secret");
    assert!(!user.localpart.is_empty() && user.id.ends_with(&format!(":{}", ward().name())), "{answer}");
}

#[test]
fn a_taken_name_is_refused_and_its_owner_keeps_it() {
    let owner = ward().user("taken");
    let nobody = ward().anonymous();
    let available = |name: &str| nobody.get(v3(&["register", "available"]).query("username", name));
    available(&owner.localpart).refused(400, "M_USER_IN_USE");
    nobody.try_register(json!({ "username": owner.localpart, "password": "other" })).refused(400, "M_USER_IN_USE");
    nobody.try_login(&owner.id, "other").refused(403, "M_FORBIDDEN");
    nobody.login(&owner.id, &owner.password);
    assert_eq!(available(&unique("free")).ok()["available"], true);
}

#[test]
fn names_outside_the_grammar_are_refused() {
    let nobody = ward().anonymous();
    let too_long = "a".repeat(256);
    for name in ["with space", "ünïcode", "colon:colon", "at@at", "ex!claim", "", &too_long] {
        let answer = nobody.try_register(json!({ "username": name, "password": "secret" }));
        answer.refused(400, "M_INVALID_USERNAME");
        if !name.is_empty() {
            let available = nobody.get(v3(&["register", "available"]).query("username", name));
            available.refused(400, "M_INVALID_USERNAME");
        }
    }
}

#[test]
fn an_upper_case_name_is_lowered_or_refused_but_never_a_second_account() {
    let owner = ward().user("casing");
    let shouted = owner.localpart.to_uppercase();
    let answer = ward().anonymous().try_register(json!({ "username": shouted, "password": "secret" }));
    answer.refused_with_one_of(400, &["M_USER_IN_USE", "M_INVALID_USERNAME"]);
}

#[test]
fn a_stage_counts_only_for_the_request_it_was_started_for() {
    let nobody = ward().anonymous();
    let first = json!({ "username": unique("bound"), "password": "secret" });
    let asked = nobody.post(v3(&["register"]), first).json();
    let mut other = json!({ "username": unique("bound"), "password": "secret" });
    other["auth"] = dummy_auth(&asked);
    let answer = nobody.post(v3(&["register"]), other.clone());
    assert_ne!(answer.status, 200, "a session is bound to its request: {}", answer.story());
    let free = nobody.get(v3(&["register", "available"]).query("username", other["username"].as_str().unwrap())).ok();
    assert_eq!(free["available"], true);
}

#[test]
fn the_dummy_stage_may_come_without_a_session() {
    // matrix-nio registers like this, in one request; the specification leaves a missing session to the server.
    let (nobody, name) = (ward().anonymous(), unique("oneshot"));
    let body = json!({ "username": name, "password": "secret", "auth": { "type": "m.login.dummy" } });
    assert_eq!(nobody.post(v3(&["register"]), body).ok()["user_id"], format!("@{name}:{}", ward().name()));
}

#[test]
fn an_auth_object_without_a_type_asks_for_the_flows() {
    // matrix-nio's registration with a token begins like this, and names the device only at the end.
    let (nobody, name) = (ward().anonymous(), unique("typeless"));
    let mut body = json!({ "username": name, "password": "secret", "auth": { "initial_device_display_name": "x" } });
    let asked = nobody.post(v3(&["register"]), body.clone());
    assert_eq!(asked.status, 401, "{}", asked.story());
    assert!(offers(&asked.json(), &["m.login.dummy"]), "{}", asked.story());
    body["auth"] = dummy_auth(&asked.json());
    body["initial_device_display_name"] = json!("Ward phone");
    nobody.post(v3(&["register"]), body).ok();
}

#[test]
fn an_unknown_session_and_an_unknown_stage_finish_nothing() {
    let (nobody, name) = (ward().anonymous(), unique("nosession"));
    for auth in [
        json!({ "type": "m.login.dummy", "session": "made up" }),
        json!({ "type": "m.login.made_up", "session": "made up" }),
        json!({ "type": 7 }),
        json!("dummy"),
    ] {
        let body = json!({ "username": name, "password": "secret", "auth": auth });
        let answer = nobody.post(v3(&["register"]), body);
        assert!((400..500).contains(&answer.status), "{}", answer.story());
    }
    assert_eq!(nobody.get(v3(&["register", "available"]).query("username", &name)).ok()["available"], true);
}

#[test]
fn guests_are_refused_unless_configured() {
    let answer = ward().anonymous().post(v3(&["register"]).query("kind", "guest"), json!({}));
    answer.refused_with_one_of(403, &["M_FORBIDDEN", "M_GUEST_ACCESS_FORBIDDEN"]);
    ward().anonymous().post(v3(&["register"]).query("kind", "visitor"), json!({})).refused(400, "M_INVALID_PARAM");
}

#[test]
fn closed_registration_refuses_everybody() {
    let server = server_with(Config::default().unset("registration.open"));
    let nobody = server.anonymous();
    nobody.try_register(json!({ "username": "alice", "password": "secret" })).refused(403, "M_FORBIDDEN");
    let token = v1(&["register", "m.login.registration_token", "validity"]).query("token", "any");
    let answer = nobody.get(token);
    assert!(answer.status == 403 || answer.ok()["valid"] == false, "{}", answer.story());
}

#[test]
fn a_registration_token_opens_a_closed_server() {
    let config = Config::default().unset("registration.open").set("registration.tokens", r#"["ward-7-token"]"#);
    let server = server_with(config);
    let nobody = server.anonymous();
    let valid = |token: &str| {
        let target = v1(&["register", "m.login.registration_token", "validity"]).query("token", token);
        nobody.get(target).ok()["valid"] == true
    };
    assert!(valid("ward-7-token"));
    assert!(!valid("another"));

    let mut body = json!({ "username": "alice", "password": "secret" });
    let asked = nobody.post(v3(&["register"]), body.clone()).json();
    assert!(!offers(&asked, &["m.login.dummy"]), "a token is needed: {asked}");
    let auth =
        |token: &str| json!({ "type": "m.login.registration_token", "session": asked["session"], "token": token });
    body["auth"] = auth("another");
    let refused = nobody.post(v3(&["register"]), body.clone());
    assert_eq!(refused.status, 401, "{}", refused.story());
    assert!(refused.json()["errcode"].is_string(), "the stage failed: {}", refused.story());

    body["auth"] = auth("ward-7-token");
    let mut answer = nobody.post(v3(&["register"]), body.clone());
    if answer.status == 401 {
        // The flow may want the dummy stage as well.
        assert!(same_set(&answer.json()["completed"], &["m.login.registration_token"]), "{}", answer.story());
        body["auth"] = dummy_auth(&answer.json());
        answer = nobody.post(v3(&["register"]), body);
    }
    assert_eq!(answer.ok()["user_id"], format!("@alice:{}", server.name()));
}

#[test]
fn a_guest_becomes_an_ordinary_user_of_the_same_name() {
    let server = server_with(Config::default().set("registration.guests", "true"));
    let nobody = server.anonymous();
    let guest = || {
        let answer = nobody.post(v3(&["register"]).query("kind", "guest"), json!({})).ok();
        User::from_answer(server.http(), &answer, "")
    };
    let (alice, other) = (guest(), guest());
    alice.try_create_room(json!({})).refused(403, "M_GUEST_ACCESS_FORBIDDEN");
    let body =
        |name: &str, token: &str| json!({ "username": name, "password": "correct horse", "guest_access_token": token });
    nobody.try_register(body(&alice.localpart, &other.token)).refused(403, "M_FORBIDDEN");
    nobody.try_register(body(&unique("x"), &alice.token)).refused(403, "M_FORBIDDEN");
    nobody.post(v3(&["register"]), body(&alice.localpart, "nonsense")).refused(401, "M_UNKNOWN_TOKEN");
    let answer = nobody.try_register(body(&alice.localpart, &alice.token)).ok();
    assert_eq!(answer["user_id"], alice.id.as_str());
    User::from_answer(server.http(), &answer, "correct horse").create_room(json!({}));
    alice.create_room(json!({}));
    nobody.login(&alice.id, "correct horse");
    nobody.try_register(body(&alice.localpart, &alice.token)).refused(403, "M_FORBIDDEN");
}
