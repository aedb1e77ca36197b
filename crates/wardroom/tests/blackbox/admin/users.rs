//! Accounts.

use wardroom_testkit::{Actor, Value, json, unique, v3, wait_until};

use super::{admin_of, synapse};
use crate::{SOON, ward};

#[test]
fn an_account_is_made_shown_changed_and_closed() {
    let (server, admin) = (ward(), admin_of(ward()));
    let name = unique("made");
    let id = format!("@{name}:{}", server.name());
    let user = || synapse(&["v2", "users", &id]);
    admin.get(user()).refused(404, "M_NOT_FOUND");
    let made = admin.put(
        user(),
        json!({
            "password": "first password", "displayname": "Maria", "admin": false,
            "threepids": [{ "medium": "email", "address": format!("{name}@Example.com") }],
            "external_ids": [{ "auth_provider": "oidc", "external_id": name }],
        }),
    );
    assert_eq!(made.status, 201, "{}", made.story());
    let shown = admin.get(user()).ok();
    assert_eq!(shown["displayname"], "Maria");
    assert_eq!(shown["threepids"][0]["address"], format!("{name}@example.com"));
    assert_eq!(shown["external_ids"], json!([{ "auth_provider": "oidc", "external_id": name }]));
    for key in ["avatar_url", "user_type", "appservice_id", "consent_version", "consent_server_notice_sent"] {
        assert_eq!(shown[key], Value::Null, "{key}");
    }
    for key in ["is_guest", "admin", "deactivated", "erased", "shadow_banned", "locked"] {
        assert_eq!(shown[key], false, "{key}");
    }
    let found = admin.get(synapse(&["v1", "threepid", "email", "users", &format!("{name}@EXAMPLE.com")])).ok();
    assert_eq!(found["user_id"], id);
    assert_eq!(admin.get(synapse(&["v1", "auth_providers", "oidc", "users", &name])).ok()["user_id"], id);
    let other = admin.put(
        synapse(&["v2", "users", &format!("@{}:{}", unique("other"), server.name())]),
        json!({ "external_ids": [{ "auth_provider": "oidc", "external_id": name }] }),
    );
    assert_eq!(other.status, 409, "{}", other.story());

    let signed_in = server.anonymous().login(&id, "first password");
    admin.put(user(), json!({ "displayname": "Maria M.", "password": "second password", "threepids": [] })).ok();
    signed_in.get(v3(&["account", "whoami"])).refused(401, "M_UNKNOWN_TOKEN");
    let signed_in = server.anonymous().login(&id, "second password");
    assert_eq!(signed_in.get(v3(&["profile", &id])).ok()["displayname"], "Maria M.");
    admin
        .get(synapse(&["v1", "threepid", "email", "users", &format!("{name}@example.com")]))
        .refused(404, "M_NOT_FOUND");
    admin.put(user(), json!({ "locked": true })).ok();
    signed_in.get(v3(&["account", "whoami"])).refused(401, "M_USER_LOCKED");
    admin.put(user(), json!({ "locked": false })).ok();

    let room = signed_in.create_public_room(&[&admin]);
    let closed = admin.post(synapse(&["v1", "deactivate", &id]), json!({ "erase": true })).ok();
    assert_eq!(closed, json!({ "id_server_unbind_result": "success" }));
    assert_eq!(admin.members(&room, "join"), [admin.id.as_str()]);
    let shown = admin.get(user()).ok();
    assert_eq!((&shown["deactivated"], &shown["erased"]), (&json!(true), &json!(true)));
    // What is known of the person goes in the background.
    wait_until("the identities go", SOON, || (admin.get(user()).ok()["external_ids"] == json!([])).then_some(()));
    admin.put(user(), json!({ "displayname": "x" })).refused(403, "M_USER_DEACTIVATED");
    // Who was erased does not come back.
    let reopened = admin.put(user(), json!({ "deactivated": false, "password": "third password" }));
    reopened.refused(400, "M_INVALID_PARAM");
}

#[test]
fn passwords_are_reset_and_administrators_made() {
    let (server, admin) = (ward(), admin_of(ward()));
    let alice = server.user("alice");
    admin
        .post(
            synapse(&["v1", "reset_password", &alice.id]),
            json!({ "new_password": "new one", "logout_devices": false }),
        )
        .ok();
    alice.get(v3(&["account", "whoami"])).ok();
    admin.post(synapse(&["v1", "reset_password", &alice.id]), json!({ "new_password": "newer one" })).ok();
    alice.get(v3(&["account", "whoami"])).refused(401, "M_UNKNOWN_TOKEN");
    let alice = server.anonymous().login(&alice.id, "newer one");
    let is_admin = || synapse(&["v1", "users", &alice.id, "admin"]);
    assert_eq!(admin.get(is_admin()).ok(), json!({ "admin": false }));
    alice.get(is_admin()).refused(403, "M_FORBIDDEN");
    admin.put(is_admin(), json!({ "admin": true })).ok();
    assert_eq!(alice.get(is_admin()).ok(), json!({ "admin": true }));
    alice.put(is_admin(), json!({ "admin": false })).refused(400, "M_INVALID_PARAM");
    admin.put(is_admin(), json!({ "admin": "yes" })).refused(400, "M_BAD_JSON");
}

#[test]
fn users_are_listed_filtered_ordered_and_paged() {
    let (server, admin) = (ward(), admin_of(ward()));
    let tag = unique("listed");
    for (name, shown) in [("b", "Anna"), ("a", "Zoe"), ("c", "Berta")] {
        let id = format!("@{tag}{name}:{}", server.name());
        admin.put(synapse(&["v2", "users", &id]), json!({ "displayname": format!("{shown} {tag}") }));
    }
    let list = |version: &str, query: &[(&str, &str)]| {
        let target = synapse(&[version, "users"]);
        let target = query.iter().fold(target, |target, (key, value)| target.query(key, value));
        admin.get(target).ok()
    };
    let names = |answer: &Value| -> Vec<String> {
        let users = answer["users"].as_array().unwrap();
        users.iter().map(|user| user["name"].as_str().unwrap()[1 + tag.len()..][..1].to_owned()).collect()
    };
    let all = list("v2", &[("name", &tag)]);
    assert_eq!((names(&all), &all["total"]), (vec!["a".into(), "b".into(), "c".into()], &json!(3)));
    assert_eq!(names(&list("v2", &[("name", &tag), ("order_by", "displayname")])), ["b", "c", "a"]);
    assert_eq!(names(&list("v2", &[("user_id", &tag), ("dir", "b")])), ["c", "b", "a"]);
    assert_eq!(names(&list("v2", &[("name", &format!("zoe {tag}"))])), ["a"], "by display name");
    let page = list("v2", &[("name", &tag), ("limit", "2")]);
    assert_eq!((names(&page), &page["next_token"]), (vec!["a".into(), "b".into()], &json!("2")));
    let page = list("v2", &[("name", &tag), ("limit", "2"), ("from", "2")]);
    assert_eq!((names(&page), page.get("next_token")), (vec!["c".into()], None));

    let closed = format!("@{tag}a:{}", server.name());
    admin.post(synapse(&["v1", "deactivate", &closed]), json!({})).ok();
    assert_eq!(names(&list("v2", &[("name", &tag)])), ["b", "c"]);
    assert_eq!(names(&list("v2", &[("name", &tag), ("deactivated", "true")])), ["a", "b", "c"]);
    assert_eq!(names(&list("v3", &[("name", &tag), ("deactivated", "true")])), ["a"]);
    assert_eq!(names(&list("v3", &[("name", &tag)])), ["a", "b", "c"]);
    for wrong in [("order_by", "shoe_size"), ("dir", "up"), ("limit", "-1"), ("guests", "maybe")] {
        admin.get(synapse(&["v2", "users"]).query(wrong.0, wrong.1)).refused(400, "M_INVALID_PARAM");
    }
    server.user("eve").get(synapse(&["v2", "users"])).refused(403, "M_FORBIDDEN");
}

#[test]
fn devices_are_listed_named_made_and_signed_out() {
    let (server, admin) = (ward(), admin_of(ward()));
    let alice = server.user("alice");
    let second = alice.other_device();
    let devices = || synapse(&["v2", "users", &alice.id, "devices"]);
    let listed = admin.get(devices()).ok();
    assert_eq!((&listed["total"], listed["devices"].as_array().unwrap().len()), (&json!(2), 2));
    let one = |device: &str| synapse(&["v2", "users", &alice.id, "devices", device]);
    admin.put(one(&alice.device), json!({ "display_name": "Ward tablet" })).ok();
    assert_eq!(admin.get(one(&alice.device)).ok()["display_name"], "Ward tablet");
    let whois = admin.get(synapse(&["v1", "whois", &alice.id])).ok();
    assert!(whois["devices"].get(&alice.device).is_some(), "{whois}");
    assert_eq!(admin.post(devices(), json!({ "device_id": "MADE" })).status, 201);
    admin.get(one("MADE")).ok();
    admin.delete(one(&second.device)).ok();
    second.get(v3(&["account", "whoami"])).refused(401, "M_UNKNOWN_TOKEN");
    admin.get(one(&second.device)).refused(404, "M_NOT_FOUND");
    let both = json!({ "devices": [alice.device, "MADE", "UNKNOWN"] });
    admin.post(synapse(&["v2", "users", &alice.id, "delete_devices"]), both).ok();
    alice.get(v3(&["account", "whoami"])).refused(401, "M_UNKNOWN_TOKEN");
    assert_eq!(admin.get(devices()).ok()["total"], 0);
}

#[test]
fn names_are_free_or_taken_and_the_version_is_told_to_everybody() {
    let (server, admin) = (ward(), admin_of(ward()));
    let alice = server.user("alice");
    let available = |name: &str| admin.get(synapse(&["v1", "username_available"]).query("username", name));
    assert_eq!(available(&unique("free")).ok(), json!({ "available": true }));
    available(&alice.localpart).refused(400, "M_USER_IN_USE");
    let version = server.anonymous().get(synapse(&["v1", "server_version"])).ok();
    assert!(version["server_version"].as_str().unwrap().contains("Wardroom"), "{version}");
    admin.get(synapse(&["v1", "users", "@alice:elsewhere.example", "admin"])).refused(400, "M_INVALID_PARAM");
    admin.get(synapse(&["v1", "users", "nobody", "admin"])).refused(400, "M_INVALID_PARAM");
}

#[test]
fn memberships_of_users_are_told() {
    let (server, admin) = (ward(), admin_of(ward()));
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let (stays, leaves) = (bob.create_public_room(&[&alice]), bob.create_public_room(&[&alice]));
    alice.leave(&leaves);
    let joined = admin.get(synapse(&["v1", "users", &alice.id, "joined_rooms"])).ok();
    assert_eq!(joined, json!({ "joined_rooms": [stays], "total": 1 }));
    let all = admin.get(synapse(&["v1", "users", &alice.id, "memberships"])).ok();
    assert_eq!(all["memberships"], json!({ (stays): "join", (leaves): "leave" }));
}
