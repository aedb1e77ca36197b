//! A purge that is killed at any moment is gone on with: nothing of it is lost, and nothing comes back.

use std::{thread, time::Duration};

use wardroom_testkit::{json, unique, wait_until};

use super::config;
use crate::{SOON, admin::admin_of, audit::records, server_with};

/// Messages, of which several pages are purged.
const MESSAGES: usize = 600;
/// Kills.
const KILLS: u64 = 6;

#[test]
fn a_purge_that_is_killed_is_gone_on_with() {
    let mut server = server_with(config().set("retention.stubs_seconds", "0"));
    let (alice, admin) = (server.user("alice"), admin_of(&server));
    let room = alice.create_room(json!({ "preset": "private_chat", "name": "Ward 7" }));
    for number in 0..MESSAGES {
        alice.say(&room, &format!("number {number}"));
    }
    alice.set_state(&room, "m.room.retention", "", json!({ "max_lifetime": 1 }));
    for kill in 0..KILLS {
        // Any moment will do: some are before the purge, some in its midst, some behind it.
        thread::sleep(Duration::from_millis(950 + 40 * kill));
        server.kill9();
        let mut fsck = server.command(&["fsck", "--config"]);
        fsck.arg(server.config_path());
        wardroom_testkit::run(fsck, SOON).ok();
        server.start_again();
        assert!(!alice.initial_sync().to_string().contains("number "), "after kill {kill}");
    }
    let purged = |act: &str| -> u64 {
        let found = records(&admin, &[("act", act), ("room_id", &room)]);
        found.iter().filter_map(|record| record["on"]["count"].as_u64()).sum()
    };
    wait_until("the end of the purge", SOON, || (purged("retention.redact") == MESSAGES as u64).then_some(()));
    // The newest message is one that the policy follows, and the policy stays.
    wait_until("the end of what was left", SOON, || (purged("retention.purge") >= MESSAGES as u64 - 1).then_some(()));
    assert_eq!(alice.state(&room, "m.room.name", ""), json!({ "name": "Ward 7" }));
    alice.set_state(&room, "m.room.retention", "", json!({}));
    let sent = alice.say(&room, &unique("and on"));
    assert!(alice.initial_sync().to_string().contains(&sent));
}
