//! Bad input and large backups.

use wardroom_testkit::{Actor, Value, json, v3};

use super::{create, key, keys, state, version};
use crate::ward;

#[test]
fn malformed_versions_are_refused_by_field() {
    let alice = ward().user("alice");
    let target = || v3(&["room_keys", "version"]);
    for (body, field) in [
        (json!({ "auth_data": {} }), "algorithm"),
        (json!({ "algorithm": "m.x" }), "auth_data"),
        (json!({ "algorithm": 1, "auth_data": {} }), "string"),
    ] {
        let refused = alice.post(target(), body).refused(400, "M_BAD_JSON");
        assert!(refused["error"].as_str().is_some_and(|error| error.contains(field)), "{refused}");
    }
    let long = json!({ "algorithm": "m".repeat(256), "auth_data": {} });
    alice.post(target(), long).refused(413, "M_TOO_LARGE");
    let large = json!({ "algorithm": "m.x", "auth_data": { "x": "x".repeat(32 * 1_024) } });
    alice.post(target(), large.clone()).refused(413, "M_TOO_LARGE");
    alice.put(version("1"), large).refused(413, "M_TOO_LARGE");
    alice.get(target()).refused(404, "M_NOT_FOUND");
    alice.put(version("1"), json!({})).refused(400, "M_BAD_JSON");
}

#[test]
fn malformed_keys_are_refused_by_field() {
    let alice = ward().user("alice");
    let name = create(&alice);
    let without = |field: &str| {
        let mut key = key(true, 0, 0);
        key.as_object_mut().expect("an object").remove(field);
        key
    };
    let with = |field: &str, value: Value| {
        let mut key = key(true, 0, 0);
        key[field] = value;
        key
    };
    for (bad, word) in [
        (without("first_message_index"), "first_message_index"),
        (without("forwarded_count"), "forwarded_count"),
        (without("is_verified"), "is_verified"),
        (without("session_data"), "session_data"),
        (with("first_message_index", json!(-1)), "integer"),
        (with("forwarded_count", json!(1.5)), "float"),
        (with("is_verified", json!("yes")), "bool"),
        (json!([]), ""),
    ] {
        let sessions = json!({ "sessions": { "good": key(true, 0, 0), "bad": bad } });
        let refused = alice.put(keys(&name, &["!r:x"]), sessions).refused(400, "M_BAD_JSON");
        assert!(refused["error"].as_str().is_some_and(|error| error.contains(word)), "{word}: {refused}");
    }
    assert_eq!(state(&alice.get(version(&name)).ok()).0, 0, "all or nothing");
    alice.put(keys(&name, &["!r:x"]), json!({})).refused(400, "M_BAD_JSON");
    alice.put(keys(&name, &[]), json!({ "rooms": { "no-room": {} } })).refused(400, "M_BAD_JSON");
    alice.put(keys(&name, &["no-room", "s"]), key(true, 0, 0)).refused(400, "M_INVALID_PARAM");
    alice.put(v3(&["room_keys", "keys"]), json!({ "rooms": {} })).refused(400, "M_MISSING_PARAM");
    alice.get(v3(&["room_keys", "keys"])).refused(400, "M_MISSING_PARAM");
    alice.delete(v3(&["room_keys", "keys", "!r:x"])).refused(400, "M_MISSING_PARAM");
    let large = with("session_data", json!("x".repeat(16 * 1_024)));
    alice.put(keys(&name, &["!r:x", "s"]), large).refused(413, "M_TOO_LARGE");
    alice.put(keys(&name, &["!r:x", &"s".repeat(256)]), key(true, 0, 0)).refused(413, "M_TOO_LARGE");
    // To servers the key itself is opaque: any JSON will do.
    alice.put(keys(&name, &["!r:x", "s"]), with("session_data", json!("opaque"))).ok();
}

#[test]
fn versions_have_a_number() {
    let alice = ward().user("alice");
    let names: Vec<String> = (0..100).map(|_| create(&alice)).collect();
    let body = json!({ "algorithm": "m.x", "auth_data": {} });
    alice.post(v3(&["room_keys", "version"]), body).refused(413, "M_TOO_LARGE");
    alice.delete(version(&names[3])).ok();
    create(&alice);
}

#[test]
fn a_large_backup_is_read_whole_and_deleted_whole() {
    let alice = ward().user("alice");
    let name = create(&alice);
    let (rooms, per_room) = (3, 1_500);
    for room in 0..rooms {
        let sessions: serde_json::Map<String, Value> =
            (0..per_room).map(|session| (format!("session-{session}"), key(true, session, room))).collect();
        alice.put(keys(&name, &[&format!("!{room}:x")]), json!({ "sessions": sessions })).ok();
    }
    let all = alice.get(keys(&name, &[])).ok();
    for room in 0..rooms {
        let sessions = all["rooms"][format!("!{room}:x")]["sessions"].as_object().expect("sessions");
        assert_eq!(sessions.len(), usize::try_from(per_room).unwrap());
        assert_eq!(sessions["session-1234"], key(true, 1_234, room));
    }
    assert_eq!(all["rooms"].as_object().map(|rooms| rooms.len()), Some(3));
    assert_eq!(alice.get(keys(&name, &["!1:x"])).ok()["sessions"], all["rooms"]["!1:x"]["sessions"]);
    assert_eq!(state(&alice.delete(keys(&name, &["!1:x"])).ok()).0, 3_000);
    assert_eq!(alice.get(keys(&name, &["!1:x"])).ok(), json!({ "sessions": {} }));
    assert_eq!(alice.get(keys(&name, &["!2:x", "session-7"])).ok(), key(true, 7, 2));
    assert_eq!(state(&alice.delete(keys(&name, &[])).ok()).0, 0);
    assert_eq!(alice.get(keys(&name, &[])).ok(), json!({ "rooms": {} }));
}
