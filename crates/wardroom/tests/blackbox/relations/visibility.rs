//! Nobody hears of a child that they do not see.

use wardroom_testkit::{Actor, event_ids, events, json, v1};

use super::{bundle, children, edit, relate, reply, threads};
use crate::ward;

#[test]
fn who_left_hears_of_nothing_that_came_after() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_public_room(&[&bob]);
    let root = alice.say(&room, "root");
    let quiet = alice.say(&room, "quiet");
    let changed = edit(&alice, &room, &root, "seen");
    let one = reply(&alice, &room, &root, "seen");
    let reference = relate(&alice, &room, "m.reference", &root, "seen");
    bob.leave(&room);
    edit(&alice, &room, &root, "secret");
    edit(&alice, &room, &quiet, "secret");
    reply(&alice, &room, &root, "secret");
    reply(&alice, &room, &quiet, "secret");
    relate(&alice, &room, "m.reference", &root, "secret");
    let told = bundle(&bob, &room, &root);
    assert_eq!(told["m.replace"]["event_id"], changed.as_str());
    assert_eq!(told["m.thread"]["latest_event"]["event_id"], one.as_str());
    assert_eq!(told["m.thread"]["count"], 1);
    assert_eq!(told["m.reference"]["chunk"], json!([{ "event_id": reference }]));
    assert!(bundle(&bob, &room, &quiet).is_null());
    let page = children(&bob, &room, &[&root], &[]);
    assert_eq!(event_ids(events(&page["chunk"])), [reference, one.clone(), changed]);
    let deep = children(&bob, &room, &[&root, "m.thread"], &[("recurse", "true")]);
    assert_eq!(event_ids(events(&deep["chunk"])), [one]);
    let listed = threads(&bob, &room, &[]);
    assert_eq!(event_ids(events(&listed["chunk"])), [root.clone()]);
    for answer in [told, page, listed, bob.get(v1(&["rooms", &room, "relations", &quiet])).ok()] {
        assert!(!answer.to_string().contains("secret"), "{answer}");
    }
    let of_alice = bundle(&alice, &room, &root);
    assert_eq!(of_alice["m.thread"]["count"], 2);
}

#[test]
fn what_came_while_one_was_away_stays_unseen() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_public_room(&[&bob]);
    alice.set_state(&room, "m.room.history_visibility", "", json!({ "history_visibility": "joined" }));
    let root = alice.say(&room, "root");
    bob.leave(&room);
    edit(&alice, &room, &root, "secret");
    reply(&alice, &room, &root, "secret");
    let hidden = alice.say(&room, "hidden");
    reply(&alice, &room, &hidden, "secret");
    bob.join(&room);
    assert!(bundle(&bob, &room, &root).is_null());
    assert!(events(&children(&bob, &room, &[&root], &[])["chunk"]).is_empty());
    assert!(events(&threads(&bob, &room, &[])["chunk"]).is_empty());
    bob.get(v1(&["rooms", &room, "relations", &hidden])).refused(404, "M_NOT_FOUND");
    let seen = reply(&alice, &room, &root, "seen");
    let thread = bundle(&bob, &room, &root)["m.thread"].clone();
    assert_eq!(thread["latest_event"]["event_id"], seen.as_str());
    let listed = threads(&bob, &room, &[]);
    assert_eq!(event_ids(events(&listed["chunk"])), [root]);
}
