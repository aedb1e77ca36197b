//! `/publicRooms`: totals, both ways through the pages, join rules, the directories of others.

use wardroom_testkit::{Actor, Config, Value, json, v3};

use super::room_ids;
use crate::server_with;

#[test]
fn pages_lead_forth_and_back_with_totals() {
    let server = server_with(Config::default());
    let alice = server.user("alice");
    let rooms: Vec<String> =
        (0..5).map(|n| alice.create_room(json!({ "visibility": "public", "name": format!("Room {n}") }))).collect();
    let ask = |since: Option<&Value>| {
        let target = v3(&["publicRooms"]).query("limit", "2");
        let target = since.iter().fold(target, |target, since| target.query("since", since.as_str().unwrap()));
        let page = alice.anonymous().get(target).ok();
        assert_eq!(page["total_room_count_estimate"], 5);
        page
    };
    let first = ask(None);
    let second = ask(Some(&first["next_batch"]));
    let third = ask(Some(&second["next_batch"]));
    let ids = |page: &Value| room_ids(&page["chunk"]).into_iter().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!([ids(&first), ids(&second), ids(&third)].concat(), rooms);
    assert!(first.get("prev_batch").is_none() && third.get("next_batch").is_none());
    let back = ask(Some(&third["prev_batch"]));
    assert_eq!(ids(&back), ids(&second));
    assert_eq!(ids(&ask(Some(&back["prev_batch"]))), ids(&first));
    let all = alice.post(v3(&["publicRooms"]), json!({})).ok();
    assert_eq!(ids(&all), rooms);

    let server_name = server.name();
    assert_eq!(alice.get(v3(&["publicRooms"]).query("server", server_name)).ok(), all);
    alice.post(v3(&["publicRooms"]).query("server", "b.invalid"), json!({})).refused(502, "M_UNKNOWN");
    for wrong in [json!({ "limit": -1 }), json!({ "limit": "2" }), json!({ "filter": 5 }), json!({ "since": 5 })] {
        alice.post(v3(&["publicRooms"]), wrong).refused(400, "M_BAD_JSON");
    }
    alice.post(v3(&["publicRooms"]), json!({ "since": "junk" })).refused(400, "M_INVALID_PARAM");
    alice.anonymous().post(v3(&["publicRooms"]), json!({})).refused(401, "M_MISSING_TOKEN");
}

#[test]
fn the_directory_says_how_to_come_in() {
    let server = server_with(Config::default());
    let alice = server.user("alice");
    for rule in ["public", "knock", "invite"] {
        let rules = json!({ "type": "m.room.join_rules", "content": { "join_rule": rule } });
        let body = json!({ "visibility": "public", "name": rule, "initial_state": [rules] });
        alice.create_room(body);
    }
    let answer = alice.get(v3(&["publicRooms"])).ok();
    let listed = answer["chunk"].as_array().unwrap();
    assert_eq!(listed.len(), 3);
    for room in listed {
        assert_eq!(room.get("join_rule").unwrap_or(&json!("public")), &room["name"], "public is the default");
    }
}
