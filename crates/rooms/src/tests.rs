//! The engine over the in-memory store.

use std::sync::Arc;

use proptest::prelude::{Just, ProptestConfig, Strategy, prop_assert_eq, prop_oneof, proptest};
use ruma::{OwnedUserId, UserId, api::client::filter::RoomEventFilter, owned_server_name, room_version_id, user_id};
use serde_json::{Map, json, value::to_raw_value};
use wardroom_audit::AuditLog;
use wardroom_clock::ManualClock;
use wardroom_event::{RoomVersion, SigningKey};
use wardroom_store::{Batch, Catalogue, Store};

use crate::{
    Actor, MemberProfile, Membership, NS_USER, NewRoom, Page, Preset, RoomError, Rooms, Settings, StandardGate,
    StateWhich, TABLES, UserNid,
};

pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(future)
}

pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) rooms: Rooms,
    pub(crate) clock: Arc<ManualClock>,
}

#[derive(Clone)]
pub(crate) struct Person {
    id: OwnedUserId,
    nid: UserNid,
    device: ruma::OwnedDeviceId,
    guest: bool,
}

impl Person {
    pub(crate) fn actor(&self) -> Actor<'_> {
        Actor { user: &self.id, nid: self.nid, device: Some(&self.device), guest: self.guest }
    }

    pub(crate) fn into_guest(self) -> Self {
        Self { guest: true, ..self }
    }
}

impl World {
    pub(crate) fn new() -> Self {
        Self::over(Store::in_memory(Catalogue::new(&[TABLES]).unwrap()))
    }

    fn over(store: Store) -> Self {
        Self::of(owned_server_name!("a.example"), store)
    }

    /// The world of another server.
    pub(crate) fn of(server_name: ruma::OwnedServerName, store: Store) -> Self {
        Self::keeping(server_name, store, crate::RetentionSettings::default())
    }

    /// The world of a server that keeps events in its own way.
    pub(crate) fn keeping(
        server_name: ruma::OwnedServerName,
        store: Store,
        retention: crate::RetentionSettings,
    ) -> Self {
        let settings = Settings {
            server_name,
            default_version: room_version_id!("12"),
            signing_key: SigningKey::from_seed([7; 32], "1").unwrap().into(),
            holds: Default::default(),
            retention,
        };
        let clock = Arc::new(ManualClock::new(1_700_000_000_000));
        let rooms = Rooms::new(store.clone(), clock.clone(), Arc::new(StandardGate), AuditLog::silent(), settings);
        Self { store, rooms, clock }
    }

    pub(crate) async fn person(&self, id: &UserId) -> Person {
        let mut batch = Batch::default();
        let nid = self.store.interner().intern(&mut batch, NS_USER, id.as_str()).await.unwrap();
        self.store.commit(batch).await.unwrap();
        Person { id: id.to_owned(), nid: UserNid::new(nid), device: "DEVICE".into(), guest: false }
    }
}

pub(crate) fn new_room(version: &str, preset: Preset) -> NewRoom {
    NewRoom {
        version: Some(version.try_into().unwrap()),
        preset,
        creation_content: Map::new(),
        initial_state: Vec::new(),
        power_levels: Map::new(),
        name: Some("Ward 7".to_owned()),
        topic: None,
        alias: None,
        invite: Vec::new(),
        is_direct: false,
        listed: false,
        profile: MemberProfile::default(),
    }
}

fn message(body: &str) -> Box<serde_json::value::RawValue> {
    to_raw_value(&json!({ "msgtype": "m.text", "body": body })).unwrap()
}

fn page(backwards: bool, filter: &RoomEventFilter) -> Page<'_> {
    Page { from: None, to: None, backwards, limit: 100, filter }
}

#[test]
fn a_room_of_every_version_is_made_joined_and_spoken_in() {
    run(async {
        for version in RoomVersion::ALL {
            let world = World::new();
            let (alice, bob) =
                (world.person(user_id!("@alice:a.example")).await, world.person(user_id!("@bob:a.example")).await);
            let room = world.rooms.create(alice.actor(), new_room(version.as_str(), Preset::PublicChat)).await.unwrap();
            world.rooms.join(bob.actor(), &room, MemberProfile::default(), None).await.unwrap();
            let sent = world.rooms.send(bob.actor(), &room, "m.room.message", message("hello"), None).await.unwrap();
            let event = world.rooms.event(alice.actor(), &room, &sent).await.unwrap();
            assert_eq!(
                event.pdu.content().get(),
                message("hello")
                    .get()
                    .replace(r#""msgtype":"m.text","body":"hello""#, r#""body":"hello","msgtype":"m.text""#)
            );
            let view = world.rooms.view(&room).await.unwrap().unwrap();
            assert_eq!((view.joined, view.invited), (2, 0));
            let state = world.rooms.state(view.nid, view.state, StateWhich::All).await.unwrap();
            assert_eq!(state.len(), 8, "create, two members, power levels, three of the preset, name");
            let filter = RoomEventFilter::default();
            let forwards = world.rooms.messages(bob.actor(), &room, page(false, &filter)).await.unwrap().chunk;
            let mut backwards = world.rooms.messages(bob.actor(), &room, page(true, &filter)).await.unwrap().chunk;
            backwards.reverse();
            assert_eq!(forwards.len(), 9, "version {}", version.as_str());
            assert!(forwards.iter().zip(&backwards).all(|(a, b)| a.nid == b.nid));
        }
    });
}

#[test]
fn rooms_made_in_the_same_millisecond_are_different_rooms() {
    run(async {
        let world = World::new();
        let alice = world.person(user_id!("@alice:a.example")).await;
        let creations = (0..8).map(|_| world.rooms.create(alice.actor(), new_room("12", Preset::PrivateChat)));
        let made = futures_util::future::join_all(creations).await;
        let ids: std::collections::HashSet<_> = made.into_iter().map(Result::unwrap).collect();
        assert_eq!(ids.len(), 8);
    });
}

#[test]
fn a_retry_with_the_same_transaction_id_sends_once() {
    run(async {
        let world = World::new();
        let alice = world.person(user_id!("@alice:a.example")).await;
        let room = world.rooms.create(alice.actor(), new_room("11", Preset::PrivateChat)).await.unwrap();
        let id: &ruma::TransactionId = "t1".into();
        let sends = (0..8).map(|_| world.rooms.send(alice.actor(), &room, "m.room.message", message("once"), Some(id)));
        let sent: Vec<_> = futures_util::future::join_all(sends).await.into_iter().map(Result::unwrap).collect();
        assert!(sent.iter().all(|event| *event == sent[0]));
        let other: &ruma::TransactionId = "t2".into();
        assert_ne!(
            world.rooms.send(alice.actor(), &room, "m.room.message", message("once"), Some(other)).await.unwrap(),
            sent[0]
        );
    });
}

#[test]
fn strangers_see_nothing_and_change_nothing() {
    run(async {
        let world = World::new();
        let (alice, eve) =
            (world.person(user_id!("@alice:a.example")).await, world.person(user_id!("@eve:a.example")).await);
        let room = world.rooms.create(alice.actor(), new_room("12", Preset::PrivateChat)).await.unwrap();
        let before = world.rooms.view(&room).await.unwrap().unwrap().end;
        let filter = RoomEventFilter::default();
        assert!(matches!(
            world.rooms.messages(eve.actor(), &room, page(true, &filter)).await,
            Err(RoomError::Forbidden(_))
        ));
        assert!(matches!(world.rooms.current_state(eve.actor(), &room).await, Err(RoomError::Forbidden(_))));
        assert!(matches!(
            world.rooms.send(eve.actor(), &room, "m.room.message", message("x"), None).await,
            Err(RoomError::Forbidden(_))
        ));
        assert!(matches!(
            world.rooms.join(eve.actor(), &room, MemberProfile::default(), None).await,
            Err(RoomError::Forbidden(_))
        ));
        assert_eq!(world.rooms.view(&room).await.unwrap().unwrap().end, before);
    });
}

#[test]
fn who_left_reads_up_to_the_end_of_the_membership() {
    run(async {
        let world = World::new();
        let (alice, bob) =
            (world.person(user_id!("@alice:a.example")).await, world.person(user_id!("@bob:a.example")).await);
        let mut request = new_room("11", Preset::PrivateChat);
        request.invite.push((bob.id.clone(), MemberProfile::default()));
        let room = world.rooms.create(alice.actor(), request).await.unwrap();
        world.rooms.join(bob.actor(), &room, MemberProfile::default(), None).await.unwrap();
        world.rooms.send(alice.actor(), &room, "m.room.message", message("for both"), None).await.unwrap();
        world.rooms.leave(bob.actor(), &room, None).await.unwrap();
        let later = world.rooms.send(alice.actor(), &room, "m.room.message", message("for alice"), None).await.unwrap();
        let filter = RoomEventFilter::default();
        let seen = world.rooms.messages(bob.actor(), &room, page(true, &filter)).await.unwrap().chunk;
        assert_eq!(seen[0].pdu.membership().map(|m| m.to_string()), Some("leave".to_owned()));
        assert!(matches!(world.rooms.event(bob.actor(), &room, &later).await, Err(RoomError::NoSuchEvent)));
        let entry = world
            .rooms
            .membership(bob.nid, world.rooms.view(&room).await.unwrap().unwrap().nid)
            .await
            .unwrap()
            .unwrap();
        assert_eq!((entry.membership, entry.previous), (Membership::Leave, Some(Membership::Join)));
        world.rooms.forget(bob.actor(), &room).await.unwrap();
        assert!(matches!(
            world.rooms.messages(bob.actor(), &room, page(true, &filter)).await,
            Err(RoomError::Forbidden(_))
        ));
    });
}

#[test]
fn a_redacted_event_loses_its_content_for_good() {
    run(async {
        for version in ["10", "11", "12"] {
            let world = World::new();
            let (alice, bob) =
                (world.person(user_id!("@alice:a.example")).await, world.person(user_id!("@bob:a.example")).await);
            let room = world.rooms.create(alice.actor(), new_room(version, Preset::PublicChat)).await.unwrap();
            world.rooms.join(bob.actor(), &room, MemberProfile::default(), None).await.unwrap();
            let sent = world.rooms.send(alice.actor(), &room, "m.room.message", message("secret"), None).await.unwrap();
            assert!(matches!(
                world.rooms.redact(bob.actor(), &room, &sent, None, None).await,
                Err(RoomError::Forbidden(_))
            ));
            world.rooms.redact(alice.actor(), &room, &sent, Some("typo".to_owned()), None).await.unwrap();
            let event = world.rooms.event(bob.actor(), &room, &sent).await.unwrap();
            assert_eq!(event.pdu.content().get(), "{}");
            let shown = world.rooms.client_event(bob.actor(), &event, true).await.unwrap();
            let shown: serde_json::Value = serde_json::from_str(shown.get()).unwrap();
            assert_eq!(shown["unsigned"]["redacted_because"]["content"]["reason"], "typo");
            assert_eq!(shown["unsigned"]["redacted_because"]["redacts"], sent.as_str());
        }
    });
}

#[test]
fn an_event_of_another_room_is_not_there() {
    run(async {
        let world = World::new();
        let alice = world.person(user_id!("@alice:a.example")).await;
        let here = world.rooms.create(alice.actor(), new_room("12", Preset::PrivateChat)).await.unwrap();
        let there = world.rooms.create(alice.actor(), new_room("12", Preset::PrivateChat)).await.unwrap();
        let sent = world.rooms.send(alice.actor(), &there, "m.room.message", message("stays"), None).await.unwrap();
        let refused = world.rooms.redact(alice.actor(), &here, &sent, None, None).await;
        assert!(matches!(refused, Err(RoomError::NoSuchEvent)), "{refused:?}");
        assert!(matches!(world.rooms.event(alice.actor(), &here, &sent).await, Err(RoomError::NoSuchEvent)));
        let event = world.rooms.event(alice.actor(), &there, &sent).await.unwrap();
        assert!(event.pdu.content().get().contains("stays"));
    });
}

#[test]
fn guests_join_only_where_the_room_says_so() {
    run(async {
        let world = World::new();
        let alice = world.person(user_id!("@alice:a.example")).await;
        let guest = world.person(user_id!("@1:a.example")).await.into_guest();
        let room = world.rooms.create(alice.actor(), new_room("12", Preset::PublicChat)).await.unwrap();
        let refused = world.rooms.join(guest.actor(), &room, MemberProfile::default(), None).await;
        assert!(matches!(refused, Err(RoomError::Forbidden(_))), "the preset forbids guests: {refused:?}");
        let content = to_raw_value(&json!({ "guest_access": "can_join" })).unwrap();
        world.rooms.set_state(alice.actor(), &room, &"m.room.guest_access".into(), "", content).await.unwrap();
        world.rooms.join(guest.actor(), &room, MemberProfile::default(), None).await.unwrap();
    });
}

#[test]
fn a_refused_job_leaves_its_group_alone() {
    run(async {
        let world = World::new();
        let (alice, bob) =
            (world.person(user_id!("@alice:a.example")).await, world.person(user_id!("@bob:a.example")).await);
        let room = world.rooms.create(alice.actor(), new_room("12", Preset::PublicChat)).await.unwrap();
        world.rooms.join(bob.actor(), &room, MemberProfile::default(), None).await.unwrap();
        let sends = (0..20).map(|n| {
            let (world, alice, bob, room) = (&world, &alice, &bob, &room);
            async move {
                let kind = &ruma::events::StateEventType::RoomName;
                if n % 4 == 0 {
                    let content = to_raw_value(&json!({ "name": "mine" })).unwrap();
                    assert!(matches!(
                        world.rooms.set_state(bob.actor(), room, kind, "", content).await,
                        Err(RoomError::Forbidden(_))
                    ));
                } else {
                    world
                        .rooms
                        .send(alice.actor(), room, "m.room.message", message(&n.to_string()), None)
                        .await
                        .unwrap();
                }
            }
        });
        futures_util::future::join_all(sends).await;
        let filter = RoomEventFilter::default();
        let all = world.rooms.messages(alice.actor(), &room, page(false, &filter)).await.unwrap().chunk;
        assert_eq!(all.iter().filter(|event| !event.pdu.is_state()).count(), 15);
        let mut depths: Vec<u64> = all.iter().map(|event| event.pdu.depth()).collect();
        let sorted = depths.clone();
        depths.dedup();
        assert_eq!(depths, sorted, "each event stands on the one before");
        assert!(all.windows(2).all(|pair| pair[1].pdu.prev_events().eq([pair[0].pdu.event_id()])));
    });
}

/// An act of a user on the one room of the property test.
#[derive(Clone, Debug)]
enum Act {
    Send,
    Name,
    Visibility(&'static str),
    Redact(usize),
    Join,
    Leave,
    Knock,
    Invite(usize),
    Kick(usize),
    Ban(usize),
    Unban(usize),
    Forget,
}

fn act() -> impl Strategy<Value = (usize, Act)> {
    let who = 0..4_usize;
    let act = prop_oneof![
        4 => Just(Act::Send),
        1 => Just(Act::Name),
        1 => prop_oneof![Just("joined"), Just("invited"), Just("shared"), Just("world_readable")].prop_map(Act::Visibility),
        1 => (0..20_usize).prop_map(Act::Redact),
        3 => Just(Act::Join),
        2 => Just(Act::Leave),
        1 => Just(Act::Knock),
        1 => who.clone().prop_map(Act::Invite),
        1 => who.clone().prop_map(Act::Kick),
        1 => who.clone().prop_map(Act::Ban),
        1 => who.clone().prop_map(Act::Unban),
        1 => Just(Act::Forget),
    ];
    (who, act)
}

async fn perform(
    world: &World,
    people: &[Person],
    room: &ruma::RoomId,
    sent: &[ruma::OwnedEventId],
    who: usize,
    act: Act,
) -> Option<ruma::OwnedEventId> {
    let (rooms, actor) = (&world.rooms, people[who].actor());
    let state = |value| to_raw_value(&value).unwrap();
    match act {
        Act::Send => return rooms.send(actor, room, "m.room.message", message("hello"), None).await.ok(),
        Act::Name => drop(rooms.set_state(actor, room, &"m.room.name".into(), "", state(json!({ "name": "x" }))).await),
        Act::Visibility(which) => {
            let content = state(json!({ "history_visibility": which }));
            drop(rooms.set_state(actor, room, &"m.room.history_visibility".into(), "", content).await);
        }
        Act::Redact(index) => {
            if let Some(event) = sent.get(index) {
                drop(rooms.redact(actor, room, event, None, None).await);
            }
        }
        Act::Join => drop(rooms.join(actor, room, MemberProfile::default(), None).await),
        Act::Leave => drop(rooms.leave(actor, room, None).await),
        Act::Knock => drop(rooms.knock(actor, room, MemberProfile::default(), None).await),
        Act::Invite(target) => {
            drop(rooms.invite(actor, room, &people[target].id, MemberProfile::default(), None).await);
        }
        Act::Kick(target) => drop(rooms.kick(actor, room, &people[target].id, None).await),
        Act::Ban(target) => drop(rooms.ban(actor, room, &people[target].id, None).await),
        Act::Unban(target) => drop(rooms.unban(actor, room, &people[target].id, None).await),
        Act::Forget => drop(rooms.forget(actor, room).await),
    }
    None
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn whatever_users_do_at_once_the_room_agrees_with_itself(acts in proptest::collection::vec(act(), 1..60), version in 0..RoomVersion::ALL.len()) {
        run(async {
            let world = World::new();
            let mut people = Vec::new();
            for name in ["a", "b", "c", "d"] {
                people.push(world.person(&UserId::parse(format!("@{name}:a.example")).unwrap()).await);
            }
            let version = RoomVersion::ALL[version].as_str();
            let room = world.rooms.create(people[0].actor(), new_room(version, Preset::PublicChat)).await.unwrap();
            let mut sent = Vec::new();
            // Four users at a time act at once.
            for together in acts.chunks(4) {
                let acting = together.iter().map(|(who, act)| perform(&world, &people, &room, &sent, *who, act.clone()));
                let done: Vec<_> = futures_util::future::join_all(acting).await;
                sent.extend(done.into_iter().flatten());
            }
            let report = crate::fsck(&world.store).await.unwrap();
            prop_assert_eq!(report.problems, Vec::<String>::new());
            // A second engine over the same store reads the same room.
            let view = world.rooms.view(&room).await.unwrap().unwrap();
            let again = World::over(world.store.clone()).rooms.view(&room).await.unwrap().unwrap();
            prop_assert_eq!((view.state, view.joined, view.visibility, view.end), (again.state, again.joined, again.visibility, again.end));
            Ok(())
        })?;
    }
}
