//! Holds, from setting them to their end.

use std::{sync::Arc, time::Duration};

use proptest::prelude::{any, prop_assert_eq, proptest};
use ruma::{owned_mxc_uri, owned_room_id, owned_user_id, room_id, user_id};
use tokio::time::timeout;
use wardroom_audit::{Act, AuditLog, AuditSettings, Query};
use wardroom_clock::ManualClock;
use wardroom_store::{Batch, Catalogue, Json, Store};

use crate::{
    Hold, HoldError, HoldId, HoldSettings, Holds, HoldsReport, NewHold, Scope, State, TABLES, Verdict, fsck,
    journal::{self, Entry, write},
    tables::{HOLDS, IN_FORCE},
};

const NOW_MS: u64 = 1_700_000_000_000;

struct World {
    store: Store,
    clock: Arc<ManualClock>,
    audit: AuditLog,
    holds: Holds,
}

impl World {
    async fn new() -> Self {
        let store = Store::in_memory(Catalogue::new(&[TABLES, wardroom_audit::TABLES]).unwrap());
        let clock = Arc::new(ManualClock::new(NOW_MS));
        let audit = AuditLog::open(store.clone(), clock.clone(), AuditSettings::default()).await.unwrap();
        let holds = Holds::open(store.clone(), clock.clone(), audit.clone(), HoldSettings::default()).await.unwrap();
        Self { store, clock, audit, holds }
    }

    async fn again(&self, settings: HoldSettings) -> Holds {
        Holds::open(self.store.clone(), self.clock.clone(), self.audit.clone(), settings).await.unwrap()
    }

    async fn set(&self, scope: Scope) -> HoldId {
        self.holds.set(new(scope), user_id!("@admin:a.example")).await.unwrap().id
    }

    async fn details(&self, act: Act) -> Vec<(Option<String>, Option<String>)> {
        self.audit.catch_up().await.unwrap();
        let found = self.audit.search(&Query { acts: vec![act], limit: 100, ..Query::default() }).await.unwrap();
        found.into_iter().map(|entry| (entry.record.on.detail, entry.record.why)).collect()
    }
}

fn new(scope: Scope) -> NewHold {
    NewHold { scope, reason: "a complaint".to_owned(), authority: "court, 7 O 12/26".to_owned(), expires_ts: None }
}

fn room() -> Scope {
    Scope { room_id: Some(owned_room_id!("!held:a.example")), ..Scope::default() }
}

#[tokio::test]
async fn a_hold_covers_what_everything_it_names_applies_to() {
    let world = World::new().await;
    let (held, free) = (room_id!("!held:a.example"), room_id!("!free:a.example"));
    let (alice, bob) = (user_id!("@alice:a.example"), user_id!("@bob:a.example"));
    let scope = Scope { user_id: Some(alice.to_owned()), from_ts: Some(100), to_ts: Some(200), ..room() };
    let id = world.set(scope).await;
    let guard = world.holds.nothing_changes().await;
    for (event, expected) in [
        (guard.event(held, alice, 150, 150), Verdict::Held(id)),
        (guard.event(held, alice, 900, 200), Verdict::Held(id)),
        (guard.event(held, alice, 100, 900), Verdict::Held(id)),
        (guard.event(held, alice, 99, 201), Verdict::Free),
        (guard.event(held, bob, 150, 150), Verdict::Free),
        (guard.event(free, alice, 150, 150), Verdict::Free),
        (guard.room(held), Verdict::Held(id)),
        (guard.room(free), Verdict::Free),
        (guard.user(alice), Verdict::Held(id)),
        (guard.user(bob), Verdict::Free),
        (guard.media("a.example", "abc"), Verdict::Free),
        (guard.upload("a.example", "abc", Some(alice), 120), Verdict::Held(id)),
        (guard.upload("a.example", "abc", Some(alice), 220), Verdict::Free),
        (guard.upload("a.example", "abc", None, 120), Verdict::Free),
    ] {
        assert_eq!(event, expected);
    }
    assert!(guard.any_in_room(held, 200, 300) && !guard.any_in_room(held, 201, 300));
    assert!(!guard.any_in_room(free, 0, u64::MAX));
    assert_eq!((guard.users().count(), guard.rooms().count()), (0, 0));
}

#[tokio::test]
async fn holds_of_a_file_a_user_or_a_time() {
    let world = World::new().await;
    let file = world.set(Scope { media: Some(owned_mxc_uri!("mxc://a.example/abc")), ..room() }).await;
    let user = world.set(Scope { user_id: Some(owned_user_id!("@alice:a.example")), ..Scope::default() }).await;
    let (any, alice, bob) = (room_id!("!any:b.example"), user_id!("@alice:a.example"), user_id!("@bob:a.example"));
    let guard = world.holds.nothing_changes().await;
    assert_eq!(guard.media("a.example", "abc"), Verdict::Held(file));
    assert_eq!(guard.media("a.example", "abd"), Verdict::Free);
    assert_eq!(guard.room(room_id!("!held:a.example")), Verdict::Free, "the file alone is held");
    assert_eq!(guard.event(any, alice, 1, 1), Verdict::Held(user));
    assert!(guard.any_in_room(any, 5, 6));
    assert_eq!(guard.users().collect::<Vec<_>>(), [alice]);
    drop(guard);
    let time = world.set(Scope { from_ts: Some(NOW_MS), ..Scope::default() }).await;
    let guard = world.holds.nothing_changes().await;
    assert_eq!(guard.event(any, bob, NOW_MS, 0), Verdict::Held(time));
    assert_eq!(guard.event(any, bob, 1, 1), Verdict::Free);
    assert_eq!((guard.room(any), guard.user(bob)), (Verdict::Held(time), Verdict::Held(time)));
}

#[tokio::test]
async fn a_hold_waits_for_guards_and_guards_wait_for_it() {
    let world = World::new().await;
    let guard = world.holds.nothing_changes().await;
    let holds = world.holds.clone();
    let setting = tokio::spawn(async move { holds.set(new(room()), user_id!("@admin:a.example")).await.unwrap().id });
    while world.holds.try_nothing_changes().is_some() {
        tokio::task::yield_now().await;
    }
    assert!(!setting.is_finished(), "the guard lives");
    assert_eq!(guard.room(room_id!("!held:a.example")), Verdict::Free);
    drop(guard);
    let id = timeout(Duration::from_secs(60), setting).await.unwrap().unwrap();
    assert_eq!(world.holds.nothing_changes().await.room(room_id!("!held:a.example")), Verdict::Held(id));
}

#[tokio::test]
async fn two_administrators_release_and_a_restart_changes_nothing() {
    let world = World::new().await;
    let (first, second) = (user_id!("@admin:a.example"), user_id!("@second:a.example"));
    let id = world.set(room()).await;
    let asked = world.holds.release(id, first, "settled").await.unwrap();
    assert_eq!((asked.released_ts, asked.release_requested_by.as_deref()), (None, Some(first)));
    assert!(matches!(world.holds.release(id, first, "again").await, Err(HoldError::Conflict(_))));
    let again = world.again(HoldSettings::default()).await;
    assert!(again.nothing_changes().await.room(room_id!("!held:a.example")).is_held());
    let released = again.release(id, second, "settled indeed").await.unwrap();
    assert_eq!((released.released_ts, released.released_by.as_deref()), (Some(NOW_MS), Some(second)));
    assert!(!again.nothing_changes().await.is_any());
    assert!(matches!(again.release(id, first, "once more").await, Err(HoldError::Conflict(_))));
    let last = world.again(HoldSettings::default()).await;
    assert!(!last.nothing_changes().await.is_any());
    assert_eq!(last.get(id).await.unwrap(), released, "it is kept for ever");
    assert_eq!(last.list(State::InForce, None, 10).await.unwrap().holds, []);
    assert_eq!(last.list(State::Released, None, 10).await.unwrap().holds, [released]);
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(world.details(Act::HoldSet).await, [(None, text("court, 7 O 12/26: a complaint"))]);
    let mut releases = world.details(Act::HoldRelease).await;
    releases.sort();
    assert_eq!(releases, [(text("released"), text("settled indeed")), (text("requested"), text("settled"))],);
}

#[tokio::test]
async fn one_administrator_is_enough_where_the_settings_say_so() {
    let world = World::new().await;
    let id = world.set(room()).await;
    let holds = world.again(HoldSettings { release_needs_two: false }).await;
    assert!(holds.release(id, user_id!("@admin:a.example"), "settled").await.unwrap().released_ts.is_some());
    assert!(matches!(holds.release(id, user_id!("@admin:a.example"), " ").await, Err(HoldError::Invalid(_))));
}

#[tokio::test]
async fn a_hold_whose_time_is_over_ends_by_itself() {
    let world = World::new().await;
    let admin = user_id!("@admin:a.example");
    let hold = NewHold { expires_ts: Some(NOW_MS + 5), ..new(room()) };
    let id = world.holds.set(hold, admin).await.unwrap().id;
    assert_eq!(world.holds.end_expired().await.unwrap(), 0);
    world.clock.advance_ms(5);
    assert_eq!(world.holds.end_expired().await.unwrap(), 1);
    let ended = world.holds.get(id).await.unwrap();
    assert_eq!((ended.released_ts, ended.released_by), (Some(NOW_MS + 5), None));
    assert!(!world.holds.nothing_changes().await.is_any());
    assert_eq!(world.details(Act::HoldRelease).await, [(Some("expired".to_owned()), None)]);
}

#[tokio::test]
async fn wrong_holds_are_refused_by_the_name_of_the_field() {
    let world = World::new().await;
    let admin = user_id!("@admin:a.example");
    let long = |bytes: usize| "x".repeat(bytes);
    for (hold, field) in [
        (new(Scope::default()), "scope:"),
        (new(Scope { media: Some("no".into()), ..Scope::default() }), "scope.media:"),
        (new(Scope { from_ts: Some(2), to_ts: Some(1), ..Scope::default() }), "scope.to_ts:"),
        (new(Scope { from_ts: Some(1 << 53), ..Scope::default() }), "scope.from_ts:"),
        (NewHold { reason: " ".to_owned(), ..new(room()) }, "reason:"),
        (NewHold { reason: long(2_049), ..new(room()) }, "reason:"),
        (NewHold { reason: "a\nb".to_owned(), ..new(room()) }, "reason:"),
        (NewHold { authority: String::new(), ..new(room()) }, "authority:"),
        (NewHold { authority: long(513), ..new(room()) }, "authority:"),
        (NewHold { expires_ts: Some(NOW_MS), ..new(room()) }, "expires_ts:"),
        (NewHold { expires_ts: Some(u64::MAX), ..new(room()) }, "expires_ts:"),
    ] {
        let refused = world.holds.set(hold, admin).await.unwrap_err();
        assert!(matches!(&refused, HoldError::Invalid(sentence) if sentence.starts_with(field)), "{refused}");
    }
    assert!(matches!(Holds::default().set(new(room()), admin).await, Err(HoldError::Conflict(_))));
}

#[tokio::test]
async fn pages_are_in_order_and_complete() {
    let world = World::new().await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(world.set(room()).await);
        world.clock.advance_ms(1);
    }
    ids.reverse();
    let (mut after, mut seen) = (None, Vec::new());
    loop {
        let page = world.holds.list(State::All, after, 2).await.unwrap();
        seen.extend(page.holds.iter().map(|hold| hold.id));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, ids);
}

impl World {
    /// What an older copy of the store does not have.
    async fn lose(&self, id: HoldId) {
        let mut batch = Batch::default();
        batch.delete(&HOLDS, &id.key());
        batch.delete(&IN_FORCE, &id.key());
        self.store.commit(batch).await.unwrap();
    }

    async fn problems(&self) -> (usize, u64) {
        let report = fsck(&self.store).await.unwrap();
        (report.problems.len(), report.waiting)
    }
}

#[tokio::test]
async fn holds_outlive_a_restore_of_a_store_from_before_them() {
    let world = World::new().await;
    let (admin, held) = (user_id!("@admin:a.example"), room_id!("!held:a.example"));
    let (set, released) = (world.set(room()).await, world.set(room()).await);
    let one = world.again(HoldSettings { release_needs_two: false }).await;
    let ended = one.release(released, admin, "settled").await.unwrap();
    let hold = world.holds.get(set).await.unwrap();
    assert_eq!(world.problems().await, (0, 0));
    // As it was before both, and as it was between the hold and its release.
    world.lose(set).await;
    let mut batch = Batch::default();
    batch.put(
        &HOLDS,
        &released.key(),
        &Json(Hold { released_ts: None, released_by: None, release_reason: None, ..ended.clone() }),
    );
    batch.put(&IN_FORCE, &released.key(), &());
    world.store.commit(batch).await.unwrap();
    assert_eq!(world.problems().await, (0, 2));
    for _ in 0..2 {
        let again = world.again(HoldSettings::default()).await;
        assert_eq!(again.nothing_changes().await.room(held), Verdict::Held(set));
        assert_eq!((again.get(set).await.unwrap(), again.get(released).await.unwrap()), (hold.clone(), ended.clone()));
        assert_eq!(again.list(State::InForce, None, 10).await.unwrap().holds, std::slice::from_ref(&hold));
        assert_eq!(world.problems().await, (0, 0));
    }
    let restored = |details: Vec<(Option<String>, Option<String>)>| {
        details
            .into_iter()
            .filter(|(detail, _)| detail.as_deref() == Some("restored"))
            .map(|(_, why)| why.unwrap())
            .collect()
    };
    let (sets, releases): (Vec<String>, Vec<String>) =
        (restored(world.details(Act::HoldSet).await), restored(world.details(Act::HoldRelease).await));
    assert_eq!(
        (sets, releases),
        (vec!["court, 7 O 12/26: a complaint".to_owned()], vec!["settled".to_owned()]),
        "once"
    );
    // One that was released before the copy was lost whole is there again, and in force no more.
    world.lose(released).await;
    let again = world.again(HoldSettings::default()).await;
    assert_eq!(again.get(released).await.unwrap(), ended);
    assert_eq!(again.list(State::InForce, None, 10).await.unwrap().holds.len(), 1);
}

#[tokio::test]
async fn what_a_crash_parts_leaves_a_hold_more_and_never_one_less() {
    let world = World::new().await;
    let (admin, held) = (user_id!("@admin:a.example"), room_id!("!held:a.example"));
    // Set: the journal was told, the store was not.
    let id = world.set(room()).await;
    world.lose(id).await;
    let again = world.again(HoldSettings { release_needs_two: false }).await;
    assert!(again.nothing_changes().await.room(held).is_held());
    // Released: the store was told, the journal was not.
    let released = Hold { released_ts: Some(NOW_MS), ..again.get(id).await.unwrap() };
    let mut batch = Batch::default();
    batch.put(&HOLDS, &id.key(), &Json(released.clone()));
    batch.delete(&IN_FORCE, &id.key());
    world.store.commit(batch).await.unwrap();
    assert_eq!(world.problems().await, (0, 1));
    let again = world.again(HoldSettings::default()).await;
    assert!(!again.nothing_changes().await.is_any());
    assert_eq!((again.get(id).await.unwrap(), world.problems().await), (released, (0, 0)));
    // One that could not be set is none.
    write(&world.store, &Entry::Hold(Box::new(Hold { id: HoldId::new(NOW_MS), ..world.holds.get(id).await.unwrap() })))
        .await
        .unwrap();
    let unset = journal::read(&world.store).await.unwrap().into_keys().find(|known| *known != id).unwrap();
    write(&world.store, &Entry::NoHold(unset)).await.unwrap();
    assert!(matches!(
        world.again(HoldSettings::default()).await.release(unset, admin, "x").await,
        Err(HoldError::NoSuchHold)
    ));
}

#[tokio::test]
async fn every_damage_of_holds_is_found() {
    let damages: [fn(&mut Batch, &Hold); 4] = [
        |batch, hold| batch.delete(&HOLDS, &hold.id.key()),
        |batch, hold| batch.delete(&IN_FORCE, &hold.id.key()),
        |batch, hold| batch.put(&HOLDS, &hold.id.key(), &Json(Hold { released_ts: Some(NOW_MS), ..hold.clone() })),
        |batch, hold| batch.put(&HOLDS, &hold.id.key(), &Json(Hold { reason: "another".to_owned(), ..hold.clone() })),
    ];
    for (number, damage) in damages.into_iter().enumerate() {
        let world = World::new().await;
        let id = world.set(room()).await;
        assert_eq!(fsck(&world.store).await.unwrap(), HoldsReport { holds: 1, in_force: 1, ..HoldsReport::default() });
        let mut batch = Batch::default();
        damage(&mut batch, &world.holds.get(id).await.unwrap());
        world.store.commit(batch).await.unwrap();
        assert_eq!(world.problems().await.0, 1, "damage {number}");
    }
    let world = World::new().await;
    world.store.keep("not a hold".into()).await.unwrap();
    assert_eq!(world.problems().await.0, 1);
}

proptest! {
    #[test]
    fn ids_survive_text_and_key(high in any::<u64>(), low in any::<u64>()) {
        let id = HoldId::of_key((high, low));
        prop_assert_eq!(id.key(), (high, low));
        prop_assert_eq!(id.to_string().parse::<HoldId>().unwrap(), id);
    }
}
