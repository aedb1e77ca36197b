//! What a purge leaves in the audit trail: the destruction of keys takes days, so a clock that moves is needed.

use std::sync::Arc;

use ruma::{owned_server_name, room_version_id, user_id};
use wardroom_audit::{Act, AuditLog, AuditSettings};
use wardroom_clock::ManualClock;
use wardroom_event::SigningKey;
use wardroom_store::{Catalogue, Store};

use super::{DAY_MS, Ward};
use crate::{
    Preset, RetentionSettings, Rooms, Settings, StandardGate, TABLES, Terms,
    tests::{World, new_room, run},
};

#[test]
fn what_is_pruned_shredded_and_purged_is_recorded() {
    run(async {
        let store = Store::in_memory(Catalogue::new(&[TABLES, wardroom_audit::TABLES]).unwrap());
        let clock = Arc::new(ManualClock::new(1_700_000_000_000));
        let trail = AuditLog::open(store.clone(), clock.clone(), AuditSettings::new("a.example")).await.unwrap();
        let retention = RetentionSettings {
            default: Terms { max_ms: Some(10 * DAY_MS), min_ms: None },
            ..RetentionSettings::default()
        };
        let settings = Settings {
            server_name: owned_server_name!("a.example"),
            default_version: room_version_id!("12"),
            signing_key: SigningKey::from_seed([7; 32], "1").unwrap().into(),
            holds: Default::default(),
            retention,
        };
        let rooms = Rooms::new(store.clone(), clock.clone(), Arc::new(StandardGate), trail.clone(), settings);
        let world = World { store, rooms, clock };
        let alice = world.person(user_id!("@alice:a.example")).await;
        let room = world.rooms.create(alice.actor(), new_room("12", Preset::PublicChat)).await.unwrap();
        let ward = Ward { world, alice, room };
        ward.say("one").await;
        ward.say("two").await;
        for _ in 0..2 {
            ward.pass(20 * DAY_MS);
            ward.purge().await;
        }
        let entries = trail.entries(0, 1_000).await.unwrap();
        let counts = |act: Act| -> Vec<u64> {
            let of_act = entries.iter().filter(|entry| entry.record.act == act);
            let about = of_act.filter(|entry| entry.record.on.room.as_deref() == Some(ward.room.as_str()));
            about.filter_map(|entry| entry.record.on.count).collect()
        };
        assert_eq!(counts(Act::RetentionRedact), [2]);
        assert_eq!(counts(Act::RetentionShred), [1], "of one day");
        assert_eq!(counts(Act::RetentionPurge), [1], "the end of the graph stays");
    });
}
