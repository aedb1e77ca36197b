//! Groups, and the roles that they give.

use wardroom_testkit::{Value, json, wait_until};

use super::{Hospital, refused};
use crate::SOON;

#[test]
fn a_group_gives_a_role_and_takes_it_back() {
    let hospital = Hospital::start();
    let (alice, alice_id) = hospital.employee("alice");
    let (bob, bob_id) = hospital.employee("bob");
    let group = hospital.make("Groups", json!({ "displayName": "ICU Physicians", "members": [{ "value": alice_id }] }));
    let path = format!("/Groups/{}", group["id"].as_str().unwrap());
    let room = alice.create_room(json!({ "preset": "public_chat" }));
    let require = json!({ "any_of": [{ "all_of": ["physician@h1/icu"] }] });
    alice.set_state(&room, "org.wardroom.access_policy", "", json!({ "version": 1, "require": require }));
    let alone = || (!alice.members(&room, "join").contains(&bob.id)).then_some(());
    bob.try_join(&room).refused(403, "M_FORBIDDEN");

    hospital.patch(&path, json!([{ "op": "Add", "path": "members", "value": [{ "value": bob_id }] }]));
    bob.join(&room);
    let shown = hospital.get(&format!("/Users/{bob_id}"));
    assert_eq!(shown["groups"][0]["display"], "ICU Physicians");
    let filter = format!("/Groups?excludedAttributes=members&filter=members%20eq%20%22{bob_id}%22");
    let found = hospital.get(&filter);
    assert_eq!((&found["totalResults"], &found["Resources"][0]["members"]), (&json!(1), &Value::Null));

    let one = format!("members[value eq \"{bob_id}\"]");
    let reply = hospital.patch(&path, json!([{ "op": "remove", "path": one }]));
    assert_eq!((reply.status, reply.bytes.len()), (204, 0));
    wait_until("bob is put out", SOON, alone);

    // By its name, too, and with the group itself.
    hospital.ask("PUT", &path, json!({ "displayName": "Others", "members": [alice_id, bob_id] })).ok();
    bob.try_join(&room).refused(403, "M_FORBIDDEN");
    hospital.patch(&path, json!([{ "op": "replace", "value": { "displayName": "icu physicians" } }]));
    bob.join(&room);
    assert_eq!(hospital.ask("DELETE", &path, Value::Null).status, 204);
    assert_eq!(hospital.get(&format!("/Users/{bob_id}"))["groups"], Value::Null);
    bob.try_join(&room).refused(403, "M_FORBIDDEN");
}

#[test]
fn only_users_are_members_and_the_deleted_are_gone() {
    let hospital = Hospital::start();
    let (_, id) = hospital.employee("alice");
    let group =
        hospital.make("Groups", json!({ "displayName": "Ward", "externalId": "w", "members": [{ "value": id }] }));
    let path = format!("/Groups/{}", group["id"].as_str().unwrap());
    for member in
        [json!("0000000000000001"), json!({ "value": "nobody" }), json!({ "value": group["id"], "type": "Group" })]
    {
        let body = json!({ "Operations": [{ "op": "add", "path": "members", "value": [member] }] });
        refused(&hospital.ask("PATCH", &path, body), 400, Some("invalidValue"));
    }
    assert_eq!(hospital.get(&path)["members"][0]["value"], json!(id));
    let body = json!({ "displayName": "Other", "externalId": "w" });
    refused(&hospital.ask("POST", "/Groups", body), 409, Some("uniqueness"));
    assert_eq!(hospital.ask("DELETE", &format!("/Users/{id}"), Value::Null).status, 204);
    assert_eq!(hospital.get(&path)["members"], Value::Null);
}

#[test]
fn many_members_come_and_go_in_one_request() {
    const MANY: usize = 200;
    let hospital = Hospital::start();
    let ids: Vec<Value> = (0..MANY)
        .map(|number| hospital.make("Users", json!({ "userName": format!("nurse{number}") }))["id"].clone())
        .collect();
    let members: Vec<Value> = ids.iter().map(|id| json!({ "value": id })).collect();
    let group = hospital.make("Groups", json!({ "displayName": "ICU Physicians" }));
    let path = format!("/Groups/{}", group["id"].as_str().unwrap());
    hospital.patch(&path, json!([{ "op": "add", "path": "members", "value": members }]));
    assert_eq!(hospital.get(&path)["members"].as_array().unwrap().len(), MANY);
    let removals: Vec<Value> =
        ids[1..].iter().map(|id| json!({ "op": "remove", "path": format!("members[value eq {id}]") })).collect();
    hospital.patch(&path, json!(removals));
    assert_eq!(hospital.get(&path)["members"].as_array().unwrap().len(), 1);
    // Pages of the list hold each user once.
    let mut seen = Vec::new();
    for start in (1..=MANY).step_by(80) {
        let page = hospital.get(&format!("/Users?startIndex={start}&count=80&sortBy=userName&attributes=userName"));
        assert_eq!(page["totalResults"], MANY);
        seen.extend(
            page["Resources"].as_array().unwrap().iter().map(|user| user["userName"].as_str().unwrap().to_owned()),
        );
    }
    assert!(seen.len() == MANY && seen.is_sorted(), "{seen:?}");
}

#[test]
fn changed_rules_count_from_the_next_start_on() {
    let mut hospital = Hospital::start();
    let (alice, alice_id) = hospital.employee("alice");
    let (bob, bob_id) = hospital.employee("bob");
    hospital.make("Groups", json!({ "displayName": "Pharmacy", "members": [bob_id, alice_id] }));
    let room = alice.create_room(json!({ "preset": "public_chat" }));
    let require = json!({ "any_of": [{ "all_of": ["pharmacist@h1"] }] });
    alice.set_state(&room, "org.wardroom.access_policy", "", json!({ "version": 1, "require": require }));
    bob.try_join(&room).refused(403, "M_FORBIDDEN");
    hospital.server.stop();
    hospital
        .server
        .reconfigure(|config| config.set("scim.roles", r#"[{ group = "pharmacy", gives = "pharmacist@h1" }]"#));
    hospital.server.start_again();
    wait_until("bob is let in", SOON, || (bob.try_join(&room).status == 200).then_some(()));
}
