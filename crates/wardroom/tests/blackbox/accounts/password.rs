//! `POST /account/password` and `/account/deactivate`.

use wardroom_testkit::{Actor, json, v3};

use crate::ward;

#[test]
fn a_new_password_replaces_the_old_and_ends_other_devices() {
    let phone = ward().user("alice");
    let desk = phone.other_device();
    let target = v3(&["account", "password"]);
    phone.with_password_stage("POST", &target, json!({ "new_password": "a new one" })).ok();
    phone.anonymous().try_login(&phone.id, &phone.password).refused(403, "M_FORBIDDEN");
    phone.anonymous().login(&phone.id, "a new one");
    phone.get(v3(&["account", "whoami"])).ok();
    desk.get(v3(&["account", "whoami"])).refused(401, "M_UNKNOWN_TOKEN");
}

#[test]
fn other_devices_stay_when_the_user_says_so() {
    let phone = ward().user("alice");
    let desk = phone.other_device();
    let body = json!({ "new_password": "a new one", "logout_devices": false });
    phone.with_password_stage("POST", &v3(&["account", "password"]), body).ok();
    desk.get(v3(&["account", "whoami"])).ok();
    phone.anonymous().login(&phone.id, "a new one");
}

#[test]
fn the_old_password_is_needed_for_a_new_one() {
    let alice = ward().user("alice");
    let mut wrong = alice.clone();
    "wrong".clone_into(&mut wrong.password);
    let answer = wrong.with_password_stage("POST", &v3(&["account", "password"]), json!({ "new_password": "stolen" }));
    assert_eq!(answer.status, 401, "{}", answer.story());
    let nobody = alice.anonymous().post(v3(&["account", "password"]), json!({ "new_password": "stolen" }));
    assert_eq!(nobody.status, 401, "{}", nobody.story());
    alice.anonymous().try_login(&alice.id, "stolen").refused(403, "M_FORBIDDEN");
    alice.anonymous().login(&alice.id, &alice.password);
}

#[test]
fn a_deactivated_account_is_gone_for_good() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let other = alice.other_device();
    alice.put(v3(&["profile", &alice.id, "displayname"]), json!({ "displayname": "Alice" })).ok();
    let room = bob.create_public_room(&[&alice]);
    let answer = alice.with_password_stage("POST", &v3(&["account", "deactivate"]), json!({ "erase": false })).ok();
    assert!(answer["id_server_unbind_result"].is_string(), "{answer}");

    for device in [&alice, &other] {
        device.get(v3(&["account", "whoami"])).refused(401, "M_UNKNOWN_TOKEN");
    }
    let nobody = alice.anonymous();
    nobody.try_login(&alice.id, &alice.password).refused_with_one_of(403, &["M_FORBIDDEN", "M_USER_DEACTIVATED"]);
    let again = nobody.try_register(json!({ "username": alice.localpart, "password": "secret" }));
    again.refused_with_one_of(400, &["M_USER_IN_USE", "M_EXCLUSIVE"]);
    let profile = bob.get(v3(&["profile", &alice.id]));
    assert!(profile.status == 404 || profile.json().get("displayname").is_none(), "{}", profile.story());
    wardroom_testkit::wait_until("the deactivated user leaves rooms", crate::SOON, || {
        (bob.members(&room, "join") == [bob.id.as_str()]).then_some(())
    });
}
