//! Erasures over the in-memory store.

use std::sync::Arc;

use ruma::{OwnedEventId, OwnedRoomId, api::client::filter::RoomEventFilter, owned_server_name, user_id};
use serde_json::{Value, json, value::to_raw_value};
use wardroom_audit::AuditLog;
use wardroom_clock::ManualClock;
use wardroom_event::SigningKey;
use wardroom_holds::{HoldSettings, Holds, NewHold};
use wardroom_store::{Catalogue, Store};

use super::{ErasedMessages, Erasure, ErasureState, ErasureWish};
use crate::{
    MemberProfile, Page, Preset, RetentionSettings, RoomError, Rooms, SearchOrder, SearchQuery, Settings, StandardGate,
    TABLES, Viewer, fsck,
    tests::{Person, World, new_room, run},
};

/// Alice and Bob, who speak in a room.
struct Ward {
    world: World,
    holds: Holds,
    alice: Person,
    bob: Person,
    room: OwnedRoomId,
}

impl Ward {
    async fn new(messages: ErasedMessages) -> Self {
        let store = Store::in_memory(Catalogue::new(&[TABLES, wardroom_holds::TABLES]).unwrap());
        let clock = Arc::new(ManualClock::new(1_700_000_000_000));
        let holds_settings = HoldSettings::default();
        let holds = Holds::open(store.clone(), clock.clone(), AuditLog::silent(), holds_settings).await.unwrap();
        let settings = Settings {
            server_name: owned_server_name!("a.example"),
            default_version: ruma::room_version_id!("12"),
            signing_key: SigningKey::from_seed([7; 32], "1").unwrap().into(),
            holds: holds.clone(),
            retention: RetentionSettings { erased_messages: messages, ..RetentionSettings::default() },
        };
        let rooms = Rooms::new(store.clone(), clock.clone(), Arc::new(StandardGate), AuditLog::silent(), settings);
        let world = World { store, rooms, clock };
        let (alice, bob) =
            (world.person(user_id!("@alice:a.example")).await, world.person(user_id!("@bob:a.example")).await);
        let room = world.rooms.create(bob.actor(), new_room("12", Preset::PublicChat)).await.unwrap();
        world.rooms.join(alice.actor(), &room, MemberProfile::default(), None).await.unwrap();
        Self { world, holds, alice, bob, room }
    }

    async fn say(&self, who: &Person, content: Value) -> OwnedEventId {
        let content = to_raw_value(&content).unwrap();
        self.world.rooms.send(who.actor(), &self.room, "m.room.message", content, None).await.unwrap()
    }

    /// Asks for Alice's erasure.
    async fn ask(&self, until_ms: Option<u64>) -> Erasure {
        let reason = until_ms.map(|_| "the record is kept for ten years".to_owned());
        let wish = ErasureWish { user: self.alice.actor().user, nid: self.alice.actor().nid, reason, until_ms };
        self.world.rooms.erase_user(wish).await.unwrap()
    }

    /// Does what waits to be done.
    async fn work(&self) -> Erasure {
        for mut task in self.world.rooms.tasks().await.unwrap().into_iter().filter(|task| !task.status.is_final()) {
            self.world.rooms.do_erasure(&mut task).await.unwrap();
            task.status = crate::TaskStatus::Complete;
            self.world.rooms.save_task(&mut task, wardroom_store::Batch::default()).await.unwrap();
        }
        assert_eq!(fsck(&self.world.store).await.unwrap().problems, Vec::<String>::new());
        self.world.rooms.erasure(self.alice.actor().nid).await.unwrap().unwrap()
    }

    /// Bodies of the messages that Bob sees.
    async fn seen(&self) -> Vec<String> {
        let filter = RoomEventFilter::default();
        let page = Page { from: None, to: None, backwards: false, limit: 1_000, filter: &filter };
        let page = self.world.rooms.messages(self.bob.actor(), &self.room, page).await.unwrap();
        let body = |content: &serde_json::value::RawValue| -> Option<String> {
            let content: Value = serde_json::from_str(content.get()).unwrap();
            content["body"].as_str().map(str::to_owned)
        };
        page.chunk.iter().filter_map(|event| body(event.pdu.content())).collect()
    }

    async fn found(&self, term: &str) -> usize {
        let (viewer, filter) = (Viewer::new(self.bob.actor()), RoomEventFilter::default());
        let query = SearchQuery { term, keys: &[], filter: &filter, order: SearchOrder::Recent, limit: 10, from: None };
        self.world.rooms.search(viewer, query).await.unwrap().count
    }
}

fn text(body: &str) -> Value {
    json!({ "msgtype": "m.text", "body": body })
}

#[test]
fn what_a_person_sent_is_gone_and_the_room_goes_on() {
    run(async {
        let ward = Ward::new(ErasedMessages::Prune).await;
        let root = ward.say(&ward.bob, text("a root")).await;
        let said = ward.say(&ward.alice, text("a secret word")).await;
        let reply = json!({ "msgtype": "m.text", "body": "a reply", "m.relates_to": { "rel_type": "m.thread", "event_id": root } });
        ward.say(&ward.alice, reply).await;
        let last = ward.say(&ward.alice, text("the last word")).await;
        assert_eq!(ward.found("word").await, 2);

        assert_eq!(ward.ask(None).await.state, ErasureState::Scheduled);
        let done = ward.work().await;
        assert_eq!((done.state, done.removed["events"]), (ErasureState::Complete, 3));
        assert!(done.held.is_empty() && done.completed_ts.is_some());
        assert_eq!((ward.seen().await, ward.found("word").await), (vec!["a root".to_owned()], 0));
        let gone = ward.world.rooms.event(ward.bob.actor(), &ward.room, &said).await;
        assert!(matches!(gone, Err(RoomError::NoSuchEvent)));
        let (_, _, stored) = ward.world.rooms.standing(&last).await.unwrap().unwrap();
        assert_eq!((stored.pruned, stored.pdu.content().get()), (true, "{}"));
        ward.say(&ward.bob, text("and on")).await;
        assert_eq!(ward.seen().await, ["a root", "and on"]);

        // Asked again, nothing more happens.
        assert_eq!(ward.ask(None).await.state, ErasureState::Complete);
        assert_eq!(ward.work().await, done);
    });
}

#[test]
fn who_is_erased_is_hidden_from_the_beginning_on_and_after_a_start() {
    run(async {
        let ward = Ward::new(ErasedMessages::Prune).await;
        ward.say(&ward.alice, text("a secret")).await;
        ward.world.rooms.erase_again(&[(ward.alice.actor().user.to_owned(), ward.alice.actor().nid)]).await.unwrap();
        assert_eq!(ward.seen().await, Vec::<String>::new(), "before anything was pruned");
        assert_eq!(ward.work().await.state, ErasureState::Complete);

        let ward = Ward::new(ErasedMessages::Hide).await;
        ward.say(&ward.alice, text("a secret")).await;
        ward.ask(None).await;
        let done = ward.work().await;
        assert_eq!((done.state, done.removed.get("events")), (ErasureState::Complete, None));
        assert_eq!(ward.seen().await, ["a secret"], "who has seen it can read it");
    });
}

#[test]
fn an_erasure_that_is_put_off_waits() {
    run(async {
        let ward = Ward::new(ErasedMessages::Prune).await;
        ward.say(&ward.alice, text("part of the record")).await;
        let until_ms = ward.world.rooms.engine.clock.now_ms() + 1_000;
        ward.ask(Some(until_ms)).await;
        let waiting = ward.work().await;
        assert_eq!((waiting.state, waiting.deferred_until_ts), (ErasureState::Deferred, Some(until_ms)));
        assert_eq!(waiting.reason.as_deref(), Some("the record is kept for ten years"));
        ward.world.rooms.resume_erasures().await.unwrap();
        assert_eq!((ward.work().await.state, ward.seen().await.len()), (ErasureState::Deferred, 1));
        ward.world.clock.advance_ms(1_001);
        ward.world.rooms.resume_erasures().await.unwrap();
        assert_eq!(ward.work().await.state, ErasureState::Complete);
        assert!(ward.seen().await.is_empty());
    });
}

#[test]
fn what_is_held_stays_until_the_hold_ends() {
    run(async {
        let ward = Ward::new(ErasedMessages::Prune).await;
        let other = ward.world.rooms.create(ward.bob.actor(), new_room("12", Preset::PublicChat)).await.unwrap();
        ward.world.rooms.join(ward.alice.actor(), &other, MemberProfile::default(), None).await.unwrap();
        let content = to_raw_value(&text("elsewhere")).unwrap();
        ward.world.rooms.send(ward.alice.actor(), &other, "m.room.message", content, None).await.unwrap();
        ward.say(&ward.alice, text("evidence")).await;
        let scope = wardroom_holds::Scope { room_id: Some(ward.room.clone()), ..Default::default() };
        let new = NewHold { scope, reason: "a case".to_owned(), authority: "the court".to_owned(), expires_ts: None };
        let hold = ward.holds.set(new, ward.bob.actor().user).await.unwrap();
        ward.ask(None).await;
        let held = ward.work().await;
        assert_eq!((held.state, held.removed["events"], held.held.len()), (ErasureState::Held, 1, 1));
        assert_eq!((&held.held[0].room_id, held.held[0].count), (&Some(ward.room.clone()), 1));
        assert_eq!(held.held[0].hold, hold.id.to_string());
        let (_, _, stored) = ward.world.rooms.standing(&ward.newest().await).await.unwrap().unwrap();
        assert!(!stored.pruned && stored.pdu.content().get().contains("evidence"), "it is kept");
        assert!(ward.seen().await.is_empty(), "and shown to nobody");
        ward.world.rooms.resume_erasures().await.unwrap();
        assert!(ward.world.rooms.tasks().await.unwrap().iter().all(|task| task.status.is_final()), "still held");

        ward.holds.release(hold.id, ward.bob.actor().user, "over").await.unwrap();
        ward.holds.release(hold.id, ward.alice.actor().user, "over").await.ok();
        ward.world.rooms.resume_erasures().await.unwrap();
        let done = ward.work().await;
        assert_eq!((done.state, done.removed["events"]), (ErasureState::Complete, 2));
    });
}

#[test]
fn a_person_who_is_held_is_not_erased() {
    run(async {
        let ward = Ward::new(ErasedMessages::Prune).await;
        ward.say(&ward.alice, text("evidence")).await;
        let scope = wardroom_holds::Scope { user_id: Some(ward.alice.actor().user.to_owned()), ..Default::default() };
        let new = NewHold { scope, reason: "a case".to_owned(), authority: "the court".to_owned(), expires_ts: None };
        ward.holds.set(new, ward.bob.actor().user).await.unwrap();
        ward.ask(None).await;
        let held = ward.work().await;
        assert_eq!((held.state, &*held.held[0].kind, held.removed.len()), (ErasureState::Held, "user", 0));
        assert_eq!(ward.seen().await, ["evidence"]);
    });
}

impl Ward {
    /// The newest of Alice's events that is not state.
    async fn newest(&self) -> OwnedEventId {
        let view = self.world.rooms.view(&self.room).await.unwrap().unwrap();
        let range = crate::TimelineRange { from: crate::Place::FIRST, to: view.end, backwards: true, limit: 100 };
        let items = self.world.rooms.timeline(view.nid, range).await.unwrap();
        let newest = items
            .into_iter()
            .find(|item| !item.event.pdu.is_state() && item.event.pdu.sender() == self.alice.actor().user);
        newest.unwrap().event.pdu.event_id().to_owned()
    }
}
