//! What is left when events end, over the in-memory store.

use std::time::Duration;

use ruma::{OwnedRoomId, RoomId, owned_server_name, user_id};
use serde_json::{Value, json, value::to_raw_value};
use wardroom_store::{Catalogue, Scan, Store};

use super::{Ending, Left};
use crate::{
    MediaUse, Preset, RetentionSettings, TABLES, Terms,
    naming::{NAMED, NAMED_IN_ROOM},
    room_media::MEDIA_ROOMS,
    tests::{Person, World, new_room, run},
};

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

struct Ward {
    world: World,
    alice: Person,
}

impl Ward {
    /// Messages are kept for ten days.
    async fn new() -> Self {
        let settings = RetentionSettings {
            default: Terms { max_ms: Some(10 * DAY_MS), min_ms: None },
            stubs_kept: Duration::from_secs(2),
            redaction_hold: Duration::ZERO,
            ..RetentionSettings::default()
        };
        let store = Store::in_memory(Catalogue::new(&[TABLES]).unwrap());
        let world = World::keeping(owned_server_name!("a.example"), store, settings);
        let alice = world.person(user_id!("@alice:a.example")).await;
        Self { world, alice }
    }

    async fn room(&self) -> OwnedRoomId {
        self.world.rooms.create(self.alice.actor(), new_room("11", Preset::PublicChat)).await.unwrap()
    }

    async fn send(&self, room: &RoomId, kind: &str, content: Value) -> ruma::OwnedEventId {
        let content = to_raw_value(&content).unwrap();
        self.world.rooms.send(self.alice.actor(), room, kind, content, None).await.unwrap()
    }

    async fn file(&self, room: &RoomId, uri: &str) -> ruma::OwnedEventId {
        self.send(room, "m.room.message", json!({ "msgtype": "m.file", "body": "x", "url": uri })).await
    }

    async fn encrypted(&self, room: &RoomId, session: &str) {
        let content = json!({ "algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "x", "session_id": session });
        self.send(room, "m.room.encrypted", content).await;
    }

    fn now(&self) -> u64 {
        self.world.rooms.engine.clock.now_ms()
    }

    async fn purge_after(&self, ms: u64) {
        self.world.clock.advance_ms(ms);
        assert_eq!(self.world.rooms.purge_expired(self.now()).await.unwrap().failures, 0);
    }

    async fn endings(&self) -> Vec<(Left, Ending)> {
        let mut found = Vec::new();
        for left in self.world.rooms.leavings(None).await.unwrap() {
            let ending = self.world.rooms.ending_of(&left, self.now()).await.unwrap();
            found.push((left, ending));
        }
        found
    }

    async fn rows(&self) -> [usize; 3] {
        let view = self.world.store.latest();
        [
            view.scan_keys(&NAMED, Scan::all()).await.unwrap().len(),
            view.scan_keys(&NAMED_IN_ROOM, Scan::all()).await.unwrap().len(),
            view.scan_keys(&MEDIA_ROOMS, Scan::all()).await.unwrap().len(),
        ]
    }

    async fn uses(&self, uri: &str) -> MediaUse {
        self.world.rooms.media_use(uri).await.unwrap()
    }
}

const FILE: &str = "mxc://a.example/file";

#[test]
fn a_file_is_left_by_the_last_message_of_any_room() {
    run(async {
        let ward = Ward::new().await;
        let (first, second) = (ward.room().await, ward.room().await);
        ward.file(&first, FILE).await;
        ward.world.clock.advance_ms(5 * DAY_MS);
        ward.file(&second, FILE).await;
        assert_eq!((ward.rows().await, ward.uses(FILE).await), ([2, 2, 2], MediaUse::Messages));
        ward.purge_after(5 * DAY_MS).await;
        let left = ward.endings().await;
        assert_eq!(left.iter().map(|(_, ending)| ending.clone()).collect::<Vec<_>>(), [Ending::Nothing]);
        ward.world.rooms.settle(&left[0].0, false).await.unwrap();
        assert_eq!(ward.rows().await, [1, 1, 1], "the first room names it no more");
        ward.purge_after(5 * DAY_MS).await;
        // What was left again after somebody looked is not settled by them.
        ward.world.rooms.settle(&left[0].0, false).await.unwrap();
        let left = ward.endings().await;
        assert_eq!(left.iter().map(|(_, ending)| ending.clone()).collect::<Vec<_>>(), [Ending::Media(FILE.to_owned())]);
        assert_eq!(ward.rows().await, [0, 0, 1], "who may see it is known as long as it is there");
        ward.world.rooms.settle(&left[0].0, true).await.unwrap();
        assert_eq!(ward.rows().await, [0, 0, 0]);
        assert!(ward.endings().await.is_empty());
    });
}

#[test]
fn state_keeps_a_file_and_a_redaction_lets_it_go() {
    run(async {
        let ward = Ward::new().await;
        let room = ward.room().await;
        let avatar = to_raw_value(&json!({ "url": FILE })).unwrap();
        let rooms = &ward.world.rooms;
        let avatar = rooms.set_state(ward.alice.actor(), &room, &"m.room.avatar".into(), "", avatar).await.unwrap();
        let message = ward.file(&room, FILE).await;
        assert_eq!(ward.uses(FILE).await, MediaUse::State);
        rooms.redact(ward.alice.actor(), &room, &message, None, None).await.unwrap();
        ward.purge_after(11 * DAY_MS).await;
        let left = ward.endings().await;
        assert!(left.iter().all(|(_, ending)| *ending == Ending::Nothing) && left.len() == 1);
        rooms.redact(ward.alice.actor(), &room, &avatar, None, None).await.unwrap();
        assert_eq!(ward.uses(FILE).await, MediaUse::Nothing);
    });
}

#[test]
fn a_session_is_left_by_its_last_message_when_nobody_uses_it_any_more() {
    run(async {
        let ward = Ward::new().await;
        let (room, other) = (ward.room().await, ward.room().await);
        ward.encrypted(&room, "one").await;
        ward.encrypted(&other, "one").await;
        ward.world.clock.advance_ms(DAY_MS);
        ward.encrypted(&room, "one").await;
        ward.encrypted(&room, "two").await;
        ward.purge_after(9 * DAY_MS).await;
        let endings: Vec<_> = ward.endings().await.into_iter().map(|(_, ending)| ending).collect();
        let over = |room: &OwnedRoomId, session: &str| Ending::Session {
            room: room.clone(),
            session: Some(session.to_owned()),
            users: vec![ward.alice.actor().nid],
        };
        assert!(endings.contains(&over(&other, "one")) && endings.contains(&Ending::Nothing), "{endings:?}");
        assert_eq!(endings.len(), 2);
        // Where messages last for less than clients use a session, its key waits for that.
        let short = ward.room().await;
        let policy = to_raw_value(&json!({ "max_lifetime": DAY_MS })).unwrap();
        ward.world.rooms.set_state(ward.alice.actor(), &short, &"m.room.retention".into(), "", policy).await.unwrap();
        ward.encrypted(&short, "three").await;
        ward.purge_after(DAY_MS).await;
        let of_short = async || {
            let endings = ward.endings().await;
            endings.iter().any(|(_, ending)| *ending == over(&short, "three"))
        };
        assert!(ward.endings().await.iter().any(|(_, ending)| *ending == Ending::Later) && !of_short().await);
        ward.world.clock.advance_ms(6 * DAY_MS);
        assert!(of_short().await);
        assert_eq!(ward.world.rooms.longest_lifetime().await.unwrap(), Some(10 * DAY_MS));
    });
}
