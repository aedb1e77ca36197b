//! What is kept of key backups, table ids 0x0140 to 0x0142.

use serde::{Deserialize, Serialize};
use wardroom_store::{Hash16, Packed, Profile, Seal, Table};

use crate::tables::UserKey;

/// Domains of keyed hashes.
pub(super) mod domain {
    pub(crate) const ROOM: u8 = 0x40;
    pub(crate) const SESSION: u8 = 0x41;
}

/// (user, version, hash of the room id, hash of the session id): the keys of a room lie together.
pub(super) type KeyKey = (UserKey, u64, Hash16, Hash16);

/// user -> [`BackupsRow`]; rewritten by every change to the user's backups.
pub(crate) const BACKUPS: Table<UserKey, Packed<BackupsRow>> =
    Table::new(0x0140, "backups", Profile::Point, Seal::System);
/// (user, version) -> [`VersionRow`].
pub(crate) const BACKUP_VERSIONS: Table<(UserKey, u64), Packed<VersionRow>> =
    Table::new(0x0141, "backup_versions", Profile::Scan, Seal::Scoped);
/// (user, version, room, session) -> [`KeyRow`].
pub(crate) const BACKUP_KEYS: Table<KeyKey, Packed<KeyRow>> =
    Table::new(0x0142, "backup_keys", Profile::Scan, Seal::Scoped).compressed();

/// All backups of a user.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct BackupsRow {
    /// The last version given out, deleted or not.
    pub(super) last_version: u64,
    /// Keys in all versions.
    pub(super) keys: u64,
}

/// One version.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct VersionRow {
    pub(super) algorithm: String,
    /// JSON, as the client wrote it.
    pub(super) auth_data: String,
    /// Keys in this version.
    pub(super) count: u64,
    /// Counts the changes to the keys.
    pub(super) etag: u64,
}

/// One key. Hashes in its key lead to it; what they stand for is here.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct KeyRow {
    pub(super) room_id: String,
    pub(super) session_id: String,
    pub(super) first_message_index: u64,
    pub(super) forwarded_count: u64,
    pub(super) is_verified: bool,
    /// JSON, as the client wrote it.
    pub(super) session_data: String,
}
