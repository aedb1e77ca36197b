//! `GET /_matrix/client/v1/media/download/{serverName}/{mediaId}` and the old paths.

use wardroom_testkit::{Actor, Body, Config, Target, encode, raw};

use super::{download, download_path, path, upload};
use crate::{server_with, ward};

const UNSTABLE: &str = "/_matrix/client/unstable/org.matrix.msc3916/media/download";

#[test]
fn a_download_needs_a_token_and_a_media() {
    let alice = ward().user("alice");
    let uri = upload(&alice, b"x", "text/plain", None);
    alice.anonymous().get(download_path(&uri)).refused(401, "M_MISSING_TOKEN");
    alice.with_token("wrong").get(download_path(&uri)).refused(401, "M_UNKNOWN_TOKEN");
    assert_eq!(alice.get(path(UNSTABLE, &uri, "")).bytes, b"x");
    let name = encode(ward().name());
    let at = |rest: &str| raw(&format!("/_matrix/client/v1/media/download/{rest}"));
    for (target, status, errcode) in [
        (at(&format!("{name}/unknown")), 404, "M_NOT_FOUND"),
        (at("elsewhere.example/unknown"), 502, "M_UNKNOWN"),
        (at("elsewhere.example/unknown?allow_remote=false"), 404, "M_NOT_FOUND"),
        (at(&format!("{name}/..%2f..%2fetc%2fpasswd")), 400, "M_INVALID_PARAM"),
        (at(&format!("{name}/a.b")), 400, "M_INVALID_PARAM"),
        (at("no%20server/abc"), 400, "M_INVALID_PARAM"),
        (at(&format!("{name}/unknown?timeout_ms=soon")), 400, "M_INVALID_PARAM"),
        (at(&format!("{name}/{}", "a".repeat(300))), 400, "M_INVALID_PARAM"),
    ] {
        alice.get(target).refused(status, errcode);
    }
}

#[test]
fn the_name_may_be_another() {
    let alice = ward().user("alice");
    let uri = upload(&alice, b"x", "text/plain", Some("old.txt"));
    let prefix = "/_matrix/client/v1/media/download";
    let answer = alice.get(path(prefix, &uri, "/new%20name.txt"));
    assert_eq!(answer.header("content-disposition"), Some("inline; filename=\"new name.txt\""));
    let answer = alice.get(path(UNSTABLE, &uri, "/%C3%A4.txt"));
    assert_eq!(answer.header("content-disposition"), Some("inline; filename*=utf-8''%C3%A4.txt"));
    alice.get(path(prefix, &uri, &format!("/{}", "n".repeat(256)))).refused(400, "M_INVALID_PARAM");
}

#[test]
fn browsers_are_told_to_run_nothing() {
    let alice = ward().user("alice");
    let html = upload(&alice, b"<script>alert(1)</script>", "text/html", Some("page.html"));
    let svg = upload(&alice, b"<svg/>", "image/svg+xml", None);
    let image = upload(&alice, b"no image", "image/png", None);
    for (uri, disposition) in [(&html, "attachment; filename=\"page.html\""), (&svg, "attachment"), (&image, "inline")]
    {
        let answer = download(&alice, uri);
        assert_eq!(answer.header("content-disposition"), Some(disposition));
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("sandbox;") && policy.contains("script-src 'none'"), "{policy}");
        assert_eq!(answer.header("cross-origin-resource-policy"), Some("cross-origin"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        assert!(answer.header("cache-control").unwrap().contains("private"));
    }
}

#[test]
fn what_a_client_has_is_not_sent_again() {
    let alice = ward().user("alice");
    let uri = upload(&alice, b"0123456789", "text/plain", None);
    let get = |method: &str, headers: &[(&str, &str)]| {
        alice.http().request_with(method, &download_path(&uri), alice.token(), headers, Body::Empty)
    };
    let head = get("HEAD", &[]);
    assert_eq!((head.status, head.bytes.len(), head.header("content-length")), (200, 0, Some("10")));
    let tag = head.header("etag").unwrap().to_owned();
    let known = get("GET", &[("if-none-match", &tag)]);
    assert_eq!((known.status, known.bytes.len(), known.header("etag")), (304, 0, Some(tag.as_str())));
    assert_eq!(get("GET", &[("if-none-match", "\"other\"")]).status, 200);
    for (range, status, bytes, content_range) in [
        ("bytes=2-4", 206, &b"234"[..], Some("bytes 2-4/10")),
        ("bytes=7-", 206, b"789", Some("bytes 7-9/10")),
        ("bytes=-2", 206, b"89", Some("bytes 8-9/10")),
        ("bytes=10-", 416, b"", Some("bytes */10")),
        ("bytes=0-1,3-4", 200, b"0123456789", None),
        ("nonsense", 200, b"0123456789", None),
    ] {
        let answer = get("GET", &[("range", range)]);
        assert_eq!((answer.status, answer.bytes.as_slice()), (status, bytes), "{range}: {}", answer.story());
        assert_eq!(answer.header("content-range"), content_range, "{range}");
    }
    let changed = get("GET", &[("range", "bytes=2-4"), ("if-range", "\"other\"")]);
    assert_eq!((changed.status, changed.bytes.len()), (200, 10));
}

/// The old paths of a media.
fn old_paths(uri: &str) -> Vec<Target> {
    let mut paths = Vec::new();
    for version in ["r0", "v3"] {
        paths.push(path(&format!("/_matrix/media/{version}/download"), uri, ""));
        paths.push(path(&format!("/_matrix/media/{version}/download"), uri, "/name.txt"));
        paths.push(path(&format!("/_matrix/media/{version}/thumbnail"), uri, "?width=8&height=8"));
    }
    paths
}

#[test]
fn the_paths_without_a_token_are_frozen_unless_they_are_wanted() {
    let content = super::png(9, 9);
    let alice = ward().user("alice");
    let uri = upload(&alice, &content, "image/png", None);
    for target in old_paths(&uri) {
        alice.get(target.clone()).refused(404, "M_NOT_FOUND");
        alice.anonymous().get(target).refused(404, "M_NOT_FOUND");
    }
    let server = server_with(Config::default().set("media.allow_unauthenticated", "true"));
    let uri = upload(&server.user("alice"), &content, "image/png", None);
    for target in old_paths(&uri) {
        let answer = server.anonymous().get(target);
        assert_eq!(super::size(&answer), (9, 9));
    }
    server.anonymous().get(path("/_matrix/media/v3/thumbnail", &uri, "")).refused(400, "M_MISSING_PARAM");
    server.anonymous().get(download_path(&uri)).refused(401, "M_MISSING_TOKEN");
}

#[test]
fn contents_outlive_the_server() {
    let mut server = server_with(Config::default());
    let alice = server.user("alice");
    let uri = upload(&alice, &[9; 100_000], "text/plain", Some("kept.txt"));
    server.kill9();
    server.start_again();
    let answer = download(&alice, &uri);
    assert_eq!(
        (answer.bytes.len(), answer.header("content-disposition")),
        (100_000, Some("inline; filename=\"kept.txt\""))
    );
    // A file that was changed is not served.
    let dirs = std::fs::read_dir(server.data_dir().join("media")).unwrap().map(|dir| dir.unwrap().path());
    let files: Vec<_> = dirs.flat_map(|dir| std::fs::read_dir(dir).unwrap()).map(|file| file.unwrap().path()).collect();
    assert_eq!(files.len(), 1);
    let mut bytes = std::fs::read(&files[0]).unwrap();
    bytes[50] ^= 1;
    std::fs::write(&files[0], bytes).unwrap();
    download(&alice, &uri).refused(500, "M_UNKNOWN");
}
