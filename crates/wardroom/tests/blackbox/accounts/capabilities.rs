//! `/versions`, `/capabilities`, `/.well-known/matrix/client` and `support`, CORS.

use wardroom_testkit::{Actor, Body, Config, json, raw, v3};

use crate::{server_with, ward};

#[test]
fn versions_are_told_to_everybody() {
    let answer = ward().anonymous().get(raw("/_matrix/client/versions")).ok();
    let versions: Vec<&str> =
        answer["versions"].as_array().unwrap().iter().filter_map(|version| version.as_str()).collect();
    assert!(versions.contains(&"v1.1") && versions.iter().all(|version| version.starts_with(['v', 'r'])), "{answer}");
    let features = &answer["unstable_features"];
    assert!(
        features.is_null() || features.as_object().is_some_and(|all| all.values().all(|on| on.is_boolean())),
        "{answer}"
    );
}

#[test]
fn only_room_versions_that_work_are_advertised() {
    let alice = ward().user("alice");
    alice.anonymous().get(v3(&["capabilities"])).refused(401, "M_MISSING_TOKEN");
    let capabilities = alice.get(v3(&["capabilities"])).ok();
    let versions = &capabilities["capabilities"]["m.room_versions"];
    assert_eq!(versions["default"], "12");
    let stable = json!({ "6": "stable", "7": "stable", "8": "stable", "9": "stable", "10": "stable", "11": "stable", "12": "stable" });
    assert_eq!(versions["available"], stable);
    assert_ne!(capabilities["capabilities"]["m.change_password"]["enabled"], false);
    assert_eq!(capabilities["capabilities"]["m.3pid_changes"]["enabled"], false, "none are served");
}

#[test]
fn well_known_points_somewhere_or_nowhere() {
    let answer = ward().anonymous().get(raw("/.well-known/matrix/client"));
    if answer.status == 404 {
        return;
    }
    let url = answer.ok()["m.homeserver"]["base_url"].as_str().expect("a base URL").to_owned();
    assert!(url.starts_with("http://") || url.starts_with("https://"), "{url}");
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{}", answer.story());
}

#[test]
fn browsers_are_let_in_on_every_answer() {
    let alice = ward().user("alice");
    let answers = [
        alice.get(v3(&["account", "whoami"])),
        alice.anonymous().get(v3(&["account", "whoami"])),
        alice.get(v3(&["no", "such", "endpoint"])),
        alice.request("DELETE", &v3(&["sync"]), Body::Empty),
        alice.request("POST", &v3(&["createRoom"]), Body::Raw(b"{".to_vec(), "application/json")),
    ];
    for answer in &answers {
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{}", answer.story());
    }
}

#[test]
fn a_preflight_is_answered_without_doing_anything() {
    let alice = ward().user("alice");
    for target in [v3(&["logout"]), v3(&["createRoom"]), v3(&["sync"]), v3(&["rooms", "!r:x", "send", "m.x", "1"])] {
        let answer = alice.request("OPTIONS", &target, Body::Empty);
        assert!([200, 204].contains(&answer.status), "{}", answer.story());
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{}", answer.story());
        let list = |name: &str| answer.header(name).unwrap_or_default().to_lowercase();
        for method in ["get", "post", "put", "delete", "options"] {
            assert!(list("access-control-allow-methods").contains(method), "{method}: {}", answer.story());
        }
        for header in ["x-requested-with", "content-type", "authorization"] {
            assert!(list("access-control-allow-headers").contains(header), "{header}: {}", answer.story());
        }
    }
    alice.get(v3(&["account", "whoami"])).ok();
}

#[test]
fn well_known_names_whom_to_turn_to_if_somebody_is_named() {
    ward().anonymous().get(raw("/.well-known/matrix/support")).refused(404, "M_NOT_FOUND");
    let contacts = r#"[{ role = "m.role.security", matrix_id = "@ciso:a.example", email_address = "ciso@a.example" }]"#;
    let config = Config::default().set("support.page", "\"https://help.a.example/\"").set("support.contacts", contacts);
    let server = server_with(config);
    let answer = server.anonymous().get(raw("/.well-known/matrix/support")).ok();
    let contact = json!({
        "role": "m.role.security", "matrix_id": "@ciso:a.example", "email_address": "ciso@a.example",
    });
    assert_eq!(answer, json!({ "contacts": [contact], "support_page": "https://help.a.example/" }));
}
