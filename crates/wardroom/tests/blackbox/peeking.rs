//! The endpoints from before `/sync`.

use wardroom_testkit::{Actor, Target, User, Value, bodies, events, find_event, has_event, json, v3, wait_until};

use crate::{SOON, ward};

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

/// Follows a stream until it has told an event that fits.
#[track_caller]
fn until(user: &User, mut target: impl FnMut(&str) -> Target, from: &str, fits: impl Fn(&Value) -> bool) -> Value {
    let mut from = from.to_owned();
    wait_until("the event", SOON, || {
        let answer = user.get(target(&from)).ok();
        from = text(&answer["end"]).to_owned();
        events(&answer["chunk"]).iter().find(|event| fits(event)).cloned()
    })
}

#[test]
fn the_stream_tells_account_data() {
    let alice = ward().user("alice");
    let room = alice.create_room(json!({}));
    let now = alice.get(v3(&["events"]).query("timeout", "0")).ok();
    alice.put(v3(&["user", &alice.id, "account_data", "org.example.pet"]), json!({ "pet": "cat" })).ok();
    alice.put(v3(&["user", &alice.id, "rooms", &room, "tags", "m.favourite"]), json!({ "order": 0.5 })).ok();
    let target = |from: &str| v3(&["events"]).query("from", from).query("timeout", "1000");
    let whole = until(&alice, target, text(&now["end"]), |event| event["type"] == "org.example.pet");
    assert_eq!((&whole["content"], whole.get("room_id")), (&json!({ "pet": "cat" }), None));
    let tags = until(&alice, target, text(&now["end"]), |event| event["type"] == "m.tag");
    assert_eq!((&tags["room_id"], &tags["content"]["tags"]["m.favourite"]["order"]), (&json!(room), &json!(0.5)));

    let whole = alice.get(v3(&["initialSync"])).ok();
    let types: Vec<&Value> = events(&whole["account_data"]).iter().map(|datum| &datum["type"]).collect();
    assert_eq!(types, ["org.example.pet"], "push rules have an endpoint of their own");
}

#[test]
fn the_stream_catches_up_with_more_than_a_sync_tells() {
    let alice = ward().user("alice");
    let room = alice.create_room(json!({}));
    let now = alice.get(v3(&["events"]).query("timeout", "0")).ok();
    let said: Vec<String> = (0..30).map(|number| alice.say(&room, &number.to_string())).collect();
    let answer = stream(&alice, text(&now["end"]));
    let told = events(&answer["chunk"]).iter().filter(|event| event["type"] == "m.room.message");
    let told: Vec<&Value> = told.collect();
    assert_eq!(told.iter().map(|event| text(&event["event_id"])).collect::<Vec<_>>(), said);
    assert!(told.iter().all(|event| event["user_id"] == alice.id.as_str()));
}

#[test]
fn who_peeks_hears_who_types_and_reads() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_public_room(&[]);
    alice.set_state(&room, "m.room.history_visibility", "", json!({ "history_visibility": "world_readable" }));
    let said = alice.say(&room, "hello");
    let target = |from: &str| {
        let target = v3(&["events"]).query("room_id", &room).query("timeout", "1000");
        if from.is_empty() { target } else { target.query("from", from) }
    };
    let now = bob.get(v3(&["events"]).query("room_id", &room).query("timeout", "0")).ok();
    alice.post(v3(&["rooms", &room, "receipt", "m.read", &said]), json!({})).ok();
    let read = until(&bob, target, text(&now["end"]), |event| event["type"] == "m.receipt");
    assert!(!read["content"][&said]["m.read"][&alice.id].is_null() && read["room_id"] == room.as_str(), "{read}");
    alice.put(v3(&["rooms", &room, "typing", &alice.id]), json!({ "typing": true, "timeout": 30_000 })).ok();
    let typing = until(&bob, target, text(&now["end"]), |event| event["type"] == "m.typing");
    assert_eq!((&typing["room_id"], &typing["content"]["user_ids"]), (&json!(room), &json!([alice.id])));
    let private = alice.say(&room, "again");
    let now = bob.get(v3(&["events"]).query("room_id", &room).query("timeout", "0")).ok();
    alice.post(v3(&["rooms", &room, "receipt", "m.read.private", &private]), json!({})).ok();
    let later = alice.say(&room, "later");
    let mut seen = Vec::new();
    let mut from = text(&now["end"]).to_owned();
    wait_until("the message behind the receipt", SOON, || {
        let answer = bob.get(target(&from)).ok();
        from = text(&answer["end"]).to_owned();
        seen.extend(events(&answer["chunk"]).iter().cloned());
        has_event(&seen, &later).then_some(())
    });
    assert!(!json!(seen).to_string().contains("m.read.private"), "{seen:?}");
}

#[test]
fn a_rooms_initial_sync_tells_how_members_are_until_one_leaves() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_public_room(&[&bob]);
    let said = alice.say(&room, "hello");
    alice.post(v3(&["rooms", &room, "receipt", "m.read", &said]), json!({})).ok();
    let target = || v3(&["rooms", &room, "initialSync"]);
    let told = bob.get(target()).ok();
    let presence = events(&told["presence"]);
    let of_alice: Vec<&Value> =
        presence.iter().filter(|event| event["content"]["user_id"] == alice.id.as_str()).collect();
    assert_eq!(of_alice.len(), 1, "{told}");
    assert_eq!(of_alice[0]["content"]["presence"], "offline");
    assert!(events(&told["state"]).iter().all(|event| event["user_id"] == event["sender"]), "{told}");
    bob.leave(&room);
    let told = bob.get(target()).ok();
    assert_eq!((&told["presence"], &told["receipts"]), (&json!([]), &json!([])), "{told}");
}
