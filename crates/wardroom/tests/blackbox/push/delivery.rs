//! What gateways are told.

use wardroom_testkit::{Actor, User, json, unique, v3};

use super::{Gateway, Scene, config, pusher, set, ward};
use crate::server_with;

#[test]
fn a_message_is_told_with_everything() {
    let scene = Scene::new(ward());
    scene.alice.put(v3(&["profile", &scene.alice.id, "displayname"]), json!({ "displayname": "Dr. Alice" })).ok();
    let event = scene.alice.say(&scene.room, "come to bed 3");
    let told = scene.gateway.of_event(&event);
    for (field, value) in [
        ("id", json!(event)),
        ("room_id", json!(scene.room)),
        ("type", json!("m.room.message")),
        ("sender", json!(scene.alice.id)),
        ("sender_display_name", json!("Dr. Alice")),
        ("room_name", json!("Ward 7")),
        ("content", json!({ "msgtype": "m.text", "body": "come to bed 3" })),
        ("counts", json!({ "unread": 1 })),
    ] {
        assert_eq!(told[field], value, "{field} of {told}");
    }
    let device = &told["devices"][0];
    assert_eq!((&device["app_id"], &device["pushkey"]), (&json!("example.ward"), &json!("key")));
    assert_eq!(device["data"], json!({ "custom": 7 }), "all but the url");
    assert!(device["pushkey_ts"].as_u64().is_some_and(|seconds| seconds < 100_000_000_000), "in seconds: {told}");
    assert_eq!(told["devices"].as_array().unwrap().len(), 1);
    assert!(device["tweaks"].is_object(), "{told}");
}

#[test]
fn an_application_may_ask_for_ids_only() {
    let scene = Scene::new(ward());
    let mut discreet = pusher("discreet", scene.gateway.url());
    discreet["data"]["format"] = json!("event_id_only");
    set(&scene.bob, discreet);
    let event = scene.alice.say(&scene.room, "not for the vendor");
    let told = scene.gateway.until("the discreet notification", |told| told["devices"][0]["pushkey"] == "discreet");
    assert_eq!((&told["event_id"], &told["room_id"]), (&json!(event), &json!(scene.room)));
    assert_eq!(told["devices"][0]["data"], json!({ "custom": 7, "format": "event_id_only" }));
    for field in ["content", "sender", "sender_display_name", "room_name", "room_alias", "type"] {
        assert!(told.get(field).is_none(), "{field} is told: {told}");
    }
}

#[test]
fn a_server_keeps_content_out_of_all_notifications() {
    let server = server_with(config().set("push.include_content", "false"));
    let scene = Scene::new(&server);
    let event = scene.alice.say(&scene.room, "patient data");
    let told = scene.gateway.of_event(&event);
    let text = told.to_string();
    for word in ["patient data", "Ward 7", &scene.alice.id, "m.room.message"] {
        assert!(!text.contains(word), "{word} is told: {text}");
    }
}

#[test]
fn rules_decide_and_their_tweaks_are_told() {
    let scene = Scene::new(ward());
    let carol = ward().user("carol");
    carol.join(&scene.room);
    let mention = json!({ "msgtype": "m.text", "body": "you", "m.mentions": { "user_ids": [scene.bob.id] } });
    let loud = scene.alice.try_send(&scene.room, "m.room.message", &unique("txn"), mention).ok();
    let told = scene.gateway.of_event(loud["event_id"].as_str().unwrap());
    assert_eq!(told["devices"][0]["tweaks"], json!({ "highlight": true, "sound": "default" }));
    assert_ne!(told["prio"], "low");
    let plain = scene.alice.say(&scene.room, "everybody");
    assert_eq!(scene.gateway.of_event(&plain)["devices"][0]["tweaks"], json!({}));

    let notice = json!({ "msgtype": "m.notice", "body": "beep" });
    scene.alice.try_send(&scene.room, "m.room.message", &unique("txn"), notice).ok();
    let edit = json!({
        "msgtype": "m.text", "body": "* all", "m.new_content": { "msgtype": "m.text", "body": "all" },
        "m.relates_to": { "rel_type": "m.replace", "event_id": plain },
    });
    scene.alice.try_send(&scene.room, "m.room.message", &unique("txn"), edit).ok();
    let reaction = json!({ "m.relates_to": { "rel_type": "m.annotation", "event_id": plain, "key": "x" } });
    scene.alice.try_send(&scene.room, "m.reaction", &unique("txn"), reaction).ok();
    scene.bob.say(&scene.room, "one's own words");
    let muted = scene.alice.create_room(json!({ "preset": "public_chat" }));
    scene.bob.join(&muted);
    scene.bob.put(v3(&["pushrules", "global", "room", &muted]), json!({ "actions": [] })).ok();
    scene.alice.say(&muted, "in a muted room");
    let encrypted = json!({ "algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "AwgA", "session_id": "s" });
    let sealed = scene.alice.try_send(&scene.room, "m.room.encrypted", &unique("txn"), encrypted.clone()).ok();
    let sealed = sealed["event_id"].as_str().unwrap();
    let told = scene.gateway.of_event(sealed);
    assert_eq!((&told["type"], &told["content"]), (&json!("m.room.encrypted"), &encrypted));
    assert_ne!(told["prio"], "low", "who knows what is in it");
    assert_eq!(scene.gateway.events_for("key"), [loud["event_id"].as_str().unwrap(), &plain, sealed]);
}

#[test]
fn an_invitation_is_told_to_the_invited() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let gateway = Gateway::start();
    set(&bob, pusher("key", gateway.url()));
    let room = alice.create_room(json!({ "preset": "private_chat", "name": "Consilium" }));
    alice.invite(&room, &bob);
    let told = gateway.until("the invitation", |told| told["type"] == "m.room.member");
    assert_eq!((&told["user_is_target"], &told["room_id"]), (&json!(true), &json!(room)));
    assert_eq!((&told["sender"], &told["membership"]), (&json!(alice.id), &json!("invite")));
    assert_eq!((&told["room_name"], &told["counts"]["unread"]), (&json!("Consilium"), &json!(1)));
    bob.leave(&room);
    gateway.until("the number after the refusal", |told| told["counts"]["unread"] == 0);
}

#[test]
fn all_devices_of_all_members_are_told() {
    let scene = Scene::new(ward());
    set(&scene.bob, pusher("tablet", scene.gateway.url()));
    let carol = ward().user("carol");
    carol.join(&scene.room);
    set(&carol, pusher("of carol", scene.gateway.url()));
    let event = scene.alice.say(&scene.room, "all of you");
    for key in ["key", "tablet", "of carol"] {
        scene.gateway.until(key, |told| told["event_id"] == event.as_str() && told["devices"][0]["pushkey"] == key);
    }
    scene.bob.leave(&scene.room);
    let after = scene.alice.say(&scene.room, "bob is gone");
    scene.gateway.until("carol", |told| told["event_id"] == after.as_str());
    assert_eq!(scene.gateway.events_for("key"), [event.as_str()], "who left hears nothing");
}

#[test]
fn rooms_without_a_name_are_called_by_alias_or_members() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let gateway = Gateway::start();
    set(&bob, pusher("key", gateway.url()));
    alice.put(v3(&["profile", &alice.id, "displayname"]), json!({ "displayname": "Dr. Alice" })).ok();
    let name_of = |room: &str| {
        let event = alice.say(room, "hello");
        gateway.of_event(&event)["room_name"].clone()
    };
    let room = alice.create_room(json!({ "preset": "public_chat" }));
    bob.join(&room);
    assert_eq!(name_of(&room), "Dr. Alice");
    ward().user("carol").join(&room);
    ward().user("dave").join(&room);
    assert!(name_of(&room).as_str().unwrap().ends_with(" and 2 others"));
    let alias = format!("#{}:{}", unique("alias"), ward().name());
    alice.put(v3(&["directory", "room", &alias]), json!({ "room_id": room })).ok();
    alice.set_state(&room, "m.room.canonical_alias", "", json!({ "alias": alias }));
    assert_eq!(name_of(&room), alias.as_str());
}

#[test]
fn who_is_ignored_notifies_nobody() {
    let scene = Scene::new(ward());
    let eve = ward().user("eve");
    eve.join(&scene.room);
    let list = json!({ "ignored_users": { &eve.id: {} } });
    scene.bob.put(v3(&["user", &scene.bob.id, "account_data", "m.ignored_user_list"]), list).ok();
    eve.say(&scene.room, "buy this");
    let room = eve.create_room(json!({ "preset": "private_chat" }));
    eve.invite(&room, &scene.bob);
    let event = scene.alice.say(&scene.room, "never mind");
    let told = scene.gateway.of_event(&event);
    assert_eq!(told["counts"]["unread"], 1);
    assert_eq!(scene.gateway.events_for("key"), [event]);
}

#[test]
fn who_logs_out_is_told_nothing_more() {
    let scene = Scene::new(ward());
    let other: User = scene.bob.other_device();
    set(&other, pusher("other", scene.gateway.url()));
    scene.bob.post(v3(&["logout"]), json!({})).ok();
    let event = scene.alice.say(&scene.room, "who hears me?");
    scene.gateway.until("the other device", |told| told["event_id"] == event.as_str());
    assert!(scene.gateway.events_for("key").is_empty());
}

#[test]
fn an_invitation_to_a_room_of_another_server_is_told() {
    let here = server_with(config().federating_as("127.0.0.1"));
    let there = server_with(config().federating_as("localhost"));
    let (alice, bob) = (there.user("alice"), here.user("bob"));
    alice.put(v3(&["profile", &alice.id, "displayname"]), json!({ "displayname": "Dr. Alice" })).ok();
    let gateway = Gateway::start();
    set(&bob, pusher("key", gateway.url()));
    let room = alice.create_room(json!({ "preset": "private_chat", "name": "Consilium" }));
    alice.invite(&room, &bob);
    let told = gateway.until("the invitation", |told| told["type"] == "m.room.member");
    assert_eq!((&told["user_is_target"], &told["room_id"]), (&json!(true), &json!(room)));
    assert_eq!((&told["sender"], &told["membership"]), (&json!(alice.id), &json!("invite")));
    assert_eq!((&told["room_name"], &told["counts"]["unread"]), (&json!("Consilium"), &json!(1)));
    assert_eq!(told["sender_display_name"], "Dr. Alice", "{told}");
    bob.leave(&room);
    gateway.until("the number after the refusal", |told| told["counts"]["unread"] == 0);
}
