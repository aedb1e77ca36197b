//! Holds survive a kill at any moment, and so does what they cover.

use std::{thread, time::Duration};

use wardroom_testkit::{Actor, json};

use super::{bodies, covered, hold, holds, release};
use crate::{
    SOON,
    admin::{admin_of, own},
    retention::config,
    server_with,
};

/// Messages of each of two users.
const MESSAGES: usize = 250;
/// Kills.
const KILLS: u64 = 5;

#[test]
fn what_is_held_survives_kills_in_the_midst_of_purges() {
    let mut server = server_with(config().set("retention.stubs_seconds", "0"));
    let (admin, other) = (admin_of(&server), admin_of(&server));
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room = alice.create_public_room(&[&bob]);
    for number in 0..MESSAGES {
        alice.say(&room, &format!("talk {number}"));
        bob.say(&room, &format!("evidence {number}"));
    }
    let id = hold(&admin, &json!({ "user_id": bob.id }));
    // Killed right after the answer, the hold is there.
    server.kill9();
    server.start_again();
    alice.set_state(&room, "m.room.retention", "", json!({ "max_lifetime": 1 }));
    for kill in 0..KILLS {
        // Any moment will do.
        thread::sleep(Duration::from_millis(950 + 60 * kill));
        server.kill9();
        let mut fsck = server.command(&["fsck", "--config"]);
        fsck.arg(server.config_path());
        wardroom_testkit::run(fsck, SOON).ok();
        server.start_again();
        assert_eq!(covered(&admin, &id).len(), MESSAGES, "after kill {kill}");
    }
    release(&admin, &id).ok();
    server.kill9();
    server.start_again();
    assert_eq!(admin.get(own(&["holds", &id])).ok()["release_requested_by"], admin.id);
    assert!(bodies(&covered(&admin, &id)).contains(&"evidence 0"));
    release(&other, &id).ok();
    server.kill9();
    server.start_again();
    assert_eq!(admin.get(holds()).ok()["holds"], json!([]));
    let room_hold = hold(&admin, &json!({ "room_id": room }));
    assert!(covered(&admin, &room_hold).len() <= MESSAGES);
}
