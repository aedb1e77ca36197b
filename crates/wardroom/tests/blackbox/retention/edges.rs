//! What ends, and all that hangs on it: one test for each way in which something could stay, come back or break.

mod graph;
mod policies;
mod queues;
mod reading;
mod relations;
mod threads;
mod times;
mod versions;

use wardroom_testkit::{Actor, Config, Peer, User, Value, json, wait_until};

use super::{MINUTE, Ward, config};
use crate::{
    SOON,
    admin::{admin_of, own},
    audit::records,
};

/// In milliseconds.
const YEAR: u64 = 365 * 24 * 60 * MINUTE;

/// As [`config`], where nothing is purged during a test: what is over is hidden alone.
fn unhurried() -> Config {
    config().set("retention.purge_every_seconds", "86400")
}

/// As [`config`], and what is left of a purged message goes at once.
fn thorough() -> Config {
    config().set("retention.stubs_seconds", "0")
}

/// Waits until so many events of a room are purged.
#[track_caller]
fn purged(admin: &User, room: &str, count: u64) {
    wait_until("the purge", SOON, || (counted(admin, "retention.redact", room) == count).then_some(()));
}

/// Waits until of so many of them nothing is left.
#[track_caller]
fn dropped(admin: &User, room: &str, count: u64) {
    wait_until("the end of what was left", SOON, || (counted(admin, "retention.purge", room) >= count).then_some(()));
}

#[track_caller]
fn counted(admin: &User, act: &str, room: &str) -> u64 {
    let found = records(admin, &[("act", act), ("room_id", room)]);
    found.iter().filter_map(|record| record["on"]["count"].as_u64()).sum()
}

/// Everything in a room ends at once, whatever the room says, until [`at_last`].
#[track_caller]
fn at_once(admin: &User, room: &str) {
    admin.put(own(&["rooms", room, "retention"]), json!({ "max_lifetime": 0 })).ok();
}

/// Nothing that is sent from now on ends during a test.
#[track_caller]
fn at_last(admin: &User, room: &str) {
    admin.put(own(&["rooms", room, "retention"]), json!({ "max_lifetime": YEAR })).ok();
}

impl Ward {
    /// An administrator of the server, who does not wait for anything but the purge of so many events.
    #[track_caller]
    fn purged(&self, count: u64) {
        purged(&admin_of(&self.site.server), &self.room, count);
    }

    /// Bob may set policies from now on.
    #[track_caller]
    fn trust_bob(&self) {
        self.alice.change_power_levels(&self.room, |levels| levels["users"][&self.bob] = json!(50));
        let has_power = |pdu: &Value| pdu["content"]["users"][&self.bob] == 50;
        self.peer.until_pdu("the power that Bob has", SOON, has_power);
    }

    /// Messages end half an hour after they were sent.
    #[track_caller]
    fn end_early(&self) {
        self.set_policy(json!({ "max_lifetime": 30 * MINUTE }));
    }
}

/// The ends of a room's graph, as an administrator sees them.
#[track_caller]
fn ends(admin: &User, room: &str) -> Vec<String> {
    let graph = admin.get(own(&["rooms", room, "graph"])).ok();
    let ends = graph["extremities"].as_array().unwrap();
    ends.iter().map(|end| end.as_str().unwrap().to_owned()).collect()
}

/// How often a server was asked for events that another one might lack.
fn fetches(peer: &Peer, room: &str) -> usize {
    ["/backfill/", "/get_missing_events/", "/federation/v1/event/"]
        .iter()
        .map(|part| crate::federation::sites::asked_about(peer, part, room))
        .sum()
}
