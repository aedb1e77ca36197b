//! What syncs cost, without HTTP: a user in 40 rooms, and a room of 50 who wait for messages, on a real store.
//!
//! `cargo run --release -p wardroom-sync --example sync_cost`
#![expect(clippy::print_stdout, reason = "prints what it measured")]

use std::{
    error::Error,
    future::pending,
    sync::Arc,
    time::{Duration, Instant},
};

use ruma::{OwnedRoomId, owned_server_name, room_version_id};
use serde_json::{Map, json, value::to_raw_value};
use wardroom_accounts::{Accounts, LoginRequest, Session};
use wardroom_audit::AuditLog;
use wardroom_clock::{ManualClock, SharedClock};
use wardroom_event::SigningKey;
use wardroom_rooms::{Actor, MemberProfile, NewRoom, Preset, Rooms, StandardGate, UserNid};
use wardroom_store::{Catalogue, MasterKey, Options, Store};
use wardroom_sync::{SyncRequest, SyncResponse, Syncer};

type Failure = Box<dyn Error + Send + Sync>;

const ROOMS: usize = 40;
const EVENTS_PER_ROOM: usize = 10;
const WAITING: usize = 50;
const MESSAGES: usize = 200;
const ROUNDS: u32 = 200;

struct World {
    rooms: Rooms,
    accounts: Accounts,
    syncer: Syncer,
    clock: Arc<ManualClock>,
}

impl World {
    async fn new(store: Store) -> Result<Self, Failure> {
        let manual = Arc::new(ManualClock::new(1_700_000_000_000));
        let clock: SharedClock = manual.clone();
        let server_name = owned_server_name!("a.example");
        let settings = wardroom_accounts::Settings::new(server_name.clone());
        let accounts = Accounts::new(store.clone(), Arc::clone(&clock), AuditLog::silent(), settings).await?;
        let settings = wardroom_rooms::Settings {
            server_name,
            default_version: room_version_id!("12"),
            signing_key: SigningKey::from_seed([7; 32], "1")?.into(),
            holds: Default::default(),
            retention: wardroom_rooms::RetentionSettings::default(),
        };
        let rooms = Rooms::new(store.clone(), Arc::clone(&clock), Arc::new(StandardGate), AuditLog::silent(), settings);
        let syncer = Syncer::new(store, rooms.clone(), accounts.clone(), clock);
        Ok(Self { rooms, accounts, syncer, clock: manual })
    }

    async fn person(&self, number: usize) -> Result<Session, Failure> {
        let user = self.accounts.create_user(&format!("user{number}"), None, false).await?;
        let login = self.accounts.login_as(&user.id, &LoginRequest::default()).await?;
        Ok(self.accounts.authenticate(&login.access_token).await?)
    }

    async fn room(&self, people: &[Session]) -> Result<OwnedRoomId, Failure> {
        self.clock.advance_ms(1);
        let request = NewRoom {
            version: None,
            preset: Preset::PublicChat,
            creation_content: Map::new(),
            initial_state: Vec::new(),
            power_levels: Map::new(),
            name: Some("Ward 7".to_owned()),
            topic: None,
            alias: None,
            invite: Vec::new(),
            is_direct: false,
            listed: false,
            profile: MemberProfile::default(),
        };
        let room = self.rooms.create(actor(&people[0]), request).await?;
        for person in &people[1..] {
            self.rooms.join(actor(person), &room, MemberProfile::default(), None).await?;
        }
        Ok(room)
    }

    async fn say(&self, who: &Session, room: &OwnedRoomId, number: usize) -> Result<(), Failure> {
        let body = format!("message {number} with about as much text as a nurse types in a hurry between two patients");
        let content = to_raw_value(&json!({ "msgtype": "m.text", "body": body }))?;
        self.rooms.send(actor(who), room, "m.room.message", content, None).await?;
        Ok(())
    }

    async fn sync(&self, who: &Session, since: Option<&SyncResponse>, wait: bool) -> Result<SyncResponse, Failure> {
        let timeout = if wait { Duration::from_secs(30) } else { Duration::ZERO };
        let since = since.map(|answer| answer.next_batch);
        Ok(self.syncer.sync(who, SyncRequest { since, timeout, ..SyncRequest::default() }, pending()).await?)
    }
}

fn actor(session: &Session) -> Actor<'_> {
    Actor { user: &session.user, nid: UserNid::new(session.nid.get()), device: Some(&session.device), guest: false }
}

/// Processor time of this process, in milliseconds, by clock ticks of 10 ms.
fn cpu_ms() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    fields.iter().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>() * 10
}

fn report(what: &str, started: Instant, rounds: u32, bytes: usize) {
    println!("{what:<44} {:>9.3} ms {bytes:>9} bytes", started.elapsed().as_secs_f64() * 1_000.0 / f64::from(rounds));
}

async fn one_user(world: &World, people: &[Session]) -> Result<(), Failure> {
    let mut rooms = Vec::new();
    for _ in 0..ROOMS {
        let room = world.room(&people[..2]).await?;
        for number in 0..EVENTS_PER_ROOM {
            world.say(&people[0], &room, number).await?;
        }
        rooms.push(room);
    }
    let reader = &people[1];
    let started = Instant::now();
    let mut answer = world.sync(reader, None, false).await?;
    report("initial sync, the first one", started, 1, answer.body.len());
    let started = Instant::now();
    for _ in 0..ROUNDS {
        answer = world.sync(reader, None, false).await?;
    }
    report("initial sync", started, ROUNDS, answer.body.len());
    let started = Instant::now();
    for _ in 0..ROUNDS {
        answer = world.sync(reader, Some(&answer), false).await?;
    }
    report("sync without news, nothing moved", started, ROUNDS, answer.body.len());
    let other = world.room(&people[..1]).await?;
    let (mut spent, mut idle) = (Duration::ZERO, Duration::ZERO);
    for number in 0..ROUNDS {
        world.say(&people[0], &other, 0).await?;
        let started = Instant::now();
        answer = world.sync(reader, Some(&answer), false).await?;
        idle += started.elapsed();
        let room = &rooms[usize::try_from(number)? % ROOMS];
        world.say(&people[0], room, 0).await?;
        let started = Instant::now();
        answer = world.sync(reader, Some(&answer), false).await?;
        spent += started.elapsed();
    }
    report("sync without news, other rooms moved", Instant::now() - idle, ROUNDS, 0);
    report("sync with one message", Instant::now() - spent, ROUNDS, answer.body.len());
    Ok(())
}

async fn many_wait(world: &Arc<World>, people: &[Session]) -> Result<(), Failure> {
    let room = world.room(people).await?;
    let mut tasks = Vec::new();
    for person in &people[1..] {
        let (world, person) = (Arc::clone(world), person.clone());
        let start = world.sync(&person, None, false).await?;
        tasks.push(tokio::spawn(async move {
            let (mut told, mut answers, mut answer) = (0, 0_usize, start);
            while told < MESSAGES {
                answer = world.sync(&person, Some(&answer), true).await?;
                let text = std::str::from_utf8(&answer.body)?;
                told += text.matches("between two patients").count();
                answers += 1;
            }
            Ok::<usize, Failure>(answers)
        }));
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let (started, cpu) = (Instant::now(), cpu_ms());
    for number in 0..MESSAGES {
        world.say(&people[0], &room, number).await?;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut answers = 0;
    for task in tasks {
        answers += task.await??;
    }
    let (elapsed, cpu) = (started.elapsed(), cpu_ms() - cpu);
    println!(
        "{MESSAGES} messages to {} who wait: {answers} answers in {elapsed:?}, {cpu} ms of CPU, {:.3} ms per answer",
        people.len() - 1,
        f64::from(u32::try_from(cpu)?) / f64::from(u32::try_from(answers)?)
    );
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let dir = tempfile::tempdir()?;
    let options = Options { sync: false, ..Options::default() };
    let tables = [wardroom_rooms::TABLES, wardroom_accounts::TABLES, wardroom_push::TABLES];
    let store = Store::open(dir.path(), &MasterKey::generate(), Catalogue::new(&tables)?, options).await?;
    let world = Arc::new(World::new(store).await?);
    let mut people = Vec::new();
    for number in 0..=WAITING {
        people.push(world.person(number).await?);
    }
    one_user(&world, &people).await?;
    many_wait(&world, &people).await
}
