//! A hospital with rooms, people and their devices.

use std::{future::pending, sync::Arc, time::Duration};

use ruma::{OwnedEventId, OwnedRoomId, RoomId, UserId, owned_server_name, room_version_id};
use serde_json::{Map, Value, json, value::to_raw_value};
use wardroom_accounts::{Accounts, LoginRequest, PasswordCost, Session};
use wardroom_audit::AuditLog;
use wardroom_clock::ManualClock;
use wardroom_event::SigningKey;
use wardroom_rooms::{Actor, MemberProfile, NewRoom, Preset, Rooms, StandardGate, UserNid};
use wardroom_store::{Catalogue, Store};
use wardroom_sync::{FilterChoice, SyncError, SyncRequest, Syncer};

/// When the clock starts, in milliseconds since 1970.
pub(crate) const START_MS: u64 = 1_700_000_000_000;

pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(future)
}

pub(crate) struct Ward {
    pub(crate) rooms: Rooms,
    pub(crate) accounts: Accounts,
    pub(crate) syncer: Syncer,
    pub(crate) clock: Arc<ManualClock>,
}

/// Somebody with a device.
#[derive(Clone, Debug)]
pub(crate) struct Person(pub(crate) Session);

impl Person {
    pub(crate) fn actor(&self) -> Actor<'_> {
        Actor { user: &self.0.user, nid: UserNid::new(self.0.nid.get()), device: Some(&self.0.device), guest: false }
    }

    pub(crate) fn id(&self) -> &UserId {
        &self.0.user
    }
}

impl Ward {
    pub(crate) async fn new() -> Self {
        let tables = [wardroom_rooms::TABLES, wardroom_accounts::TABLES, wardroom_push::TABLES];
        let store = Store::in_memory(Catalogue::new(&tables).unwrap());
        let clock = Arc::new(ManualClock::new(START_MS));
        let server_name = owned_server_name!("a.example");
        let mut settings = wardroom_accounts::Settings::new(server_name.clone());
        settings.password = PasswordCost { memory_kib: 8, iterations: 1, parallelism: 1 };
        let accounts = Accounts::new(store.clone(), clock.clone(), AuditLog::silent(), settings).await.unwrap();
        let settings = wardroom_rooms::Settings {
            server_name,
            default_version: room_version_id!("12"),
            signing_key: SigningKey::from_seed([7; 32], "1").unwrap().into(),
            holds: Default::default(),
            retention: wardroom_rooms::RetentionSettings::default(),
        };
        let rooms = Rooms::new(store.clone(), clock.clone(), Arc::new(StandardGate), AuditLog::silent(), settings);
        let syncer = Syncer::new(store, rooms.clone(), accounts.clone(), clock.clone());
        Self { rooms, accounts, syncer, clock }
    }

    pub(crate) async fn person(&self, name: &str) -> Person {
        let user = self.accounts.create_user(name, None, false).await.unwrap();
        self.device_of(&user.id).await
    }

    /// One more device of a user.
    pub(crate) async fn device_of(&self, user: &UserId) -> Person {
        let login = self.accounts.login_as(user, &LoginRequest::default()).await.unwrap();
        Person(self.accounts.authenticate(&login.access_token).await.unwrap())
    }

    /// A room that everybody may join, with these members.
    pub(crate) async fn room(&self, creator: &Person, members: &[&Person]) -> OwnedRoomId {
        // The id of a room is a hash of its first event: rooms that are made alike at the same time are the same.
        self.clock_ms(1);
        let room = self.rooms.create(creator.actor(), new_room(Some("Ward 7"))).await.unwrap();
        for member in members {
            self.join(member, &room).await;
        }
        room
    }

    pub(crate) async fn join(&self, who: &Person, room: &RoomId) {
        self.rooms.join(who.actor(), room, MemberProfile::default(), None).await.unwrap();
    }

    pub(crate) async fn leave(&self, who: &Person, room: &RoomId) {
        self.rooms.leave(who.actor(), room, None).await.unwrap();
    }

    pub(crate) async fn say(&self, who: &Person, room: &RoomId, body: &str) -> OwnedEventId {
        self.send(who, room, json!({ "msgtype": "m.text", "body": body })).await
    }

    pub(crate) async fn send(&self, who: &Person, room: &RoomId, content: Value) -> OwnedEventId {
        let content = to_raw_value(&content).unwrap();
        self.rooms.send(who.actor(), room, "m.room.message", content, None).await.unwrap()
    }

    pub(crate) async fn set(&self, who: &Person, room: &RoomId, kind: &str, key: &str, content: Value) {
        let content = to_raw_value(&content).unwrap();
        self.rooms.set_state(who.actor(), room, &kind.into(), key, content).await.unwrap();
    }

    /// What a request is answered.
    pub(crate) async fn ask(&self, who: &Person, request: SyncRequest) -> Result<Value, SyncError> {
        let answer = self.syncer.sync(&who.0, request, pending()).await?;
        let json: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(json["next_batch"], answer.next_batch.to_string());
        Ok(json)
    }

    /// What a request with this filter is answered, without waiting.
    pub(crate) async fn sync_with(&self, who: &Person, since: Option<&Value>, filter: Value) -> Value {
        self.ask(who, asking(since, Some(filter))).await.unwrap()
    }

    pub(crate) async fn sync(&self, who: &Person, since: Option<&Value>) -> Value {
        self.ask(who, asking(since, None)).await.unwrap()
    }

    /// Moves the clock forward.
    pub(crate) fn clock_ms(&self, by_ms: u64) {
        self.clock.advance_ms(by_ms);
    }

    /// The token of an initial sync.
    pub(crate) async fn token(&self, who: &Person) -> Value {
        self.sync(who, None).await
    }
}

/// A request that goes on from an answer.
pub(crate) fn asking(since: Option<&Value>, filter: Option<Value>) -> SyncRequest {
    SyncRequest {
        since: since.map(|answer| answer["next_batch"].as_str().unwrap().parse().unwrap()),
        filter: filter.map(|filter| FilterChoice::Inline(Box::new(serde_json::from_value(filter).unwrap()))),
        full_state: false,
        state_after: false,
        timeout: Duration::ZERO,
    }
}

pub(crate) fn new_room(name: Option<&str>) -> NewRoom {
    NewRoom {
        version: None,
        preset: Preset::PublicChat,
        creation_content: Map::new(),
        initial_state: Vec::new(),
        power_levels: Map::new(),
        name: name.map(ToOwned::to_owned),
        topic: None,
        alias: None,
        invite: Vec::new(),
        is_direct: false,
        listed: false,
        profile: MemberProfile::default(),
    }
}

/// A room's part of an answer; null where there is none.
/// A room of an answer tells no state besides its timeline.
pub(crate) fn no_state(room: &Value) -> bool {
    room["state"]["events"].as_array().is_some_and(Vec::is_empty)
}

pub(crate) fn joined<'a>(answer: &'a Value, room: &RoomId) -> &'a Value {
    &answer["rooms"]["join"][room.as_str()]
}

pub(crate) fn left<'a>(answer: &'a Value, room: &RoomId) -> &'a Value {
    &answer["rooms"]["leave"][room.as_str()]
}

/// The events of a section; none where it is left out.
pub(crate) fn events<'a>(room: &'a Value, section: &str) -> &'a [Value] {
    room[section]["events"].as_array().map_or(&[], Vec::as_slice)
}

/// Bodies of the messages in a timeline, and the types of its other events.
pub(crate) fn bodies(room: &Value) -> Vec<String> {
    let text = |event: &Value| event["content"]["body"].as_str().or(event["type"].as_str()).unwrap().to_owned();
    events(room, "timeline").iter().map(text).collect()
}

/// State keys of the memberships in a section.
pub(crate) fn members(room: &Value, section: &str) -> Vec<String> {
    let events = events(room, section).iter().filter(|event| event["type"] == "m.room.member");
    events.map(|event| event["state_key"].as_str().unwrap().to_owned()).collect()
}

/// Types of the events in a section.
pub(crate) fn types(room: &Value, section: &str) -> Vec<String> {
    events(room, section).iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect()
}
