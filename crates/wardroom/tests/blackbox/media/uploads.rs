//! `POST /_matrix/media/v3/upload`, `GET .../media/config`.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use wardroom_testkit::{Actor, Body, Config, json, raw, v1, v3};

use super::{download, upload};
use crate::{server_with, ward};

const UPLOAD: &str = "/_matrix/media/v3/upload";

#[test]
fn what_is_uploaded_is_downloaded_by_every_user() {
    let (alice, bob) = (ward().user("alice"), ward().user("bob"));
    let content: Vec<u8> = (0..200_000_u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
    let uri = upload(&alice, &content, "image/png", Some("x-ray.png"));
    assert!(uri.starts_with(&format!("mxc://{}/", ward().name())), "{uri}");
    let id = uri.rsplit('/').next().unwrap();
    assert!(id.len() >= 20 && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)), "{id}");
    for user in [&alice, &bob] {
        let answer = download(user, &uri);
        assert_eq!((answer.status, answer.bytes == content), (200, true), "{}", answer.story());
        assert_eq!(answer.header("content-type"), Some("image/png"));
        assert_eq!(answer.header("content-disposition"), Some("inline; filename=\"x-ray.png\""));
        assert_eq!(answer.header("content-length"), Some("200000"));
    }
    assert_ne!(upload(&alice, &content, "image/png", None), uri, "each upload has its own id");
    let empty = upload(&alice, b"", "text/plain", None);
    assert_eq!(download(&alice, &empty).bytes, b"");
}

#[test]
fn an_upload_needs_a_token() {
    let nobody = ward().anonymous();
    let body = || Body::Raw(b"x".to_vec(), "text/plain");
    nobody.request("POST", &raw(UPLOAD), body()).refused(401, "M_MISSING_TOKEN");
    nobody.request("POST", &raw("/_matrix/media/v1/create"), Body::Empty).refused(401, "M_MISSING_TOKEN");
    nobody.request("PUT", &raw("/_matrix/media/v3/upload/a/b"), body()).refused(401, "M_MISSING_TOKEN");
    let alice = ward().user("alice").with_token("wrong");
    alice.request("POST", &raw(UPLOAD), body()).refused(401, "M_UNKNOWN_TOKEN");
    alice.request("POST", &raw("/_matrix/media/r0/upload"), body()).refused(401, "M_UNKNOWN_TOKEN");
}

#[test]
fn guests_look_but_do_not_upload() {
    let server = server_with(Config::default().set("registration.guests", "true"));
    let alice = server.user("alice");
    let uri = upload(&alice, b"seen", "text/plain", None);
    let answer = server.anonymous().post(v3(&["register"]).query("kind", "guest"), json!({})).ok();
    let guest = alice.with_token(answer["access_token"].as_str().unwrap());
    assert_eq!(download(&guest, &uri).bytes, b"seen");
    let body = Body::Raw(b"x".to_vec(), "text/plain");
    guest.request("POST", &raw(UPLOAD), body).refused(403, "M_GUEST_ACCESS_FORBIDDEN");
    guest.get(v1(&["media", "preview_url"]).query("url", "http://a.example")).refused(403, "M_GUEST_ACCESS_FORBIDDEN");
}

#[test]
fn types_and_names_that_are_none_do_no_harm() {
    let alice = ward().user("alice");
    let post = |target, content_type| {
        let answer = alice.request("POST", &target, Body::Raw(b"x".to_vec(), content_type)).ok();
        download(&alice, answer["content_uri"].as_str().unwrap())
    };
    assert_eq!(post(raw(UPLOAD), "not a type").header("content-type"), Some("application/octet-stream"));
    assert_eq!(post(raw(UPLOAD), "text/html; charset=utf-8").header("content-type"), Some("text/html; charset=utf-8"));
    let answer = alice.http().request_with("POST", &raw(UPLOAD), alice.token(), &[], Body::Empty).ok();
    let without = download(&alice, answer["content_uri"].as_str().unwrap());
    assert_eq!(without.header("content-type"), Some("application/octet-stream"));
    assert_eq!(without.header("content-disposition"), Some("attachment"));
    for (name, header) in [
        ("a b.txt", "inline; filename=\"a b.txt\""),
        ("Bücher.txt", "inline; filename*=utf-8''B%C3%BCcher.txt"),
        ("a\"\r\nx: y", "inline; filename*=utf-8''a%22%0D%0Ax%3A%20y"),
        ("../../etc/passwd", "inline; filename=\"../../etc/passwd\""),
        ("", "inline"),
    ] {
        let answer = post(raw(UPLOAD).query("filename", name), "text/plain");
        assert_eq!(answer.header("content-disposition"), Some(header), "{name:?}");
    }
    let long = raw(UPLOAD).query("filename", &"n".repeat(256));
    let refused = alice.request("POST", &long, Body::Raw(b"x".to_vec(), "text/plain"));
    assert!(refused.refused(400, "M_INVALID_PARAM")["error"].as_str().unwrap().starts_with("filename"));
    let junk = alice.request("POST", &raw(&format!("{UPLOAD}?filename=%ff")), Body::Raw(b"x".to_vec(), "text/plain"));
    assert!(junk.status == 200 || junk.status == 400, "{}", junk.story());
}

#[test]
fn the_limit_is_told_and_kept() {
    let server = server_with(Config::default().set("media.max_upload_bytes", "100_000"));
    let alice = server.user("alice");
    for path in ["/_matrix/client/v1/media/config", "/_matrix/media/v3/config", "/_matrix/media/r0/config"] {
        assert_eq!(alice.get(raw(path)).ok(), json!({ "m.upload.size": 100_000 }), "{path}");
        server.anonymous().get(raw(path)).refused(401, "M_MISSING_TOKEN");
    }
    upload(&alice, &vec![1; 100_000], "text/plain", None);
    let post = |bytes: usize| alice.request("POST", &raw(UPLOAD), Body::Raw(vec![1; bytes], "text/plain"));
    post(100_001).refused(413, "M_TOO_LARGE");
    post(5_000_000).refused(413, "M_TOO_LARGE");
    // Without a length it is found out while it is received.
    let mut stream = TcpStream::connect(server.base().trim_start_matches("http://")).unwrap();
    let head = format!(
        "POST {UPLOAD} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {}\r\ntransfer-encoding: chunked\r\n\
         connection: close\r\n\r\n",
        alice.token
    );
    stream.write_all(head.as_bytes()).unwrap();
    for _ in 0..3 {
        stream.write_all(b"9c40\r\n").unwrap();
        stream.write_all(&[1; 40_000]).unwrap();
        stream.write_all(b"\r\n").unwrap();
    }
    stream.write_all(b"0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("M_TOO_LARGE"), "{answer}");
}

#[test]
fn a_user_stores_no_more_than_one_may() {
    let server = server_with(Config::default().set("media.user_quota_bytes", "1_000"));
    let (alice, bob) = (server.user("alice"), server.user("bob"));
    upload(&alice, &[1; 600], "text/plain", None);
    let refused = alice.request("POST", &raw(UPLOAD), Body::Raw(vec![1; 401], "text/plain"));
    refused.refused(403, "M_FORBIDDEN");
    upload(&alice, &[1; 400], "text/plain", None);
    upload(&bob, &[1; 1_000], "text/plain", None);
    alice.request("POST", &raw(UPLOAD), Body::Raw(vec![1], "text/plain")).refused(403, "M_FORBIDDEN");
}

#[test]
fn an_upload_that_breaks_off_leaves_nothing() {
    let server = server_with(Config::default());
    let alice = server.user("alice");
    let files = || {
        let dirs = std::fs::read_dir(server.data_dir().join("media")).unwrap();
        dirs.map(|dir| std::fs::read_dir(dir.unwrap().path()).unwrap().count()).sum::<usize>()
    };
    let mut stream = TcpStream::connect(server.base().trim_start_matches("http://")).unwrap();
    let head = format!(
        "POST {UPLOAD} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {}\r\ncontent-length: 1000000\r\n\r\n",
        alice.token
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&[7; 400_000]).unwrap();
    wardroom_testkit::wait_until("a file is begun", crate::SOON, || (files() == 1).then_some(()));
    drop(stream);
    wardroom_testkit::wait_until("the file is gone", crate::SOON, || (files() == 0).then_some(()));
}
