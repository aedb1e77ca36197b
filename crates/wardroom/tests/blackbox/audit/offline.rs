//! What is done without signing in: backups and restores while the server is stopped, signals; and what servers say to each
//! other about roles.

use std::{fs, process::Command};

use wardroom_testkit::{Actor, Config, Peer, Server, encode, json, raw, run, wait_until};

use super::{deeds::bare, records};
use crate::{
    SOON,
    access::give,
    admin::{admin_of, own},
    federation::sites::Site,
    server_with,
};

fn command(server: &Server, args: &[&str]) -> Command {
    let mut command = server.command(args);
    command.arg("--config").arg(server.config_path());
    command
}

#[test]
fn backups_and_restores_of_a_stopped_server_are_in_the_trail_at_the_next_start() {
    let mut server = server_with(Config::default());
    let admin = admin_of(&server);
    server.stop();
    run(command(&server, &["backup", "create", "copy", "--keys", "copy-keys"]), 6 * SOON).ok();
    for part in ["store", "keys", "media"] {
        fs::remove_dir_all(server.data_dir().join(part)).unwrap();
    }
    run(command(&server, &["restore", "--data", "copy", "--keys", "copy-keys"]), 6 * SOON).ok();
    server.start_again();
    let found = bare(records(&admin, &[("act", "backup.create"), ("act", "backup.restore")]));
    let by = |act: &str| json!({ "act": act, "on": {}, "outcome": 0, "who": { "service": "command line" } });
    assert_eq!(found, [by("backup.create"), by("backup.restore")]);
}

#[test]
fn certificates_that_are_read_again_are_noted() {
    let server = server_with(Config::default());
    let admin = admin_of(&server);
    let mut signal = Command::new("kill");
    signal.arg("-HUP").arg(server.pid().to_string());
    run(signal, SOON).ok();
    let noted = wait_until("the record", SOON, || {
        let all = bare(records(&admin, &[("act", "server.config")]));
        all.into_iter().find(|record| record["on"]["detail"] == "certificates")
    });
    let who = json!({ "service": "command line" });
    assert_eq!(noted, json!({ "act": "server.config", "on": { "detail": "certificates" }, "outcome": 0, "who": who }));
}

#[test]
fn what_a_partner_is_told_of_roles_is_recorded() {
    let peer = Peer::start();
    let to = format!("[{{ server = \"{}\", roles = [\"nurse@h1\"] }}]", peer.name());
    let site = Site::new(Config::default().federating_as("127.0.0.1").set("roles.attest_to", &to), None);
    let (admin, alice) = (admin_of(&site.server), site.user("alice"));
    give(&admin, &alice.id, &["nurse@h1"]);
    let room = alice.create_room(json!({ "preset": "public_chat", "room_version": "11" }));
    peer.join(&site.server, &room, &peer.user("bob"));
    let path = format!("/_matrix/federation/unstable/org.wardroom/v1/attestation/{}", encode(&alice.id));
    peer.ask(&site.server, "GET", &raw(&path).query("room_id", &room), None).ok();
    let sent = bare(records(&admin, &[("act", "federation.send"), ("user_id", &alice.id)]));
    let on = json!({ "count": 1, "detail": "attestation", "room": room, "servers": [peer.name()], "user": alice.id });
    let who = json!({ "ip": "127.0.0.1", "server": peer.name() });
    assert_eq!(sent, [json!({ "act": "federation.send", "on": on, "outcome": 0, "who": who })]);
    assert!(admin.get(own(&["attestations"])).ok()["handed_out"][0].is_object());
}
