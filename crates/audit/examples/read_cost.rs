//! What recording a read costs: one that brings nothing new, and new events to many devices at once.
//!
//! ```text
//! cargo run --release --workspace --example read_cost -- [devices] [seconds] [directory]
//! ```
#![expect(clippy::print_stdout, reason = "prints a table")]

use std::{
    error::Error,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use wardroom_audit::{Act, AuditLog, AuditSettings, Origin, ReadOf, Sight, TABLES, Who};
use wardroom_clock::SystemClock;
use wardroom_store::{Catalogue, MasterKey, Options, Store};

type Failure = Box<dyn Error + Send + Sync>;

/// Reads of what is known that are timed.
const KNOWN_READS: u32 = 100_000;
/// Events of the answer that is read again and again.
const KNOWN_EVENTS: u64 = 20;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let devices: u64 = arguments.next().map_or(Ok(100), |devices| devices.parse())?;
    let seconds: u64 = arguments.next().map_or(Ok(5), |seconds| seconds.parse())?;
    let base = tempfile::tempdir_in(arguments.next().map_or_else(std::env::temp_dir, PathBuf::from))?;
    let master = MasterKey::from_bytes([7; 32]);
    let store = Store::open(base.path(), &master, Catalogue::new(&[TABLES])?, Options::default()).await?;
    let log = AuditLog::open(store.clone(), Arc::new(SystemClock), AuditSettings::default()).await?;

    let start = Instant::now();
    for _ in 0..KNOWN_READS {
        read(&log, 0, 1..=KNOWN_EVENTS).await?;
    }
    let each = start.elapsed() / KNOWN_READS;
    println!("nothing new, of {KNOWN_EVENTS} events: {each:?} each, {} commits", store.stats().commits);
    new_events(&store, &log, devices, seconds).await?;
    let start = Instant::now();
    log.finish_windows().await?;
    println!("closing {} windows took {:?}", devices + 1, start.elapsed());
    Ok(())
}

/// Gives events to devices, one after the other to each, for some time.
async fn new_events(store: &Store, log: &AuditLog, devices: u64, seconds: u64) -> Result<(), Failure> {
    let (before, start) = (store.stats(), Instant::now());
    let reads = Arc::new(AtomicU64::new(0));
    let tasks: Vec<_> = (1..=devices)
        .map(|device| {
            let (log, reads) = (log.clone(), Arc::clone(&reads));
            tokio::spawn(async move {
                let mut event = KNOWN_EVENTS;
                while start.elapsed() < Duration::from_secs(seconds) {
                    event += 1;
                    read(&log, device, event..=event).await?;
                    reads.fetch_add(1, Ordering::Relaxed);
                }
                Ok::<_, Failure>(())
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    let (groups, reads) = (store.stats().groups - before.groups, reads.load(Ordering::Relaxed));
    let (rate, grouped) = (reads / seconds.max(1), reads / groups.max(1));
    println!("one new event each, to {devices} devices: {rate} reads/s, {groups} fsyncs of {grouped} reads each");
    Ok(())
}

async fn read(log: &AuditLog, device: u64, numbers: std::ops::RangeInclusive<u64>) -> Result<(), Failure> {
    let who = Who { user: Some("@u:x.example".to_owned()), device: Some(device.to_string()), ..Who::default() };
    let events: Vec<Sight<'_>> =
        numbers.map(|number| Sight { number, id: "$sXWrAcJnpnPnPD01GZt5ZbQy6KKyLTj6bVV9Ud3ybgk" }).collect();
    let room = "!sXWrAcJnpnPnPD01GZt5ZbQy6KKyLTj6bVV9Ud3ybgk";
    let read = ReadOf { act: Act::RoomRead, object: room, endpoint: "sync", events: &events, others: 0 };
    Ok(log.read_as(&Origin { who, request: None }, &[read]).await?)
}
