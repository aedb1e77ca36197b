//! What it costs to purge a million messages whose time is over: how long it takes, how much memory, and how long others
//! wait for what they send into the same rooms meanwhile.
//!
//! `cargo run --release -p wardroom-rooms --example purge_speed -- [messages [directory]]`
#![expect(clippy::print_stdout, reason = "prints what it measured")]

use std::{
    error::Error,
    fs,
    path::Path,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use ruma::{OwnedDeviceId, OwnedRoomId, OwnedUserId, TransactionId, UserId, owned_server_name, room_version_id};
use serde_json::{Map, json, value::to_raw_value};
use wardroom_audit::{AuditLog, AuditSettings};
use wardroom_clock::ManualClock;
use wardroom_event::SigningKey;
use wardroom_rooms::{
    Actor, MemberProfile, NS_USER, NewRoom, Preset, RetentionSettings, Rooms, Settings, StandardGate, TABLES, UserNid,
};
use wardroom_store::{Batch, Catalogue, MasterKey, Options, Store};

type Failure = Box<dyn Error + Send + Sync>;

const MESSAGES: u64 = 1_000_000;
const ROOMS: usize = 16;
/// People who fill one room at once.
const SENDERS_OF_ROOM: u64 = 4;
const START_MS: u64 = 1_700_000_000_000;
const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
/// Over how many days the messages come.
const DAYS: u64 = 10;
/// When all of them are over, by the default of a year.
const OVER_MS: u64 = START_MS + 400 * DAY_MS;
/// Messages of which it is measured how long they take while nothing else is done.
const IDLE_SENDS: usize = 2_000;
/// Between two messages that are measured.
const PACE: Duration = Duration::from_millis(5);

async fn open(directory: &Path, sync: bool, now_ms: u64) -> Result<(Store, Rooms, Arc<ManualClock>), Failure> {
    let options = Options { sync, ..Options::default() };
    let catalogue = Catalogue::new(&[TABLES, wardroom_audit::TABLES])?;
    let store = Store::open(directory, &MasterKey::from_bytes([7; 32]), catalogue, options).await?;
    let clock = Arc::new(ManualClock::new(now_ms));
    let audit = AuditLog::open(store.clone(), Arc::<ManualClock>::clone(&clock), AuditSettings::default()).await?;
    let numbering = audit.clone();
    tokio::spawn(async move { numbering.run().await });
    let settings = Settings {
        server_name: owned_server_name!("a.example"),
        default_version: room_version_id!("12"),
        signing_key: SigningKey::from_seed([7; 32], "1")?.into(),
        holds: Default::default(),
        retention: RetentionSettings::default(),
    };
    let rooms = Rooms::new(store.clone(), Arc::<ManualClock>::clone(&clock), Arc::new(StandardGate), audit, settings);
    Ok((store, rooms, clock))
}

async fn user(store: &Store) -> Result<(OwnedUserId, UserNid), Failure> {
    let id = UserId::parse("@user:a.example")?;
    let mut batch = Batch::default();
    let nid = store.interner().intern(&mut batch, NS_USER, id.as_str()).await?;
    store.commit(batch).await?;
    Ok((id, UserNid::new(nid)))
}

async fn create(rooms: &Rooms, (id, nid): &(OwnedUserId, UserNid)) -> Result<OwnedRoomId, Failure> {
    let request = NewRoom {
        version: None,
        preset: Preset::PublicChat,
        creation_content: Map::new(),
        initial_state: Vec::new(),
        power_levels: Map::new(),
        name: None,
        topic: None,
        alias: None,
        invite: Vec::new(),
        is_direct: false,
        listed: false,
        profile: MemberProfile::default(),
    };
    Ok(rooms.create(Actor { user: id, nid: *nid, device: None, guest: false }, request).await?)
}

async fn send(rooms: &Rooms, (id, nid): &(OwnedUserId, UserNid), room: &OwnedRoomId) -> Result<Duration, Failure> {
    let device = OwnedDeviceId::from("DEVICE");
    let content = to_raw_value(&json!({
        "msgtype": "m.text",
        "body": "about as much text as a nurse types in a hurry between two patients, 120 bytes or so, of which nothing stays",
    }))?;
    let actor = Actor { user: id, nid: *nid, device: Some(&device), guest: false };
    let started = Instant::now();
    rooms.send(actor, room, "m.room.message", content, Some(&TransactionId::new())).await?;
    Ok(started.elapsed())
}

async fn fill(directory: &Path, messages: u64) -> Result<(), Failure> {
    let (store, rooms, clock) = open(directory, false, START_MS).await?;
    let user = user(&store).await?;
    let mut ids = Vec::new();
    for _ in 0..ROOMS {
        ids.push(create(&rooms, &user).await?);
    }
    let each = messages / u64::try_from(ROOMS)? / SENDERS_OF_ROOM / DAYS;
    for _ in 0..DAYS {
        let mut senders = Vec::new();
        for room in ids.iter().flat_map(|room| (0..SENDERS_OF_ROOM).map(move |_| room.clone())) {
            let (rooms, user) = (rooms.clone(), user.clone());
            senders.push(tokio::spawn(async move {
                for _ in 0..each {
                    send(&rooms, &user, &room).await?;
                }
                Ok::<_, Failure>(())
            }));
        }
        for sender in senders {
            sender.await??;
        }
        clock.advance_ms(DAY_MS);
    }
    let names: Vec<&str> = ids.iter().map(|room| room.as_str()).collect();
    fs::write(directory.join("rooms.json"), serde_json::to_vec(&names)?)?;
    Ok(())
}

/// The time within which so many of a hundred were done, in milliseconds.
fn percentile(times: &mut [Duration], percent: usize) -> f64 {
    times.sort_unstable();
    times.get((times.len() * percent / 100).min(times.len().saturating_sub(1))).map_or(0.0, |time| time.as_secs_f64())
        * 1_000.0
}

/// The most memory that this process ever had, and what it has now, in MiB.
fn memory() -> (u64, u64) {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name| {
        let line = status.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_whitespace().nth(1)).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0)
    };
    (field("VmHWM:") / 1_024, field("VmRSS:") / 1_024)
}

async fn measure(directory: &Path) -> Result<(), Failure> {
    let (store, rooms, _clock) = open(directory, true, OVER_MS).await?;
    let user = user(&store).await?;
    let ids: Vec<OwnedRoomId> = serde_json::from_slice(&fs::read(directory.join("rooms.json"))?)?;
    let mut round = ids.iter().cycle();
    let mut idle = Vec::new();
    while let (Some(room), true) = (round.next(), idle.len() < IDLE_SENDS) {
        idle.push(send(&rooms, &user, room).await?);
        tokio::time::sleep(PACE).await;
    }
    let (_, before) = memory();
    let started = Instant::now();
    let purging = rooms.clone();
    let purge = tokio::spawn(async move {
        let pruned = purging.purge_expired(OVER_MS).await;
        println!("{:<44} {:>9.1} s", "shortened", started.elapsed().as_secs_f64());
        // The keys go with the run after.
        (pruned, purging.purge_expired(OVER_MS).await)
    });
    let mut busy = Vec::new();
    while let (Some(room), false) = (round.next(), purge.is_finished()) {
        busy.push(send(&rooms, &user, room).await?);
        tokio::time::sleep(PACE).await;
    }
    let (pruned, shredded) = purge.await?;
    println!("{:<44} {:>9.1} s", "keys destroyed as well", started.elapsed().as_secs_f64());
    println!("{:<44} {:>9}", "messages", pruned?.events);
    println!("{:<44} {:>9}", "keys", shredded?.keys);
    let (highest, after) = memory();
    println!("{:<44} {:>9} MiB ({before} before, {after} after)", "memory at the highest", highest);
    for (what, times) in [("a message, alone", &mut idle), ("a message, during the purge", &mut busy)] {
        let (half, most) = (percentile(times, 50), percentile(times, 99));
        println!("{what:<44} {half:>9.2} ms p50 {most:>9.2} ms p99");
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["fill", directory, messages] => fill(Path::new(directory), messages.parse()?).await,
        ["measure", directory] => measure(Path::new(directory)).await,
        // Each in a process of its own, so that only the memory of what is measured is counted.
        rest => {
            let messages = rest.first().map_or(Ok(MESSAGES), |messages| messages.parse())?;
            let base = match rest.get(1) {
                Some(directory) => tempfile::tempdir_in(directory)?,
                None => tempfile::tempdir()?,
            };
            let this = std::env::current_exe()?;
            for (phase, more) in [("fill", Some(messages.to_string())), ("measure", None)] {
                if !Command::new(&this).arg(phase).arg(base.path()).args(more).status()?.success() {
                    return Err(format!("{phase} failed").into());
                }
            }
            Ok(())
        }
    }
}
