//! `/devices`, `/delete_devices`.

use wardroom_testkit::{Actor, events, json, v3};

use crate::ward;

#[test]
fn a_user_sees_and_names_own_devices() {
    let phone = ward().user("alice");
    let desk = phone.other_device();
    let devices = phone.get(v3(&["devices"])).ok();
    let mut ids: Vec<&str> =
        events(&devices["devices"]).iter().filter_map(|device| device["device_id"].as_str()).collect();
    ids.sort_unstable();
    let mut expected = [phone.device.as_str(), desk.device.as_str()];
    expected.sort_unstable();
    assert_eq!(ids, expected);

    phone.put(v3(&["devices", &desk.device]), json!({ "display_name": "Desk of ward 7" })).ok();
    let device = desk.get(v3(&["devices", &desk.device])).ok();
    assert_eq!(device["device_id"], desk.device.as_str());
    assert_eq!(device["display_name"], "Desk of ward 7");
    phone.put(v3(&["devices", &desk.device]), json!({})).ok();
    let unchanged = desk.get(v3(&["devices", &desk.device])).ok();
    assert_eq!(unchanged["display_name"], "Desk of ward 7", "an absent name changes nothing");
}

#[test]
fn a_device_shows_when_and_from_where_it_was_seen() {
    let alice = ward().user("alice");
    alice.get(v3(&["account", "whoami"])).ok();
    let device = alice.get(v3(&["devices", &alice.device])).ok();
    assert!(device["last_seen_ts"].as_u64().is_some_and(|ms| ms > 1_600_000_000_000), "{device}");
    assert_eq!(device["last_seen_ip"], "127.0.0.1", "{device}");
}

#[test]
fn another_users_device_is_as_unknown_as_none() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    for device in [bob.device.as_str(), "NOSUCHDEVICE"] {
        alice.get(v3(&["devices", device])).refused(404, "M_NOT_FOUND");
        alice.put(v3(&["devices", device]), json!({ "display_name": "mine" })).refused(404, "M_NOT_FOUND");
    }
    assert_ne!(bob.get(v3(&["devices", &bob.device])).ok()["display_name"], "mine");
}

#[test]
fn deleting_a_device_needs_the_password_and_ends_its_session() {
    let phone = ward().user("alice");
    let desk = phone.other_device();
    let target = v3(&["devices", &desk.device]);
    let mut wrong = phone.clone();
    "wrong".clone_into(&mut wrong.password);
    let refused = wrong.with_password_stage("DELETE", &target, json!({}));
    assert_eq!(refused.status, 401, "{}", refused.story());
    assert_eq!(refused.json()["errcode"], "M_FORBIDDEN", "{}", refused.story());
    desk.get(v3(&["account", "whoami"])).ok();

    phone.with_password_stage("DELETE", &target, json!({})).ok();
    desk.get(v3(&["account", "whoami"])).refused(401, "M_UNKNOWN_TOKEN");
    phone.get(target).refused(404, "M_NOT_FOUND");
    phone.get(v3(&["account", "whoami"])).ok();
}

#[test]
fn somebody_elses_password_does_not_authenticate() {
    let (alice, mallory) = (ward().user("alice"), ward().user("mallory"));
    let desk = alice.other_device();
    let target = v3(&["devices", &desk.device]);
    let asked = alice.request("DELETE", &target, json!({}).into()).json();
    let auth = wardroom_testkit::password_auth(&mallory.id, &mallory.password, &asked);
    let answer = alice.request("DELETE", &target, json!({ "auth": auth }).into());
    assert!([401, 403].contains(&answer.status), "{}", answer.story());
    desk.get(v3(&["account", "whoami"])).ok();
}

#[test]
fn several_devices_go_at_once() {
    let phone = ward().user("alice");
    let (desk, ward_pc) = (phone.other_device(), phone.other_device());
    let body = json!({ "devices": [desk.device, ward_pc.device] });
    phone.with_password_stage("POST", &v3(&["delete_devices"]), body).ok();
    for device in [&desk, &ward_pc] {
        device.get(v3(&["account", "whoami"])).refused(401, "M_UNKNOWN_TOKEN");
    }
    assert_eq!(events(&phone.get(v3(&["devices"])).ok()["devices"]).len(), 1);
}
