//! The ways of reading that have to step over what is over.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use wardroom_testkit::{
    Actor, Follower, Target, bodies, event_ids, events, has_event, joined, json, raw, text, timeline, unique, v1, v3,
};

use super::{
    super::{HOUR, now_ms},
    Ward, at_once, config, purged, unhurried,
};
use crate::{
    SOON,
    admin::{admin_of, synapse},
    server_with,
};

#[test]
fn context_steps_over_what_is_over() {
    let ward = Ward::new(config());
    let before = ward.alice.say(&ward.room, "before");
    ward.sent_before(HOUR, &text("over 1"));
    let middle = ward.alice.say(&ward.room, "in the middle");
    ward.sent_before(HOUR, &text("over 2"));
    let after = ward.alice.say(&ward.room, "after");
    ward.end_early();
    for is_purged in [false, true] {
        if is_purged {
            ward.purged(2);
        }
        let context = ward.alice.get(v3(&["rooms", &ward.room, "context", &middle]).query("limit", "50")).ok();
        assert_eq!(context["event"]["event_id"], *middle);
        let (earlier, later) = (events(&context["events_before"]), events(&context["events_after"]));
        assert_eq!(bodies(earlier), ["before"], "purged: {is_purged}");
        assert_eq!(bodies(later), ["after"]);
        assert!(has_event(earlier, &before) && has_event(later, &after));
        let on = ward.alice.try_messages(&ward.room, "b", context["start"].as_str(), "50").ok();
        assert!(bodies(events(&on["chunk"])).is_empty(), "what was before it is told: {on}");
    }
}

#[test]
fn timestamp_to_event_finds_the_nearest_that_lives() {
    let ward = Ward::new(config());
    let (hour_ago, old) = (now_ms() - HOUR, ward.sent_before(HOUR, &text("over")));
    let near = |dir: &str| {
        let target = v1(&["rooms", &ward.room, "timestamp_to_event"]);
        ward.alice.get(target.query("ts", &hour_ago.to_string()).query("dir", dir))
    };
    let federated = |dir: &str| {
        let target = Target::federation_v1(&["timestamp_to_event", &ward.room]);
        ward.peer.ask(&ward.site.server, "GET", &target.query("ts", &hour_ago.to_string()).query("dir", dir), None)
    };
    assert_eq!(near("f").ok()["event_id"], *old);
    assert_eq!(federated("f").ok()["event_id"], *old);
    ward.end_early();
    for is_purged in [false, true] {
        if is_purged {
            ward.purged(1);
        }
        assert_ne!(near("f").ok()["event_id"], *old, "purged: {is_purged}");
        assert_ne!(federated("f").ok()["event_id"], *old);
        for answer in [near("b"), federated("b")] {
            assert!(answer.status == 404 || answer.ok()["event_id"] != *old);
        }
    }
}

#[test]
fn a_gap_in_a_sync_is_filled_with_what_lives() {
    let ward = Ward::new(config());
    let filter = json!({ "room": { "timeline": { "limit": 5 } } });
    let mut sync = Follower::start_filtered(&ward.alice, Some(&filter));
    let live: Vec<String> = (0..10)
        .map(|number| {
            ward.sent_before(HOUR, &text(&format!("over {number}")));
            ward.alice.say(&ward.room, &format!("alive {number}"))
        })
        .collect();
    ward.end_early();
    let answer = sync.now();
    let told = timeline(&answer, &ward.room);
    assert!(!bodies(told).iter().any(|body| body.starts_with("over")), "{told:?}");
    let prev = joined(&answer, &ward.room)["timeline"]["prev_batch"].as_str().unwrap().to_owned();
    let back = ward.alice.try_messages(&ward.room, "b", Some(&prev), "100").ok();
    let mut seen = event_ids(events(&back["chunk"]));
    seen.reverse();
    seen.extend(event_ids(told));
    let seen: Vec<&String> = seen.iter().filter(|event| live.contains(event)).collect();
    assert_eq!(seen, live.iter().collect::<Vec<_>>(), "each that lives, once and in order");
    // What was over when it came is no news.
    ward.sent_before(HOUR, &text("over when it came"));
    let marker = ward.alice.say(&ward.room, "marker");
    let news = sync.until("the marker", SOON, |sync| has_event(timeline(sync, &ward.room), &marker));
    assert_eq!(bodies(timeline(&news, &ward.room)), ["marker"]);
}

#[test]
fn a_sliding_sync_timeline_holds_what_lives_up_to_its_limit() {
    let ward = Ward::new(unhurried());
    let live: Vec<String> = (0..6).map(|number| ward.alice.say(&ward.room, &format!("alive {number}"))).collect();
    for number in 0..8 {
        ward.sent_before(HOUR, &text(&format!("over {number}")));
    }
    ward.end_early();
    for limit in [1, 3, 5] {
        let list = json!({ "ranges": [[0, 9]], "timeline_limit": limit, "required_state": [] });
        let body = json!({ "conn_id": unique("conn"), "lists": { "all": list } });
        let path = raw("/_matrix/client/unstable/org.matrix.simplified_msc3575/sync");
        let told = ward.alice.post(path, body).ok()["rooms"][&ward.room]["timeline"].clone();
        let told = event_ids(events(&told));
        assert_eq!(told.len(), limit, "{told:?}");
        // The last is the policy.
        assert_eq!(told[..limit - 1], live[live.len() + 1 - limit..], "limit {limit}");
    }
}

#[test]
fn a_report_on_what_is_over_shows_nothing_of_it() {
    let ward = Ward::new(config());
    let admin = admin_of(&ward.site.server);
    let old = ward.sent_before(HOUR, &text("reported words"));
    let report = || ward.alice.post(v3(&["rooms", &ward.room, "report", &old]), json!({ "reason": "rude" }));
    report().ok();
    let listed = || admin.get(raw("/_synapse/admin/v1/event_reports").query("room_id", &ward.room)).ok();
    let id = listed()["event_reports"][0]["id"].to_string();
    let shown = || admin.get(synapse(&["v1", "event_reports", &id])).ok();
    assert!(shown().to_string().contains("reported words"));
    ward.end_early();
    for is_purged in [false, true] {
        if is_purged {
            ward.purged(1);
        }
        assert_eq!(listed()["total"], 1, "that it was reported stays");
        assert!(!shown().to_string().contains("reported words"), "purged: {is_purged}");
        report().refused(404, "M_NOT_FOUND");
    }
}

#[test]
fn administrators_are_not_shown_what_is_over() {
    let ward = Ward::new(config());
    let admin = admin_of(&ward.site.server);
    let old = ward.sent_before(HOUR, &text("the old words"));
    let near = ward.alice.say(&ward.room, "near it");
    let places = [
        synapse(&["v1", "rooms", &ward.room, "messages"]).query("dir", "b").query("limit", "100"),
        synapse(&["v1", "rooms", &ward.room, "context", &near]),
        synapse(&["v1", "fetch_event", &old]),
    ];
    let told =
        || places.clone().map(|place| String::from_utf8(admin.get(place).bytes).unwrap().contains("the old words"));
    assert_eq!(told(), [true; 3]);
    ward.end_early();
    assert_eq!(told(), [false; 3]);
    ward.purged(1);
    assert_eq!(told(), [false; 3]);
}

#[test]
fn receipts_and_markers_stand_on_what_is_over() {
    let ward = Ward::new(config());
    let (carol, old) = (ward.site.user("carol"), ward.sent_before(HOUR, &text("read")));
    carol.join(&ward.room);
    carol.post(v3(&["rooms", &ward.room, "receipt", "m.read", &old]), json!({})).ok();
    let marked = json!({ "m.fully_read": old, "m.read": old, "m.read.private": old });
    ward.alice.post(v3(&["rooms", &ward.room, "read_markers"]), marked.clone()).ok();
    ward.end_early();
    for is_purged in [false, true] {
        if is_purged {
            ward.purged(1);
        }
        let sync = ward.alice.initial_sync();
        let shown = joined(&sync, &ward.room);
        assert_eq!(shown["unread_notifications"]["notification_count"], 0, "purged: {is_purged}");
        let marker = events(&shown["account_data"]["events"]).iter().find(|event| event["type"] == "m.fully_read");
        assert_eq!(marker.unwrap()["content"]["event_id"], *old, "where somebody was stays known");
        for answer in [
            ward.alice.post(v3(&["rooms", &ward.room, "read_markers"]), marked.clone()),
            carol.post(v3(&["rooms", &ward.room, "receipt", "m.read", &old]), json!({})),
        ] {
            assert!([200, 404].contains(&answer.status), "{}", answer.story());
        }
    }
    let next = ward.peer.say(&ward.site.server, &ward.room, &ward.bob, "unread");
    let count = || joined(&ward.alice.initial_sync(), &ward.room)["unread_notifications"]["notification_count"].clone();
    assert_eq!(count(), 1);
    ward.alice.post(v3(&["rooms", &ward.room, "receipt", "m.read", &next]), json!({})).ok();
    assert_eq!(count(), 0);
}

/// Whoever reads while the purge works sees a room that is right at each moment.
#[test]
fn syncs_and_pages_are_right_while_the_purge_works() {
    const MESSAGES: usize = 500;
    let server = server_with(config());
    let (admin, alice, bob) = (admin_of(&server), server.user("alice"), server.user("bob"));
    let room = alice.create_public_room(&[&bob]);
    for number in 0..MESSAGES {
        alice.say(&room, &format!("over {number}"));
    }
    let over = AtomicBool::new(false);
    at_once(&admin, &room);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut rounds = 0;
            while !over.load(Ordering::Relaxed) || rounds == 0 {
                let history = bob.history(&room);
                let ids = event_ids(&history);
                let unique: std::collections::BTreeSet<_> = ids.iter().collect();
                assert_eq!(unique.len(), ids.len(), "nothing is told twice");
                assert!(bodies(&history).is_empty(), "{:?}", bodies(&history));
                rounds += 1;
            }
        });
        let syncer = scope.spawn(|| {
            let mut sync = Follower::start(&bob);
            while !over.load(Ordering::Relaxed) {
                let answer = sync.now();
                assert!(!bodies(timeline(&answer, &room)).iter().any(|body| body.starts_with("over")));
            }
            assert!(!bob.initial_sync().to_string().contains("over "));
        });
        purged(&admin, &room, MESSAGES as u64);
        over.store(true, Ordering::Relaxed);
        (reader.join().unwrap(), syncer.join().unwrap())
    });
    assert!(bodies(&alice.history(&room)).is_empty());
}
