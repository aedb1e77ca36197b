//! A ward of many, in memory.

use std::sync::Arc;

use ruma::{
    EventId, OwnedEventId, OwnedRoomId, UserId, owned_server_name,
    push::{Action, NewPatternedPushRule, NewPushRule},
    room_version_id,
};
use serde_json::{Map, Value, json, value::to_raw_value};
use wardroom_accounts::{Accounts, PasswordCost};
use wardroom_audit::AuditLog;
use wardroom_clock::{ManualClock, SharedClock};
use wardroom_event::SigningKey;
use wardroom_rooms::{Actor, MemberProfile, NewRoom, Preset, Rooms, StandardGate, UserNid};
use wardroom_store::{Catalogue, Store};

use crate::{Push, Settings, TABLES, Unread, Whose, kept::EFFORT_KEPT, tables::TALLIES};

/// Members of the large room.
const MEMBERS: usize = 10_000;
/// Accounts made at the same time.
const AT_ONCE: usize = 500;

struct World {
    store: Store,
    accounts: Accounts,
    rooms: Rooms,
    push: Push,
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(future)
}

impl World {
    async fn new() -> Self {
        let store =
            Store::in_memory(Catalogue::new(&[wardroom_accounts::TABLES, wardroom_rooms::TABLES, TABLES]).unwrap());
        let clock: SharedClock = Arc::new(ManualClock::new(1_700_000_000_000));
        let server_name = owned_server_name!("a.example");
        let mut settings = wardroom_accounts::Settings::new(server_name.clone());
        settings.password = PasswordCost { memory_kib: 8, iterations: 1, parallelism: 1 };
        let accounts = Accounts::new(store.clone(), Arc::clone(&clock), AuditLog::silent(), settings).await.unwrap();
        let settings = wardroom_rooms::Settings {
            server_name,
            default_version: room_version_id!("12"),
            signing_key: SigningKey::from_seed([7; 32], "1").unwrap().into(),
            holds: Default::default(),
            retention: wardroom_rooms::RetentionSettings::default(),
        };
        let rooms = Rooms::new(store.clone(), Arc::clone(&clock), Arc::new(StandardGate), AuditLog::silent(), settings);
        let unread = Unread::new(store.clone(), rooms.clone(), accounts.clone());
        let push = Push::new(store.clone(), unread, clock, AuditLog::silent(), Settings::default()).unwrap();
        Self { store, accounts, rooms, push }
    }

    async fn user(&self, name: String) -> UserNid {
        let user = self.accounts.create_user(&name, None, false).await.unwrap();
        UserNid::new(user.nid.get())
    }

    async fn users(&self, count: usize) -> Vec<UserNid> {
        let mut users = Vec::with_capacity(count);
        while users.len() < count {
            let making = (users.len()..count.min(users.len() + AT_ONCE)).map(|number| {
                let world = (self.accounts.clone(), format!("user{number}"));
                tokio::spawn(async move {
                    let (accounts, name) = world;
                    accounts.create_user(&name, None, false).await.unwrap().nid.get()
                })
            });
            for made in making.collect::<Vec<_>>() {
                users.push(UserNid::new(made.await.unwrap()));
            }
        }
        users
    }

    /// Sends an event.
    async fn say(&self, alice: UserNid, room: &OwnedRoomId, content: Value) -> OwnedEventId {
        let id = self.rooms.user_ids(&[alice]).await.unwrap().remove(0);
        let content = to_raw_value(&content).unwrap();
        self.rooms.send(actor(&id, alice), room, "m.room.message", content, None).await.unwrap()
    }

    /// Whom an event notifies, and how often rules were put to it.
    async fn told(&self, event: &EventId, users: &[UserNid]) -> (usize, u64) {
        let before = self.push.0.unread.evaluations();
        let told = self.push.notified(event, users).await.unwrap();
        (told.len(), self.push.0.unread.evaluations() - before)
    }
}

fn actor(id: &UserId, nid: UserNid) -> Actor<'_> {
    Actor { user: id, nid, device: None, guest: false }
}

fn new_room() -> NewRoom {
    NewRoom {
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
    }
}

#[test]
fn ten_thousand_members_are_answered_by_a_few_evaluations() {
    run(async {
        let world = World::new().await;
        let alice = world.user("alice".to_owned()).await;
        let users = world.users(MEMBERS).await;
        let alice_id = world.rooms.user_ids(&[alice]).await.unwrap().remove(0);
        let room = world.rooms.create(actor(&alice_id, alice), new_room()).await.unwrap();

        let plain = world.say(alice, &room, json!({ "msgtype": "m.text", "body": "all hands" })).await;
        assert_eq!(world.told(&plain, &users).await, (MEMBERS, 1));
        let notice = world.say(alice, &room, json!({ "msgtype": "m.notice", "body": "beep" })).await;
        assert_eq!(world.told(&notice, &users).await, (0, 1));

        let names = world.rooms.user_ids(&users[..3]).await.unwrap();
        let mention = json!({ "msgtype": "m.notice", "body": "you", "m.mentions": { "user_ids": names } });
        let mention = world.say(alice, &room, mention).await;
        assert_eq!(world.told(&mention, &users).await, (0, 4), "the three named are asked one by one");
        let all = json!({ "msgtype": "m.text", "body": "all", "m.mentions": { "room": true } });
        let all = world.say(alice, &room, all).await;
        assert_eq!(world.told(&all, &users).await, (MEMBERS, 2), "once more for the sender's power");

        let (odd, silent) = (&names[0], vec![]);
        let rule = NewPatternedPushRule::new("cake".to_owned(), "cake".to_owned(), silent);
        world.accounts.set_push_rule(odd, NewPushRule::Content(rule), None, None).await.unwrap();
        let loud = NewPatternedPushRule::new("cake".to_owned(), "cake".to_owned(), vec![Action::Notify]);
        world.accounts.set_push_rule(&names[1], NewPushRule::Content(loud), None, None).await.unwrap();
        let cake = world.say(alice, &room, json!({ "msgtype": "m.text", "body": "cake" })).await;
        assert_eq!(world.told(&cake, &users).await, (MEMBERS - 1, 3), "once for each kind of rules");
    });
}

#[test]
fn a_count_that_took_effort_outlives_memory() {
    run(async {
        let world = World::new().await;
        let (alice, bob) = (world.user("alice".to_owned()).await, world.user("bob".to_owned()).await);
        let ids = world.rooms.user_ids(&[alice, bob]).await.unwrap();
        let room = world.rooms.create(actor(&ids[0], alice), new_room()).await.unwrap();
        world.rooms.join(actor(&ids[1], bob), &room, MemberProfile::default(), None).await.unwrap();
        for _ in 0..EFFORT_KEPT {
            world.say(alice, &room, json!({ "msgtype": "m.text", "body": "x" })).await;
        }
        let nid = world.rooms.view(&room).await.unwrap().unwrap().nid;
        let joined = world.rooms.membership(bob, nid).await.unwrap().unwrap().place;
        let whose = Whose { user: &ids[1], nid: bob };
        let count = async |unread: &Unread| {
            let view = world.rooms.view(&room).await.unwrap().unwrap();
            unread.tally(whose, &view, joined, view.end).await.unwrap().total().notification_count
        };
        let first = world.push.0.unread.clone();
        assert_eq!(count(&first).await, EFFORT_KEPT as u64);
        while world.store.latest().get(&TALLIES, &(bob, nid)).await.unwrap().is_none() {
            tokio::task::yield_now().await;
        }
        world.say(alice, &room, json!({ "msgtype": "m.text", "body": "one more" })).await;
        let again = || Unread::new(world.store.clone(), world.rooms.clone(), world.accounts.clone());
        let second = again();
        assert_eq!((count(&second).await, second.evaluations()), (EFFORT_KEPT as u64 + 1, 1), "only what came since");
        let silent = NewPatternedPushRule::new("x".to_owned(), "x".to_owned(), vec![]);
        world.accounts.set_push_rule(&ids[1], NewPushRule::Content(silent), None, None).await.unwrap();
        assert_eq!(count(&again()).await, 1, "by other rules it is counted anew");
    });
}
