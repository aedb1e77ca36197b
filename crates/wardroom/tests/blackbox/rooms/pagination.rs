//! `GET /rooms/{roomId}/messages`.

use wardroom_testkit::{Actor, User, bodies, event_ids, events, json, v3};

use crate::ward;

const MESSAGES: usize = 35;

fn long_room(alice: &User) -> String {
    let room = alice.create_public_room(&[]);
    for n in 0..MESSAGES {
        alice.say(&room, &n.to_string());
    }
    room
}

#[test]
fn both_directions_give_the_same_history() {
    let alice = ward().user("alice");
    let room = long_room(&alice);
    for limit in ["1", "7", "100"] {
        for dir in ["b", "f"] {
            let (mut walked, mut from) = (Vec::new(), None::<String>);
            loop {
                let page = alice.try_messages(&room, dir, from.as_deref(), limit).ok();
                assert!(events(&page["chunk"]).len() <= limit.parse().unwrap(), "{page}");
                if let Some(from) = &from {
                    assert_eq!(page["start"], from.as_str());
                }
                walked.extend(events(&page["chunk"]).iter().cloned());
                match page["end"].as_str() {
                    Some(end) => from = Some(end.to_owned()),
                    None => break,
                }
                assert!(walked.len() < 10 * MESSAGES, "no end: {page}");
            }
            if dir == "b" {
                walked.reverse();
            }
            assert_eq!(walked[0]["type"], "m.room.create", "{dir} by {limit}");
            assert_eq!(bodies(&walked), (0..MESSAGES).map(|n| n.to_string()).collect::<Vec<_>>(), "{dir} by {limit}");
        }
    }
}

#[test]
fn tokens_of_sync_and_pages_fit_together() {
    let alice = ward().user("alice");
    let room = long_room(&alice);
    let sync = alice.try_sync(None, std::time::Duration::ZERO, Some(r#"{"room":{"timeline":{"limit":5}}}"#)).ok();
    let timeline = &sync["rooms"]["join"][&room]["timeline"];
    assert_eq!(timeline["limited"], true);
    assert_eq!(bodies(events(&timeline["events"])), ["30", "31", "32", "33", "34"]);
    let older = alice.try_messages(&room, "b", timeline["prev_batch"].as_str(), "5").ok();
    assert_eq!(bodies(events(&older["chunk"])), ["29", "28", "27", "26", "25"]);
    // Forward from where a page ended leads back to where it started.
    let newer = alice.try_messages(&room, "f", older["end"].as_str(), "5").ok();
    assert_eq!(bodies(events(&newer["chunk"])), ["25", "26", "27", "28", "29"]);

    let next_batch = sync["next_batch"].as_str().unwrap();
    alice.say(&room, "new");
    let after = alice.try_messages(&room, "f", Some(next_batch), "5").ok();
    assert_eq!(bodies(events(&after["chunk"])), ["new"]);
    let until = v3(&["rooms", &room, "messages"]).query("dir", "b").query("limit", "100").query("to", next_batch);
    assert_eq!(bodies(events(&alice.get(until).ok()["chunk"])), ["new"]);
}

#[test]
fn new_messages_do_not_shift_a_walk_back() {
    let alice = ward().user("alice");
    let room = long_room(&alice);
    let first = alice.try_messages(&room, "b", None, "10").ok();
    for n in 0..7 {
        alice.say(&room, &format!("late {n}"));
    }
    let second = alice.try_messages(&room, "b", first["end"].as_str(), "10").ok();
    assert_eq!(bodies(events(&second["chunk"])), (15..25).rev().map(|n| n.to_string()).collect::<Vec<_>>());
}

#[test]
fn the_limit_defaults_to_ten_and_is_capped() {
    let alice = ward().user("alice");
    let room = long_room(&alice);
    let page = alice.get(v3(&["rooms", &room, "messages"]).query("dir", "b")).ok();
    assert_eq!(events(&page["chunk"]).len(), 10);
    let huge = alice.try_messages(&room, "b", None, "1000000").ok();
    assert_eq!(bodies(events(&huge["chunk"])).len(), MESSAGES);
}

#[test]
fn a_filter_selects_events() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_public_room(&[&bob]);
    alice.say(&room, "from alice");
    bob.say(&room, "from bob");
    alice.try_send(&room, "example.note", "filter-1", json!({ "url": "mxc://x/y" })).ok();
    let with = |filter: wardroom_testkit::Value| {
        let target = v3(&["rooms", &room, "messages"]).query("dir", "b").query("limit", "100");
        alice.get(target.query("filter", &filter.to_string())).ok()
    };
    assert_eq!(bodies(events(&with(json!({ "types": ["m.room.message"] }))["chunk"])), ["from bob", "from alice"]);
    let senders = with(json!({ "types": ["m.room.*"], "not_types": ["m.room.member"], "senders": [bob.id] }));
    assert_eq!(bodies(events(&senders["chunk"])), ["from bob"]);
    let urls = with(json!({ "contains_url": true }));
    assert_eq!(events(&urls["chunk"]).len(), 1);
    assert_eq!(urls["chunk"][0]["type"], "example.note");
    let lazy = with(json!({ "types": ["m.room.message"], "lazy_load_members": true }));
    let mut members = event_ids(events(&lazy["state"]));
    members.dedup();
    assert_eq!(members.len(), 2, "the senders' member events: {lazy}");
}

#[test]
fn nonsense_is_refused() {
    let alice = ward().user("alice");
    let room = alice.create_room(json!({}));
    alice.try_messages(&room, "sideways", None, "5").refused_with_one_of(400, &["M_INVALID_PARAM"]);
    alice.try_messages(&room, "b", Some("no token"), "5").refused(400, "M_INVALID_PARAM");
    alice.try_messages(&room, "b", None, "many").refused(400, "M_INVALID_PARAM");
    alice.try_messages(&room, "b", None, "-1").refused(400, "M_INVALID_PARAM");
    alice.get(v3(&["rooms", &room, "messages"])).refused_with_one_of(400, &["M_MISSING_PARAM", "M_INVALID_PARAM"]);
    let filter = v3(&["rooms", &room, "messages"]).query("dir", "b").query("filter", "{");
    alice.get(filter).refused_with_one_of(400, &["M_INVALID_PARAM", "M_NOT_JSON", "M_BAD_JSON"]);
    let stranger = ward().user("stranger");
    stranger.try_messages(&room, "b", None, "5").refused(403, "M_FORBIDDEN");
    stranger.try_messages("!unknown:hospital-a.example", "b", None, "5").refused(403, "M_FORBIDDEN");
}
