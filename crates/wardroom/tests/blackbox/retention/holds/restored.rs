//! Holds are in force after a restore of a backup from before them, and nothing that they cover is deleted.

use std::{fs, time::Duration};

use wardroom_testkit::{Actor, Server, User, json, run, wait_until};

use super::{bodies, covered, hold, holds, release_by};
use crate::{SOON, admin::admin_of, audit::records, retention::config, server_with};

const LIMIT: Duration = Duration::from_secs(120);
const EVIDENCE: [&str; 3] = ["evidence 1", "evidence 2", "evidence 3"];

/// Runs a command of the binary to its end, and gives what it says.
#[track_caller]
fn wardroom(server: &Server, args: &[&str]) -> String {
    let mut command = server.command(args);
    command.arg("--config").arg(server.config_path());
    run(command, LIMIT).ok().to_owned()
}

fn lose(server: &Server) {
    for part in ["store", "keys", "media"] {
        fs::remove_dir_all(server.data_dir().join(part)).unwrap();
    }
}

/// The ids of the holds in this state.
fn listed(admin: &User, state: &str) -> Vec<String> {
    let listed = admin.get(holds().query("state", state)).ok();
    listed["holds"].as_array().unwrap().iter().map(|hold| hold["id"].as_str().unwrap().to_owned()).collect()
}

/// How many records of an act say that a restore brought it back.
fn restored(admin: &User, act: &str) -> usize {
    records(admin, &[("act", act)]).iter().filter(|record| record["on"]["detail"] == "restored").count()
}

#[test]
fn a_hold_that_was_set_after_a_backup_is_in_force_when_it_is_restored() {
    let mut server = server_with(config());
    let (admin, other) = (admin_of(&server), admin_of(&server));
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    let room = alice.create_public_room(&[&bob]);
    for said in EVIDENCE {
        bob.say(&room, said);
        alice.say(&room, "talk");
    }
    server.stop();
    wardroom(&server, &["backup", "create", "before", "--keys", "old-keys"]);
    server.start_again();
    let (id, ended) = (hold(&admin, &json!({ "user_id": bob.id })), hold(&admin, &json!({ "room_id": room })));
    release_by([&admin, &other], &ended);
    server.stop();
    wardroom(&server, &["backup", "create", "after", "--keys", "new-keys"]);
    let journals = server.dir().join("journals");
    fs::create_dir(&journals).unwrap();
    for file in ["shred.journal", "kept.journal"] {
        fs::copy(server.data_dir().join("keys").join(file), journals.join(file)).unwrap();
    }
    // With the newest keys, and with the older ones and the newest journals.
    for from in [&["--keys", "new-keys"][..], &["--keys", "old-keys", "--journal", "journals/shred.journal"]] {
        lose(&server);
        let said = wardroom(&server, &[&["restore", "--data", "before"], from].concat());
        assert!(said.contains("2 legal holds"), "{said}");
        assert!(wardroom(&server, &["fsck"]).contains("2 legal holds were checked, of which 1 are in force"));
        server.start_again();
        assert_eq!((listed(&admin, "in_force"), listed(&admin, "released")), (vec![id.clone()], vec![ended.clone()]));
        assert_eq!((restored(&admin, "hold.set"), restored(&admin, "hold.release")), (2, 1));
        alice.set_state(&room, "m.room.retention", "", json!({ "max_lifetime": 1 }));
        wait_until("the purge of what is not held", SOON, || {
            let found = records(&admin, &[("act", "retention.redact"), ("room_id", &room)]);
            let purged: u64 = found.iter().filter_map(|record| record["on"]["count"].as_u64()).sum();
            (purged == EVIDENCE.len() as u64).then_some(())
        });
        assert_eq!(bodies(&covered(&admin, &id)), EVIDENCE);
        server.stop();
    }
    // Released there, it is released.
    server.start_again();
    release_by([&admin, &other], &id);
    wait_until("the purge of what was held", SOON, || {
        let found = records(&admin, &[("act", "retention.redact"), ("room_id", &room)]);
        let purged: u64 = found.iter().filter_map(|record| record["on"]["count"].as_u64()).sum();
        (purged == 2 * EVIDENCE.len() as u64).then_some(())
    });
}
