//! Rooms: what is sent, who comes and goes, what becomes of rooms.

use wardroom_testkit::{Actor, Target, User, Value, json, unique, v3, wait_until};

use super::{bare, by};
use crate::{
    SOON,
    admin::{admin_of, own, synapse},
    audit::records,
    ward,
};

/// SHA-256 of `{"topic":"beds"}` and of `{"topic":"meals"}`.
const BEDS: &str = "45bf34eec8f03c64337de04f38907f40bf044db37a436a4e1a1847f8d64dfa93";
const MEALS: &str = "d0fbd6424c9cd0307a4e1216bc455f206def6994fd29d116ee79dc4874165513";

/// The newest so many records about a room that are not about reading or the administration.
#[track_caller]
fn newest(admin: &User, room: &str, count: usize) -> Vec<Value> {
    let mut found = bare(records(admin, &[("room_id", room)]));
    let other = ["room.read", "admin.call"];
    found.retain(|record| !other.contains(&record["act"].as_str().unwrap()));
    found.split_off(found.len().saturating_sub(count))
}

/// Waits for the end of a task of the administration.
#[track_caller]
fn finished(admin: &User, status: &Target) {
    wait_until("the end of the task", SOON, || {
        let answer = admin.request("GET", status, wardroom_testkit::Body::Empty).ok();
        assert_ne!(answer["status"], "failed", "{answer}");
        (answer["status"] == "complete").then_some(())
    });
}

#[test]
fn what_is_sent_edited_and_redacted() {
    let server = ward();
    let (admin, alice) = (admin_of(server), server.user("alice"));
    let room = alice.create_room(json!({ "preset": "private_chat" }));
    let said = alice.say(&room, "a secret");
    let edit = json!({
        "msgtype": "m.text", "body": "* better", "m.new_content": { "msgtype": "m.text", "body": "better" },
        "m.relates_to": { "rel_type": "m.replace", "event_id": said },
    });
    let edit = alice.try_send(&room, "m.room.message", "edit", edit).ok()["event_id"].clone();
    let sealed = json!({ "algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "opaque" });
    let sealed = alice.try_send(&room, "m.room.encrypted", "sealed", sealed).ok()["event_id"].clone();
    let redaction = alice.redact(&room, &said);
    let kind = "m.room.redaction";
    let expected = [
        by(&alice, "event.send", json!({ "event": said, "room": room, "type": "m.room.message" })),
        by(&alice, "event.edit", json!({ "event": said, "name": edit, "room": room, "type": "m.room.message" })),
        by(&alice, "event.send", json!({ "event": sealed, "room": room, "type": "m.room.encrypted" })),
        by(&alice, "event.redact", json!({ "event": said, "name": redaction, "room": room, "type": kind })),
    ];
    assert_eq!(newest(&admin, &room, 4), expected);
    // The same transaction again is no other event.
    alice.try_send(&room, "m.room.message", "edit", json!({ "body": "again", "msgtype": "m.text" })).ok();
    assert_eq!(newest(&admin, &room, 4), expected);
}

#[test]
fn who_comes_and_goes() {
    let server = ward();
    let (admin, alice, bob) = (admin_of(server), server.user("alice"), server.user("bob"));
    let room = alice.create_room(json!({ "preset": "private_chat" }));
    let mut expected = Vec::new();
    let mut then = |who: &User, act: &str| {
        let history = alice.history(&room);
        let of_bob = |event: &&Value| event["type"] == "m.room.member" && event["state_key"] == *bob.id;
        let event = history.iter().rfind(of_bob).unwrap()["event_id"].clone();
        expected.push(by(who, act, json!({ "event": event, "room": room, "type": "m.room.member", "user": bob.id })));
    };
    alice.invite(&room, &bob);
    then(&alice, "member.invite");
    bob.join(&room);
    then(&bob, "member.join");
    bob.leave(&room);
    then(&bob, "member.leave");
    alice.invite(&room, &bob);
    then(&alice, "member.invite");
    alice.on_member("kick", &room, &bob).ok();
    then(&alice, "member.kick");
    alice.on_member("ban", &room, &bob).ok();
    then(&alice, "member.ban");
    alice.on_member("unban", &room, &bob).ok();
    then(&alice, "member.unban");
    alice.set_state(&room, "m.room.join_rules", "", json!({ "join_rule": "knock" }));
    bob.try_knock(&room).ok();
    then(&bob, "member.knock");
    let mut found = newest(&admin, &room, expected.len() + 1);
    found.retain(|record| record["act"] != "room.change");
    assert_eq!(found, expected);
}

#[test]
fn a_new_display_name_is_a_change_without_the_name() {
    let server = ward();
    let (admin, alice) = (admin_of(server), server.user("alice"));
    let room = alice.create_room(json!({ "preset": "private_chat" }));
    alice.put(v3(&["profile", &alice.id, "displayname"]), json!({ "displayname": "Doctor Secret" })).ok();
    let record = wait_until("the record", SOON, || {
        newest(&admin, &room, 1).pop().filter(|record| record["on"]["type"] == "m.room.member")
    });
    assert_eq!((record["act"].as_str(), record["on"]["user"].as_str()), (Some("room.change"), Some(&*alice.id)));
    assert!(!record.to_string().contains("Secret") && record["on"].get("new").is_none(), "{record}");
}

#[test]
fn state_is_told_by_its_hashes() {
    let server = ward();
    let (admin, alice) = (admin_of(server), server.user("alice"));
    let room = alice.create_room(json!({ "preset": "private_chat", "name": "The secret ward" }));
    let all = newest(&admin, &room, usize::MAX);
    let kinds: Vec<&str> = all.iter().filter_map(|record| record["on"]["type"].as_str()).collect();
    assert_eq!(kinds[..3], ["m.room.create", "m.room.member", "m.room.power_levels"], "{kinds:?}");
    for kind in ["m.room.join_rules", "m.room.history_visibility", "m.room.name"] {
        assert!(kinds.contains(&kind), "{kinds:?}");
    }
    assert!(!json!(all).to_string().contains("The secret ward"));
    let first = alice.set_state(&room, "m.room.topic", "", json!({ "topic": "beds" }));
    let second = alice.set_state(&room, "m.room.topic", "", json!({ "topic": "meals" }));
    let kind = "m.room.topic";
    let expected = [
        by(&alice, "room.change", json!({ "event": first, "new": BEDS, "room": room, "type": kind })),
        by(&alice, "room.change", json!({ "event": second, "new": MEALS, "old": BEDS, "room": room, "type": kind })),
    ];
    assert_eq!(newest(&admin, &room, 2), expected);
}

#[test]
fn what_is_refused_leaves_no_record_of_being_done() {
    let server = ward();
    let (admin, alice, bob) = (admin_of(server), server.user("alice"), server.user("bob"));
    let room = alice.create_room(json!({ "preset": "public_chat" }));
    bob.join(&room);
    let before = newest(&admin, &room, 1);
    bob.try_set_state(&room, "m.room.topic", "", json!({ "topic": "mine" })).refused(403, "M_FORBIDDEN");
    assert_eq!(newest(&admin, &room, 1), before);
}

#[test]
fn an_administrator_who_acts_by_a_users_hand_is_named_with_the_user() {
    let server = ward();
    let (admin, alice, bob) = (admin_of(server), server.user("alice"), server.user("bob"));
    let room = alice.create_room(json!({ "preset": "public_chat" }));
    admin.post(synapse(&["v1", "join", &room]), json!({ "user_id": bob.id })).ok();
    let record = newest(&admin, &room, 1).remove(0);
    assert_eq!(record["act"], "member.join");
    assert_eq!((&record["who"]["user"], &record["who"]["as"]), (&json!(admin.id), &json!(bob.id)));
    assert_eq!(record["on"]["user"], bob.id);
    admin.post(own(&["rooms", &room, "remove"]), json!({ "user_id": bob.id })).ok();
    let record = newest(&admin, &room, 1).remove(0);
    assert_eq!((record["act"].as_str(), &record["who"]["user"]), (Some("member.leave"), &json!(admin.id)));
}

#[test]
fn aliases_the_directory_and_blocks() {
    let server = ward();
    let (admin, alice) = (admin_of(server), server.user("alice"));
    let room = alice.create_room(json!({ "preset": "public_chat" }));
    let alias = format!("#{}:{}", unique("hidden"), server.name());
    alice.put(v3(&["directory", "room", &alias]), json!({ "room_id": room })).ok();
    for _ in 0..2 {
        alice.put(v3(&["directory", "list", "room", &room]), json!({ "visibility": "public" })).ok();
    }
    alice.delete(v3(&["directory", "room", &alias])).ok();
    let change = |what: &str| by(&alice, "room.change", json!({ "detail": what, "room": room }));
    let expected = [change("alias.set"), change("directory.list"), change("alias.remove")];
    assert_eq!(newest(&admin, &room, 3), expected);
    admin.put(synapse(&["v1", "rooms", &room, "block"]), json!({ "block": true })).ok();
    assert_eq!(newest(&admin, &room, 1), [by(&admin, "room.change", json!({ "detail": "block", "room": room }))]);
}

#[test]
fn deleting_a_room_and_purging_its_history() {
    let server = ward();
    let (admin, alice) = (admin_of(server), server.user("alice"));
    let room = alice.create_room(json!({ "preset": "private_chat" }));
    let (first, last) = (alice.say(&room, "one"), alice.say(&room, "two"));
    let purge = json!({ "purge_up_to_event_id": last, "delete_local_events": true });
    let task = admin.post(synapse(&["v1", "purge_history", &room]), purge).ok();
    finished(&admin, &synapse(&["v1", "purge_history_status", task["purge_id"].as_str().unwrap()]));
    let record = newest(&admin, &room, 1).remove(0);
    assert_eq!((record["act"].as_str(), record["on"]["detail"].as_str()), (Some("retention.purge"), Some("history")));
    assert_eq!((&record["on"]["last"], &record["who"]["user"]), (&json!(first), &json!(admin.id)));
    assert!(record["on"]["count"].as_u64().unwrap() > 3, "{record}");
    let task = admin.request("DELETE", &synapse(&["v2", "rooms", &room]), json!({ "purge": true }).into()).ok();
    finished(&admin, &synapse(&["v2", "rooms", "delete_status", task["delete_id"].as_str().unwrap()]));
    let found = newest(&admin, &room, 5);
    let told = |record: &Value| (record["act"].clone(), record["on"]["detail"].clone());
    let told: Vec<(Value, Value)> = found.iter().map(told).collect();
    let delete = |what: &str| (json!("room.delete"), json!(what));
    let left = (json!("member.leave"), Value::Null);
    assert_eq!(told, [delete("begin"), left, delete("emptied"), delete("closed"), delete("destroyed")]);
    assert!(found.iter().all(|record| record["who"]["user"] == *admin.id), "{found:?}");
}
