//! Threads whose root, or some of whose replies, are over.

use std::slice::from_ref;

use wardroom_testkit::{Actor, Value, bodies, event_ids, events, json, text, timeline, unique, v1, v3};

use super::{super::HOUR, MINUTE, Ward, at_last, at_once, config, purged, unhurried};
use crate::admin::admin_of;

fn reply_to(root: &str, body: &str) -> Value {
    let mut content = text(body);
    content["m.relates_to"] = json!({ "rel_type": "m.thread", "event_id": root });
    content
}

impl Ward {
    /// Alice replies in a thread.
    #[track_caller]
    fn replied(&self, root: &str, body: &str) -> String {
        let answer = self.alice.try_send(&self.room, "m.room.message", &unique("txn"), reply_to(root, body)).ok();
        answer["event_id"].as_str().unwrap().to_owned()
    }

    /// The threads that Alice is told of.
    #[track_caller]
    fn threads(&self, include: &str) -> Vec<Value> {
        let answer = self.alice.get(v1(&["rooms", &self.room, "threads"]).query("include", include)).ok();
        events(&answer["chunk"]).to_vec()
    }
}

fn thread_of(root: &Value) -> &Value {
    &root["unsigned"]["m.relations"]["m.thread"]
}

#[test]
fn the_newest_reply_that_lives_is_the_latest_of_its_thread() {
    for hurried in [false, true] {
        let ward = Ward::new(if hurried { config() } else { unhurried() });
        let root = ward.alice.say(&ward.room, "the root");
        let live = ward.replied(&root, "alive");
        // Comes later, and is older.
        let old = ward.sent_at(super::super::now_ms() - HOUR, "m.room.message", &reply_to(&root, "over"));
        let told = |ward: &Ward| {
            let listed = ward.threads("all");
            let event = ward.alice.try_event(&ward.room, &root).ok();
            let sync = ward.alice.initial_sync();
            let synced = timeline(&sync, &ward.room).iter().find(|event| event["event_id"] == *root).unwrap().clone();
            [listed[0].clone(), event, synced].map(|root| {
                let thread = thread_of(&root);
                (thread["count"].clone(), thread["latest_event"]["event_id"].clone())
            })
        };
        assert!(told(&ward).iter().all(|told| *told == (json!(2), json!(old))));
        ward.end_early();
        assert!(told(&ward).iter().all(|told| *told == (json!(1), json!(live))), "{:?}", told(&ward));
        if hurried {
            ward.purged(1);
            assert!(told(&ward).iter().all(|told| *told == (json!(1), json!(live))), "{:?}", told(&ward));
        }
        let replies = ward.alice.get(v1(&["rooms", &ward.room, "relations", &root, "m.thread"])).ok();
        assert_eq!(event_ids(events(&replies["chunk"])), [live]);
    }
}

#[test]
fn who_took_part_by_a_reply_that_is_over_takes_part_no_more() {
    let ward = Ward::new(config());
    let (admin, carol) = (admin_of(&ward.site.server), ward.site.user("carol"));
    carol.join(&ward.room);
    let root = carol.say(&ward.room, "the root");
    ward.replied(&root, "alice was here");
    assert_eq!(event_ids(&ward.threads("participated")), from_ref(&root));
    at_once(&admin, &ward.room);
    assert!(ward.threads("all").is_empty());
    purged(&admin, &ward.room, 2);
    at_last(&admin, &ward.room);
    carol.try_send(&ward.room, "m.room.message", &unique("txn"), reply_to(&root, "carol is")).ok();
    let listed = ward.threads("all");
    assert_eq!(event_ids(&listed), from_ref(&root), "the thread lives by its new reply");
    assert_eq!(listed[0]["content"], json!({}), "of the root its empty form is told");
    assert_eq!(thread_of(&listed[0])["current_user_participated"], false);
    assert_eq!(thread_of(&listed[0])["count"], 1);
    assert!(ward.threads("participated").is_empty());
}

#[test]
fn a_thread_of_which_nothing_lives_is_not_listed() {
    let ward = Ward::new(config());
    let root = ward.sent_before(HOUR, &text("the root"));
    ward.sent_at(super::super::now_ms() - HOUR, "m.room.message", &reply_to(&root, "over"));
    assert_eq!(ward.threads("all").len(), 1);
    ward.end_early();
    assert!(ward.threads("all").is_empty());
    ward.purged(2);
    assert!(ward.threads("all").is_empty());
    let replies = ward.alice.get(v1(&["rooms", &ward.room, "relations", &root, "m.thread"]));
    assert!(replies.status == 404 || bodies(events(&replies.ok()["chunk"])).is_empty());
    ward.set_policy(json!({ "max_lifetime": 100 * HOUR + MINUTE }));
    assert!(ward.threads("all").is_empty(), "and does not come back");
}

#[test]
fn unread_counts_of_threads_forget_what_is_over() {
    let ward = Ward::new(unhurried());
    let root = ward.alice.say(&ward.room, "the root");
    let mut mention = reply_to(&root, "alice, look");
    mention["m.mentions"] = json!({ "user_ids": [ward.alice.id] });
    ward.sent_at(super::super::now_ms() - HOUR, "m.room.message", &mention);
    let counts = || {
        let filter = json!({ "room": { "timeline": { "unread_thread_notifications": true } } }).to_string();
        let sync = ward.alice.try_sync(None, std::time::Duration::ZERO, Some(&filter)).ok();
        let room = wardroom_testkit::joined(&sync, &ward.room).clone();
        (room["unread_thread_notifications"][&root].clone(), room["unread_notifications"].clone())
    };
    let (thread, _) = counts();
    assert_eq!((&thread["notification_count"], &thread["highlight_count"]), (&json!(1), &json!(1)));
    ward.end_early();
    let (thread, main) = counts();
    for count in [&thread["notification_count"], &thread["highlight_count"]] {
        assert!(count.is_null() || *count == 0, "{thread}");
    }
    assert_eq!((&main["notification_count"], &main["highlight_count"]), (&json!(0), &json!(0)));
    assert!(events(&ward.alice.get(v3(&["notifications"])).ok()["notifications"]).is_empty());
}
