//! Profiles: fields of one's own choice, and how a new name gets around.

use wardroom_testkit::{Actor, Target, Value, json, raw, v3};

use crate::ward;

fn field(user: &str, key: &str) -> Target {
    v3(&["profile", user, key])
}

#[test]
fn fields_are_set_read_and_removed() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    alice.put(field(&alice.id, "m.tz"), json!({ "m.tz": "Europe/Berlin" })).ok();
    for value in [json!("text"), json!({ "a": [1, 2.5, null] }), json!(7), Value::Null, json!(false)] {
        alice.put(field(&alice.id, "org.example.ward"), json!({ "org.example.ward": value, "x": 1 })).ok();
        assert_eq!(bob.get(field(&alice.id, "org.example.ward")).ok(), json!({ "org.example.ward": value }));
        let profile = bob.anonymous().get(v3(&["profile", &alice.id])).ok();
        assert_eq!((&profile["org.example.ward"], &profile["m.tz"]), (&value, &json!("Europe/Berlin")));
        assert!(profile.get("x").is_none());
    }
    alice.delete(field(&alice.id, "org.example.ward")).ok();
    alice.delete(field(&alice.id, "org.example.ward")).ok();
    bob.get(field(&alice.id, "org.example.ward")).refused(404, "M_NOT_FOUND");
    assert_eq!(bob.get(v3(&["profile", &alice.id])).ok()["m.tz"], "Europe/Berlin");
}

#[test]
fn name_and_picture_are_fields_too() {
    let alice = ward().user("alice");
    let room = alice.create_public_room(&[]);
    alice.put(field(&alice.id, "displayname"), json!({ "displayname": "Dr Alice" })).ok();
    alice.put(field(&alice.id, "avatar_url"), json!({ "avatar_url": "mxc://a.example/b" })).ok();
    let member = alice.state(&room, "m.room.member", &alice.id);
    assert_eq!((&member["displayname"], &member["avatar_url"]), (&json!("Dr Alice"), &json!("mxc://a.example/b")));
    alice.delete(field(&alice.id, "avatar_url")).ok();
    alice.delete(field(&alice.id, "displayname")).ok();
    alice.get(field(&alice.id, "displayname")).refused(404, "M_NOT_FOUND");
    let member = alice.state(&room, "m.room.member", &alice.id);
    assert!(member["displayname"].is_null() && member["avatar_url"].is_null(), "{member}");
}

#[test]
fn the_unstable_paths_lead_to_the_same_profile() {
    let alice = ward().user("alice");
    let unstable = |key: &str| raw(&format!("/_matrix/client/unstable/uk.tcpip.msc4133/profile/{}{key}", alice.id));
    alice.put(unstable("/us.cloke.msc4175.tz"), json!({ "us.cloke.msc4175.tz": "Europe/London" })).ok();
    alice.put(unstable("/displayname"), json!({ "displayname": "Alice" })).ok();
    let profile = json!({ "us.cloke.msc4175.tz": "Europe/London", "displayname": "Alice" });
    assert_eq!(alice.get(unstable("")).ok(), profile);
    assert_eq!(alice.get(v3(&["profile", &alice.id])).ok(), profile);
    assert_eq!(alice.get(unstable("/displayname")).ok(), json!({ "displayname": "Alice" }));
    alice.delete(unstable("/us.cloke.msc4175.tz")).ok();
    alice.delete(unstable("/displayname")).ok();
    assert_eq!(alice.get(v3(&["profile", &alice.id])).ok(), json!({}));
}

#[test]
fn bad_fields_are_refused_and_change_nothing() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let key = "org.example.ward";
    alice.put(field(&alice.id, key), json!({ key: 1 })).ok();
    bob.put(field(&alice.id, key), json!({ key: 2 })).refused(403, "M_FORBIDDEN");
    bob.delete(field(&alice.id, key)).refused(403, "M_FORBIDDEN");
    alice.anonymous().put(field(&alice.id, key), json!({ key: 2 })).refused(401, "M_MISSING_TOKEN");
    alice.put(field(&alice.id, key), json!({ "other": 2 })).refused(400, "M_MISSING_PARAM");
    alice.put(field(&alice.id, key), json!([])).refused(400, "M_BAD_JSON");
    for bad in ["ward", "Org.Example", "org..example", "org.example ward"] {
        alice.put(field(&alice.id, bad), json!({ bad: 1 })).refused(400, "M_INVALID_PARAM");
        alice.delete(field(&alice.id, bad)).refused(400, "M_INVALID_PARAM");
    }
    let long = format!("a.{}", "b".repeat(300));
    alice.put(field(&alice.id, &long), json!({ long.as_str(): 1 })).refused(400, "M_KEY_TOO_LARGE");
    alice.put(field(&alice.id, "m.tz"), json!({ "m.tz": 5 })).refused(400, "M_INVALID_PARAM");
    alice.put(field(&alice.id, "displayname"), json!({ "displayname": 5 })).refused(400, "M_BAD_JSON");
    alice.put(field(&alice.id, "avatar_url"), json!({ "avatar_url": "http://x" })).refused(400, "M_INVALID_PARAM");
    alice
        .put(field(&alice.id, "org.example.large"), json!({ "org.example.large": "x".repeat(65_536) }))
        .refused(400, "M_PROFILE_TOO_LARGE");
    assert_eq!(bob.get(v3(&["profile", &alice.id])).ok(), json!({ key: 1, "displayname": alice.localpart }));
}

#[test]
fn fields_may_fill_the_profile_together() {
    let alice = ward().user("alice");
    for number in 0..6 {
        let key = format!("org.example.part{number}");
        alice.put(field(&alice.id, &key), json!({ key.as_str(): "x".repeat(10_000) })).ok();
    }
    let last = "org.example.last";
    alice.put(field(&alice.id, last), json!({ last: "x".repeat(10_000) })).refused(400, "M_PROFILE_TOO_LARGE");
    alice.delete(field(&alice.id, "org.example.part0")).ok();
    alice.put(field(&alice.id, last), json!({ last: "x".repeat(10_000) })).ok();
}

#[test]
fn a_name_that_is_no_news_makes_no_event() {
    let alice = ward().user("alice");
    let room = alice.create_public_room(&[]);
    alice.put(field(&alice.id, "displayname"), json!({ "displayname": "Alice" })).ok();
    let before = alice.history(&room).len();
    alice.put(field(&alice.id, "displayname"), json!({ "displayname": "Alice" })).ok();
    assert_eq!(alice.history(&room).len(), before);
}

#[test]
fn a_new_name_reaches_many_rooms() {
    let alice = ward().user("alice");
    let rooms: Vec<String> = (0..40).map(|_| alice.create_public_room(&[])).collect();
    alice.put(field(&alice.id, "displayname"), json!({ "displayname": "Dr Alice" })).ok();
    alice.put(field(&alice.id, "displayname"), json!({ "displayname": "Prof Alice" })).ok();
    let has_it = |room: &String| alice.state(room, "m.room.member", &alice.id)["displayname"] == "Prof Alice";
    wardroom_testkit::wait_until("all rooms know", crate::SOON, || rooms.iter().all(has_it).then_some(()));
}
