//! The service over a store in memory and a directory.

mod images;
mod keys;
mod previews;
mod remote;
mod thumbnails;

use std::{fs, path::Path, sync::Arc, time::Duration};

use ruma::owned_server_name;
use tempfile::TempDir;
use wardroom_audit::AuditLog;
use wardroom_clock::ManualClock;
use wardroom_store::{Catalogue, Store};

use crate::{
    Content, Media, MediaError, MediaId, PENDING_LIFE_MS, PENDING_PER_USER_MAX, Settings, TABLES,
    THUMBNAIL_SIZES_DEFAULT, Totals, UserNid,
};

const ALICE: UserNid = UserNid::new(1);
const BOB: UserNid = UserNid::new(2);
const NO_WAIT: Duration = Duration::ZERO;

struct World {
    media: Media,
    store: Store,
    clock: Arc<ManualClock>,
    dir: TempDir,
}

fn settings(dir: &Path) -> Settings {
    Settings {
        server_name: owned_server_name!("a.example"),
        dir: dir.to_owned(),
        sync: false,
        upload_bytes_max: 1_000_000,
        user_bytes_max: Some(1_500_000),
        remote_bytes_max: 2_000_000,
        holds: Default::default(),
        remote_cache_days: Some(30),
        thumbnail_sizes: THUMBNAIL_SIZES_DEFAULT.to_vec(),
        previews: None,
    }
}

async fn world() -> World {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::in_memory(Catalogue::new(&[TABLES]).unwrap());
    let clock = Arc::new(ManualClock::new(1_700_000_000_000));
    let media = Media::open(store.clone(), clock.clone(), AuditLog::silent(), settings(dir.path())).await.unwrap();
    World { media, store, clock, dir }
}

impl World {
    async fn upload(&self, user: UserNid, to: Option<&MediaId>, content: &[u8]) -> Result<MediaId, MediaError> {
        let mut upload = self.media.upload(user, to, None).await?;
        for part in content.chunks(100_000) {
            upload.write(part).await?;
        }
        upload.finish(Some("text/plain"), Some("a.txt")).await
    }

    async fn read(&self, media: &MediaId) -> Result<Vec<u8>, MediaError> {
        let content = self.media.content(media, NO_WAIT).await?;
        whole(&content).await
    }

    /// Files on disk.
    fn files(&self) -> usize {
        let dirs = fs::read_dir(self.dir.path()).unwrap().map(|entry| entry.unwrap().path());
        dirs.map(|dir| fs::read_dir(dir).unwrap().count()).sum()
    }
}

async fn whole(content: &Content) -> Result<Vec<u8>, MediaError> {
    let mut bytes = Vec::new();
    let mut stream = content.read(0..content.length()).await?;
    while let Some(piece) = stream.next().await? {
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

#[tokio::test]
async fn what_was_uploaded_is_there() {
    let world = world().await;
    let content: Vec<u8> = (0..700_000_u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
    let media = world.upload(ALICE, None, &content).await.unwrap();
    assert_eq!(world.read(&media).await.unwrap(), content);
    let found = world.media.content(&media, NO_WAIT).await.unwrap();
    assert_eq!((found.content_type.as_str(), found.filename.as_deref()), ("text/plain", Some("a.txt")));
    assert_eq!(world.media.usage_of(ALICE).await.unwrap(), (1, 700_000));
    assert_eq!(world.media.totals(), Totals { files: 1, bytes: 700_000 });
    let empty = world.upload(BOB, None, b"").await.unwrap();
    assert_eq!(world.read(&empty).await.unwrap(), b"");
    let again = Media::open(world.store.clone(), world.clock.clone(), AuditLog::silent(), settings(world.dir.path()))
        .await
        .unwrap();
    assert_eq!(again.totals(), Totals { files: 2, bytes: 700_000 });
    let elsewhere = MediaId::parse("b.example", media.id()).unwrap();
    assert!(matches!(world.read(&elsewhere).await, Err(MediaError::NotFound)));
}

#[tokio::test]
async fn uploads_end_at_their_limits() {
    let world = world().await;
    let too_large = world.upload(ALICE, None, &vec![0; 1_000_001]).await;
    assert!(matches!(too_large, Err(MediaError::TooLarge { bytes_max: 1_000_000 })));
    let announced = world.media.upload(ALICE, None, Some(1_000_001)).await;
    assert!(matches!(announced, Err(MediaError::TooLarge { .. })));
    world.upload(ALICE, None, &vec![0; 1_000_000]).await.unwrap();
    let quota = world.upload(ALICE, None, &vec![0; 500_001]).await;
    assert!(matches!(quota, Err(MediaError::QuotaReached { bytes_max: 1_500_000 })));
    assert!(matches!(world.media.upload(ALICE, None, Some(500_001)).await, Err(MediaError::QuotaReached { .. })));
    world.upload(BOB, None, &vec![0; 500_001]).await.unwrap();
    assert_eq!(world.files(), 2, "refused uploads leave nothing");
    // Several at once cannot go beyond together what none may go beyond alone.
    let half = vec![0; 200_000];
    let uploads = (0..5).map(|_| world.upload(ALICE, None, &half));
    let mut stored = 0;
    for upload in uploads.collect::<Vec<_>>() {
        stored += u32::from(upload.await.is_ok());
    }
    assert_eq!(stored, 2);
    assert_eq!(world.media.usage_of(ALICE).await.unwrap().1, 1_400_000);
}

#[tokio::test]
async fn places_for_uploads_are_limited_and_given_back() {
    let world = world().await;
    let mut uploads = Vec::new();
    let refused = loop {
        match world.media.upload(ALICE, None, None).await {
            Ok(upload) => uploads.push(upload),
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, MediaError::Busy { .. }));
    assert_eq!(uploads.len(), crate::UPLOADS_PER_USER_MAX);
    assert!(world.media.upload(BOB, None, None).await.is_ok());
    drop(uploads);
    assert!(world.media.upload(ALICE, None, None).await.is_ok());
    assert!(world.media.0.uploading.lock().is_empty());
}

#[tokio::test]
async fn an_id_gets_its_content_once_and_from_its_creator() {
    let world = world().await;
    let (media, expires_ms) = world.media.create(ALICE).await.unwrap();
    assert_eq!(expires_ms, 1_700_000_000_000 + PENDING_LIFE_MS);
    assert!(matches!(world.read(&media).await, Err(MediaError::NotYetUploaded)));
    assert!(matches!(world.upload(BOB, Some(&media), b"x").await, Err(MediaError::NotCreator)));
    let unknown = MediaId::parse("a.example", "unknown").unwrap();
    assert!(matches!(world.upload(BOB, Some(&unknown), b"x").await, Err(MediaError::NotFound)));
    // Two uploads that both began before either ended.
    let first = world.media.upload(ALICE, Some(&media), None).await.unwrap();
    let second = world.media.upload(ALICE, Some(&media), None).await.unwrap();
    first.finish(None, None).await.unwrap();
    assert!(matches!(second.finish(None, None).await, Err(MediaError::AlreadyUploaded)));
    assert!(matches!(world.upload(ALICE, Some(&media), b"x").await, Err(MediaError::AlreadyUploaded)));
    assert_eq!(world.read(&media).await.unwrap(), b"");
    world.clock.advance_ms(2 * PENDING_LIFE_MS);
    world.media.expire().await.unwrap();
    assert_eq!(world.read(&media).await.unwrap(), b"", "what has its content does not expire");
    assert_eq!(world.files(), 1);
}

#[tokio::test]
async fn who_waits_gets_the_content_when_it_comes() {
    let world = world().await;
    let (media, _) = world.media.create(ALICE).await.unwrap();
    let (waiting, wanted) = (world.media.clone(), media.clone());
    let waiter = tokio::spawn(async move { waiting.content(&wanted, Duration::from_secs(60)).await });
    world.upload(ALICE, Some(&media), b"here").await.unwrap();
    assert_eq!(waiter.await.unwrap().unwrap().length(), 4);
    // Or hears that it will not come.
    let (media, _) = world.media.create(ALICE).await.unwrap();
    let (waiting, wanted) = (world.media.clone(), media.clone());
    let waiter = tokio::spawn(async move { waiting.content(&wanted, Duration::from_secs(60)).await });
    world.media.delete(&media).await.unwrap();
    assert!(matches!(waiter.await.unwrap(), Err(MediaError::NotFound)));
}

#[tokio::test]
async fn ids_without_content_are_limited_and_expire() {
    let world = world().await;
    let mut created = Vec::new();
    for _ in 0..PENDING_PER_USER_MAX {
        created.push(world.media.create(ALICE).await.unwrap().0);
    }
    assert!(matches!(world.media.create(ALICE).await, Err(MediaError::Busy { .. })));
    world.media.create(BOB).await.unwrap();
    world.upload(ALICE, Some(&created[0]), b"x").await.unwrap();
    world.media.create(ALICE).await.unwrap();
    assert!(matches!(world.media.create(ALICE).await, Err(MediaError::Busy { .. })));
    world.clock.advance_ms(PENDING_LIFE_MS);
    assert!(matches!(world.read(&created[1]).await, Err(MediaError::NotFound)), "expired, although not yet deleted");
    assert!(matches!(world.upload(ALICE, Some(&created[1]), b"x").await, Err(MediaError::NotFound)));
    world.media.create(ALICE).await.unwrap();
    assert_eq!(world.media.usage_versioned(ALICE.get()).await.unwrap().0.pending, 1);
    assert_eq!(world.read(&created[0]).await.unwrap(), b"x");
}

#[tokio::test]
async fn the_quarantined_is_hidden_and_comes_back() {
    let world = world().await;
    let first = world.upload(ALICE, None, b"one").await.unwrap();
    let second = world.upload(ALICE, None, b"two").await.unwrap();
    let other = world.upload(BOB, None, b"other").await.unwrap();
    assert!(world.media.set_quarantine(&first, true).await.unwrap());
    assert!(matches!(world.read(&first).await, Err(MediaError::NotFound)));
    assert_eq!(world.read(&second).await.unwrap(), b"two");
    assert!(world.media.info(&first).await.unwrap().unwrap().quarantined_ms.is_some());
    assert_eq!(world.media.set_quarantine_of_user(ALICE, true).await.unwrap(), 2);
    assert!(matches!(world.read(&second).await, Err(MediaError::NotFound)));
    assert_eq!(world.read(&other).await.unwrap(), b"other");
    assert_eq!(world.media.set_quarantine_of_user(ALICE, false).await.unwrap(), 2);
    assert_eq!(world.read(&first).await.unwrap(), b"one");
    let unknown = MediaId::parse("a.example", "unknown").unwrap();
    assert!(!world.media.set_quarantine(&unknown, true).await.unwrap());
}

#[tokio::test]
async fn a_users_media_are_listed_and_deleted() {
    let world = world().await;
    for n in 0..5_u8 {
        world.upload(ALICE, None, &[n]).await.unwrap();
        world.clock.advance_ms(1);
    }
    world.upload(BOB, None, b"other").await.unwrap();
    let page = world.media.of_user(ALICE, None, 3).await.unwrap();
    let rest = world.media.of_user(ALICE, page.last(), 3).await.unwrap();
    assert_eq!((page.len(), rest.len()), (3, 2));
    assert!(page.iter().chain(&rest).is_sorted_by_key(|info| info.created_ms));
    for info in page.iter().chain(&rest) {
        assert_eq!((info.owner, info.length, info.filename.as_deref()), (Some(ALICE), Some(1), Some("a.txt")));
        assert!(world.media.delete(&info.media).await.unwrap());
        assert!(!world.media.delete(&info.media).await.unwrap());
        assert!(matches!(world.read(&info.media).await, Err(MediaError::NotFound)));
    }
    assert_eq!(world.media.usage_of(ALICE).await.unwrap(), (0, 0));
    assert_eq!(world.files(), 1);
    assert_eq!(world.media.totals().files, 1);
}

#[tokio::test]
async fn files_without_a_row_are_swept_and_no_others() {
    let world = world().await;
    let media = world.upload(ALICE, None, b"kept").await.unwrap();
    let going_on = world.media.upload(ALICE, None, None).await.unwrap();
    for name in ["00112233445566778899aabbccddeeff", "ffeeddccbbaa99887766554433221100"] {
        let dir = world.dir.path().join(&name[..2]);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join(name), "left over").unwrap();
    }
    assert_eq!(world.media.sweep().await.unwrap(), 2);
    assert_eq!(world.media.sweep().await.unwrap(), 0);
    assert_eq!(world.read(&media).await.unwrap(), b"kept");
    going_on.finish(None, None).await.unwrap();
    assert_eq!(world.files(), 2);
}
