//! What is over is told nowhere, from the moment on at which it is.

use wardroom_testkit::{
    Actor, Target, Value, bodies, event_ids, json, raw, text, timeline, unique, v1, v3, wait_until,
};

use super::{HOUR, MINUTE, Ward, config};
use crate::{
    SOON,
    admin::{admin_of, own},
    audit::records,
};

impl Ward {
    /// In how many places of the client-server API Alice is told of an event or finds it.
    #[track_caller]
    fn tellings(&self, event: &str, word: &str) -> Vec<&'static str> {
        let (alice, room) = (&self.alice, &*self.room);
        let mut told = Vec::new();
        let mut note = |place: &'static str, is_told: bool| told.extend(is_told.then_some(place));
        let has = |events: &Value| events.to_string().contains(event);
        note("messages", self.messages().iter().any(|message| message["event_id"] == event));
        note("event", alice.get(v3(&["rooms", room, "event", event])).status == 200);
        note("context", alice.get(v3(&["rooms", room, "context", event])).status == 200);
        note("sync", has(&json!(timeline(&alice.initial_sync(), room))));
        let list = json!({ "lists": { "all": { "ranges": [[0, 9]], "timeline_limit": 50, "required_state": [] } } });
        let sliding = raw("/_matrix/client/unstable/org.matrix.simplified_msc3575/sync");
        note("sliding sync", has(&alice.post(sliding, list).ok()["rooms"][room]["timeline"]));
        let search = json!({ "search_categories": { "room_events": { "search_term": word } } });
        let found = alice.post(v3(&["search"]), search).ok();
        note("search", found["search_categories"]["room_events"]["count"] != 0);
        let near = v1(&["rooms", room, "timestamp_to_event"]).query("ts", "0").query("dir", "f");
        let first = alice.get(near).ok();
        note("timestamp_to_event", has(&first));
        note("notifications", has(&alice.get(v3(&["notifications"])).ok()));
        told
    }

    fn unread(&self) -> Value {
        self.alice.initial_sync()["rooms"]["join"][&self.room]["unread_notifications"]["notification_count"].clone()
    }
}

#[test]
fn what_is_over_is_told_nowhere_and_then_gone() {
    let ward = Ward::new(config());
    let word = unique("word").replace(|letter: char| !letter.is_alphanumeric(), "x");
    // Sent before the room was: it is the first event by its time.
    let old = ward.sent_before(HOUR, &text(&format!("the old {word}")));
    let young = ward.alice.say(&ward.room, "the young one");
    let everywhere = ward.tellings(&old, &word);
    let all = ["messages", "event", "context", "sync", "sliding sync", "search", "timestamp_to_event"];
    assert!(all.iter().all(|place| everywhere.contains(place)), "{everywhere:?}");
    let (carol, extra) = (ward.site.user("carol"), ward.sent_before(HOUR, &text("also old")));
    carol.join(&ward.room);
    assert_eq!(ward.unread(), 1);
    ward.set_policy(json!({ "max_lifetime": 30 * MINUTE }));
    assert_eq!(ward.tellings(&old, &word), Vec::<&str>::new(), "at once");
    assert_eq!(ward.unread(), 0);
    assert_eq!(event_ids(&ward.messages()), [young]);
    let admin = admin_of(&ward.site.server);
    wait_until("the purge", SOON, || {
        let purged = records(&admin, &[("act", "retention.redact"), ("room_id", &ward.room)]);
        (purged.iter().filter_map(|record| record["on"]["count"].as_u64()).sum::<u64>() == 2).then_some(())
    });
    assert_eq!(ward.tellings(&old, &word), Vec::<&str>::new(), "and for good");
    ward.set_policy(json!({ "max_lifetime": 100 * HOUR }));
    assert_eq!(ward.tellings(&old, &word), Vec::<&str>::new(), "what was purged does not come back");
    assert_eq!(ward.alice.get(v3(&["rooms", &ward.room, "event", &extra])).status, 404);
    ward.alice.post(v3(&["rooms", &ward.room, "receipt", "m.read", &old]), json!({})).ok();
    assert_eq!(bodies(&ward.messages()), ["the young one"]);
    let receipts = admin.get(own(&["retention", "receipts"])).ok()["receipts"].as_array().unwrap().clone();
    let count: u64 = receipts.iter().filter_map(|receipt| receipt["count"].as_u64()).sum();
    assert_eq!(count, 2, "{receipts:?}");
    assert!(receipts.iter().all(|receipt| receipt["signature"].is_string() && receipt["room_id"] == *ward.room));
    ward.alice.get(own(&["retention", "receipts"])).refused(403, "M_FORBIDDEN");
}

#[test]
fn a_thread_outlives_its_root() {
    let ward = Ward::new(config());
    let root = ward.sent_before(HOUR, &text("the root"));
    let reply = |body: &str| json!({ "msgtype": "m.text", "body": body, "m.relates_to": { "rel_type": "m.thread", "event_id": root } });
    ward.sent_before(HOUR, &reply("an old reply"));
    let live = ward.alice.try_send(&ward.room, "m.room.message", &unique("txn"), reply("a live reply")).ok();
    ward.set_policy(json!({ "max_lifetime": 30 * MINUTE }));
    let admin = admin_of(&ward.site.server);
    for _ in 0..2 {
        let threads = ward.alice.get(v1(&["rooms", &ward.room, "threads"])).ok();
        let [listed] = threads["chunk"].as_array().unwrap().as_slice() else { panic!("{threads}") };
        assert_eq!((&listed["event_id"], &listed["content"]), (&json!(root), &json!({})), "of the root what is left");
        let thread = &listed["unsigned"]["m.relations"]["m.thread"];
        assert_eq!((&thread["count"], &thread["latest_event"]["event_id"]), (&json!(1), &live["event_id"]));
        let replies = ward.alice.get(v1(&["rooms", &ward.room, "relations", &root, "m.thread"])).ok();
        assert_eq!(bodies(replies["chunk"].as_array().unwrap()), ["a live reply"]);
        ward.alice.get(v3(&["rooms", &ward.room, "event", &root])).refused(404, "M_NOT_FOUND");
        wait_until("the purge", SOON, || {
            let purged = records(&admin, &[("act", "retention.redact"), ("room_id", &ward.room)]);
            (purged.iter().filter_map(|record| record["on"]["count"].as_u64()).sum::<u64>() == 2).then_some(())
        });
    }
}

#[test]
fn other_servers_are_not_told_what_is_over_and_the_graph_stays_whole() {
    let ward = Ward::new(config());
    let old = ward.sent_before(HOUR, &text("old"));
    let young = ward.alice.say(&ward.room, "young");
    let ask = |target: &Target| ward.peer.ask(&ward.site.server, "GET", target, None);
    let event = Target::federation_v1(&["event", &old]);
    assert_eq!(ask(&event).ok()["pdus"][0]["content"]["body"], "old");
    ward.set_policy(json!({ "max_lifetime": 30 * MINUTE }));
    ask(&event).refused(404, "M_NOT_FOUND");
    let backfill = Target::federation_v1(&["backfill", &ward.room]).query("v", &young).query("limit", "100");
    let pdus = ask(&backfill).ok()["pdus"].as_array().unwrap().clone();
    assert_eq!(bodies(&pdus).iter().filter(|body| !body.is_empty()).count(), 1, "{pdus:?}");
    assert!(pdus.iter().any(|pdu| pdu["type"] == "m.room.create"), "what comes before is told");
    let missing = Target::federation_v1(&["get_missing_events", &ward.room]);
    let body = json!({ "earliest_events": [], "latest_events": [young], "limit": 50 });
    let told = ward.peer.ask(&ward.site.server, "POST", &missing, Some(&body)).ok();
    assert!(!told["events"].to_string().contains("\"old\""), "{told}");
    // It comes again, and another that is over when it comes: neither is shown, and the room goes on behind them.
    let late = ward.sent_before(HOUR, &text("over when it came"));
    let member = Target::federation_v1(&["state_ids", &ward.room]).query("event_id", &late);
    assert!(!ask(&member).ok()["pdu_ids"].as_array().unwrap().is_empty());
    ward.peer.say(&ward.site.server, &ward.room, &ward.bob, "on time");
    assert_eq!(bodies(&ward.messages()), ["young", "on time"]);
}

#[test]
fn without_configuration_messages_end_after_a_year() {
    let ward = Ward::new(wardroom_testkit::Config::default());
    let year = 365 * 24 * HOUR;
    ward.sent_before(year + HOUR, &text("more than a year ago"));
    ward.sent_before(year - HOUR, &text("less than a year ago"));
    let zero = ward.sent_before(super::now_ms(), &text("in 1970"));
    assert_eq!(bodies(&ward.messages()), ["less than a year ago"]);
    ward.alice.get(v3(&["rooms", &ward.room, "event", &zero])).refused(404, "M_NOT_FOUND");
    ward.alice.say(&ward.room, "now");
    assert_eq!(bodies(&ward.messages()), ["less than a year ago", "now"]);
}
