//! Keys in a version.

use wardroom_testkit::{Actor, User, Value, json};

use super::{create, key, keys, state, version};
use crate::ward;

const ROOM: &str = "!room:x";

/// A backup with keys of two rooms.
fn filled() -> (User, String) {
    let alice = ward().user("alice");
    let name = create(&alice);
    let body = json!({ "rooms": {
        ROOM: { "sessions": { "a": key(true, 0, 0), "b/ü": key(false, 3, 1) } },
        "!other": { "sessions": { "a": key(true, 9, 0) } },
        "!empty:x": { "sessions": {} },
    } });
    let answer = alice.put(keys(&name, &[]), body).ok();
    assert_eq!(state(&answer).0, 3);
    (alice, name)
}

#[test]
fn keys_are_stored_and_read_in_all_three_ways() {
    let (alice, name) = filled();
    let answer = alice.put(keys(&name, &[ROOM]), json!({ "sessions": { "c": key(true, 1, 0) } })).ok();
    assert_eq!(state(&answer).0, 4);
    let answer = alice.put(keys(&name, &["!third:x", "d"]), key(true, 2, 0)).ok();
    assert_eq!(state(&answer), state(&alice.get(version(&name)).ok()));
    let in_room = json!({ "a": key(true, 0, 0), "b/ü": key(false, 3, 1), "c": key(true, 1, 0) });
    assert_eq!(alice.get(keys(&name, &[ROOM])).ok(), json!({ "sessions": in_room }));
    let all = json!({ "rooms": {
        ROOM: { "sessions": in_room },
        "!other": { "sessions": { "a": key(true, 9, 0) } },
        "!third:x": { "sessions": { "d": key(true, 2, 0) } },
    } });
    assert_eq!(alice.get(keys(&name, &[])).ok(), all);
    assert_eq!(alice.get(keys(&name, &[ROOM, "b/ü"])).ok(), key(false, 3, 1));
    alice.get(keys(&name, &[ROOM, "z"])).refused(404, "M_NOT_FOUND");
    alice.get(keys(&name, &["!unknown:x", "a"])).refused(404, "M_NOT_FOUND");
    assert_eq!(alice.get(keys(&name, &["!unknown:x"])).ok(), json!({ "sessions": {} }));
    alice.get(keys("bogus", &[ROOM])).refused(404, "M_NOT_FOUND");
}

#[test]
fn the_better_key_stays() {
    let alice = ward().user("alice");
    let name = create(&alice);
    let target = || keys(&name, &[ROOM, "s"]);
    let put = |key: Value| state(&alice.put(target(), key).ok());
    let mut before = put(key(false, 5, 5));
    // Each better than the one before it.
    for better in [key(false, 5, 4), key(false, 4, 9), key(true, 9, 9), key(true, 9, 8), key(true, 8, 8)] {
        let now = put(better.clone());
        assert_eq!(now.0, 1);
        assert_ne!(now.1, before.1, "other keys, another etag");
        assert_eq!(alice.get(target()).ok(), better);
        before = now;
    }
    for worse in [key(true, 8, 8), key(true, 8, 9), key(true, 9, 0), key(false, 0, 0)] {
        assert_eq!(put(worse), before, "nothing changed");
        assert_eq!(alice.get(target()).ok(), key(true, 8, 8));
    }
}

#[test]
fn keys_are_deleted_in_all_three_ways() {
    let (alice, name) = filled();
    let before = state(&alice.get(version(&name)).ok());
    assert_eq!(state(&alice.delete(keys(&name, &[ROOM, "unknown"])).ok()), before, "nothing to delete");
    let now = state(&alice.delete(keys(&name, &[ROOM, "a"])).ok());
    assert_eq!(now.0, 2);
    assert_ne!(now.1, before.1);
    alice.get(keys(&name, &[ROOM, "a"])).refused(404, "M_NOT_FOUND");
    assert_eq!(state(&alice.delete(keys(&name, &[ROOM])).ok()).0, 1);
    assert_eq!(alice.get(keys(&name, &[ROOM])).ok(), json!({ "sessions": {} }));
    assert_eq!(alice.get(keys(&name, &["!other", "a"])).ok(), key(true, 9, 0), "the other room's stays");
    assert_eq!(state(&alice.delete(keys(&name, &[])).ok()).0, 0);
    assert_eq!(alice.get(keys(&name, &[])).ok(), json!({ "rooms": {} }));
    for place in [&[][..], &[ROOM], &[ROOM, "a"]] {
        alice.delete(keys("77", place)).refused(404, "M_NOT_FOUND");
    }
    // A deleted key leaves room for a worse one.
    alice.put(keys(&name, &[ROOM, "a"]), key(false, 99, 9)).ok();
    assert_eq!(state(&alice.get(version(&name)).ok()).0, 1);
}

#[test]
fn many_uploads_at_once_are_all_counted() {
    let alice = ward().user("alice");
    let name = create(&alice);
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let (alice, name) = (&alice, &name);
            scope.spawn(move || {
                for round in 0..10 {
                    let sessions = json!({ "shared": key(true, 1, 0), format!("{writer}-{round}"): key(true, 1, 0) });
                    alice.put(keys(name, &[ROOM]), json!({ "sessions": sessions })).ok();
                }
            });
        }
    });
    assert_eq!(state(&alice.get(version(&name)).ok()).0, 81);
    let all = alice.get(keys(&name, &[ROOM])).ok();
    assert_eq!(all["sessions"].as_object().map(|sessions| sessions.len()), Some(81));
}
