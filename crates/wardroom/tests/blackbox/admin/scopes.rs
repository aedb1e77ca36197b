//! Administrators who may do parts of it only.

use wardroom_testkit::{Actor, Value, json, v1};

use super::{admin_of, own, synapse};
use crate::ward;

#[test]
fn an_administrator_does_what_the_scopes_say_and_nothing_else() {
    let (server, admin, helper) = (ward(), admin_of(ward()), admin_of(ward()));
    let alice = server.user("alice");
    let scopes = || own(&["users", &helper.id, "scopes"]);
    let all = ["users", "rooms", "privacy", "audit", "operation", "audit_export"];
    let all = json!({ "scopes": all, "restricted": false });
    assert_eq!(admin.get(scopes()).ok(), all);
    admin.put(scopes(), json!({ "scopes": ["rooms", "shoes"] })).refused(400, "M_INVALID_PARAM");
    let restricted = admin.put(scopes(), json!({ "scopes": ["rooms"] })).ok();
    assert_eq!(restricted, json!({ "scopes": ["rooms"], "restricted": true }));
    helper.get(synapse(&["v1", "rooms"])).ok();
    for refused in [
        helper.get(synapse(&["v2", "users"])),
        helper.post(synapse(&["v1", "reset_password", &alice.id]), json!({ "new_password": "x" })),
        helper.put(v1(&["admin", "lock", &alice.id]), json!({ "locked": true })),
        helper.put(scopes(), json!({ "scopes": null })),
    ] {
        let error = refused.refused(403, "M_FORBIDDEN");
        assert!(error["error"].as_str().unwrap().contains("`users`"), "{error}");
    }
    let error = helper.get(synapse(&["v1", "federation", "destinations"])).refused(403, "M_FORBIDDEN");
    assert!(error["error"].as_str().unwrap().contains("`operation`"), "{error}");
    admin.put(scopes(), json!({ "scopes": null })).ok();
    helper.get(synapse(&["v2", "users"])).ok();
}

#[test]
fn who_is_restricted_cannot_get_more_by_way_of_others() {
    let (server, admin, helper) = (ward(), admin_of(ward()), admin_of(ward()));
    let alice = server.user("alice");
    admin.put(own(&["users", &helper.id, "scopes"]), json!({ "scopes": ["users"] })).ok();
    helper.get(synapse(&["v2", "users", &admin.id])).ok();
    let new = format!("@{}:{}", wardroom_testkit::unique("new"), server.name());
    let attempts: [(wardroom_testkit::Target, Value); 5] = [
        (synapse(&["v1", "users", &alice.id, "admin"]), json!({ "admin": true })),
        (synapse(&["v2", "users", &alice.id]), json!({ "admin": true })),
        (synapse(&["v2", "users", &new]), json!({ "admin": true, "password": "x" })),
        (synapse(&["v2", "users", &admin.id]), json!({ "password": "mine now" })),
        (own(&["users", &helper.id, "scopes"]), json!({ "scopes": null })),
    ];
    for (target, body) in attempts {
        helper.put(target, body).refused(403, "M_FORBIDDEN");
    }
    helper
        .post(synapse(&["v1", "reset_password", &admin.id]), json!({ "new_password": "x" }))
        .refused(403, "M_FORBIDDEN");
    helper.post(synapse(&["v1", "deactivate", &admin.id]), json!({})).refused(403, "M_FORBIDDEN");
    helper.delete(synapse(&["v2", "users", &admin.id, "devices", &admin.device])).refused(403, "M_FORBIDDEN");
    helper.put(synapse(&["v2", "users", &alice.id]), json!({ "displayname": "Alice A." })).ok();
    admin.get(synapse(&["v2", "users"])).ok();
}

#[test]
fn nobody_else_gets_anything() {
    let (server, alice) = (ward(), ward().user("alice"));
    let document = server.anonymous().get(own(&["openapi.json"])).ok();
    let mut asked = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            if operation["x-scope"].is_null() {
                continue;
            }
            let path = path.replace("{room_id}", "!room:hospital-a.example").replace(['{', '}'], "");
            let target = wardroom_testkit::raw(&path);
            let reply = alice.request(
                &method.to_uppercase(),
                &target,
                json!({
                    "user_id": alice.id, "content": {}, "allow": [],
                })
                .into(),
            );
            reply.refused(403, "M_FORBIDDEN");
            server
                .anonymous()
                .request(&method.to_uppercase(), &target, json!({}).into())
                .refused(401, "M_MISSING_TOKEN");
            asked += 1;
        }
    }
    assert!(asked > 30, "{asked} endpoints");
}
