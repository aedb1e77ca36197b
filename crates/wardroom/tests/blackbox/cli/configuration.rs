//! `wardroom config --example`, `wardroom check`, and what a configuration may say.

use std::{fs, path::Path};

use wardroom_testkit::{Actor, Config, TlsFiles, command_in, json, run};

use super::{Dir, LIMIT};
use crate::server_with;

#[test]
fn the_example_is_the_file_in_the_repository() {
    let dir = Dir::new();
    let printed = run(dir.command(&["config", "--example"]), LIMIT);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/wardroom.toml");
    assert_eq!(printed.ok(), fs::read_to_string(&file).unwrap(), "{} is not what the binary prints", file.display());
    let example: toml::Table = toml::from_str(printed.ok()).expect("the example is TOML");
    assert!(example.contains_key("server_name"), "{example}");
}

#[test]
fn the_hospitals_of_the_demonstration_work_and_know_each_other() {
    let root = Dir::new();
    fs::create_dir(root.path().join("authority")).unwrap();
    let issued = TlsFiles::issued(&root.path().join("authority"));
    assert!(issued.root.ends_with("authority.pem"));
    let hospitals = ["hospital-a", "hospital-b"].map(|name| {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config").join(name).with_extension("toml");
        let directory = root.path().join(name);
        fs::create_dir_all(directory.join("tls")).unwrap();
        fs::copy(&issued.cert, directory.join("tls/server.pem")).unwrap();
        fs::copy(&issued.key, directory.join("tls/server.key")).unwrap();
        let check = command_in(crate::BINARY, &directory, &["check", "--config", file.to_str().unwrap()]);
        let checked = run(check, LIMIT);
        assert!(checked.ok().contains("good") && !checked.stdout.contains("note:"), "{checked:#?}");
        fs::read_to_string(file).unwrap().parse::<toml::Table>().unwrap()
    });
    for (own, other) in [(0, 1), (1, 0)] {
        assert_eq!(hospitals[own]["federation"]["allow"][0], hospitals[other]["server_name"]);
        assert_eq!(hospitals[own]["federation"]["partner"][0]["name"], hospitals[other]["server_name"]);
    }
    let addresses = |hospital: &toml::Table| {
        let listeners = hospital["listener"].as_array().unwrap().iter();
        listeners.map(|listener| listener["address"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let both = hospitals.iter().flat_map(addresses).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(both.len(), 4, "each listens on addresses of its own: {both:?}");
}

/// What a configuration says of who reads what: what a fresh install has as hospitals want it.
fn of_hospitals(text: &str) -> [toml::Value; 2] {
    let file: toml::Table = text.parse().unwrap();
    [file["rooms"]["private_history"].clone(), file["push"]["include_content"].clone()]
}

#[test]
fn a_fresh_install_shows_no_history_and_pushes_no_content() {
    let dir = Dir::new();
    let example = run(dir.command(&["config", "--example"]), LIMIT);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/run.sh");
    let script = fs::read_to_string(script).unwrap();
    let (_, written) = script.split_once("<<TOML\n").expect("what `make run` writes");
    let (written, _) = written.split_once("\nTOML\n").expect("its end");
    let said = of_hospitals(example.ok());
    assert_eq!(said, of_hospitals(written), "both ways to begin are the same");
    assert_eq!(said[1], toml::Value::Boolean(false));
    let config = Config::default().set("rooms.private_history", &said[0].to_string());
    let server = server_with(config.set("push.include_content", &said[1].to_string()));
    let alice = server.user("alice");
    let room = alice.create_room(json!({ "preset": "private_chat" }));
    let visibility = alice.state(&room, "m.room.history_visibility", "");
    assert_eq!(visibility, json!({ "history_visibility": "invited" }));
}

#[test]
fn records_are_kept_for_six_years_unless_it_is_said_twice() {
    let dir = Dir::new();
    dir.config("audit.retention_years = 5");
    dir.check().failed(&["audit.retention_years", "audit.allow_short_retention"]);
    dir.config("audit = { retention_years = 5, allow_short_retention = true }");
    assert!(dir.check().ok().contains("audit.retention_years"), "it is pointed out");
    for years in ["6", "0"] {
        dir.config(&format!("audit.retention_years = {years}"));
        dir.check().ok();
    }
}

#[test]
fn that_reads_are_answered_before_their_records_are_kept_is_pointed_out() {
    let dir = Dir::new();
    dir.config("audit.reads_before_answers = true");
    assert!(!dir.check().ok().contains("audit.reads_before_answers"));
    dir.config("audit.reads_before_answers = false");
    assert!(dir.check().ok().contains("audit.reads_before_answers"));
}

#[test]
fn the_example_names_every_option() {
    let dir = Dir::new();
    let printed = run(dir.command(&["config", "--example"]), LIMIT);
    let text = printed.ok();
    for option in [
        "server_name",
        "data_dir",
        "[master_key]",
        "file",
        "command",
        "[[listener]]",
        "address",
        "tls",
        "cert",
        "key",
        "serves",
        "[registration]",
        "open",
        "tokens",
        "shared_secret",
        "guests",
        "[federation]",
        "enabled",
        "allow",
        "deny",
        "verify_certificates",
        "extra_ca",
        "deny_ip_ranges",
        "[password]",
        "memory_kib",
        "iterations",
        "parallelism",
        "[rooms]",
        "default_version",
        "[rate_limits]",
        "[media]",
        "max_upload_bytes",
        "[durability]",
        "sync",
        "[log]",
        "filter",
        "format",
        "appservices",
    ] {
        assert!(text.contains(option), "{option} is not in the example");
    }
}

#[test]
fn a_complete_configuration_passes_the_check() {
    let dir = Dir::new();
    dir.config("");
    dir.check().ok();
    let example = run(dir.command(&["config", "--example"]), LIMIT);
    fs::write(dir.path().join("wardroom.toml"), example.ok()).unwrap();
    dir.check().ok();
}

#[test]
fn every_documented_option_is_known() {
    let dir = Dir::new();
    dir.config(
        r#"
master_key.file = "data/master.key"
registration = { open = false, tokens = ["a"], shared_secret = "x", guests = false }
federation = { enabled = true, allow = ["*"], deny = [], verify_certificates = true, extra_ca = [], deny_ip_ranges = ["10.0.0.0/8"] }
password.argon2 = { memory_kib = 19456, iterations = 2, parallelism = 1 }
rooms.default_version = "11"
rate_limits.enabled = true
media.max_upload_bytes = 104857600
durability.sync = true
log = { filter = "info", format = "json" }
appservices = []
"#,
    );
    dir.check().ok();
}

/// Without a listener, this machine alone is served; one that others reach is warned of.
#[test]
fn nothing_is_served_in_the_clear_to_others_unless_it_is_said() {
    let dir = Dir::new();
    TlsFiles::create(dir.path());
    let warned = |more: &str| {
        dir.config(more);
        dir.check().ok().contains("listener.tls")
    };
    let tls = "tls = { cert = \"cert.pem\", key = \"key.pem\" }";
    assert!(!warned(""));
    assert!(!warned("[[listener]]\naddress = \"127.0.0.1:0\"\n[[listener]]\naddress = \"[::1]:0\""));
    assert!(warned("[[listener]]\naddress = \"0.0.0.0:0\""));
    assert!(warned("[[listener]]\naddress = \"[::]:0\""));
    assert!(!warned(&format!("[[listener]]\naddress = \"0.0.0.0:0\"\n{tls}")));
}

#[test]
fn an_unknown_key_is_named() {
    let dir = Dir::new();
    for (more, key) in [
        ("registraton.open = true", "registraton"),
        ("registration.opened = true", "opened"),
        ("password.argon2 = { memory = 8 }", "memory"),
        ("durability.fsync = true", "fsync"),
        ("surprise = 1", "surprise"),
    ] {
        dir.config(more);
        dir.check().failed(&[key]);
        run(dir.command(&["serve", "--config", "wardroom.toml"]), LIMIT).failed(&[key]);
    }
    assert!(!dir.path().join("data").exists(), "a bad configuration starts nothing");
}

#[test]
fn a_wrong_value_names_its_key() {
    let dir = Dir::new();
    for (more, words) in [
        ("registration.open = \"yes\"", &["registration", "open"][..]),
        ("rooms.default_version = \"1\"", &["default_version"]),
        ("rooms.default_version = 12", &["default_version"]),
        ("media.max_upload_bytes = -1", &["max_upload_bytes"]),
        ("log.format = \"xml\"", &["format"]),
        ("federation.deny_ip_ranges = [\"10.0.0.0/99\"]", &["deny_ip_ranges"]),
        ("password.argon2 = { memory_kib = 0, iterations = 2, parallelism = 1 }", &["memory_kib"]),
        ("master_key = { file = \"a\", command = \"b\" }", &["master_key"]),
        ("appservices = [\"no-such-file.yaml\"]", &["no-such-file.yaml"]),
    ] {
        dir.config(more);
        dir.check().failed(words);
    }
    for (text, words) in [
        ("data_dir = \"data\"\n[[listener]]\naddress = \"127.0.0.1:0\"\n", &["server_name"][..]),
        (
            "server_name = \"not a name\"\ndata_dir = \"data\"\n[[listener]]\naddress = \"127.0.0.1:0\"\n",
            &["server_name"],
        ),
        ("server_name = \"a.example\"\n[[listener]]\naddress = \"nowhere\"\n", &["address"]),
        (
            "server_name = \"a.example\"\n[[listener]]\naddress = \"127.0.0.1:0\"\nserves = [\"everything\"]\n",
            &["serves"],
        ),
        (
            "server_name = \"a.example\"\n[[listener]]\naddress = \"127.0.0.1:0\"\ntls = { cert = \"none.pem\", key = \"none.key\" }\n",
            &["none.pem"],
        ),
        ("server_name = \n", &[]),
    ] {
        fs::write(dir.path().join("wardroom.toml"), text).unwrap();
        dir.check().failed(words);
    }
    run(dir.command(&["check", "--config", "no-such-file.toml"]), LIMIT).failed(&["no-such-file.toml"]);
}

#[test]
fn the_environment_beats_the_file() {
    let config = Config::default().set("registration.open", "false").env("WARDROOM_REGISTRATION__OPEN", "true");
    let server = server_with(config);
    server.user("alice");

    let dir = Dir::new();
    dir.config("");
    for (name, value, words) in [
        ("WARDROOM_REGISTRATION__OPENED", "true", &["opened"][..]),
        ("WARDROOM_SURPRISE", "1", &["surprise"]),
        ("WARDROOM_ROOMS__DEFAULT_VERSION", "\"1\"", &["default_version"]),
    ] {
        let mut check = dir.command(&["check", "--config", "wardroom.toml"]);
        check.env(name, value);
        run(check, LIMIT).failed(words);
    }
}

#[test]
fn the_default_room_version_is_configured() {
    let server = server_with(Config::default().set("rooms.default_version", "\"10\""));
    let alice = server.user("alice");
    let room = alice.create_room(json!({}));
    assert_eq!(alice.state(&room, "m.room.create", "")["room_version"], "10");
    let capabilities = alice.get(wardroom_testkit::v3(&["capabilities"])).ok();
    assert_eq!(capabilities["capabilities"]["m.room_versions"]["default"], "10");
}

#[test]
fn logs_are_text_or_json() {
    for format in ["text", "json"] {
        let mut server =
            server_with(Config::default().set("log.format", &format!("{format:?}")).set("log.filter", r#""info""#));
        server.user("alice");
        server.stop();
        let log = server.log();
        let lines: Vec<&str> = log.lines().filter(|line| !line.trim().is_empty()).collect();
        assert!(!lines.is_empty(), "a server that starts and stops has something to say");
        let as_json = lines.iter().filter(|line| serde_json::from_str::<wardroom_testkit::Value>(line).is_ok()).count();
        assert_eq!(as_json, if format == "json" { lines.len() } else { 0 }, "{log}");
    }
}

#[test]
fn a_command_that_is_none_is_refused() {
    let dir = Dir::new();
    for args in [&["serv"][..], &["serve"], &["check", "--conf", "x"], &["user"], &[]] {
        let ended = run(dir.command(args), LIMIT);
        assert_eq!(ended.code, Some(2), "{ended:#?}");
        assert!(ended.stderr.to_lowercase().contains("usage"), "{ended:#?}");
    }
    assert!(run(dir.command(&["--version"]), LIMIT).ok().starts_with("wardroom "));
}
