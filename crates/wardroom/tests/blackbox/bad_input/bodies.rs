//! Bodies that are no JSON, or no JSON object.

use wardroom_testkit::{Actor, Body, Reply, Target};

use super::Scene;

fn send(scene: &Scene, method: &str, target: &Target, bytes: &[u8]) -> Reply {
    scene.alice.request(method, target, Body::Raw(bytes.to_vec(), "application/json"))
}

#[test]
fn what_is_no_json_is_said_to_be_none() {
    let scene = Scene::new();
    scene.unchanged_by(|| {
        for (method, target) in scene.json_endpoints() {
            for bytes in [&b"{"[..], b"{\"a\": }", b"{\"a\": 1} x", b"nul", b"{'a': 1}", b"{\"a\": 01}", b"\x00"] {
                send(&scene, method, &target, bytes).refused(400, "M_NOT_JSON");
            }
        }
    });
}

#[test]
fn bad_utf8_is_no_json() {
    let scene = Scene::new();
    scene.unchanged_by(|| {
        for (method, target) in scene.json_endpoints() {
            for bytes in
                [&b"{\"body\": \"\xff\xfe\"}"[..], b"{\"body\": \"\xc3\x28\"}", b"{\"\xed\xa0\x80\": 1}", b"\xff"]
            {
                send(&scene, method, &target, bytes).refused(400, "M_NOT_JSON");
            }
        }
    });
}

#[test]
fn lone_surrogates_are_refused() {
    let scene = Scene::new();
    scene.unchanged_by(|| {
        for target in
            [scene.in_room(&["send", "m.room.message", "surrogate"]), scene.in_room(&["state", "example.bad", ""])]
        {
            let answer = send(&scene, "PUT", &target, br#"{"body": "\ud800"}"#);
            answer.refused_with_one_of(400, &["M_NOT_JSON", "M_BAD_JSON"]);
        }
    });
}

#[test]
fn json_that_is_no_object_is_bad_json() {
    let scene = Scene::new();
    scene.unchanged_by(|| {
        for (method, target) in scene.json_endpoints() {
            for bytes in [&b"[]"[..], b"[{}]", b"\"{}\"", b"7", b"true", b"null"] {
                send(&scene, method, &target, bytes).refused(400, "M_BAD_JSON");
            }
        }
    });
}

#[test]
fn endless_nesting_is_refused() {
    let scene = Scene::new();
    let deep = [b"{\"a\":".repeat(50_000), b"1".to_vec(), b"}".repeat(50_000)].concat();
    let arrays = [b"{\"a\":".to_vec(), b"[".repeat(30_000), b"]".repeat(30_000), b"}".to_vec()].concat();
    scene.unchanged_by(|| {
        for (method, target) in scene.json_endpoints() {
            for bytes in [&deep, &arrays] {
                let answer = send(&scene, method, &target, bytes);
                assert!([400, 413].contains(&answer.status), "{}", answer.story());
                answer.refused_with_one_of(answer.status, &["M_NOT_JSON", "M_BAD_JSON", "M_TOO_LARGE"]);
            }
        }
    });
}

#[test]
fn unknown_fields_are_no_fault() {
    let scene = Scene::new();
    let extra = r#""example.unknown": {"a": [1, null]}, "another": "x""#;
    let user = &scene.bob.id;
    let ok = |method: &str, target: &Target, fields: &str| {
        let separator = if fields.is_empty() { "" } else { ", " };
        send(&scene, method, target, format!("{{{fields}{separator}{extra}}}").as_bytes()).ok();
    };
    ok("POST", &wardroom_testkit::v3(&["createRoom"]), "");
    ok("POST", &scene.in_room(&["invite"]), &format!(r#""user_id": "{user}""#));
    ok("POST", &scene.in_room(&["kick"]), &format!(r#""user_id": "{user}""#));
    ok("POST", &scene.in_room(&["join"]), "");
    ok("POST", &scene.in_room(&["read_markers"]), &format!(r#""m.read": "{}""#, scene.message));
    ok("PUT", &scene.in_room(&["typing", &scene.alice.id]), r#""typing": false"#);
    ok("POST", &wardroom_testkit::v3(&["publicRooms"]), "");
    ok("PUT", &wardroom_testkit::v3(&["profile", &scene.alice.id, "displayname"]), r#""displayname": "Alice""#);
    ok("POST", &scene.of_alice(&["filter"]), r#""room": {"example.unknown": 1}"#);
    ok("PUT", &wardroom_testkit::v3(&["devices", &scene.alice.device]), r#""display_name": "desk""#);
}
