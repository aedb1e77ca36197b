use std::sync::Arc;

use wardroom_clock::{Clock as _, ManualClock};
use wardroom_store::{Batch, Catalogue, Store};

use super::{ReadMark, ReadOf, Sight, window::WINDOW_MS};
use crate::{
    Act, AuditLog, AuditSettings, Delivery, Outcome, Query, Record, TABLES,
    origin::{Origin, Who, scope},
};

const START_MS: u64 = 1_000_000;

async fn world() -> (Store, Arc<ManualClock>, AuditLog) {
    let store = Store::in_memory(Catalogue::new(&[TABLES]).unwrap());
    let clock = Arc::new(ManualClock::new(START_MS));
    let log = AuditLog::open(store.clone(), clock.clone(), AuditSettings::default()).await.unwrap();
    (store, clock, log)
}

fn origin(user: &str) -> Origin {
    let who = Who { user: Some(user.to_owned()), device: Some("D".to_owned()), ..Who::default() };
    Origin { who, request: Some("7".to_owned()) }
}

async fn read(log: &AuditLog, user: &str, endpoint: &'static str, events: &[u64]) {
    let ids: Vec<String> = events.iter().map(|number| format!("${number}")).collect();
    let sights: Vec<Sight<'_>> = events.iter().zip(&ids).map(|(number, id)| Sight { number: *number, id }).collect();
    let read = ReadOf { act: Act::RoomRead, object: "!r", endpoint, events: &sights, others: 0 };
    scope(origin(user), log.read(&[read])).await.unwrap();
}

async fn records(log: &AuditLog) -> Vec<Record> {
    let found = log.search(&Query { limit: 100, ..Query::default() }).await.unwrap();
    found.into_iter().map(|entry| entry.record).collect()
}

#[tokio::test]
async fn reads_of_a_window_are_one_record() {
    let (store, clock, log) = world().await;
    read(&log, "@a", "sync", &[3, 4]).await;
    let at = store.position();
    read(&log, "@a", "sync", &[4, 3]).await;
    read(&log, "@a", "sync", &[]).await;
    assert_eq!(store.position(), at, "what is known is not written");
    clock.advance_ms(5);
    read(&log, "@a", "messages", &[4, 5]).await;
    read(&log, "@b", "sync", &[5]).await;
    assert!(records(&log).await.is_empty());
    clock.advance_ms(WINDOW_MS);
    read(&log, "@a", "sync", &[6]).await;
    log.inner().unwrap().close_windows(false).await.unwrap();
    let mut found = records(&log).await;
    found.sort_by(|a, b| a.who.user.cmp(&b.who.user));
    let [a, b] = &*found else { panic!("{found:?}") };
    assert_eq!((a.act, a.on.room.as_deref(), a.on.count), (Act::RoomRead, Some("!r"), Some(3)));
    assert_eq!((a.on.event.as_deref(), a.on.last.as_deref()), (Some("$3"), Some("$5")));
    assert_eq!((a.on.since, a.on.until), (Some(START_MS), Some(START_MS + 5)));
    assert_eq!((a.on.detail.as_deref(), a.request.as_deref()), (Some("messages sync"), Some("7")));
    assert_eq!((b.who.user.as_deref(), b.on.count), (Some("@b"), Some(1)));
    log.finish_windows().await.unwrap();
    assert_eq!(records(&log).await.len(), 3);
    log.finish_windows().await.unwrap();
    assert_eq!(records(&log).await.len(), 3);
}

#[tokio::test]
async fn those_who_are_answered_at_the_same_moment_share_a_commit() {
    let (store, _, log) = world().await;
    let before = store.stats().commits;
    let mut readers = tokio::task::JoinSet::new();
    for number in 0..50 {
        let log = log.clone();
        readers.spawn(async move { read(&log, &format!("@u{number}"), "sync", &[7]).await });
    }
    // One who gives up when the group is opened, or joined.
    let gone = log.clone();
    let gone = tokio::spawn(async move { read(&gone, "@gone", "sync", &[7]).await });
    tokio::task::yield_now().await;
    gone.abort();
    while let Some(reader) = readers.join_next().await {
        reader.unwrap();
    }
    assert!(store.stats().commits - before < 5, "{} commits", store.stats().commits - before);
    let deliveries = log.deliveries(7).await.unwrap();
    assert!((50..=51).contains(&deliveries.len()), "{}", deliveries.len());
    let at = store.position();
    read(&log, "@u7", "sync", &[7]).await;
    assert_eq!(store.position(), at, "what the group wrote is known");
}

#[tokio::test]
async fn answers_wait_for_no_disk_where_the_settings_say_so() {
    let store = Store::in_memory(Catalogue::new(&[TABLES]).unwrap());
    let clock = Arc::new(ManualClock::new(START_MS));
    let settings = AuditSettings { reads_before_answers: false, ..AuditSettings::default() };
    let log = AuditLog::open(store.clone(), clock, settings).await.unwrap();
    let (at, before) = (store.position(), store.stats().commits);
    for number in 0..1_000 {
        read(&log, "@a", "sync", &[number]).await;
    }
    assert_eq!(store.position(), at, "nobody waited, so nothing had its turn to be written");
    let full = log.clone();
    read(&full, "@b", "sync", &[1]).await;
    assert!(store.position() > at, "who finds the group full waits");
    log.finish_windows().await.unwrap();
    let mut found = records(&log).await;
    found.sort_by(|a, b| a.who.user.cmp(&b.who.user));
    let counts: Vec<_> = found.iter().map(|record| (record.who.user.as_deref(), record.on.count)).collect();
    assert_eq!(counts, [(Some("@a"), Some(1_000)), (Some("@b"), Some(1))]);
    assert!(store.stats().commits - before < 10, "{} commits", store.stats().commits - before);
    let at = store.position();
    read(&log, "@a", "sync", &[2_000]).await;
    log.finish_windows().await.unwrap();
    assert!(store.position() > at);
    assert_eq!(
        log.deliveries(2_000).await.unwrap().len(),
        1,
        "what was answered is in the trail when windows are finished"
    );
}

#[tokio::test]
async fn a_crash_loses_no_read() {
    let (store, clock, log) = world().await;
    read(&log, "@a", "sync", &[3]).await;
    read(&log, "@a", "sync", &[300]).await;
    log.denied(Record::by(Act::RoleCheck, origin("@a")).room("!r")).await.unwrap();
    log.denied(Record::by(Act::RoleCheck, origin("@a")).room("!r")).await.unwrap();
    // The next run knows nothing of the windows of this one.
    let log = AuditLog::open(store, clock, AuditSettings::default()).await.unwrap();
    let found = records(&log).await;
    let read = found.iter().find(|record| record.act == Act::RoomRead).unwrap();
    assert_eq!((read.on.count, read.on.last.as_deref()), (Some(2), Some("$300")));
    assert_eq!(found.len(), 3);
    assert_eq!(log.deliveries(300).await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_reached_a_device_is_known_before_and_after_the_window() {
    let (_, clock, log) = world().await;
    read(&log, "@a", "sync", &[3, 4, 700]).await;
    clock.advance_ms(10);
    read(&log, "@b", "sync", &[4]).await;
    let of = |user: &str, at_ms| Delivery { user: user.to_owned(), device: Some("D".to_owned()), at_ms };
    let both = [of("@a", START_MS), of("@b", START_MS + 10)];
    assert_eq!(log.deliveries(4).await.unwrap(), both);
    log.finish_windows().await.unwrap();
    assert_eq!(log.deliveries(4).await.unwrap(), both);
    clock.advance_ms(WINDOW_MS);
    read(&log, "@a", "messages", &[4]).await;
    log.finish_windows().await.unwrap();
    assert_eq!(log.deliveries(4).await.unwrap(), both, "the first time counts");
    assert_eq!(log.deliveries(700).await.unwrap(), [of("@a", START_MS)]);
    assert_eq!(log.deliveries(5).await.unwrap(), []);
}

#[tokio::test]
async fn the_same_refusal_is_recorded_once_and_then_counted() {
    let (_, clock, log) = world().await;
    for _ in 0..10 {
        log.denied(Record::by(Act::RoleCheck, origin("@a")).room("!r").detail("read")).await.unwrap();
        clock.advance_ms(1);
    }
    log.denied(Record::by(Act::RoleCheck, origin("@a")).room("!other").detail("read")).await.unwrap();
    assert_eq!(records(&log).await.len(), 2);
    log.finish_windows().await.unwrap();
    let found = records(&log).await;
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found.iter().all(|record| record.outcome == Outcome::Serious));
    let on = &found[2].on;
    assert_eq!((on.count, on.since, on.until), (Some(9), Some(START_MS), Some(START_MS + 9)));
    assert_eq!(on.detail.as_deref(), Some("read"));
}

#[tokio::test]
async fn files_and_members_have_no_numbers_and_count_once() {
    let (store, clock, log) = world().await;
    let media = ReadOf { act: Act::MediaRead, object: "mxc://a/b", endpoint: "download", events: &[], others: 1 };
    scope(origin("@a"), log.read(&[media, media])).await.unwrap();
    let at = store.position();
    scope(origin("@a"), log.read(&[media])).await.unwrap();
    assert_eq!(store.position(), at);
    let other = Origin { who: Who { ip: Some("192.0.2.1".to_owned()), ..Who::default() }, request: None };
    log.read_as(&other, &[media]).await.unwrap();
    log.finish_windows().await.unwrap();
    let found = records(&log).await;
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found.iter().all(|record| record.on.media.as_deref() == Some("mxc://a/b") && record.on.room.is_none()));
    assert_eq!(clock.now_ms(), START_MS);
}

#[tokio::test]
async fn who_has_read_an_event_is_known_by_the_first_receipt_behind_it() {
    let (store, _, log) = world().await;
    for (user, thread, position, at_ms) in [(1, 0, 5, 10), (1, 0, 9, 20), (1, 4, 7, 15), (2, 0, 3, 11), (3, 0, 5, 12)] {
        let mut batch = Batch::default();
        log.mark_read(&mut batch, ReadMark { room: 1, user, thread, place: (position, 0) }, at_ms);
        log.mark_read(&mut batch, ReadMark { room: 2, user, thread, place: (position, 0) }, 1);
        store.commit(batch).await.unwrap();
    }
    assert_eq!(log.read_by(1, &[0], (5, 0)).await.unwrap(), [(1, 10), (3, 12)]);
    assert_eq!(log.read_by(1, &[0, 4], (6, 0)).await.unwrap(), [(1, 15)]);
    assert_eq!(log.read_by(1, &[0], (10, 0)).await.unwrap(), []);
}

#[tokio::test]
async fn evidence_goes_with_the_time_of_the_trail() {
    const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
    let (store, clock, log) = world().await;
    let kept_ms = 6 * 366 * DAY_MS;
    let at = |user, place, at_ms| (ReadMark { room: 1, user, thread: 0, place: (place, 0) }, at_ms);
    read(&log, "@a", "sync", &[3, 700]).await;
    let mut batch = Batch::default();
    for (mark, at_ms) in [at(1, 5, START_MS), at(2, 5, START_MS + 20 * DAY_MS)] {
        log.mark_read(&mut batch, mark, at_ms);
    }
    store.commit(batch).await.unwrap();
    log.finish_windows().await.unwrap();
    clock.advance_ms(20 * DAY_MS);
    read(&log, "@b", "sync", &[3]).await;
    read(&log, "@a", "sync", &[4]).await;
    log.finish_windows().await.unwrap();
    assert_eq!(log.expire_evidence().await.unwrap(), 0);
    clock.set_ms(START_MS + kept_ms);
    assert_eq!(log.expire_evidence().await.unwrap(), 0, "to the day");
    clock.advance_ms(5 * DAY_MS);
    // Two blocks of what @a received then, and the mark of the first user.
    assert_eq!(log.expire_evidence().await.unwrap(), 3);
    let users = |found: Vec<Delivery>| found.into_iter().map(|one| one.user).collect::<Vec<_>>();
    assert_eq!(users(log.deliveries(3).await.unwrap()), ["@b"]);
    assert_eq!(users(log.deliveries(4).await.unwrap()), ["@a"]);
    assert_eq!(log.deliveries(700).await.unwrap(), []);
    assert_eq!(log.read_by(1, &[0], (5, 0)).await.unwrap(), [(2, START_MS + 20 * DAY_MS)]);
    assert!(log.last_read("!r", "@a").await.unwrap().is_some());
    clock.advance_ms(20 * DAY_MS);
    // Two rows of received events, two devices, a mark, and when two users last read.
    assert_eq!(log.expire_evidence().await.unwrap(), 7);
    assert_eq!(log.expire_evidence().await.unwrap(), 0);
    assert_eq!(log.last_read("!r", "@a").await.unwrap(), None);
    for table in [super::READERS.spec(), super::RECEIVED.spec()] {
        assert!(table.name.starts_with("audit_"));
    }
    assert!(store.latest().scan_keys(&super::READERS, wardroom_store::Scan::all()).await.unwrap().is_empty());
}

#[tokio::test]
async fn evidence_is_looked_through_a_part_at_a_time() {
    let (store, clock, log) = world().await;
    for lot in 0..26 {
        let mut batch = Batch::default();
        for place in 0..2_000 {
            log.mark_read(&mut batch, ReadMark { room: lot, user: 1, thread: 0, place: (place, 0) }, START_MS);
        }
        store.commit(batch).await.unwrap();
    }
    clock.set_ms(START_MS + 7 * 366 * 24 * 60 * 60 * 1_000);
    assert_eq!(log.expire_evidence().await.unwrap(), 50_000);
    // The next run goes on.
    let log = AuditLog::open(store, clock, AuditSettings::default()).await.unwrap();
    assert_eq!(log.expire_evidence().await.unwrap(), 2_000);
    assert_eq!(log.expire_evidence().await.unwrap(), 0);
}

#[tokio::test]
async fn windows_end_also_when_the_clock_jumps() {
    for to_ms in [START_MS - WINDOW_MS - 1, START_MS + 100 * WINDOW_MS] {
        let (_, clock, log) = world().await;
        read(&log, "@a", "sync", &[3]).await;
        clock.set_ms(to_ms);
        read(&log, "@a", "sync", &[4]).await;
        log.inner().unwrap().close_windows(false).await.unwrap();
        assert_eq!(log.deliveries(3).await.unwrap()[0].at_ms, START_MS, "when it was, as the clock said then");
        log.finish_windows().await.unwrap();
        let found = records(&log).await;
        assert_eq!(found.iter().map(|record| record.on.count.unwrap()).sum::<u64>(), 2, "{found:?}");
        assert!(found.iter().all(|record| record.on.since <= record.on.until && record.at == to_ms), "{found:?}");
    }
}
