//! Users: made, shown, changed, shut out.

use wardroom_testkit::{Actor, Body, Value, json, unique, v3, wait_until};

use super::{Hospital, refused};
use crate::SOON;

#[test]
fn a_user_is_made_named_and_found() {
    let hospital = Hospital::start();
    let reply = hospital.ask(
        "POST",
        "/Users",
        json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
            "userName": "Erika", "externalId": "e-1", "password": "never kept",
            "name": { "formatted": "Erika Mustermann", "familyName": "Mustermann" },
            "emails": [{ "value": "erika@h1.example", "type": "work", "primary": "True" }],
        }),
    );
    assert_eq!(reply.status, 201, "{}", reply.story());
    let made = reply.json();
    let id = made["id"].as_str().unwrap();
    assert_eq!(reply.header("location"), made["meta"]["location"].as_str());
    assert_eq!(reply.header("etag"), made["meta"]["version"].as_str());
    assert_eq!((&made["active"], &made["password"]), (&json!(true), &Value::Null));
    assert_eq!(made["emails"][0]["primary"], true);

    let alice = hospital.server.user("alice");
    let shown = alice.get(v3(&["profile", "@erika:hospital-a.example", "displayname"])).ok();
    assert_eq!(shown["displayname"], "Erika Mustermann");
    assert_eq!(hospital.get(&format!("/Users/{id}")), made);
    for filter in ["userName%20eq%20%22ERIKA%22", "externalId%20eq%20%22e-1%22", "emails%5Btype%20eq%20%22work%22%5D"] {
        let found = hospital.get(&format!("/Users?filter={filter}&attributes=userName"));
        assert_eq!((&found["totalResults"], &found["Resources"][0]["id"]), (&json!(1), &json!(id)), "{filter}");
        assert_eq!(found["Resources"][0]["name"], Value::Null);
    }

    // Names are one resource's, and the user of this server too.
    for body in [json!({ "userName": "eRika" }), json!({ "userName": "other", "externalId": "e-1" })] {
        refused(&hospital.ask("POST", "/Users", body), 409, Some("uniqueness"));
    }
    refused(&hospital.ask("POST", "/Users", json!({ "userName": "_access" })), 400, Some("invalidValue"));
    refused(&hospital.ask("POST", "/Users", json!({ "displayName": "x" })), 400, Some("invalidValue"));
}

#[test]
fn versions_guard_against_lost_changes() {
    let hospital = Hospital::start();
    let made = hospital.make("Users", json!({ "userName": "bjensen" }));
    let path = format!("/Users/{}", made["id"].as_str().unwrap());
    let version = made["meta"]["version"].as_str().unwrap();
    let known = hospital.ask_with("GET", &path, &[("if-none-match", version)], Body::Empty);
    assert_eq!((known.status, known.bytes.len()), (304, 0));
    let change = |title: &str| {
        let body = Body::Json(json!({ "userName": "bjensen", "title": title }));
        hospital.ask_with("PUT", &path, &[("if-match", version)], body)
    };
    let changed = change("Nurse");
    assert_eq!(changed.ok()["title"], "Nurse");
    assert_ne!(changed.header("etag"), Some(version));
    refused(&change("Doctor"), 412, None);
    assert_eq!(hospital.get(&path)["title"], "Nurse");
}

#[test]
fn who_is_not_active_is_shut_out_until_they_are_again() {
    let mut hospital = Hospital::start();
    let (bob, id) = hospital.employee("bob");
    let path = format!("/Users/{id}");
    bob.get(v3(&["account", "whoami"])).ok();
    // As Microsoft Entra ID writes it.
    let reply = hospital.patch(&path, json!([{ "op": "Replace", "path": "active", "value": "False" }]));
    assert_eq!(reply.ok()["active"], false);
    bob.get(v3(&["account", "whoami"])).refused(401, "M_UNKNOWN_TOKEN");
    let login = || bob.anonymous().try_login(&bob.localpart, &bob.password);
    assert!(login().status >= 400, "a locked account lets nobody in: {}", login().story());
    hospital.server.kill9();
    hospital.server.start_again();
    assert!(login().status >= 400, "{}", login().story());
    assert_eq!(hospital.get(&path)["active"], false);

    hospital.patch(&path, json!([{ "op": "replace", "value": { "active": true } }]));
    let bob = bob.anonymous().login(&bob.localpart, &bob.password);
    let gone = hospital.ask("DELETE", &path, Value::Null);
    assert_eq!(gone.status, 204, "{}", gone.story());
    bob.get(v3(&["account", "whoami"])).refused(401, "M_UNKNOWN_TOKEN");
    refused(&hospital.ask("GET", &path, Value::Null), 404, None);
    // Back again: the same account.
    hospital.make("Users", json!({ "userName": bob.localpart }));
    bob.anonymous().login(&bob.localpart, &bob.password);
}

#[test]
fn an_administrators_lock_is_not_the_directorys_to_open() {
    let hospital = Hospital::start();
    let (bob, id) = hospital.employee("bob");
    let path = format!("/Users/{id}");
    let secret = "a shared secret of the tests";
    let admin = hospital.server.anonymous().register_with_secret(secret, &unique("admin"), true).ok();
    let admin = wardroom_testkit::User::from_answer(hospital.server.http(), &admin, "x");
    let lock = wardroom_testkit::raw(&format!("/_synapse/admin/v2/users/{}", wardroom_testkit::encode(&bob.id)));
    admin.put(lock, json!({ "locked": true })).ok();
    for active in [false, true] {
        hospital.patch(&path, json!([{ "op": "replace", "path": "active", "value": active }]));
        assert!(bob.anonymous().try_login(&bob.localpart, &bob.password).status >= 400, "active: {active}");
    }
}

#[test]
fn roles_of_a_user_open_rooms_and_their_end_closes_them() {
    let hospital = Hospital::start();
    let (alice, alice_id) = hospital.employee("alice");
    let (bob, bob_id) = hospital.employee("bob");
    let role = |id: &str, role: &str| {
        let roles = json!([{ "value": role }]);
        hospital.patch(&format!("/Users/{id}"), json!([{ "op": "replace", "path": "roles", "value": roles }]));
    };
    role(&alice_id, "pharmacist@h1");
    let room = alice.create_room(json!({ "preset": "public_chat" }));
    let require = json!({ "any_of": [{ "all_of": ["pharmacist@h1"] }] });
    alice.set_state(&room, "org.wardroom.access_policy", "", json!({ "version": 1, "require": require }));
    bob.try_join(&room).refused(403, "M_FORBIDDEN");
    role(&bob_id, "pharmacist@h1");
    bob.join(&room);
    role(&bob_id, "nurse@h1");
    wait_until("bob is put out", SOON, || (!alice.members(&room, "join").contains(&bob.id)).then_some(()));
    role(&bob_id, "pharmacist@h1");
    bob.join(&room);
    hospital.patch(&format!("/Users/{bob_id}"), json!([{ "op": "replace", "value": { "active": false } }]));
    wait_until("bob is put out again", SOON, || (!alice.members(&room, "join").contains(&bob.id)).then_some(()));
    bob.get(v3(&["sync"])).refused(401, "M_UNKNOWN_TOKEN");
}

#[test]
fn who_is_gone_leaves_all_rooms_and_no_token_is_good() {
    let hospital = Hospital::start();
    let (alice, _) = hospital.employee("alice");
    let (bob, id) = hospital.employee("bob");
    let (canteen, asked) = (alice.create_public_room(&[&bob]), alice.create_room(json!({})));
    alice.invite(&asked, &bob);
    let phone = bob.other_device();
    let mut sync = hospital.server.follow(&alice);
    hospital.patch(&format!("/Users/{id}"), json!([{ "op": "replace", "path": "active", "value": false }]));
    for device in [&bob, &phone] {
        device.get(v3(&["account", "whoami"])).refused(401, "M_UNKNOWN_TOKEN");
    }
    assert_eq!(alice.state(&canteen, "m.room.member", &bob.id)["membership"], "leave");
    assert_eq!(alice.state(&asked, "m.room.member", &bob.id)["membership"], "leave");
    // Messages to devices that are gone wait for nobody.
    sync.until("the end of bob's devices", SOON, |sync| {
        sync["device_lists"]["left"].as_array().is_some_and(|left| left.contains(&json!(bob.id)))
    });
    let devices = alice.post(v3(&["keys", "query"]), json!({ "device_keys": { bob.id.as_str(): [] } })).ok();
    assert_eq!(devices["device_keys"][&bob.id], json!({}), "{devices}");
}

#[test]
fn a_directory_that_says_that_many_are_gone_empties_no_rooms() {
    let hospital = Hospital::start();
    let (alice, _) = hospital.employee("alice");
    let staff: Vec<_> = (0..12).map(|number| hospital.employee(&format!("nurse{number}"))).collect();
    let canteen = alice.create_public_room(&staff.iter().map(|(user, _)| user).collect::<Vec<_>>());
    for (user, id) in &staff {
        hospital.patch(&format!("/Users/{id}"), json!([{ "op": "replace", "path": "active", "value": false }]));
        user.get(v3(&["account", "whoami"])).refused(401, "M_UNKNOWN_TOKEN");
    }
    let left = staff.iter().filter(|(user, _)| !alice.members(&canteen, "join").contains(&user.id)).count();
    assert_eq!(left, 10, "the last good state of the others stays");
    let secret = "a shared secret of the tests";
    let admin = hospital.server.anonymous().register_with_secret(secret, &unique("admin"), true).ok();
    let admin = wardroom_testkit::User::from_answer(hospital.server.http(), &admin, "x");
    let alarms = admin.get(crate::admin::own(&["alarms"])).ok();
    assert!(alarms.to_string().contains("removal_brake"), "{alarms}");
}
