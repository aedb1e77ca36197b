//! Listeners: TLS, and which of them serves what.

use std::time::Duration;

use wardroom_testkit::{Actor, Config, Listener, TlsFiles, TlsVersion, json, raw, v3};

use crate::server_with;

const VERSIONS: &str = "/_matrix/client/versions";

fn plain(serves: &[&str]) -> Listener {
    Listener { serves: serves.iter().map(|&kind| kind.to_owned()).collect(), tls: None }
}

/// A directory with a certificate, removed when dropped.
struct CertificateDir(std::path::PathBuf);

impl CertificateDir {
    fn new() -> Self {
        let dir = std::env::temp_dir().join(wardroom_testkit::unique("wardroom-tls"));
        std::fs::create_dir(&dir).unwrap();
        Self(dir)
    }
}

impl Drop for CertificateDir {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

#[test]
fn a_tls_listener_speaks_tls_and_nothing_else() {
    let (dir, other) = (CertificateDir::new(), CertificateDir::new());
    let tls = TlsFiles::create(&dir.0);
    let server = server_with(Config::default().listener(Listener { serves: Vec::new(), tls: Some(tls.clone()) }));
    for version in [TlsVersion::V1_2, TlsVersion::V1_3] {
        let answer = server.ask_tls(1, &tls, version).unwrap_or_else(|why| panic!("{version:?}: {}", why.0));
        assert!(answer.ok()["versions"].is_array());
    }
    let stranger = TlsFiles::create(&other.0);
    assert!(server.ask_tls(1, &stranger, TlsVersion::V1_3).is_err(), "another certificate was trusted");
    let in_clear = server.ask_listener(1, &raw(VERSIONS));
    assert!(
        in_clear.is_err() || in_clear.is_ok_and(|answer| answer.status == 400),
        "plain HTTP was served on the TLS port"
    );
    assert_eq!(server.anonymous().get(raw(VERSIONS)).status, 200, "the plain listener is there as well");
}

/// A client's first message, of nothing newer than a version of TLS.
fn client_hello(minor: u8) -> Vec<u8> {
    let mut hello = vec![3, minor];
    hello.extend([7; 32]);
    hello.push(0);
    // Suites that servers of that time took.
    let suites = [0xc0, 0x13, 0xc0, 0x14, 0xc0, 0x09, 0xc0, 0x0a, 0x00, 0x2f, 0x00, 0x35];
    hello.extend([0, u8::try_from(suites.len()).unwrap()]);
    hello.extend(suites);
    hello.extend([1, 0]);
    let mut message = vec![1, 0, 0, u8::try_from(hello.len()).unwrap()];
    message.extend(hello);
    let mut record = vec![22, 3, 1, 0, u8::try_from(message.len()).unwrap()];
    record.extend(message);
    record
}

/// HIPAA, 45 CFR 164.312(e)(2)(ii).
#[test]
fn tls_before_1_2_is_refused() {
    use std::io::{Read as _, Write as _};
    const ALERT: u8 = 21;
    let dir = CertificateDir::new();
    let tls = TlsFiles::create(&dir.0);
    let server = server_with(Config::default().listener(Listener { serves: Vec::new(), tls: Some(tls) }));
    for minor in [0, 1, 2] {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", server.port(1))).unwrap();
        stream.set_read_timeout(Some(crate::SOON)).unwrap();
        stream.write_all(&client_hello(minor)).unwrap();
        let mut answer = Vec::new();
        // However the connection ends.
        drop(stream.read_to_end(&mut answer));
        assert_eq!(answer.first(), Some(&ALERT), "TLS 1.{} is answered with {answer:?}", i16::from(minor) - 1);
        assert_eq!(answer[5], 2, "a fatal one: {answer:?}");
    }
}

#[test]
fn a_listener_serves_what_it_is_told() {
    let config =
        Config::default().listener(plain(&["metrics"])).listener(plain(&["client"])).listener(plain(&["admin"]));
    let server = server_with(config);
    let ask =
        |listener, path: &str| server.ask_listener(listener, &raw(path)).unwrap_or_else(|why| panic!("{}", why.0));
    let admin = "/_synapse/admin/v1/register";
    server.anonymous().get(raw(VERSIONS)).ok();
    server.anonymous().get(raw(admin)).ok();

    let metrics = ask(1, "/metrics");
    assert_eq!(metrics.status, 200, "{}", metrics.story());
    let text = String::from_utf8(metrics.bytes).unwrap();
    assert!(text.lines().any(|line| line.starts_with("# TYPE ")), "Prometheus text format: {text}");
    assert_eq!(ask(1, VERSIONS).status, 404);
    assert_eq!(ask(1, admin).status, 404);
    assert_eq!(server.anonymous().get(raw("/metrics")).status, 404, "metrics are not for everybody");

    ask(2, VERSIONS).ok();
    assert_eq!(ask(2, admin).status, 404);
    ask(3, admin).ok();
    assert_eq!(ask(3, VERSIONS).status, 404);
    assert_eq!(ask(3, "/_matrix/client/v3/publicRooms").status, 404);
}

#[test]
fn metrics_count_requests_and_name_nobody() {
    let server = server_with(Config::default().listener(plain(&["metrics"])));
    let alice = server.user("alice");
    let room = alice.create_public_room(&[]);
    for _ in 0..5 {
        alice.say(&room, "hello");
    }
    let metrics = server.ask_listener(1, &raw("/metrics")).unwrap_or_else(|why| panic!("{}", why.0));
    let text = String::from_utf8(metrics.bytes).unwrap();
    for private in [alice.localpart.as_str(), room.as_str(), alice.token.as_str(), "hello"] {
        assert!(!text.contains(private), "{private} is in the metrics");
    }
    let counts_requests =
        text.lines().any(|line| !line.starts_with('#') && line.contains("send") && line.ends_with(" 5"));
    assert!(counts_requests, "five sends are not counted:\n{text}");
}

#[test]
fn a_client_that_sends_nothing_blocks_nobody() {
    let server = server_with(Config::default());
    let address = ("127.0.0.1", server.port(0));
    let silent: Vec<_> = (0..100).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
    let slow: Vec<_> = (0..20)
        .map(|_| {
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            std::io::Write::write_all(&mut stream, b"POST /_matrix/client/v3/login HTTP/1.1\r\nHost: x\r\nContent-Le")
                .unwrap();
            stream
        })
        .collect();
    let alice = server.user("alice");
    let room = alice.create_room(json!({}));
    alice.say(&room, "hello");
    let answer = alice.get(v3(&["account", "whoami"]));
    assert!(answer.took < Duration::from_secs(10), "{:?}", answer.took);
    drop((silent, slow));
}
