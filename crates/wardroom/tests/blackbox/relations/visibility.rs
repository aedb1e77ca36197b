//! Nobody hears of a child that they do not see.

use wardroom_testkit::{Actor, event_ids, events, json, timeline, v1, v3};

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
    assert_eq!(event_ids(events(&listed["chunk"])), [&*root]);
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

#[test]
fn of_ignored_users_nothing_is_told() {
    let (alice, bob, carol) = (ward().user("alice"), ward().user("bob"), ward().user("carol"));
    let room = alice.create_public_room(&[&bob, &carol]);
    let (root, of_bob) = (alice.say(&room, "root"), bob.say(&room, "bob's"));
    let one = reply(&carol, &room, &root, "seen");
    reply(&bob, &room, &root, "unwanted");
    relate(&bob, &room, "m.reference", &root, "unwanted");
    edit(&bob, &room, &of_bob, "unwanted");
    reply(&carol, &room, &of_bob, "seen too");
    assert_eq!(bundle(&alice, &room, &root)["m.thread"]["count"], 2);
    let ignored = json!({ "ignored_users": { &bob.id: {} } });
    alice.put(v3(&["user", &alice.id, "account_data", "m.ignored_user_list"]), ignored).ok();
    let told = bundle(&alice, &room, &root);
    assert_eq!(told["m.thread"]["count"], 1, "{told}");
    assert_eq!(told["m.thread"]["latest_event"]["event_id"], one.as_str(), "{told}");
    assert!(told.get("m.reference").is_none(), "{told}");
    let page = children(&alice, &room, &[&root], &[]);
    assert_eq!(event_ids(events(&page["chunk"])), [one]);
    let listed = threads(&alice, &room, &[]);
    assert_eq!(event_ids(events(&listed["chunk"])), [of_bob, root.clone()]);
    assert_eq!(listed["chunk"][0]["content"], json!({}), "a root by an ignored user is redacted: {listed}");
    assert!(!listed.to_string().contains("unwanted"), "{listed}");
    let synced = alice.initial_sync();
    assert!(!timeline(&synced, &room).iter().any(|event| event.to_string().contains("unwanted")), "{synced}");
    assert_eq!(bundle(&carol, &room, &root)["m.thread"]["count"], 2, "to others nothing is missing");
}
