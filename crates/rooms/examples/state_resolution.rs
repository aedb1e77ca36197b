//! How long a large room takes to agree with itself: two forks that differ in 100 of 50,000 state events, on a real
//! store. The target is 100 ms.
//!
//! `cargo run --release -p wardroom-rooms --example state_resolution`
#![expect(clippy::print_stdout, reason = "prints what it measured")]

use std::{error::Error, sync::Arc, time::Instant};

use ruma::{CanonicalJsonObject, OwnedEventId, OwnedRoomId, owned_server_name, room_version_id};
use serde_json::{Value, json};
use wardroom_audit::AuditLog;
use wardroom_clock::SystemClock;
use wardroom_event::{Pdu, RoomVersion, SigningKey};
use wardroom_rooms::{Before, Entry, NS_USER, Rooms, Settings, StandardGate, TABLES};
use wardroom_store::{Batch, Catalogue, MasterKey, Options, Store};

const MEMBERS: usize = 50_000;
const DIFFERENCES: usize = 100;
const OWNER: &str = "@owner:b.example";
const ALICE: &str = "@alice:a.example";

/// Makes events, each after the one before.
struct Maker {
    version: RoomVersion,
    key: SigningKey,
    room: OwnedRoomId,
    time: u64,
}

/// What an event follows and by what it is allowed.
#[derive(Clone, Default)]
struct Links {
    prev: Vec<OwnedEventId>,
    auth: Vec<OwnedEventId>,
    depth: u64,
}

impl Maker {
    fn make(
        &mut self,
        sender: &str,
        kind: &str,
        key: Option<&str>,
        content: &Value,
        links: &Links,
    ) -> Result<Arc<Pdu>, Box<dyn Error>> {
        self.time += 1;
        let mut event = json!({
            "type": kind, "sender": sender, "room_id": self.room, "content": content, "depth": links.depth,
            "origin_server_ts": self.time, "prev_events": links.prev, "auth_events": links.auth,
        });
        if let Some(key) = key {
            event["state_key"] = json!(key);
        }
        let mut object: CanonicalJsonObject = serde_json::from_value(event)?;
        let server = sender.split_once(':').map_or("", |(_, server)| server);
        let rules = self.version.rules();
        ruma::signatures::hash_and_sign_event(server, self.key.pair(), &mut object, &rules.redaction)?;
        Ok(Arc::new(Pdu::parse(&serde_json::to_vec(&object)?, self.version)?))
    }
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1_000.0
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let options = Options::default();
    let store = Store::open(dir.path(), &MasterKey::generate(), Catalogue::new(&[TABLES])?, options).await?;
    let settings = Settings {
        server_name: owned_server_name!("a.example"),
        default_version: room_version_id!("11"),
        signing_key: SigningKey::from_seed([7; 32], "1")?.into(),
        holds: Default::default(),
        retention: wardroom_rooms::RetentionSettings::default(),
    };
    let rooms = Rooms::new(store.clone(), Arc::new(SystemClock), Arc::new(StandardGate), AuditLog::silent(), settings);
    let mut batch = Batch::default();
    store.interner().intern(&mut batch, NS_USER, ALICE).await?;
    store.commit(batch).await?;

    let version = RoomVersion::new(&room_version_id!("11")).ok_or("version 11 is known")?;
    let key = SigningKey::from_seed([7; 32], "1")?;
    let mut maker = Maker { version, key, room: OwnedRoomId::try_from("!large:b.example")?, time: 1_700_000_000_000 };
    let create = maker.make(OWNER, "m.room.create", Some(""), &json!({ "room_version": "11" }), &Links::default())?;
    let mut state = vec![Arc::clone(&create)];
    let mut links =
        Links { prev: vec![create.event_id().to_owned()], auth: vec![create.event_id().to_owned()], depth: 1 };
    let mut state_event =
        |maker: &mut Maker, links: &mut Links, sender: &str, kind: &str, key: &str, content: Value| {
            let event = maker.make(sender, kind, Some(key), &content, links)?;
            links.prev = vec![event.event_id().to_owned()];
            links.depth += 1;
            state.push(Arc::clone(&event));
            Ok::<_, Box<dyn Error>>(event.event_id().to_owned())
        };
    let join = json!({ "membership": "join" });
    let owner = state_event(&mut maker, &mut links, OWNER, "m.room.member", OWNER, join.clone())?;
    links.auth.push(owner.clone());
    let levels = json!({ "users": { OWNER: 100 } });
    let levels = state_event(&mut maker, &mut links, OWNER, "m.room.power_levels", "", levels)?;
    links.auth.push(levels.clone());
    let rules = state_event(&mut maker, &mut links, OWNER, "m.room.join_rules", "", json!({ "join_rule": "public" }))?;
    let by_owner = links.auth.clone();
    links.auth = vec![create.event_id().to_owned(), levels, rules];
    for number in 0..MEMBERS {
        let user = format!("@member{number}:b.example");
        state_event(&mut maker, &mut links, &user, "m.room.member", &user, join.clone())?;
    }
    let alice = maker.make(ALICE, "m.room.member", Some(ALICE), &join, &links)?;
    let auth_chain = state.iter().take(4).cloned().collect();
    let start = Instant::now();
    let room = maker.room.clone();
    rooms.enter(Entry { room: room.clone(), version, join: Arc::clone(&alice), state, auth_chain }).await?;
    println!("a room of {MEMBERS} members entered: {:.0} ms", milliseconds(start));

    let mut tips = Vec::new();
    let mut slowest: f64 = 0.0;
    for fork in 0..2 {
        let mut links =
            Links { prev: vec![alice.event_id().to_owned()], auth: by_owner.clone(), depth: links.depth + 1 };
        for number in 0..DIFFERENCES {
            let content = json!({ "fork": fork });
            let event = maker.make(OWNER, "example.bed", Some(&number.to_string()), &content, &links)?;
            links.prev = vec![event.event_id().to_owned()];
            links.depth += 1;
            let start = Instant::now();
            rooms.receive(&room, event, Before::Derived).await?;
            slowest = slowest.max(milliseconds(start));
        }
        tips.extend(links.prev);
    }
    let links = Links { prev: tips, auth: by_owner, depth: links.depth + 500 };
    let merge = maker.make(OWNER, "m.room.message", None, &json!({ "msgtype": "m.text", "body": "x" }), &links)?;
    let start = Instant::now();
    rooms.receive(&room, merge, Before::Derived).await?;
    println!("an event after both forks: {:.1} ms (target: 100 ms)", milliseconds(start));
    println!("the slowest event of the forks: {slowest:.1} ms (target: 100 ms)");
    Ok(())
}
