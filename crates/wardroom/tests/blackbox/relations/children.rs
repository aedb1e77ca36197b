//! `GET /rooms/{roomId}/relations/{eventId}`.

use wardroom_testkit::{Actor, Target, User, Value, bodies, event_ids, events, json, raw, v1};

use super::{children, edit, react, relate, reply, send};
use crate::ward;

fn ids(page: &Value) -> Vec<String> {
    event_ids(events(&page["chunk"]))
}

/// All pages in one direction.
fn walk(user: &User, room: &str, path: &[&str], query: &[(&str, &str)]) -> Vec<String> {
    let (mut walked, mut from) = (Vec::new(), None::<String>);
    for _ in 0..100 {
        let mut query = query.to_vec();
        query.extend(from.as_deref().map(|from| ("from", from)));
        let page = children(user, room, path, &query);
        walked.extend(ids(&page));
        match page["next_batch"].as_str() {
            Some(next) => from = Some(next.to_owned()),
            None => return walked,
        }
    }
    panic!("no end");
}

#[test]
fn children_are_listed_by_relation_and_type() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_public_room(&[&bob]);
    let root = alice.say(&room, "root");
    let one = reply(&bob, &room, &root, "one");
    let like = react(&bob, &room, &root, "👍");
    let changed = edit(&alice, &room, &root, "changed");
    let two = reply(&alice, &room, &root, "two");
    let sticker = send(
        &bob,
        &room,
        "m.sticker",
        json!({ "body": "s", "m.relates_to": { "rel_type": "m.thread", "event_id": root } }),
    );
    let own = relate(&bob, &room, "example.kind", &root, "own");
    alice.say(&room, "unrelated");
    let of = |path: &[&str]| ids(&children(&bob, &room, path, &[]));
    assert_eq!(of(&[&root]), [&own, &sticker, &two, &changed, &like, &one].map(Clone::clone));
    assert_eq!(of(&[&root, "m.thread"]), [&sticker, &two, &one].map(Clone::clone));
    assert_eq!(of(&[&root, "m.thread", "m.room.message"]), [&*two, &*one]);
    assert_eq!(of(&[&root, "example.kind"]), [own]);
    assert_eq!(of(&[&root, "example.other"]), Vec::<String>::new());
    assert_eq!(of(&[&root, "m.annotation", "m.room.message"]), Vec::<String>::new());
    assert_eq!(of(&[&one]), Vec::<String>::new());
    let old = format!("/_matrix/client/unstable/rooms/{room}/relations/{root}/m.replace/m.room.message");
    assert_eq!(ids(&bob.get(raw(&old)).ok()), [changed]);
    let page = children(&bob, &room, &[&root], &[]);
    assert!(page.get("recursion_depth").is_none() && page.get("next_batch").is_none(), "{page}");
    assert!(page.get("prev_batch").is_none(), "{page}");
    assert_eq!(page["chunk"][0]["room_id"], room);
}

#[test]
fn pages_go_both_ways_and_end() {
    let alice = ward().user("alice");
    let room = alice.create_room(json!({}));
    let root = alice.say(&room, "root");
    let mut sent = Vec::new();
    for n in 0..7 {
        sent.push(reply(&alice, &room, &root, &n.to_string()));
        react(&alice, &room, &root, &n.to_string());
    }
    for limit in ["1", "2", "3", "7", "100"] {
        let forwards = walk(&alice, &room, &[&root, "m.thread"], &[("dir", "f"), ("limit", limit)]);
        assert_eq!(forwards, sent, "limit {limit}");
        let mut backwards = walk(&alice, &room, &[&root, "m.thread"], &[("limit", limit)]);
        backwards.reverse();
        assert_eq!(backwards, sent, "limit {limit}");
        let all = walk(&alice, &room, &[&root], &[("dir", "f"), ("limit", limit)]);
        assert_eq!(all.len(), 14, "limit {limit}");
    }
    let first = children(&alice, &room, &[&root, "m.thread"], &[("limit", "3")]);
    let next = first["next_batch"].as_str().unwrap();
    let second = children(&alice, &room, &[&root, "m.thread"], &[("limit", "3"), ("from", next)]);
    assert_eq!(ids(&second), [&sent[3], &sent[2], &sent[1]].map(Clone::clone));
    let back = second["prev_batch"].as_str().unwrap();
    let again = children(&alice, &room, &[&root, "m.thread"], &[("dir", "f"), ("from", back)]);
    assert_eq!(ids(&again), sent[4..]);
    let between = children(&alice, &room, &[&root, "m.thread"], &[("from", next), ("to", next)]);
    assert!(ids(&between).is_empty());
}

#[test]
fn tokens_of_messages_and_sync_serve_too() {
    let alice = ward().user("alice");
    let room = alice.create_room(json!({}));
    let root = alice.say(&room, "root");
    let old = reply(&alice, &room, &root, "old");
    let sync = alice.initial_sync();
    let token = sync["next_batch"].as_str().unwrap();
    let messages = alice.try_messages(&room, "b", None, "1").ok();
    let start = messages["start"].as_str().unwrap();
    let new = reply(&alice, &room, &root, "new");
    for token in [token, start] {
        let before = children(&alice, &room, &[&root, "m.thread"], &[("from", token)]);
        assert_eq!(ids(&before), [&*old]);
        let after = children(&alice, &room, &[&root, "m.thread"], &[("from", token), ("dir", "f")]);
        assert_eq!(ids(&after), [&*new]);
        let until = children(&alice, &room, &[&root, "m.thread"], &[("to", token)]);
        assert_eq!(ids(&until), [&*new]);
    }
    let page = children(&alice, &room, &[&root], &[("limit", "1")]);
    let next = page["next_batch"].as_str().unwrap();
    let messages = alice.try_messages(&room, "b", Some(next), "1").ok();
    assert_eq!(bodies(events(&messages["chunk"])), ["old"], "their tokens serve for messages");
}

#[test]
fn children_of_children_are_found_where_asked() {
    let alice = ward().user("alice");
    let room = alice.create_room(json!({}));
    let root = alice.say(&room, "root");
    let one = reply(&alice, &room, &root, "one");
    let like = react(&alice, &room, &one, "👍");
    let changed = edit(&alice, &room, &one, "changed");
    let deep = relate(&alice, &room, "m.reference", &changed, "deep");
    let too_deep = relate(&alice, &room, "m.reference", &deep, "too deep");
    let two = reply(&alice, &room, &root, "two");
    let page = children(&alice, &room, &[&root], &[("recurse", "true")]);
    assert_eq!(ids(&page), [&two, &deep, &changed, &like, &one].map(Clone::clone));
    assert_eq!(page["recursion_depth"], 3);
    assert!(!ids(&page).contains(&too_deep));
    let forwards = walk(&alice, &room, &[&root], &[("recurse", "true"), ("dir", "f"), ("limit", "2")]);
    assert_eq!(forwards, [&one, &like, &changed, &deep, &two].map(Clone::clone));
    let threaded = children(&alice, &room, &[&root, "m.thread"], &[("recurse", "true")]);
    assert_eq!(ids(&threaded), [two.clone(), one.clone()], "what is reached through others is left out");
    let direct = children(&alice, &room, &[&root], &[("recurse", "false")]);
    assert_eq!(ids(&direct), [two, one]);
}

#[test]
fn a_redacted_child_is_none_and_a_redacted_parent_keeps_its_children() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_public_room(&[&bob]);
    let root = alice.say(&room, "root");
    let (one, two) = (reply(&bob, &room, &root, "one"), reply(&bob, &room, &root, "two"));
    let like = react(&bob, &room, &root, "👍");
    bob.redact(&room, &two);
    bob.redact(&room, &like);
    assert_eq!(ids(&children(&alice, &room, &[&root], &[])), [&*one]);
    alice.redact(&room, &root);
    assert_eq!(ids(&children(&bob, &room, &[&root], &[])), [one]);
}

#[test]
fn what_is_wrong_is_named() {
    let (alice, stranger) = (ward().user("alice"), ward().user("stranger"));
    let (room, other) = (alice.create_room(json!({})), alice.create_room(json!({})));
    let root = alice.say(&room, "root");
    reply(&alice, &room, &root, "one");
    let target = |path: &[&str]| v1(&[&["rooms", &room, "relations", &root], path].concat());
    let wrong = |target: Target, named: &str| {
        let answer = alice.get(target).refused(400, "M_INVALID_PARAM");
        assert!(answer["error"].as_str().unwrap().contains(named), "{answer}");
    };
    for path in [&[][..], &["m.thread"], &["m.thread", "m.room.message"]] {
        for (key, value) in [
            ("from", "junk"),
            ("to", "t1"),
            ("limit", "x"),
            ("limit", "-1"),
            ("limit", "0"),
            ("dir", "x"),
            ("recurse", "maybe"),
        ] {
            wrong(target(path).query(key, value), key);
        }
        stranger.get(target(path)).refused(404, "M_NOT_FOUND");
        stranger.anonymous().get(target(path)).refused(401, "M_MISSING_TOKEN");
    }
    alice.get(v1(&["rooms", &other, "relations", &root])).refused(404, "M_NOT_FOUND");
    alice.get(v1(&["rooms", &room, "relations", "$nothing"])).refused(404, "M_NOT_FOUND");
    alice.get(v1(&["rooms", &room, "relations", "nothing"])).refused(400, "M_INVALID_PARAM");
    alice.get(v1(&["rooms", "!nowhere:x.example", "relations", &root])).refused(404, "M_NOT_FOUND");
    let many = children(&alice, &room, &[&root], &[("limit", "9007199254740991")]);
    assert_eq!(ids(&many).len(), 1);
}
