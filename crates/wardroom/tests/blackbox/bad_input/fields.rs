//! Fields that are missing or of the wrong type: the sentence names them.

use wardroom_testkit::{Actor, Target, Value, json, v3};

use super::Scene;

/// Method, target, body, and the field that the sentence must name.
type Row = (&'static str, Target, Value, &'static str);

/// Asserts that each request is refused with one of the codes and a sentence that names the field.
#[track_caller]
fn each_names_its_field(scene: &Scene, errcodes: &[&str], rows: Vec<Row>) {
    scene.unchanged_by(|| {
        let mut silent = Vec::new();
        for (method, target, body, field) in rows {
            let answer = scene.alice.request(method, &target, body.clone().into());
            let error = answer.refused_with_one_of(400, errcodes);
            if !error["error"].as_str().unwrap().contains(field) {
                silent.push(format!("{field:?}: {method} {target:?} {body} -> {error}"));
            }
        }
        assert!(silent.is_empty(), "these sentences do not name the field:\n{}", silent.join("\n"));
    });
}

#[test]
fn a_missing_field_is_named() {
    let scene = Scene::new();
    let rule = |kind: &str| v3(&["pushrules", "global", kind, "bad"]);
    let master = |part: &str| v3(&["pushrules", "global", "override", ".m.rule.master", part]);
    let initial_state = |state: Value| json!({ "initial_state": [state] });
    let rows: Vec<Row> = vec![
        ("POST", scene.in_room(&["invite"]), json!({}), "user_id"),
        ("POST", scene.in_room(&["kick"]), json!({}), "user_id"),
        ("POST", scene.in_room(&["ban"]), json!({ "reason": "x" }), "user_id"),
        ("POST", scene.in_room(&["unban"]), json!({}), "user_id"),
        ("PUT", scene.in_room(&["typing", &scene.alice.id]), json!({}), "typing"),
        ("PUT", v3(&["directory", "room", "#bad:hospital-a.example"]), json!({}), "room_id"),
        ("PUT", rule("content"), json!({ "pattern": "x" }), "actions"),
        ("PUT", rule("content"), json!({ "actions": [] }), "pattern"),
        ("PUT", master("enabled"), json!({}), "enabled"),
        ("PUT", master("actions"), json!({}), "actions"),
        ("POST", v3(&["delete_devices"]), json!({}), "devices"),
        ("POST", v3(&["refresh"]), json!({}), "refresh_token"),
        ("POST", v3(&["login"]), json!({}), "type"),
        ("POST", v3(&["createRoom"]), initial_state(json!({ "content": {} })), "type"),
        ("POST", v3(&["createRoom"]), initial_state(json!({ "type": "example.x" })), "content"),
    ];
    each_names_its_field(&scene, &["M_BAD_JSON", "M_MISSING_PARAM"], rows);
}

#[test]
fn a_field_of_the_wrong_type_is_named_in_room_requests() {
    let scene = Scene::new();
    let create =
        |field: &'static str, value: Value| -> Row { ("POST", v3(&["createRoom"]), json!({ field: value }), field) };
    let in_room = |path: &[&str], field: &'static str, value: Value| -> Row {
        (if path[0] == "typing" { "PUT" } else { "POST" }, scene.in_room(path), json!({ field: value }), field)
    };
    let rows = vec![
        create("name", json!(7)),
        create("topic", json!([])),
        create("preset", json!(5)),
        create("visibility", json!({})),
        create("room_version", json!(12)),
        create("room_alias_name", json!(false)),
        create("invite", json!("@bob:hospital-a.example")),
        create("is_direct", json!("yes")),
        create("initial_state", json!({})),
        create("creation_content", json!([])),
        create("power_level_content_override", json!("all")),
        in_room(&["invite"], "user_id", json!(7)),
        in_room(&["kick"], "user_id", json!({})),
        in_room(&["ban"], "user_id", json!(["@bob:hospital-a.example"])),
        in_room(&["unban"], "user_id", json!(true)),
        in_room(&["leave"], "reason", json!(7)),
        in_room(&["join"], "reason", json!([])),
        in_room(&["read_markers"], "m.fully_read", json!(7)),
        in_room(&["typing", &scene.alice.id], "typing", json!("yes")),
        ("PUT", scene.in_room(&["typing", &scene.alice.id]), json!({ "typing": true, "timeout": "soon" }), "timeout"),
        ("PUT", scene.in_room(&["redact", &scene.message, "bad-reason"]), json!({ "reason": 7 }), "reason"),
        ("POST", v3(&["publicRooms"]), json!({ "limit": "all" }), "limit"),
        ("POST", v3(&["publicRooms"]), json!({ "filter": 7 }), "filter"),
        ("PUT", v3(&["directory", "list", "room", &scene.room]), json!({ "visibility": 7 }), "visibility"),
    ];
    each_names_its_field(&scene, &["M_BAD_JSON", "M_INVALID_PARAM"], rows);
}

#[test]
fn a_field_of_the_wrong_type_is_named_in_account_requests() {
    let scene = Scene::new();
    let login = |field: &'static str, value: Value| -> Row {
        let mut body = json!({
            "type": "m.login.password", "password": "x", "identifier": { "type": "m.id.user", "user": scene.alice.id },
        });
        body[field] = value;
        ("POST", v3(&["login"]), body, field)
    };
    let register =
        |field: &'static str, value: Value| -> Row { ("POST", v3(&["register"]), json!({ field: value }), field) };
    let profile = |field: &'static str, value: Value| -> Row {
        ("PUT", v3(&["profile", &scene.alice.id, field]), json!({ field: value }), field)
    };
    let rows = vec![
        login("type", json!(7)),
        login("password", json!(7)),
        login("identifier", json!("alice")),
        login("device_id", json!(7)),
        login("refresh_token", json!("yes")),
        register("username", json!(7)),
        register("password", json!([])),
        register("device_id", json!({})),
        register("inhibit_login", json!("no")),
        profile("displayname", json!(7)),
        profile("avatar_url", json!([])),
        ("POST", v3(&["account", "password"]), json!({ "new_password": 7 }), "new_password"),
        (
            "POST",
            v3(&["account", "password"]),
            json!({ "new_password": "x", "logout_devices": "no" }),
            "logout_devices",
        ),
        ("PUT", v3(&["devices", &scene.alice.device]), json!({ "display_name": 7 }), "display_name"),
        ("POST", v3(&["delete_devices"]), json!({ "devices": "all" }), "devices"),
        ("POST", v3(&["refresh"]), json!({ "refresh_token": 7 }), "refresh_token"),
        ("POST", scene.of_alice(&["filter"]), json!({ "room": [] }), "room"),
        ("POST", scene.of_alice(&["filter"]), json!({ "room": { "timeline": { "limit": "x" } } }), "limit"),
        ("PUT", v3(&["pushrules", "global", "content", "bad"]), json!({ "pattern": 7, "actions": [] }), "pattern"),
        (
            "PUT",
            v3(&["pushrules", "global", "content", "bad"]),
            json!({ "pattern": "x", "actions": "notify" }),
            "actions",
        ),
        (
            "PUT",
            v3(&["pushrules", "global", "override", ".m.rule.master", "enabled"]),
            json!({ "enabled": "yes" }),
            "enabled",
        ),
        ("PUT", scene.of_alice(&["rooms", &scene.room, "tags", "u.bad"]), json!({ "order": {} }), "order"),
    ];
    each_names_its_field(&scene, &["M_BAD_JSON", "M_INVALID_PARAM"], rows);
}

#[test]
fn an_id_in_a_field_must_be_one() {
    let scene = Scene::new();
    let rows: Vec<Row> = vec![
        ("POST", scene.in_room(&["invite"]), json!({ "user_id": "bob" }), "user_id"),
        ("POST", scene.in_room(&["ban"]), json!({ "user_id": "@bob" }), "user_id"),
        ("POST", scene.in_room(&["kick"]), json!({ "user_id": "" }), "user_id"),
        ("POST", v3(&["createRoom"]), json!({ "invite": ["bob"] }), "invite"),
        ("PUT", v3(&["directory", "room", "#bad:hospital-a.example"]), json!({ "room_id": "room" }), "room_id"),
        ("POST", scene.in_room(&["read_markers"]), json!({ "m.read": "event" }), "m.read"),
    ];
    each_names_its_field(&scene, &["M_BAD_JSON", "M_INVALID_PARAM"], rows);
}
