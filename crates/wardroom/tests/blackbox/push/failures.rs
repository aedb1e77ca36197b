//! Gateways that fail, and servers that do.

use wardroom_testkit::{Actor, json, wait_until};

use super::{Scene, config, keys, own_server, pusher, set, ward};
use crate::{
    SOON,
    admin::{admin_of, own},
    audit::records,
    server_with,
};

#[test]
fn a_rejected_pusher_is_removed() {
    let scene = Scene::new(ward());
    set(&scene.bob, pusher("dead", scene.gateway.url()));
    scene.gateway.answer(|key| {
        let rejected = if key == "dead" { vec!["dead"] } else { vec![] };
        (200, json!({ "rejected": rejected }))
    });
    let event = scene.alice.say(&scene.room, "one");
    scene.gateway.of_event(&event);
    wait_until("the end of the rejected pusher", SOON, || (keys(&scene.bob) == ["key"]).then_some(()));
    let after = scene.alice.say(&scene.room, "two");
    scene.gateway.of_event(&after);
    assert_eq!(scene.gateway.events_for("dead"), [event.as_str()]);
    assert_eq!(scene.gateway.events_for("key"), [event, after]);
}

#[test]
fn answers_of_all_kinds_are_borne() {
    let scene = Scene::new(ward());
    scene.gateway.answer(|_| (200, json!({ "rejected": "nonsense" })));
    let odd = scene.alice.say(&scene.room, "one");
    scene.gateway.of_event(&odd);
    scene.gateway.answer(|_| (400, json!({ "errcode": "M_BAD_JSON" })));
    let refused = scene.alice.say(&scene.room, "two");
    scene.gateway.of_event(&refused);
    scene.gateway.answer(|_| (200, json!({})));
    let taken = scene.alice.say(&scene.room, "three");
    scene.gateway.of_event(&taken);
    assert_eq!(scene.gateway.events_for("key"), [odd, refused, taken], "each was told once");
    assert_eq!(keys(&scene.bob), ["key"]);
}

#[test]
fn a_gateway_that_comes_back_is_told_what_it_missed_in_order() {
    let scene = Scene::new(ward());
    scene.gateway.answer(|_| (503, json!({})));
    let first = scene.alice.say(&scene.room, "one");
    scene.gateway.of_event(&first);
    let missed: Vec<String> = (0..30).map(|number| scene.alice.say(&scene.room, &number.to_string())).collect();
    let attempts = scene.gateway.heard().len();
    scene.gateway.answer(|_| (200, json!({ "rejected": [] })));
    scene.gateway.of_event(missed.last().unwrap());
    let told: Vec<String> = scene.gateway.events_for("key").split_off(attempts);
    let tail: Vec<String> = told.iter().rev().take(20).rev().cloned().collect();
    assert_eq!(tail, missed[10..], "the newest, in order, each once: no storm");
    assert!(told.len() <= 21, "{told:?}");
}

#[test]
fn what_is_no_longer_news_is_not_told() {
    let scene = Scene::new(ward());
    scene.gateway.answer(|_| (503, json!({})));
    let first = scene.alice.say(&scene.room, "one");
    scene.gateway.of_event(&first);
    let redacted = scene.alice.say(&scene.room, "two");
    scene.alice.redact(&scene.room, &redacted);
    let read = scene.alice.say(&scene.room, "three");
    scene.read(&read);
    let last = scene.alice.say(&scene.room, "four");
    scene.gateway.answer(|_| (200, json!({ "rejected": [] })));
    scene.gateway.of_event(&last);
    let told = scene.gateway.events_for("key");
    assert!(!told.contains(&redacted) && !told.contains(&read), "{told:?}");
    assert_eq!(told.iter().filter(|event| **event == last).count(), 1);
}

#[test]
fn a_restart_loses_nothing_and_repeats_nothing() {
    let mut server = own_server();
    let scene = Scene::new(&server);
    let before = scene.alice.say(&scene.room, "before");
    scene.gateway.of_event(&before);
    scene.gateway.answer(|_| (503, json!({})));
    let missed = scene.alice.say(&scene.room, "missed");
    scene.gateway.of_event(&missed);
    server.kill9();
    let attempts = scene.gateway.heard().len();
    scene.gateway.answer(|_| (200, json!({ "rejected": [] })));
    server.start_again();
    let after = scene.alice.say(&scene.room, "after");
    scene.gateway.of_event(&after);
    assert_eq!(scene.gateway.events_for("key").split_off(attempts), [missed, after]);
    server.restart();
    let last = scene.alice.say(&scene.room, "last");
    scene.gateway.of_event(&last);
    assert_eq!(scene.gateway.events_for("key").last(), Some(&last));
    assert_eq!(scene.gateway.events_for("key").iter().filter(|event| **event == before).count(), 1);
    assert_eq!(keys(&scene.bob), ["key"]);
}

#[test]
fn what_ended_while_it_waited_for_its_gateway_is_not_told() {
    let server = server_with(config().set("retention.purge_every_seconds", "1"));
    let (scene, admin) = (Scene::new(&server), admin_of(&server));
    let keep = |ms: u64| admin.put(own(&["rooms", &scene.room, "retention"]), json!({ "max_lifetime": ms })).ok();
    scene.gateway.answer(|_| (503, json!({})));
    let over = [scene.alice.say(&scene.room, "the old words"), scene.alice.say(&scene.room, "more of them")];
    scene.gateway.of_event(&over[0]);
    keep(0);
    wait_until("the purge", SOON, || {
        let purged = records(&admin, &[("act", "retention.redact"), ("room_id", &scene.room)]);
        (purged.iter().filter_map(|record| record["on"]["count"].as_u64()).sum::<u64>() == 2).then_some(())
    });
    let attempts = scene.gateway.heard().len();
    keep(24 * 60 * 60 * 1_000);
    scene.gateway.answer(|_| (200, json!({ "rejected": [] })));
    let after = scene.alice.say(&scene.room, "after");
    let told = scene.gateway.of_event(&after);
    assert_eq!(told["counts"]["unread"], 1, "nor are they counted");
    let heard = scene.gateway.heard().split_off(attempts);
    for event in &over {
        assert!(heard.iter().all(|told| told["event_id"] != **event), "{heard:?}");
    }
}
