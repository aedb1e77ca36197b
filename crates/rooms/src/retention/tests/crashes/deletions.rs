//! Crashes while a room is deleted, its history purged, or a person erased.

use futures_util::{FutureExt as _, future::BoxFuture};
use ruma::{OwnedServerName, UserId};

use super::*;
use crate::{
    ErasureState, ErasureWish, Forgotten, MemberProfile, Memory, NotForgotten, Profiles, PurgeUpTo, RoomDeletion,
    RoomEnd, RoomNid, Task, TaskStatus, UserNid,
    tables::{HEADS, ROOMS},
};

/// More than is purged in one commit.
const MESSAGES: u64 = 450;

fn profiles() -> Profiles {
    Profiles::new(|_| Box::pin(async { MemberProfile::default() }))
}

/// Does everything that is to be done.
async fn finish(rooms: Rooms, _: Arc<ManualClock>) {
    let running = tokio::spawn(rooms.clone().run_tasks(profiles()));
    for task in rooms.tasks().await.unwrap() {
        rooms.finished_task(&task.id).await.unwrap().unwrap();
    }
    running.abort();
}

/// A room with something in it.
fn ward(messages: u64) -> (Place, OwnedRoomId, OwnedUserId) {
    let place = Place::new(RetentionSettings::default());
    let room = run(async {
        let life = place.open(START_MS).await;
        let alice = life.world.person(user_id!("@alice:a.example")).await;
        let room = life.world.rooms.create(alice.actor(), new_room("12", Preset::PublicChat)).await.unwrap();
        for message in 0..messages {
            life.say(&alice, &room, &format!("word {message}")).await;
        }
        room
    });
    (place, room, user_id!("@alice:a.example").to_owned())
}

async fn delete(life: &Life, room: &OwnedRoomId, end: Option<RoomEnd>) -> String {
    let alice = life.world.person(user_id!("@alice:a.example")).await;
    let deletion = RoomDeletion::new(room.clone(), alice.actor().user.to_owned(), alice.actor().nid);
    life.world.rooms.delete_room(RoomDeletion { force: true, end, ..deletion }).await.unwrap()
}

async fn only_task(life: &Life) -> Task {
    let mut tasks = life.world.rooms.tasks().await.unwrap();
    assert_eq!(tasks.len(), 1);
    tasks.swap_remove(0)
}

async fn gone(life: &Life) {
    let store = life.world.store.latest();
    macro_rules! none {
        ($($table:ident),*) => { $(assert!(store.scan_keys(&$table, Scan::all()).await.unwrap().is_empty());)* };
    }
    none!(ROOMS, HEADS, EVENTS, PERISHABLE, SEALED_DAYS);
    life.sound().await;
    let noted = life.recorded().await;
    assert_eq!((noted["room.delete closed"], noted["room.delete destroyed"]), (1, 1));
}

#[test]
fn the_deletion_of_a_room_goes_on_unless_a_hold_came_before_its_keys_went() {
    let (template, room, _) = ward(5);
    run(async {
        let life = template.open(START_MS).await;
        delete(&life, &room, None).await;
    });
    for (step, is_whole) in
        [(Step::Close, true), (Step::DestroyRoom, true), (Step::EraseRows, false), (Step::Destroyed, false)]
    {
        for held in [false, true] {
            let place = template.copied();
            let (stopped, _) = place.crash(START_MS, Some((step, 0)), finish);
            assert!(stopped, "{step:?} is never reached");
            run(async {
                let life = place.open(START_MS).await;
                assert!(!life.recorded().await.contains_key("room.delete destroyed"));
                let whole = if held && is_whole { life.whole().await } else { BTreeMap::new() };
                let hold = if held { Some(life.hold_everything().await) } else { None };
                finish(life.world.rooms.clone(), life.world.clock.clone()).await;
                let task = only_task(&life).await;
                let Some(hold) = hold.filter(|_| is_whole) else {
                    assert_eq!((task.status, task.error), (TaskStatus::Complete, None), "{step:?}");
                    return gone(&life).await;
                };
                assert_eq!(task.status, TaskStatus::Failed);
                assert!(task.error.unwrap().contains(&hold.id.to_string()));
                assert_eq!((life.whole().await, whole.len()), (whole, 5), "{step:?}");
                life.sound().await;
                let held = life.world.rooms.held_events(&hold.scope, None).await;
                assert!(held.is_ok(), "{held:?}");
                assert_eq!(life.world.rooms.view(&room).await.unwrap().unwrap().joined, 0, "everybody is out");
                let noted = life.recorded().await;
                assert_eq!(noted.get("room.delete held").copied(), (step == Step::DestroyRoom).then_some(1));
                life.holds.release(hold.id, user_id!("@admin:a.example"), "settled").await.unwrap();
                delete(&life, &room, None).await;
                finish(life.world.rooms.clone(), life.world.clock.clone()).await;
                assert!(life.world.rooms.view(&room).await.unwrap().is_none());
                assert_eq!(life.rows().await[0], 0);
                life.sound().await;
            });
        }
    }
}

/// As in a store that was restored from a copy that was made in the middle of a deletion which has ended since.
#[test]
fn a_restored_deletion_whose_keys_are_gone_goes_on() {
    let (place, room, _) = ward(5);
    run(async {
        let life = place.open(START_MS).await;
        delete(&life, &room, None).await;
    });
    assert!(place.crash(START_MS, Some((Step::DestroyRoom, 0)), finish).0);
    run(async {
        let life = place.open(START_MS).await;
        let rooms = &life.world.rooms;
        let nid = rooms.engine.room_nid(&room).await.unwrap().unwrap();
        rooms.engine.destroy_keys(nid).await.unwrap();
        assert_eq!((rooms.remove_remains().await.unwrap(), rooms.drop_lost().await.unwrap()), (0, 0));
        life.sound().await;
        finish(rooms.clone(), life.world.clock.clone()).await;
        gone(&life).await;
    });
}

#[test]
fn a_room_that_ends_by_itself_is_destroyed_once() {
    let (mut template, _, _) = ward(1);
    template.retention = RetentionSettings {
        default: Terms { max_ms: Some(DAY_MS), min_ms: None },
        ends: crate::Ends { state_only: Some(Duration::from_millis(10 * DAY_MS)), ..crate::Ends::default() },
        ..RetentionSettings::default()
    };
    let now_ms = START_MS + 30 * DAY_MS;
    let hour = |rooms: Rooms, clock: Arc<ManualClock>| async move {
        rooms.purge_expired(now_ms).await.unwrap();
        rooms.end_rooms(now_ms).await.unwrap();
        finish(rooms, clock).await;
    };
    for step in [Step::Prune, Step::EndRoom, Step::Close, Step::DestroyRoom, Step::EraseRows, Step::Destroyed] {
        let place = template.copied();
        let (stopped, _) = place.crash(now_ms, Some((step, 0)), hour);
        assert!(stopped, "{step:?} is never reached");
        place.crash(now_ms, None, hour);
        run(async {
            let life = place.open(now_ms).await;
            gone(&life).await;
            assert_eq!(life.recorded().await["room.delete state_only"], 1, "{step:?}");
        });
    }
}

#[test]
fn what_a_purge_of_history_says_that_it_did_is_what_is_gone() {
    let (template, room, _) = ward(MESSAGES);
    run(async {
        let life = template.open(START_MS).await;
        life.world.rooms.purge_history(&room, &PurgeUpTo::Time(u64::MAX), true).await.unwrap();
    });
    for passed in [0, 1, 2] {
        let place = template.copied();
        assert!(place.crash(START_MS, Some((Step::History, passed)), finish).0);
        place.crash(START_MS, None, finish);
        run(async {
            let life = place.open(START_MS).await;
            let task = only_task(&life).await;
            let crate::Work::PurgeHistory(purge) = task.work else { panic!("another task") };
            // All but the newest, with the states that a new room has.
            assert_eq!(purge.purged, MESSAGES - 1 + 7, "{passed} pages before the crash");
            life.sound().await;
        });
    }
}

/// Another server took all messages of the room but the last.
#[derive(Debug)]
struct Partner {
    took: crate::Place,
}

impl Memory for Partner {
    fn close<'a>(&'a self, _: &'a UserId) -> BoxFuture<'a, Result<(), NotForgotten>> {
        async { Ok(()) }.boxed()
    }

    fn forget<'a>(&'a self, _: &'a UserId, _: UserNid) -> BoxFuture<'a, Result<Forgotten, NotForgotten>> {
        async { Ok(Forgotten::default()) }.boxed()
    }

    fn sent(&self, _: RoomNid) -> BoxFuture<'_, Result<Vec<(OwnedServerName, crate::Place)>, NotForgotten>> {
        async { Ok(vec![(owned_server_name!("b.example"), self.took)]) }.boxed()
    }

    fn tell<'a>(
        &'a self,
        _: &'a UserId,
        servers: Vec<OwnedServerName>,
    ) -> BoxFuture<'a, Result<Vec<OwnedServerName>, NotForgotten>> {
        async { Ok(servers) }.boxed()
    }

    fn destroy_key<'a>(&'a self, _: &'a UserId, _: UserNid) -> BoxFuture<'a, Result<(), NotForgotten>> {
        async { Ok(()) }.boxed()
    }
}

#[test]
fn what_an_erasure_says_that_it_removed_is_what_is_gone_and_who_has_copies_is_named() {
    let (template, room, user) = ward(MESSAGES);
    let (took, newest) = run(async {
        let life = template.open(START_MS).await;
        let alice = life.world.person(&user).await;
        let said = [life.say(&alice, &room, "taken").await, life.say(&alice, &room, "not taken").await];
        let wish = ErasureWish { user: &user, nid: alice.actor().nid, reason: None, until_ms: None };
        life.world.rooms.erase_user(wish).await.unwrap();
        let engine = &life.world.rooms.engine;
        let nid = engine.event_nid(&said[0]).await.unwrap().unwrap();
        (engine.meta(nid).await.unwrap().unwrap().1, said[0].clone())
    });
    let erase = |rooms: Rooms, clock| async move {
        rooms.remember_with(Arc::new(Partner { took }));
        finish(rooms, clock).await;
    };
    for passed in [0, 1, 2] {
        let place = template.copied();
        assert!(place.crash(START_MS, Some((Step::Prune, passed)), erase).0);
        place.crash(START_MS, None, erase);
        run(async {
            let life = place.open(START_MS).await;
            let alice = life.world.person(&user).await;
            let done = life.world.rooms.erasure(alice.actor().nid).await.unwrap().unwrap();
            assert_eq!((done.state, done.removed["events"]), (ErasureState::Complete, MESSAGES + 2));
            assert_eq!(life.recorded().await["account.erase events"], MESSAGES + 2, "{passed} pages before the crash");
            let copies = &done.servers["b.example"];
            assert_eq!((copies.rooms, copies.last_event_id.as_ref()), (1, Some(&newest)), "{passed} pages before");
            assert_eq!((&copies.last_room_id, copies.told_ts), (&Some(room.clone()), Some(START_MS)));
            life.sound().await;
        });
    }
}
