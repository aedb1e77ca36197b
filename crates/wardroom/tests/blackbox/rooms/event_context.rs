//! `GET /rooms/{roomId}/event` and `/context`.

use wardroom_testkit::{Actor, bodies, events, find_event, json, v3};

use crate::ward;

#[test]
fn context_shows_both_sides_and_leads_on() {
    let alice = ward().user("alice");
    let room = alice.create_room(json!({ "topic": "then" }));
    let ids: Vec<String> = (0..11).map(|n| alice.say(&room, &n.to_string())).collect();
    alice.set_state(&room, "m.room.topic", "", json!({ "topic": "now" }));
    let context = alice.get(v3(&["rooms", &room, "context", &ids[5]]).query("limit", "4")).ok();
    assert_eq!(context["event"]["event_id"], ids[5].as_str());
    assert_eq!(bodies(events(&context["events_before"])), ["4", "3"], "newest first");
    assert_eq!(bodies(events(&context["events_after"])), ["6", "7"]);
    let topic = find_event(events(&context["state"]), "m.room.topic", Some("")).expect("the state at the last event");
    assert_eq!(topic["content"]["topic"], "then");

    let older = alice.try_messages(&room, "b", context["start"].as_str(), "2").ok();
    assert_eq!(bodies(events(&older["chunk"])), ["2", "1"]);
    let newer = alice.try_messages(&room, "f", context["end"].as_str(), "2").ok();
    assert_eq!(bodies(events(&newer["chunk"])), ["8", "9"]);
}

#[test]
fn a_limit_of_zero_is_the_event_alone() {
    let alice = ward().user("alice");
    let room = alice.create_room(json!({}));
    let id = alice.say(&room, "alone");
    alice.say(&room, "later");
    let context = alice.get(v3(&["rooms", &room, "context", &id]).query("limit", "0")).ok();
    assert_eq!(context["event"]["content"]["body"], "alone");
    assert!(events(&context["events_before"]).is_empty() && events(&context["events_after"]).is_empty(), "{context}");
}

#[test]
fn an_event_is_found_only_in_its_own_room() {
    let alice = ward().user("alice");
    let (room, other) = (alice.create_room(json!({})), alice.create_room(json!({})));
    let id = alice.say(&room, "here");
    assert_eq!(alice.try_event(&room, &id).ok()["content"]["body"], "here");
    alice.try_event(&other, &id).refused(404, "M_NOT_FOUND");
    alice.get(v3(&["rooms", &other, "context", &id])).refused(404, "M_NOT_FOUND");
    for unknown in ["$unknown", "$unknown:hospital-a.example", "$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
        alice.try_event(&room, unknown).refused(404, "M_NOT_FOUND");
        alice.get(v3(&["rooms", &room, "context", unknown])).refused(404, "M_NOT_FOUND");
    }
    let stranger = ward().user("stranger");
    stranger.try_event(&room, &id).refused(404, "M_NOT_FOUND");
}
