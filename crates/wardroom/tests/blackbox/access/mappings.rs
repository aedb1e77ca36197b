//! What values of sources mean.

use wardroom_testkit::{Actor, json, wait_until};

use crate::{
    SOON,
    admin::{admin_of, own},
    scim::Hospital,
};

#[test]
fn aliases_are_in_force_at_once_and_outlive_a_restart() {
    let mut hospital = Hospital::start();
    let admin = admin_of(&hospital.server);
    let user = hospital.make("Users", json!({ "userName": "alice", "roles": [{ "value": "Perfusionist" }] }));
    hospital.make("Groups", json!({ "displayName": "Cardiology-Physicians", "members": [{ "value": user["id"] }] }));
    let alice = format!("@alice:{}", hospital.server.name());
    let until = |roles: &[&str]| {
        wait_until("the roles", SOON, || {
            let shown = admin.get(own(&["role_bindings", &alice])).ok();
            wardroom_testkit::same_set(&shown["in_force"], roles).then_some(())
        });
    };
    let mapped = own(&["role_mappings"]);
    let before = admin.get(mapped.clone()).ok();
    assert_eq!(before["aliases"], json!([]));
    let rule = before["rules"].as_array().unwrap().iter().find(|shown| shown["rule"]["group"] == "ICU Physicians");
    let rule = rule.unwrap_or_else(|| panic!("the rule of the configuration: {before}"));
    assert_eq!((&rule["source"], &rule["rule"]["gives"]), (&json!("scim"), &json!("physician@h1/icu")));

    let physician = json!({ "value": "cardiology-physicians", "roles": ["physician@h1/cardiology", "staff@h1"] });
    let technician = json!({ "source": "scim", "value": "perfusionist", "roles": ["technician@h1"] });
    let elsewhere = json!({ "source": "ldap", "value": "perfusionist", "roles": ["nobody@h1"] });
    let set = admin.put(mapped.clone(), json!({ "aliases": [physician, technician, elsewhere] })).ok();
    assert_eq!(set["aliases"][1], technician);
    until(&["physician@h1/cardiology", "staff@h1", "technician@h1"]);
    admin.put(mapped.clone(), json!({ "aliases": [physician] })).ok();
    until(&["physician@h1/cardiology", "staff@h1"]);
    hospital.server.stop();
    hospital.server.start_again();
    assert_eq!(admin.get(mapped.clone()).ok()["aliases"][0]["roles"], physician["roles"]);
    admin.put(mapped.clone(), json!({ "aliases": [] })).ok();
    until(&[]);

    for (alias, field) in [
        (json!({ "value": "x", "roles": ["no role"] }), "aliases[0].roles[0]"),
        (json!({ "value": "x", "roles": ["physician@h1/*"] }), "aliases[0].roles[0]"),
        (json!({ "value": "x", "roles": [] }), "aliases[0].roles"),
        (json!({ "value": "", "roles": ["a@b"] }), "aliases[0].value"),
        (json!({ "source": "rumour", "value": "x", "roles": ["a@b"] }), "aliases[0].source"),
        (json!({ "source": "manual", "value": "x", "roles": ["a@b"] }), "aliases[0].source"),
    ] {
        let refused = admin.put(mapped.clone(), json!({ "aliases": [alias] })).refused(400, "M_INVALID_PARAM");
        assert!(refused["error"].as_str().unwrap().starts_with(field), "{refused}");
    }
    admin.put(mapped, json!({ "aliases": { "x": "a@b" } })).refused(400, "M_BAD_JSON");
}
