//! `POST /login`, `/logout`, `/logout/all`, `/account/whoami`.

use wardroom_testkit::{Actor, Body, User, events, json, v3};

use crate::ward;

#[test]
fn password_login_is_offered() {
    let flows = ward().anonymous().get(v3(&["login"])).ok();
    assert!(events(&flows["flows"]).iter().any(|flow| flow["type"] == "m.login.password"), "{flows}");
}

#[test]
fn a_user_logs_in_with_any_form_of_the_name() {
    let alice = ward().user("alice");
    for body in [
        json!({ "identifier": { "type": "m.id.user", "user": alice.id } }),
        json!({ "identifier": { "type": "m.id.user", "user": alice.localpart } }),
        json!({ "user": alice.id }),
        json!({ "user": alice.localpart }),
    ] {
        let mut body = body;
        body["type"] = json!("m.login.password");
        body["password"] = json!(alice.password);
        let answer = alice.anonymous().post(v3(&["login"]), body).ok();
        assert_eq!(answer["user_id"], alice.id.as_str());
        let device = User::from_answer(alice.http(), &answer, &alice.password);
        assert_ne!(device.device, alice.device, "each login gets a device of its own");
        assert_eq!(device.get(v3(&["account", "whoami"])).ok()["device_id"], device.device.as_str());
    }
}

#[test]
fn a_wrong_password_and_an_unknown_user_look_the_same() {
    let alice = ward().user("alice");
    let wrong = alice.anonymous().try_login(&alice.id, "wrong").refused(403, "M_FORBIDDEN");
    let unknown = alice.anonymous().try_login("@nobody-of-that-name:hospital-a.example", "wrong");
    assert_eq!(unknown.refused(403, "M_FORBIDDEN"), wrong);
    let elsewhere = alice.anonymous().try_login("@alice:elsewhere.example", "wrong");
    elsewhere.refused(403, "M_FORBIDDEN");
}

#[test]
fn logins_that_are_none_are_refused() {
    let nobody = ward().anonymous();
    nobody.post(v3(&["login"]), json!({ "type": "m.login.made_up" })).refused(400, "M_UNKNOWN");
    // The server must survive what once brought a parser down: no type at all.
    for body in [Body::Empty, Body::Json(json!({})), Body::Raw(b"{}".to_vec(), "text/plain")] {
        nobody.request("POST", &v3(&["login"]), body).refused_with_one_of(400, &["M_BAD_JSON", "M_MISSING_PARAM"]);
    }
    let alice = ward().user("alice");
    let without_password =
        json!({ "type": "m.login.password", "identifier": { "type": "m.id.user", "user": alice.id } });
    let answer = nobody.post(v3(&["login"]), without_password);
    answer.refused_with_one_of(400, &["M_BAD_JSON", "M_MISSING_PARAM"]);
    let by_phone = json!({ "type": "m.login.password", "password": "x",
        "identifier": { "type": "m.id.phone", "country": "GB", "phone": "1" } });
    let answer = nobody.post(v3(&["login"]), by_phone);
    assert!([400, 403].contains(&answer.status), "{}", answer.story());
}

#[test]
fn a_device_that_logs_in_again_ends_its_old_token() {
    let alice = ward().user("alice");
    let body = json!({
        "type": "m.login.password", "identifier": { "type": "m.id.user", "user": alice.id },
        "password": alice.password, "device_id": alice.device,
    });
    let answer = alice.anonymous().post(v3(&["login"]), body).ok();
    let again = User::from_answer(alice.http(), &answer, &alice.password);
    assert_eq!(again.device, alice.device);
    assert_ne!(again.token, alice.token);
    alice.get(v3(&["account", "whoami"])).refused(401, "M_UNKNOWN_TOKEN");
    assert_eq!(events(&again.get(v3(&["devices"])).ok()["devices"]).len(), 1);
}

#[test]
fn logout_ends_one_device_and_logout_all_ends_all() {
    let phone = ward().user("alice");
    let (desk, ward_pc) = (phone.other_device(), phone.other_device());
    phone.post(v3(&["logout"]), json!({})).ok();
    phone.get(v3(&["account", "whoami"])).refused(401, "M_UNKNOWN_TOKEN");
    phone.post(v3(&["logout"]), json!({})).refused(401, "M_UNKNOWN_TOKEN");
    assert_eq!(desk.get(v3(&["devices", &phone.device])).status, 404, "its device is gone");

    desk.post(v3(&["logout", "all"]), json!({})).ok();
    for device in [&desk, &ward_pc] {
        device.get(v3(&["account", "whoami"])).refused(401, "M_UNKNOWN_TOKEN");
    }
    let fresh = phone.other_device();
    assert_eq!(events(&fresh.get(v3(&["devices"])).ok()["devices"]).len(), 1);
}

#[test]
fn a_token_is_required_and_must_be_known() {
    let nobody = ward().anonymous();
    let whoami = || v3(&["account", "whoami"]);
    nobody.get(whoami()).refused(401, "M_MISSING_TOKEN");
    let alice = ward().user("alice");
    for token in ["made-up", "syt_bWFkZQ_up", &alice.token[1..], &format!("{}x", alice.token)] {
        let answer = alice.with_token(token).get(whoami()).refused(401, "M_UNKNOWN_TOKEN");
        assert_ne!(answer["soft_logout"], true, "{answer}");
    }
}

#[test]
fn a_long_poll_ends_when_its_token_does() {
    let alice = ward().user("alice");
    let other = alice.other_device();
    let since = alice.initial_sync()["next_batch"].as_str().unwrap().to_owned();
    other.post(v3(&["logout", "all"]), json!({})).ok();
    alice.try_sync(Some(&since), crate::SOON, None).refused(401, "M_UNKNOWN_TOKEN");
}
