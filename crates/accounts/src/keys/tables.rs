//! What the store keeps of encryption keys, device lists and messages to devices, table ids 0x0120 to 0x013F.
//!
//! Devices are named by their numbers, which are never used again: nothing of a deleted device can come back with its
//! id.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{Deserialize, Serialize};
use wardroom_store::{Hash16, Packed, Position, Profile, Seal, Table};

use crate::tables::UserKey;

/// (user, number of the device).
pub(crate) type KeyOwner = (UserKey, u64);

/// device -> [`DeviceKeysRow`].
pub(crate) const DEVICE_KEYS: Table<KeyOwner, Packed<DeviceKeysRow>> =
    Table::new(0x0120, "device_keys", Profile::Scan, Seal::System).compressed();
/// (device, hash of the key's id) -> [`OneTimeKeyRow`].
pub(crate) const ONE_TIME_KEYS: Table<(UserKey, u64, Hash16), Packed<OneTimeKeyRow>> =
    Table::new(0x0121, "one_time_keys", Profile::Churn, Seal::System);
/// (device, hash of the algorithm, position of the upload, hash of the key's id): the keys that wait to be claimed.
pub(crate) const WAITING_KEYS: Table<(UserKey, u64, Hash16, Position, Hash16), ()> =
    Table::new(0x0122, "one_time_keys_waiting", Profile::Churn, Seal::System);
/// (device, position of the claim, hash of the key's id): the keys that were given out.
pub(crate) const GIVEN_KEYS: Table<(UserKey, u64, Position, Hash16), ()> =
    Table::new(0x0123, "one_time_keys_given", Profile::Churn, Seal::System);
/// (device, hash of the algorithm) -> [`FallbackKeyRow`].
pub(crate) const FALLBACK_KEYS: Table<(UserKey, u64, Hash16), Packed<FallbackKeyRow>> =
    Table::new(0x0124, "fallback_keys", Profile::Point, Seal::System);
/// device -> [`KeyStateRow`]. Everything that changes keys of a device expects and writes this row.
pub(crate) const KEY_STATE: Table<KeyOwner, Packed<KeyStateRow>> =
    Table::new(0x0125, "key_state", Profile::Point, Seal::System);
/// (user, usage) -> [`CrossSigningRow`].
pub(crate) const CROSS_SIGNING_KEYS: Table<(UserKey, u8), Packed<CrossSigningRow>> =
    Table::new(0x0126, "cross_signing_keys", Profile::Point, Seal::System).compressed();
/// (whose master key, who signed it) -> [`SignatureRow`].
pub(crate) const MASTER_SIGNATURES: Table<(UserKey, UserKey), Packed<SignatureRow>> =
    Table::new(0x0127, "master_key_signatures", Profile::Point, Seal::System);
/// (position, user): the newest change of each user's devices or keys.
pub(crate) const DEVICE_LIST_CHANGES: Table<(Position, UserKey), ()> =
    Table::new(0x0128, "device_list_changes", Profile::Churn, Seal::System);
/// Exactly one row per row of `device_list_changes`, written by the same commit.
pub(crate) const DEVICE_LIST_LAST: Table<UserKey, ()> =
    Table::new(0x0129, "device_list_last", Profile::Point, Seal::System);
/// (who signed, position, whose master key): exactly one row per row of `master_key_signatures`.
pub(crate) const SIGNED_USERS: Table<(UserKey, Position, UserKey), ()> =
    Table::new(0x012A, "signed_users", Profile::Churn, Seal::System);
/// (number of the device, position, size of the value in bytes) -> the event as JSON. The size stands in the key, so
/// that an inbox is measured without opening its messages.
pub(crate) const INBOXES: Table<(u64, Position, u32), Vec<u8>> =
    Table::new(0x012B, "to_device_inboxes", Profile::Churn, Seal::Scoped);
/// (day of use, hash of device, type and transaction id).
pub(crate) const TO_DEVICE_TRANSACTIONS: Table<(u32, Hash16), ()> =
    Table::new(0x012C, "to_device_transactions", Profile::Churn, Seal::System);

/// The identity keys of a device.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct DeviceKeysRow {
    /// The signed object as JSON, with the signatures of its user's keys and without `unsigned`.
    pub(crate) json: String,
}

/// A one-time key, before and after it is given out.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum OneTimeKeyRow {
    /// It can be claimed.
    Waiting {
        /// `<algorithm>:<name>`.
        id: String,
        /// The key as JSON: a string or a signed object.
        json: String,
    },
    /// It was claimed, and is never stored again: an upload that is repeated because its answer was lost must not make
    /// a key be given out twice.
    Given {
        /// Hash of the key.
        content: Hash16,
    },
}

/// A fallback key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FallbackKeyRow {
    /// `<algorithm>:<name>`.
    pub(crate) id: String,
    /// The key as JSON.
    pub(crate) json: String,
    /// It was given out.
    pub(crate) used: bool,
}

/// What a device has to know of its one-time and fallback keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeyStateRow {
    /// Keys that wait to be claimed, by algorithm; no zeros.
    pub(crate) one_time: BTreeMap<String, u32>,
    /// Algorithms with a fallback key that was not given out.
    pub(crate) unused_fallback: BTreeSet<String>,
}

/// A cross-signing key.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct CrossSigningRow {
    /// The public key, unpadded base64.
    pub(crate) public_key: String,
    /// The key object as JSON, with the signatures of its user's keys.
    pub(crate) json: String,
}

/// A signature by another user's user-signing key.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct SignatureRow {
    /// The master key that is signed, unpadded base64.
    pub(crate) signed: String,
    /// Id of the key that signed.
    pub(crate) key_id: String,
    /// The signature, base64.
    pub(crate) signature: String,
}

macro_rules! opaque {
    ($($row:ident),*) => {$(
        impl fmt::Debug for $row {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($row)).finish_non_exhaustive()
            }
        }
    )*};
}

opaque!(DeviceKeysRow, OneTimeKeyRow, FallbackKeyRow, CrossSigningRow, SignatureRow);
