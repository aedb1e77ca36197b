//! To servers that are away.

use std::time::Duration;

use http::StatusCode;
use ruma::{ServerName, server_name};
use tokio::time::{sleep, timeout};
use wardroom_store::Scan;

use super::{Mood, SOON, START_MS, World, edu, edu_text, run, until};
use crate::outbox::{
    lanes::{EDUS_MAX_FAILING, EVENTS_MAX_FAILING},
    tables::{CATCH_UP, EDUS, EVENTS},
};

const HOUR_MS: u64 = 60 * 60 * 1_000;

/// Until this many rooms are to be caught up with, and at most so many single events wait in the store.
async fn shortened(world: &World, rooms: usize, events_max: u64) {
    let all = Scan::all().limit(usize::MAX);
    let wait = async {
        while world.store.latest().scan_keys(&CATCH_UP, all.clone()).await.unwrap().len() != rooms
            || world.store.latest().scan_keys(&EVENTS, all.clone()).await.unwrap().len() as u64 > events_max
        {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, wait).await.expect("the queues are shortened soon");
}

#[test]
fn a_transaction_that_may_have_arrived_is_sent_again_as_it_was() {
    run(async {
        for restarted in [false, true] {
            let (mut world, a) = (World::new(), server_name!("a.example"));
            world.servers.set(a, Mood::LosesAnswer);
            world.send(1, 1, &[a]).await;
            world.outbox.signal(a, edu("m.receipt", Some("a"), 0));
            let due = || {
                world.pass(HOUR_MS);
                !world.servers.events(a).is_empty()
            };
            until(due).await;
            until(|| world.outbox.inner.lanes.sights().iter().all(|sight| sight.failing)).await;
            let first = world.servers.attempts(a).into_iter().find(|transaction| !transaction.pdus.is_empty());
            let first = first.unwrap();
            for number in 2..10 {
                world.send(1, number, &[a]).await;
                world.queue(a, usize::try_from(number).unwrap()).await;
            }
            world.distributed().await;
            if restarted {
                world.restart().await;
            }
            world.servers.set(a, Mood::Takes);
            until(|| {
                world.pass(HOUR_MS);
                world.servers.events(a).last() == Some(&(1, 9)) && world.servers.edus(a).len() >= 8
            })
            .await;
            let again = world.servers.attempts(a).into_iter().filter(|transaction| transaction.id == first.id);
            let again: Vec<_> = again.collect();
            assert!(again.len() >= 2);
            for transaction in &again {
                assert_eq!(transaction.at_ms, first.at_ms);
                assert_eq!(format!("{:?}", transaction.pdus), format!("{:?}", first.pdus));
            }
            let mut events = world.servers.events(a);
            events.dedup();
            assert_eq!(events, (1..10).map(|number| (1, number)).collect::<Vec<_>>());
        }
    });
}

#[test]
fn pauses_grow_survive_a_restart_and_end_when_the_server_is_heard() {
    run(async {
        let (mut world, a) = (World::new(), server_name!("a.example"));
        world.servers.set(a, Mood::Away);
        world.send(1, 1, &[a]).await;
        let mut before_ms = 0;
        for failures in 1..=14_usize {
            world.failed(a, failures as u64).await;
            assert_eq!(world.servers.attempts(a).len(), failures);
            let view = world.outbox.destination(a).await.unwrap().unwrap();
            assert_eq!(view.failure_ts, Some(START_MS));
            let pause_ms = view.retry_interval_ms;
            let doubled = (1_000 << (failures - 1)).min(HOUR_MS);
            assert!((doubled * 3 / 4..=doubled * 5 / 4).contains(&pause_ms), "{failures}: {pause_ms}");
            assert!(pause_ms > before_ms || doubled == HOUR_MS);
            before_ms = pause_ms;
            world.pass(pause_ms - 1);
            if failures % 5 == 0 {
                world.restart().await;
            }
            assert_eq!(world.servers.attempts(a).len(), failures, "not before it is due");
            world.pass(1);
        }
        world.failed(a, 15).await;
        world.servers.set(a, Mood::Takes);
        world.pass(5_000);
        world.outbox.heard_from(server_name!("b.example"));
        assert_eq!(world.servers.attempts(a).len(), 15);
        world.outbox.heard_from(a);
        until(|| world.servers.events(a).len() == 1).await;
        until(|| world.outbox.inner.lanes.sights().is_empty()).await;
        assert_eq!(world.outbox.destination(a).await.unwrap().unwrap().retry_interval_ms, 0);
    });
}

#[test]
fn a_server_gets_the_pause_that_it_asks_for() {
    run(async {
        let (world, a) = (World::new(), server_name!("a.example"));
        world.servers.set(a, Mood::Refuses(StatusCode::TOO_MANY_REQUESTS, r#"{"retry_after_ms":90000}"#));
        world.send(1, 1, &[a]).await;
        world.failed(a, 1).await;
        assert_eq!(world.outbox.destination(a).await.unwrap().unwrap().retry_interval_ms, 90_000);
    });
}

#[test]
fn nothing_is_lost_when_the_server_stops_in_the_middle() {
    run(async {
        let (mut world, a) = (World::new(), server_name!("a.example"));
        let gate = std::sync::Arc::new(tokio::sync::Notify::new());
        for round in 0..20 {
            world.servers.set(a, Mood::Slow(gate.clone()));
            for number in 0..7 {
                world.send(1, round * 7 + number, &[a]).await;
            }
            world.queue(a, usize::try_from(round).unwrap()).await;
            until(|| world.servers.at_once.load(std::sync::atomic::Ordering::SeqCst) > 0).await;
            // Before the restart: what comes after it sends at once.
            world.servers.at_once.store(0, std::sync::atomic::Ordering::SeqCst);
            world.restart().await;
        }
        world.servers.set(a, Mood::Takes);
        gate.notify_waiters();
        until(|| world.servers.events(a).len() >= 140 && world.servers.edus(a).len() >= 20).await;
        let mut events = world.servers.events(a);
        events.dedup();
        assert_eq!(events, (0..140).map(|number| (1, number)).collect::<Vec<_>>());
        until(|| world.outbox.inner.lanes.sights().is_empty()).await;
    });
}

#[test]
fn who_was_away_for_long_gets_the_newest_of_each_room_first() {
    run(async {
        let (mut world, a) = (World::new(), server_name!("a.example"));
        world.servers.set(a, Mood::Away);
        let count = 2 * EVENTS_MAX_FAILING + 500;
        for number in 0..count {
            world.send(number % 3, number, &[a]).await;
        }
        world.distributed().await;
        until(|| world.outbox.inner.lanes.sights().iter().all(|sight| sight.failing)).await;
        shortened(&world, 3, EVENTS_MAX_FAILING).await;
        world.restart().await;
        world.servers.set(a, Mood::Takes);
        until(|| {
            world.pass(HOUR_MS);
            // The last event may also be among the newest of each room: then others come after it.
            world.servers.has(a, count - 1)
        })
        .await;
        until(|| world.outbox.inner.lanes.sights().is_empty()).await;
        let events = world.servers.events(a);
        assert!(events.len() as u64 <= EVENTS_MAX_FAILING + 3 + 50, "{} of {count}", events.len());
        let missed = &world.servers.taken(a)[0];
        assert!(missed.pdus.len() == 3, "the newest of each room");
        for room in 0..3 {
            let of_room: Vec<u64> = events.iter().filter(|(of, _)| *of == room).map(|(_, event)| *event).collect();
            assert!(of_room.is_sorted(), "the order within a room is kept");
        }
        assert!(world.store.latest().scan_keys(&CATCH_UP, Scan::all()).await.unwrap().is_empty());
    });
}

#[test]
fn messages_for_who_is_away_are_bounded() {
    run(async {
        let (world, a) = (World::new(), server_name!("a.example"));
        world.servers.set(a, Mood::Away);
        let count = usize::try_from(EDUS_MAX_FAILING).unwrap() + 1_000;
        for first in (0..count).step_by(500) {
            let mut batch = wardroom_store::Batch::default();
            for number in first..first + 500 {
                let edu = edu("m.direct_to_device", None, number);
                world.outbox.queue_edu(&mut batch, a, edu).await.unwrap();
            }
            world.store.commit(batch).await.unwrap();
        }
        until(|| world.outbox.stats().edus_dropped > 0).await;
        until(|| world.outbox.stats().edus_waiting <= EDUS_MAX_FAILING).await;
        until(|| world.outbox.inner.lanes.sights().iter().all(|sight| sight.failing)).await;
        let rows = world.store.latest().scan_keys(&EDUS, Scan::all().limit(2 * count)).await.unwrap();
        assert_eq!(rows.len() as u64 + world.outbox.stats().edus_dropped, count as u64);
        world.servers.set(a, Mood::Takes);
        world.pass(HOUR_MS);
        until(|| world.servers.edus(a).len() == rows.len()).await;
        let edus = world.servers.edus(a);
        assert_eq!(edus.last(), Some(&edu_text("m.direct_to_device", count - 1)), "the newest stay");
        let kept: Vec<String> =
            (count - edus.len()..count).map(|number| edu_text("m.direct_to_device", number)).collect();
        assert_eq!(edus, kept);
    });
}

#[test]
fn a_server_that_is_not_admitted_gets_nothing_until_it_is() {
    run(async {
        let (world, a) = (World::new(), server_name!("a.example"));
        world.servers.deny(a, true);
        for number in 0..10 {
            world.send(number % 2, number, &[a]).await;
            world.queue(a, 1).await;
            world.outbox.signal(a, edu("m.typing", None, 1));
        }
        world.distributed().await;
        until(|| world.outbox.stats().not_admitted == 1).await;
        world.send(0, 10, &[a]).await;
        world.distributed().await;
        assert_eq!(world.servers.attempts(a).len(), 0);
        world.servers.deny(a, false);
        world.outbox.wake();
        until(|| world.servers.events(a).last() == Some(&(0, 10))).await;
        assert!(world.servers.edus(a).is_empty());
        until(|| world.outbox.inner.lanes.sights().is_empty()).await;
    });
}

#[test]
fn a_thousand_servers_may_be_away() {
    const SERVERS: usize = 1_000;
    const EVENTS_PER_SERVER: u64 = 1_000;
    run(async {
        let world = World::new();
        world.servers.everybody_is_away(true);
        let names: Vec<String> = (0..SERVERS).map(|number| format!("s{number}.example")).collect();
        let servers: Vec<&ServerName> =
            names.iter().map(|name| <&ServerName>::try_from(name.as_str()).unwrap()).collect();
        for number in 0..EVENTS_PER_SERVER + 10 {
            world.send(number % 3, number, &servers).await;
        }
        world.distributed().await;
        until(|| world.outbox.stats().failing == SERVERS as u64).await;
        until(|| world.outbox.stats().events_waiting <= 20 * SERVERS as u64).await;
        shortened(&world, 3 * SERVERS, 20 * SERVERS as u64).await;
        assert!(world.outbox.stats().signal_bytes == 0);
        world.servers.everybody_is_away(false);
        until(|| {
            world.pass(2 * HOUR_MS);
            servers.iter().all(|server| world.servers.has(server, EVENTS_PER_SERVER + 9))
        })
        .await;
    });
}
