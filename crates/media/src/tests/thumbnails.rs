//! Thumbnails.

use image::{AnimationDecoder as _, DynamicImage, GenericImageView as _, ImageFormat, codecs::gif::GifDecoder};

use super::{
    ALICE, NO_WAIT, World,
    images::{bomb, encoded, gif, png, turned_jpeg, two_colours},
    whole, world,
};
use crate::{Content, MediaError, MediaId, Thumbnail};

impl World {
    async fn store_image(&self, bytes: &[u8]) -> MediaId {
        self.upload(ALICE, None, bytes).await.unwrap()
    }

    async fn thumbnail(&self, media: &MediaId, size: &str, animated: bool) -> Result<Content, MediaError> {
        let content = self.media.content(media, NO_WAIT).await?;
        self.media.thumbnail(&content, Thumbnail { size: size.parse().unwrap(), animated }).await
    }

    async fn still(&self, media: &MediaId, size: &str) -> (String, DynamicImage) {
        let made = self.thumbnail(media, size, false).await.unwrap();
        let image = image::load_from_memory(&whole(&made).await.unwrap()).unwrap();
        (made.content_type, image)
    }
}

#[tokio::test]
async fn images_get_the_shape_that_is_asked_for() {
    let world = world().await;
    for (format, name) in [(ImageFormat::Png, "png"), (ImageFormat::Jpeg, "jpeg"), (ImageFormat::WebP, "webp")] {
        let media = world.store_image(&encoded(two_colours(1_000, 500, 255), format)).await;
        for (wanted, made) in [
            ("32x32 crop", (32, 32)),
            ("50x50 crop", (96, 96)),
            ("320x240 scale", (320, 160)),
            ("100x10 crop", (240, 24)),
            ("640x480 scale", (640, 320)),
        ] {
            let (content_type, image) = world.still(&media, wanted).await;
            assert_eq!((image.width(), image.height()), made, "{name} {wanted}");
            assert_eq!(content_type, "image/jpeg", "{name} {wanted}");
            let (left, right) = (image.get_pixel(2, 2).0, image.get_pixel(made.0 - 3, 2).0);
            assert!(left[0] > 180 && left[2] < 80 && right[0] < 80 && right[2] > 180, "{name} {left:?} {right:?}");
        }
        // Never enlarged: the original serves, as what it is.
        let whole_image = world.thumbnail(&media, "1600x1200 scale", false).await.unwrap();
        assert_eq!(whole_image.content_type, format!("image/{name}"));
        assert_eq!(whole_image.tag(), world.media.content(&media, NO_WAIT).await.unwrap().tag());
    }
    let flat = world.store_image(&png(500, 20)).await;
    let (_, image) = world.still(&flat, "96x96 crop").await;
    assert_eq!((image.width(), image.height()), (96, 20));
}

#[tokio::test]
async fn what_shines_through_still_does() {
    let world = world().await;
    let media = world.store_image(&encoded(two_colours(400, 400, 100), ImageFormat::Png)).await;
    let (content_type, image) = world.still(&media, "96x96 crop").await;
    assert_eq!((content_type.as_str(), image.get_pixel(5, 5).0[3]), ("image/png", 100));
}

#[tokio::test]
async fn photographs_stand_upright() {
    let world = world().await;
    let media = world.store_image(&turned_jpeg(400, 200)).await;
    let (_, image) = world.still(&media, "320x240 scale").await;
    assert_eq!((image.width(), image.height()), (120, 240), "turned, then scaled");
    let (top, bottom) = (image.get_pixel(60, 20).0, image.get_pixel(60, 220).0);
    assert!(top[0] > 180 && bottom[2] > 180, "{top:?} {bottom:?}");
}

#[tokio::test]
async fn pictures_move_only_where_that_is_wanted() {
    let world = world().await;
    let moving = world.store_image(&gif(200, 100, 3)).await;
    let frames = |bytes: Vec<u8>| GifDecoder::new(std::io::Cursor::new(bytes)).unwrap().into_frames().count();
    let made = world.thumbnail(&moving, "32x32 crop", true).await.unwrap();
    assert_eq!(made.content_type, "image/gif");
    assert_eq!(frames(whole(&made).await.unwrap()), 3);
    let (content_type, image) = world.still(&moving, "32x32 crop").await;
    assert_eq!((content_type.as_str(), image.width()), ("image/jpeg", 32));
    // Small enough as it is, but it moves.
    let (content_type, image) = world.still(&moving, "320x240 scale").await;
    assert_eq!((content_type.as_str(), image.width()), ("image/jpeg", 200));
    let original = world.thumbnail(&moving, "320x240 scale", true).await.unwrap();
    assert_eq!((original.content_type.as_str(), frames(whole(&original).await.unwrap())), ("image/gif", 3));
    // What cannot move is as if nobody had asked; one file serves both wishes.
    let still = world.store_image(&png(200, 100)).await;
    let files = world.files();
    let (asked, not) =
        (world.thumbnail(&still, "32x32 crop", true).await, world.thumbnail(&still, "32x32 crop", false).await);
    assert_eq!(asked.unwrap().tag(), not.unwrap().tag());
    assert_eq!(world.thumbnail(&still, "32x32 crop", true).await.unwrap().content_type, "image/jpeg");
    assert_eq!(world.files(), files + 1);
}

#[tokio::test]
async fn one_thumbnail_is_made_for_all_who_ask_at_once() {
    let world = world().await;
    let media = world.store_image(&png(300, 300)).await;
    let mut tasks = Vec::new();
    for _ in 0..20 {
        let (service, media) = (world.media.clone(), media.clone());
        tasks.push(tokio::spawn(async move {
            let content = service.content(&media, NO_WAIT).await.unwrap();
            let wanted = Thumbnail { size: "96x96 crop".parse().unwrap(), animated: false };
            service.thumbnail(&content, wanted).await.unwrap().tag()
        }));
    }
    let mut tags = std::collections::HashSet::new();
    for task in tasks {
        tags.insert(task.await.unwrap());
    }
    assert_eq!((tags.len(), world.files()), (1, 2));
    // They go with their media, and with its quarantine.
    let content = world.media.content(&media, NO_WAIT).await.unwrap();
    world.media.set_quarantine(&media, true).await.unwrap();
    let wanted = Thumbnail { size: "32x32 crop".parse().unwrap(), animated: false };
    assert!(matches!(world.media.thumbnail(&content, wanted).await, Err(MediaError::NotFound)));
    assert!(world.media.delete(&media).await.unwrap());
    assert_eq!((world.files(), world.media.totals().files), (0, 0));
}

#[tokio::test]
async fn a_client_that_crops_in_every_shape_does_not_fill_the_disk() {
    let world = world().await;
    let media = world.store_image(&png(130, 130)).await;
    for height in 1..60 {
        let made = world.thumbnail(&media, &format!("96x{height} crop"), false).await.unwrap();
        let image = image::load_from_memory(&whole(&made).await.unwrap()).unwrap();
        assert!(image.width() >= 96 && image.height() >= height);
    }
    assert!(world.files() <= 40, "{}", world.files());
}

#[tokio::test]
async fn hostile_images_are_refused() {
    let world = world().await;
    let mut broken = png(300, 300);
    let middle = broken.len() / 2;
    broken.truncate(middle);
    for (name, bytes) in [
        ("empty", Vec::new()),
        ("text", b"no image at all".to_vec()),
        ("svg", b"<svg xmlns=\"http://www.w3.org/2000/svg\"/>".to_vec()),
        ("truncated", broken),
        ("signature only", b"\x89PNG\r\n\x1a\n".to_vec()),
        ("gif head", b"GIF89a\xff\xff\xff\xff\x00\x00\x00".to_vec()),
        ("jpeg head", b"\xff\xd8\xff\xe0\x00\x10JFIF".to_vec()),
        ("webp head", b"RIFF\x00\x00\x00\x00WEBPVP8X".to_vec()),
    ] {
        let media = world.store_image(&bytes).await;
        for _ in 0..2 {
            let refused = world.thumbnail(&media, "32x32 crop", true).await;
            assert!(
                matches!(refused, Err(MediaError::NotAnImage | MediaError::TooLargeToThumbnail)),
                "{name}: {refused:?}"
            );
        }
    }
    for (width, height) in [(60_000, 60_000), (1_000_000, 1), (30_000, 30_000)] {
        let media = world.store_image(&bomb(width, height)).await;
        let refused = world.thumbnail(&media, "32x32 crop", false).await;
        assert!(matches!(refused, Err(MediaError::TooLargeToThumbnail)), "{width}x{height}: {refused:?}");
    }
    // Every single byte of an image changed: an image or a refusal, nothing else.
    for good in [gif(20, 20, 2), turned_jpeg(20, 10), encoded(two_colours(20, 20, 9), ImageFormat::WebP)] {
        for at in (0..good.len()).step_by(7) {
            let mut bad = good.clone();
            bad[at] ^= 0x55;
            let wanted: crate::Size = "8x8 crop".parse().unwrap();
            drop(crate::thumbnails::guarded(&bad, wanted, at % 2 == 0));
        }
    }
}
