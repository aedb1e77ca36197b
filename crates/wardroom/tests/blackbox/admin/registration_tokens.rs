//! Registration tokens that administrators give out.

use wardroom_testkit::{Actor, Anonymous, Config, Reply, json, raw, unique, v1, v3};

use super::{admin_of, synapse};
use crate::server_with;

fn register(anonymous: &Anonymous, token: &str) -> Reply {
    let body = json!({ "username": unique("user"), "password": "correct horse battery staple" });
    let first = anonymous.post(v3(&["register"]), body.clone());
    assert_eq!(first.status, 401, "{}", first.story());
    let mut body = body;
    body["auth"] = json!({
        "type": "m.login.registration_token", "token": token, "session": first.json()["session"],
    });
    anonymous.post(v3(&["register"]), body)
}

#[test]
fn a_token_is_good_for_so_many_registrations() {
    let server = server_with(Config::default().set("registration.open", "false"));
    let (admin, anonymous) = (admin_of(&server), server.anonymous());
    let body = json!({ "username": "eve", "password": "correct horse battery staple" });
    anonymous.post(v3(&["register"]), body).refused(403, "M_FORBIDDEN");
    let tokens = || raw("/_synapse/admin/v1/registration_tokens");
    let new = || raw("/_synapse/admin/v1/registration_tokens/new");
    let made = admin.post(new(), json!({ "uses_allowed": 2 })).ok();
    let token = made["token"].as_str().unwrap().to_owned();
    let fresh = json!({ "token": token, "uses_allowed": 2, "pending": 0, "completed": 0, "expiry_time": null });
    assert_eq!(made, fresh);
    let valid = || {
        let target = v1(&["register", "m.login.registration_token", "validity"]).query("token", &token);
        anonymous.get(target).ok()["valid"].clone()
    };
    assert_eq!(valid(), true);
    register(&anonymous, &token).ok();
    register(&anonymous, "wrong").refused(401, "M_UNAUTHORIZED");
    register(&anonymous, &token).ok();
    register(&anonymous, &token).refused(401, "M_UNAUTHORIZED");
    assert_eq!(valid(), false);
    let one = || synapse(&["v1", "registration_tokens", &token]);
    assert_eq!(admin.get(one()).ok()["completed"], 2);
    assert_eq!(admin.put(one(), json!({ "uses_allowed": null })).ok()["uses_allowed"], json!(null));
    register(&anonymous, &token).ok();
    admin.post(new(), json!({ "token": token })).refused(400, "M_INVALID_PARAM");
    admin.post(new(), json!({ "token": "no spaces" })).refused(400, "M_INVALID_PARAM");
    admin.post(new(), json!({ "expiry_time": 1 })).refused(400, "M_INVALID_PARAM");
    admin.post(new(), json!({ "length": 65 })).refused(400, "M_INVALID_PARAM");
    admin.post(new(), json!({ "token": "another", "uses_allowed": 0 })).ok();
    let list = |valid: &str| admin.get(tokens().query("valid", valid)).ok()["registration_tokens"].clone();
    assert_eq!(list("true")[0]["token"], token);
    assert_eq!(list("false")[0]["token"], "another");
    admin.delete(one()).ok();
    admin.delete(one()).refused(404, "M_NOT_FOUND");
    admin.get(one()).refused(404, "M_NOT_FOUND");
}
