//! Keys of files, and what becomes of them.

use ruma::user_id;
use wardroom_holds::{HoldSettings, Holds, NewHold, Scope};
use wardroom_store::Scan;

use super::{ALICE, NO_WAIT, World, settings, whole, world};
use crate::{
    AgeOf, Media, MediaError, MediaId,
    keys::{DOOMED, FILE_KEYS},
    tables::{BLOBS, MEDIA},
};

impl World {
    async fn rows(&self) -> (usize, usize) {
        let view = self.store.latest();
        let keys = view.scan_keys(&FILE_KEYS, Scan::all()).await.unwrap().len();
        (keys, view.scan_keys(&DOOMED, Scan::all()).await.unwrap().len())
    }
}

#[tokio::test]
async fn a_deleted_file_cannot_be_read_by_who_kept_its_rows() {
    let world = world().await;
    let media = world.upload(ALICE, None, b"secret").await.unwrap();
    let other = world.upload(ALICE, None, b"other").await.unwrap();
    let content = world.media.content(&media, NO_WAIT).await.unwrap();
    let key = world.media.key(&media);
    let blob = content.blob.clone();
    let kept = world.store.snapshot();
    assert!(world.media.delete(&media).await.unwrap());
    assert_eq!(world.rows().await, (1, 1));
    assert!(matches!(whole(&content).await, Err(MediaError::NotFound)), "the row of its key is gone");
    assert!(kept.get(&FILE_KEYS, &(blob.number, blob.name)).await.unwrap().is_some(), "an older copy has it");
    assert_eq!(world.media.shred().await.unwrap(), 1);
    assert_eq!(world.rows().await, (1, 0));
    assert!(kept.get(&MEDIA, &key).await.unwrap().is_some());
    assert!(kept.get(&FILE_KEYS, &(blob.number, blob.name)).await.is_err(), "and cannot read it any more");
    assert_eq!(world.read(&other).await.unwrap(), b"other");
    assert_eq!(world.media.shred().await.unwrap(), 0);
}

#[tokio::test]
async fn numbers_are_not_given_out_again_before_their_keys_are_destroyed() {
    let world = world().await;
    let media = world.upload(ALICE, None, b"one").await.unwrap();
    let number = world.media.content(&media, NO_WAIT).await.unwrap().blob.number;
    world.media.delete(&media).await.unwrap();
    // A crash before the keys are destroyed.
    let audit = wardroom_audit::AuditLog::silent();
    let again = Media::open(world.store.clone(), world.clock.clone(), audit, settings(world.dir.path())).await.unwrap();
    let world = World { media: again, ..world };
    let next = world.upload(ALICE, None, b"two").await.unwrap();
    assert!(world.media.content(&next, NO_WAIT).await.unwrap().blob.number > number);
    world.media.shred().await.unwrap();
    assert_eq!(world.read(&next).await.unwrap(), b"two");
}

#[tokio::test]
async fn refused_uploads_leave_no_keys() {
    let world = world().await;
    let media = world.upload(ALICE, None, &vec![0; 900_000]).await.unwrap();
    let half = vec![0; 500_000];
    let both = tokio::join!(world.upload(ALICE, None, &half), world.upload(ALICE, None, &half));
    assert!(both.0.is_err() != both.1.is_err(), "one of them is beyond the quota");
    assert_eq!(world.rows().await, (2, 1));
    assert_eq!(world.media.shred().await.unwrap(), 1);
    assert!(world.read(&media).await.is_ok());
}

#[tokio::test]
async fn what_remains_of_destroyed_media_is_taken_away() {
    let world = world().await;
    let (media, other) =
        (world.upload(ALICE, None, b"x").await.unwrap(), world.upload(ALICE, None, b"y").await.unwrap());
    let number = world.media.content(&media, NO_WAIT).await.unwrap().blob.number;
    // As an older copy of the data has it beside newer keys.
    world.media.0.keys.give_up(number).await;
    world.media.shred().await.unwrap();
    assert!(matches!(world.read(&media).await, Err(MediaError::NotFound)));
    assert_eq!(world.media.remove_remains().await.unwrap(), 1);
    assert_eq!(world.store.latest().scan_keys(&BLOBS, Scan::all()).await.unwrap().len(), 1);
    assert!(world.read(&other).await.is_ok());
}

#[tokio::test]
async fn files_end_by_their_age_unless_they_are_held() {
    let mut world = world().await;
    let (clock, audit) = (world.clock.clone(), wardroom_audit::AuditLog::silent());
    let catalogue = wardroom_store::Catalogue::new(&[crate::TABLES, wardroom_holds::TABLES]).unwrap();
    world.store = wardroom_store::Store::in_memory(catalogue);
    let one_alone = HoldSettings { release_needs_two: false };
    let holds = Holds::open(world.store.clone(), clock.clone(), audit.clone(), one_alone).await.unwrap();
    let with_holds = crate::Settings { holds: holds.clone(), ..settings(world.dir.path()) };
    world.media = Media::open(world.store.clone(), clock.clone(), audit, with_holds).await.unwrap();
    let (held, free) = (world.upload(ALICE, None, b"x").await.unwrap(), world.upload(ALICE, None, b"y").await.unwrap());
    let now_ms = 1_700_000_000_000;
    let aged = async |before_ms, age| world.media.uploads_before(before_ms, age, None).await.unwrap().media.len();
    assert_eq!(aged(now_ms, AgeOf::Receipt).await, 0);
    assert_eq!(aged(now_ms + 1, AgeOf::Receipt).await, 2);
    world.read(&free).await.unwrap();
    assert_eq!(aged(now_ms + 1, AgeOf::LastAccess).await, 1, "one was looked at that day");
    assert_eq!(aged(now_ms + 2 * 86_400_000, AgeOf::LastAccess).await, 2);
    let scope = Scope { media: Some(held.uri().into()), ..Scope::default() };
    let hold = NewHold { scope, reason: "case".to_owned(), authority: "court".to_owned(), expires_ts: None };
    let officer = user_id!("@petra:a.example");
    let hold = holds.set(hold, officer).await.unwrap();
    assert!(matches!(world.media.end(&held).await, Err(MediaError::Held(_))));
    assert!(world.media.end(&free).await.unwrap());
    assert!(!world.media.end(&free).await.unwrap());
    assert!(!world.media.end(&MediaId::parse("b.example", "unknown").unwrap()).await.unwrap());
    holds.release(hold.id, officer, "over").await.unwrap();
    assert!(world.media.end(&held).await.unwrap());
}
