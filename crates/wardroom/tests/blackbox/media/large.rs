//! Memory does not grow with a file, and what is acknowledged survives a kill.

use std::{
    collections::HashMap,
    fs,
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use wardroom_testkit::{Actor, Body, Config, Server, raw, wait_until};

use super::{download, download_path};
use crate::{SOON, server_with};

const MIB: usize = 1024 * 1024;
/// What an upload or a download of 100 MiB may add to the resident memory of the server.
const EXTRA_KIB_MAX: u64 = 30 * 1024;

/// The most memory that the server had resident since the last reset, in KiB.
fn peak_kib(server: &Server) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn reset_peak(server: &Server) {
    fs::write(format!("/proc/{}/clear_refs", server.pid()), "5").unwrap();
}

#[test]
fn a_large_file_goes_through_little_memory() {
    let server = server_with(Config::default());
    let alice = server.user("alice");
    // Once small, so that what is needed once is there.
    let warm = super::upload(&alice, &vec![1; MIB], "video/mp4", None);
    assert_eq!(download(&alice, &warm).bytes.len(), MIB);
    let content: Vec<u8> = (0..100 * MIB).map(|n| u8::try_from((n / 7) % 253).unwrap()).collect();
    reset_peak(&server);
    let before = peak_kib(&server);
    let answer = alice.request("POST", &raw("/_matrix/media/v3/upload"), Body::Raw(content.clone(), "video/mp4"));
    let uri = answer.ok()["content_uri"].as_str().unwrap().to_owned();
    let uploaded = peak_kib(&server);
    assert!(uploaded < before + EXTRA_KIB_MAX, "an upload took {before} to {uploaded} KiB");
    reset_peak(&server);
    let answer = download(&alice, &uri);
    assert!(answer.bytes == content, "{} bytes came back", answer.bytes.len());
    let downloaded = peak_kib(&server);
    assert!(downloaded < before + EXTRA_KIB_MAX, "a download took {before} to {downloaded} KiB");
    let target = download_path(&uri);
    let part = alice.http().request_with("GET", &target, alice.token(), &[("range", "bytes=99999990-")], Body::Empty);
    assert_eq!((part.status, part.bytes == content[99_999_990..]), (206, true));
    let too_large = alice.request("POST", &raw("/_matrix/media/v3/upload"), Body::Raw(vec![0; 100 * MIB + 1], "a/b"));
    too_large.refused(413, "M_TOO_LARGE");
}

#[test]
fn a_kill_loses_nothing_that_was_acknowledged_and_leaves_nothing_else() {
    let mut server = server_with(Config::default());
    let users: Vec<_> = (0..4).map(|_| server.user("writer")).collect();
    let acknowledged: Mutex<HashMap<String, Vec<u8>>> = Mutex::default();
    for round in 0..5_u8 {
        let http = server.http().clone();
        thread::scope(|scope| {
            for (n, user) in users.iter().enumerate() {
                let (acknowledged, http) = (&acknowledged, &http);
                scope.spawn(move || {
                    for size in (0..).map(|step: usize| 1 + (step * 77_773 + n * 31) % 600_000) {
                        let content = vec![round ^ u8::try_from(size % 256).unwrap(); size];
                        let body = Body::Raw(content.clone(), "text/plain");
                        let target = raw("/_matrix/media/v3/upload");
                        let Ok(answer) = http.try_request(&"POST".parse().unwrap(), &target, user.token(), body) else {
                            return;
                        };
                        let uri = answer.ok()["content_uri"].as_str().unwrap().to_owned();
                        acknowledged.lock().unwrap().insert(uri, content);
                    }
                });
            }
            let enough = (usize::from(round) + 1) * 20;
            let started = Instant::now();
            while acknowledged.lock().unwrap().len() < enough && started.elapsed() < Duration::from_secs(60) {
                thread::sleep(Duration::from_millis(2));
            }
            server.kill9();
        });
        server.start_again();
    }
    let acknowledged = acknowledged.into_inner().unwrap();
    assert!(acknowledged.len() >= 100);
    for (uri, content) in &acknowledged {
        let answer = download(&users[0], uri);
        assert!(answer.bytes == *content, "{}", answer.story());
    }
    // Uploads whose rows were committed and whose answers were lost may be there too, files without a row may not.
    server.restart();
    let media = server.data_dir().join("media");
    let files = || {
        let dirs = fs::read_dir(&media).unwrap().flatten().filter(|dir| dir.file_name().len() == 2);
        dirs.map(|dir| fs::read_dir(dir.path()).unwrap().count()).sum::<usize>()
    };
    let most = acknowledged.len() + 5 * users.len();
    wait_until("files without a row are gone", SOON, || (files() <= most).then_some(()));
    assert!(files() >= acknowledged.len());
    assert_eq!(fs::read_dir(media.join("new")).unwrap().count(), 0);
}
