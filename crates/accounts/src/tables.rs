//! What this crate keeps in the store, table ids 0x0100 to 0x01FF. Keys hold user, room and device numbers and keyed
//! hashes, never a name.

use std::fmt;

use serde::{Deserialize, Serialize};
use wardroom_store::{Hash16, Json, Packed, Position, Profile, Seal, Table, TableSpec};

use crate::keys::tables as key_tables;

/// Namespace of user ids in the store's interner; the full id is the name.
pub const NS_USER: u8 = 1;
/// Kind of the watch keys that say "something for this one user changed"; the id is the user's number.
pub const WATCH_USER: u8 = 2;
/// Kind of the watch keys that say "presence changed in this room"; the id is the room's number.
pub const WATCH_PRESENCE: u8 = 4;

/// Domains of keyed hashes, so that equal texts of different meaning have different hashes.
pub(crate) mod domain {
    pub(crate) const ACCESS_TOKEN: u8 = 0x10;
    pub(crate) const REFRESH_TOKEN: u8 = 0x11;
    pub(crate) const DEVICE_ID: u8 = 0x12;
    pub(crate) const ACCOUNT_DATA_TYPE: u8 = 0x13;
    pub(crate) const FILTER: u8 = 0x14;
    pub(crate) const PUSHER: u8 = 0x16;
    pub(crate) const KEY_ID: u8 = 0x20;
    pub(crate) const KEY_ALGORITHM: u8 = 0x21;
    pub(crate) const KEY_CONTENT: u8 = 0x22;
    pub(crate) const TO_DEVICE_TRANSACTION: u8 = 0x23;
    pub(crate) const TO_DEVICE_RECEIVED: u8 = 0x24;
    pub(crate) const SHORT_LIVED: u8 = 0x50;
    pub(crate) const IDENTITY: u8 = 0x51;
    pub(crate) const REGISTRATION_TOKEN: u8 = 0x52;
    pub(crate) const SSO_SUBJECT: u8 = 0x53;
    pub(crate) const SSO_SESSION: u8 = 0x54;
}

/// User number of a [`UserNid`](crate::UserNid) in keys.
pub(crate) type UserKey = u64;
/// (user, hash of the device id).
pub(crate) type DeviceKey = (UserKey, Hash16);
/// (user, room or [`GLOBAL`], hash of the type).
pub(crate) type AccountDataKey = (UserKey, u64, Hash16);

/// Stands where a room number would for account data that belongs to no room; real room numbers start at 1.
pub(crate) const GLOBAL: u64 = 0;

/// user -> [`UserRow`].
pub(crate) const USERS: Table<UserKey, Packed<UserRow>> = Table::new(0x0100, "users", Profile::Point, Seal::System);
/// (user, device) -> [`DeviceRow`].
pub(crate) const DEVICES: Table<DeviceKey, Packed<DeviceRow>> =
    Table::new(0x0101, "devices", Profile::Scan, Seal::Scoped);
/// (user, device) -> [`SeenRow`]; apart from `devices` so that being seen conflicts with nothing.
pub(crate) const DEVICES_SEEN: Table<DeviceKey, Packed<SeenRow>> =
    Table::new(0x0102, "devices_seen", Profile::Churn, Seal::Scoped);
/// hash of an access token -> [`TokenRow`].
pub(crate) const ACCESS_TOKENS: Table<Hash16, Packed<TokenRow>> =
    Table::new(0x0103, "access_tokens", Profile::Point, Seal::System);
/// hash of a refresh token -> [`TokenRow`].
pub(crate) const REFRESH_TOKENS: Table<Hash16, Packed<TokenRow>> =
    Table::new(0x0104, "refresh_tokens", Profile::Point, Seal::System);
/// user -> [`Profile`](crate::Profile).
pub(crate) const PROFILES: Table<UserKey, Packed<crate::Profile>> =
    Table::new(0x0105, "profiles", Profile::Point, Seal::Scoped);
/// (user, room, type) -> [`AccountDataRow`].
pub(crate) const ACCOUNT_DATA: Table<AccountDataKey, Packed<AccountDataRow>> =
    Table::new(0x0106, "account_data", Profile::Scan, Seal::Scoped).compressed();
/// (user, position of the newest write, room, type): exactly one per row of `account_data`.
pub(crate) const ACCOUNT_DATA_CHANGES: Table<(UserKey, Position, u64, Hash16), ()> =
    Table::new(0x0107, "account_data_changes", Profile::Churn, Seal::System);
/// (user, hash of the filter's JSON) -> the JSON.
pub(crate) const FILTERS: Table<(UserKey, Hash16), String> =
    Table::new(0x0108, "filters", Profile::Point, Seal::Scoped).compressed();

/// (user, hash of application and push key) -> [`PusherRow`].
pub(crate) const PUSHERS: Table<(UserKey, Hash16), Json<PusherRow>> =
    Table::new(0x0160, "pushers", Profile::Scan, Seal::Scoped).compressed();
/// (hash of application and push key, user): who has such a pusher.
pub(crate) const PUSHERS_BY_KEY: Table<(Hash16, UserKey), ()> =
    Table::new(0x0161, "pushers_by_key", Profile::Scan, Seal::System);
/// user: its version is when the user last set a pusher, so that none is set while its device ends.
pub(crate) const PUSHERS_CHANGED: Table<UserKey, ()> =
    Table::new(0x0162, "pushers_changed", Profile::Point, Seal::System);
/// user -> [`Moderation`](crate::Moderation), of users from whom something was taken.
pub(crate) const MODERATION: Table<UserKey, Packed<crate::Moderation>> =
    Table::new(0x0152, "moderation", Profile::Point, Seal::System);
/// user -> number of the room in which the server speaks to them.
pub(crate) const NOTICE_ROOMS: Table<UserKey, u64> = Table::new(0x0153, "notice_rooms", Profile::Point, Seal::System);
/// user -> fields of the profile beyond name and picture.
pub(crate) const PROFILE_FIELDS: Table<UserKey, Json<crate::ProfileFields>> =
    Table::new(0x0151, "profile_fields", Profile::Point, Seal::Scoped).compressed();
/// user -> [`PresenceRow`](crate::presence::PresenceRow), of users who are not offline or have a status message.
pub(crate) const PRESENCE: Table<UserKey, Packed<crate::presence::PresenceRow>> =
    Table::new(0x0150, "presence", Profile::Churn, Seal::System);

/// user -> what an administrator is restricted to; who is not here is not restricted.
pub(crate) const ADMIN_SCOPES: Table<UserKey, Packed<crate::AdminScopes>> =
    Table::new(0x0154, "admin_scopes", Profile::Point, Seal::System);
/// user -> addresses and identities that administrators noted.
pub(crate) const IDENTITIES: Table<UserKey, Json<crate::Identities>> =
    Table::new(0x0155, "identities", Profile::Point, Seal::Scoped).compressed();
/// hash of an address or identity -> the user who has it.
pub(crate) const IDENTITY_OWNERS: Table<Hash16, u64> =
    Table::new(0x0156, "identity_owners", Profile::Point, Seal::System);

/// user: a row that can be read as long as the key is there that seals what is kept of the person.
pub(crate) const PERSONS: Table<UserKey, ()> = Table::new(0x0184, "persons", Profile::Scan, Seal::Scoped);

/// hash of a registration token -> the token.
pub(crate) const REGISTRATION_TOKENS: Table<Hash16, Json<crate::RegistrationToken>> =
    Table::new(0x0157, "registration_tokens", Profile::Scan, Seal::System);

/// All tables of this crate, for the store's catalogue.
pub const TABLES: &[TableSpec] = &[
    *USERS.spec(),
    *DEVICES.spec(),
    *DEVICES_SEEN.spec(),
    *ACCESS_TOKENS.spec(),
    *REFRESH_TOKENS.spec(),
    *PROFILES.spec(),
    *ACCOUNT_DATA.spec(),
    *ACCOUNT_DATA_CHANGES.spec(),
    *FILTERS.spec(),
    *PUSHERS.spec(),
    *PUSHERS_BY_KEY.spec(),
    *PUSHERS_CHANGED.spec(),
    *crate::backup::BACKUPS.spec(),
    *crate::backup::BACKUP_VERSIONS.spec(),
    *crate::backup::BACKUP_KEYS.spec(),
    *crate::dehydrated::DEHYDRATED.spec(),
    *key_tables::DEVICE_KEYS.spec(),
    *key_tables::ONE_TIME_KEYS.spec(),
    *key_tables::WAITING_KEYS.spec(),
    *key_tables::GIVEN_KEYS.spec(),
    *key_tables::FALLBACK_KEYS.spec(),
    *key_tables::KEY_STATE.spec(),
    *key_tables::CROSS_SIGNING_KEYS.spec(),
    *key_tables::MASTER_SIGNATURES.spec(),
    *key_tables::DEVICE_LIST_CHANGES.spec(),
    *key_tables::DEVICE_LIST_LAST.spec(),
    *key_tables::SIGNED_USERS.spec(),
    *key_tables::INBOXES.spec(),
    *key_tables::TO_DEVICE_TRANSACTIONS.spec(),
    *crate::keys::LISTS.spec(),
    *crate::keys::REMOTE_DEVICES.spec(),
    *crate::keys::STALE_LISTS.spec(),
    *crate::to_device::OUTGOING.spec(),
    *crate::to_device::RECEIVED.spec(),
    *MODERATION.spec(),
    *NOTICE_ROOMS.spec(),
    *PROFILE_FIELDS.spec(),
    *PRESENCE.spec(),
    *ADMIN_SCOPES.spec(),
    *IDENTITIES.spec(),
    *IDENTITY_OWNERS.spec(),
    *REGISTRATION_TOKENS.spec(),
    *PERSONS.spec(),
    crate::sso::TABLES[0],
    crate::sso::TABLES[1],
    crate::sso::TABLES[2],
    crate::sso::TABLES[3],
];

/// A local user. The row stays for ever, so that a name is never given out twice.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct UserRow {
    pub(crate) created_ms: u64,
    pub(crate) admin: bool,
    pub(crate) guest: bool,
    pub(crate) deactivated: bool,
    /// PHC string (argon2id); `None` cannot log in with a password.
    pub(crate) password: Option<String>,
}

impl fmt::Debug for UserRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserRow")
            .field("admin", &self.admin)
            .field("guest", &self.guest)
            .field("deactivated", &self.deactivated)
            .finish_non_exhaustive()
    }
}

/// Hashes of an access token and the refresh token that came with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TokenPair {
    pub(crate) access: Hash16,
    pub(crate) refresh: Option<Hash16>,
}

/// A signed-in client.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct DeviceRow {
    /// Number of this device, never used for another one.
    pub(crate) nid: u64,
    pub(crate) device_id: String,
    pub(crate) display_name: Option<String>,
    pub(crate) created_ms: u64,
    /// When somebody signed in on it last.
    pub(crate) signed_in_ms: u64,
    pub(crate) current: TokenPair,
    /// The pair that `current` replaced, good until `current` is used for the first time.
    pub(crate) previous: Option<TokenPair>,
    /// Number of the administrator who acts in the user's name with it.
    pub(crate) administrator: Option<UserKey>,
}

impl DeviceRow {
    /// The pairs that still open something.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = &TokenPair> {
        std::iter::once(&self.current).chain(&self.previous)
    }
}

/// Where and when a device was seen last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SeenRow {
    pub(crate) at_ms: u64,
    pub(crate) ip: Option<std::net::IpAddr>,
    /// When somebody used it, and not only its client by itself.
    pub(crate) used_ms: u64,
}

/// Whose token it is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct TokenRow {
    pub(crate) user: UserKey,
    pub(crate) device: Hash16,
    pub(crate) expires_ms: Option<u64>,
}

/// One piece of account data.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct AccountDataRow {
    pub(crate) event_type: String,
    /// The content as JSON, as the client wrote it.
    pub(crate) content: String,
}

/// A pusher.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct PusherRow {
    /// Number of this pusher, never used for another one.
    pub(crate) nid: u64,
    /// Hash of the id of the device that set it.
    pub(crate) device: Hash16,
    pub(crate) updated_ms: u64,
    pub(crate) pushkey: String,
    pub(crate) app_id: String,
    pub(crate) app_display_name: String,
    pub(crate) device_display_name: String,
    pub(crate) profile_tag: Option<String>,
    pub(crate) lang: String,
    /// A JSON object, as the client wrote it.
    pub(crate) data: String,
}
