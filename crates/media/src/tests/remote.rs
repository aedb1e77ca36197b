//! Media of other servers.

use super::{World, images::png, whole, world};
use crate::{Content, MediaError, MediaId, Method, Remote, Size, Thumbnail, Totals};

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

fn elsewhere(id: &str) -> MediaId {
    MediaId::parse("b.example", id).unwrap()
}

impl World {
    async fn fetch(&self, media: &MediaId, content: &[u8]) -> Result<Content, MediaError> {
        match self.media.remote(media).await? {
            Remote::Here(_) => panic!("it is here already"),
            Remote::ToFetch(mut upload) => {
                for part in content.chunks(100_000) {
                    upload.write(part).await?;
                }
                upload.finish(Some("image/png"), Some("x.png")).await
            }
        }
    }
}

#[tokio::test]
async fn what_was_fetched_once_is_here_for_all_who_waited() {
    let world = world().await;
    let media = elsewhere("cat");
    assert!(world.media.remote_now(&media).await.unwrap().is_none());
    let Remote::ToFetch(mut upload) = world.media.remote(&media).await.unwrap() else { panic!("not here yet") };
    let waiting = {
        let (service, media) = (world.media.clone(), media.clone());
        tokio::spawn(async move { service.remote(&media).await })
    };
    upload.write(b"meow").await.unwrap();
    upload.finish(Some("text/plain\r\nx: y"), Some(&"long".repeat(100))).await.unwrap();
    let Remote::Here(content) = waiting.await.unwrap().unwrap() else { panic!("fetched twice") };
    assert_eq!(whole(&content).await.unwrap(), b"meow");
    assert_eq!((content.content_type.as_str(), content.filename), ("application/octet-stream", None));
    assert_eq!(world.media.totals(), Totals { files: 1, bytes: 4 });
    // Whoever gives up lets the next one try.
    let Remote::ToFetch(upload) = world.media.remote(&elsewhere("dog")).await.unwrap() else { panic!("not here") };
    drop(upload);
    world.fetch(&elsewhere("dog"), b"woof").await.unwrap();
    let too_large = world.fetch(&elsewhere("whale"), &vec![0; 2_000_001]).await;
    assert!(matches!(too_large, Err(MediaError::RemoteTooLarge { bytes_max: 2_000_000 })), "{too_large:?}");
    assert_eq!(world.files(), 2);
}

#[tokio::test]
async fn what_nobody_looks_at_goes_and_what_is_looked_at_stays() {
    let world = world().await;
    let (seen, unseen) = (elsewhere("seen"), elsewhere("unseen"));
    world.fetch(&seen, b"1").await.unwrap();
    world.fetch(&unseen, b"2").await.unwrap();
    world.clock.advance_ms(20 * DAY_MS);
    assert_eq!(world.media.forget_remote().await.unwrap(), 0);
    world.media.remote_now(&seen).await.unwrap().unwrap();
    world.clock.advance_ms(11 * DAY_MS);
    assert_eq!(world.media.forget_remote().await.unwrap(), 1);
    assert!(world.media.remote_now(&unseen).await.unwrap().is_none());
    assert!(world.media.remote_now(&seen).await.unwrap().is_some());
    assert_eq!((world.files(), world.media.totals().files), (1, 1));
    world.fetch(&unseen, b"2").await.unwrap();
}

#[tokio::test]
async fn the_quarantined_is_neither_shown_nor_fetched() {
    let world = world().await;
    let (here, not_yet) = (elsewhere("here"), elsewhere("not-yet"));
    let content = world.fetch(&here, &png(64, 64)).await.unwrap();
    let wish = Thumbnail { size: Size { width: 32, height: 32, method: Method::Crop }, animated: false };
    world.media.thumbnail(&content, wish).await.unwrap();
    assert_eq!(world.files(), 2);
    for media in [&here, &not_yet] {
        assert!(world.media.set_quarantine(media, true).await.unwrap());
        assert!(matches!(world.media.remote_now(media).await, Err(MediaError::NotFound)));
        assert!(matches!(world.media.remote(media).await, Err(MediaError::NotFound)));
        assert!(world.media.info(media).await.unwrap().unwrap().quarantined_ms.is_some());
    }
    world.clock.advance_ms(100 * DAY_MS);
    world.media.forget_remote().await.unwrap();
    assert_eq!(world.files(), 0, "with its thumbnails");
    assert!(matches!(world.media.remote(&here).await, Err(MediaError::NotFound)), "still quarantined");
    assert!(world.media.set_quarantine(&here, false).await.unwrap());
    world.fetch(&here, b"again").await.unwrap();
    assert!(world.media.delete(&here).await.unwrap());
    assert!(world.media.remote_now(&here).await.unwrap().is_none());
}
