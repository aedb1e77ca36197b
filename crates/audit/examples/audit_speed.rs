//! How fast records of the audit trail are written and numbered, found and checked, on a real store.
//!
//! `cargo run --release -p wardroom-audit --example audit_speed [RECORDS [DIRECTORY]]`, 10 million where none are named.
#![expect(clippy::print_stdout, reason = "prints what it measured")]

use std::{
    error::Error,
    fs::{self, File},
    io::{BufWriter, Write as _},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use wardroom_audit::{
    Act, AuditLog, AuditSettings, ENTRIES_MAX, LEAVES_MAX, Origin, Query, Record, Span, Step, TABLES, Who,
    verify::{self, Known},
};
use wardroom_clock::ManualClock;
use wardroom_store::{Batch, Catalogue, MasterKey, Options, Store};

type Failure = Box<dyn Error + Send + Sync>;

const RECORDS: u64 = 10_000_000;
const BATCH: u64 = 1_000;
const USERS: u64 = 2_000;
const ROOMS: u64 = 500;
/// Between two records, in milliseconds.
const PACE_MS: u64 = 20;
const START_MS: u64 = 1_700_000_000_000;
const ROUNDS: u32 = 20;
const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

fn record(number: u64) -> Record {
    // Numbers without a pattern that lists could profit from.
    let mixed = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20;
    let who = Who {
        device: Some(format!("DEVICE{}", mixed % 5_000)),
        ip: Some(format!("10.0.{}.{}", mixed % 250, mixed % 199)),
        user: Some(format!("@user{}:hospital-a.example", mixed % USERS)),
        ..Who::default()
    };
    let act = [Act::RoomRead, Act::RoomRead, Act::RoomRead, Act::EventSend, Act::Login][(mixed % 5) as usize];
    let record = Record::by(act, Origin { who, request: Some(format!("{mixed:016x}")) });
    record.room(format!("!room{}:hospital-a.example", mixed / 7 % ROOMS)).event(format!("$event{number:040}"))
}

async fn write(store: &Store, log: &AuditLog, clock: &ManualClock, count: u64) -> Result<Duration, Failure> {
    let mut numbering = Duration::ZERO;
    for lot in 0..count.div_ceil(BATCH) {
        let mut batch = Batch::default();
        for number in lot * BATCH..count.min((lot + 1) * BATCH) {
            clock.advance_ms(PACE_MS);
            log.add(&mut batch, record(number));
        }
        store.commit(batch).await?;
        if lot % 20 == 19 {
            let started = Instant::now();
            log.catch_up().await?;
            numbering += started.elapsed();
        }
    }
    let started = Instant::now();
    log.catch_up().await?;
    Ok(numbering + started.elapsed())
}

async fn search(log: &AuditLog, count: u64) -> Result<(), Failure> {
    let end_ms = START_MS + count * PACE_MS;
    let user = |number: u32| Some(format!("@user{}:hospital-a.example", u64::from(number) * 97 % USERS));
    let room = |number: u32| Some(format!("!room{}:hospital-a.example", u64::from(number) * 31 % ROOMS));
    let shapes: [(&str, &dyn Fn(u32) -> Query); 7] = [
        ("user, newest first", &|n| Query { user: user(n), newest_first: true, ..Query::default() }),
        ("room", &|n| Query { room: room(n), ..Query::default() }),
        ("user and room", &|n| Query { user: user(n), room: room(n), newest_first: true, ..Query::default() }),
        ("time", &|n| Query { from_ms: Some(START_MS + u64::from(n) * (end_ms - START_MS) / 25), ..Query::default() }),
        ("user and time", &|n| Query {
            user: user(n),
            before_ms: Some(end_ms / 2 + START_MS / 2),
            newest_first: true,
            ..Query::default()
        }),
        ("act and time", &|_| Query {
            acts: vec![Act::Login],
            from_ms: Some(end_ms / 2 + START_MS / 2),
            ..Query::default()
        }),
        ("user, act, no such", &|n| Query { user: user(n), acts: vec![Act::RoomDelete], ..Query::default() }),
    ];
    for (name, shape) in shapes {
        let (mut worst, mut found) = (Duration::ZERO, 0);
        for round in 0..ROUNDS {
            let query = Query { limit: 100, ..shape(round) };
            let started = Instant::now();
            found = log.page(&query).await?.entries.len();
            worst = worst.max(started.elapsed());
        }
        println!("  {name:<20} {found:>4} records, slowest of {ROUNDS} pages {worst:.1?}");
    }
    let started = Instant::now();
    let span = Span { from_ms: START_MS, before_ms: end_ms, step: Step::Day };
    let counted = log.activity(span, user(1).as_deref(), None).await?;
    println!("  activity of a user   {:>4} days in {:.1?}", counted.buckets.len(), started.elapsed());
    Ok(())
}

/// Every read of a person, of a room, within a day, and of all: what a notice of a breach is made of (GDPR Art. 33).
async fn report(log: &AuditLog) -> Result<(), Failure> {
    let user = Some("@user97:hospital-a.example".to_owned());
    let room = Some("!room31:hospital-a.example".to_owned());
    let shapes = [
        ("of a user", Query { user, ..Query::default() }),
        ("of a room", Query { room, ..Query::default() }),
        ("within a day", Query { from_ms: Some(START_MS), before_ms: Some(START_MS + DAY_MS), ..Query::default() }),
        ("all", Query::default()),
    ];
    for (name, shape) in shapes {
        let mut query = Query { acts: vec![Act::RoomRead], limit: ENTRIES_MAX, ..shape };
        let (started, mut found) = (Instant::now(), 0);
        loop {
            let page = log.page(&query).await?;
            found += page.entries.len();
            query.after = page.next;
            if page.next.is_none() {
                break;
            }
        }
        println!("  reads {name:<14} {found:>8} records in {:.2?}", started.elapsed());
    }
    Ok(())
}

async fn export(log: &AuditLog, dir: &Path) -> Result<u64, Failure> {
    let (size, _) = log.extent().await?;
    let mut records = None::<BufWriter<File>>;
    let mut next = 0;
    while next < size {
        if next % verify::RECORDS_PER_FILE == 0 {
            records = Some(BufWriter::new(File::create(dir.join(verify::records_file(next)))?));
        }
        let lines = log.lines(next, size, ENTRIES_MAX).await?;
        for (number, line) in &lines {
            let Some(file) = &mut records else { continue };
            file.write_all(line)?;
            file.write_all(b"\n")?;
            next = number + 1;
        }
    }
    let mut leaves = BufWriter::new(File::create(dir.join(verify::LEAVES_FILE))?);
    for from in (0..size).step_by(LEAVES_MAX) {
        leaves.write_all(&log.leaves(from, LEAVES_MAX).await?.concat())?;
    }
    let (mut notes, mut after) = (Vec::new(), None);
    loop {
        let page = log.checkpoints(after, 1_000).await?;
        let Some((last, _)) = page.last() else { break };
        after = Some(*last);
        notes.extend(page.into_iter().map(|(_, note)| note));
    }
    fs::write(dir.join(verify::CHECKPOINTS_FILE), notes.join("\n"))?;
    let key = log.key().ok_or("there is no key")?;
    fs::write(dir.join(verify::KEY_FILE), format!("{key}\n"))?;
    Ok(size)
}

fn rate(count: u64, time: Duration) -> String {
    format!("{:.0} records/s", count as f64 / time.as_secs_f64())
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let count = arguments.next().map_or(Ok(RECORDS), |count| count.parse())?;
    let dir = match arguments.next() {
        Some(parent) => tempfile::tempdir_in(parent)?,
        None => tempfile::tempdir()?,
    };
    let tables = Catalogue::new(&[TABLES])?;
    let store = Store::open(&dir.path().join("store"), &MasterKey::generate(), tables, Options::default()).await?;
    let clock = Arc::new(ManualClock::new(START_MS));
    let settings = AuditSettings::new("hospital-a.example");
    let log = AuditLog::open(store.clone(), clock.clone(), settings).await?;
    let started = Instant::now();
    let numbering = write(&store, &log, &clock, count).await?;
    println!("{count} records, {BATCH} in a commit");
    println!("  written and numbered {}", rate(count, started.elapsed()));
    println!("  numbering alone      {} (target: 50000)", rate(count, numbering));
    println!("Pages of 100 records (target: 200 ms)");
    search(&log, count).await?;
    println!("Reports for a notice of a breach (target: a minute)");
    report(&log).await?;
    log.end().await?;
    let exported = dir.path().join("export");
    fs::create_dir(&exported)?;
    let size = export(&log, &exported).await?;
    let started = Instant::now();
    let verified = verify::verify(&exported, &Known::default())?;
    println!("Checked {} records and {} checkpoints", verified.records, verified.checkpoints);
    println!("  verification         {} (target: 100000)", rate(size, started.elapsed()));
    drop(log);
    store.close().await;
    Ok(())
}
