//! Ids in paths, queries, tokens and methods.

use wardroom_testkit::{Actor, Body, Target, json, raw, v3};

use super::Scene;
use crate::ward;

#[test]
fn an_id_in_a_path_must_be_one() {
    let scene = Scene::new();
    let (user, room) = (&scene.alice.id, &scene.room);
    let targets: Vec<(&str, Target)> = vec![
        ("GET", v3(&["rooms", "room", "state"])),
        ("GET", v3(&["rooms", "room", "messages"]).query("dir", "b")),
        ("GET", v3(&["rooms", "@user:hospital-a.example", "members"])),
        ("PUT", v3(&["rooms", "room", "send", "m.room.message", "1"])),
        ("POST", v3(&["rooms", "room", "invite"])),
        ("POST", v3(&["rooms", "room", "leave"])),
        ("GET", v3(&["rooms", room, "event", "event"])),
        ("GET", v3(&["rooms", room, "context", "event"])),
        ("PUT", v3(&["rooms", room, "redact", "event", "1"])),
        ("POST", v3(&["rooms", room, "receipt", "m.read", "event"])),
        ("PUT", v3(&["rooms", room, "typing", "user"])),
        ("GET", v3(&["profile", "user"])),
        ("GET", v3(&["user", "user", "account_data", "m.x"])),
        ("GET", v3(&["user", user, "rooms", "room", "account_data", "m.x"])),
        ("GET", v3(&["user", user, "rooms", "room", "tags"])),
        ("GET", v3(&["directory", "room", "alias"])),
        ("GET", v3(&["directory", "list", "room", "room"])),
        ("POST", v3(&["join", "alias"])),
        ("POST", v3(&["knock", "alias"])),
    ];
    scene.unchanged_by(|| {
        for (method, target) in &targets {
            let body =
                if *method == "GET" { Body::Empty } else { Body::Json(json!({ "user_id": user, "typing": false })) };
            scene.alice.request(method, target, body).refused(400, "M_INVALID_PARAM");
        }
    });
}

#[test]
fn paths_that_do_not_decode_are_refused_in_json() {
    let scene = Scene::new();
    scene.unchanged_by(|| {
        for path in [
            "/_matrix/client/v3/rooms/%ff%fe/state",
            "/_matrix/client/v3/profile/%c3%28",
            "/_matrix/client/v3/rooms/%00/messages?dir=b",
            "/_matrix/client/v3/rooms//state",
            "/_matrix/client/v3/sync?since=%ff",
        ] {
            scene.alice.get(raw(path)).refused_somehow();
        }
        let long = "x".repeat(20_000);
        let answer = scene.alice.get(v3(&["profile", &format!("@{long}:hospital-a.example")]));
        assert!((400..500).contains(&answer.status), "{}", answer.story());
    });
}

#[test]
fn unknown_rooms_and_users_are_refused() {
    let scene = Scene::new();
    let unknown = format!("!unknown-room:{}", ward().name());
    let nobody = format!("@{}:{}", wardroom_testkit::unique("nobody"), ward().name());
    scene.unchanged_by(|| {
        let alice = &scene.alice;
        for target in [
            v3(&["rooms", &unknown, "state"]),
            v3(&["rooms", &unknown, "members"]),
            v3(&["rooms", &unknown, "joined_members"]),
            v3(&["rooms", &unknown, "state", "m.room.name", ""]),
            v3(&["rooms", &unknown, "messages"]).query("dir", "b"),
            v3(&["rooms", &unknown, "event", "$x"]),
            v3(&["rooms", &unknown, "context", "$x"]),
            v3(&["rooms", &unknown, "aliases"]),
        ] {
            alice.get(target).denied();
        }
        for (method, path, body) in [
            ("PUT", &["send", "m.room.message", "1"][..], json!({})),
            ("PUT", &["state", "m.room.name", ""], json!({ "name": "x" })),
            ("PUT", &["redact", "$x", "1"], json!({})),
            ("POST", &["invite"], json!({ "user_id": scene.bob.id })),
            ("POST", &["kick"], json!({ "user_id": scene.bob.id })),
            ("POST", &["leave"], json!({})),
            ("POST", &["receipt", "m.read", "$x"], json!({})),
            ("POST", &["read_markers"], json!({ "m.read": "$x" })),
            ("PUT", &["typing", &alice.id], json!({ "typing": true, "timeout": 1_000 })),
        ] {
            let target = v3(&[&["rooms", unknown.as_str()], path].concat());
            alice.request(method, &target, body.into()).denied();
        }
        alice.get(v3(&["profile", &nobody])).refused(404, "M_NOT_FOUND");
        alice.get(v3(&["user", &nobody, "account_data", "m.x"])).refused(403, "M_FORBIDDEN");
    });
}

#[test]
fn tokens_come_in_the_authorization_header() {
    let alice = ward().user("alice");
    let whoami = || v3(&["account", "whoami"]);
    // The old way, a query parameter, is still read from clients that use it, but a bad one is bad.
    alice.anonymous().get(whoami().query("access_token", "made-up")).refused(401, "M_UNKNOWN_TOKEN");
    let long = "x".repeat(5_000);
    for token in ["", "é", long.as_str()] {
        let answer = alice.anonymous().get(whoami().query("access_token", token));
        answer.refused_with_one_of(401, &["M_UNKNOWN_TOKEN", "M_MISSING_TOKEN"]);
    }
}

#[test]
fn every_served_endpoint_but_the_open_ones_wants_a_token() {
    let scene = Scene::new();
    let open = ["register", "login", "refresh", "publicRooms", "password", "deactivate"];
    scene.unchanged_by(|| {
        for (method, target) in scene.json_endpoints() {
            if open.iter().any(|open| format!("{target:?}").contains(open)) {
                continue;
            }
            let answer = scene.alice.anonymous().request(method, &target, json!({}).into());
            answer.refused(401, "M_MISSING_TOKEN");
            let answer = scene.alice.with_token("made-up").request(method, &target, json!({}).into());
            answer.refused(401, "M_UNKNOWN_TOKEN");
        }
    });
}
