//! The content repository (client-server API, section "Content repository").

mod announced;
mod downloads;
mod large;
mod listeners;
mod previews;
mod thumbnails;
mod uploads;

use std::io::Cursor;

use wardroom_testkit::{Actor, Body, Reply, Target, User, encode, raw};

/// The path of a media under some prefix.
pub(crate) fn path(prefix: &str, uri: &str, suffix: &str) -> Target {
    let (server, id) = uri.strip_prefix("mxc://").unwrap().split_once('/').unwrap();
    raw(&format!("{prefix}/{}/{id}{suffix}", encode(server)))
}

pub(crate) fn download_path(uri: &str) -> Target {
    path("/_matrix/client/v1/media/download", uri, "")
}

/// Uploads and answers the URI.
#[track_caller]
pub(crate) fn upload(user: &User, content: &[u8], content_type: &'static str, filename: Option<&str>) -> String {
    let mut target = raw("/_matrix/media/v3/upload");
    if let Some(filename) = filename {
        target = target.query("filename", filename);
    }
    let answer = user.request("POST", &target, Body::Raw(content.to_vec(), content_type)).ok();
    answer["content_uri"].as_str().unwrap().to_owned()
}

#[track_caller]
pub(crate) fn download(user: &User, uri: &str) -> Reply {
    user.get(download_path(uri))
}

pub(crate) fn png(width: u32, height: u32) -> Vec<u8> {
    let shade = |at: u32| u8::try_from(at % 256).unwrap();
    let image = image::RgbImage::from_fn(width, height, |x, y| image::Rgb([shade(x), shade(y), 99]));
    let mut bytes = Vec::new();
    image.write_to(&mut Cursor::new(&mut bytes), image::ImageFormat::Png).unwrap();
    bytes
}

/// Width and height of an image that was answered.
#[track_caller]
pub(crate) fn size(answer: &Reply) -> (u32, u32) {
    assert_eq!(answer.status, 200, "{}", answer.story());
    let image = image::load_from_memory(&answer.bytes).unwrap();
    (image.width(), image.height())
}
