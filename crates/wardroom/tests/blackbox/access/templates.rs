//! Policies that new rooms get by themselves.

use wardroom_testkit::{Actor, Body, json, unique, v3, wait_until};

use super::{POLICY, give, policy};
use crate::{
    SOON,
    admin::{admin_of, own},
};

#[test]
fn a_new_room_gets_the_policy_of_its_template() {
    let server = crate::ward();
    let (admin, alice, bob) = (admin_of(server), server.user("alice"), server.user("bob"));
    let (role, ward) = (format!("{}@h1", unique("physician")), unique("ward"));
    let template = json!({ "policy": policy(&[&role]), "alias": format!("{ward}-*") });
    admin.put(own(&["policy_templates", &ward]), template.clone()).ok();
    assert_eq!(admin.get(own(&["policy_templates", &ward])).ok(), template);
    let room = |alias: &str, version: &str| json!({ "preset": "public_chat", "room_alias_name": alias, "room_version": version });
    // Who would not be let in does not make one.
    alice.post(v3(&["createRoom"]), room(&format!("{ward}-7"), "12")).refused(403, "M_FORBIDDEN");
    give(&admin, &alice.id, &[&role]);
    for version in ["11", "12"] {
        let mut asked = room(&format!("{ward}-{version}"), version);
        asked["initial_state"] = json!([{ "type": POLICY, "state_key": "", "content": {} }]);
        let gated = alice.create_room(asked);
        assert_eq!(alice.state(&gated, POLICY, ""), policy(&[&role]), "what the template says");
        bob.post(v3(&["join", &gated]), json!({})).refused(403, "M_FORBIDDEN");
        let service = format!("@_access:{}", server.name());
        wait_until("the server's own user", SOON, || alice.members(&gated, "join").contains(&service).then_some(()));
        let create = alice.state(&gated, "m.room.create", "");
        assert_eq!(create["additional_creators"].is_array(), version == "12", "{create}");
    }
    let free = alice.create_room(room(&unique("canteen"), "12"));
    bob.join(&free);
    // A template is a policy for rooms that are there, too.
    admin.put(own(&["rooms", &free, "policy"]), json!({ "template": ward })).ok();
    assert_eq!(alice.state(&free, POLICY, ""), policy(&[&role]));
    admin.request("DELETE", &own(&["policy_templates", &ward]), Body::Empty).ok();
    admin.request("DELETE", &own(&["policy_templates", &ward]), Body::Empty).refused(404, "M_NOT_FOUND");
    bob.create_room(room(&format!("{ward}-8"), "12"));
}

#[test]
fn templates_are_by_type_and_by_role_of_the_maker() {
    let server = crate::ward();
    let (admin, alice, bob) = (admin_of(server), server.user("alice"), server.user("bob"));
    let (role, name, kind) = (format!("{}@h1", unique("chief")), unique("template"), unique("org.example.ward"));
    let template = json!({ "policy": policy(&[&role]), "creator_role": role, "room_type": kind });
    admin.put(own(&["policy_templates", &name]), template).ok();
    give(&admin, &alice.id, &[&role]);
    for (maker, of_type, is_gated) in [(&alice, true, true), (&alice, false, false), (&bob, true, false)] {
        let creation = if of_type { json!({ "type": kind }) } else { json!({}) };
        let room = maker.create_room(json!({ "creation_content": creation }));
        assert_eq!(maker.try_state(&room, POLICY, "").status == 200, is_gated);
    }
}

#[test]
fn what_is_wrong_with_a_template_is_said() {
    let admin = admin_of(crate::ward());
    let good = policy(&["physician@h1"]);
    for (wrong, field) in [
        (json!({ "policy": good }), "room_type, creator_role, alias: "),
        (json!({ "policy": {}, "alias": "*" }), "policy.version: "),
        (json!({ "policy": { "version": 1, "require": {} }, "alias": "*" }), "policy.require.any_of: "),
        (json!({ "policy": good, "creator_role": "no role" }), "creator_role: "),
        (json!({ "policy": good, "alias": "x".repeat(256) }), "alias: "),
    ] {
        let error = admin.put(own(&["policy_templates", "wrong"]), wrong).refused(400, "M_INVALID_PARAM");
        assert!(error["error"].as_str().unwrap().starts_with(field), "{error}");
    }
    admin.get(own(&["policy_templates", "wrong"])).refused(404, "M_NOT_FOUND");
    let nothing = json!({ "template": "wrong" });
    let alice = crate::ward().user("alice");
    let room = alice.create_room(json!({}));
    admin.put(own(&["rooms", &room, "policy"]), nothing).refused(400, "M_INVALID_PARAM");
}
