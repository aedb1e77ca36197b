//! The trail as a whole, on a store in memory.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use wardroom_clock::{Clock as _, ManualClock};
use wardroom_store::{Batch, Catalogue, Packed, Position, Scan, Store};

use crate::{
    Act, AuditLog, AuditSettings, Checkpoint, Note, Origin, Outcome, Query, Record, Span, Step, TABLES, Who, continues,
    fsck,
    hours::HOUR_MS,
    includes, leaf_hash,
    log::PERIOD_MS,
    tables::{CHECKPOINTS, INDEX, NUMBERED, RECORDS, TILES},
};

const SERVER: &str = "a.example";

struct Trail {
    store: Store,
    clock: Arc<ManualClock>,
    log: AuditLog,
}

async fn opened(store: &Store, clock: &Arc<ManualClock>) -> AuditLog {
    AuditLog::open(store.clone(), clock.clone(), AuditSettings::new(SERVER)).await.unwrap()
}

async fn trail() -> Trail {
    let store = Store::in_memory(Catalogue::new(&[TABLES]).unwrap());
    let clock = Arc::new(ManualClock::new(2_000 * PERIOD_MS));
    let log = opened(&store, &clock).await;
    Trail { store, clock, log }
}

fn record(user: Option<u8>, room: Option<u8>, act: Act) -> Record {
    let who = Who { user: user.map(|user| format!("@{user}:a.example")), ..Who::default() };
    let record = Record::by(act, Origin { who, request: None });
    match room {
        Some(room) => record.room(format!("!{room}")),
        None => record,
    }
}

impl Trail {
    /// Adds records in one commit.
    async fn add(&self, records: impl IntoIterator<Item = Record>) {
        let mut batch = Batch::default();
        records.into_iter().for_each(|record| self.log.add(&mut batch, record));
        self.store.commit(batch).await.unwrap();
    }

    async fn lots(&self, count: u64) {
        for lot in 0..count.div_ceil(500) {
            let records = lot * 500..count.min((lot + 1) * 500);
            self.add(records.map(|n| record(Some((n % 7) as u8), Some((n % 3) as u8), Act::EventSend))).await;
        }
    }
}

#[tokio::test]
async fn checkpoints_are_a_chain_over_what_the_tree_proves() {
    let trail = trail().await;
    trail.log.begin().await.unwrap();
    trail.lots(2_500).await;
    trail.log.end().await.unwrap();
    let key = trail.log.key().unwrap();
    let notes = trail.log.checkpoints(None, 10).await.unwrap();
    let read = |note: &String| Checkpoint::checked(&Note::parse(note).unwrap(), key).unwrap();
    let checkpoints: Vec<Checkpoint> = notes.iter().map(|(_, note)| read(note)).collect();
    assert_eq!(checkpoints.iter().map(|one| one.size).collect::<Vec<_>>(), [1_000, 2_000, 2_502]);
    assert_eq!(checkpoints[0].previous, None);
    for pair in checkpoints.windows(2) {
        assert_eq!(pair[1].previous, Some(pair[0].hash()));
        let path = trail.log.consistency(pair[0].size, pair[1].size).await.unwrap();
        assert!(continues((pair[0].size, &pair[0].root), (pair[1].size, &pair[1].root), &path));
    }
    let lines = trail.log.lines(0, u64::MAX, 1_000).await.unwrap();
    for at in [0_usize, 1, 255, 256, 999] {
        let number = at as u64;
        let (leaf, path) = trail.log.inclusion(number, 2_502).await.unwrap();
        assert_eq!(leaf, leaf_hash(&lines[at].1));
        assert!(includes(&leaf, number, 2_502, &path, &checkpoints[2].root));
    }
    let leaves = trail.log.leaves(250, 20).await.unwrap();
    assert_eq!(leaves, lines[250..270].iter().map(|(_, line)| leaf_hash(line)).collect::<Vec<_>>());
    assert!(trail.log.inclusion(0, 2_503).await.is_err() && trail.log.inclusion(2_502, 2_502).await.is_err());
    assert!(trail.log.consistency(3, 2).await.is_err());
    assert_eq!(trail.log.leaves(2_500, usize::MAX).await.unwrap().len(), 2);
    assert!(trail.log.leaves(9_999, 5).await.unwrap().is_empty());
}

#[tokio::test]
async fn the_trail_goes_on_where_it_was() {
    let trail = trail().await;
    trail.lots(600).await;
    trail.log.catch_up().await.unwrap();
    // Nothing is kept in memory: as after a crash.
    let again = opened(&trail.store, &trail.clock).await;
    assert_eq!(again.key(), trail.log.key());
    trail.lots(600).await;
    again.end().await.unwrap();
    let report = fsck(&trail.store, SERVER).await.unwrap();
    assert_eq!((report.records, report.checkpoints, report.problems), (1_201, 2, vec![]));
}

#[tokio::test]
async fn time_makes_checkpoints_of_what_is_new() {
    let trail = trail().await;
    trail.lots(1).await;
    trail.log.catch_up().await.unwrap();
    let inner = trail.log.inner().unwrap();
    inner.checkpoint(false).await.unwrap();
    assert_eq!(trail.log.newest_checkpoint().await.unwrap(), None);
    trail.clock.advance_ms(60_000);
    inner.checkpoint(false).await.unwrap();
    assert_eq!(trail.log.newest_checkpoint().await.unwrap().unwrap().0, 1);
    trail.clock.advance_ms(600_000);
    inner.checkpoint(false).await.unwrap();
    assert_eq!(trail.log.checkpoints(None, 10).await.unwrap().len(), 1);
}

#[derive(Clone, Debug)]
struct Made {
    user: Option<u8>,
    to: Option<u8>,
    room: Option<u8>,
    act: Act,
    outcome: Outcome,
    wait_ms: u64,
    /// By how much the clock is set back, at most.
    back_ms: u64,
    catch_up: bool,
}

fn made() -> impl Strategy<Value = Made> {
    let acts = prop::sample::select(vec![Act::Login, Act::EventSend, Act::RoomRead, Act::MemberJoin]);
    let outcomes = prop::sample::select(vec![Outcome::Success, Outcome::Success, Outcome::Serious, Outcome::Minor]);
    let wait = prop_oneof![8 => 0..10_000_u64, 1 => 0..3 * HOUR_MS, 1 => PERIOD_MS / 2..2 * PERIOD_MS];
    let back = prop_oneof![12 => Just(0_u64), 1 => 0..2 * HOUR_MS];
    let someone = || prop::option::of(0..3_u8);
    (someone(), someone(), someone(), acts, outcomes, wait, back, any::<bool>()).prop_map(
        |(user, to, room, act, outcome, wait_ms, back_ms, catch_up)| Made {
            user,
            to,
            room,
            act,
            outcome,
            wait_ms,
            back_ms,
            catch_up,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_search_finds_what_reading_everything_finds(made in prop::collection::vec(made(), 1..120), picks in prop::collection::vec(any::<prop::sample::Index>(), 2), goes_back in any::<bool>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let trail = trail().await;
            for one in &made {
                trail.clock.advance_ms(one.wait_ms);
                if goes_back {
                    trail.clock.set_ms(trail.clock.now_ms() - one.back_ms);
                }
                trail.log.inner().unwrap().turn_key().await.unwrap();
                let record = record(one.user, one.room, one.act).outcome(one.outcome);
                trail.add([match one.to { Some(to) => record.user(format!("@{to}:a.example")), None => record }]).await;
                if one.catch_up {
                    trail.log.catch_up().await.unwrap();
                }
            }
            let all = trail.log.entries(0, 1_000).await.unwrap();
            prop_assert_eq!(all.len(), made.len());
            let times: Vec<u64> = picks.iter().map(|pick| all[pick.index(all.len())].record.at).collect();
            let users = [None, Some("@0:a.example".to_owned()), Some("@nobody:a.example".to_owned())];
            for (user, room) in users.iter().flat_map(|user| [(user, None), (user, Some("!1".to_owned()))]) {
                for acts in [vec![], vec![Act::Login], vec![Act::RoomRead, Act::EventSend]] {
                    for outcome in [None, Some(Outcome::Success), Some(Outcome::Serious)] {
                        for (from_ms, before_ms, newest_first) in [(None, None, false), (Some(times[0]), Some(times[1]), false), (Some(times[0]), None, true), (None, Some(times[1]), true)] {
                            let query = Query { user: user.clone(), room: room.clone(), acts: acts.clone(), outcome, from_ms, before_ms, newest_first, after: None, limit: 7 };
                            let mut expected: Vec<_> = all.iter().filter(|entry| query.is_met_by(&entry.record)).cloned().collect();
                            if newest_first { expected.reverse(); }
                            let (mut found, mut page) = (Vec::new(), query.clone());
                            loop {
                                let part = trail.log.page(&page).await.unwrap();
                                found.extend(part.entries);
                                page.after = part.next;
                                if part.next.is_none() { break; }
                            }
                            prop_assert_eq!(&found, &expected, "{:?}", query);
                            expected.truncate(7);
                            prop_assert_eq!(trail.log.search(&query).await.unwrap(), expected);
                        }
                    }
                }
            }
            if goes_back {
                // Hours divide the trail: what the clock says again is counted in the hour that it was before.
                return Ok(());
            }
            let span = Span { from_ms: all[0].record.at / HOUR_MS * HOUR_MS, before_ms: u64::MAX / 2, step: Step::Day };
            for (user, room) in [(None, None), (Some("@0:a.example"), None), (Some("@0:a.example"), Some("!1"))] {
                let query = Query { user: user.map(str::to_owned), room: room.map(str::to_owned), ..Query::default() };
                let expected = all.iter().filter(|entry| query.is_met_by(&entry.record));
                let activity = trail.log.activity(span, user, room).await.unwrap();
                let counted: u64 = activity.buckets.values().map(|bucket| bucket.total).sum();
                prop_assert_eq!(counted, expected.clone().count() as u64);
                for entry in expected {
                    prop_assert!(activity.buckets[&(entry.record.at / Step::Day.ms() * Step::Day.ms())].acts[&entry.record.act] > 0);
                }
            }
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn short_lists_become_long_ones() {
    let trail = trail().await;
    for _ in 0..40 {
        trail.lots(7).await;
        trail.log.catch_up().await.unwrap();
    }
    // Seven users, three rooms and an act; once in three times their lists are put together.
    let lists = trail.store.latest().scan_keys(&INDEX, Scan::all()).await.unwrap().len();
    assert!(lists <= 11 * (40 / 3 + 3), "{lists}");
    let query = Query { user: Some("@3:a.example".to_owned()), newest_first: true, limit: 100, ..Query::default() };
    let found: Vec<u64> = trail.log.search(&query).await.unwrap().into_iter().map(|entry| entry.number).collect();
    assert_eq!(found, (0..40).rev().map(|lot| lot * 7 + 3).collect::<Vec<_>>());
    let report = fsck(&trail.store, SERVER).await.unwrap();
    assert_eq!(report.problems, Vec::<String>::new());
}

#[tokio::test]
async fn old_periods_end_and_proofs_stand() {
    let trail = trail().await;
    trail.lots(300).await;
    trail.clock.advance_ms(PERIOD_MS);
    trail.log.inner().unwrap().turn_key().await.unwrap();
    trail.lots(400).await;
    trail.clock.advance_ms(6 * 366 * 24 * HOUR_MS);
    trail.log.inner().unwrap().turn_key().await.unwrap();
    assert_eq!(trail.log.expire().await.unwrap(), 300);
    assert_eq!(trail.log.expire().await.unwrap(), 0);
    trail.lots(1).await;
    trail.clock.advance_ms(PERIOD_MS);
    assert_eq!(trail.log.expire().await.unwrap(), 400);
    trail.log.end().await.unwrap();
    let (size, first) = trail.log.extent().await.unwrap();
    assert_eq!((size, first), (704, 700));
    let entries = trail.log.entries(0, 100).await.unwrap();
    assert_eq!(entries.iter().map(|entry| entry.number).collect::<Vec<_>>(), [700, 701, 702, 703]);
    let shreds = entries.iter().filter(|entry| entry.record.act == Act::RetentionShred);
    assert_eq!(shreds.map(|entry| entry.record.on.count.unwrap()).collect::<Vec<_>>(), [300, 400]);
    let query = Query { user: Some("@0:a.example".to_owned()), limit: 1_000, ..Query::default() };
    assert_eq!(trail.log.search(&query).await.unwrap().len(), 1);
    let lists = trail.store.latest().scan_keys(&INDEX, Scan::all()).await.unwrap();
    assert!(lists.iter().all(|(.., last)| *last >= 700), "{lists:?}");
    let (leaf, path) = trail.log.inclusion(5, size).await.unwrap();
    let newest = trail.log.newest_checkpoint().await.unwrap().unwrap().1;
    let newest = Checkpoint::of_text(&Note::parse(&newest).unwrap().text).unwrap();
    assert!(includes(&leaf, 5, size, &path, &newest.root));
    let report = fsck(&trail.store, SERVER).await.unwrap();
    assert_eq!(report.problems, Vec::<String>::new());
}

/// What is wrong after a change of the store.
async fn problems_after(change: impl AsyncFnOnce(&Trail, &mut Batch)) -> Vec<String> {
    let trail = trail().await;
    trail.lots(1_300).await;
    trail.log.end().await.unwrap();
    let mut batch = Batch::default();
    change(&trail, &mut batch).await;
    trail.store.commit(batch).await.unwrap();
    fsck(&trail.store, SERVER).await.unwrap().problems
}

#[tokio::test]
async fn a_changed_store_is_noticed_and_the_record_is_named() {
    let at = async |trail: &Trail, number: u64| {
        let Packed((position, within)) = trail.store.latest().get(&NUMBERED, &number).await.unwrap().unwrap();
        (Position::new(position), within)
    };
    assert_eq!(problems_after(async |_, _| {}).await, Vec::<String>::new());
    let changed = problems_after(async |trail, batch| {
        let key = at(trail, 700).await;
        let record = trail.store.latest().get(&RECORDS, &key).await.unwrap().unwrap();
        let text = String::from_utf8(record.to_vec()).unwrap().replace("@0:a.example", "@6:a.example");
        let seal = trail.store.data_key(crate::log::scope(2_000)).await.unwrap();
        batch.put_sealed(&RECORDS, &key, &Bytes::from(text), &seal);
    });
    assert_eq!(changed.await, ["record 700 of the audit trail is not what was recorded"]);
    let deleted = problems_after(async |trail, batch| batch.delete(&RECORDS, &at(trail, 3).await)).await;
    assert_eq!(deleted, ["record 3 of the audit trail is missing or cannot be read"]);
    let hash = problems_after(async |trail, batch| {
        let tile = trail.store.latest().get(&TILES, &(0, 4)).await.unwrap().unwrap();
        let mut tile = tile.to_vec();
        tile[0] ^= 1;
        batch.put(&TILES, &(0, 4), &Bytes::from(tile));
    });
    let hash = hash.await;
    assert_eq!(hash[0], "record 1024 of the audit trail is not what was recorded");
    assert!(hash.iter().any(|problem| problem.contains("before 1301 are not those of the checkpoint")), "{hash:?}");
    let checkpoint = problems_after(async |_, batch| batch.delete(&CHECKPOINTS, &1_000)).await;
    assert_eq!(checkpoint, ["the checkpoint of the audit trail at 1301 records does not name the one before"]);
}

#[tokio::test]
async fn a_clock_that_jumps_changes_neither_order_nor_proof() {
    let trail = trail().await;
    let start = 2_000 * PERIOD_MS;
    let day = 24 * HOUR_MS;
    let inner = trail.log.inner().unwrap();
    let mut times = Vec::new();
    for at in [start + 5 * day, start, start + 40 * day, start + 2 * day, start + 41 * day] {
        trail.clock.set_ms(at);
        inner.turn_key().await.unwrap();
        trail.lots(3).await;
        trail.log.catch_up().await.unwrap();
        // Wherever the clock went, what is new is soon sealed.
        trail.clock.advance_ms(60_000);
        inner.checkpoint(false).await.unwrap();
        times.push(at);
    }
    assert_eq!(trail.log.checkpoints(None, 100).await.unwrap().len(), 5);
    let entries = trail.log.entries(0, 100).await.unwrap();
    assert_eq!(entries.iter().map(|entry| entry.number).collect::<Vec<_>>(), (0..15).collect::<Vec<_>>());
    let told: Vec<u64> = entries.iter().step_by(3).map(|entry| entry.record.at).collect();
    assert_eq!(told, times, "each says what the clock said");
    for (at, name) in times.iter().zip(["back", "first", "far", "between", "last"]) {
        let query = Query { from_ms: Some(*at), before_ms: Some(at + 1), limit: 100, ..Query::default() };
        let found = trail.log.search(&query).await.unwrap();
        assert_eq!(found.len(), 3, "{name}");
        assert!(found.iter().all(|entry| entry.record.at == *at), "{name}");
    }
    assert_eq!(fsck(&trail.store, SERVER).await.unwrap().problems, Vec::<String>::new());
    // A key that is asked for in the past is still that of the newest period: what was sealed can be read after a start.
    let again = opened(&trail.store, &trail.clock).await;
    assert_eq!(again.entries(0, 100).await.unwrap(), entries);
}
