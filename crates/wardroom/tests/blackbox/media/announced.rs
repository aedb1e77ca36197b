//! `POST /_matrix/media/v1/create` and `PUT /_matrix/media/v3/upload/{serverName}/{mediaId}`.

use std::thread;

use wardroom_testkit::{Actor, Body, Reply, User, encode, raw};

use super::{download, download_path, path};
use crate::ward;

#[track_caller]
fn create(user: &User) -> String {
    let answer = user.request("POST", &raw("/_matrix/media/v1/create"), Body::Empty).ok();
    assert!(answer["unused_expires_at"].as_u64().unwrap() > 1_700_000_000_000, "{answer}");
    answer["content_uri"].as_str().unwrap().to_owned()
}

fn put(user: &User, uri: &str, content: &[u8]) -> Reply {
    user.request(
        "PUT",
        &path("/_matrix/media/v3/upload", uri, "?filename=a.txt"),
        Body::Raw(content.to_vec(), "text/plain"),
    )
}

#[test]
fn a_content_comes_after_its_id() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let uri = create(&alice);
    bob.get(download_path(&uri).query("timeout_ms", "0")).refused(504, "M_NOT_YET_UPLOADED");
    put(&bob, &uri, b"not his").refused(403, "M_FORBIDDEN");
    assert_eq!(put(&alice, &uri, b"hers").ok(), wardroom_testkit::json!({}));
    let answer = download(&bob, &uri);
    assert_eq!(
        (answer.bytes.as_slice(), answer.header("content-disposition")),
        (&b"hers"[..], Some("inline; filename=\"a.txt\""))
    );
    put(&alice, &uri, b"again").refused(409, "M_CANNOT_OVERWRITE_MEDIA");
    assert_eq!(download(&bob, &uri).bytes, b"hers");
    let unstable = create(&alice);
    let target = path("/_matrix/media/unstable/fi.mau.msc2246/upload", &unstable, "");
    alice.request("PUT", &target, Body::Raw(b"x".to_vec(), "text/plain")).ok();
}

#[test]
fn only_ids_that_were_created_get_a_content() {
    let alice = ward().user("alice");
    let server = encode(ward().name());
    for (rest, status, errcode) in [
        (format!("{server}/unknown"), 404, "M_NOT_FOUND"),
        ("elsewhere.example/unknown".to_owned(), 404, "M_NOT_FOUND"),
        (format!("{server}/a.b"), 400, "M_INVALID_PARAM"),
    ] {
        let target = raw(&format!("/_matrix/media/v3/upload/{rest}"));
        alice.request("PUT", &target, Body::Raw(b"x".to_vec(), "text/plain")).refused(status, errcode);
    }
}

#[test]
fn a_download_waits_for_the_content() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let uri = create(&alice);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| download(&bob, &uri));
        let thumbnail = path("/_matrix/client/v1/media/thumbnail", &uri, "?width=8&height=8");
        let waiting_too = scope.spawn(|| bob.get(thumbnail));
        put(&alice, &uri, b"at last").ok();
        assert_eq!(waiting.join().unwrap().bytes, b"at last");
        waiting_too.join().unwrap().refused(400, "M_UNKNOWN");
    });
}

#[test]
fn ids_without_content_are_limited() {
    let alice = ward().user("alice");
    let mut created = Vec::new();
    let refused = loop {
        let answer = alice.request("POST", &raw("/_matrix/media/v1/create"), Body::Empty);
        if answer.status != 200 {
            break answer;
        }
        created.push(answer.ok()["content_uri"].as_str().unwrap().to_owned());
        assert!(created.len() < 1_000, "there is no limit");
    };
    refused.refused(429, "M_LIMIT_EXCEEDED");
    put(&alice, &created[0], b"x").ok();
    create(&alice);
    create(&ward().user("bob"));
}
