//! Limited timelines and `prev_batch`.

use std::time::Duration;

use wardroom_testkit::{Actor, bodies, event_ids, events, find_event, joined, json, timeline, v3};

use crate::ward;

#[test]
fn a_gap_is_told_filled_and_has_the_state_of_its_end() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_public_room(&[&bob]);
    let filter = json!({ "room": { "timeline": { "limit": 5 } } });
    let mut sync = wardroom_testkit::Follower::start_filtered(&bob, Some(&filter));
    let mut sent = vec![alice.say(&room, "first")];
    alice.set_state(&room, "m.room.topic", "", json!({ "topic": "in the gap" }));
    sent.extend((0..20).map(|n| alice.say(&room, &n.to_string())));

    let answer = sync.now();
    let shown = joined(&answer, &room);
    assert_eq!(shown["timeline"]["limited"], true, "{shown}");
    assert_eq!(event_ids(timeline(&answer, &room)), sent[sent.len() - 5..]);
    let topic =
        find_event(events(&shown["state"]["events"]), "m.room.topic", Some("")).expect("state changed in the gap");
    assert_eq!(topic["content"]["topic"], "in the gap");
    assert!(
        find_event(events(&shown["state"]["events"]), "m.room.create", Some("")).is_none(),
        "only what changed: {shown}"
    );

    let mut older = bob.try_messages(&room, "b", shown["timeline"]["prev_batch"].as_str(), "17").ok();
    let mut said = bodies(events(&older["chunk"]));
    said.reverse();
    assert_eq!(said[0], "first");
    said.extend(bodies(timeline(&answer, &room)));
    assert_eq!(said.len(), 21);
    older = bob.try_messages(&room, "f", shown["timeline"]["prev_batch"].as_str(), "5").ok();
    assert_eq!(event_ids(events(&older["chunk"])), sent[sent.len() - 5..], "forward from prev_batch is the timeline");
}

#[test]
fn exactly_the_limit_is_no_gap() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_public_room(&[&bob]);
    let filter = json!({ "room": { "timeline": { "limit": 4 } } });
    let mut sync = wardroom_testkit::Follower::start_filtered(&bob, Some(&filter));
    for (messages, limited) in [(4_usize, false), (5, true), (1, false)] {
        let sent: Vec<String> = (0..messages).map(|n| alice.say(&room, &n.to_string())).collect();
        let answer = sync.now();
        assert_eq!(joined(&answer, &room)["timeline"]["limited"] == true, limited, "{messages} messages: {answer}");
        assert_eq!(event_ids(timeline(&answer, &room)), sent[messages.saturating_sub(4)..]);
    }
}

#[test]
fn a_timeline_limit_of_zero_or_one_works() {
    let alice = ward().user("alice");
    let room = alice.create_room(json!({ "name": "Ward 7" }));
    alice.say(&room, "hello");
    for (limit, shown) in [(0, &[][..]), (1, &["hello"][..])] {
        let filter = json!({ "room": { "timeline": { "limit": limit } } }).to_string();
        let sync = alice.try_sync(None, Duration::ZERO, Some(&filter)).ok();
        assert_eq!(bodies(timeline(&sync, &room)), shown, "limit {limit}");
        // Whether a timeline of none is limited the specification leaves open.
        assert!(limit == 0 || joined(&sync, &room)["timeline"]["limited"] == true, "{sync}");
        let state = events(&joined(&sync, &room)["state"]["events"]);
        assert!(find_event(state, "m.room.name", Some("")).is_some(), "limit {limit}: {sync}");
    }
}

#[test]
fn a_client_may_ask_for_the_state_after_the_timeline() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_public_room(&[&bob]);
    let sync = |since: Option<&str>| {
        let target =
            v3(&["sync"]).query("use_state_after", "true").query("filter", r#"{"room":{"timeline":{"limit":3}}}"#);
        bob.get(since.map_or(target.clone(), |since| target.clone().query("since", since))).ok()
    };
    let initial = sync(None);
    let first = joined(&initial, &room);
    assert!(first.get("state").is_none(), "{first}");
    let own = find_event(events(&first["state_after"]["events"]), "m.room.member", Some(&bob.id));
    assert_eq!(own.expect("a membership of the timeline")["content"]["membership"], "join");

    alice.set_state(&room, "m.room.topic", "", json!({ "topic": "in the gap" }));
    (0..2).for_each(|n| drop(alice.say(&room, &n.to_string())));
    alice.set_state(&room, "m.room.name", "", json!({ "name": "in the timeline" }));
    let next = sync(initial["next_batch"].as_str());
    let told = joined(&next, &room);
    let after = events(&told["state_after"]["events"]);
    assert_eq!(
        (timeline(&next, &room).len(), told["timeline"]["limited"] == true, after.len()),
        (3, true, 2),
        "{told}"
    );
    assert_eq!(find_event(after, "m.room.topic", Some("")).expect("of the gap")["content"]["topic"], "in the gap");
    assert_eq!(
        find_event(after, "m.room.name", Some("")).expect("of the timeline")["content"]["name"],
        "in the timeline"
    );

    alice.say(&room, "nothing new");
    let last = sync(next["next_batch"].as_str());
    assert!(events(&joined(&last, &room)["state_after"]["events"]).is_empty(), "{last}");
}

#[test]
fn the_state_that_members_do_not_see_come_is_in_the_timeline() {
    let (alice, bob, eve) = (ward().user("alice"), ward().user("bob"), ward().user("eve"));
    let room = alice.create_public_room(&[&bob]);
    alice.set_state(&room, "m.room.history_visibility", "", json!({ "history_visibility": "joined" }));
    let mut sync = ward().follow(&bob);
    bob.leave(&room);
    alice.set_state(&room, "m.room.topic", "", json!({ "topic": "first" }));
    eve.join(&room);
    alice.say(&room, "not for who is away");
    alice.set_state(&room, "m.room.topic", "", json!({ "topic": "second" }));
    bob.join(&room);
    let answer = sync.now();
    let told = timeline(&answer, &room);
    assert_eq!(find_event(told, "m.room.member", Some(&eve.id)).unwrap()["content"]["membership"], "join");
    let topics: Vec<_> = told.iter().filter(|event| event["type"] == "m.room.topic").collect();
    assert_eq!(topics.len(), 1, "what was replaced meanwhile stays unseen: {answer}");
    assert_eq!(topics[0]["content"]["topic"], "second");
    assert_eq!(told.last().unwrap()["state_key"], bob.id.as_str(), "in order: {answer}");
    assert!(bodies(told).is_empty(), "{answer}");
}
