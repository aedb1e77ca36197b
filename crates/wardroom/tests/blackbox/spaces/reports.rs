//! `POST /rooms/{roomId}/report/{eventId}`, `/rooms/{roomId}/report` and `/users/{userId}/report`.

use wardroom_testkit::{Actor, Config, json, unique, v3};

use crate::{server_with, ward};

#[test]
fn members_report_events_they_see() {
    let (alice, bob, eve) = (ward().user("alice"), ward().user("bob"), ward().user("eve"));
    let room = alice.create_public_room(&[&bob]);
    let event = alice.say(&room, "bad words");
    let path = |event: &str| v3(&["rooms", &room, "report", event]);
    for body in [json!({ "reason": "rude" }), json!({}), json!({ "score": -100, "reason": "" }), json!({ "x": 1 })] {
        assert_eq!(bob.post(path(&event), body).ok(), json!({}));
    }
    let long = "x".repeat(2_001);
    bob.post(path(&event), json!({ "reason": long })).refused(400, "M_INVALID_PARAM");
    bob.post(path(&event), json!({ "reason": 5 })).refused(400, "M_BAD_JSON");
    bob.post(path(&event), json!({ "score": "bad" })).refused(400, "M_BAD_JSON");
    bob.post(path(&event), json!({ "score": 100 })).refused(400, "M_INVALID_PARAM");
    bob.anonymous().post(path(&event), json!({})).refused(401, "M_MISSING_TOKEN");

    // Not in the room, no such event, an event of another room, no such room: all the same.
    let refusal = eve.post(path(&event), json!({})).refused(404, "M_NOT_FOUND");
    let other = bob.create_room(json!({}));
    let elsewhere = bob.say(&other, "elsewhere");
    assert_eq!(bob.post(path(&elsewhere), json!({})).refused(404, "M_NOT_FOUND"), refusal);
    assert_eq!(bob.post(path("$unknown"), json!({})).refused(404, "M_NOT_FOUND"), refusal);
    let nowhere = v3(&["rooms", "!nowhere:hospital-a.example", "report", &event]);
    assert_eq!(bob.post(nowhere, json!({})).refused(404, "M_NOT_FOUND"), refusal);
    bob.leave(&room);
    bob.post(path(&event), json!({})).refused(404, "M_NOT_FOUND");
}

#[test]
fn rooms_and_users_are_reported_by_anybody_and_nobody_learns_whether_they_exist() {
    let (alice, eve) = (ward().user("alice"), ward().user("eve"));
    let room = alice.create_room(json!({}));
    let nowhere = format!("!{}:{}", unique("nowhere"), ward().name());
    for room in [&room, &nowhere] {
        assert_eq!(eve.post(v3(&["rooms", room, "report"]), json!({ "reason": "noise" })).ok(), json!({}));
    }
    for user in [alice.id.as_str(), "@nobody:hospital-a.example", "@nobody:b.example"] {
        let path = || v3(&["users", user, "report"]);
        assert_eq!(eve.post(path(), json!({ "reason": "" })).ok(), json!({}));
        eve.post(path(), json!({ "reason": 5 })).refused(400, "M_BAD_JSON");
        eve.post(path(), json!({})).refused(400, "M_BAD_JSON");
        eve.post(path(), json!({ "reason": "x".repeat(2_001) })).refused(400, "M_INVALID_PARAM");
    }
    eve.post(v3(&["rooms", &room, "report"]), json!({ "reason": "x".repeat(2_001) })).refused(400, "M_INVALID_PARAM");
    eve.post(v3(&["users", "alice", "report"]), json!({ "reason": "" })).refused(400, "M_INVALID_PARAM");
    eve.anonymous().post(v3(&["users", &alice.id, "report"]), json!({ "reason": "" })).refused(401, "M_MISSING_TOKEN");
}

#[test]
fn a_flood_of_reports_is_slowed_down_and_the_log_holds_none_of_them() {
    let server = server_with(Config::default().unset("rate_limits.enabled"));
    let eve = server.user("eve");
    let room = eve.create_room(json!({}));
    let secret = unique("secretword");
    let report = || eve.post(v3(&["rooms", &room, "report"]), json!({ "reason": secret }));
    let limited = (0..500).map(|_| report()).find(|answer| answer.status != 200).expect("a limit");
    limited.refused(429, "M_LIMIT_EXCEEDED");
    let log = server.log();
    assert!(log.contains("was reported"), "{log}");
    for told in [&*secret, &*room, &*eve.id, &*eve.localpart] {
        assert!(!log.contains(told), "the log has {told}");
    }
}
