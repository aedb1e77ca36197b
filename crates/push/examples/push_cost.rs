//! What it costs to find out whom of 10,000 members an event notifies, without HTTP, on a real store.
//!
//! `cargo run --release -p wardroom-push --example push_cost`
#![expect(clippy::print_stdout, reason = "prints what it measured")]

use std::{error::Error, sync::Arc, time::Instant};

use ruma::{OwnedEventId, owned_server_name, room_version_id};
use serde_json::{Map, Value, json, value::to_raw_value};
use wardroom_accounts::Accounts;
use wardroom_audit::AuditLog;
use wardroom_clock::{ManualClock, SharedClock};
use wardroom_event::SigningKey;
use wardroom_push::{Push, Settings, Unread};
use wardroom_rooms::{Actor, MemberProfile, NewRoom, Preset, Rooms, StandardGate, UserNid};
use wardroom_store::{Catalogue, MasterKey, Options, Store};

type Failure = Box<dyn Error + Send + Sync>;

const MEMBERS: usize = 10_000;
const AT_ONCE: usize = 500;
const ROUNDS: u32 = 50;

async fn users(accounts: &Accounts) -> Result<Vec<UserNid>, Failure> {
    let mut users = Vec::with_capacity(MEMBERS);
    while users.len() < MEMBERS {
        let mut making = Vec::with_capacity(AT_ONCE);
        for number in users.len()..MEMBERS.min(users.len() + AT_ONCE) {
            let accounts = accounts.clone();
            making.push(tokio::spawn(async move { accounts.create_user(&format!("user{number}"), None, false).await }));
        }
        for made in making {
            users.push(UserNid::new(made.await??.nid.get()));
        }
    }
    Ok(users)
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let dir = tempfile::tempdir()?;
    let tables = Catalogue::new(&[wardroom_accounts::TABLES, wardroom_rooms::TABLES, wardroom_push::TABLES])?;
    let store = Store::open(dir.path(), &MasterKey::generate(), tables, Options::default()).await?;
    let clock: SharedClock = Arc::new(ManualClock::new(1_700_000_000_000));
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
    let push = Push::new(
        store.clone(),
        Unread::new(store, rooms.clone(), accounts.clone()),
        clock,
        AuditLog::silent(),
        Settings::default(),
    )?;
    let users = users(&accounts).await?;

    let names = rooms.user_ids(&users[..10]).await?;
    let alice = Actor { user: &names[0], nid: users[0], device: None, guest: false };
    let room = NewRoom {
        version: None,
        preset: Preset::PublicChat,
        creation_content: Map::new(),
        initial_state: Vec::new(),
        power_levels: Map::new(),
        name: Some("All".to_owned()),
        topic: None,
        alias: None,
        invite: Vec::new(),
        is_direct: false,
        listed: false,
        profile: MemberProfile::default(),
    };
    let room = rooms.create(alice, room).await?;
    let send = async |content: Value| -> Result<OwnedEventId, Failure> {
        Ok(rooms.send(alice, &room, "m.room.message", to_raw_value(&content)?, None).await?)
    };
    let plain = json!({ "msgtype": "m.text", "body": "All hands to the emergency room, please." });
    let mention = json!({ "msgtype": "m.text", "body": "You ten.", "m.mentions": { "user_ids": names } });
    let first = send(plain.clone()).await?;
    let start = Instant::now();
    push.notified(&first, &users).await?;
    println!("rules of {MEMBERS} users, not read before: {:.1} ms", start.elapsed().as_secs_f64() * 1_000.0);
    for (what, content) in [("a message", plain), ("a message that mentions ten", mention)] {
        let mut total = 0.0;
        for _ in 0..ROUNDS {
            let event = send(content.clone()).await?;
            let start = Instant::now();
            assert_eq!(push.notified(&event, &users).await?.len(), MEMBERS);
            total += start.elapsed().as_secs_f64();
        }
        println!("{what} to {MEMBERS} users: {:.2} ms", total * 1_000.0 / f64::from(ROUNDS));
    }
    Ok(())
}
