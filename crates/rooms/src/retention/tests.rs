//! The purge over the in-memory store, with a clock that moves when it is told to.

mod crashes;
mod endings;
mod records;

use std::time::Duration;

use proptest::prelude::{prop_assert, prop_assert_eq, proptest};
use ruma::{
    OwnedEventId, OwnedRoomId,
    api::client::filter::RoomEventFilter,
    events::receipt::{ReceiptThread, ReceiptType},
    owned_server_name, user_id,
};
use serde_json::{Value, json, value::to_raw_value};
use wardroom_store::{Catalogue, ReadError, Scan, Store};

use super::{Age, Lifetime, Override, PERISHABLE, Purged, RetentionSettings, SEALED_DAYS, STUBS, TERM_MS_MAX, Terms};
use crate::{
    Page, Preset, RelationsQuery, RoomError, SearchOrder, SearchQuery, TABLES, Viewer, fsck,
    tables::{EVENTS, Standing},
    tests::{Person, World, new_room, run},
};

const HOUR_MS: u64 = 60 * 60 * 1_000;
const DAY_MS: u64 = 24 * HOUR_MS;

/// Alice and her room on a server that keeps messages for ten days, and what is left of them for two more.
pub(crate) struct Ward {
    pub(crate) world: World,
    pub(crate) alice: Person,
    pub(crate) room: OwnedRoomId,
}

fn over(terms: Terms) -> Override {
    Override { terms, inactive_ms: None }
}

impl Ward {
    pub(crate) async fn new(version: &str) -> Self {
        Self::keeping(version, |_| {}).await
    }

    pub(crate) async fn keeping(version: &str, change: impl FnOnce(&mut RetentionSettings)) -> Self {
        let mut settings = RetentionSettings {
            default: Terms { max_ms: Some(10 * DAY_MS), min_ms: None },
            stubs_kept: Duration::from_millis(2 * DAY_MS),
            ..RetentionSettings::default()
        };
        change(&mut settings);
        let store = Store::in_memory(Catalogue::new(&[TABLES]).unwrap());
        let world = World::keeping(owned_server_name!("a.example"), store, settings);
        let alice = world.person(user_id!("@alice:a.example")).await;
        let room = world.rooms.create(alice.actor(), new_room(version, Preset::PublicChat)).await.unwrap();
        Self { world, alice, room }
    }

    async fn send(&self, content: Value) -> OwnedEventId {
        let content = to_raw_value(&content).unwrap();
        self.world.rooms.send(self.alice.actor(), &self.room, "m.room.message", content, None).await.unwrap()
    }

    pub(crate) async fn say(&self, body: &str) -> OwnedEventId {
        self.send(json!({ "msgtype": "m.text", "body": body })).await
    }

    async fn reply(&self, root: &OwnedEventId, body: &str) -> OwnedEventId {
        let relation = json!({ "rel_type": "m.thread", "event_id": root });
        self.send(json!({ "msgtype": "m.text", "body": body, "m.relates_to": relation })).await
    }

    pub(crate) async fn set_policy(&self, content: Value) -> Result<OwnedEventId, RoomError> {
        let content = to_raw_value(&content).unwrap();
        self.world.rooms.set_state(self.alice.actor(), &self.room, &"m.room.retention".into(), "", content).await
    }

    /// Bodies of the messages that Alice sees.
    pub(crate) async fn seen(&self) -> Vec<String> {
        let filter = RoomEventFilter::default();
        let page = Page { from: None, to: None, backwards: false, limit: 1_000, filter: &filter };
        let page = self.world.rooms.messages(self.alice.actor(), &self.room, page).await.unwrap();
        let body = |content: &serde_json::value::RawValue| -> Option<String> {
            let content: Value = serde_json::from_str(content.get()).unwrap();
            content["body"].as_str().map(str::to_owned)
        };
        page.chunk.iter().filter_map(|event| body(event.pdu.content())).collect()
    }

    pub(crate) async fn found(&self, term: &str) -> (usize, usize) {
        let (viewer, filter) = (Viewer::new(self.alice.actor()), RoomEventFilter::default());
        let query = SearchQuery { term, keys: &[], filter: &filter, order: SearchOrder::Recent, limit: 10, from: None };
        let page = self.world.rooms.search(viewer, query).await.unwrap();
        (page.hits.len(), page.count)
    }

    pub(crate) async fn is_there(&self, event: &OwnedEventId) -> bool {
        match self.world.rooms.event(self.alice.actor(), &self.room, event).await {
            Ok(_) => true,
            Err(RoomError::NoSuchEvent) => false,
            Err(error) => panic!("{error}"),
        }
    }

    pub(crate) fn pass(&self, ms: u64) {
        self.world.clock.advance_ms(ms);
    }

    pub(crate) fn now(&self) -> u64 {
        self.world.rooms.engine.clock.now_ms()
    }

    pub(crate) async fn purge(&self) -> Purged {
        let done = self.world.rooms.purge_expired(self.now()).await.unwrap();
        assert_eq!(done.failures, 0);
        assert_eq!(fsck(&self.world.store).await.unwrap().problems, Vec::<String>::new());
        done
    }

    /// Rows of events that can be read, and whether all can.
    pub(crate) async fn readable(&self) -> bool {
        let rows: Result<Vec<_>, ReadError> = self.world.store.latest().scan(&EVENTS, Scan::all()).await;
        rows.is_ok()
    }

    async fn rows(&self) -> [usize; 3] {
        let store = self.world.store.latest();
        [
            store.scan_keys(&PERISHABLE, Scan::all()).await.unwrap().len(),
            store.scan_keys(&SEALED_DAYS, Scan::all()).await.unwrap().len(),
            store.scan_keys(&STUBS, Scan::all()).await.unwrap().len(),
        ]
    }
}

#[test]
fn what_is_over_is_hidden_at_once_everywhere_and_purged_later() {
    run(async {
        let ward = Ward::new("12").await;
        let old = ward.say("the old word").await;
        ward.pass(9 * DAY_MS);
        let young = ward.say("the young word").await;
        assert_eq!((ward.seen().await.len(), ward.found("word").await), (2, (2, 2)));
        ward.pass(DAY_MS);
        assert_eq!(ward.seen().await, ["the young word"]);
        assert_eq!(ward.found("old").await, (0, 0), "not even that there is one is told");
        assert!(!ward.is_there(&old).await && ward.is_there(&young).await);
        let done = ward.purge().await;
        assert_eq!((done.events, done.keys), (1, 0));
        assert_eq!((ward.seen().await, ward.found("word").await), (vec!["the young word".to_owned()], (1, 1)));
        ward.pass(DAY_MS);
        assert_eq!(ward.purge().await, Purged { keys: 1, ..Purged::default() }, "and then its day's key");
        assert_eq!(ward.purge().await, Purged::default(), "once");
        assert!(ward.readable().await);
        let state = ward.world.rooms.current_state(ward.alice.actor(), &ward.room).await.unwrap();
        assert_eq!(state.len(), 7, "state stays");
    });
}

#[test]
fn rooms_of_every_version_are_purged_whole_and_go_on() {
    run(async {
        for version in wardroom_event::RoomVersion::ALL {
            let ward = Ward::new(version.as_str()).await;
            let said = ward.say("one").await;
            ward.world.rooms.redact(ward.alice.actor(), &ward.room, &said, None, None).await.unwrap();
            ward.say("the last event, which the next one follows").await;
            ward.pass(20 * DAY_MS);
            assert_eq!(ward.purge().await.events, 3, "version {}", version.as_str());
            assert!(ward.seen().await.is_empty());
            assert_eq!(ward.purge().await.keys, 1);
            ward.say("and on").await;
            assert_eq!(ward.seen().await, ["and on"]);
            ward.pass(5 * DAY_MS);
            assert_eq!(ward.purge().await.stubs, 3, "now something follows the last one");
            assert_eq!(ward.seen().await, ["and on"]);
            ward.say("still").await;
            assert!(ward.readable().await);
        }
    });
}

#[test]
fn the_newest_policy_counts_for_old_events_too() {
    run(async {
        let ward = Ward::new("12").await;
        ward.say("said").await;
        ward.pass(5 * DAY_MS);
        ward.set_policy(json!({ "max_lifetime": 4 * DAY_MS })).await.unwrap();
        assert!(ward.seen().await.is_empty(), "shorter");
        let policy = ward.set_policy(json!({ "max_lifetime": 30 * DAY_MS })).await.unwrap();
        assert_eq!(ward.seen().await.len(), 1, "longer again, before it was purged");
        ward.pass(15 * DAY_MS);
        assert_eq!((ward.seen().await.len(), ward.purge().await.events), (1, 0));
        ward.world.rooms.redact(ward.alice.actor(), &ward.room, &policy, None, None).await.unwrap();
        assert!(ward.seen().await.is_empty(), "a redacted policy asks for nothing: the server's default counts");
        ward.set_policy(json!({ "max_lifetime": 30 * DAY_MS })).await.unwrap();
        assert_eq!(ward.seen().await.len(), 1);
        ward.set_policy(json!({})).await.unwrap();
        assert!(ward.seen().await.is_empty(), "and so does an empty one");
        ward.purge().await;
        ward.set_policy(json!({ "max_lifetime": 90 * DAY_MS })).await.unwrap();
        assert!(ward.seen().await.is_empty(), "what was purged does not come back");
        for content in [json!({ "max_lifetime": -1 }), json!({ "max_lifetime": "1" }), json!({ "min_lifetime": 1.5 })] {
            let refused = ward.set_policy(content).await;
            assert!(matches!(refused, Err(RoomError::BadContent(sentence)) if sentence.contains("_lifetime")));
        }
    });
}

#[test]
fn limits_and_what_administrators_set_count_when_reading_and_when_purging() {
    run(async {
        let ward = Ward::keeping("12", |settings| {
            settings.max_limits = 2 * DAY_MS..=20 * DAY_MS;
            settings.min_limits = 0..=5 * DAY_MS;
        })
        .await;
        ward.set_policy(json!({ "max_lifetime": 0 })).await.unwrap();
        ward.say("kept for two days at least").await;
        ward.pass(2 * DAY_MS - 1);
        assert_eq!((ward.seen().await.len(), ward.purge().await.events), (1, 0));
        ward.set_policy(json!({ "max_lifetime": 1_000 * DAY_MS })).await.unwrap();
        ward.pass(18 * DAY_MS);
        assert_eq!(ward.seen().await.len(), 1);
        ward.pass(1);
        assert_eq!(ward.seen().await.len(), 0, "kept for twenty days at most");
        let set = |terms| ward.world.rooms.set_retention_override(&ward.room, terms);
        set(Some(over(Terms { max_ms: Some(40 * DAY_MS), min_ms: None }))).await.unwrap();
        assert_eq!((ward.seen().await.len(), ward.purge().await.events), (1, 0), "an administrator counts more");
        let refused = set(Some(over(Terms { max_ms: Some(1), min_ms: Some(2) }))).await;
        assert!(matches!(refused, Err(RoomError::InvalidParam(_))));
        set(None).await.unwrap();
        assert_eq!(ward.purge().await.events, 1);
    });
}

#[test]
fn what_must_be_kept_is_kept() {
    run(async {
        let ward = Ward::keeping("12", |settings| settings.min_limits = 30 * DAY_MS..=TERM_MS_MAX).await;
        ward.say("kept").await;
        ward.pass(30 * DAY_MS - 1);
        assert_eq!((ward.seen().await.len(), ward.purge().await.events), (1, 0), "longer than the default's maximum");
        let terms = Terms { max_ms: Some(0), min_ms: Some(0) };
        ward.world.rooms.set_retention_override(&ward.room, Some(over(terms))).await.unwrap();
        assert_eq!(ward.seen().await.len(), 1, "an administrator does not go below it either");
        ward.pass(1);
        assert_eq!((ward.seen().await.len(), ward.purge().await.events), (0, 1));
    });
}

#[test]
fn a_thread_lives_on_without_its_root() {
    run(async {
        let ward = Ward::new("12").await;
        let root = ward.say("root").await;
        ward.reply(&root, "old reply").await;
        let other = ward.say("root of a thread that ends").await;
        ward.reply(&other, "its only reply").await;
        ward.pass(9 * DAY_MS);
        let live = ward.reply(&root, "live reply").await;
        let threads = || ward.world.rooms.threads(Viewer::new(ward.alice.actor()), &ward.room, false, None, 10);
        assert_eq!(threads().await.unwrap().chunk.len(), 2);
        ward.pass(2 * DAY_MS);
        for purged in [false, true] {
            if purged {
                assert_eq!(ward.purge().await.events, 4);
            }
            let listed = threads().await.unwrap().chunk;
            assert_eq!(listed.len(), 1, "purged: {purged}");
            assert_eq!((listed[0].pdu.event_id(), listed[0].pdu.content().get()), (&*root, "{}"));
            let told = ward.world.rooms.client_events(Viewer::new(ward.alice.actor()), &ward.room, &listed).await;
            let told: Value = serde_json::from_str(told.unwrap()[0].get()).unwrap();
            let thread = &told["unsigned"]["m.relations"]["m.thread"];
            assert_eq!((&thread["count"], &thread["latest_event"]["event_id"]), (&json!(1), &json!(live)));
            let query = RelationsQuery {
                rel_type: Some("m.thread"),
                event_type: None,
                from: None,
                to: None,
                backwards: true,
                limit: 10,
                recurse: false,
            };
            let viewer = Viewer::new(ward.alice.actor());
            let replies = ward.world.rooms.relations(viewer, &ward.room, &root, query).await.unwrap();
            assert_eq!(replies.chunk.len(), 1, "whoever opens the thread reads on");
            assert!(!ward.is_there(&root).await);
        }
        ward.pass(3 * DAY_MS);
        assert_eq!(ward.purge().await.stubs, 3, "all but the root, to which a live event relates");
        ward.pass(6 * DAY_MS);
        ward.purge().await;
        assert!(threads().await.unwrap().chunk.is_empty());
    });
}

#[test]
fn edits_and_reactions_of_what_is_over_do_not_bring_it_back() {
    run(async {
        let ward = Ward::new("12").await;
        let said = ward.say("original").await;
        ward.pass(9 * DAY_MS);
        let relation = json!({ "rel_type": "m.replace", "event_id": said });
        let new = json!({ "msgtype": "m.text", "body": "better" });
        ward.send(json!({ "msgtype": "m.text", "body": "* better", "m.new_content": new, "m.relates_to": relation }))
            .await;
        ward.pass(2 * DAY_MS);
        for _ in 0..2 {
            assert_eq!(ward.seen().await, ["* better"], "the edit is an event of its own");
            assert!(!ward.is_there(&said).await);
            ward.purge().await;
        }
        ward.pass(20 * DAY_MS);
        ward.purge().await;
        assert!(ward.seen().await.is_empty());
    });
}

#[test]
fn receipts_on_what_is_over_work() {
    run(async {
        let ward = Ward::new("12").await;
        let said = ward.say("read").await;
        ward.pass(11 * DAY_MS);
        for _ in 0..2 {
            let (kind, thread) = (ReceiptType::ReadPrivate, ReceiptThread::Unthreaded);
            ward.world.rooms.set_receipt(ward.alice.actor(), &ward.room, &kind, &said, &thread).await.unwrap();
            ward.purge().await;
        }
    });
}

#[test]
fn a_server_with_a_policy_on_a_room_of_one_event_and_one_of_state_alone_finds_nothing_to_do() {
    run(async {
        let ward = Ward::new("12").await;
        ward.pass(100 * DAY_MS);
        assert_eq!(ward.purge().await, Purged::default());
        assert_eq!(ward.rows().await, [0, 0, 0]);
    });
}

#[test]
fn many_events_are_purged_page_by_page_and_stubs_leave_no_gap_that_is_filled() {
    run(async {
        let ward = Ward::new("12").await;
        let mut sent = Vec::new();
        for number in 0..450 {
            sent.push(ward.say(&format!("number {number}")).await);
            if number == 200 {
                ward.pass(DAY_MS);
            }
        }
        ward.pass(20 * DAY_MS);
        assert_eq!(ward.purge().await.events, 450);
        assert_eq!(ward.rows().await, [0, 2, 450]);
        let receipts = ward.world.rooms.purge_receipts(None, 10).await.unwrap();
        assert_eq!(receipts.iter().map(|receipt| receipt.count).sum::<u64>(), 450);
        ward.say("later").await;
        ward.pass(3 * DAY_MS);
        let done = ward.purge().await;
        assert_eq!((done.keys, done.stubs), (2, 450));
        assert_eq!(ward.rows().await, [1, 1, 0]);
        let view = ward.world.rooms.view(&ward.room).await.unwrap().unwrap();
        let gap = ward.world.rooms.gap(view.nid, crate::Place::LAST, crate::Place::FIRST).await.unwrap();
        assert_eq!(gap, None, "what was purged is not asked for again");
        assert!(ward.world.rooms.standing(&sent[3]).await.unwrap().is_none());
        assert_eq!(ward.seen().await, ["later"]);
        let keys = ward.world.rooms.purge_receipts(None, 10).await.unwrap();
        assert_eq!(keys.iter().flat_map(|receipt| &receipt.keys_destroyed).count(), 2);
    });
}

#[test]
fn receipts_are_signed_by_the_server() {
    run(async {
        let ward = Ward::new("12").await;
        ward.say("one").await;
        ward.pass(20 * DAY_MS);
        ward.purge().await;
        let receipt = ward.world.rooms.purge_receipts(None, 10).await.unwrap().remove(0);
        let mut object = serde_json::to_value(&receipt).unwrap();
        let signature = object.as_object_mut().unwrap().remove("signature").unwrap();
        let signature =
            base64::Engine::decode(&base64::engine::general_purpose::STANDARD_NO_PAD, signature.as_str().unwrap());
        let key = ward.world.rooms.engine.key.public_key();
        assert!(wardroom_event::is_signature(&key, object.to_string().as_bytes(), &signature.unwrap()));
        assert_eq!((receipt.count, receipt.policy.max_ms), (1, Some(10 * DAY_MS)));
        assert!(receipt.merkle_root.is_some());
    });
}

#[test]
fn a_purge_that_is_cut_short_is_gone_on_with() {
    run(async {
        let ward = Ward::new("12").await;
        for number in 0..5 {
            ward.say(&format!("number {number}")).await;
        }
        ward.pass(20 * DAY_MS);
        // The key is gone, and what says so was not written: as after a crash between the two.
        ward.purge().await;
        let view = ward.world.rooms.view(&ward.room).await.unwrap().unwrap();
        let day = crate::sealing::day_of(ward.now() - 20 * DAY_MS);
        ward.world.rooms.engine.destroy_day_keys(&[(view.nid, day)]).await.unwrap();
        assert_eq!(ward.purge().await.keys, 1);
        assert!(ward.readable().await, "what is left of events is sealed apart from what they were");
        assert_eq!(ward.rows().await, [0, 0, 5]);
    });
}

/// As in a store that was restored from a copy from before the day's key was destroyed.
#[test]
fn a_restored_room_goes_on_without_what_was_destroyed_since() {
    run(async {
        let ward = Ward::new("12").await;
        let root = ward.say("the root").await;
        ward.pass(DAY_MS);
        let lost = ward.reply(&root, "a lost reply").await;
        let annotation = json!({ "m.relates_to": { "rel_type": "m.annotation", "event_id": root, "key": "+1" } });
        let annotation = to_raw_value(&annotation).unwrap();
        let rooms = &ward.world.rooms;
        rooms.send(ward.alice.actor(), &ward.room, "m.reaction", annotation.clone(), None).await.unwrap();
        let thread = ward.say("a lost root").await;
        ward.reply(&thread, "a lost reply to it").await;
        let newest = ward.say("the newest word").await;
        let view = rooms.view(&ward.room).await.unwrap().unwrap();
        let day = crate::sealing::day_of(ward.now());
        ward.pass(DAY_MS);
        rooms.engine.destroy_day_keys(&[(view.nid, day)]).await.unwrap();

        // Nothing is in memory after a start.
        let settings = rooms.engine.retention.clone();
        let world = World::keeping(owned_server_name!("a.example"), ward.world.store.clone(), settings);
        world.clock.advance_ms(2 * DAY_MS);
        let ward = Ward { world, alice: ward.alice, room: ward.room };
        let rooms = &ward.world.rooms;
        assert_eq!(rooms.drop_lost().await.unwrap(), 5);
        assert_eq!(rooms.drop_lost().await.unwrap(), 0);
        let report = fsck(&ward.world.store).await.unwrap();
        assert_eq!((report.problems, report.destroyed), (Vec::<String>::new(), 0));
        assert!(ward.readable().await);
        assert_eq!((ward.seen().await, ward.found("word").await), (vec!["the root".to_owned()], (0, 0)));
        assert!(!ward.is_there(&lost).await);

        // The graph goes on where it ended, and the same can be said again.
        let next = ward.say("a new word").await;
        let (_, _, stored) = rooms.standing(&next).await.unwrap().unwrap();
        assert_eq!(stored.pdu.prev_events().collect::<Vec<_>>(), [&*newest]);
        rooms.send(ward.alice.actor(), &ward.room, "m.reaction", annotation, None).await.unwrap();
        ward.reply(&root, "a new reply").await;
        assert_eq!(ward.seen().await, ["the root", "a new word", "a new reply"]);
        let served = rooms.backfill_from(view.nid, &[next], 100).await.unwrap();
        assert_eq!(served.len(), 1, "others are told no more than there is");
        assert_eq!(fsck(&ward.world.store).await.unwrap().problems, Vec::<String>::new());
        assert_eq!(ward.purge().await.failures, 0);
    });
}

#[test]
fn the_key_of_a_day_stays_as_long_as_one_of_its_events() {
    run(async {
        let ward = Ward::new("12").await;
        ward.pass(DAY_MS - ward.now() % DAY_MS);
        ward.say("first of the day").await;
        ward.pass(23 * HOUR_MS);
        ward.say("last of the day").await;
        ward.pass(9 * DAY_MS + 2 * HOUR_MS);
        assert_eq!(ward.purge().await.events, 1);
        assert_eq!(ward.purge().await, Purged::default());
        assert_eq!(ward.seen().await, ["last of the day"]);
        ward.pass(DAY_MS);
        assert_eq!(ward.purge().await.events, 1);
        assert_eq!(ward.purge().await.keys, 1);
    });
}

#[test]
fn expired_events_of_others_are_kept_for_the_graph_alone() {
    run(async {
        let ward = Ward::new("12").await;
        let view = ward.world.rooms.view(&ward.room).await.unwrap().unwrap();
        // A term of nothing: what comes is over when it comes.
        let none = Terms { max_ms: Some(0), min_ms: None };
        ward.world.rooms.set_retention_override(&ward.room, Some(over(none))).await.unwrap();
        let event = ward.say("never shown").await;
        assert!(ward.seen().await.is_empty());
        assert_eq!(ward.found("never").await, (0, 0));
        let (_, standing, stored) = ward.world.rooms.standing(&event).await.unwrap().unwrap();
        assert_eq!((standing, stored.pruned, stored.pdu.content().get()), (Standing::Timeline, true, "{}"));
        assert_eq!(ward.rows().await, [0, 0, 1]);
        assert_eq!(ward.world.rooms.extremities(&ward.room).await.unwrap(), std::slice::from_ref(&event));
        let served = ward.world.rooms.backfill_from(view.nid, &[event], 100).await.unwrap();
        assert!(served.iter().all(|event| event.pdu.is_state()), "others get what is not over");
        ward.world.rooms.set_retention_override(&ward.room, None).await.unwrap();
        ward.say("shown").await;
        assert_eq!(ward.seen().await, ["shown"]);
        assert_eq!(fsck(&ward.world.store).await.unwrap().problems, Vec::<String>::new());
    });
}

#[test]
fn a_clock_that_jumps_hides_and_shows_and_destroys_nothing_by_itself() {
    run(async {
        let ward = Ward::new("12").await;
        let start = ward.now();
        ward.say("before").await;
        ward.pass(400 * DAY_MS);
        assert!(ward.seen().await.is_empty(), "over, as far as anybody knows");
        ward.say("in another year").await;
        ward.world.clock.set_ms(start + DAY_MS);
        assert_eq!(ward.seen().await, ["before", "in another year"], "it was not, and nothing is lost");
        assert_eq!(ward.purge().await, Purged::default());
        // What came when the clock was ahead ends by the time that its sender gave it, on time or later, never earlier.
        ward.world.clock.set_ms(start + 11 * DAY_MS);
        assert_eq!(ward.seen().await, ["in another year"]);
        ward.world.clock.set_ms(start + 411 * DAY_MS);
        assert!(ward.seen().await.is_empty());
        assert_eq!(ward.purge().await.events, 2);
    });
}

#[test]
fn a_clock_that_goes_back_behind_a_purge_takes_messages_under_keys_that_are_good() {
    run(async {
        let ward = Ward::new("12").await;
        let start = ward.now();
        ward.say("long ago").await;
        ward.pass(20 * DAY_MS);
        assert_eq!(ward.purge().await.events, 1);
        assert_eq!(ward.purge().await.keys, 1, "the key of the day is gone");
        ward.world.clock.set_ms(start + HOUR_MS);
        ward.say("on the same day again").await;
        assert_eq!(ward.seen().await, ["on the same day again"]);
        assert!(ward.readable().await);
        assert_eq!(ward.purge().await, Purged::default());
        ward.pass(20 * DAY_MS);
        assert_eq!(ward.purge().await.events, 1);
        assert_eq!(ward.purge().await.keys, 1, "that of the day's second time, too");
        ward.say("and on").await;
        assert_eq!(ward.seen().await, ["and on"]);
        assert!(ward.readable().await);
    });
}

proptest! {
    #[test]
    fn a_time_in_the_past_or_the_future_is_no_way_around(
        sent_ms: u64, received_ms in 0_u64..1 << 50, max_ms in 0..=TERM_MS_MAX, min_ms in 0..=TERM_MS_MAX,
    ) {
        let (age, lifetime) = (Age { sent_ms, received_ms }, Lifetime { max_ms: Some(max_ms), min_ms, ended_ms: None });
        prop_assert!(!lifetime.is_over(age, received_ms.saturating_add(min_ms).saturating_sub(1)) || min_ms == 0);
        prop_assert!(lifetime.is_over(age, received_ms.saturating_add(max_ms.max(min_ms))));
        prop_assert_eq!(Lifetime { max_ms: None, min_ms, ended_ms: None }.is_over(age, u64::MAX), false);
    }
}
