//! How fast the engine takes messages, without HTTP: 16 senders in 8 rooms of two, on a real store.
//!
//! `cargo run --release -p wardroom-rooms --example send_speed -- [seconds] [sync|nosync] [audit|silent]`
#![expect(clippy::print_stdout, reason = "prints what it measured")]

use std::{
    error::Error,
    sync::Arc,
    time::{Duration, Instant},
};

use ruma::{OwnedRoomId, OwnedUserId, UserId, owned_server_name, room_version_id};
use serde_json::{Map, json, value::to_raw_value};
use wardroom_audit::{AuditLog, AuditSettings};
use wardroom_clock::SystemClock;
use wardroom_event::SigningKey;
use wardroom_rooms::{Actor, MemberProfile, NS_USER, NewRoom, Preset, Rooms, Settings, StandardGate, TABLES, UserNid};
use wardroom_store::{Batch, Catalogue, MasterKey, Options, Store};

const SENDERS: usize = 16;
const ROOMS: usize = 8;

async fn user(store: &Store, number: usize) -> Result<(OwnedUserId, UserNid), Box<dyn Error>> {
    let id = UserId::parse(format!("@user{number}:a.example"))?;
    let mut batch = Batch::default();
    let nid = store.interner().intern(&mut batch, NS_USER, id.as_str()).await?;
    store.commit(batch).await?;
    Ok((id, UserNid::new(nid)))
}

async fn send_until(rooms: Rooms, (id, nid): (OwnedUserId, UserNid), room: OwnedRoomId, end: Instant) -> u64 {
    let device = ruma::OwnedDeviceId::from("DEVICE");
    let mut sent = 0;
    while Instant::now() < end {
        let body = format!(
            "message {sent} with about as much text as a nurse types in a hurry between two patients, 120 bytes or so"
        );
        let Ok(content) = to_raw_value(&json!({ "msgtype": "m.text", "body": body })) else { break };
        let transaction = ruma::TransactionId::new();
        let actor = Actor { user: &id, nid, device: Some(&device), guest: false };
        match rooms.send(actor, &room, "m.room.message", content, Some(&transaction)).await {
            Ok(_) => sent += 1,
            Err(error) => {
                println!("{error}");
                break;
            }
        }
    }
    sent
}

/// Processor time of this process, in clock ticks of 10 ms.
fn cpu_ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    fields.iter().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let seconds = std::env::args().nth(1).and_then(|seconds| seconds.parse().ok()).unwrap_or(5);
    let sync = std::env::args().nth(2).as_deref() != Some("nosync");
    let audited = std::env::args().nth(3).as_deref() == Some("audit");
    let dir = tempfile::tempdir()?;
    let options = Options { sync, ..Options::default() };
    let store =
        Store::open(dir.path(), &MasterKey::generate(), Catalogue::new(&[TABLES, wardroom_audit::TABLES])?, options)
            .await?;
    let settings = Settings {
        server_name: owned_server_name!("a.example"),
        default_version: room_version_id!("12"),
        signing_key: SigningKey::from_seed([7; 32], "1")?.into(),
        holds: Default::default(),
        retention: wardroom_rooms::RetentionSettings::default(),
    };
    let audit = match audited {
        true => AuditLog::open(store.clone(), Arc::new(SystemClock), AuditSettings::default()).await?,
        false => AuditLog::silent(),
    };
    let numbering = audit.clone();
    tokio::spawn(async move { numbering.run().await });
    let rooms = Rooms::new(store.clone(), Arc::new(SystemClock), Arc::new(StandardGate), audit, settings);
    let mut senders = Vec::new();
    for number in 0..ROOMS {
        let (first, second) = (user(&store, 2 * number).await?, user(&store, 2 * number + 1).await?);
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
        let actor = |user: &(OwnedUserId, UserNid)| (user.0.clone(), user.1);
        let creator = actor(&first);
        let room =
            rooms.create(Actor { user: &creator.0, nid: creator.1, device: None, guest: false }, request).await?;
        let joiner = actor(&second);
        rooms
            .join(
                Actor { user: &joiner.0, nid: joiner.1, device: None, guest: false },
                &room,
                MemberProfile::default(),
                None,
            )
            .await?;
        senders.push((first, room.clone()));
        senders.push((second, room));
    }
    let (started, before) = (Instant::now(), cpu_ticks());
    let end = started + Duration::from_secs(seconds);
    let tasks: Vec<_> = senders
        .into_iter()
        .take(SENDERS)
        .map(|(user, room)| tokio::spawn(send_until(rooms.clone(), user, room, end)))
        .collect();
    let mut sent = 0;
    for task in tasks {
        sent += task.await?;
    }
    let (elapsed, cpu_ms) = (started.elapsed().as_secs_f64(), (cpu_ticks() - before) * 10);
    #[expect(clippy::cast_precision_loss, reason = "prints what it measured")]
    let (rate, each) = (sent as f64 / elapsed, cpu_ms as f64 / sent as f64);
    println!("{rate:.0} messages/s, {each:.3} ms of processor time each, {} groups", store.stats().groups);
    Ok(())
}
