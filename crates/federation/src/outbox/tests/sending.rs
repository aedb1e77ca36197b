//! To servers that answer.

use std::sync::{Arc, atomic::Ordering};

use http::StatusCode;
use ruma::{ServerName, server_name};
use tokio::sync::Notify;
use wardroom_store::Batch;

use super::{Mood, World, edu, edu_text, event, run, until};
use crate::{DestinationOrder, DestinationQuery, EDU_BYTES_MAX, FederationError, OutgoingEdu};

#[test]
fn everything_arrives_once_and_in_order() {
    run(async {
        let (world, a) = (World::new(), server_name!("a.example"));
        let gate = Arc::new(Notify::new());
        world.servers.set(a, Mood::Slow(Arc::clone(&gate)));
        for number in 0..230 {
            world.send(number % 2, number, &[a, server_name!("here.example")]).await;
            world.queue(a, usize::try_from(number).unwrap()).await;
        }
        world.distributed().await;
        world.servers.set(a, Mood::Takes);
        until(|| {
            gate.notify_one();
            world.servers.events(a).len() == 230 && world.servers.edus(a).len() == 230
        })
        .await;
        let expected: Vec<(u64, u64)> = (0..230).map(|number| (number % 2, number)).collect();
        assert_eq!(world.servers.events(a), expected);
        let edus: Vec<String> = (0..230).map(|number| edu_text("m.direct_to_device", number)).collect();
        assert_eq!(world.servers.edus(a), edus);
        let taken = world.servers.taken(a);
        assert!(taken.len() < 20, "{} transactions", taken.len());
        assert!(taken.iter().any(|transaction| transaction.pdus.len() == 50));
        let ids: std::collections::BTreeSet<&String> = taken.iter().map(|transaction| &transaction.id).collect();
        assert_eq!(ids.len(), taken.len());
        until(|| world.outbox.inner.lanes.sights().is_empty()).await;
        assert_eq!(world.servers.events(server_name!("here.example")), []);
        let stats = world.outbox.stats();
        assert_eq!((stats.events, stats.edus, stats.failures), (230, 230, 0));
    });
}

#[test]
fn a_server_that_does_not_answer_holds_up_nobody() {
    run(async {
        let world = World::new();
        let names: Vec<String> = (0..100).map(|number| format!("s{number}.example")).collect();
        let servers: Vec<&ServerName> =
            names.iter().map(|name| <&ServerName>::try_from(name.as_str()).unwrap()).collect();
        let gate = Arc::new(Notify::new());
        world.servers.set(servers[0], Mood::Slow(Arc::clone(&gate)));
        for number in 0..3 {
            world.send(1, number, &servers).await;
        }
        let others = &servers[1..];
        until(|| others.iter().all(|server| world.servers.events(server).len() == 3)).await;
        assert_eq!(world.servers.events(servers[0]), []);
        assert_eq!(world.servers.at_once.load(Ordering::SeqCst), 1);
        assert_eq!(world.servers.attempts(servers[0]).len(), 1, "one at a time");
        world.servers.set(servers[0], Mood::Takes);
        gate.notify_one();
        until(|| world.servers.events(servers[0]).len() == 3).await;
    });
}

#[test]
fn what_is_queued_belongs_to_its_batch() {
    run(async {
        let (world, a) = (World::new(), server_name!("a.example"));
        let mut lost = Batch::default();
        world.outbox.queue_edu(&mut lost, a, edu("m.direct_to_device", None, 1)).await.unwrap();
        drop(lost);
        let mut batch = Batch::default();
        for number in 2..5 {
            world.outbox.queue_edu(&mut batch, a, edu("m.direct_to_device", None, number)).await.unwrap();
        }
        world.outbox.queue_edu(&mut batch, server_name!("here.example"), edu("m.x", None, 1)).await.unwrap();
        world.store.commit(batch).await.unwrap();
        until(|| world.servers.edus(a).len() >= 3).await;
        assert_eq!(world.servers.edus(a), [2, 3, 4].map(|number| edu_text("m.direct_to_device", number)));
        let content = serde_json::value::to_raw_value(&"x".repeat(EDU_BYTES_MAX)).unwrap();
        let large = OutgoingEdu { kind: "m.direct_to_device", coalesce: None, content };
        let mut batch = Batch::default();
        let refused = world.outbox.queue_edu(&mut batch, a, large).await;
        assert!(matches!(refused, Err(FederationError::TooLarge { .. })));
        assert!(batch.is_empty());
    });
}

#[test]
fn of_signals_the_newest_is_told() {
    run(async {
        let (world, a) = (World::new(), server_name!("a.example"));
        let gate = Arc::new(Notify::new());
        world.servers.set(a, Mood::Slow(Arc::clone(&gate)));
        world.outbox.signal(a, edu("m.typing", Some("!room"), 0));
        until(|| world.servers.attempts(a).len() == 1).await;
        for number in 1..50 {
            world.outbox.signal(a, edu("m.typing", Some("!room"), number));
            world.outbox.signal(a, edu("m.presence", Some("@user"), number));
        }
        world.servers.set(a, Mood::Takes);
        gate.notify_one();
        until(|| world.servers.edus(a).len() == 3).await;
        let told = [edu_text("m.typing", 0), edu_text("m.typing", 49), edu_text("m.presence", 49)];
        assert_eq!(world.servers.edus(a), told);
        until(|| world.outbox.inner.lanes.sights().is_empty()).await;
        // With what is durable in one transaction.
        world.servers.set(a, Mood::Slow(Arc::clone(&gate)));
        world.queue(a, 100).await;
        until(|| world.servers.attempts(a).len() == 3).await;
        world.outbox.signal(a, edu("m.typing", Some("!room"), 101));
        world.queue(a, 102).await;
        world.send(1, 103, &[a]).await;
        world.distributed().await;
        world.servers.set(a, Mood::Takes);
        gate.notify_one();
        until(|| world.servers.edus(a).len() == 6 && world.servers.events(a).len() == 1).await;
    });
}

#[test]
fn what_a_server_takes_offence_at_is_found_and_the_rest_arrives() {
    run(async {
        let (world, a) = (World::new(), server_name!("a.example"));
        world.servers.set(a, Mood::Away);
        for number in 0..60 {
            world.send(1, number, &[a]).await;
        }
        world.distributed().await;
        world.servers.set(a, Mood::Dislikes("\"event\":33,"));
        let soon = || {
            world.pass(2 * 60 * 60 * 1_000);
            world.servers.events(a).len() == 59
        };
        until(soon).await;
        let expected: Vec<(u64, u64)> = (0..60).filter(|number| *number != 33).map(|number| (1, number)).collect();
        let mut arrived = world.servers.events(a);
        arrived.sort_unstable();
        arrived.dedup();
        assert_eq!(arrived, expected);
        assert_eq!(world.outbox.stats().refused, 1);
        let alone = world
            .servers
            .attempts(a)
            .into_iter()
            .filter(|transaction| transaction.pdus.len() == 1 && event(&transaction.pdus[0]) == (1, 33));
        assert_eq!(alone.count(), 5);
    });
}

#[test]
fn events_that_are_gone_or_not_accepted_hold_up_nothing() {
    run(async {
        let (world, a) = (World::new(), server_name!("a.example"));
        world.servers.set(a, Mood::TakesBut(2));
        world.wanted.gone.lock().extend([1, 2, 3, 7]);
        for number in 1..10 {
            world.send(1, number, &[a]).await;
        }
        until(|| world.servers.events(a).len() == 5).await;
        assert_eq!(world.servers.events(a), [4, 5, 6, 8, 9].map(|number| (1, number)));
        until(|| world.outbox.inner.lanes.sights().is_empty()).await;
        assert!(world.outbox.stats().events_refused >= 2);
    });
}

#[test]
fn administrators_see_how_it_fares() {
    run(async {
        let world = World::new();
        let (a, b, c) = (server_name!("a.example"), server_name!("b.example"), server_name!("c.other"));
        world.servers.set(b, Mood::Refuses(StatusCode::INTERNAL_SERVER_ERROR, "{}"));
        let mut batch = Batch::default();
        for room in [1, 2] {
            let name = format!("!room{room}:here.example");
            let nid = world.store.interner().intern(&mut batch, wardroom_rooms::NS_ROOM, &name).await.unwrap();
            assert_eq!(nid, room);
        }
        world.store.commit(batch).await.unwrap();
        assert_eq!(world.outbox.destination(a).await.unwrap(), None);
        world.send(1, 1, &[a, b, c]).await;
        world.send(2, 2, &[a]).await;
        until(|| world.servers.events(a).len() == 2 && world.servers.events(c).len() == 1).await;
        until(|| world.outbox.inner.lanes.sights().iter().all(|sight| sight.failing)).await;
        let all =
            world.outbox.destinations(&DestinationQuery { limit: 10, ..DestinationQuery::default() }).await.unwrap();
        let names: Vec<&str> = all.page.iter().map(|view| view.server.as_str()).collect();
        assert_eq!((names.as_slice(), all.total), (&["a.example", "b.example", "c.other"][..], 3));
        assert_eq!((all.page[0].failure_ts, all.page[0].retry_last_ts), (None, 0));
        assert!(all.page[0].last_position > all.page[2].last_position);
        assert_eq!((all.page[1].failure_ts, all.page[1].last_position), (Some(super::START_MS), None));
        assert!((750..=1_250).contains(&all.page[1].retry_interval_ms));
        let order = DestinationOrder::Failure;
        let query =
            DestinationQuery { name_part: Some("EXAMPLE".to_owned()), order, backwards: true, from: 1, limit: 1 };
        let some = world.outbox.destinations(&query).await.unwrap();
        assert_eq!((some.page, some.total), (vec![all.page[0].clone()], 2));
        let rooms = world.outbox.destination_rooms(a, true, 0, 1).await.unwrap().unwrap();
        assert_eq!((rooms.page[0].room.as_str(), rooms.total), ("!room2:here.example", 2));
        assert_eq!(Some(rooms.page[0].last_position), all.page[0].last_position);
        assert_eq!(world.outbox.destination_rooms(server_name!("d.example"), false, 0, 1).await.unwrap(), None);
        let samples = world.outbox.samples(2).await.unwrap();
        let measured: Vec<_> = samples.iter().map(|sample| (sample.server.as_str(), sample.failures)).collect();
        assert_eq!(measured, [("a.example", 0), ("b.example", 1)]);
        assert_eq!(samples[1].events_waiting, 1);
        assert_eq!(world.outbox.reset(a).await.unwrap(), Some(false));
        world.servers.set(b, Mood::Takes);
        assert_eq!(world.outbox.reset(b).await.unwrap(), Some(true));
        until(|| world.servers.events(b).len() == 1).await;
        until(|| world.outbox.inner.lanes.sights().is_empty()).await;
        assert_eq!(world.outbox.destination(b).await.unwrap().unwrap().failure_ts, None);
    });
}
