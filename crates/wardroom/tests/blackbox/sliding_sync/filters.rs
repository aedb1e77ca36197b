//! Filters of lists.

use wardroom_testkit::{Actor, User, Value, json, v3};

use super::{Connection, sorted, told};
use crate::ward;

/// The rooms of a list with these filters.
fn filtered(user: &User, filters: &Value) -> Vec<String> {
    let list = json!({ "ranges": [[0, 99]], "timeline_limit": 0, "filters": filters });
    let answer = Connection::new(user, json!({ "lists": { "a": list } })).next();
    assert_eq!(answer["lists"]["a"]["count"], told(&answer).len(), "{answer}");
    told(&answer)
}

#[test]
fn rooms_are_told_apart_by_what_they_are() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let encryption =
        json!([{ "type": "m.room.encryption", "state_key": "", "content": { "algorithm": "m.megolm.v1.aes-sha2" } }]);
    let plain = alice.create_room(json!({ "name": "Ward SEVEN" }));
    let encrypted = alice.create_room(json!({ "initial_state": encryption }));
    let space = alice.create_room(json!({ "creation_content": { "type": "m.space" }, "name": "House" }));
    let invited = bob.create_room(json!({ "initial_state": encryption, "name": "Ward eight" }));
    bob.invite(&invited, &alice);
    let direct = json!({ &bob.id: [&encrypted, &invited] });
    alice.put(v3(&["user", &alice.id, "account_data", "m.direct"]), direct).ok();
    let cases: &[(Value, &[&str])] = &[
        (json!({}), &[&plain, &encrypted, &space, &invited]),
        (json!({ "is_dm": true }), &[&encrypted, &invited]),
        (json!({ "is_dm": false }), &[&plain, &space]),
        (json!({ "is_encrypted": true }), &[&encrypted, &invited]),
        (json!({ "is_encrypted": false }), &[&plain, &space]),
        (json!({ "is_invite": true }), &[&invited]),
        (json!({ "is_invite": false }), &[&plain, &encrypted, &space]),
        (json!({ "is_invited": true, "is_dm": true, "is_encrypted": true }), &[&invited]),
        (json!({ "room_types": ["m.space"] }), &[&space]),
        (json!({ "room_types": [null] }), &[&plain, &encrypted, &invited]),
        (json!({ "room_types": ["m.space", null], "not_room_types": [null] }), &[&space]),
        (json!({ "not_room_types": ["m.space"] }), &[&plain, &encrypted, &invited]),
        (json!({ "room_name_like": "ward" }), &[&plain, &invited]),
        (json!({ "room_name_like": "Seven" }), &[&plain]),
        (json!({ "room_name_like": "nowhere" }), &[]),
    ];
    for (filters, expected) in cases {
        assert_eq!(filtered(&alice, filters), sorted(expected), "{filters}");
    }
}

#[test]
fn filters_follow_changes() {
    let alice = ward().user("alice");
    let (one, two) = (alice.create_room(json!({})), alice.create_room(json!({})));
    let list = json!({ "ranges": [[0, 99]], "timeline_limit": 0, "filters": { "is_encrypted": true } });
    let mut connection = Connection::new(&alice, json!({ "lists": { "a": list } }));
    assert_eq!(told(&connection.next()), [] as [String; 0]);
    alice.set_state(&one, "m.room.encryption", "", json!({ "algorithm": "m.megolm.v1.aes-sha2" }));
    let answer = connection.next();
    assert_eq!((told(&answer), &answer["lists"]["a"]["count"]), (sorted(&[&one]), &json!(1)), "{answer}");
    alice.say(&two, "still plain");
    assert_eq!(told(&connection.next()), [] as [String; 0]);
}

#[test]
fn rooms_are_told_apart_by_tags() {
    let alice = ward().user("alice");
    let rooms: Vec<String> = (0..3).map(|_| alice.create_room(json!({}))).collect();
    let tag = |room: &str, tag: &str| v3(&["user", &alice.id, "rooms", room, "tags", tag]);
    alice.put(tag(&rooms[0], "m.favourite"), json!({})).ok();
    alice.put(tag(&rooms[1], "m.favourite"), json!({})).ok();
    alice.put(tag(&rooms[1], "m.lowpriority"), json!({})).ok();
    assert_eq!(filtered(&alice, &json!({ "tags": ["m.favourite"] })), sorted(&[&rooms[0], &rooms[1]]));
    assert_eq!(
        filtered(&alice, &json!({ "tags": ["m.favourite"], "not_tags": ["m.lowpriority"] })),
        sorted(&[&rooms[0]])
    );
    assert_eq!(filtered(&alice, &json!({ "not_tags": ["m.favourite"] })), sorted(&[&rooms[2]]));
    alice.delete(tag(&rooms[0], "m.favourite")).ok();
    alice.put(tag(&rooms[2], "m.favourite"), json!({ "order": 0.5 })).ok();
    assert_eq!(filtered(&alice, &json!({ "tags": ["m.favourite"] })), sorted(&[&rooms[1], &rooms[2]]));
}

#[test]
fn rooms_are_told_apart_by_spaces() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let create = json!({ "preset": "public_chat", "creation_content": { "type": "m.space" } });
    let (space, strange) = (alice.create_room(create.clone()), bob.create_room(create));
    let rooms: Vec<String> = (0..3).map(|_| alice.create_room(json!({}))).collect();
    let child = |user: &User, space: &str, room: &str, via: Value| {
        user.set_state(space, "m.space.child", room, json!({ "via": via }));
    };
    child(&alice, &space, &rooms[0], json!(["a.example"]));
    child(&alice, &space, &rooms[1], json!([]));
    child(&bob, &strange, &rooms[2], json!(["a.example"]));
    assert_eq!(filtered(&alice, &json!({ "spaces": [space] })), sorted(&[&rooms[0]]));
    assert_eq!(filtered(&alice, &json!({ "spaces": [strange] })), [] as [String; 0], "not in that space");
    alice.join(&strange);
    assert_eq!(filtered(&alice, &json!({ "spaces": [space, strange, "junk"] })), sorted(&[&rooms[0], &rooms[2]]));
    child(&alice, &space, &rooms[1], json!(["a.example"]));
    assert_eq!(filtered(&alice, &json!({ "spaces": [space] })), sorted(&[&rooms[0], &rooms[1]]));
}

#[test]
fn a_room_that_was_left_does_not_tell_what_became_of_it() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let id = alice.create_public_room(&[&bob]);
    alice.on_member("kick", &id, &bob).ok();
    alice.set_state(&id, "m.room.encryption", "", json!({ "algorithm": "m.megolm.v1.aes-sha2" }));
    alice.set_state(&id, "m.room.name", "", json!({ "name": "Oncology" }));
    assert_eq!(filtered(&bob, &json!({ "is_encrypted": true })), [] as [String; 0]);
    assert_eq!(filtered(&bob, &json!({ "room_name_like": "onco" })), [] as [String; 0]);
    assert_eq!(filtered(&bob, &json!({ "is_encrypted": false })), sorted(&[&id]));
}
