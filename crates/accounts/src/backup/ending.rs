//! Keys of sessions of which no message is left: they go from the backups, in every version.

use ruma::RoomId;
use wardroom_store::Scan;

use super::{
    BACKUP_VERSIONS_MAX, BackupError, KeyChoice,
    tables::{BACKUP_KEYS, BACKUP_VERSIONS},
};
use crate::{
    AccountError, Accounts, UserNid,
    error::{CONFLICT_ROUNDS_MAX, settled},
};

impl Accounts {
    /// Takes the keys of a session, or of all sessions, of a room out of all versions of a user's backup; tells how many
    /// there were.
    ///
    /// # Errors
    /// When the store fails; doing it again goes on.
    pub async fn end_backup_keys(
        &self,
        user: UserNid,
        room: &RoomId,
        session: Option<&str>,
    ) -> Result<u64, BackupError> {
        let choice = session.map_or(KeyChoice::Room(room), |session| KeyChoice::Session(room, session));
        let scan = Scan::prefix(&user.get()).limit(BACKUP_VERSIONS_MAX);
        let versions = self.0.store.latest().scan_keys(&BACKUP_VERSIONS, scan).await?;
        let mut ended = 0;
        for (_, version) in versions {
            if self.has_backup_key(user, version, choice).await? {
                ended += self.end_in_version(user, version, choice).await?;
            }
        }
        Ok(ended)
    }

    /// Whether there is anything to do, without waiting for those who write.
    async fn has_backup_key(&self, user: UserNid, version: u64, choice: KeyChoice<'_>) -> Result<bool, BackupError> {
        let view = self.0.store.latest();
        Ok(match choice {
            KeyChoice::Session(room, session) => {
                view.get(&BACKUP_KEYS, &self.key_key(user, version, room, session)).await?.is_some()
            }
            KeyChoice::Room(room) => {
                !view.scan_keys(&BACKUP_KEYS, self.keys_scan(user, version, Some(room)).limit(1)).await?.is_empty()
            }
            KeyChoice::All => true,
        })
    }

    async fn end_in_version(&self, user: UserNid, version: u64, choice: KeyChoice<'_>) -> Result<u64, BackupError> {
        let _writer = self.0.backups.writer(user).await;
        for _ in 0..CONFLICT_ROUNDS_MAX {
            let mut opened = match self.open_backup(user, &version.to_string()).await {
                Err(BackupError::UnknownVersion) => return Ok(0),
                opened => opened?,
            };
            let count = self.chosen_keys(user, &opened, choice).await?;
            if count == 0 {
                return Ok(0);
            }
            let batch = self.without_keys(user, &mut opened, choice, count, "backup.keys.retention").await?;
            if settled(self.0.store.commit(batch).await)?.is_some() {
                return Ok(count);
            }
        }
        Err(AccountError::Contended.into())
    }
}
