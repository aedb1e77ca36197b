//! Emergencies over the store in memory, with a clock that is set.

use std::{sync::Arc, time::Duration};

use ruma::{
    OwnedRoomId, OwnedUserId, RoomOrAliasId, UserId, owned_server_name, owned_user_id, room_version_id, user_id,
};
use serde_json::{Map, json, value::to_raw_value};
use wardroom_accounts::{Accounts, PasswordCost};
use wardroom_audit::AuditLog;
use wardroom_clock::{Clock as _, ManualClock, SharedClock};
use wardroom_event::SigningKey;
use wardroom_rooms::{Actor, EventNid, Membership, NewRoom, Preset, Rooms, UserNid};
use wardroom_store::{Catalogue, Store};

use super::{EmergencyQuery, EmergencyReason, EndedWhy, ReviewVerdict, tables::EmergencyRow};
use crate::{
    ACCESS_POLICY, Attestations, Binding, Care, CareError, CareGate, Judge, Role, Said, Settings, Source,
    gate::policy_of,
};

const NOW_MS: u64 = 1_700_000_000_000;
const HOUR_MS: u64 = 60 * 60 * 1_000;
/// Generous: nothing else is going on.
const SOON: Duration = Duration::from_secs(20);

struct World {
    store: Store,
    clock: Arc<ManualClock>,
    accounts: Accounts,
    rooms: Rooms,
    care: Care,
}

impl World {
    async fn new() -> Self {
        let tables = [wardroom_accounts::TABLES, wardroom_rooms::TABLES, crate::TABLES];
        let store = Store::in_memory(Catalogue::new(&tables).unwrap());
        Self::over(store, Arc::new(ManualClock::new(NOW_MS))).await
    }

    /// The server on a store, as after a start.
    async fn over(store: Store, clock: Arc<ManualClock>) -> Self {
        let shared: SharedClock = Arc::clone(&clock) as _;
        let name = owned_server_name!("h1.example");
        let mut settings = wardroom_accounts::Settings::new(name.clone());
        settings.password = PasswordCost { memory_kib: 8, iterations: 1, parallelism: 1 };
        let accounts = Accounts::new(store.clone(), Arc::clone(&shared), AuditLog::silent(), settings).await.unwrap();
        let service = owned_user_id!("@_access:h1.example");
        let judge = Judge::load(&store, Arc::clone(&shared), AuditLog::silent(), service.clone()).await.unwrap();
        let settings = wardroom_rooms::Settings {
            server_name: name,
            default_version: room_version_id!("12"),
            signing_key: SigningKey::from_seed([7; 32], "1").unwrap().into(),
            holds: Default::default(),
            retention: wardroom_rooms::RetentionSettings::default(),
        };
        let attestations = Attestations::new(store.clone(), Arc::clone(&shared), judge.clone(), Vec::new());
        let gate = Arc::new(CareGate::new(judge.clone(), attestations.clone()));
        let rooms = Rooms::new(store.clone(), Arc::clone(&shared), gate, AuditLog::silent(), settings);
        let settings = Settings {
            service_user: service,
            display_name: "Access".to_owned(),
            recheck_ms: HOUR_MS,
            removal_percent_max: 100,
            attest_to: Vec::new(),
        };
        let services = (rooms.clone(), accounts.clone());
        let care = Care::new(store.clone(), shared, services, (judge, attestations), AuditLog::silent(), settings);
        Self { store, clock, accounts, rooms, care }
    }

    async fn restarted(&self) -> Self {
        Self::over(self.store.clone(), Arc::clone(&self.clock)).await
    }

    async fn person(&self, name: &str, role: &str) -> (OwnedUserId, UserNid) {
        let user = self.accounts.create_user(name, None, false).await.unwrap();
        let binding = Binding {
            role: Role::parse(role).unwrap(),
            from_ms: None,
            until_ms: None,
            reason: String::new(),
            set_by: String::new(),
            set_ms: NOW_MS,
        };
        let said = Said { active: None, bindings: vec![binding] };
        self.care.roles().say(&user.id, Source::Manual, said).await.unwrap();
        (user.id, UserNid::new(user.nid.get()))
    }

    /// A room for physicians, into which clinicians may come in an emergency.
    async fn ward(&self) -> OwnedRoomId {
        let (id, nid) = self.person("alice", "physician@h1").await;
        let alice = Actor { user: &id, nid, device: None, guest: false };
        let new = NewRoom {
            version: None,
            preset: Preset::PrivateChat,
            creation_content: Map::new(),
            initial_state: Vec::new(),
            power_levels: Map::new(),
            name: None,
            topic: None,
            alias: None,
            invite: Vec::new(),
            is_direct: false,
            listed: false,
            profile: wardroom_rooms::MemberProfile::default(),
        };
        let room = self.rooms.create(alice, new).await.unwrap();
        let policy = json!({
            "version": 1,
            "require": { "any_of": [{ "all_of": ["physician@h1"] }] },
            "break_glass": { "enabled": true, "who": { "any_of": [{ "all_of": ["clinician@h1"] }] }, "reasons": ["BTG"],
                "ttl_ms": HOUR_MS },
        });
        let content = to_raw_value(&policy).unwrap();
        self.rooms.set_state(alice, &room, &ACCESS_POLICY.into(), "", content).await.unwrap();
        room
    }

    async fn begin(&self, user: &UserId, room: &RoomOrAliasId, command: Option<u64>) -> Result<String, CareError> {
        let reason = EmergencyReason { code: "BTG".to_owned(), text: "cardiac arrest".to_owned(), patient_ref: None };
        let begun = self.care.begin_emergency(user, room, reason, command.map(EventNid::new)).await;
        begun.map(|begun| begun.id)
    }

    async fn membership(&self, room: &OwnedRoomId, user: UserNid) -> Option<Membership> {
        let view = self.rooms.view(room).await.unwrap().unwrap();
        self.rooms.membership(user, view.nid).await.unwrap().map(|entry| entry.membership)
    }

    /// Looks after what goes on until a user's membership is this.
    async fn until(&self, room: &OwnedRoomId, user: UserNid, membership: Membership) {
        let arrived = async {
            let mut published = self.store.published();
            while self.membership(room, user).await != Some(membership) {
                published.changed().await.unwrap();
            }
        };
        tokio::select! {
            () = self.care.run_emergencies() => {}
            arrived = tokio::time::timeout(SOON, arrived) => arrived.unwrap(),
        }
    }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(future)
}

#[test]
fn requests_fail_from_the_very_moment_at_which_its_time_is_over() {
    run(async {
        let world = World::new().await;
        let room = world.ward().await;
        let (doctor, nid) = world.person("doctor", "clinician@h1").await;
        world.begin(&doctor, (&*room).into(), None).await.unwrap();
        let actor = Actor { user: &doctor, nid, device: None, guest: false };
        let view = world.rooms.view(&room).await.unwrap().unwrap();
        world.clock.advance_ms(HOUR_MS - 1);
        assert!(world.rooms.reader(actor, &view).await.is_ok());
        world.clock.advance_ms(1);
        // Nobody has looked after it yet.
        assert!(world.rooms.reader(actor, &view).await.is_err());
        assert_eq!(world.membership(&room, nid).await, Some(Membership::Join));
        world.until(&room, nid, Membership::Leave).await;
    });
}

#[test]
fn what_was_begun_when_the_server_stopped_is_finished_or_ended() {
    run(async {
        let world = World::new().await;
        let room = world.ward().await;
        let (doctor, nid) = world.person("doctor", "clinician@h1").await;
        let view = world.rooms.view(&room).await.unwrap().unwrap();
        let row = |until_ms| EmergencyRow {
            room: view.nid,
            user: nid,
            room_id: room.to_string(),
            user_id: doctor.to_string(),
            reason_code: "BTG".to_owned(),
            reason_text: "cardiac arrest".to_owned(),
            patient_ref: None,
            began_ms: world.clock.now_ms(),
            until_ms,
            notify: Vec::new(),
            command: None,
            brought_in: true,
            entered: false,
            told: false,
            end: None,
            review: None,
        };
        // The record, and nothing of what follows.
        let (id, _working) = world.care.record_begin(&doctor, &row(NOW_MS + HOUR_MS)).await.unwrap();
        let restarted = world.restarted().await;
        restarted.until(&room, nid, Membership::Join).await;
        assert!(restarted.care.own_emergency(&doctor, (&*room).into()).await.is_ok());
        // The end, and nothing of what follows.
        assert!(restarted.care.record_end(id, EndedWhy::EndedByUser, None).await.unwrap());
        assert!(!restarted.care.record_end(id, EndedWhy::Expired, None).await.unwrap(), "it ends once");
        let restarted = restarted.restarted().await;
        restarted.until(&room, nid, Membership::Leave).await;
        tokio::select! {
            () = restarted.care.run_emergencies() => {}
            () = async { while restarted.care.0.judge.grants().get(view.nid, &doctor).is_some() { tokio::task::yield_now().await } } => {}
        }
        // One whose time went by meanwhile lets nobody in.
        restarted.care.record_begin(&doctor, &row(NOW_MS + HOUR_MS)).await.unwrap();
        world.clock.advance_ms(2 * HOUR_MS);
        let restarted = restarted.restarted().await;
        tokio::select! {
            () = restarted.care.run_emergencies() => {}
            () = async { while restarted.care.0.judge.grants().get(view.nid, &doctor).is_some() { tokio::task::yield_now().await } } => {}
        }
        assert_eq!(restarted.membership(&room, nid).await, Some(Membership::Leave));
        let query = EmergencyQuery { limit: 10, ..EmergencyQuery::default() };
        let why: Vec<_> =
            restarted.care.emergencies(query).await.unwrap().emergencies.iter().map(|one| one.ended_why).collect();
        assert_eq!(why, [Some(EndedWhy::Expired), Some(EndedWhy::EndedByUser)]);
    });
}

#[test]
fn the_same_message_asks_once_and_the_limit_of_an_hour_passes() {
    run(async {
        let world = World::new().await;
        let room = world.ward().await;
        let (doctor, _) = world.person("doctor", "clinician@h1").await;
        let door = <&RoomOrAliasId>::from(&*room);
        let first = world.begin(&doctor, door, Some(1)).await.unwrap();
        assert_eq!(world.begin(&doctor, door, Some(1)).await.unwrap(), first);
        assert!(matches!(world.begin(&doctor, door, Some(2)).await, Err(CareError::Conflict(_))));
        world.care.end_own_emergency(&doctor, door).await.unwrap();
        assert_eq!(world.begin(&doctor, door, Some(1)).await.unwrap(), first, "also after its end");
        for _ in 1..super::EMERGENCIES_PER_HOUR_MAX {
            world.begin(&doctor, door, None).await.unwrap();
            world.care.end_own_emergency(&doctor, door).await.unwrap();
        }
        let refused = world.begin(&doctor, door, None).await;
        assert!(matches!(refused, Err(CareError::TooOften { retry_ms: HOUR_MS })), "{refused:?}");
        world.clock.advance_ms(HOUR_MS);
        world.begin(&doctor, door, None).await.unwrap();
    });
}

#[test]
fn emergencies_that_nobody_reviews_raise_an_alarm() {
    run(async {
        let world = World::new().await;
        let room = world.ward().await;
        let (doctor, _) = world.person("doctor", "clinician@h1").await;
        let id = world.begin(&doctor, (&*room).into(), None).await.unwrap();
        world.care.end_own_emergency(&doctor, (&*room).into()).await.unwrap();
        let alarms = async || {
            world.care.look_for_reviews().await;
            let alarms = world.care.alarms().all().await.unwrap();
            alarms.into_iter().filter(|alarm| alarm.kind == "emergency_unreviewed").count()
        };
        world.clock.advance_ms(3 * 24 * HOUR_MS);
        assert_eq!(alarms().await, 0);
        world.clock.advance_ms(1);
        assert_eq!(alarms().await, 1);
        let own = world.care.review_emergency(&id, &doctor, ReviewVerdict::Justified, String::new()).await;
        assert!(matches!(own, Err(CareError::Refused(_))));
        let reviewer = user_id!("@privacy:h1.example");
        world.care.review_emergency(&id, reviewer, ReviewVerdict::NotJustified, "no".to_owned()).await.unwrap();
        assert_eq!(world.care.unreviewed(10).await.unwrap(), Vec::<u64>::new());
    });
}

#[test]
fn an_emergency_gives_no_power_over_the_room() {
    run(async {
        let world = World::new().await;
        let room = world.ward().await;
        let (doctor, nid) = world.person("doctor", "clinician@h1").await;
        let (other, _) = world.person("other", "physician@h1").await;
        world.begin(&doctor, (&*room).into(), None).await.unwrap();
        let view = world.rooms.view(&room).await.unwrap().unwrap();
        assert!(policy_of(&view).is_some());
        let actor = Actor { user: &doctor, nid, device: None, guest: false };
        let profile = wardroom_rooms::MemberProfile::default();
        assert!(world.rooms.invite(actor, &room, &other, profile, None).await.is_err());
        let content = || to_raw_value(&json!({})).unwrap();
        for key in ["", "x", "_@other:h1.example", "_@doctor:h1.example"] {
            assert!(
                world.rooms.set_state(actor, &room, &"m.room.topic".into(), key, content()).await.is_err(),
                "{key}"
            );
        }
        let text = to_raw_value(&json!({ "msgtype": "m.text", "body": "here" })).unwrap();
        world.rooms.send(actor, &room, "m.room.message", text, None).await.unwrap();
    });
}
