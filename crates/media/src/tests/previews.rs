//! What becomes of previews: a message that linked to a page ends, and what the page said must not outlive it for long.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    thread,
    time::Duration,
};

use wardroom_audit::AuditLog;
use wardroom_outbound::{Outbound, OutboundSettings, Ranges};

use super::{NO_WAIT, World, images::png, settings, world};
use crate::{Media, MediaError, MediaId, PREVIEW_SECONDS, PreviewSettings, Settings};

const WEEK_MS: u64 = 7 * 24 * 60 * 60 * 1_000;

/// Answers every request with a page that names an image, or with that image.
fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let asked = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
    let page = b"<title>Results of Mr Smith</title><meta property=og:image content=/i.png>".to_vec();
    let (kind, body) = if asked.contains("/i.png") { ("image/png", png(4, 4)) } else { ("text/html", page) };
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n", body.len());
    stream.write_all(head.as_bytes())?;
    stream.write_all(b"connection: close\r\n\r\n")?;
    stream.write_all(&body)
}

/// A world with previews of a page, and the page's address.
async fn with_page() -> (World, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/results", listener.local_addr().unwrap());
    thread::spawn(move || listener.incoming().for_each(|stream| drop(answer(stream.unwrap()))));
    let outbound = Outbound::new(OutboundSettings {
        ranges: Ranges::new(Vec::new(), Vec::new()),
        extra_ca: Vec::new(),
        verify_certificates: true,
        redirects_max: 0,
        timeout: Duration::from_secs(10),
    });
    let mut world = world().await;
    let previews = Some((outbound.unwrap(), PreviewSettings::default()));
    let settings = Settings { previews, ..settings(world.dir.path()) };
    world.media = Media::open(world.store.clone(), world.clock.clone(), AuditLog::silent(), settings).await.unwrap();
    (world, url)
}

#[tokio::test]
async fn what_a_page_said_goes_after_an_hour_and_its_image_after_a_week() {
    let (world, url) = with_page().await;
    let said = world.media.preview(&url).await.unwrap();
    assert!(said.contains("Results of Mr Smith"), "{said}");
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    let (_, image) = said["og:image"].as_str().unwrap().rsplit_once('/').unwrap();
    let image = MediaId::parse("a.example", image).unwrap();
    let remembered = || world.media.0.previews.as_ref().unwrap().remembered();
    assert_eq!((remembered(), world.files()), (1, 1));
    world.clock.advance_ms(PREVIEW_SECONDS * 1_000 - 1);
    world.media.expire().await.unwrap();
    assert_eq!(remembered(), 1);
    world.clock.advance_ms(1);
    world.media.expire().await.unwrap();
    assert_eq!(remembered(), 0, "nothing of the page is left");
    world.clock.advance_ms(WEEK_MS - PREVIEW_SECONDS * 1_000 - 1);
    world.media.expire().await.unwrap();
    assert!(world.read(&image).await.is_ok(), "clients show it from the answer that they have");
    world.clock.advance_ms(1);
    world.media.expire().await.unwrap();
    assert!(matches!(world.media.content(&image, NO_WAIT).await, Err(MediaError::NotFound)));
    assert_eq!(world.files(), 0);
}
