//! Disks that change what was written: it is found, and named (45 CFR 164.312(c)(1)).

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use wardroom_testkit::{Config, Ended, Server, json, run};

use super::backup::copy_dir;
use crate::server_with;

const LIMIT: Duration = Duration::from_secs(120);
/// Files whose bytes are flipped, one at a time.
const FILES: usize = 6;

fn fsck(server: &Server) -> Ended {
    let mut command = server.command(&["fsck", "--config"]);
    command.arg(server.config_path());
    run(command, LIMIT)
}

/// The tables of the store, the largest first.
fn tables(dir: &Path) -> Vec<PathBuf> {
    let mut found: Vec<(u64, PathBuf)> = fs::read_dir(dir)
        .unwrap()
        .map(Result::unwrap)
        .filter(|entry| entry.path().extension().is_some_and(|extension| extension == "sst"))
        .map(|entry| (entry.metadata().unwrap().len(), entry.path()))
        .collect();
    found.sort_unstable_by(|a, b| b.cmp(a));
    found.into_iter().map(|(_, path)| path).collect()
}

#[test]
fn a_byte_that_was_flipped_is_found() {
    let mut server = server_with(Config::default());
    let alice = server.user("alice");
    let room = alice.create_room(json!({ "name": "Ward 7" }));
    for number in 0..50 {
        alice.say(&room, &format!("number {number}"));
    }
    // A start makes tables of the log.
    server.restart();
    alice.say(&room, "and on");
    server.restart();
    server.stop();
    fsck(&server).ok();
    let (store, whole) = (server.data_dir().join("store"), server.dir().join("whole"));
    // Looking at a store changes its files.
    copy_dir(&store, &whole);
    let tables = tables(&whole);
    assert!(!tables.is_empty());
    for table in tables.iter().take(FILES) {
        let mut bytes = fs::read(table).unwrap();
        // Rows come first in a table.
        let at = bytes.len() / 4;
        bytes[at] ^= 1;
        fs::remove_dir_all(&store).unwrap();
        copy_dir(&whole, &store);
        fs::write(store.join(table.file_name().unwrap()), &bytes).unwrap();
        let found = fsck(&server);
        assert_ne!(found.code, Some(0), "{} byte {at}: {found:?}", table.display());
    }
    fs::remove_dir_all(&store).unwrap();
    copy_dir(&whole, &store);
    fsck(&server).ok();
    server.start_again();
    alice.say(&room, "as before");
}
