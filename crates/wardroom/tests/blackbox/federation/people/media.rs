//! Media across servers.

use wardroom_testkit::{Actor, Config, Peer, Server, Target, User, encode, json, peer::Answer, raw, v3};

use super::super::sites::Site;
use crate::{
    BINARY,
    media::{download, path, png, size, upload},
};

/// A media of a server that a test plays, as its answer in parts.
fn in_parts(headers: &str, content: &[u8]) -> Answer {
    let head = format!("--of parts\r\nContent-Type: application/json\r\n\r\n{{}}\r\n--of parts\r\n{headers}\r\n\r\n");
    let body = [head.as_bytes(), content, b"\r\n--of parts--\r\n"].concat();
    Answer::bytes(200, "multipart/mixed; boundary=\"of parts\"", body)
}

fn uri(peer: &Peer, id: &str) -> String {
    format!("mxc://{}/{id}", peer.name())
}

fn reader() -> (Site, Peer, User) {
    let (site, peer) = (Site::start(), Peer::start());
    let alice = site.user("alice");
    (site, peer, alice)
}

#[test]
fn a_file_is_fetched_once_and_served_like_an_own_one() {
    let (here, mut there) = (Site::start(), Site::named());
    let (alice, bob) = (here.user("alice"), there.user("bob"));
    let content: Vec<u8> = (0..3_000_000_u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
    let file = upload(&bob, &content, "application/pdf", Some("Befund Größe.pdf"));
    let empty = upload(&bob, b"", "text/plain", None);
    let picture = upload(&bob, &png(400, 300), "image/png", None);
    let got = download(&alice, &file);
    assert_eq!(got.status, 200, "{}", got.story());
    assert!(got.bytes == content);
    assert_eq!(got.headers["content-type"], "application/pdf");
    let disposition = got.headers["content-disposition"].to_str().unwrap();
    assert_eq!(disposition, "attachment; filename*=utf-8''Befund%20Gr%C3%B6%C3%9Fe.pdf");
    assert_eq!(download(&alice, &empty).bytes, b"");
    let thumbnail =
        |uri: &str| alice.get(path("/_matrix/client/v1/media/thumbnail", uri, "?width=96&height=96&method=crop"));
    assert_eq!(size(&thumbnail(&picture)), (96, 96));
    thumbnail(&file).refused(400, "M_UNKNOWN");
    let unknown = format!("mxc://{}/nothing", there.name());
    download(&alice, &unknown).refused(404, "M_NOT_FOUND");
    // What was fetched is here, also after a restart, when the other server is gone.
    there.server.kill9();
    assert!(download(&alice, &file).bytes == content);
    assert_eq!(size(&thumbnail(&picture)), (96, 96));
    let gone = format!("mxc://{}/never-fetched", there.name());
    download(&alice, &gone).refused(502, "M_UNKNOWN");
}

#[test]
fn what_was_announced_is_waited_for() {
    let (here, there) = (Site::start(), Site::named());
    let (alice, bob) = (here.user("alice"), there.user("bob"));
    let created = bob.post(raw("/_matrix/media/v1/create"), json!({})).ok();
    let announced = created["content_uri"].as_str().unwrap();
    alice
        .get(path("/_matrix/client/v1/media/download", announced, "?timeout_ms=100"))
        .refused(504, "M_NOT_YET_UPLOADED");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| download(&alice, announced));
        let target = path("/_matrix/media/v3/upload", announced, "");
        bob.request("PUT", &target, wardroom_testkit::Body::Raw(b"late".to_vec(), "text/plain")).ok();
        assert_eq!(waiting.join().unwrap().bytes, b"late");
    });
}

#[test]
fn servers_that_sign_get_media_in_parts() {
    let (site, peer, alice) = reader();
    let file = upload(&alice, b"a \r\n--b", "text/plain", Some("a.txt"));
    let id = file.rsplit_once('/').unwrap().1;
    let target = |kind: &str, id: &str| Target::federation_v1(&["media", kind, id]);
    let answer = peer.ask(&site.server, "GET", &target("download", id), None);
    assert_eq!(answer.status, 200, "{}", answer.story());
    let content_type = answer.headers["content-type"].to_str().unwrap();
    let boundary = content_type.strip_prefix("multipart/mixed; boundary=").unwrap();
    let expected = format!(
        "--{boundary}\r\nContent-Type: application/json\r\n\r\n{{}}\r\n--{boundary}\r\nContent-Type: text/plain\r\n\
         Content-Disposition: inline; filename=\"a.txt\"\r\n\r\na \r\n--b\r\n--{boundary}--\r\n"
    );
    assert_eq!(String::from_utf8(answer.bytes).unwrap(), expected);

    let picture = upload(&alice, &png(400, 300), "image/png", None);
    let picture = picture.rsplit_once('/').unwrap().1;
    let wish = |id: &str| target("thumbnail", id).query("width", "32").query("height", "32").query("method", "crop");
    let answer = peer.ask(&site.server, "GET", &wish(picture), None);
    assert_eq!(answer.status, 200, "{}", answer.story());
    peer.ask(&site.server, "GET", &wish(id), None).refused(400, "M_UNKNOWN");
    let small = target("thumbnail", picture).query("width", "0").query("height", "32");
    peer.ask(&site.server, "GET", &small, None).refused(400, "M_INVALID_PARAM");

    for kind in ["download", "thumbnail"] {
        let missing = target(kind, "nothing").query("width", "32").query("height", "32");
        peer.ask(&site.server, "GET", &missing, None).refused(404, "M_NOT_FOUND");
        peer.ask_with(&site.server, "GET", &missing, None, "").unwrap().refused(401, "M_UNAUTHORIZED");
    }
    let created = alice.post(raw("/_matrix/media/v1/create"), json!({})).ok();
    let announced = created["content_uri"].as_str().unwrap().rsplit_once('/').unwrap().1.to_owned();
    let waiting = target("download", &announced).query("timeout_ms", "10");
    peer.ask(&site.server, "GET", &waiting, None).refused(504, "M_NOT_YET_UPLOADED");
}

#[test]
fn all_who_want_a_file_at_once_share_one_request() {
    let (_site, peer, alice) = reader();
    peer.on("/media/download/", |_| in_parts("Content-Type: text/plain", b"shared"));
    let file = uri(&peer, "file");
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..10).map(|_| scope.spawn(|| download(&alice, &file))).collect();
        for reader in readers {
            assert_eq!(reader.join().unwrap().bytes, b"shared");
        }
    });
    assert_eq!(peer.asked("/media/download/").len(), 1);
}

#[test]
fn older_servers_are_asked_at_the_older_path() {
    let (_site, peer, alice) = reader();
    peer.on("/_matrix/media/v3/download/", |asked| {
        assert_eq!(asked.parameters("allow_remote"), ["false"]);
        match asked.segments().last().map(String::as_str) {
            Some("there") => Answer::bytes(200, "text/plain", b"old".to_vec())
                .header("content-disposition", "inline; filename=old.txt"),
            _ => Answer::error(404, "M_NOT_FOUND"),
        }
    });
    let got = download(&alice, &uri(&peer, "there"));
    assert_eq!(got.bytes, b"old");
    assert_eq!(got.headers["content-disposition"], "inline; filename=\"old.txt\"");
    download(&alice, &uri(&peer, "missing")).refused(404, "M_NOT_FOUND");
    let paths: Vec<String> = peer.asked("/media/").into_iter().map(|asked| asked.segments()[1].clone()).collect();
    assert_eq!(paths, ["federation", "media", "federation", "media"]);
}

#[test]
fn a_file_may_lie_elsewhere() {
    let (_site, peer, alice) = reader();
    let elsewhere = Peer::start();
    elsewhere.on("/store/", |asked| match asked.segments().last().map(String::as_str) {
        Some("file") => Answer::bytes(200, "text/plain", b"from elsewhere".to_vec()),
        Some("hop") => Answer::redirect("/store/file"),
        _ => Answer::error(404, "M_NOT_FOUND"),
    });
    let place = elsewhere.name().to_owned();
    peer.on("/media/download/", move |asked| {
        let at = match asked.segments().last().map(String::as_str) {
            Some("plain") => format!("http://{place}/store/file"),
            Some(id) => format!("https://{place}/store/{id}"),
            None => String::new(),
        };
        in_parts(&format!("Location: {at}"), b"")
    });
    let got = download(&alice, &uri(&peer, "file"));
    assert_eq!(got.bytes, b"from elsewhere", "{}", got.story());
    let asked = &elsewhere.asked("/store/")[0];
    assert_eq!(asked.authorization, "", "nothing of this server goes there");
    download(&alice, &uri(&peer, "missing")).refused(404, "M_NOT_FOUND");
    for bad in ["hop", "plain"] {
        download(&alice, &uri(&peer, bad)).refused(502, "M_UNKNOWN");
    }
}

#[test]
fn hostile_answers_are_refused_and_leave_nothing() {
    let config = Config::default().federating_as("127.0.0.1").set("media.max_remote_bytes", "100000");
    let server = Server::start_with(BINARY, config);
    let peer = Peer::start();
    let alice = server.user("alice");
    peer.on("/media/download/", |asked| match asked.segments().last().map(String::as_str) {
        Some("large") => in_parts("Content-Type: text/plain", &vec![b'x'; 100_001]),
        Some("largest") => in_parts("Content-Type: text/plain", &vec![b'x'; 1_000_000]),
        Some("cut") => Answer::bytes(200, "multipart/mixed; boundary=a", b"--a\r\n\r\n{}\r\n--a\r\n\r\nhalf".to_vec()),
        Some("single") => Answer::bytes(200, "multipart/mixed; boundary=a", b"--a\r\n\r\n{}\r\n--a--".to_vec()),
        Some("bare") => Answer::bytes(200, "text/html", b"<script>".to_vec()),
        Some("headers") => in_parts(&"a: b\r\n".repeat(10_000), b"x"),
        Some("fine") => in_parts("Content-Type: <script>/x\r\nContent-Disposition: \u{7f}", &vec![b'x'; 100_000]),
        _ => Answer::redirect("/"),
    });
    for id in ["large", "largest"] {
        download(&alice, &uri(&peer, id)).refused(502, "M_TOO_LARGE");
    }
    for id in ["cut", "single", "bare", "headers", "elsewhere"] {
        download(&alice, &uri(&peer, id)).refused(502, "M_UNKNOWN");
    }
    let got = download(&alice, &uri(&peer, "fine"));
    assert_eq!((got.status, got.bytes.len()), (200, 100_000));
    assert_eq!(got.headers["content-type"], "application/octet-stream");
    assert_eq!(got.headers["content-disposition"], "attachment");
    let files = walk(&server.data_dir().join("media"));
    assert_eq!(files, 1, "only what was fetched in whole lies there");
    // No token, no fetching.
    let old = path("/_matrix/media/v3/download", &uri(&peer, "fine"), "");
    server.anonymous().get(old).refused(404, "M_NOT_FOUND");
    let nowhere = raw(&format!("/_matrix/client/v1/media/download/{}/x", encode("no server")));
    alice.get(nowhere).refused(400, "M_INVALID_PARAM");
    alice.get(v3(&["account", "whoami"])).ok();
}

/// Files under a directory.
fn walk(dir: &std::path::Path) -> usize {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { walk(&path) } else { 1 }).sum()
}
