//! The endpoints from before `/sync`.

use wardroom_testkit::{Actor, Target, User, Value, bodies, events, find_event, has_event, json, v3};

use crate::ward;

fn stream(user: &User, from: &str) -> Value {
    user.get(v3(&["events"]).query("from", from).query("timeout", "20000")).ok()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("expected a text, got {value}"))
}

#[test]
fn an_initial_sync_tells_of_rooms_and_people() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_room(json!({ "preset": "public_chat", "visibility": "public", "name": "Ward 7" }));
    alice.say(&room, "first");
    alice.say(&room, "second");
    let invited = bob.create_room(json!({ "invite": [alice.id] }));
    let whole = alice.get(v3(&["initialSync"]).query("limit", "1")).ok();
    let rooms = events(&whole["rooms"]);
    let told = rooms.iter().find(|told| told["room_id"] == room.as_str()).expect("the room");
    assert_eq!((&told["membership"], &told["visibility"]), (&json!("join"), &json!("public")));
    assert_eq!(bodies(events(&told["messages"]["chunk"])), ["second"]);
    assert_eq!(find_event(events(&told["state"]), "m.room.name", Some("")).unwrap()["content"]["name"], "Ward 7");
    let told = rooms.iter().find(|told| told["room_id"] == invited.as_str()).expect("the invitation");
    assert_eq!((&told["membership"], &told["inviter"]), (&json!("invite"), &json!(bob.id)));
    let presence = events(&whole["presence"]);
    assert!(presence.iter().any(|event| event["content"]["user_id"] == alice.id.as_str()), "{presence:?}");
    // Older messages are where the chunk starts.
    let start = text(&rooms.iter().find(|told| told["room_id"] == room.as_str()).unwrap()["messages"]["start"]);
    assert_eq!(bodies(events(&alice.try_messages(&room, "b", Some(start), "1").ok()["chunk"])), ["first"]);

    let said = alice.say(&room, "third");
    let news = stream(&alice, text(&whole["end"]));
    assert!(has_event(events(&news["chunk"]), &said), "{news}");
}

#[test]
fn a_rooms_initial_sync_is_for_who_may_read_it() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_public_room(&[]);
    let said = alice.say(&room, "hello");
    alice.post(v3(&["rooms", &room, "receipt", "m.read", &said]), json!({})).ok();
    let target = || v3(&["rooms", &room, "initialSync"]);
    let told = alice.get(target()).ok();
    assert_eq!((&told["room_id"], &told["membership"]), (&json!(room), &json!("join")));
    assert!(has_event(events(&told["messages"]["chunk"]), &said) && !events(&told["state"]).is_empty());
    assert!(!told["receipts"][0]["content"][&said]["m.read"][&alice.id].is_null(), "{}", told["receipts"]);
    bob.get(target()).refused(403, "M_FORBIDDEN");
    alice.set_state(&room, "m.room.history_visibility", "", json!({ "history_visibility": "world_readable" }));
    let peeked = bob.get(target()).ok();
    assert!(peeked.get("membership").is_none(), "{peeked}");
    alice.get(v3(&["rooms", "nonsense", "initialSync"])).refused(400, "M_INVALID_PARAM");
    alice.get(target().query("limit", "many")).refused(400, "M_INVALID_PARAM");
    alice.anonymous().get(target()).refused(401, "M_MISSING_TOKEN");
}

#[test]
fn the_stream_tells_what_happens_and_waits_for_it() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_public_room(&[&bob]);
    let now = alice.get(v3(&["events"]).query("timeout", "0")).ok();
    let mut from = text(&now["end"]).to_owned();
    let said = bob.say(&room, "hello");
    loop {
        let answer = stream(&alice, &from);
        assert_eq!(answer["start"], from.as_str());
        if let Some(event) = events(&answer["chunk"]).iter().find(|event| event["event_id"] == said.as_str()) {
            assert_eq!(event["room_id"], room.as_str());
            break;
        }
        from = text(&answer["end"]).to_owned();
    }
    alice.get(v3(&["events"]).query("from", "nonsense")).refused(400, "M_INVALID_PARAM");
    alice.get(v3(&["events"]).query("timeout", "long")).refused(400, "M_INVALID_PARAM");
}

#[test]
fn rooms_that_all_may_read_can_be_peeked_into() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_public_room(&[]);
    let peek = |from: Option<&str>, timeout: &str| -> Target {
        let target = v3(&["events"]).query("room_id", &room).query("timeout", timeout);
        from.map_or(target.clone(), |from| target.query("from", from))
    };
    bob.get(peek(None, "0")).refused(403, "M_FORBIDDEN");
    alice.set_state(&room, "m.room.history_visibility", "", json!({ "history_visibility": "world_readable" }));
    let now = bob.get(peek(None, "0")).ok();
    assert!(events(&now["chunk"]).is_empty(), "{now}");
    let said = alice.say(&room, "hello");
    let answer = bob.get(peek(Some(text(&now["end"])), "20000")).ok();
    assert!(has_event(events(&answer["chunk"]), &said), "{answer}");
    let quiet = bob.get(peek(Some(text(&answer["end"])), "0")).ok();
    assert!(events(&quiet["chunk"]).is_empty(), "{quiet}");
}

#[test]
fn one_event_is_found_by_its_id() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_public_room(&[]);
    let said = alice.say(&room, "hello");
    let event = alice.get(v3(&["events", &said])).ok();
    assert_eq!((&event["room_id"], &event["content"]["body"]), (&json!(room), &json!("hello")));
    bob.get(v3(&["events", &said])).refused(404, "M_NOT_FOUND");
    alice.get(v3(&["events", "$unknown"])).refused(404, "M_NOT_FOUND");
    alice.get(v3(&["events", "nonsense"])).refused(400, "M_INVALID_PARAM");
}
