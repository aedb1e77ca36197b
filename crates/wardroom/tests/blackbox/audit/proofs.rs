//! What proves the trail: checkpoints, proofs, exports, and what a changed store or directory is told of.

use std::{fs, path::Path};

use wardroom_testkit::{Actor, Config, Ended, Server, User, run, wait_until};

use crate::{
    SOON,
    admin::{admin_of, own},
    server_with,
};

fn server() -> Server {
    server_with(Config::default().set("audit.checkpoint_seconds", "1"))
}

/// `wardroom admin audit export` into a directory.
#[track_caller]
fn export(server: &Server, admin: &User, dir: &Path) -> String {
    let mut command = server.command(&["admin", "audit", "export"]);
    command.arg(dir).arg("--config").arg(server.config_path()).env("WARDROOM_ADMIN_TOKEN", &admin.token);
    run(command, SOON).ok().to_owned()
}

fn verify(server: &Server, dir: &Path, more: &[&str]) -> Ended {
    let mut command = server.command(&["audit", "verify"]);
    command.arg(dir).args(more);
    run(command, SOON)
}

/// The newest checkpoint, as soon as it is of so many records.
#[track_caller]
fn checkpoint(admin: &User, records: u64) -> (u64, String) {
    wait_until("a checkpoint", SOON, || {
        let reply = admin.get(own(&["audit", "checkpoint"]));
        let note = (reply.status == 200).then(|| String::from_utf8(reply.bytes).unwrap())?;
        let size = note.lines().nth(1).unwrap().parse().unwrap();
        (size >= records).then_some((size, note))
    })
}

#[test]
fn an_export_is_verified_without_the_server() {
    let mut server = server();
    let admin = admin_of(&server);
    for _ in 0..30 {
        super::records(&admin, &[("act", "login")]);
    }
    let (_, known) = checkpoint(&admin, 25);
    let key = admin.get(own(&["audit", "key"])).ok();
    let key = key["key"].as_str().unwrap();
    assert!(key.starts_with(&format!("{}/wardroom/audit+", server.name())), "{key}");
    let dir = server.dir().join("export");
    export(&server, &admin, &dir);
    let known_file = server.dir().join("known");
    fs::write(&known_file, known).unwrap();
    let said = verify(&server, &dir, &["--key", key, "--from-checkpoint", known_file.to_str().unwrap()]);
    assert!(said.ok().starts_with("ok, "), "{said:?}");

    // It goes on where it stopped, also after a kill.
    server.kill9();
    server.start_again();
    super::records(&admin, &[]);
    let before = fs::read(dir.join("leaves")).unwrap().len() as u64 / 32;
    let (size, _) = checkpoint(&admin, before + 3);
    let records = dir.join("records-000000000000.ndjson");
    let torn = fs::read(&records).unwrap();
    fs::write(&records, &torn[..torn.len() - 10]).unwrap();
    let said = export(&server, &admin, &dir);
    assert!(said.contains("records are in"), "{said}");
    let said = verify(&server, &dir, &["--key", key]);
    let verified: u64 = said.ok()["ok, ".len()..].split(' ').next().unwrap().parse().unwrap();
    assert!(verified >= size, "{said:?}");

    // A byte is another.
    let mut bytes = fs::read(&records).unwrap();
    let third = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(2).unwrap().0;
    bytes[third + 20] ^= 1;
    fs::write(&records, bytes).unwrap();
    verify(&server, &dir, &[]).failed(&["record 3", "changed"]);
    verify(&server, &dir, &["--key", "no key"]).failed(&["no key"]);
}

#[test]
fn proofs_are_given_and_refused() {
    let server = server();
    let admin = admin_of(&server);
    super::records(&admin, &[]);
    let (size, _) = checkpoint(&admin, 3);
    let text = size.to_string();
    let proof = |index: &str, size: &str| admin.get(own(&["audit", "proof"]).query("index", index).query("size", size));
    let found = proof("0", &text).ok();
    assert_eq!((found["index"].as_u64(), found["size"].as_u64()), (Some(0), Some(size)));
    assert!(!found["path"].as_array().unwrap().is_empty());
    for (index, size) in [("0", "999999"), (&*text, &*text), ("x", "3"), ("0", "")] {
        proof(index, size).refused(400, "M_INVALID_PARAM");
    }
    admin.get(own(&["audit", "proof"]).query("index", "0")).refused(400, "M_MISSING_PARAM");
    let consistency =
        |from: &str, to: &str| admin.get(own(&["audit", "consistency"]).query("from", from).query("to", to));
    assert!(consistency("2", &text).ok()["path"].is_array());
    consistency("3", "2").refused(400, "M_INVALID_PARAM");
    consistency("3", "999999").refused(400, "M_INVALID_PARAM");
    let leaves = admin.get(own(&["audit", "leaves"]).query("from", "1").query("limit", "2"));
    assert_eq!(leaves.bytes.len(), 64);
    let log = admin.get(own(&["audit", "log"]).query("from", "1").query("limit", "2"));
    let lines = String::from_utf8(log.bytes).unwrap();
    assert_eq!((lines.lines().count(), lines.ends_with('\n')), (2, true), "{lines}");
    assert_eq!(super::records(&admin, &[("act", "audit.export")]).len(), 1);
    let curious = server.user("curious");
    for path in ["checkpoint", "checkpoints", "key", "log", "leaves", "activity"] {
        curious.get(own(&["audit", path])).refused(403, "M_FORBIDDEN");
    }
}

#[test]
fn activity_is_counted() {
    let server = server();
    let admin = admin_of(&server);
    super::records(&admin, &[]);
    let ask = |more: &[(&str, &str)]| {
        let target = own(&["audit", "activity"]).query("from_ts", "0");
        let target = target.query("to_ts", "4102444800000");
        more.iter().fold(target, |target, (name, value)| target.query(name, value))
    };
    admin.get(ask(&[])).refused(400, "M_INVALID_PARAM");
    let now = admin.get(own(&["audit", "records"])).ok()["records"][0]["record"]["at"].as_u64().unwrap();
    let (from, to) = ((now - 3_600_000).to_string(), (now + 3_600_000).to_string());
    let ask = |more: &[(&str, &str)]| {
        let target = own(&["audit", "activity"]).query("from_ts", &from).query("to_ts", &to);
        let answer = admin.get(more.iter().fold(target, |target, (name, value)| target.query(name, value))).ok();
        let buckets = answer["buckets"].as_array().unwrap().clone();
        buckets.iter().filter_map(|bucket| bucket["counts"]["audit.read"].as_u64()).sum::<u64>()
    };
    assert_eq!(ask(&[("user_id", &admin.id), ("step", "day")]), 2);
    assert_eq!(ask(&[]), 3);
    assert_eq!(ask(&[("room_id", "!nowhere")]), 0);
    assert_eq!(ask(&[("user_id", &admin.id), ("room_id", "!nowhere")]), 0);
    admin.get(own(&["audit", "activity"])).refused(400, "M_MISSING_PARAM");
}

#[test]
fn the_trail_says_when_it_stops_and_goes_on() {
    let mut server = server();
    let admin = admin_of(&server);
    server.stop();
    let mut fsck = server.command(&["fsck", "--config"]);
    fsck.arg(server.config_path());
    let said = run(fsck, SOON);
    assert!(said.ok().contains("audit records and"), "{said:?}");
    server.start_again();
    let acts = [("act", "audit.start"), ("act", "audit.stop"), ("act", "server.start"), ("act", "server.stop")];
    let acts: Vec<String> = super::records(&admin, &acts).iter().map(|record| record["act"].to_string()).collect();
    let run = ["\"audit.start\"", "\"server.start\""];
    assert_eq!(acts, [&run[..], &["\"server.stop\"", "\"audit.stop\""], &run].concat());
}
