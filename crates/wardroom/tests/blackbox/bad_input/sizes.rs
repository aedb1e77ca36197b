//! Bodies and events that are too large (client-server API, "Size limits").

use wardroom_testkit::{Actor, Body, json, text, unique, v3};

use super::Scene;

#[test]
fn an_event_over_its_limit_is_too_large() {
    let scene = Scene::new();
    let long = "x".repeat(65_537);
    scene.unchanged_by(|| {
        let alice = &scene.alice;
        alice.try_send(&scene.room, "m.room.message", &unique("large"), text(&long)).refused(413, "M_TOO_LARGE");
        alice.try_set_state(&scene.room, "m.room.topic", "", json!({ "topic": long })).refused(413, "M_TOO_LARGE");
        let state = json!({ "initial_state": [{ "type": "example.large", "content": { "x": long } }] });
        let answer = alice.try_create_room(state);
        assert!([400, 413].contains(&answer.status), "{}", answer.story());
        answer.refused_with_one_of(answer.status, &["M_TOO_LARGE", "M_INVALID_ROOM_STATE", "M_BAD_JSON"]);
        // The limit is on the whole event as it is stored, not on the content alone.
        let just_content = "x".repeat(65_500);
        let answer = alice.try_send(&scene.room, "m.room.message", &unique("large"), text(&just_content));
        answer.refused(413, "M_TOO_LARGE");
    });
}

#[test]
fn types_and_keys_over_255_bytes_are_refused() {
    let scene = Scene::new();
    let (long, wide) = ("x".repeat(256), "ü".repeat(128));
    scene.unchanged_by(|| {
        for bad in [&long, &wide] {
            let answers = [
                scene.alice.try_send(&scene.room, bad, &unique("txn"), json!({})),
                scene.alice.try_set_state(&scene.room, bad, "", json!({})),
                scene.alice.try_set_state(&scene.room, "example.key", bad, json!({})),
            ];
            for answer in answers {
                assert!([400, 413].contains(&answer.status), "{}", answer.story());
                answer.refused_somehow();
            }
        }
    });
    let longest = "x".repeat(255);
    scene.alice.set_state(&scene.room, "example.key", &longest, json!({ "fits": true }));
    assert_eq!(scene.alice.state(&scene.room, "example.key", &longest), json!({ "fits": true }));
}

#[test]
fn a_huge_body_is_refused_everywhere() {
    let scene = Scene::new();
    let huge = format!(r#"{{"x": "{}"}}"#, "x".repeat(30 * 1024 * 1024)).into_bytes();
    scene.unchanged_by(|| {
        for target in [v3(&["createRoom"]), v3(&["login"]), scene.of_alice(&["filter"])] {
            // A server may answer and hang up before it has read everything, which a client can see as an error.
            let body = Body::Raw(huge.clone(), "application/json");
            let method = "POST".parse().unwrap();
            if let Ok(answer) = scene.alice.http().try_request(&method, &target, scene.alice.token(), body) {
                answer.refused(413, "M_TOO_LARGE");
            }
        }
    });
}

#[test]
fn long_names_and_values_of_accounts_are_bounded() {
    let scene = Scene::new();
    let long = "x".repeat(1024 * 1024);
    scene.unchanged_by(|| {
        let alice = &scene.alice;
        alice.put(v3(&["profile", &alice.id, "displayname"]), json!({ "displayname": long })).refused_somehow();
        alice.put(v3(&["devices", &alice.device]), json!({ "display_name": long })).refused_somehow();
        alice.put(scene.of_alice(&["rooms", &scene.room, "tags", &long[..2_000]]), json!({})).refused_somehow();
    });
}
