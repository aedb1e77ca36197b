//! Starting, stopping, and one server for each data directory.

use std::{fs, os::unix::fs::PermissionsExt, thread, time::Duration};

use wardroom_testkit::{Actor, Config, free_port, json, raw, run};

use super::LIMIT;
use crate::server_with;

#[test]
fn sigterm_and_sigint_end_the_server_cleanly() {
    let mut server = server_with(Config::default());
    assert_eq!(server.stop().code(), Some(0));
    server.start_again();
    assert_eq!(server.interrupt().code(), Some(0));
    server.start_again();
    server.user("alice");
}

#[test]
fn a_waiting_sync_does_not_hold_up_the_stop() {
    let mut server = server_with(Config::default());
    let alice = server.user("alice");
    let since = alice.initial_sync()["next_batch"].as_str().unwrap().to_owned();
    let poll = thread::spawn(move || {
        let target = wardroom_testkit::v3(&["sync"]).query("timeout", "55000").query("since", &since);
        let method = "GET".parse().unwrap();
        // Answered early or cut off, both are fine: the client comes back with the same token.
        drop(alice.http().try_request(&method, &target, alice.token(), wardroom_testkit::Body::Empty));
    });
    thread::sleep(Duration::from_millis(200));
    assert_eq!(server.stop().code(), Some(0));
    poll.join().unwrap();
}

#[test]
fn a_data_directory_has_one_server() {
    let server = server_with(Config::default());
    let alice = server.user("alice");
    let text = fs::read_to_string(server.config_path()).unwrap();
    let other = text.replace(&format!(":{}\"", server.port(0)), &format!(":{}\"", free_port()));
    assert_ne!(other, text);
    fs::write(server.dir().join("other.toml"), other).unwrap();
    let second = run(server.command(&["serve", "--config", "other.toml"]), LIMIT);
    second.failed(&["data"]);
    alice.get(wardroom_testkit::v3(&["account", "whoami"])).ok();
    let room = alice.create_room(json!({}));
    alice.say(&room, "still alone");
}

#[test]
fn a_port_in_use_is_an_error_that_names_the_address() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let dir = super::Dir::new();
    let text = format!("server_name = \"a.example\"\ndata_dir = \"data\"\n[[listener]]\naddress = \"{address}\"\n");
    fs::write(dir.path().join("wardroom.toml"), text).unwrap();
    run(dir.command(&["serve", "--config", "wardroom.toml"]), LIMIT).failed(&[&address]);
}

#[test]
fn the_master_key_is_made_once_and_belongs_to_the_owner() {
    let mut server = server_with(Config::default());
    server.user("alice");
    let path = server.dir().join("master.key");
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "{mode:o}");
    let key = fs::read(&path).unwrap();
    server.restart();
    assert_eq!(fs::read(&path).unwrap(), key);
}

#[test]
fn a_wrong_or_lost_master_key_opens_nothing() {
    let mut server = server_with(Config::default());
    let alice = server.user("alice");
    server.stop();
    let path = server.dir().join("master.key");
    let key = fs::read(&path).unwrap();
    let serve = |server: &wardroom_testkit::Server| {
        let mut command = server.command(&["serve", "--config"]);
        command.arg(server.config_path());
        run(command, LIMIT)
    };
    fs::remove_file(&path).unwrap();
    serve(&server).failed(&["master"]);
    let other = server_with(Config::default());
    fs::copy(other.dir().join("master.key"), &path).unwrap();
    serve(&server).failed(&["master"]);
    fs::write(&path, key).unwrap();
    server.start_again();
    alice.get(wardroom_testkit::v3(&["account", "whoami"])).ok();
}

#[test]
fn a_command_may_give_the_master_key() {
    let mut server = server_with(Config::default());
    let alice = server.user("alice");
    server.stop();
    // What the file holds and what a command prints are the same text.
    fs::rename(server.dir().join("master.key"), server.dir().join("kms.key")).unwrap();
    let command = format!("\"cat {}\"", server.dir().join("kms.key").display());
    server.reconfigure(|config| config.set("master_key.command", &command));
    server.start_again();
    alice.get(wardroom_testkit::v3(&["account", "whoami"])).ok();
    assert!(!server.dir().join("master.key").exists());
    server.stop();
    server.reconfigure(|config| config.set("master_key.command", "\"exit 3\""));
    let mut check = server.command(&["check", "--config"]);
    server.write_config();
    check.arg(server.config_path());
    run(check, LIMIT).failed(&["master_key"]);
}

#[test]
fn the_server_is_reachable_as_soon_as_it_says_so() {
    let server = server_with(Config::default());
    let answer = server.anonymous().get(raw("/_matrix/client/versions"));
    assert_eq!(answer.status, 200, "{}", answer.story());
    // Nothing of the data directory is for other users of the machine.
    let mode = fs::metadata(server.data_dir()).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "the data directory is open to others: {mode:o}");
}
