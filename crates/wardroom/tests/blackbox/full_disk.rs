//! A full disk: writes are refused with 500 `M_UNKNOWN`, and so is reading what cannot be recorded; space is all it takes to
//! recover.

use std::{fs::File, io::Write, path::PathBuf, process::Command, time::Duration};

use wardroom_testkit::{Actor, Config, Server, User, bodies, run, skip_loudly, text, unique, wait_until};

use crate::{
    admin::{admin_of, own},
    audit::records,
    server_with,
};

const LIMIT: Duration = Duration::from_secs(60);
/// Writes until the first refusal: more than any buffer that was allocated before the disk was full can take.
const WRITES_MAX: usize = 3_000;
/// The server's data directory, relative to its own, is a file system of this size.
const MOUNT: &str = r#"mkdir -p data && mount -t tmpfs -o size=512m tmpfs data && exec "$@""#;

/// Whether this machine lets a test mount a file system of its own.
fn can_mount() -> bool {
    let dir = std::env::temp_dir().join(unique("wardroom-mount"));
    std::fs::create_dir(&dir).unwrap();
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "mount", "-t", "tmpfs", "tmpfs"]).arg(&dir);
    let known = Command::new("unshare").arg("--version").output().is_ok();
    let can = known && run(command, LIMIT).code == Some(0);
    std::fs::remove_dir(&dir).unwrap();
    can
}

/// Fills the server's file system to the last byte, and gives the file that does it.
fn fill(server: &Server) -> PathBuf {
    // The mount is visible only to the server; /proc leads into its view of the file system.
    let inside = server.data_dir().strip_prefix("/").unwrap().to_owned();
    let path = PathBuf::from(format!("/proc/{}/root", server.pid())).join(inside).join("filler");
    let mut file = File::create(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    for block in [vec![0_u8; 1 << 20], vec![0_u8; 1 << 12], vec![0_u8; 1]] {
        while file.write_all(&block).is_ok() {}
    }
    path
}

fn write(user: &User, room: &str) -> wardroom_testkit::Reply {
    user.try_send(room, "m.room.message", &unique("full"), text(&"x".repeat(20_000)))
}

#[test]
fn a_full_disk_refuses_what_it_cannot_keep_and_recovers() {
    if !can_mount() {
        skip_loudly("full_disk", "this machine does not let a test mount a tmpfs (unshare --map-root-user --mount)");
        return;
    }
    let launcher = ["unshare", "--map-root-user", "--mount", "sh", "-c", MOUNT, "sh"];
    let server = server_with(Config::default().launched_by(&launcher));
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room = alice.create_public_room(&[&bob]);
    let mut acknowledged: Vec<String> = (0..10).map(|n| alice.say(&room, &format!("before {n}"))).collect();
    let pid = server.pid();
    bob.try_event(&room, &acknowledged[0]).ok();

    let filler = fill(&server);
    let refused = (0..WRITES_MAX)
        .find_map(|_| {
            let answer = write(&alice, &room);
            if answer.status == 200 {
                acknowledged.push(answer.ok()["event_id"].as_str().unwrap().to_owned());
                return None;
            }
            Some(answer)
        })
        .expect("a full disk refuses writes");
    refused.refused(500, "M_UNKNOWN");
    write(&bob, &room).refused(500, "M_UNKNOWN");
    alice.try_create_room(wardroom_testkit::json!({})).refused(500, "M_UNKNOWN");
    let log = server.log().to_lowercase();
    assert!(log.contains("disk full") || log.contains("disk is full"), "the log does not say that the disk is full");

    // What needs no record goes on. What is seen must be recorded, so nothing is seen that was not seen just now.
    bob.get(wardroom_testkit::v3(&["account", "whoami"])).ok();
    bob.try_event(&room, &acknowledged[0]).ok();
    bob.try_event(&room, &acknowledged[1]).refused(500, "M_UNKNOWN");
    bob.try_messages(&room, "b", None, "10").refused(500, "M_UNKNOWN");
    bob.try_sync(None, Duration::ZERO, None).refused(500, "M_UNKNOWN");

    std::fs::remove_file(filler).unwrap();
    let first = wait_until("writes work again", LIMIT, || {
        let answer = write(&alice, &room);
        (answer.status == 200).then(|| answer.ok()["event_id"].as_str().unwrap().to_owned())
    });
    acknowledged.push(first);
    acknowledged.push(alice.say(&room, "after"));
    assert_eq!(server.pid(), pid, "without a restart");
    let history = bob.history(&room);
    let ids = history.iter().filter(|event| event["type"] == "m.room.message");
    let ids: Vec<_> = ids.map(|event| event["event_id"].as_str().unwrap()).collect();
    assert_eq!(ids, acknowledged, "neither lost nor half-written");
    assert_eq!(bob.members(&room, "join").len(), 2);
    bob.initial_sync();
    assert_eq!(bodies(&history).last().map(String::as_str), Some("after"));
}

#[test]
fn with_continue_a_full_disk_lets_work_go_on_and_the_gap_is_told() {
    if !can_mount() {
        skip_loudly("full_disk", "this machine does not let a test mount a tmpfs (unshare --map-root-user --mount)");
        return;
    }
    let launcher = ["unshare", "--map-root-user", "--mount", "sh", "-c", MOUNT, "sh"];
    let server = server_with(Config::default().set("audit.on_failure", "\"continue\"").launched_by(&launcher));
    let (admin, alice, bob) = (admin_of(&server), server.user("alice"), server.user("bob"));
    let room = alice.create_public_room(&[&bob]);
    let said: Vec<String> = (0..5).map(|n| alice.say(&room, &format!("before {n}"))).collect();
    let filler = fill(&server);
    let refused = (0..WRITES_MAX).any(|_| write(&alice, &room).status != 200);
    assert!(refused, "a full disk refuses writes: they go with their record");
    // What only reads goes on.
    for event in &said {
        bob.try_event(&room, event).ok();
    }
    bob.try_messages(&room, "b", None, "10").ok();
    assert!(server.log().contains("an audit record could not be written"));
    std::fs::remove_file(filler).unwrap();
    // Who reads the trail numbers it first, which is a write.
    wait_until("writes work again", LIMIT, || (write(&alice, &room).status == 200).then_some(()));
    let gap = wait_until("the record of the gap", LIMIT, || records(&admin, &[("act", "audit.gap")]).pop());
    assert_eq!(gap["outcome"], 12, "{gap}");
    assert!(
        gap["on"]["count"].as_u64() >= Some(1) && gap["on"]["since"].as_u64() <= gap["on"]["until"].as_u64(),
        "{gap}"
    );
    wait_until("the alarm", LIMIT, || {
        let alarms = admin.get(own(&["alarms"])).ok();
        alarms["alarms"].as_array().unwrap().iter().any(|alarm| alarm["kind"] == "audit_incomplete").then_some(())
    });
    // Nothing else is amiss.
    let said = alice.say(&room, "after");
    bob.try_event(&room, &said).ok();
}

#[test]
fn reads_that_do_not_wait_are_refused_all_the_same_when_the_disk_is_full() {
    if !can_mount() {
        skip_loudly("full_disk", "this machine does not let a test mount a tmpfs (unshare --map-root-user --mount)");
        return;
    }
    let launcher = ["unshare", "--map-root-user", "--mount", "sh", "-c", MOUNT, "sh"];
    let server = server_with(Config::default().set("audit.reads_before_answers", "false").launched_by(&launcher));
    let (admin, alice, bob) = (admin_of(&server), server.user("alice"), server.user("bob"));
    let room = alice.create_public_room(&[&bob]);
    let said = alice.say(&room, "before");
    let filler = fill(&server);
    let refused = (0..WRITES_MAX).any(|_| write(&alice, &room).status != 200);
    assert!(refused, "a full disk refuses writes");
    // Only what is being answered when the disk fails goes without its record.
    let refused = wait_until("reads are refused", LIMIT, || {
        let answer = bob.try_event(&room, &said);
        (answer.status != 200).then_some(answer)
    });
    refused.refused(500, "M_UNKNOWN");
    bob.try_event(&room, &said).refused(500, "M_UNKNOWN");
    std::fs::remove_file(filler).unwrap();
    wait_until("reads work again", LIMIT, || (bob.try_event(&room, &said).status == 200).then_some(()));
    let gap = wait_until("the record of the gap", LIMIT, || records(&admin, &[("act", "audit.gap")]).pop());
    assert!(gap["on"]["count"].as_u64() >= Some(1), "{gap}");
}
