//! Reading what users wrote, and signing in as them.

use wardroom_testkit::{Actor, Config, json, v3};

use super::{admin_of, own, synapse};
use crate::{server_with, ward};

#[test]
fn who_has_the_scope_reads_rooms_without_being_in_them() {
    let (server, admin, helper) = (ward(), admin_of(ward()), admin_of(ward()));
    let alice = server.user("alice");
    let room = alice.create_room(json!({ "preset": "private_chat" }));
    let said: Vec<String> = (0..5).map(|number| alice.say(&room, &format!("note {number}"))).collect();
    let messages = || synapse(&["v1", "rooms", &room, "messages"]).query("dir", "b").query("limit", "2");
    let page = admin.get(messages()).ok();
    assert_eq!(wardroom_testkit::bodies(page["chunk"].as_array().unwrap()), ["note 4", "note 3"]);
    let next = admin.get(messages().query("from", page["end"].as_str().unwrap())).ok();
    assert_eq!(wardroom_testkit::bodies(next["chunk"].as_array().unwrap()), ["note 2", "note 1"]);
    let around = admin.get(synapse(&["v1", "rooms", &room, "context", &said[2]]).query("limit", "2")).ok();
    assert_eq!(around["event"]["content"]["body"], "note 2");
    assert_eq!(wardroom_testkit::bodies(around["events_after"].as_array().unwrap()), ["note 3"]);
    let one = admin.get(synapse(&["v1", "fetch_event", &said[0]])).ok();
    assert_eq!(one["event"]["content"]["body"], "note 0");
    let time = one["event"]["origin_server_ts"].to_string();
    let near = admin.get(synapse(&["v1", "rooms", &room, "timestamp_to_event"]).query("ts", &time)).ok();
    assert!(near["origin_server_ts"].as_u64() >= time.parse().ok(), "{near}");
    let tree = admin.get(synapse(&["v1", "rooms", &room, "hierarchy"])).ok();
    assert_eq!(tree["rooms"][0]["room_id"], room);
    admin.get(synapse(&["v1", "fetch_event", "$unknown"])).refused(404, "M_NOT_FOUND");
    admin.get(messages().query("from", "nonsense")).refused(400, "M_INVALID_PARAM");

    admin.put(own(&["users", &helper.id, "scopes"]), json!({ "scopes": ["users", "rooms"] })).ok();
    for target in [
        messages(),
        synapse(&["v1", "rooms", &room, "context", &said[2]]),
        synapse(&["v1", "fetch_event", &said[0]]),
        synapse(&["v1", "rooms", &room, "timestamp_to_event"]).query("ts", "1"),
    ] {
        let error = helper.get(target).refused(403, "M_FORBIDDEN");
        assert!(error["error"].as_str().unwrap().contains("`privacy`"), "{error}");
    }
}

#[test]
fn signing_in_as_others_is_off_unless_the_operator_wants_it() {
    let (admin, alice) = (admin_of(ward()), ward().user("alice"));
    let login = |user: &str| synapse(&["v1", "users", user, "login"]);
    let error = admin.post(login(&alice.id), json!({})).refused(403, "M_FORBIDDEN");
    assert!(error["error"].as_str().unwrap().contains("admin.impersonation"), "{error}");

    let server = server_with(Config::default().set("admin.impersonation", "true"));
    let (admin, alice) = (admin_of(&server), server.user("alice"));
    let token = admin.post(login(&alice.id), json!({})).ok()["access_token"].as_str().unwrap().to_owned();
    let as_alice = alice.with_token(&token);
    assert_eq!(as_alice.get(v3(&["account", "whoami"])).ok()["user_id"], alice.id);
    let devices = alice.get(v3(&["devices"])).ok();
    assert!(devices.to_string().contains("Administrator"), "the user sees it: {devices}");
    admin.post(login(&admin.id), json!({})).refused(400, "M_INVALID_PARAM");
    admin.post(login(&alice.id), json!({ "valid_until_ms": 1 })).refused(400, "M_INVALID_PARAM");
    admin.post(login("@nobody:hospital-a.example"), json!({})).refused(404, "M_NOT_FOUND");
}

#[test]
fn accounts_are_suspended() {
    let (admin, alice) = (admin_of(ward()), ward().user("alice"));
    let suspend = |suspend: bool| admin.put(synapse(&["v1", "suspend", &alice.id]), json!({ "suspend": suspend })).ok();
    assert_eq!(suspend(true), json!({ format!("user_{}_suspended", alice.id): true }));
    alice.try_create_room(json!({})).refused(403, "M_USER_SUSPENDED");
    suspend(false);
    alice.create_room(json!({}));
}
