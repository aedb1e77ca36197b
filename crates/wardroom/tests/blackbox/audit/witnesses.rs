//! Partners that cosign each other's audit trails: nobody can rewrite theirs unseen.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD, engine::general_purpose::STANDARD_NO_PAD};
use sha2::{Digest as _, Sha256};
use wardroom_testkit::{
    Actor, Config, Peer, User, Value, json,
    peer::{Answer, Key},
    raw, run, wait_until,
};

use crate::{
    SOON,
    admin::{admin_of, own},
    audit::records,
    federation::sites::Site,
};

const CHECKPOINT: &str = "/_wardroom/federation/v1/audit/checkpoint";
const COSIGNATURE: &str = "/_wardroom/federation/v1/audit/cosignature";
/// Longer than a witness that failed a few times waits.
const LATER: Duration = Duration::from_secs(90);

fn names(servers: &[&str]) -> String {
    format!("{servers:?}")
}

/// A server that looks at these servers' trails every second.
fn witness_of(servers: &[&str]) -> Site {
    let config = Config::default().federating_as("localhost").set("audit.witness_every_seconds", "1");
    Site::new(config.set("audit.witness_for", &names(servers)), None)
}

/// What a server tells of witnesses.
fn told(admin: &User) -> Value {
    admin.get(own(&["audit", "witness"])).ok()
}

/// What is told of the one server that is watched, when it is so.
#[track_caller]
fn watched(admin: &User, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    wait_until(what, LATER, || Some(told(admin)["watched"][0].clone()).filter(|watched| is_so(watched)))
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        match path.is_dir() {
            true => copy_dir(&path, &to),
            false => assert!(fs::copy(path, to).is_ok()),
        }
    }
}

/// A hospital and another that witnesses its trail: each with an administrator.
fn two() -> ((Site, User), (Site, User)) {
    let mut witness = witness_of(&[]);
    let config = Config::default().federating_as("127.0.0.1").set("audit.checkpoint_seconds", "1");
    let log = Site::new(config.set("audit.witnesses", &names(&[witness.name()])), None);
    let watched = names(&[log.name()]);
    witness.server.reconfigure(|config| config.set("audit.witness_for", &watched));
    witness.server.restart();
    let admins = (admin_of(&log.server), admin_of(&witness.server));
    ((log, admins.0), (witness, admins.1))
}

#[test]
fn a_partner_cosigns_and_the_export_shows_it() {
    let ((mut log, admin), (witness, observer)) = two();
    let first = watched(&observer, "the first cosignature", |one| one["records"].as_u64() > Some(0));
    assert!(first["key"].as_str().unwrap().starts_with(&format!("{}/wardroom/audit+", log.name())), "{first}");
    assert_eq!((&first["server"], &first["fault"]), (&json!(log.name()), &Value::Null));
    let before = first["records"].as_u64().unwrap();
    records(&admin, &[]);
    watched(&observer, "the next one", |one| one["records"].as_u64() > Some(before));

    // The partner is away for a while: it is asked again.
    log.server.stop();
    watched(&observer, "the failure", |one| one["failures"].as_u64() > Some(0) && one["error"].is_string());
    log.server.start_again();
    let seen = watched(&observer, "the way back", |one| one["failures"] == 0 && one["answered_ts"].is_number());
    let seen = seen["records"].as_u64().unwrap();
    let of_log = wait_until("the newest cosignature", SOON, || {
        Some(told(&admin)["witnesses"][0].clone()).filter(|one| one["records"].as_u64() >= Some(seen))
    });
    assert_eq!(of_log["server"], witness.name());
    let key = of_log["key"].as_str().unwrap();
    assert_eq!(told(&observer)["key"], key);
    let listed = admin.get(own(&["audit", "cosignatures"])).ok();
    let cosigned = listed["checkpoints"].as_array().unwrap().iter().find(|one| one["records"] == seen).unwrap();
    assert_eq!(cosigned["cosigned_by"][0]["server"], witness.name(), "{cosigned}");

    // Each of it is recorded once, not each time.
    for (admin, act, detail) in [
        (&observer, "audit.pin", "log"),
        (&observer, "audit.cosign", "given"),
        (&admin, "audit.pin", "witness"),
        (&admin, "audit.cosign", "received"),
    ] {
        let found = records(admin, &[("act", act)]);
        assert_eq!((found.len(), &found[0]["on"]["detail"]), (1, &json!(detail)), "{found:?}");
    }
    let dir = log.server.dir().join("export");
    let mut export = log.server.command(&["admin", "audit", "export"]);
    export.arg(&dir).arg("--config").arg(log.server.config_path()).env("WARDROOM_ADMIN_TOKEN", &admin.token);
    run(export, SOON).ok();
    let verify = |more: &[&str]| {
        let mut command = log.server.command(&["audit", "verify"]);
        command.arg(&dir).args(more);
        run(command, SOON)
    };
    let cosigned = format!("by {}/wardroom/witness: ", witness.name());
    let said = verify(&[]);
    assert!(said.ok().contains(&cosigned) && said.ok().contains("with the key in the directory"), "{said:?}");
    let known = format!("{}={key}", witness.name());
    let said = verify(&["--witness", &known]);
    assert!(said.ok().contains(&cosigned) && !said.ok().contains("with the key in the directory"), "{said:?}");
    verify(&["--witness", &format!("other.example={key}")]).failed(&["not the key of that witness"]);
}

#[test]
fn a_trail_that_is_rewritten_is_noticed_and_both_checkpoints_are_kept() {
    let ((mut log, admin), (_witness, observer)) = two();
    watched(&observer, "the first cosignature", |one| one["records"].as_u64() > Some(0));
    log.server.stop();
    let (data, copy) = (log.server.data_dir(), log.server.dir().join("older"));
    copy_dir(&data, &copy);
    log.server.start_again();
    for _ in 0..20 {
        records(&admin, &[("act", "login")]);
    }
    let size = admin.get(own(&["audit", "records"]).query("dir", "b")).ok()["records"][0]["number"].as_u64().unwrap();
    let seen = watched(&observer, "all of it is cosigned", |one| one["records"].as_u64() >= Some(size));
    // The operator puts the older copy back, and other things happen.
    log.server.stop();
    fs::remove_dir_all(&data).unwrap();
    copy_dir(&copy, &data);
    log.server.start_again();
    let fault = watched(&observer, "the fault", |one| one["fault"].is_object());
    assert_eq!(fault["records"], seen["records"], "nothing of it is cosigned");
    for _ in 0..60 {
        records(&admin, &[("act", "logout")]);
    }
    watched(&observer, "the fork", |one| one["fault"]["kind"] == "fork");
    let evidence = told(&observer)["evidence"].clone();
    let fork = evidence.as_array().unwrap().iter().find(|one| one["kind"] == "fork").unwrap();
    let text = |name: &str| fork[name].as_str().unwrap().to_owned();
    assert_eq!(text("known").lines().nth(1).unwrap(), seen["records"].to_string());
    assert_eq!(text("known").matches('\u{2014}').count(), 2, "signed by both: {fork}");
    assert!(text("shown").lines().nth(1).unwrap().parse::<u64>().unwrap() > size, "{fork}");
    assert_eq!(text("known_key"), text("shown_key"));
    let alarms = observer.get(own(&["alarms"])).ok();
    let alarm = alarms["alarms"].as_array().unwrap().iter().find(|one| one["kind"] == "partner_trail_changed").unwrap();
    assert!(alarm["sentence"].as_str().unwrap().contains(log.name()), "{alarm}");
    let faults = records(&observer, &[("act", "audit.fault")]);
    assert!(faults.iter().all(|one| one["outcome"] == 8 && one["on"]["servers"][0] == log.name()), "{faults:?}");

    // After a restore that is known of, an administrator goes on; the evidence stays.
    let anew = own(&["audit", "witness", log.name(), "anew"]);
    observer.post(anew.clone(), json!({})).refused(400, "M_INVALID_PARAM");
    observer.post(anew, json!({ "reason": "the disk was lost, and restored from a backup" })).ok();
    watched(&observer, "it is cosigned again", |one| one["fault"].is_null() && one["records"].as_u64() > Some(size));
    assert!(!told(&observer)["evidence"].as_array().unwrap().is_empty());
    observer
        .post(own(&["audit", "witness", "c.example", "anew"]), json!({ "reason": "?" }))
        .refused(404, "M_NOT_FOUND");
}

/// A signed note, its keys and signatures as C2SP has them, written anew.
struct Log {
    name: String,
    key: Key,
}

impl Log {
    fn of(peer: &Peer) -> Self {
        Self { name: format!("{}/wardroom/audit", peer.name()), key: Key::generate("log") }
    }

    fn public(&self) -> Vec<u8> {
        [vec![1], STANDARD_NO_PAD.decode(self.key.public()).unwrap()].concat()
    }

    fn id(&self) -> Vec<u8> {
        Sha256::digest([self.name.as_bytes(), b"\n", &self.public()].concat())[..4].to_vec()
    }

    fn key(&self) -> String {
        let id: String = self.id().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{}+{id}+{}", self.name, STANDARD.encode(self.public()))
    }

    /// What it shows to a witness.
    fn shows(&self, size: u64, root: u8, proof: &[String]) -> Value {
        let text = format!("{}\n{size}\n{}\n", self.name, STANDARD.encode([root; 32]));
        let signature = STANDARD_NO_PAD.decode(self.key.sign(text.as_bytes())).unwrap();
        let line = format!("\u{2014} {} {}\n", self.name, STANDARD.encode([self.id(), signature].concat()));
        json!({ "key": self.key(), "checkpoint": format!("{text}\n{line}"), "proof": proof })
    }
}

#[test]
fn a_witness_that_dies_between_storing_and_answering_says_the_same_again() {
    let peer = Peer::start();
    let log = Log::of(&peer);
    let shown = log.shows(7, 1, &[]);
    peer.on(CHECKPOINT, move |_| Answer::ok(&shown));
    peer.on(COSIGNATURE, |_| Answer::never());
    let mut witness = witness_of(&[peer.name()]);
    let admin = admin_of(&witness.server);
    let said = |count: usize| {
        wait_until("a cosignature", LATER, || {
            peer.asked(COSIGNATURE).get(count).map(wardroom_testkit::peer::Asked::json)
        })
    };
    let first = said(0);
    assert_eq!(first["size"], 7);
    witness.server.kill9();
    let open = Arc::new(AtomicBool::new(true));
    let honest = Arc::clone(&open);
    let (same, other) = (log.shows(7, 1, &[]), log.shows(7, 2, &[]));
    peer.on(CHECKPOINT, move |_| Answer::ok(if honest.load(Ordering::Relaxed) { &same } else { &other }));
    peer.on(COSIGNATURE, |_| Answer::ok(&json!({})));
    let before = peer.asked(COSIGNATURE).len();
    witness.server.start_again();
    assert_eq!(said(before), first, "the same signature, of the same time");
    // What it signed it holds to, whatever it is shown.
    open.store(false, Ordering::Relaxed);
    watched(&admin, "the fork", |one| one["fault"]["kind"] == "fork");
    assert!(peer.asked(COSIGNATURE).iter().all(|asked| asked.json()["cosignature"] == first["cosignature"]));
}

/// The largest number that JSON between servers holds.
const LARGEST: u64 = (1 << 53) - 1;

#[test]
fn hostile_logs_get_no_signature_and_do_no_harm() {
    let peers: Vec<Peer> = (0..7).map(|_| Peer::start()).collect();
    let hash = STANDARD.encode([7; 32]);
    for (number, peer) in peers.iter().enumerate() {
        let log = Log::of(peer);
        let (good, hash) = (log.shows(LARGEST - 1, 1, &[]), hash.clone());
        let answer = move |first: bool| match number {
            0 => Answer::repeated(vec![b'x'; 1 << 16], 1_000),
            1 => Answer::bytes(200, "application/json", b"{".to_vec()),
            2 => Answer::ok(&json!({ "key": 1, "checkpoint": [], "proof": {} })),
            3 => Answer::ok(&json!({ "key": "x".repeat(10_000), "checkpoint": "y".repeat(10_000) })),
            _ if first => Answer::ok(&good),
            4 => Answer::ok(&log.shows(u64::MAX, 1, &vec![hash.clone(); 200])),
            5 => Answer::ok(&log.shows(u64::MAX, 1, &vec![hash.clone(); 63])),
            _ => Answer::ok(&log.shows(LARGEST, 1, &["AAAA".to_owned()])),
        };
        peer.on(CHECKPOINT, move |asked| answer(!asked.query.contains("from=")));
        peer.on(COSIGNATURE, |_| Answer::ok(&json!({})));
    }
    let servers: Vec<&str> = peers.iter().map(Peer::name).collect();
    let witness = witness_of(&servers);
    let admin = admin_of(&witness.server);
    wait_until("everybody was asked twice", LATER, || {
        peers.iter().all(|peer| peer.asked(CHECKPOINT).len() >= 3).then_some(())
    });
    for (number, peer) in peers.iter().enumerate() {
        assert_eq!(peer.asked(COSIGNATURE).len(), usize::from(number > 3), "{number}");
    }
    let told = told(&admin);
    let of = |peer: &Peer| {
        let watched = told["watched"].as_array().unwrap();
        watched.iter().find(|one| one["server"] == peer.name()).unwrap().clone()
    };
    for number in [0, 1, 2, 3, 4, 6] {
        assert!(of(&peers[number])["failures"].as_u64() > Some(0), "{number}: {told}");
    }
    assert_eq!(of(&peers[5])["fault"]["kind"], "fork");
    assert_eq!(told["evidence"].as_array().unwrap().len(), 1, "{told}");
}

#[test]
fn only_witnesses_are_answered_and_only_what_they_signed_is_kept() {
    let (peer, stranger) = (Peer::start(), Peer::start());
    let config = Config::default().federating_as("127.0.0.1").set("audit.checkpoint_seconds", "1");
    let site = Site::new(config.set("audit.witnesses", &names(&[peer.name()])), None);
    let admin = admin_of(&site.server);
    let shown = wait_until("a checkpoint", SOON, || {
        let reply = peer.ask(&site.server, "GET", &raw(CHECKPOINT), None);
        (reply.status == 200).then(|| reply.ok())
    });
    assert_eq!(shown["proof"], json!([]));
    let text = shown.to_string();
    assert!(!text.contains(&admin.id) && !text.contains("login"), "{text}");
    let size: u64 = shown["checkpoint"].as_str().unwrap().lines().nth(1).unwrap().parse().unwrap();
    records(&admin, &[]);
    let further = wait_until("a proof", SOON, || {
        let reply = peer.ask(&site.server, "GET", &raw(CHECKPOINT).query("from", &size.to_string()), None).ok();
        Some(reply).filter(|reply| reply["proof"].as_array().is_some_and(|proof| !proof.is_empty()))
    });
    assert!(further["proof"].as_array().unwrap().len() < 64);
    for from in ["18446744073709551615", "9223372036854775808", "-1", "x", ""] {
        let reply = peer.ask(&site.server, "GET", &raw(CHECKPOINT).query("from", from), None).ok();
        assert_eq!(reply["proof"], json!([]), "{from}");
    }

    let say = |by: &Peer, body: Value| by.ask(&site.server, "POST", &raw(COSIGNATURE), Some(&body));
    let good = json!({ "size": size, "key": shown["key"], "cosignature": "\u{2014} x AAAAAAAA" });
    say(&peer, json!({})).refused(400, "M_BAD_JSON");
    for (field, value) in
        [("size", json!(u64::MAX)), ("key", json!("k")), ("key", json!("k".repeat(20_000))), ("size", json!(size))]
    {
        let mut body = good.clone();
        body[field] = value;
        say(&peer, body).refused(400, "M_INVALID_PARAM");
    }
    stranger.ask(&site.server, "GET", &raw(CHECKPOINT), None).refused(403, "M_FORBIDDEN");
    say(&stranger, good).refused(403, "M_FORBIDDEN");
    let refused = records(&admin, &[("act", "audit.fault")]);
    assert_eq!(refused.len(), 1, "the same again is counted: {refused:?}");
    assert_eq!((&refused[0]["outcome"], &refused[0]["who"]["server"]), (&json!(8), &json!(stranger.name())));
    assert_eq!(told(&admin)["witnesses"][0]["cosigned_ts"], Value::Null);
}
