//! Relations over the in-memory store: what the writer keeps is what the events say, whatever happens in which order.

use std::sync::Arc;

use futures_util::{FutureExt as _, future::join_all};
use proptest::prelude::{Just, ProptestConfig, Strategy, prop_assert, prop_oneof, proptest};
use ruma::{OwnedEventId, OwnedRoomId, UserId, user_id};
use serde_json::{Value, json, value::to_raw_value};
use wardroom_event::Draft;
use wardroom_store::{Batch, Packed, Scan};

use super::{CHILDREN, SUMMARIES, Summary, THREAD_USERS, THREADS, Viewer};
use crate::{
    MemberProfile, Place, Preset, RelationsQuery, RoomError, RoomView, fsck,
    tests::{Person, World, new_room, run},
};

struct Ward {
    world: World,
    alice: Person,
    bob: Person,
    room: OwnedRoomId,
}

impl Ward {
    async fn new() -> Self {
        let world = World::new();
        let (alice, bob) =
            (world.person(user_id!("@alice:a.example")).await, world.person(user_id!("@bob:a.example")).await);
        let room = world.rooms.create(alice.actor(), new_room("12", Preset::PublicChat)).await.unwrap();
        world.rooms.join(bob.actor(), &room, MemberProfile::default(), None).await.unwrap();
        Self { world, alice, bob, room }
    }

    async fn view(&self) -> Arc<RoomView> {
        self.world.rooms.view(&self.room).await.unwrap().unwrap()
    }

    async fn try_send(&self, by: &Person, content: &Value) -> Result<OwnedEventId, RoomError> {
        let content = to_raw_value(content).unwrap();
        self.world.rooms.send(by.actor(), &self.room, "m.room.message", content, None).await
    }

    async fn relate(&self, by: &Person, rel_type: &str, parent: &OwnedEventId) -> OwnedEventId {
        self.try_send(by, &relating(rel_type, parent)).await.unwrap()
    }

    async fn redact(&self, by: &Person, event: &OwnedEventId) {
        self.world.rooms.redact(by.actor(), &self.room, event, None, None).await.unwrap();
    }

    async fn bundle(&self, viewer: Viewer<'_>, event: &OwnedEventId) -> Value {
        let stored = self.world.rooms.event(viewer.actor, &self.room, event).await.unwrap();
        let told = self.world.rooms.client_events(viewer, &self.room, &[stored]).await.unwrap().pop().unwrap();
        let mut told: Value = serde_json::from_str(told.get()).unwrap();
        told["unsigned"]["m.relations"].take()
    }

    async fn is_sound(&self) {
        let report = fsck(&self.world.store).await.unwrap();
        assert_eq!(report.problems, Vec::<String>::new());
    }
}

fn relating(rel_type: &str, parent: &OwnedEventId) -> Value {
    let mut content = json!({ "body": "b", "m.relates_to": { "rel_type": rel_type, "event_id": parent, "key": "k" } });
    if rel_type == "m.replace" {
        content["m.new_content"] = json!({ "body": "c" });
    }
    content
}

#[test]
fn of_equally_old_edits_the_larger_id_counts() {
    run(async {
        let ward = Ward::new().await;
        let message = ward.try_send(&ward.alice, &json!({ "body": "a" })).await.unwrap();
        let mut edits = Vec::new();
        // The clock stands still: all have the same time.
        for _ in 0..5 {
            edits.push(ward.relate(&ward.alice, "m.replace", &message).await);
            let newest = ward.bundle(Viewer::new(ward.bob.actor()), &message).await;
            assert_eq!(newest["m.replace"]["event_id"], edits.iter().max().unwrap().as_str());
        }
        while let Some(newest) = edits.iter().max().cloned() {
            assert_eq!(
                ward.bundle(Viewer::new(ward.bob.actor()), &message).await["m.replace"]["event_id"],
                newest.as_str()
            );
            ward.redact(&ward.alice, &newest).await;
            edits.retain(|edit| *edit != newest);
            ward.is_sound().await;
        }
        assert!(ward.bundle(Viewer::new(ward.bob.actor()), &message).await.is_null());
    });
}

#[test]
fn what_ignored_users_did_is_not_told() {
    run(async {
        let ward = Ward::new().await;
        let root = ward.try_send(&ward.alice, &json!({ "body": "root" })).await.unwrap();
        let of_bob = ward.try_send(&ward.bob, &json!({ "body": "bob's" })).await.unwrap();
        let seen = ward.relate(&ward.alice, "m.thread", &root).await;
        ward.relate(&ward.bob, "m.thread", &root).await;
        ward.relate(&ward.bob, "m.thread", &root).await;
        ward.relate(&ward.bob, "m.reference", &root).await;
        ward.relate(&ward.bob, "m.thread", &of_bob).await;
        ward.relate(&ward.bob, "m.replace", &of_bob).await;
        let reply = ward.relate(&ward.alice, "m.thread", &of_bob).await;
        let bob = user_id!("@bob:a.example");
        let ignores = |user: &UserId| user == bob;
        let viewer = Viewer { actor: ward.alice.actor(), ignores: Some(&ignores) };
        let all = Viewer::new(ward.alice.actor());
        assert_eq!(ward.bundle(all, &root).await["m.thread"]["count"], 3);
        let told = ward.bundle(viewer, &root).await;
        assert_eq!(told["m.thread"]["count"], 1);
        assert_eq!(told["m.thread"]["latest_event"]["event_id"], seen.as_str());
        assert!(told.get("m.reference").is_none());
        let query = RelationsQuery {
            rel_type: None,
            event_type: None,
            from: None,
            to: None,
            backwards: true,
            limit: 10,
            recurse: false,
        };
        let page = ward.world.rooms.relations(viewer, &ward.room, &root, query).await.unwrap();
        assert_eq!(page.chunk.iter().map(|event| event.pdu.event_id()).collect::<Vec<_>>(), [&*seen]);
        let page = ward.world.rooms.threads(viewer, &ward.room, false, None, 10).await.unwrap();
        let listed: Vec<_> = page.chunk.iter().map(|event| event.pdu.event_id()).collect();
        assert_eq!(listed, [&*of_bob, &*root]);
        assert_eq!(page.chunk[0].pdu.content().get(), "{}", "roots by ignored users are redacted");
        let told = ward.world.rooms.client_events(viewer, &ward.room, &page.chunk[..1]).await.unwrap();
        let told: Value = serde_json::from_str(told[0].get()).unwrap();
        let relations = &told["unsigned"]["m.relations"];
        assert!(relations.get("m.replace").is_none(), "{told}");
        assert_eq!(relations["m.thread"]["latest_event"]["event_id"], reply.as_str());
        assert_eq!(relations["m.thread"]["count"], 1);
    });
}

#[test]
fn a_parent_that_comes_late_finds_its_children() {
    run(async {
        let ward = Ward::new().await;
        let view = ward.view().await;
        let draft = Draft {
            room_id: Some(ward.room.clone()),
            sender: user_id!("@alice:a.example").to_owned(),
            kind: "m.room.message".into(),
            state_key: None,
            content: to_raw_value(&json!({ "body": "late" })).unwrap(),
            redacts: None,
            prev_events: Vec::new(),
            auth_events: Vec::new(),
            depth: 7,
            origin_server_ts: 5,
        };
        let engine = &ward.world.rooms.engine;
        let late = Arc::new(draft.sign(view.version, &engine.server_name, &engine.key).unwrap());
        let parent = late.event_id().to_owned();
        let edit = ward.relate(&ward.alice, "m.replace", &parent).await;
        ward.relate(&ward.bob, "m.replace", &parent).await;
        ward.relate(&ward.bob, "m.thread", &parent).await;
        let reply = ward.relate(&ward.bob, "m.thread", &parent).await;
        assert!(ward.world.store.latest().scan_keys(&THREADS, Scan::all()).await.unwrap().is_empty());
        ward.is_sound().await;
        let room = engine.find_room(&ward.room).await.unwrap().unwrap();
        let added = engine.write(&room, move |writer| async move { writer.add(late, None).await }.boxed()).await;
        added.unwrap();
        let told = ward.bundle(Viewer::new(ward.bob.actor()), &parent).await;
        assert_eq!(told["m.replace"]["event_id"], edit.as_str());
        assert_eq!(
            (&told["m.thread"]["count"], &told["m.thread"]["current_user_participated"]),
            (&json!(2), &json!(true))
        );
        assert_eq!(told["m.thread"]["latest_event"]["event_id"], reply.as_str());
        let listed =
            ward.world.rooms.threads(Viewer::new(ward.alice.actor()), &ward.room, true, None, 5).await.unwrap();
        assert_eq!(listed.chunk.len(), 1);
        let problems = fsck(&ward.world.store).await.unwrap().problems;
        assert!(
            problems.iter().all(|problem| !problem.contains("thread") && !problem.contains("relat")),
            "{problems:?}"
        );
    });
}

#[test]
fn damage_to_the_index_is_found() {
    run(async {
        for damage in 0..6 {
            let ward = Ward::new().await;
            let root = ward.try_send(&ward.alice, &json!({ "body": "root" })).await.unwrap();
            ward.relate(&ward.bob, "m.thread", &root).await;
            ward.relate(&ward.alice, "m.replace", &root).await;
            ward.is_sound().await;
            let store = &ward.world.store;
            let mut batch = Batch::default();
            let (child, row) = store.latest().scan(&CHILDREN, Scan::all()).await.unwrap().swap_remove(0);
            let (summary, known) = store.latest().scan(&SUMMARIES, Scan::all()).await.unwrap().swap_remove(0);
            let (thread, entry) = store.latest().scan(&THREADS, Scan::all()).await.unwrap().swap_remove(0);
            match damage {
                0 => batch.delete(&CHILDREN, &child),
                1 => batch.put(&CHILDREN, &(child.0, child.1, child.2, child.3, 9), &row),
                2 => batch.put(&SUMMARIES, &summary, &Packed(Summary { replacement: None, ..known.0 })),
                3 => batch.put(&SUMMARIES, &summary, &Packed(Summary { classes: 0, ..known.0 })),
                4 => batch.put(&THREADS, &(thread.0, thread.1, 9), &entry),
                _ => batch.delete_prefix(&THREAD_USERS, &thread.0),
            }
            store.commit(batch).await.unwrap();
            assert!(!fsck(store).await.unwrap().problems.is_empty(), "damage {damage}");
        }
    });
}

#[test]
fn who_is_not_subscribed_has_no_row_and_devices_that_race_leave_one() {
    run(async {
        let ward = Ward::new().await;
        let root = ward.try_send(&ward.alice, &json!({ "body": "root" })).await.unwrap();
        let (rooms, bob) = (&ward.world.rooms, ward.bob.actor());
        let position = ward.world.store.position();
        rooms.unsubscribe_thread(bob, &ward.room, &root).await.unwrap();
        assert_eq!(ward.world.store.position(), position);
        let races = (0..8).map(|n| {
            let (room, root) = (&ward.room, &root);
            async move {
                if n % 2 == 0 {
                    rooms.subscribe_thread(bob, room, root, None).await.unwrap();
                } else {
                    rooms.unsubscribe_thread(bob, room, root).await.unwrap();
                }
            }
        });
        join_all(races).await;
        let changes = rooms.thread_subscription_changes(bob.nid, Place::FIRST, Place::LAST, 10).await.unwrap();
        assert_eq!((changes.changes.len(), changes.more), (1, None));
        let now = rooms.thread_subscription(bob, &ward.room, &root).await.unwrap();
        assert_eq!(changes.changes[0].automatic, now);
        assert!(ward.world.store.watches().last(bob.nid.watch()) > position, "waiters are woken");
    });
}

/// What happens to a room. Numbers choose among the events that there are.
#[derive(Clone, Debug)]
enum Step {
    Say { bob: bool },
    Relate { bob: bool, rel_type: &'static str, parent: usize },
    Redact { event: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let rel_type =
        prop_oneof![Just("m.thread"), Just("m.replace"), Just("m.annotation"), Just("m.reference"), Just("x.other")];
    prop_oneof![
        1 => proptest::bool::ANY.prop_map(|bob| Step::Say { bob }),
        5 => (proptest::bool::ANY, rel_type, 0_usize..8)
            .prop_map(|(bob, rel_type, parent)| Step::Relate { bob, rel_type, parent }),
        2 => (0_usize..20).prop_map(|event| Step::Redact { event }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// Steps of one list happen at once, and so in groups that share a commit.
    #[test]
    fn the_index_is_what_the_events_say(rounds in proptest::collection::vec(proptest::collection::vec(step(), 1..8), 1..8)) {
        let problems = run(async {
            let ward = Ward::new().await;
            let first = ward.try_send(&ward.alice, &json!({ "body": "first" })).await.unwrap();
            let mut events = vec![first];
            for round in rounds {
                let done = join_all(round.iter().map(|step| act(&ward, &events, step))).await;
                events.extend(done.into_iter().flatten());
            }
            let viewer = Viewer::new(ward.bob.actor());
            for event in &events {
                ward.bundle(viewer, event).await;
            }
            fsck(&ward.world.store).await.unwrap().problems
        });
        prop_assert!(problems.is_empty(), "{problems:?}");
    }
}

async fn act(ward: &Ward, events: &[OwnedEventId], step: &Step) -> Option<OwnedEventId> {
    let who = |bob: bool| if bob { &ward.bob } else { &ward.alice };
    match step {
        Step::Say { bob } => ward.try_send(who(*bob), &json!({ "body": "said" })).await.ok(),
        Step::Relate { bob, rel_type, parent } => {
            let parent = &events[parent % events.len()];
            match ward.try_send(who(*bob), &relating(rel_type, parent)).await {
                Ok(event) => Some(event),
                Err(RoomError::DuplicateAnnotation | RoomError::NotAThreadRoot) => None,
                Err(other) => panic!("{other}"),
            }
        }
        Step::Redact { event } => {
            // The newest first, so that what was just related is often redacted again; alice may redact everything.
            let event = &events[events.len() - 1 - event % events.len()];
            ward.world.rooms.redact(ward.alice.actor(), &ward.room, event, None, None).await.ok()
        }
    }
}
