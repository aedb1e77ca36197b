//! Account data, tags and filters.

use wardroom_testkit::{Actor, events, joined, json, v3};

use crate::{SOON, ward};

#[test]
fn account_data_is_kept_and_shown_to_the_users_other_devices() {
    let phone = ward().user("alice");
    let desk = phone.other_device();
    let mut sync = ward().follow(&desk);
    let target = || v3(&["user", &phone.id, "account_data", "example.ward"]);
    phone.get(target()).refused(404, "M_NOT_FOUND");
    for beds in [3, 4] {
        phone.put(target(), json!({ "beds": beds })).ok();
        assert_eq!(desk.get(target()).ok(), json!({ "beds": beds }));
        let answer =
            sync.until("account data in sync", SOON, |sync| !events(&sync["account_data"]["events"]).is_empty());
        let shown = events(&answer["account_data"]["events"]);
        assert_eq!(shown, [json!({ "type": "example.ward", "content": { "beds": beds } })]);
    }
    let again = desk.initial_sync();
    let kept = events(&again["account_data"]["events"]).iter().filter(|event| event["type"] == "example.ward").count();
    assert_eq!(kept, 1, "an initial sync has it once: {}", again["account_data"]);
}

#[test]
fn room_account_data_is_kept_per_room() {
    let alice = ward().user("alice");
    let (room, other) = (alice.create_public_room(&[]), alice.create_public_room(&[]));
    let mut sync = ward().follow(&alice);
    let target = |room: &str| v3(&["user", &alice.id, "rooms", room, "account_data", "example.bed"]);
    alice.put(target(&room), json!({ "bed": 12 })).ok();
    assert_eq!(alice.get(target(&room)).ok(), json!({ "bed": 12 }));
    alice.get(target(&other)).refused(404, "M_NOT_FOUND");
    let answer = sync.until("room account data in sync", SOON, |sync| !joined(sync, &room).is_null());
    let shown = events(&joined(&answer, &room)["account_data"]["events"]);
    assert_eq!(shown, [json!({ "type": "example.bed", "content": { "bed": 12 } })]);
    assert!(joined(&answer, &other).is_null(), "the other room did not change");
}

#[test]
fn account_data_is_private() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let room = alice.create_public_room(&[&bob]);
    let global = || v3(&["user", &alice.id, "account_data", "example.ward"]);
    let in_room = || v3(&["user", &alice.id, "rooms", &room, "account_data", "example.ward"]);
    let tags = || v3(&["user", &alice.id, "rooms", &room, "tags"]);
    alice.put(global(), json!({ "secret": 1 })).ok();
    alice.put(in_room(), json!({ "secret": 1 })).ok();
    for target in [global(), in_room()] {
        bob.get(target.clone()).refused(403, "M_FORBIDDEN");
        bob.put(target.clone(), json!({ "secret": 2 })).refused(403, "M_FORBIDDEN");
        assert_eq!(alice.get(target).ok(), json!({ "secret": 1 }));
    }
    bob.get(tags()).refused(403, "M_FORBIDDEN");
}

#[test]
fn what_the_server_owns_cannot_be_written_as_account_data() {
    let alice = ward().user("alice");
    let room = alice.create_public_room(&[]);
    let rules = alice.get(v3(&["pushrules", ""])).ok();
    alice.put(v3(&["user", &alice.id, "account_data", "m.push_rules"]), json!({})).refused(405, "M_BAD_JSON");
    alice.put(v3(&["user", &alice.id, "account_data", "m.fully_read"]), json!({})).refused(405, "M_BAD_JSON");
    let target = v3(&["user", &alice.id, "rooms", &room, "account_data", "m.fully_read"]);
    alice.put(target, json!({ "event_id": "$x" })).refused(405, "M_BAD_JSON");
    assert_eq!(alice.get(v3(&["pushrules", ""])).ok(), rules);
}

#[test]
fn tags_come_and_go() {
    let alice = ward().user("alice");
    let room = alice.create_public_room(&[]);
    let mut sync = ward().follow(&alice);
    let tag = |name: &str| v3(&["user", &alice.id, "rooms", &room, "tags", name]);
    let tags = || alice.get(v3(&["user", &alice.id, "rooms", &room, "tags"])).ok();
    assert_eq!(tags(), json!({ "tags": {} }));
    alice.put(tag("m.favourite"), json!({ "order": 0.25 })).ok();
    alice.put(tag("u.round/night"), json!({})).ok();
    let expected = json!({ "m.favourite": { "order": 0.25 }, "u.round/night": {} });
    assert_eq!(tags()["tags"], expected);
    let answer = sync.until("both tags in sync", SOON, |sync| {
        events(&joined(sync, &room)["account_data"]["events"]).iter().any(|event| event["content"]["tags"] == expected)
    });
    let shown = events(&joined(&answer, &room)["account_data"]["events"]);
    assert!(shown.iter().all(|event| event["type"] == "m.tag"), "{shown:?}");

    alice.delete(tag("u.round/night")).ok();
    assert_eq!(tags()["tags"], json!({ "m.favourite": { "order": 0.25 } }));
    sync.until("the tag gone in sync", SOON, |sync| {
        events(&joined(sync, &room)["account_data"]["events"])
            .iter()
            .any(|event| event["content"]["tags"] == json!({ "m.favourite": { "order": 0.25 } }))
    });
}

#[test]
fn a_filter_is_stored_and_given_back() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let filter = json!({
        "event_fields": ["type", "content"],
        "room": { "timeline": { "limit": 7, "not_types": ["m.room.name"] }, "state": { "lazy_load_members": true } },
    });
    let store = |user: &wardroom_testkit::User| user.post(v3(&["user", &alice.id, "filter"]), filter.clone());
    let id = store(&alice).ok()["filter_id"].as_str().expect("a filter id").to_owned();
    assert!(!id.starts_with('{'), "an id must not look like JSON: {id}");
    let kept = alice.get(v3(&["user", &alice.id, "filter", &id])).ok();
    assert_eq!(kept["room"]["timeline"], filter["room"]["timeline"]);
    assert_eq!(kept["event_fields"], filter["event_fields"]);
    assert_eq!(store(&alice).ok()["filter_id"], id.as_str(), "an identical filter is stored once");

    store(&bob).refused(403, "M_FORBIDDEN");
    bob.get(v3(&["user", &alice.id, "filter", &id])).denied();
    alice.get(v3(&["user", &alice.id, "filter", "no-such-filter"])).refused(404, "M_NOT_FOUND");
}
