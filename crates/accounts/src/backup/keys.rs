//! Keys of a backup's version.

use ruma::{OwnedRoomId, RoomId, UInt};
use wardroom_store::{Batch, Packed, Scan};

use super::{
    BACKUP_KEYS_PER_REQUEST_MAX, BACKUP_KEYS_PER_USER_MAX, BACKUP_NAME_BYTES_MAX, BACKUP_PAGE_KEYS,
    BACKUP_SESSION_BYTES_MAX, BackupError, BackupKeyData, BackupState, check_bytes, raw,
    tables::{BACKUP_KEYS, KeyKey, KeyRow, domain},
    versions::{Opened, version_row},
};
use crate::{
    AccountError, Accounts, UserNid,
    error::{CONFLICT_ROUNDS_MAX, settled},
};

/// Keys whose deletion is written one by one. More go with one mark over their range, which costs every later read
/// near it a little until the engine has compacted it: worth it for many only.
const SINGLE_DELETES_MAX: usize = 1_000;
/// Stored keys that are compared with new ones at a time.
const COMPARED_KEYS: usize = 256;
/// Keys counted at a time.
const COUNTED_KEYS: usize = 10_000;

/// A key and what it is for.
#[derive(Clone, Debug)]
pub struct BackupKey {
    /// The room.
    pub room_id: OwnedRoomId,
    /// The session, unique in its room.
    pub session_id: String,
    /// The key.
    pub data: BackupKeyData,
}

/// Which keys of a version.
#[derive(Clone, Copy, Debug)]
pub enum KeyChoice<'a> {
    /// All.
    All,
    /// Those of one room.
    Room(&'a RoomId),
    /// One.
    Session(&'a RoomId, &'a str),
}

/// Where a page ends.
#[derive(Clone, Copy, Debug)]
pub struct BackupCursor(KeyKey);

/// Some keys, those of a room together, and where to continue.
#[derive(Clone, Debug)]
pub struct BackupPage {
    /// At most [`BACKUP_PAGE_KEYS`].
    pub keys: Vec<BackupKey>,
    /// `None` on the last page.
    pub next: Option<BackupCursor>,
}

impl KeyRow {
    fn new(key: &BackupKey) -> Self {
        Self {
            room_id: key.room_id.to_string(),
            session_id: key.session_id.clone(),
            first_message_index: key.data.first_message_index.into(),
            forwarded_count: key.data.forwarded_count.into(),
            is_verified: key.data.is_verified,
            session_data: key.data.session_data.get().to_owned(),
        }
    }

    /// Whether this key takes the place of `old`: verified before unverified, then the one that decrypts more, then
    /// the one that came a shorter way. The same stays as it is.
    fn replaces(&self, old: &Self) -> bool {
        let rank = |row: &Self| (!row.is_verified, row.first_message_index, row.forwarded_count);
        rank(self) < rank(old)
    }

    fn into_key(self) -> Result<BackupKey, BackupError> {
        let damaged = || AccountError::Damaged("key backup");
        Ok(BackupKey {
            room_id: OwnedRoomId::try_from(self.room_id).map_err(|_| damaged())?,
            session_id: self.session_id,
            data: BackupKeyData {
                first_message_index: UInt::new(self.first_message_index).ok_or_else(damaged)?,
                forwarded_count: UInt::new(self.forwarded_count).ok_or_else(damaged)?,
                is_verified: self.is_verified,
                session_data: raw(self.session_data)?,
            },
        })
    }
}

fn check_keys(keys: &[BackupKey]) -> Result<(), BackupError> {
    check_bytes("The number of keys in one request", keys.len(), BACKUP_KEYS_PER_REQUEST_MAX)?;
    for key in keys {
        check_bytes("The length of a room id, in bytes,", key.room_id.as_str().len(), BACKUP_NAME_BYTES_MAX)?;
        check_bytes("The length of a session id, in bytes,", key.session_id.len(), BACKUP_NAME_BYTES_MAX)?;
        let bytes = key.data.session_data.get().len();
        check_bytes("The size of `session_data`, in bytes,", bytes, BACKUP_SESSION_BYTES_MAX)?;
    }
    Ok(())
}

impl Accounts {
    /// Adds keys to the current version, which must be `version`. Where it has a key already the better one stays.
    ///
    /// # Errors
    /// [`BackupError::NoBackup`], [`BackupError::WrongVersion`], [`AccountError::Limit`], or the store's.
    pub async fn back_up(&self, user: UserNid, version: &str, keys: &[BackupKey]) -> Result<BackupState, BackupError> {
        check_keys(keys)?;
        let _writer = self.0.backups.writer(user).await;
        for _ in 0..CONFLICT_ROUNDS_MAX {
            let mut opened = self.open_current_backup(user, version).await?;
            let view = self.0.store.latest();
            let person = self.person_key(user).await?;
            let mut changes = Batch::default();
            let mut added = 0_u64;
            for some in keys.chunks(COMPARED_KEYS) {
                let places: Vec<KeyKey> =
                    some.iter().map(|key| self.key_key(user, opened.version, &key.room_id, &key.session_id)).collect();
                let stored = view.multi_get(&BACKUP_KEYS, &places).await?;
                for ((key, place), old) in some.iter().zip(&places).zip(stored) {
                    let row = KeyRow::new(key);
                    if old.as_ref().is_none_or(|Packed(old)| row.replaces(old)) {
                        added += u64::from(old.is_none());
                        changes.put_sealed(&BACKUP_KEYS, place, &Packed(row), &person);
                    }
                }
            }
            if changes.is_empty() {
                return Ok(opened.row.state());
            }
            opened.backups.keys += added;
            if added > 0 && opened.backups.keys > BACKUP_KEYS_PER_USER_MAX {
                let limit = usize::try_from(BACKUP_KEYS_PER_USER_MAX).unwrap_or(usize::MAX);
                return Err(AccountError::Limit { what: "The number of keys in your backups", limit }.into());
            }
            opened.row.count += added;
            opened.row.etag += 1;
            let mut batch = opened.rewritten(user, &self.person_key(user).await?);
            batch.append(changes);
            if settled(self.0.store.commit(batch).await)?.is_some() {
                return Ok(opened.row.state());
            }
        }
        Err(AccountError::Contended.into())
    }

    /// One key, `None` when the version has none for this session.
    ///
    /// # Errors
    /// [`BackupError::UnknownVersion`], or the store's.
    pub async fn backup_key(
        &self,
        user: UserNid,
        version: &str,
        room: &RoomId,
        session: &str,
    ) -> Result<Option<BackupKeyData>, BackupError> {
        let view = self.0.store.latest();
        let (version, _) = version_row(&view, user, version).await?;
        let row = view.get(&BACKUP_KEYS, &self.key_key(user, version, room, session)).await?;
        if row.is_some() {
            self.record_restore(user, version).await?;
        }
        row.map(|Packed(row)| Ok(row.into_key()?.data)).transpose()
    }

    /// A page of the keys of a version, or of one room in it. Keys that come or go while a client reads page by page
    /// may be among them or not.
    ///
    /// # Errors
    /// [`BackupError::UnknownVersion`], or the store's.
    pub async fn backup_keys(
        &self,
        user: UserNid,
        version: &str,
        room: Option<&RoomId>,
        after: Option<BackupCursor>,
    ) -> Result<BackupPage, BackupError> {
        let view = self.0.store.latest();
        let (version, _) = version_row(&view, user, version).await?;
        let mut scan = self.keys_scan(user, version, room).limit(BACKUP_PAGE_KEYS);
        if let Some(BackupCursor(last)) = &after {
            scan = scan.after(last);
        }
        let rows = view.scan(&BACKUP_KEYS, scan).await?;
        let full = rows.len() == BACKUP_PAGE_KEYS;
        let next = rows.last().filter(|_| full).map(|(key, _)| BackupCursor(*key));
        if !rows.is_empty() {
            self.record_restore(user, version).await?;
        }
        let keys = rows.into_iter().map(|(_, Packed(row))| row.into_key()).collect::<Result<_, _>>()?;
        Ok(BackupPage { keys, next })
    }

    /// Deletes keys of a version; those that are not there are passed over.
    ///
    /// # Errors
    /// [`BackupError::UnknownVersion`], or the store's.
    pub async fn delete_backup_keys(
        &self,
        user: UserNid,
        version: &str,
        choice: KeyChoice<'_>,
    ) -> Result<BackupState, BackupError> {
        let _writer = self.0.backups.writer(user).await;
        for _ in 0..CONFLICT_ROUNDS_MAX {
            let mut opened = self.open_backup(user, version).await?;
            let count = self.chosen_keys(user, &opened, choice).await?;
            if count == 0 {
                return Ok(opened.row.state());
            }
            let batch = self.without_keys(user, &mut opened, choice, count, "backup.keys.delete").await?;
            if settled(self.0.store.commit(batch).await)?.is_some() {
                return Ok(opened.row.state());
            }
        }
        Err(AccountError::Contended.into())
    }

    /// How many keys of a version these are.
    pub(super) async fn chosen_keys(
        &self,
        user: UserNid,
        opened: &Opened,
        choice: KeyChoice<'_>,
    ) -> Result<u64, BackupError> {
        Ok(match choice {
            KeyChoice::All => opened.row.count,
            KeyChoice::Room(room) => self.count_keys(user, opened.version, room).await?,
            KeyChoice::Session(room, session) => {
                let key = self.key_key(user, opened.version, room, session);
                u64::from(self.0.store.latest().get(&BACKUP_KEYS, &key).await?.is_some())
            }
        })
    }

    /// The batch that takes `count` keys out of a version, with its record.
    pub(super) async fn without_keys(
        &self,
        user: UserNid,
        opened: &mut Opened,
        choice: KeyChoice<'_>,
        count: u64,
        what: &'static str,
    ) -> Result<Batch, BackupError> {
        opened.backups.keys = opened.backups.keys.saturating_sub(count);
        opened.row.count = opened.row.count.saturating_sub(count);
        opened.row.etag += 1;
        let mut batch = opened.rewritten(user, &self.person_key(user).await?);
        self.purge_keys(&mut batch, user, opened.version, choice, count).await?;
        self.record_backup(&mut batch, user, opened.version, what).await?;
        Ok(batch)
    }

    /// Adds the end of `count` keys to the batch, which must expect the user's row as it was when they were counted.
    pub(super) async fn purge_keys(
        &self,
        batch: &mut Batch,
        user: UserNid,
        version: u64,
        choice: KeyChoice<'_>,
        count: u64,
    ) -> Result<(), BackupError> {
        if count == 0 {
            return Ok(());
        }
        let room = match choice {
            KeyChoice::Session(room, session) => {
                batch.delete(&BACKUP_KEYS, &self.key_key(user, version, room, session));
                return Ok(());
            }
            KeyChoice::Room(room) => Some(room),
            KeyChoice::All => None,
        };
        if count <= SINGLE_DELETES_MAX as u64 {
            let scan = self.keys_scan(user, version, room).limit(SINGLE_DELETES_MAX);
            for key in self.0.store.latest().scan_keys(&BACKUP_KEYS, scan).await? {
                batch.delete(&BACKUP_KEYS, &key);
            }
        } else if let Some(room) = room {
            batch.delete_prefix(&BACKUP_KEYS, &(user.get(), version, self.room_hash(room)));
        } else {
            batch.delete_prefix(&BACKUP_KEYS, &(user.get(), version));
        }
        Ok(())
    }

    async fn count_keys(&self, user: UserNid, version: u64, room: &RoomId) -> Result<u64, BackupError> {
        let view = self.0.store.latest();
        let mut count = 0;
        let mut scan = self.keys_scan(user, version, Some(room)).limit(COUNTED_KEYS);
        loop {
            let page = view.scan_keys(&BACKUP_KEYS, scan).await?;
            count += page.len() as u64;
            match page.last() {
                Some(last) if page.len() == COUNTED_KEYS => {
                    scan = self.keys_scan(user, version, Some(room)).after(last).limit(COUNTED_KEYS);
                }
                _ => return Ok(count),
            }
        }
    }

    pub(super) fn keys_scan(&self, user: UserNid, version: u64, room: Option<&RoomId>) -> Scan {
        match room {
            Some(room) => Scan::prefix(&(user.get(), version, self.room_hash(room))),
            None => Scan::prefix(&(user.get(), version)),
        }
    }

    pub(super) fn key_key(&self, user: UserNid, version: u64, room: &RoomId, session: &str) -> KeyKey {
        let session = self.0.store.keyed_hash(domain::SESSION, session.as_bytes());
        (user.get(), version, self.room_hash(room), session)
    }

    fn room_hash(&self, room: &RoomId) -> wardroom_store::Hash16 {
        self.0.store.keyed_hash(domain::ROOM, room.as_str().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::KeyRow;

    fn row(is_verified: bool, first_message_index: u64, forwarded_count: u64) -> KeyRow {
        let (room_id, session_id, session_data) = (String::new(), String::new(), String::new());
        KeyRow { room_id, session_id, first_message_index, forwarded_count, is_verified, session_data }
    }

    #[test]
    fn the_better_key_stays() {
        let old = row(false, 5, 5);
        for better in [row(true, 9, 9), row(false, 4, 9), row(false, 5, 4)] {
            assert!(better.replaces(&old) && !old.replaces(&better));
        }
        assert!(!row(false, 5, 5).replaces(&old), "the same is not better");
    }

    proptest! {
        #[test]
        fn of_two_keys_at_most_one_replaces_the_other(
            a in (any::<bool>(), 0..3_u64, 0..3_u64),
            b in (any::<bool>(), 0..3_u64, 0..3_u64),
        ) {
            let (left, right) = (row(a.0, a.1, a.2), row(b.0, b.1, b.2));
            prop_assert_eq!(left.replaces(&right) || right.replaces(&left), a != b);
            prop_assert!(!(left.replaces(&right) && right.replaces(&left)));
        }
    }
}
