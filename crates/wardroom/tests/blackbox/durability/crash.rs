//! The crash test itself.

use std::{
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use wardroom_testkit::{Config, Follower, Server, User, Value, event_ids, joined, json, run, timeline};

use super::writers::{Kind, Wanderer, Writer};
use crate::server_with;

/// How often the server is killed.
const KILLS: u64 = 50;
const ROOMS: usize = 3;
const MESSAGE_WRITERS_PER_ROOM: usize = 2;
/// A kill comes after this many acknowledgements at most.
const ACKNOWLEDGED_MAX: u64 = 90;
/// No acknowledgement for this long means that the server hangs.
const STALLED: Duration = Duration::from_secs(30);
const FSCK_LIMIT: Duration = Duration::from_secs(120);

/// A room, who watches it, and the newest event that was checked.
struct Room {
    id: String,
    checked: String,
    history: Vec<Value>,
}

struct Ward {
    server: Server,
    watcher: User,
    rooms: Vec<Room>,
    writers: Vec<Writer>,
    wanderer: Wanderer,
}

impl Ward {
    fn new() -> Self {
        let server = server_with(Config::default());
        let watcher = server.user("watcher");
        let (mut rooms, mut writers) = (Vec::new(), Vec::new());
        for _ in 0..ROOMS {
            let levels = json!({ "events": { "example.bed": 0 } });
            let body = json!({ "preset": "public_chat", "power_level_content_override": levels });
            let id = watcher.create_room(body);
            for n in 0..=MESSAGE_WRITERS_PER_ROOM {
                let user = server.user("writer");
                user.join(&id);
                let kind = if n == 0 { Kind::State } else { Kind::Messages };
                writers.push(Writer::new(user, &id, kind));
            }
            let history = watcher.history(&id);
            let checked = event_ids(&history).pop().unwrap();
            rooms.push(Room { id, checked, history });
        }
        let wanderer = Wanderer::new(server.user("wanderer"), &rooms[0].id);
        Self { server, watcher, rooms, writers, wanderer }
    }

    /// Lets everybody write and kills the server after so many acknowledgements.
    fn write_and_kill(&mut self, acknowledgements: u64, spin: Duration) {
        let (acknowledged, heard) = mpsc::channel();
        thread::scope(|scope| {
            for writer in &mut self.writers {
                let acknowledged = acknowledged.clone();
                scope.spawn(move || writer.write(&acknowledged));
            }
            let wanderer = &mut self.wanderer;
            scope.spawn(move || wanderer.wander(&acknowledged));
            for _ in 0..acknowledgements {
                heard.recv_timeout(STALLED).expect("the server acknowledges writes");
            }
            // Not always at the moment of an acknowledgement: somewhere in the work that follows it.
            let until = Instant::now() + spin;
            while Instant::now() < until {
                std::hint::spin_loop();
            }
            self.server.kill9();
        });
    }

    /// After the restart: everything acknowledged is there, once, in order, wherever one looks.
    fn check(&mut self, since: &str, seed: u64) {
        for writer in &mut self.writers {
            writer.retry();
        }
        self.wanderer.check(&self.watcher, seed);
        let filter = json!({ "room": { "timeline": { "limit": 50 } } }).to_string();
        let sync = self.watcher.try_sync(Some(since), Duration::ZERO, Some(&filter)).ok();
        for room in &mut self.rooms {
            let new = self.watcher.history_after(&room.id, &room.checked);
            for writer in self.writers.iter_mut().filter(|writer| writer.room == room.id) {
                writer.check(&new, seed);
            }
            let (synced, ids) = (event_ids(timeline(&sync, &room.id)), event_ids(&new));
            assert!(ids.ends_with(&synced), "seed {seed}: sync and /messages differ: {synced:?} {ids:?}");
            let limited = joined(&sync, &room.id)["timeline"]["limited"] == true;
            assert!(limited || synced.len() == ids.len(), "seed {seed}: sync lost events without saying so");
            if let Some(last) = ids.last() {
                room.checked.clone_from(last);
            }
            room.history.extend(new);
        }
        for writer in &self.writers {
            writer.check_state(&self.rooms.iter().find(|room| room.id == writer.room).unwrap().history);
        }
    }

    #[track_caller]
    fn fsck(&self) {
        let mut command = self.server.command(&["fsck", "--config"]);
        command.arg(self.server.config_path());
        run(command, FSCK_LIMIT).ok();
    }
}

#[test]
fn nothing_acknowledged_is_lost_by_kills_in_the_middle_of_writes() {
    let mut ward = Ward::new();
    for kill in 0..KILLS {
        // A fixed series of seeds: a failure names its own, and the next run kills at the same counts.
        let seed = kill.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x5745_4152;
        let since = Follower::start(&ward.watcher).token().to_owned();
        ward.write_and_kill(1 + seed % ACKNOWLEDGED_MAX, Duration::from_micros(seed >> 20 & 0xfff));
        if kill == KILLS - 1 {
            ward.fsck();
        }
        ward.server.start_again();
        ward.check(&since, seed);
    }
    // The whole history once more, from the beginning and in both directions.
    for room in &ward.rooms {
        let expected = event_ids(&room.history);
        assert_eq!(event_ids(&ward.watcher.history(&room.id)), expected);
        assert_eq!(event_ids(&ward.watcher.walk(&room.id, "f", |_| false)), expected);
    }
    assert!(ward.server.stop().success());
    ward.fsck();
}

#[test]
fn a_clean_stop_and_start_changes_nothing() {
    let mut server = server_with(Config::default());
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room = alice.create_room(json!({ "preset": "private_chat", "name": "Ward 7", "invite": [bob.id] }));
    bob.join(&room);
    bob.say(&room, "before the restart");
    let before = (alice.history(&room), alice.initial_sync()["rooms"].clone(), bob.members(&room, "join"));
    for _ in 0..3 {
        server.restart();
        let after = (alice.history(&room), alice.initial_sync()["rooms"].clone(), bob.members(&room, "join"));
        assert_eq!(without_age(before.0.clone()), without_age(after.0));
        assert_eq!(before.1["join"][&room]["summary"], after.1["join"][&room]["summary"]);
        assert_eq!(before.2, after.2);
    }
}

/// Events without what grows by itself.
fn without_age(mut events: Vec<Value>) -> Vec<Value> {
    for event in &mut events {
        if let Some(unsigned) = event["unsigned"].as_object_mut() {
            unsigned.remove("age");
        }
    }
    events
}
