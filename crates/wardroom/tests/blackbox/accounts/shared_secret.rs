//! `/_synapse/admin/v1/register`: what existing provisioning scripts use.

use wardroom_testkit::{Actor, Config, User, json, raw, shared_secret_mac, unique, v3};

use crate::{server_with, ward};

const SECRET: &str = "a shared secret of the tests";

#[test]
fn the_shared_secret_registers_users_and_admins() {
    let nobody = ward().anonymous();
    for admin in [false, true] {
        let name = unique("shared");
        let answer = nobody.register_with_secret(SECRET, &name, admin).ok();
        assert_eq!(answer["user_id"], format!("@{name}:{}", ward().name()));
        assert_eq!(answer["home_server"], ward().name());
        let user = User::from_answer(ward().http(), &answer, "correct horse battery staple");
        assert_eq!(user.get(v3(&["account", "whoami"])).ok()["user_id"], user.id.as_str());
        user.other_device();
        nobody.register_with_secret(SECRET, &name, admin).refused(400, "M_USER_IN_USE");
    }
}

#[test]
fn a_wrong_secret_registers_nobody() {
    let (nobody, name) = (ward().anonymous(), unique("shared"));
    nobody.register_with_secret("another secret", &name, true).refused_with_one_of(403, &["M_FORBIDDEN", "M_UNKNOWN"]);
    assert_eq!(nobody.get(v3(&["register", "available"]).query("username", &name)).ok()["available"], true);
}

#[test]
fn a_nonce_works_once_and_must_be_the_servers() {
    let nobody = ward().anonymous();
    let path = || raw("/_synapse/admin/v1/register");
    let nonce = nobody.get(path()).ok()["nonce"].as_str().unwrap().to_owned();
    let body = |nonce: &str, name: &str| {
        let mac = shared_secret_mac(SECRET, nonce, name, "secret", false);
        json!({ "nonce": nonce, "username": name, "password": "secret", "admin": false, "mac": mac })
    };
    nobody.post(path(), body(&nonce, &unique("nonce"))).ok();
    let again = nobody.post(path(), body(&nonce, &unique("nonce")));
    assert_eq!(again.status, 400, "{}", again.story());
    let made_up = nobody.post(path(), body("made up", &unique("nonce")));
    assert_eq!(made_up.status, 400, "{}", made_up.story());
}

#[test]
fn the_mac_covers_the_admin_flag() {
    let (nobody, name) = (ward().anonymous(), unique("shared"));
    let path = || raw("/_synapse/admin/v1/register");
    let nonce = nobody.get(path()).ok()["nonce"].as_str().unwrap().to_owned();
    let mac = shared_secret_mac(SECRET, &nonce, &name, "secret", false);
    let body = json!({ "nonce": nonce, "username": name, "password": "secret", "admin": true, "mac": mac });
    let answer = nobody.post(path(), body);
    assert_eq!(answer.status, 403, "{}", answer.story());
}

#[test]
fn without_a_secret_the_endpoint_is_closed() {
    let server = server_with(Config::default().unset("registration.shared_secret"));
    let nobody = server.anonymous();
    let nonce = nobody.get(raw("/_synapse/admin/v1/register"));
    assert!((400..500).contains(&nonce.status), "{}", nonce.story());
    let mac = shared_secret_mac("", "x", "alice", "secret", true);
    let body = json!({ "nonce": "x", "username": "alice", "password": "secret", "admin": true, "mac": mac });
    let answer = nobody.post(raw("/_synapse/admin/v1/register"), body);
    assert!((400..500).contains(&answer.status), "{}", answer.story());
    nobody.try_login("alice", "secret").refused(403, "M_FORBIDDEN");
}
