//! Clocks: those of senders, and moments at which a purge is in the way.

use std::thread;

use wardroom_testkit::{Actor, bodies, json, raw, run, text, v1, v3};

use super::{
    super::{HOUR, now_ms},
    MINUTE, Ward, YEAR, at_last, at_once, config, counted, purged, unhurried,
};
use crate::{SOON, admin::admin_of, server_with};

/// Noon on the first of January 2100, in milliseconds since 1970.
const YEAR_2100: u64 = 4_102_488_000_000;

#[test]
fn a_message_of_1970_is_over_when_it_comes_and_one_of_tomorrow_ends_as_if_it_were_of_today() {
    let ward = Ward::new(config());
    let zero = ward.sent_at(0, "m.room.message", &text("of 1970"));
    let tomorrow = ward.sent_at(now_ms() + 12 * HOUR, "m.room.message", &text("of tomorrow"));
    ward.end_early();
    assert_eq!(bodies(&ward.messages()), ["of tomorrow"]);
    ward.purged(1);
    ward.alice.get(v3(&["rooms", &ward.room, "event", &zero])).refused(404, "M_NOT_FOUND");
    // It came just now: an end that is nearer than what its sender says is reached all the same.
    let admin = admin_of(&ward.site.server);
    at_once(&admin, &ward.room);
    assert!(ward.messages().is_empty());
    purged(&admin, &ward.room, 2);
    at_last(&admin, &ward.room);
    ward.alice.get(v3(&["rooms", &ward.room, "event", &tomorrow])).refused(404, "M_NOT_FOUND");
    for time in [0, now_ms() + 12 * HOUR, YEAR_2100] {
        for dir in ["f", "b"] {
            let near = v1(&["rooms", &ward.room, "timestamp_to_event"]).query("ts", &time.to_string());
            let answer = ward.alice.get(near.query("dir", dir));
            let found = answer.json()["event_id"].clone();
            assert!(found != *zero && found != *tomorrow, "{time} {dir}");
        }
    }
    ward.alice.say(&ward.room, "now");
    assert_eq!(bodies(&ward.messages()), ["now"]);
}

/// No key of a server is good for so long (server-server API, "Retrieving server keys": seven days at most), so nobody can
/// prove to have said something then.
#[test]
fn a_message_of_2100_is_not_taken() {
    let ward = Ward::new(config());
    for time in [YEAR_2100, (1 << 53) - 1, now_ms() + 8 * 24 * HOUR] {
        let event = ward.peer.room(&ward.room, |room| {
            let mut event = room.draft(&ward.bob, "m.room.message", None, &text("of another age"));
            event["origin_server_ts"] = json!(time);
            ward.peer.key().sign_event(ward.peer.name(), &mut event, &room.version);
            event
        });
        let id = ward.peer.id_of(&ward.room, &event);
        let answer = ward.peer.send(&ward.site.server, &[event], &[]).ok();
        assert!(answer["pdus"][&id]["error"].is_string(), "{time}: {answer}");
        ward.alice.get(v3(&["rooms", &ward.room, "event", &id])).refused(404, "M_NOT_FOUND");
    }
    ward.peer.say(&ward.site.server, &ward.room, &ward.bob, "now");
    assert_eq!(bodies(&ward.messages()), ["now"]);
}

/// Which of two times counts: the earlier one for going, the time of arrival for staying.
#[test]
fn what_must_be_kept_is_kept_from_when_it_came() {
    let ward = Ward::new(unhurried().set("retention.min_lifetime_limits_seconds", "[3600, 0]"));
    for ago in [10 * YEAR, HOUR, 0] {
        ward.sent_before(ago, &text(&format!("{ago} ago")));
    }
    ward.sent_at(now_ms() + 12 * HOUR, "m.room.message", &text("of tomorrow"));
    ward.set_policy(json!({ "max_lifetime": MINUTE }));
    assert_eq!(ward.messages().len(), 4, "no sender's clock makes a message go before its time here");
}

#[test]
fn a_backup_that_is_made_while_the_purge_works_is_whole() {
    const MESSAGES: usize = 400;
    let dirs = config().set("backup.dir", "\"online\"").set("backup.keys_dir", "\"backup-keys\"");
    let mut server = server_with(dirs);
    let (admin, alice) = (admin_of(&server), server.user("alice"));
    let room = alice.create_room(json!({ "preset": "private_chat", "name": "Ward 7" }));
    for number in 0..MESSAGES {
        alice.say(&room, &format!("zqover{number}"));
    }
    at_once(&admin, &room);
    let backup = || admin.post(raw("/_wardroom/admin/v1/backup"), json!({})).ok();
    let made: Vec<_> = thread::scope(|scope| {
        let backups = scope.spawn(|| {
            let mut made = Vec::new();
            while made.is_empty() || (counted(&admin, "retention.redact", &room) < MESSAGES as u64 && made.len() < 3) {
                made.push(backup());
            }
            made
        });
        purged(&admin, &room, MESSAGES as u64);
        backups.join().unwrap()
    });
    let first = made[0]["directory"].as_str().unwrap().to_owned();
    server.stop();
    for part in ["store", "keys", "media"] {
        std::fs::remove_dir_all(server.data_dir().join(part)).unwrap();
    }
    let mut restore = server.command(&["restore", "--keys", "backup-keys", "--data", &first, "--config"]);
    restore.arg(server.config_path());
    run(restore, 6 * SOON).ok();
    let mut fsck = server.command(&["fsck", "--config"]);
    fsck.arg(server.config_path());
    run(fsck, 6 * SOON).ok();
    server.start_again();
    assert!(!alice.initial_sync().to_string().contains("zqover"), "hidden or purged, as at that moment");
    purged(&admin, &room, MESSAGES as u64);
    at_last(&admin, &room);
    alice.say(&room, "after the restore");
    assert_eq!(bodies(&alice.history(&room)), ["after the restore"]);
}
