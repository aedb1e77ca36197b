//! `GET /rooms/{roomId}/threads`, and receipts in threads.

use wardroom_testkit::{Actor, User, Value, bodies, events, json, raw, v1, v3};

use super::{reply, threads};
use crate::ward;

fn roots(page: &Value) -> Vec<String> {
    bodies(events(&page["chunk"]))
}

#[test]
fn threads_are_listed_by_their_newest_reply() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_public_room(&[&bob]);
    assert!(roots(&threads(&alice, &room, &[])).is_empty());
    let (a, b, c) = (alice.say(&room, "a"), bob.say(&room, "b"), alice.say(&room, "c"));
    alice.say(&room, "no thread");
    reply(&alice, &room, &c, "1");
    reply(&alice, &room, &a, "2");
    let newest = reply(&alice, &room, &b, "3");
    assert_eq!(roots(&threads(&alice, &room, &[])), ["b", "a", "c"]);
    reply(&bob, &room, &c, "4");
    assert_eq!(roots(&threads(&bob, &room, &[])), ["c", "b", "a"]);
    assert_eq!(roots(&threads(&bob, &room, &[("include", "participated")])), ["c", "b"], "b is of bob");
    assert_eq!(roots(&threads(&alice, &room, &[("include", "participated")])), ["c", "b", "a"]);
    alice.redact(&room, &newest);
    assert_eq!(roots(&threads(&alice, &room, &[("include", "all")])), ["c", "a"], "b is no thread any more");
    let old = format!("/_matrix/client/unstable/org.matrix.msc3856/rooms/{room}/threads");
    assert_eq!(roots(&alice.get(raw(&old)).ok()), ["c", "a"]);
    alice.redact(&room, &a);
    let page = threads(&bob, &room, &[]);
    assert_eq!(events(&page["chunk"]).len(), 2, "a redacted root is listed: {page}");
    assert_eq!(page["chunk"][1]["content"], json!({}));
    assert_eq!(page["chunk"][0]["unsigned"]["m.relations"]["m.thread"]["count"], 2, "{page}");
}

#[test]
fn pages_of_threads_end() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_public_room(&[&bob]);
    for n in 0..5 {
        let root = alice.say(&room, &n.to_string());
        reply(if n % 2 == 0 { &alice } else { &bob }, &room, &root, "reply");
    }
    let walk = |user: &User, include: &str, limit: &str| {
        let (mut walked, mut from) = (Vec::new(), None::<String>);
        loop {
            let mut query = vec![("include", include), ("limit", limit)];
            query.extend(from.as_deref().map(|from| ("from", from)));
            let page = threads(user, &room, &query);
            assert!(events(&page["chunk"]).len() <= limit.parse().unwrap(), "{page}");
            walked.extend(roots(&page));
            match page["next_batch"].as_str() {
                Some(next) => from = Some(next.to_owned()),
                None => return walked,
            }
        }
    };
    for limit in ["1", "2", "5", "100"] {
        assert_eq!(walk(&alice, "all", limit), ["4", "3", "2", "1", "0"], "limit {limit}");
        assert_eq!(walk(&bob, "participated", limit), ["3", "1"], "limit {limit}");
    }
}

#[test]
fn what_is_wrong_is_named() {
    let (alice, stranger) = (ward().user("alice"), ward().user("stranger"));
    let room = alice.create_room(json!({ "preset": "private_chat" }));
    let target = || v1(&["rooms", &room, "threads"]);
    for (key, value) in
        [("from", "junk"), ("limit", "0"), ("limit", "x"), ("limit", "-5"), ("include", "some"), ("include", "")]
    {
        let answer = alice.get(target().query(key, value)).refused(400, "M_INVALID_PARAM");
        assert!(answer["error"].as_str().unwrap().contains(key), "{answer}");
    }
    stranger.get(target()).refused(403, "M_FORBIDDEN");
    stranger.get(v1(&["rooms", "!nowhere:x.example", "threads"])).refused(403, "M_FORBIDDEN");
    stranger.anonymous().get(target()).refused(401, "M_MISSING_TOKEN");
    threads(&alice, &room, &[("limit", "9007199254740991")]);
}

#[test]
fn receipts_belong_to_the_thread_of_their_event() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_public_room(&[&bob]);
    let (root, other) = (alice.say(&room, "root"), alice.say(&room, "other"));
    let threaded = reply(&alice, &room, &root, "in the thread");
    let changed = super::edit(&alice, &room, &threaded, "changed");
    let receipt = |event: &str, thread: &str| {
        bob.post(v3(&["rooms", &room, "receipt", "m.read", event]), json!({ "thread_id": thread }))
    };
    receipt(&threaded, "main").refused(400, "M_INVALID_PARAM");
    receipt(&other, &root).refused(400, "M_INVALID_PARAM");
    receipt(&threaded, &other).refused(400, "M_INVALID_PARAM");
    receipt(&threaded, "$nothing").refused(400, "M_INVALID_PARAM");
    receipt(&other, "main").ok();
    receipt(&threaded, &root).ok();
    receipt(&changed, &root).ok();
}
