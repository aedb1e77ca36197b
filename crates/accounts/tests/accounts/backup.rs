//! Key backups: what belongs together stays together.

use ruma::{RoomId, UInt};
use serde_json::value::{RawValue, to_raw_value};
use wardroom_accounts::{
    AccountError, BACKUP_PAGE_KEYS, BackupCursor, BackupError, BackupKey, BackupKeyData, KeyChoice, UserNid,
};

use crate::world::{World, world};

fn key(room: usize, session: usize) -> BackupKey {
    BackupKey {
        room_id: RoomId::parse(format!("!{room}:hospital-a.example")).unwrap(),
        session_id: format!("session {session}"),
        data: BackupKeyData {
            first_message_index: UInt::from(3_u32),
            forwarded_count: UInt::from(0_u32),
            is_verified: true,
            session_data: to_raw_value(&format!("data of {room} {session}")).unwrap(),
        },
    }
}

async fn create(world: &World, user: UserNid) -> String {
    world.accounts.create_backup(user, "m.x", RawValue::from_string("{}".to_owned()).unwrap().as_ref()).await.unwrap()
}

/// Rooms and sessions of all keys, page by page.
async fn all(world: &World, user: UserNid, version: &str) -> Vec<(String, String)> {
    let (mut found, mut after) = (Vec::new(), None::<BackupCursor>);
    loop {
        let page = world.accounts.backup_keys(user, version, None, after).await.unwrap();
        assert!(page.keys.len() <= BACKUP_PAGE_KEYS);
        found.extend(page.keys.into_iter().map(|key| (key.room_id.to_string(), key.session_id)));
        after = page.next;
        if after.is_none() {
            return found;
        }
    }
}

#[tokio::test]
async fn pages_hold_every_key_once_and_rooms_together() {
    let world = world().await;
    let user = world.user("alice").await.nid;
    let version = create(&world, user).await;
    // Whole pages, and one key more or less.
    for count in [BACKUP_PAGE_KEYS - 1, 1, 1, BACKUP_PAGE_KEYS] {
        let before = all(&world, user, &version).await.len();
        let keys: Vec<BackupKey> = (before..before + count).map(|number| key(number % 7, number)).collect();
        let state = world.accounts.back_up(user, &version, &keys).await.unwrap();
        assert_eq!(state.count, (before + count) as u64);
        let mut found = all(&world, user, &version).await;
        assert_eq!(found.len(), before + count);
        let mut rooms: Vec<&String> = found.iter().map(|(room, _)| room).collect();
        rooms.dedup();
        assert!(rooms.len() <= 7, "a room is there twice: {rooms:?}");
        found.sort();
        found.dedup();
        assert_eq!(found.len(), before + count);
    }
}

#[tokio::test]
async fn counts_are_true_whoever_writes_at_the_same_time() {
    let world = world().await;
    let user = world.user("alice").await.nid;
    let version = create(&world, user).await;
    let writers = (0..16).map(|writer| {
        let (accounts, version) = (world.accounts.clone(), version.clone());
        tokio::spawn(async move {
            let keys: Vec<BackupKey> = (0..40).map(|number| key(writer % 2, writer * 20 + number)).collect();
            accounts.back_up(user, &version, &keys).await.unwrap();
            let room = key(writer % 2, 0).room_id;
            let choice = KeyChoice::Session(&room, "session 5");
            accounts.delete_backup_keys(user, &version, choice).await.unwrap();
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let state = world.accounts.backup(user, Some(&version)).await.unwrap().state;
    assert_eq!(state.count, all(&world, user, &version).await.len() as u64);
    let room = key(1, 0).room_id;
    let left = world.accounts.delete_backup_keys(user, &version, KeyChoice::Room(&room)).await.unwrap();
    assert_eq!(left.count, all(&world, user, &version).await.len() as u64);
    assert!(left.count < state.count);
}

#[tokio::test]
async fn nothing_is_left_of_a_deactivated_user() {
    let world = world().await;
    let alice = world.user("alice").await;
    let version = create(&world, alice.nid).await;
    let keys: Vec<BackupKey> = (0..3).map(|number| key(0, number)).collect();
    world.accounts.back_up(alice.nid, &version, &keys).await.unwrap();
    world.accounts.deactivate(&alice.id).await.unwrap();
    assert!(matches!(world.accounts.backup(alice.nid, None).await, Err(BackupError::NoBackup)));
    let written = world.accounts.back_up(alice.nid, &version, &keys).await;
    assert!(matches!(written, Err(BackupError::NoBackup)));
}

#[tokio::test]
async fn a_version_that_is_deleted_frees_its_room() {
    let world = world().await;
    let user = world.user("alice").await.nid;
    let large: Vec<BackupKey> = (0..1_500).map(|number| key(0, number)).collect();
    for round in 0..3 {
        let version = create(&world, user).await;
        assert_eq!(world.accounts.back_up(user, &version, &large).await.unwrap().count, 1_500, "round {round}");
        world.accounts.delete_backup(user, &version).await.unwrap();
        let gone = world.accounts.backup_keys(user, &version, None, None).await;
        assert!(matches!(gone, Err(BackupError::UnknownVersion)));
    }
    let version = create(&world, user).await;
    assert!(all(&world, user, &version).await.is_empty());
    let many: Vec<BackupKey> = (0..5_001).map(|number| key(0, number)).collect();
    let refused = world.accounts.back_up(user, &version, &many).await;
    assert!(matches!(refused, Err(BackupError::Account(AccountError::Limit { limit: 5_000, .. }))));
}
