//! `/rooms/{roomId}/state`.

use wardroom_testkit::{Actor, encode, events, find_event, json, raw, v3};

use crate::ward;

#[test]
fn state_is_set_replaced_and_read_back() {
    let alice = ward().user("alice");
    let room = alice.create_room(json!({}));
    let first = alice.set_state(&room, "example.bed", "12", json!({ "patient": "A" }));
    let second = alice.set_state(&room, "example.bed", "12", json!({ "patient": "B" }));
    assert_ne!(first, second);
    alice.set_state(&room, "example.bed", "13", json!({ "patient": "C" }));
    assert_eq!(alice.state(&room, "example.bed", "12"), json!({ "patient": "B" }));
    assert_eq!(alice.state(&room, "example.bed", "13"), json!({ "patient": "C" }));
    alice.try_state(&room, "example.bed", "").refused(404, "M_NOT_FOUND");
    alice.try_state(&room, "example.none", "").refused(404, "M_NOT_FOUND");

    let all = alice.get(v3(&["rooms", &room, "state"])).ok();
    let beds: Vec<_> = events(&all).iter().filter(|event| event["type"] == "example.bed").collect();
    assert_eq!(beds.len(), 2, "{all}");
    let replaced = find_event(events(&all), "example.bed", Some("12")).unwrap();
    assert_eq!(replaced["event_id"], second.as_str());
    assert_eq!(replaced["unsigned"]["replaces_state"], first.as_str(), "{replaced}");
}

#[test]
fn the_empty_state_key_needs_no_slash() {
    let alice = ward().user("alice");
    let room = alice.create_room(json!({}));
    let base = format!("/_matrix/client/v3/rooms/{}/state/m.room.topic", encode(&room));
    for (n, path) in [base.clone(), format!("{base}/")].iter().enumerate() {
        alice.put(raw(path), json!({ "topic": n.to_string() })).ok();
        for read in [&base, &format!("{base}/")] {
            assert_eq!(alice.get(raw(read)).ok()["topic"], n.to_string());
        }
    }
    let event = alice.get(raw(&base).query("format", "event")).ok();
    assert_eq!((&event["type"], &event["state_key"]), (&json!("m.room.topic"), &json!("")));
    assert_eq!(event["content"]["topic"], "1");
}

#[test]
fn keys_and_types_of_any_characters_survive_the_path() {
    let alice = ward().user("alice");
    let room = alice.create_room(json!({}));
    for key in ["with space", "a/b", "ü%2Fü", "?&#", "💉"] {
        alice.set_state(&room, "example.odd/type", key, json!({ "key": key }));
        assert_eq!(alice.state(&room, "example.odd/type", key), json!({ "key": key }));
    }
}

#[test]
fn only_members_read_state() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_room(json!({ "name": "Private" }));
    bob.get(v3(&["rooms", &room, "state"])).refused(403, "M_FORBIDDEN");
    bob.try_state(&room, "m.room.name", "").refused(403, "M_FORBIDDEN");
    bob.try_state(&room, "example.none", "").refused(403, "M_FORBIDDEN");
    alice.invite(&room, &bob);
    bob.try_state(&room, "m.room.name", "").refused(403, "M_FORBIDDEN");
    bob.try_set_state(&room, "m.room.name", "", json!({ "name": "Mine" })).refused(403, "M_FORBIDDEN");
    assert_eq!(alice.state(&room, "m.room.name", "")["name"], "Private");
}

#[test]
fn who_left_reads_the_state_of_that_time() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_room(json!({ "preset": "public_chat", "topic": "before" }));
    bob.join(&room);
    bob.leave(&room);
    alice.set_state(&room, "m.room.topic", "", json!({ "topic": "after" }));
    assert_eq!(bob.state(&room, "m.room.topic", "")["topic"], "before");
    let all = bob.get(v3(&["rooms", &room, "state"])).ok();
    assert_eq!(find_event(events(&all), "m.room.topic", Some("")).unwrap()["content"]["topic"], "before");
    assert_eq!(alice.state(&room, "m.room.topic", "")["topic"], "after");
}

#[test]
fn keys_that_belong_to_others_are_refused() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_room(json!({
        "preset": "public_chat", "power_level_content_override": { "users": { &bob.id: 50 } },
    }));
    bob.join(&room);
    // Auth rule: a state key that starts with @ must be the sender's own id.
    bob.try_set_state(&room, "example.own", &alice.id, json!({})).refused(403, "M_FORBIDDEN");
    bob.try_set_state(&room, "example.own", &bob.id, json!({})).ok();
    bob.try_set_state(&room, "m.room.create", "", json!({})).refused_with_one_of(403, &["M_FORBIDDEN"]);
}
