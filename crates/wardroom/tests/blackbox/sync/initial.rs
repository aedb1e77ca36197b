//! The first sync of a device.

use std::time::Duration;

use wardroom_testkit::{Actor, bodies, event_ids, events, find_event, joined, json, same_set, timeline, v3};

use crate::ward;

#[test]
fn a_new_user_has_an_empty_account_with_push_rules() {
    let alice = ward().user("alice");
    let sync = alice.initial_sync();
    assert!(sync["next_batch"].is_string(), "{sync}");
    assert!(sync["rooms"]["join"].as_object().is_none_or(|rooms| rooms.is_empty()), "{sync}");
    let rules = find_event(events(&sync["account_data"]["events"]), "m.push_rules", None).expect("push rules");
    assert!(rules["content"]["global"]["override"].is_array(), "{rules}");
    assert_eq!(rules["content"], alice.get(v3(&["pushrules", ""])).ok());
}

#[test]
fn a_joined_room_comes_with_state_and_timeline() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_room(json!({ "preset": "public_chat", "name": "Ward 7", "topic": "Handover" }));
    bob.join(&room);
    for n in 0..25 {
        bob.say(&room, &n.to_string());
    }
    let sync = alice.initial_sync();
    let shown = joined(&sync, &room);
    let (state, timeline) = (events(&shown["state"]["events"]), timeline(&sync, &room));
    assert_eq!(shown["timeline"]["limited"], true);
    assert!(shown["timeline"]["prev_batch"].is_string(), "{shown}");
    let said = bodies(timeline);
    assert!(!said.is_empty() && said.last().unwrap() == "24", "{said:?}");
    for (event_type, key) in
        [("m.room.create", ""), ("m.room.name", ""), ("m.room.topic", ""), ("m.room.power_levels", "")]
    {
        assert!(find_event(state, event_type, Some(key)).is_some(), "{event_type} is missing from {state:?}");
    }
    for member in [&alice, &bob] {
        assert!(find_event(state, "m.room.member", Some(&member.id)).is_some(), "{} is missing", member.id);
    }
    let state_ids = event_ids(state);
    assert!(event_ids(timeline).iter().all(|id| !state_ids.contains(id)), "state and timeline do not overlap");
    for event in state.iter().chain(timeline) {
        assert!(event.get("room_id").is_none(), "sync groups by room: {event}");
        assert!(
            event["event_id"].is_string() && event["origin_server_ts"].is_u64() && event["sender"].is_string(),
            "{event}"
        );
    }
    assert_eq!(shown["summary"]["m.joined_member_count"], 2, "{shown}");
    assert_eq!(shown["summary"]["m.invited_member_count"].as_u64().unwrap_or(0), 0, "{shown}");
}

#[test]
fn a_short_room_is_whole() {
    let alice = ward().user("alice");
    let room = alice.create_room(json!({}));
    alice.say(&room, "hello");
    let sync = alice.try_sync(None, Duration::ZERO, Some(r#"{"room":{"timeline":{"limit":50}}}"#)).ok();
    let shown = joined(&sync, &room);
    assert_eq!(event_ids(timeline(&sync, &room)), event_ids(&alice.history(&room)));
    assert!(events(&shown["state"]["events"]).is_empty(), "all state is in the timeline: {shown}");
    assert_ne!(shown["timeline"]["limited"], true, "{shown}");
}

#[test]
fn rooms_are_sorted_into_their_sections() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let (in_room, invited, left) =
        (alice.create_public_room(&[&bob]), alice.create_room(json!({})), alice.create_public_room(&[&bob]));
    alice.invite(&invited, &bob);
    bob.leave(&left);
    let sync = bob.initial_sync();
    let keys = |section: &str| {
        let map = sync["rooms"][section].as_object().cloned().unwrap_or_default();
        json!(map.keys().collect::<Vec<_>>())
    };
    assert!(same_set(&keys("join"), &[&in_room]), "{sync}");
    assert!(same_set(&keys("invite"), &[&invited]), "{sync}");
    assert!(same_set(&keys("leave"), &[]), "{sync}");
    let all = bob.try_sync(None, Duration::ZERO, Some(r#"{"room":{"include_leave":true}}"#)).ok();
    assert!(all["rooms"]["leave"].get(&left).is_some(), "{all}");
}

#[test]
fn full_state_repeats_the_state_of_every_room() {
    let alice = ward().user("alice");
    let room = alice.create_room(json!({ "name": "Ward 7" }));
    let since = alice.initial_sync()["next_batch"].as_str().unwrap().to_owned();
    let target = v3(&["sync"]).query("since", &since).query("full_state", "true").query("timeout", "60000");
    let answer = alice.get(target);
    assert!(answer.took < Duration::from_secs(30), "full_state does not wait");
    let sync = answer.ok();
    let name =
        find_event(events(&joined(&sync, &room)["state"]["events"]), "m.room.name", Some("")).expect("the state");
    assert_eq!(name["content"]["name"], "Ward 7");
    assert!(timeline(&sync, &room).is_empty(), "nothing new happened: {sync}");
}

#[test]
fn nonsense_is_refused() {
    let alice = ward().user("alice");
    alice.anonymous().get(v3(&["sync"])).refused(401, "M_MISSING_TOKEN");
    for (key, value) in [
        ("since", "no token"),
        ("timeout", "soon"),
        ("full_state", "maybe"),
        ("set_presence", "absent"),
        ("filter", "no-such-filter"),
        ("filter", "{\"room\":7}"),
        ("filter", "{"),
    ] {
        let answer = alice.get(v3(&["sync"]).query(key, value));
        assert_eq!(answer.status, 400, "{key}={value}: {}", answer.story());
        answer.refused_with_one_of(400, &["M_INVALID_PARAM", "M_BAD_JSON", "M_NOT_JSON", "M_UNKNOWN", "M_UNKNOWN_POS"]);
    }
}
