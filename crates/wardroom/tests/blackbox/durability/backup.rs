//! Backups and the way back: what was destroyed stays destroyed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use wardroom_testkit::{Actor, Config, Ended, Server, User, event_ids, json, run, unique, wait_until};

use crate::{
    SOON,
    admin::{admin_of, synapse},
    plaintext::found_in,
    server_with,
};

const LIMIT: Duration = Duration::from_secs(120);
const PARTS: [&str; 3] = ["store", "keys", "media"];

fn command(server: &Server, args: &[&str]) -> Command {
    let mut command = server.command(args);
    command.arg("--config").arg(server.config_path());
    command
}

fn backup(server: &Server, word: &str, data: &str) -> Ended {
    run(command(server, &["backup", word, data, "--keys", "backup-keys"]), LIMIT)
}

fn restoring(server: &Server, more: &[&str]) -> Command {
    command(server, &[&["restore", "--keys", "backup-keys"], more].concat())
}

fn restore(server: &Server, data: &str) -> Ended {
    run(restoring(server, &["--data", data]), LIMIT)
}

/// Loses what is stored, as a disk does.
fn lose(server: &Server) {
    for part in PARTS {
        fs::remove_dir_all(server.data_dir().join(part)).unwrap();
    }
}

pub(super) fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        match path.is_dir() {
            true => copy_dir(&path, &to),
            false => assert!(fs::copy(path, to).is_ok()),
        }
    }
}

/// Deletes a room with everything that is here of it.
fn destroy(admin: &User, room: &str) {
    let asked = json!({ "block": false, "purge": true });
    let began = admin.request("DELETE", &synapse(&["v2", "rooms", room]), asked.into()).ok();
    let id = began["delete_id"].as_str().unwrap().to_owned();
    let status = wait_until("the deletion ends", SOON, || {
        let status = admin.get(synapse(&["v2", "rooms", "delete_status", &id])).ok();
        matches!(status["status"].as_str(), Some("complete" | "failed")).then_some(status)
    });
    assert_eq!(status["status"], "complete", "{status}");
}

/// A server with two rooms, in one of which a secret is said.
struct Ward {
    server: Server,
    admin: User,
    alice: User,
    bob: User,
    kept: String,
    doomed: String,
    secret: String,
}

impl Ward {
    fn new(config: Config) -> Self {
        let server = server_with(config);
        let (admin, alice, bob) = (admin_of(&server), server.user("alice"), server.user("bob"));
        let (kept, doomed) = (alice.create_public_room(&[&bob]), alice.create_public_room(&[&bob]));
        let secret = format!("zqsecret{}", unique("x").replace('-', ""));
        for room in [&kept, &doomed] {
            bob.say(room, "before the backup");
        }
        bob.say(&doomed, &secret);
        Self { server, admin, alice, bob, kept, doomed, secret }
    }

    /// The room that was kept is whole and goes on, of the other there is nothing.
    fn check_after(&self, history: &[String]) {
        assert_eq!(event_ids(&self.alice.history(&self.kept)), history);
        for user in [&self.alice, &self.bob] {
            let sync = user.initial_sync();
            assert!(sync["rooms"]["join"].get(&self.kept).is_some());
            assert!(sync["rooms"]["join"].get(&self.doomed).is_none());
            assert!(!sync.to_string().contains(&self.secret));
            user.try_messages(&self.doomed, "b", None, "10").refused(403, "M_FORBIDDEN");
        }
        self.admin.get(synapse(&["v1", "rooms", &self.doomed])).refused(404, "M_NOT_FOUND");
        self.bob.say(&self.kept, "after the restore");
        assert!(found_in(&self.server.data_dir(), &self.secret).is_empty());
    }
}

#[test]
fn a_restored_server_is_the_one_that_was_backed_up() {
    let mut ward = Ward::new(Config::default());
    ward.server.stop();
    let said = backup(&ward.server, "create", "backup-1");
    assert!(said.ok().contains("backup-keys"), "{said:?}");
    backup(&ward.server, "create", "backup-1").failed(&["backup-1", "overwritten"]);
    assert!(backup(&ward.server, "verify", "backup-1").ok().contains("good"));
    restore(&ward.server, "backup-1").failed(&["overwritten"]);

    let (kept, doomed) = (ward.kept.clone(), ward.doomed.clone());
    ward.server.start_again();
    let histories = [&kept, &doomed].map(|room| event_ids(&ward.alice.history(room)));
    ward.bob.say(&kept, "lost: after the backup");
    ward.server.stop();
    lose(&ward.server);
    assert!(restore(&ward.server, "backup-1").ok().contains("Restored"));
    ward.server.start_again();
    for (room, history) in [&kept, &doomed].into_iter().zip(&histories) {
        assert_eq!(&event_ids(&ward.alice.history(room)), history);
        ward.bob.say(room, "and on");
    }
    ward.server.restart();
    assert_eq!(ward.alice.history(&kept).len(), histories[0].len() + 1);
}

/// The room is destroyed after the backup: neither the older copy of the data with the newest keys, nor an older copy of
/// the keys with the newest journal, nor the data directory show anything of it.
#[test]
fn what_was_destroyed_after_a_backup_does_not_come_back_with_it() {
    let mut ward = Ward::new(Config::default());
    let dir = ward.server.dir().to_owned();
    ward.server.stop();
    backup(&ward.server, "create", "old-data").ok();
    copy_dir(&dir.join("backup-keys"), &dir.join("old-keys"));
    ward.server.start_again();
    let history = event_ids(&ward.alice.history(&ward.kept));
    destroy(&ward.admin, &ward.doomed);
    ward.server.stop();
    backup(&ward.server, "create", "new-data").ok();
    fs::copy(ward.server.data_dir().join("keys/shred.journal"), dir.join("journal")).unwrap();

    let told = backup(&ward.server, "verify", "old-data");
    assert!(told.ok().contains("1 rooms that were destroyed"), "{told:?}");
    lose(&ward.server);
    restore(&ward.server, "old-data").ok();
    ward.server.start_again();
    ward.check_after(&history);
    ward.server.stop();
    let mut fsck = ward.server.command(&["fsck", "--config"]);
    fsck.arg(ward.server.config_path());
    run(fsck, LIMIT).ok();

    // With the keys as they were, and the journal.
    lose(&ward.server);
    let more = ["--data", "old-data", "--keys", "old-keys", "--journal", "journal"];
    run(command(&ward.server, &[&["restore"][..], &more].concat()), LIMIT).ok();
    ward.server.start_again();
    ward.check_after(&history);
    // A journal of another life of the store is none of these keys.
    ward.server.stop();
    copy_dir(&ward.server.data_dir().join("keys"), &dir.join("later/keys"));
    lose(&ward.server);
    fs::write(dir.join("journal"), "not a journal").unwrap();
    run(command(&ward.server, &[&["restore"][..], &more].concat()), LIMIT).failed(&["journal"]);
    assert!(PARTS.iter().all(|part| !ward.server.data_dir().join(part).exists()));
}

/// A file is deleted after the backup: with the newest keys the older copy of the data does not show it.
#[test]
fn a_file_that_was_deleted_after_a_backup_is_unreadable_in_it() {
    let mut ward = Ward::new(Config::default());
    let upload = |content: &[u8]| crate::media::upload(&ward.alice, content, "text/plain", None);
    let (kept, doomed) = (upload(b"kept"), upload(b"deleted"));
    ward.server.stop();
    backup(&ward.server, "create", "old-data").ok();
    ward.server.start_again();
    let journal = ward.server.data_dir().join("keys/shred.journal");
    let length = || fs::metadata(&journal).unwrap().len();
    let before = length();
    let (server, id) = doomed.strip_prefix("mxc://").unwrap().split_once('/').unwrap();
    ward.admin.request("DELETE", &synapse(&["v1", "media", server, id]), json!({}).into()).ok();
    assert_eq!(crate::media::download(&ward.alice, &doomed).status, 404, "at once");
    wait_until("the end of its key", SOON, || (length() > before).then_some(()));
    ward.server.stop();
    backup(&ward.server, "create", "new-data").ok();
    let told = backup(&ward.server, "verify", "old-data");
    assert!(told.ok().contains("1 files that were deleted"), "{told:?}");
    lose(&ward.server);
    restore(&ward.server, "old-data").ok();
    ward.server.start_again();
    assert_eq!(crate::media::download(&ward.alice, &kept).bytes, b"kept");
    assert_eq!(crate::media::download(&ward.alice, &doomed).status, 404);
}

#[test]
fn a_backup_that_is_not_whole_is_refused() {
    let mut ward = Ward::new(Config::default());
    let dir = ward.server.dir().to_owned();
    ward.server.stop();
    backup(&ward.server, "create", "backup-1").ok();
    lose(&ward.server);
    let table = |dir: &Path| -> PathBuf {
        let files = fs::read_dir(dir.join("data")).unwrap().map(|entry| entry.unwrap().path());
        files.filter(|path| path.extension().is_some_and(|end| end == "sst")).min().unwrap()
    };
    type Harm<'a> = (&'a str, &'a dyn Fn(&Path));
    let harms: [Harm<'_>; 4] = [
        ("not finished", &|dir| fs::remove_file(dir.join("manifest.json")).unwrap()),
        ("manifest", &|dir| {
            let mut bytes = fs::read(table(dir)).unwrap();
            bytes[7] ^= 1;
            fs::write(table(dir), bytes).unwrap();
        }),
        ("manifest", &|dir| fs::remove_file(table(dir)).unwrap()),
        ("manifest", &|dir| fs::write(dir.join("data/more"), "more").unwrap()),
    ];
    for (word, harm) in harms {
        let copy = dir.join("harmed");
        copy_dir(&dir.join("backup-1"), &copy);
        harm(&copy);
        restore(&ward.server, "harmed").failed(&[word]);
        backup(&ward.server, "verify", "harmed").failed(&[word]);
        fs::remove_dir_all(&copy).unwrap();
    }
    restore(&ward.server, "backup-keys").failed(&["keys"]);
    // Data without the keys is no server, and no new one is made in its place.
    restore(&ward.server, "backup-1").ok();
    fs::rename(ward.server.data_dir().join("keys"), dir.join("aside")).unwrap();
    backup(&ward.server, "create", "backup-2").failed(&["keys", "missing"]);
    fs::rename(dir.join("aside"), ward.server.data_dir().join("keys")).unwrap();
    ward.server.start_again();
    ward.bob.say(&ward.doomed, "all is well");
}

/// Runs a command, and kills it after a time. Whether it ended before.
fn killed_after(mut command: Command, time: Duration) -> bool {
    let mut child = command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
    let until = Instant::now() + time;
    while Instant::now() < until {
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "{status}");
            return true;
        }
        thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap().success()
}

/// Wherever a backup and a restore are killed: what is there is whole or says that it is not, and a further run ends well.
#[test]
fn killed_backups_and_restores_leave_nothing_half_done() {
    let mut ward = Ward::new(Config::default());
    let history = event_ids(&ward.alice.history(&ward.kept));
    destroy(&ward.admin, &ward.doomed);
    ward.server.stop();
    backup(&ward.server, "create", "first").ok();
    for round in 0_u64.. {
        let name = format!("killed-{round}");
        let create = command(&ward.server, &["backup", "create", &name, "--keys", "backup-keys"]);
        let done = killed_after(create, Duration::from_millis(20 + 25 * round));
        // The keys are always there and whole, also for the older data.
        backup(&ward.server, "verify", "first").ok();
        if ward.server.dir().join(&name).join("manifest.json").exists() {
            backup(&ward.server, "verify", &name).ok();
        } else if ward.server.dir().join(&name).exists() {
            backup(&ward.server, "verify", &name).failed(&["not finished"]);
        }
        if done {
            break;
        }
    }
    lose(&ward.server);
    for round in 0_u64.. {
        if killed_after(restoring(&ward.server, &["--data", "first"]), Duration::from_millis(20 + 25 * round)) {
            break;
        }
        if ward.server.data_dir().join("restoring").exists() {
            backup(&ward.server, "create", "never").failed(&["restore was not finished"]);
        }
    }
    ward.server.start_again();
    ward.check_after(&history);
}

#[test]
fn a_running_server_is_backed_up_while_it_is_used() {
    let config = Config::default().set("backup.dir", "\"online\"").set("backup.keys_dir", "\"backup-keys\"");
    let mut ward = Ward::new(config);
    let path = wardroom_testkit::raw("/_wardroom/admin/v1/backup");
    ward.alice.request("POST", &path, json!({}).into()).refused(403, "M_FORBIDDEN");
    let made = ward.admin.request("POST", &path, json!({}).into()).ok();
    let history = event_ids(&ward.alice.history(&ward.kept));
    destroy(&ward.admin, &ward.doomed);
    ward.bob.say(&ward.kept, "lost: after the backup");
    let newer = ward.admin.request("POST", &path, json!({}).into()).ok();
    assert_ne!(made["directory"], newer["directory"]);
    assert!(newer["destructions"].as_u64() > made["destructions"].as_u64());
    ward.server.stop();
    lose(&ward.server);
    restore(&ward.server, made["directory"].as_str().unwrap()).ok();
    ward.server.start_again();
    ward.check_after(&history);
}
