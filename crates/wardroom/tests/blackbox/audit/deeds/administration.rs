//! Administrators, directories and the configuration: nobody looks or acts without a record.

use wardroom_testkit::{Actor, Config, Value, json, unique};

use super::{bare, by};
use crate::{
    admin::{admin_of, own, synapse},
    audit::records,
    media,
    scim::Hospital,
    server_with, ward,
};

#[test]
fn every_call_of_the_administration() {
    let server = ward();
    let (admin, alice, mallory) = (admin_of(server), server.user("alice"), server.user("mallory"));
    admin.get(synapse(&["v2", "users", &alice.id])).ok();
    admin.put(synapse(&["v1", "suspend", &alice.id]), json!({ "suspend": true })).ok();
    admin.post(synapse(&["v1", "reset_password", &alice.id]), json!({ "new_password": "" })).refused_somehow();
    for _ in 0..2 {
        mallory.get(synapse(&["v2", "users", &alice.id])).refused(403, "M_FORBIDDEN");
    }
    let found = bare(records(&admin, &[("act", "admin.call"), ("user_id", &alice.id)]));
    let call = |user, what: &str, outcome: u8| {
        let mut call = by(user, "admin.call", json!({ "detail": what, "user": alice.id }));
        call["outcome"] = json!(outcome);
        call
    };
    let reset = "POST /_synapse/admin/v1/reset_password/{user_id}";
    let mut denied = call(&mallory, "GET /_synapse/admin/v2/users/{user_id}", 8);
    denied["why"] = json!("not permitted");
    let expected = [
        call(&admin, "GET /_synapse/admin/v2/users/{user_id}", 0),
        call(&admin, "PUT /_synapse/admin/v1/suspend/{user_id}", 0),
        call(&admin, reset, 0),
        call(&admin, reset, 4),
        denied,
    ];
    assert_eq!(found, expected);
}

#[test]
fn calls_that_are_about_nobody() {
    let server = ward();
    let admin = admin_of(server);
    let token = unique("registration-secret");
    admin.post(synapse(&["v1", "registration_tokens", "new"]), json!({ "token": token })).ok();
    admin.get(synapse(&["v1", "registration_tokens", &token])).ok();
    admin.get(synapse(&["v1", "federation", "destinations"])).ok();
    let found = bare(records(&admin, &[("act", "admin.call"), ("user_id", &admin.id)]));
    let told: Vec<&str> = found.iter().map(|record| record["on"]["detail"].as_str().unwrap()).collect();
    let expected = [
        "POST /_synapse/admin/v1/registration_tokens/new",
        "GET /_synapse/admin/v1/registration_tokens/{token}",
        "GET /_synapse/admin/v1/federation/destinations",
    ];
    assert_eq!(told, expected);
    assert!(!json!(found).to_string().contains(&token));
}

#[test]
fn the_call_is_recorded_though_the_server_dies_with_the_answer() {
    let mut server = server_with(Config::default());
    let (admin, alice) = (admin_of(&server), server.user("alice"));
    admin.put(synapse(&["v1", "suspend", &alice.id]), json!({ "suspend": true })).ok();
    server.kill9();
    server.start_again();
    let found = records(&admin, &[("act", "admin.call"), ("act", "account.change"), ("user_id", &alice.id)]);
    let acts: Vec<&Value> = found.iter().map(|record| &record["act"]).collect();
    assert_eq!(acts, [&json!("admin.call"), &json!("account.change")]);
}

#[test]
fn directories_are_named_by_what_they_are() {
    let hospital = Hospital::start();
    let admin = admin_of(&hospital.server);
    let name = unique("dora");
    hospital.make("Users", json!({ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": name }));
    let calls = bare(records(&admin, &[("act", "admin.call")]));
    let who = json!({ "ip": "127.0.0.1", "service": "scim" });
    let call = json!({ "act": "admin.call", "on": { "detail": "POST /scim/v2/Users" }, "outcome": 0, "who": who });
    assert_eq!(calls, [call]);
    let made = records(&admin, &[("act", "account.create")]);
    assert!(made.iter().any(|record| record["who"]["service"] == "scim"), "{made:?}");
}

#[test]
fn another_configuration_is_noted_at_the_start() {
    let mut server = server_with(Config::default());
    let admin = admin_of(&server);
    let noted = |admin: &_| {
        let found = records(admin, &[("act", "server.config")]);
        found.into_iter().filter(|record| record["on"]["detail"] == "configuration").collect::<Vec<_>>()
    };
    assert_eq!(noted(&admin).len(), 1);
    server.restart();
    assert_eq!(noted(&admin).len(), 1, "it is the same");
    server.reconfigure(|config| config.set("rooms.default_version", "\"11\""));
    server.restart();
    let found = noted(&admin);
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(found[1]["on"]["old"], found[0]["on"]["new"]);
    assert!(found[0]["on"].get("old").is_none() && found[0]["on"]["new"].as_str().unwrap().len() == 32);
}

#[test]
fn files_that_come_and_go() {
    let server = ward();
    let (admin, alice) = (admin_of(server), server.user("alice"));
    let uri = media::upload(&alice, b"an x-ray", "text/plain", Some("secret name.txt"));
    let (name, id) = uri.strip_prefix("mxc://").unwrap().split_once('/').unwrap();
    admin.delete(synapse(&["v1", "media", name, id])).ok();
    let mine = |act: &str| {
        let found = bare(records(&admin, &[("act", act)]));
        found.into_iter().filter(|record| record["on"]["media"] == *uri).collect::<Vec<_>>()
    };
    assert_eq!(mine("media.create"), [by(&alice, "media.create", json!({ "media": uri }))]);
    assert_eq!(mine("media.delete"), [by(&admin, "media.delete", json!({ "media": uri }))]);
    assert_eq!(mine("admin.call").len(), 1);
    admin.get(own(&["audit", "records"]).query("act", "media.create")).ok();
}
