//! Crashes at each step of everything that destroys events: what a new start finds, and what it makes of it.
//!
//! A life of the server ends where it is told to, with all that it has in memory; the next one opens the same directory.

mod deletions;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use ruma::{OwnedRoomId, OwnedUserId, owned_server_name, room_version_id, user_id};
use serde_json::{Value, json, value::to_raw_value};
use wardroom_audit::{AuditLog, AuditSettings, Query};
use wardroom_clock::ManualClock;
use wardroom_event::SigningKey;
use wardroom_holds::{HoldSettings, Holds, NewHold, Scope};
use wardroom_store::{Catalogue, MasterKey, OpenError, Options, Scan, Store};

use super::DAY_MS;
use crate::{
    Preset, RetentionSettings, Rooms, Settings, StandardGate, TABLES, Terms, fsck,
    ids::EventNid,
    retention::{COMPACT_DUE, DOOMED_DAYS, ORIGINALS, PERISHABLE, SEALED_DAYS, STUBS, SUPERSEDED},
    steps::Step,
    tables::EVENTS,
    tests::{Person, World, new_room, run},
};

const START_MS: u64 = 1_700_000_000_000;
const HALF_DAY_MS: u64 = DAY_MS / 2;
/// Runs of the purge, by the time after the start, in half days.
const RUNS: [u64; 12] = [10, 14, 21, 23, 25, 28, 30, 34, 40, 42, 48, 50];

/// Where a server lies.
struct Place {
    dir: PathBuf,
    master: MasterKey,
    retention: RetentionSettings,
    // Removed when it is dropped.
    _temp: tempfile::TempDir,
}

/// A server from one start to the next.
struct Life {
    world: World,
    audit: AuditLog,
    holds: Holds,
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

impl Place {
    fn new(retention: RetentionSettings) -> Self {
        let temp = tempfile::tempdir().unwrap();
        Self { dir: temp.path().join("data"), master: MasterKey::generate(), retention, _temp: temp }
    }

    /// Another place with the same on it.
    fn copied(&self) -> Self {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("data");
        copy(&self.dir, &dir);
        Self { dir, master: self.master.clone(), retention: self.retention.clone(), _temp: temp }
    }

    async fn open(&self, now_ms: u64) -> Life {
        let catalogue = || Catalogue::new(&[TABLES, wardroom_holds::TABLES, wardroom_audit::TABLES]).unwrap();
        let store = loop {
            let options = Options { sync: false, ..Options::default() };
            match Store::open(&self.dir, &self.master, catalogue(), options).await {
                // Threads of the life before end a moment later.
                Err(OpenError::Locked) => tokio::time::sleep(Duration::from_millis(5)).await,
                opened => break opened.unwrap(),
            }
        };
        let clock = Arc::new(ManualClock::new(now_ms));
        let audit = AuditLog::open(store.clone(), clock.clone(), AuditSettings::default()).await.unwrap();
        let settings = HoldSettings { release_needs_two: false };
        let holds = Holds::open(store.clone(), clock.clone(), audit.clone(), settings).await.unwrap();
        let settings = Settings {
            server_name: owned_server_name!("a.example"),
            default_version: room_version_id!("12"),
            signing_key: SigningKey::from_seed([7; 32], "1").unwrap().into(),
            holds: holds.clone(),
            retention: self.retention.clone(),
        };
        let rooms = Rooms::new(store.clone(), clock.clone(), Arc::new(StandardGate), audit.clone(), settings);
        rooms.load_erasures().await.unwrap();
        Life { world: World { store, rooms, clock }, audit, holds }
    }

    /// Lives until a step is reached, or until what is to be done is done; tells whether it was stopped, and what the time
    /// was.
    fn crash<F: Future<Output = ()>>(
        &self,
        now_ms: u64,
        step: Option<(Step, u32)>,
        work: impl FnOnce(Rooms, Arc<ManualClock>) -> F,
    ) -> (bool, u64) {
        run(async {
            let Life { world, .. } = self.open(now_ms).await;
            let steps = &world.rooms.engine.steps;
            if let Some((step, passed)) = step {
                steps.stop_at(step, passed);
            }
            let stopped = tokio::select! {
                () = steps.stopped() => true,
                () = work(world.rooms.clone(), world.clock.clone()) => false,
            };
            (stopped, world.rooms.engine.clock.now_ms())
        })
    }
}

impl Life {
    async fn say(&self, by: &Person, room: &OwnedRoomId, body: &str) -> ruma::OwnedEventId {
        let content = to_raw_value(&json!({ "msgtype": "m.text", "body": body })).unwrap();
        self.world.rooms.send(by.actor(), room, "m.room.message", content, None).await.unwrap()
    }

    /// How much of what was done, by the words of the records.
    async fn recorded(&self) -> BTreeMap<String, u64> {
        self.audit.catch_up().await.unwrap();
        let (mut sums, mut after) = (BTreeMap::new(), None);
        loop {
            let query = Query { after, limit: 100, ..Query::default() };
            let page = self.audit.search(&query).await.unwrap();
            let Some(last) = page.last() else { return sums };
            after = Some(last.number);
            for entry in page {
                let word = format!("{} {}", entry.record.act.word(), entry.record.on.detail.unwrap_or_default());
                *sums.entry(word.trim().to_owned()).or_default() += entry.record.on.count.unwrap_or(1);
            }
        }
    }

    async fn sound(&self) {
        assert_eq!(fsck(&self.world.store).await.unwrap().problems, Vec::<String>::new());
        let audit = wardroom_audit::fsck(&self.world.store, "localhost").await.unwrap();
        assert_eq!(audit.problems, Vec::<String>::new());
    }

    async fn hold_everything(&self) -> wardroom_holds::Hold {
        let scope = Scope { from_ts: Some(0), ..Scope::default() };
        let new = NewHold { scope, reason: "a complaint".to_owned(), authority: "court".to_owned(), expires_ts: None };
        self.holds.set(new, user_id!("@admin:a.example")).await.unwrap()
    }

    /// What can be read of events that are whole, of what redacted ones said, and of states that were.
    async fn whole(&self) -> BTreeMap<(u8, EventNid), Value> {
        let (store, mut found) = (self.world.store.latest(), BTreeMap::new());
        let parsed = |json: &[u8]| serde_json::from_slice(json).unwrap();
        let events = store.scan_keys(&PERISHABLE, Scan::all()).await.unwrap().into_iter().map(|row| (1, row.0, row.2));
        let states = store.scan_keys(&SUPERSEDED, Scan::all()).await.unwrap().into_iter().map(|row| (2, row.0, row.2));
        for (kind, room, event) in events.chain(states) {
            let record = store.get(&EVENTS, &(room, event)).await.unwrap().unwrap();
            found.insert((kind, event), parsed(&record.json));
        }
        for (key, record) in store.scan(&ORIGINALS, Scan::all()).await.unwrap() {
            found.insert((3, key.1), parsed(&record.json));
        }
        found
    }

    async fn rows(&self) -> [u64; 6] {
        let store = self.world.store.latest();
        macro_rules! count {
            ($($table:ident),*) => { [$(store.scan_keys(&$table, Scan::all()).await.unwrap().len() as u64),*] };
        }
        count!(PERISHABLE, SUPERSEDED, ORIGINALS, STUBS, SEALED_DAYS, DOOMED_DAYS)
    }

    /// That what is written of what was done says as much as is not there any more.
    async fn agrees(&self, before: [u64; 6], noted: &BTreeMap<String, u64>) {
        let [events, states, originals, stubs, days, doomed] = self.rows().await;
        let said = |word: &str| noted.get(word).copied().unwrap_or_default();
        let pruned = said("retention.redact");
        assert_eq!(pruned, before[0] - events);
        assert_eq!(said("retention.redact state"), before[1] - states);
        assert_eq!(said("retention.purge originals"), before[2] - originals);
        assert_eq!(said("retention.purge"), pruned - stubs);
        assert_eq!(said("retention.shred"), before[4] - days);
        assert!(doomed <= days);
        let receipts = self.world.rooms.purge_receipts(None, 1_000).await.unwrap();
        let counted: u64 = receipts.iter().map(|receipt| receipt.count).sum();
        assert_eq!(counted, pruned + said("retention.redact state"));
        let keys = receipts
            .iter()
            .flat_map(|receipt| receipt.keys_destroyed.iter().map(|day| (receipt.room_id.clone(), *day)));
        let keys: Vec<_> = keys.collect();
        assert_eq!(keys.len() as u64, said("retention.shred"));
        assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len(), "each day once");
    }

    async fn purge_at(&self, now_ms: u64) {
        self.world.clock.set_ms(now_ms);
        assert_eq!(self.world.rooms.purge_expired(now_ms).await.unwrap().failures, 0);
    }
}

fn settings() -> RetentionSettings {
    RetentionSettings {
        default: Terms { max_ms: Some(10 * DAY_MS), min_ms: None },
        stubs_kept: Duration::from_millis(2 * DAY_MS),
        redaction_hold: Duration::from_millis(4 * DAY_MS),
        state_kept: Some(Duration::from_millis(6 * DAY_MS)),
        ..RetentionSettings::default()
    }
}

/// Two rooms in which something was said on two days, redacted, and called by other names.
fn wards() -> (Place, [u64; 6]) {
    let place = Place::new(settings());
    let rows = run(async {
        let life = place.open(START_MS).await;
        let alice = life.world.person(user_id!("@alice:a.example")).await;
        let mut rooms = Vec::new();
        for (number, messages) in [(7, 210), (8, 5)] {
            let room = life.world.rooms.create(alice.actor(), new_room("12", Preset::PublicChat)).await.unwrap();
            for topic in ["first", "second", "third"] {
                let content = to_raw_value(&json!({ "topic": format!("the {topic} of {number}") })).unwrap();
                life.world.rooms.set_state(alice.actor(), &room, &"m.room.topic".into(), "", content).await.unwrap();
            }
            for message in 0..messages {
                life.say(&alice, &room, &format!("word {message}")).await;
            }
            let said = life.say(&alice, &room, "taken back").await;
            life.world.rooms.redact(alice.actor(), &room, &said, None, None).await.unwrap();
            rooms.push(room);
        }
        life.world.clock.advance_ms(DAY_MS);
        for room in &rooms {
            life.say(&alice, room, "the day after").await;
        }
        life.rows().await
    });
    (place, rows)
}

/// Everything from this time on.
async fn purge_from(rooms: Rooms, clock: Arc<ManualClock>, from_ms: u64) {
    for now_ms in RUNS.map(|half_days| START_MS + half_days * HALF_DAY_MS).into_iter().filter(|ms| *ms >= from_ms) {
        clock.set_ms(now_ms);
        assert_eq!(rooms.purge_expired(now_ms).await.unwrap().failures, 0);
    }
}

#[test]
fn a_purge_that_ends_at_any_step_is_carried_to_its_end_and_keeps_what_is_held_since() {
    let (template, before) = wards();
    let end_ms = START_MS + RUNS[RUNS.len() - 1] * HALF_DAY_MS;
    let end = |place: &Place| {
        run(async {
            let life = place.open(end_ms).await;
            let noted = life.recorded().await;
            life.agrees(before, &noted).await;
            life.sound().await;
            assert!(life.whole().await.is_empty());
            assert_eq!(life.rows().await[5], 0);
            assert!(life.world.store.latest().scan_keys(&COMPACT_DUE, Scan::all()).await.unwrap().is_empty());
            assert!(
                life.world.store.latest().scan(&EVENTS, Scan::all()).await.is_ok(),
                "nothing is left that cannot be read"
            );
            let retention = |(word, count): (String, u64)| word.starts_with("retention").then_some((word, count));
            noted.into_iter().filter_map(retention).collect::<BTreeMap<_, _>>()
        })
    };
    let undisturbed = template.copied();
    undisturbed.crash(START_MS, None, |rooms, clock| purge_from(rooms, clock, START_MS));
    let expected = end(&undisturbed);
    assert_eq!((expected["retention.redact"], expected["retention.shred"]), (before[0], before[4]));

    let once = [Step::Originals, Step::Superseded, Step::DestroyDays, Step::Compact, Step::Compacted, Step::Unmark];
    let often = [Step::Prune, Step::Doom, Step::NoteShredded, Step::Stubs];
    let steps = once.into_iter().map(|step| (step, 0));
    let steps = steps.chain(often.into_iter().flat_map(|step| (0..2).map(move |passed| (step, passed))));
    for step in steps {
        for held in [false, true] {
            let place = template.copied();
            let (stopped, at_ms) = place.crash(START_MS, Some(step), |rooms, clock| purge_from(rooms, clock, START_MS));
            assert!(stopped, "{step:?} is never reached");
            run(async {
                let life = place.open(at_ms).await;
                let noted = life.recorded().await;
                life.agrees(before, &noted).await;
                life.sound().await;
                if held {
                    let whole = life.whole().await;
                    let hold = life.hold_everything().await;
                    life.purge_at(at_ms).await;
                    life.purge_at(end_ms - 4 * DAY_MS).await;
                    assert_eq!(life.whole().await, whole, "{step:?}");
                    life.sound().await;
                    life.holds.release(hold.id, user_id!("@admin:a.example"), "settled").await.unwrap();
                }
            });
            let from_ms = if held { end_ms - 4 * DAY_MS } else { at_ms };
            place.crash(from_ms, None, |rooms, clock| purge_from(rooms, clock, from_ms));
            assert_eq!(end(&place), expected, "{step:?}, held: {held}");
        }
    }
}

#[test]
fn keys_that_were_destroyed_are_written_down_though_events_are_kept_for_ever_by_then() {
    let (mut place, before) = wards();
    let (stopped, at_ms) =
        place.crash(START_MS, Some((Step::NoteShredded, 0)), |rooms, clock| purge_from(rooms, clock, START_MS));
    assert!(stopped);
    place.retention.default = Terms::default();
    run(async {
        let life = place.open(at_ms).await;
        let doomed = life.rows().await[5];
        assert!(doomed > 0 && !life.recorded().await.contains_key("retention.shred"));
        for _ in 0..2 {
            life.purge_at(at_ms).await;
            let noted = life.recorded().await;
            life.agrees(before, &noted).await;
            assert_eq!(noted["retention.shred"], doomed, "once");
        }
        assert_eq!(life.rows().await[5], 0);
    });
}
