//! `GET /_matrix/client/v1/media/thumbnail/{serverName}/{mediaId}`.

use std::{io::Cursor, thread};

use wardroom_testkit::{Actor, Reply, User, raw};

use super::{path, png, size, upload};
use crate::ward;

fn thumbnail(user: &User, uri: &str, query: &str) -> Reply {
    user.get(path("/_matrix/client/v1/media/thumbnail", uri, query))
}

#[test]
fn thumbnails_are_as_large_as_asked_or_larger() {
    let alice = ward().user("alice");
    let uri = upload(&alice, &png(700, 350), "image/png", Some("secret name.png"));
    for (query, expected) in [
        ("?width=32&height=32&method=crop", (32, 32)),
        ("?width=64&height=64&method=crop", (96, 96)),
        ("?width=320&height=240&method=scale", (320, 160)),
        ("?width=10&height=10", (320, 160)),
        ("?width=640&height=480&method=scale&animated=true", (640, 320)),
        ("?width=800&height=600&animated=false", (700, 350)),
        ("?width=4000000000&height=4000000000&method=crop", (700, 350)),
    ] {
        let answer = thumbnail(&alice, &uri, query);
        assert_eq!(size(&answer), expected, "{query}");
        let content_type = answer.header("content-type").unwrap();
        assert!(["image/jpeg", "image/png"].contains(&content_type), "{query}: {content_type}");
        assert!(answer.header("content-disposition").unwrap().starts_with("inline"), "{query}");
        assert!(answer.header("content-security-policy").unwrap().starts_with("sandbox"), "{query}");
        let again = thumbnail(&alice, &uri, query);
        assert_eq!((again.header("etag"), again.bytes == answer.bytes), (answer.header("etag"), true), "{query}");
    }
    let unstable = "/_matrix/client/unstable/org.matrix.msc3916/media/thumbnail";
    assert_eq!(size(&alice.get(path(unstable, &uri, "?width=32&height=32&method=crop"))), (32, 32));
    let anonymous = alice.anonymous().get(path("/_matrix/client/v1/media/thumbnail", &uri, "?width=1&height=1"));
    anonymous.refused(401, "M_MISSING_TOKEN");
}

#[test]
fn wishes_that_make_no_sense_are_refused() {
    let alice = ward().user("alice");
    let uri = upload(&alice, &png(20, 20), "image/png", None);
    for (query, errcode, field) in [
        ("", "M_MISSING_PARAM", "width"),
        ("?width=10", "M_MISSING_PARAM", "height"),
        ("?width=0&height=10", "M_INVALID_PARAM", "width"),
        ("?width=10&height=-1", "M_INVALID_PARAM", "height"),
        ("?width=ten&height=10", "M_INVALID_PARAM", "width"),
        ("?width=1.5&height=10", "M_INVALID_PARAM", "width"),
        ("?width=99999999999&height=10", "M_INVALID_PARAM", "width"),
        ("?width=10&height=10&method=cut", "M_INVALID_PARAM", "method"),
        ("?width=10&height=10&animated=perhaps", "M_INVALID_PARAM", "animated"),
        ("?width=10&height=10&timeout_ms=-1", "M_INVALID_PARAM", "timeout_ms"),
    ] {
        let error = thumbnail(&alice, &uri, query).refused(400, errcode);
        assert!(error["error"].as_str().unwrap().starts_with(field), "{query}: {error}");
    }
    let unknown = raw("/_matrix/client/v1/media/thumbnail/elsewhere.example/x?width=1&height=1");
    alice.get(unknown).refused(502, "M_UNKNOWN");
}

#[test]
fn what_is_no_image_has_no_thumbnail() {
    let alice = ward().user("alice");
    let mut truncated = png(300, 300);
    truncated.truncate(200);
    for content in [&b"just text"[..], b"", b"GIF89a", &truncated, b"<svg xmlns='http://www.w3.org/2000/svg'/>"] {
        let uri = upload(&alice, content, "image/png", None);
        for _ in 0..2 {
            thumbnail(&alice, &uri, "?width=32&height=32&method=crop").refused(400, "M_UNKNOWN");
        }
    }
    // An image that says it has 3,600 million pixels.
    let mut bomb = png(1, 1);
    bomb[16..24].copy_from_slice(&[0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60]);
    let crc = bomb[12..29].iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 })
    });
    bomb[29..33].copy_from_slice(&(!crc).to_be_bytes());
    let uri = upload(&alice, &bomb, "image/png", None);
    thumbnail(&alice, &uri, "?width=32&height=32").refused(413, "M_TOO_LARGE");
}

#[test]
fn pictures_move_when_asked() {
    let alice = ward().user("alice");
    let mut gif = Vec::new();
    let mut encoder = image::codecs::gif::GifEncoder::new_with_speed(&mut gif, 30);
    for shade in [10, 200] {
        let picture = image::RgbaImage::from_pixel(150, 150, image::Rgba([shade, 0, 0, 255]));
        encoder.encode_frame(image::Frame::new(picture)).unwrap();
    }
    drop(encoder);
    let uri = upload(&alice, &gif, "image/gif", None);
    let frames = |answer: &Reply| {
        use image::AnimationDecoder as _;
        image::codecs::gif::GifDecoder::new(Cursor::new(&answer.bytes)).map_or(0, |gif| gif.into_frames().count())
    };
    let query = "?width=32&height=32&method=crop";
    let moving = thumbnail(&alice, &uri, &format!("{query}&animated=true"));
    assert_eq!((size(&moving), frames(&moving)), ((32, 32), 2));
    for still in [query.to_owned(), format!("{query}&animated=false")] {
        let still = thumbnail(&alice, &uri, &still);
        assert_eq!((size(&still), frames(&still)), ((32, 32), 0));
    }
}

#[test]
fn many_who_ask_at_once_get_the_same() {
    let alice = ward().user("alice");
    let uri = upload(&alice, &png(400, 400), "image/png", None);
    let tags: std::collections::HashSet<String> = thread::scope(|scope| {
        let ask = || thumbnail(&alice, &uri, "?width=96&height=96&method=crop").header("etag").unwrap().to_owned();
        let asking: Vec<_> = (0..12).map(|_| scope.spawn(ask)).collect();
        asking.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    assert_eq!(tags.len(), 1);
}
