//! Holds against everything that destroys events, over the in-memory store.

use std::{sync::Arc, time::Duration};

use ruma::{OwnedEventId, OwnedRoomId, owned_server_name, user_id};
use serde_json::{Value, json, value::to_raw_value};
use wardroom_audit::AuditLog;
use wardroom_clock::ManualClock;
use wardroom_holds::{Hold, HoldSettings, Holds, NewHold, Scope};
use wardroom_store::{Catalogue, Scan, Store};

use crate::{
    HeldEvent, MemberProfile, Preset, Profiles, PurgeUpTo, RetentionSettings, RoomDeletion, RoomError, TABLES,
    TaskStatus, Terms, fsck,
    retention::{ORIGINALS, PERISHABLE, SEALED_DAYS},
    tests::{Person, World, new_room, run},
};

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// Alice's room on a server that keeps messages for ten days.
struct Ward {
    world: World,
    holds: Holds,
    alice: Person,
    room: OwnedRoomId,
}

impl Ward {
    async fn new(redaction_hold: Duration) -> Self {
        let store = Store::in_memory(Catalogue::new(&[TABLES, wardroom_holds::TABLES]).unwrap());
        let clock = Arc::new(ManualClock::new(1_700_000_000_000));
        let settings = HoldSettings { release_needs_two: false };
        let holds = Holds::open(store.clone(), clock.clone(), AuditLog::silent(), settings).await.unwrap();
        let retention = RetentionSettings {
            default: Terms { max_ms: Some(10 * DAY_MS), min_ms: None },
            stubs_kept: Duration::ZERO,
            redaction_hold,
            ..RetentionSettings::default()
        };
        let world = World::holding(owned_server_name!("a.example"), (store, clock), retention, holds.clone());
        let alice = world.person(user_id!("@alice:a.example")).await;
        let room = world.rooms.create(alice.actor(), new_room("12", Preset::PublicChat)).await.unwrap();
        Self { world, holds, alice, room }
    }

    async fn say(&self, by: &Person, body: &str) -> OwnedEventId {
        let content = to_raw_value(&json!({ "msgtype": "m.text", "body": body })).unwrap();
        self.world.rooms.send(by.actor(), &self.room, "m.room.message", content, None).await.unwrap()
    }

    async fn bob(&self) -> Person {
        let bob = self.world.person(user_id!("@bob:a.example")).await;
        self.world.rooms.join(bob.actor(), &self.room, MemberProfile::default(), None).await.unwrap();
        bob
    }

    async fn redact(&self, event: &OwnedEventId) {
        self.world.rooms.redact(self.alice.actor(), &self.room, event, None, None).await.unwrap();
    }

    async fn hold(&self, scope: Scope) -> Hold {
        let new = NewHold { scope, reason: "a complaint".to_owned(), authority: "court".to_owned(), expires_ts: None };
        self.holds.set(new, user_id!("@admin:a.example")).await.unwrap()
    }

    fn of_room(&self) -> Scope {
        Scope { room_id: Some(self.room.clone()), ..Scope::default() }
    }

    async fn release(&self, hold: &Hold) {
        self.holds.release(hold.id, user_id!("@admin:a.example"), "settled").await.unwrap();
    }

    fn pass(&self, ms: u64) {
        self.world.clock.advance_ms(ms);
    }

    async fn purge(&self) -> u64 {
        let done = self.world.rooms.purge_expired(self.world.rooms.engine.clock.now_ms()).await.unwrap();
        assert_eq!(done.failures, 0);
        assert_eq!(fsck(&self.world.store).await.unwrap().problems, Vec::<String>::new());
        done.events
    }

    async fn whole(&self) -> usize {
        self.world.store.latest().scan_keys(&PERISHABLE, Scan::all().limit(10_000)).await.unwrap().len()
    }

    /// Originals, and days whose keys are there.
    async fn kept(&self) -> (usize, usize) {
        let store = self.world.store.latest();
        let originals = store.scan_keys(&ORIGINALS, Scan::all()).await.unwrap().len();
        (originals, store.scan_keys(&SEALED_DAYS, Scan::all()).await.unwrap().len())
    }

    async fn covered(&self, scope: &Scope) -> Vec<HeldEvent> {
        let (mut events, mut from) = (Vec::new(), None);
        loop {
            let page = self.world.rooms.held_events(scope, from).await.unwrap();
            events.extend(page.events);
            from = page.next;
            if from.is_none() {
                return events;
            }
        }
    }

    async fn bodies(&self, scope: &Scope) -> Vec<(String, bool, bool)> {
        let events = self.covered(scope).await;
        let messages = events.iter().filter(|event| event.kind == "m.room.message");
        let body = |event: &HeldEvent| {
            let content: Value = serde_json::from_str(event.content.get()).unwrap();
            content["body"].as_str().unwrap_or_default().to_owned()
        };
        messages.map(|event| (body(event), event.redacted, event.expired)).collect()
    }
}

#[test]
fn a_hold_that_is_set_during_a_purge_keeps_what_is_there_when_it_answers() {
    const MESSAGES: usize = 1_000;
    run(async {
        let ward = Ward::new(Duration::ZERO).await;
        for number in 0..MESSAGES {
            ward.say(&ward.alice, &format!("number {number}")).await;
        }
        ward.pass(11 * DAY_MS);
        let (rooms, now_ms) = (ward.world.rooms.clone(), ward.world.rooms.engine.clock.now_ms());
        let purging = tokio::spawn(async move { rooms.purge_expired(now_ms).await.unwrap() });
        while ward.whole().await == MESSAGES {
            tokio::task::yield_now().await;
        }
        let hold = ward.hold(ward.of_room()).await;
        let left = ward.whole().await;
        let done = purging.await.unwrap();
        assert_eq!((done.events, done.failures), ((MESSAGES - left) as u64, 0));
        assert!(left > 0, "the hold came too late to keep anything");
        for _ in 0..3 {
            assert_eq!(ward.purge().await, 0);
            ward.pass(DAY_MS / 2);
        }
        assert_eq!((ward.whole().await, ward.bodies(&hold.scope).await.len()), (left, left));
        assert_eq!(ward.kept().await.1, 1, "the day's key stays");
        ward.release(&hold).await;
        assert_eq!(ward.purge().await, left as u64);
        ward.purge().await;
        assert_eq!((ward.whole().await, ward.kept().await), (0, (0, 0)));
    });
}

#[test]
fn what_is_not_held_goes_and_what_is_held_stays_hidden() {
    run(async {
        let ward = Ward::new(Duration::ZERO).await;
        let bob = ward.bob().await;
        let mut held = Vec::new();
        for number in 0..300 {
            held.push(ward.say(&bob, &format!("bob {number}")).await);
            ward.say(&ward.alice, "alice").await;
            ward.pass(1);
        }
        let scope = Scope { user_id: Some(bob.actor().user.to_owned()), ..Scope::default() };
        let hold = ward.hold(scope).await;
        ward.pass(10 * DAY_MS);
        assert_eq!(ward.purge().await, 300);
        for event in [&held[0], &held[299]] {
            let shown = ward.world.rooms.event(ward.alice.actor(), &ward.room, event).await;
            assert!(matches!(shown, Err(RoomError::NoSuchEvent)), "{shown:?}");
        }
        let bodies = ward.bodies(&hold.scope).await;
        assert_eq!((bodies.len(), &bodies[7]), (300, &("bob 7".to_owned(), false, true)));
        // What comes to lie among the held ones later is found as well, a day after at the latest.
        let late = ward.say(&ward.alice, "late").await;
        ward.pass(11 * DAY_MS);
        assert_eq!(ward.purge().await, 1);
        assert!(ward.world.rooms.event(ward.alice.actor(), &ward.room, &late).await.is_err());
        ward.release(&hold).await;
        assert_eq!(ward.purge().await, 300);
    });
}

#[test]
fn originals_of_redacted_events_stay_for_a_while_and_for_a_hold() {
    run(async {
        let ward = Ward::new(Duration::from_secs(7 * 24 * 60 * 60)).await;
        let bob = ward.bob().await;
        let (first, second) = (ward.say(&ward.alice, "regretted").await, ward.say(&bob, "denied").await);
        ward.redact(&first).await;
        ward.redact(&second).await;
        assert_eq!(ward.kept().await.0, 2);
        let scope = Scope { user_id: Some(bob.actor().user.to_owned()), ..Scope::default() };
        let hold = ward.hold(scope).await;
        ward.pass(7 * DAY_MS - 1);
        ward.purge().await;
        assert_eq!(ward.bodies(&ward.of_room()).await.len(), 2);
        ward.pass(1);
        ward.purge().await;
        assert_eq!(ward.kept().await.0, 1, "the other's time is over");
        ward.pass(11 * DAY_MS);
        ward.purge().await;
        assert_eq!(ward.bodies(&hold.scope).await, [("denied".to_owned(), true, true)]);
        ward.release(&hold).await;
        for _ in 0..2 {
            ward.purge().await;
        }
        assert_eq!(ward.kept().await, (0, 0), "and so is the key");
    });
}

#[test]
fn without_a_time_for_originals_only_held_ones_are_kept() {
    run(async {
        let ward = Ward::new(Duration::ZERO).await;
        let (first, second) = (ward.say(&ward.alice, "gone").await, ward.say(&ward.alice, "kept").await);
        ward.redact(&first).await;
        assert_eq!(ward.kept().await.0, 0);
        let hold = ward.hold(ward.of_room()).await;
        ward.redact(&second).await;
        ward.purge().await;
        let bodies = ward.bodies(&hold.scope).await;
        assert_eq!(bodies, [(String::new(), true, false), ("kept".to_owned(), true, false)]);
        ward.release(&hold).await;
        ward.purge().await;
        assert_eq!(ward.kept().await.0, 0);
    });
}

#[test]
fn a_room_that_is_held_is_not_destroyed_and_neither_is_its_history() {
    run(async {
        let ward = Ward::new(Duration::ZERO).await;
        let bob = ward.bob().await;
        ward.say(&bob, "evidence").await;
        let newest = ward.say(&ward.alice, "newest").await;
        let rooms = &ward.world.rooms;
        let alice = ward.alice.actor();
        let deletion =
            || RoomDeletion { force: true, ..RoomDeletion::new(ward.room.clone(), alice.user.to_owned(), alice.nid) };
        for scope in [ward.of_room(), Scope { user_id: Some(bob.actor().user.to_owned()), ..Scope::default() }] {
            let hold = ward.hold(scope).await;
            let up_to = PurgeUpTo::Event(newest.clone());
            for refused in [rooms.delete_room(deletion()).await, rooms.purge_history(&ward.room, &up_to, true).await] {
                assert!(matches!(refused, Err(RoomError::Held(id)) if id == hold.id), "{refused:?}");
            }
            ward.release(&hold).await;
        }
        // Those that were begun before the hold end with it.
        let task = rooms.delete_room(deletion()).await.unwrap();
        let hold = ward.hold(ward.of_room()).await;
        let profiles = Profiles::new(|_| Box::pin(async { MemberProfile::default() }));
        let running = tokio::spawn(rooms.clone().run_tasks(profiles));
        let done = rooms.finished_task(&task).await.unwrap().unwrap();
        assert_eq!(done.status, TaskStatus::Failed);
        assert!(done.error.unwrap().contains(&hold.id.to_string()));
        let view = rooms.view(&ward.room).await.unwrap().unwrap();
        assert_eq!(view.joined, 0, "everybody is out");
        assert_eq!(ward.bodies(&hold.scope).await.len(), 2);
        ward.release(&hold).await;
        let task = rooms.delete_room(deletion()).await.unwrap();
        let done = rooms.finished_task(&task).await.unwrap().unwrap();
        running.abort();
        assert_eq!(done.status, TaskStatus::Complete);
        assert!(rooms.view(&ward.room).await.unwrap().is_none());
    });
}
