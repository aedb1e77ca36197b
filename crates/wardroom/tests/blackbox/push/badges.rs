//! The number at an application's icon.

use wardroom_testkit::{Actor, json, v3};

use super::{Scene, config, ward};
use crate::server_with;

fn unread(told: &wardroom_testkit::Value) -> u64 {
    told["counts"]["unread"].as_u64().unwrap_or_else(|| panic!("a number is told, zero too: {told}"))
}

#[test]
fn reading_elsewhere_takes_the_number_back() {
    let scene = Scene::new(ward());
    let event = scene.alice.say(&scene.room, "one");
    assert_eq!(unread(&scene.gateway.of_event(&event)), 1);
    let more = scene.alice.say(&scene.room, "two");
    assert_eq!(unread(&scene.gateway.of_event(&more)), 1, "rooms are counted");
    scene.read(&more);
    let told = scene.gateway.until("the number alone", |told| told.get("event_id").is_none());
    assert_eq!((unread(&told), &told["prio"]), (0, &json!("low")));
    for field in ["id", "room_id", "type", "sender", "content"] {
        assert!(told.get(field).is_none(), "{field}: {told}");
    }
    assert_eq!(told["devices"][0]["pushkey"], "key");
}

#[test]
fn answering_reads_too() {
    let scene = Scene::new(ward());
    let event = scene.alice.say(&scene.room, "are you there?");
    scene.gateway.of_event(&event);
    scene.bob.say(&scene.room, "yes");
    let told = scene.gateway.until("the number alone", |told| told.get("event_id").is_none());
    assert_eq!(unread(&told), 0);
}

#[test]
fn a_private_receipt_counts_and_a_thread_counts_apart() {
    let scene = Scene::new(ward());
    let root = scene.alice.say(&scene.room, "root");
    scene.gateway.of_event(&root);
    let reply = json!({
        "msgtype": "m.text", "body": "in the thread",
        "m.relates_to": { "rel_type": "m.thread", "event_id": root },
    });
    let reply = scene.alice.try_send(&scene.room, "m.room.message", "reply", reply).ok();
    let reply = reply["event_id"].as_str().unwrap().to_owned();
    scene.gateway.of_event(&reply);
    let receipt = |event: &str, thread: &str| {
        let target = v3(&["rooms", &scene.room, "receipt", "m.read.private", event]);
        scene.bob.post(target, json!({ "thread_id": thread })).ok();
    };
    receipt(&root, "main");
    receipt(&reply, &root);
    let told = scene.gateway.until("the number alone", |told| told.get("event_id").is_none());
    assert_eq!(unread(&told), 0, "not before the thread is read, too");
}

#[test]
fn messages_can_be_counted_instead() {
    let server = server_with(config().set("push.badge", r#""messages""#));
    let scene = Scene::new(&server);
    for expected in 1..=3 {
        let event = scene.alice.say(&scene.room, "again");
        assert_eq!(unread(&scene.gateway.of_event(&event)), expected);
    }
}
