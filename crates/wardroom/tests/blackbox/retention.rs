//! How long messages are kept (MSC1763). What is old comes from another server, which says when it was sent.

mod crash;
mod edges;
mod ends;
mod ends_layers;
mod files;
mod holds;
mod notices;
mod reading;
mod saying;
mod ti_messenger;

use wardroom_testkit::{Actor, Config, Peer, User, Value, json, peer::now_ms, v3};

use crate::federation::sites::Site;

/// In milliseconds.
const MINUTE: u64 = 60 * 1_000;
const HOUR: u64 = 60 * MINUTE;

/// A server on which rooms may say what they like, and that looks every second for what is over.
fn config() -> Config {
    Config::default()
        .set("retention.max_lifetime_seconds", "0")
        .set("retention.max_lifetime_limits_seconds", "[0, 0]")
        .set("retention.purge_every_seconds", "1")
}

/// A room of Alice's that Bob of another server is in, who can say things in the past.
struct Ward {
    site: Site,
    alice: User,
    peer: Peer,
    bob: String,
    room: String,
}

impl Ward {
    #[track_caller]
    fn new(config: Config) -> Self {
        let site = Site::new(config.federating_as("127.0.0.1"), None);
        let (alice, peer) = (site.user("alice"), Peer::start());
        let room = alice.create_room(json!({ "preset": "public_chat", "room_version": "11" }));
        let bob = peer.user("bob");
        peer.join(&site.server, &room, &bob);
        Self { site, alice, peer, bob, room }
    }

    /// Bob sends a message that says it is so old. Gives its id.
    #[track_caller]
    fn sent_before(&self, ago_ms: u64, content: &Value) -> String {
        self.sent_at(now_ms() - ago_ms, "m.room.message", content)
    }

    /// Bob sends something that says it is of this time. Gives its id.
    #[track_caller]
    fn sent_at(&self, time_ms: u64, kind: &str, content: &Value) -> String {
        let event = self.peer.room(&self.room, |room| {
            let mut event = room.draft(&self.bob, kind, None, content);
            event["origin_server_ts"] = json!(time_ms);
            self.peer.key().sign_event(self.peer.name(), &mut event, &room.version);
            room.append(&event);
            event
        });
        let id = self.peer.id_of(&self.room, &event);
        let answer = self.peer.send(&self.site.server, &[event], &[]).ok();
        assert_eq!(answer["pdus"][&id], json!({}), "the event was not taken: {answer}");
        id
    }

    #[track_caller]
    fn set_policy(&self, content: Value) {
        self.alice.set_state(&self.room, "m.room.retention", "", content);
    }

    /// The messages that Alice reads, oldest first.
    #[track_caller]
    fn messages(&self) -> Vec<Value> {
        let target = v3(&["rooms", &self.room, "messages"]).query("dir", "f").query("limit", "1000");
        let chunk = self.alice.get(target).ok()["chunk"].as_array().unwrap().clone();
        chunk.into_iter().filter(|event| event["type"] == "m.room.message").collect()
    }
}
