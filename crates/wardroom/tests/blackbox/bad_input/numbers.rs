//! Numbers that events cannot hold (appendices, "Canonical JSON").

use wardroom_testkit::{Actor, Body, json, v3};

use super::Scene;

const BAD_NUMBERS: [&str; 8] = [
    "1.5",
    "0.1",
    "1e3",
    "-1e-3",
    "9007199254740992",
    "-9007199254740992",
    "123456789012345678901234567890",
    "[1, [2, {\"deep\": 3.5}]]",
];

#[test]
fn floats_and_large_integers_have_no_place_in_events() {
    let scene = Scene::new();
    let raw = |method: &str, target, body: String| {
        scene.alice.request(method, &target, Body::Raw(body.into_bytes(), "application/json"))
    };
    scene.unchanged_by(|| {
        for (n, number) in BAD_NUMBERS.iter().enumerate() {
            let content = format!(r#"{{"msgtype": "m.text", "body": "x", "example.beds": {number}}}"#);
            let txn = format!("number-{n}");
            let answers = [
                raw("PUT", scene.in_room(&["send", "m.room.message", &txn]), content.clone()),
                raw("PUT", scene.in_room(&["state", "example.numbers", ""]), content.clone()),
                raw(
                    "POST",
                    v3(&["createRoom"]),
                    format!(r#"{{"initial_state": [{{"type": "example.numbers", "content": {content}}}]}}"#),
                ),
                raw("POST", v3(&["createRoom"]), format!(r#"{{"creation_content": {content}}}"#)),
            ];
            for answer in answers {
                let error = answer.refused(400, "M_BAD_JSON");
                let sentence = error["error"].as_str().unwrap();
                let named = if number.starts_with('[') { "deep" } else { "example.beds" };
                assert!(sentence.contains(named), "the sentence does not name {named:?}: {}", answer.story());
            }
        }
        // Not even JSON, whatever the parser makes of it.
        for number in ["1e999", "NaN", "Infinity", "+1", "0x10"] {
            let content = format!(r#"{{"body": "x", "beds": {number}}}"#);
            let answer = raw("PUT", scene.in_room(&["send", "m.room.message", "no-number"]), content);
            answer.refused_with_one_of(400, &["M_NOT_JSON", "M_BAD_JSON"]);
        }
    });
}

#[test]
fn the_largest_integers_are_kept_exactly() {
    let scene = Scene::new();
    let content = json!({ "max": 9_007_199_254_740_991_i64, "min": -9_007_199_254_740_991_i64, "zero": 0 });
    scene.alice.set_state(&scene.room, "example.numbers", "", content.clone());
    assert_eq!(scene.alice.state(&scene.room, "example.numbers", ""), content);
}

#[test]
fn account_data_is_no_event_and_may_hold_floats() {
    let scene = Scene::new();
    let target = || scene.of_alice(&["account_data", "example.floats"]);
    scene.alice.put(target(), json!({ "order": 0.25 })).ok();
    assert_eq!(scene.alice.get(target()).ok(), json!({ "order": 0.25 }));
}

#[test]
fn out_of_range_numbers_in_requests_are_refused() {
    let scene = Scene::new();
    scene.unchanged_by(|| {
        let typing = scene.in_room(&["typing", &scene.alice.id]);
        for timeout in [json!(-1), json!(1.5), json!(18_446_744_073_709_551_615_u64)] {
            let answer = scene.alice.put(typing.clone(), json!({ "typing": true, "timeout": timeout }));
            answer.refused_with_one_of(400, &["M_BAD_JSON", "M_INVALID_PARAM"]);
        }
        for limit in [json!(-1), json!(0.5)] {
            let answer = scene.alice.post(v3(&["publicRooms"]), json!({ "limit": limit }));
            answer.refused_with_one_of(400, &["M_BAD_JSON", "M_INVALID_PARAM"]);
        }
        for timeout in ["-1", "1.5", "99999999999999999999999"] {
            let answer = scene.alice.get(v3(&["sync"]).query("timeout", timeout));
            answer.refused(400, "M_INVALID_PARAM");
        }
    });
}
