//! Encryption keys: section "End-to-End Encryption".
//!
//! The server keeps public keys and signatures and gives them out; it decrypts nothing. Invariants:
//!
//! - A one-time key is given out once, whoever asks at the same time, and also if the device uploads it again.
//! - An upload is kept whole or not at all.
//! - What a device has to know of its keys stands in one row, written with every change, so that a sync reads one row.
//! - Every change that others have to hear of is in the log of [`device_lists`](crate::device_lists) with its commit.

mod cross_signing;
mod device_keys;
mod key_json;
mod one_time_keys;
mod remote_devices;
mod signatures;
pub(crate) mod tables;
mod upload;

use std::collections::BTreeMap;

use ruma::{DeviceId, UserId};
use tokio::sync::{Mutex, MutexGuard};
use wardroom_store::{Batch, Packed, Position, WatchKey};

pub(crate) use self::remote_devices::{LISTS, REMOTE_DEVICES, STALE_LISTS};
use self::tables::{
    CROSS_SIGNING_KEYS, DEVICE_KEYS, FALLBACK_KEYS, GIVEN_KEYS, KEY_STATE, ONE_TIME_KEYS, WAITING_KEYS,
};
pub use self::{
    cross_signing::{CROSS_SIGNING_KEY_BYTES_MAX, CrossSigningKeys, CrossSigningOutcome, CrossSigningUpload},
    device_keys::QueriedDevice,
    one_time_keys::ClaimedKey,
    remote_devices::{DeviceSnapshot, DeviceUpdate, ListState, RemoteDevice, Updated},
    signatures::{SIGNATURES_PER_REQUEST_MAX, SignatureFailure},
    upload::{
        DEVICE_KEYS_BYTES_MAX, FALLBACK_KEYS_PER_DEVICE_MAX, KEY_ID_BYTES_MAX, KeyUpload, ONE_TIME_KEY_BYTES_MAX,
        ONE_TIME_KEYS_PER_DEVICE_MAX,
    },
};
use crate::{AccountError, Accounts, Session, UserNid, tables::DEVICES};

/// Kind of the watch keys that say "something for this one device changed"; the id is the device's number.
pub const WATCH_DEVICE: u8 = 3;

/// The algorithm of one-time keys that clients insist on being told the number of, also where there is none.
const SIGNED_CURVE25519: &str = "signed_curve25519";

/// A device by numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceRef {
    /// Whose it is.
    pub user: UserNid,
    /// The device's number, unique on this server and never used again.
    pub nid: u64,
}

impl DeviceRef {
    /// What to watch, and to touch, for messages to this device and for changes of its one-time keys.
    pub const fn watch_key(self) -> WatchKey {
        WatchKey { kind: WATCH_DEVICE, id: self.nid }
    }

    pub(crate) const fn key(self) -> tables::KeyOwner {
        (self.user.get(), self.nid)
    }
}

impl Session {
    /// The device of this session.
    pub fn device_ref(&self) -> DeviceRef {
        DeviceRef { user: self.nid, nid: self.device_nid }
    }
}

/// What a device has to know of the keys that others can claim.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyCounts {
    /// Unclaimed one-time keys by algorithm, `signed_curve25519` also when there is none.
    pub one_time: BTreeMap<String, u64>,
    /// Algorithms whose fallback key was not given out.
    pub unused_fallback: Vec<String>,
    /// When any of this changed last; zero for a device that never had keys.
    pub changed: Position,
}

/// Serialises those who change devices or keys of the same user, so that many of them at once do not undo each other's
/// work: all of them write the same rows. The preconditions of the commits are what makes it right.
#[derive(Debug)]
pub(crate) struct KeyLocks(Vec<Mutex<()>>);

/// Users share locks.
const KEY_LOCKS: usize = 256;

impl Default for KeyLocks {
    fn default() -> Self {
        Self(std::iter::repeat_with(Mutex::default).take(KEY_LOCKS).collect())
    }
}

impl KeyLocks {
    pub(crate) async fn lock(&self, user: UserNid) -> MutexGuard<'_, ()> {
        let stripe = usize::try_from(user.get() % KEY_LOCKS as u64).unwrap_or_default();
        self.0[stripe].lock().await
    }
}

impl Accounts {
    /// A device of a user of this server.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn device_ref(&self, user: &UserId, device: &DeviceId) -> Result<Option<DeviceRef>, AccountError> {
        if !self.is_local(user) {
            return Ok(None);
        }
        let Some(user) = self.user_nid(user).await? else { return Ok(None) };
        let row = self.0.store.latest().get(&DEVICES, &self.device_key(user, device)).await?;
        Ok(row.map(|Packed(row)| DeviceRef { user, nid: row.nid }))
    }

    /// How many one-time keys a device has left, and which of its fallback keys are unused.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn key_counts(&self, device: DeviceRef) -> Result<KeyCounts, AccountError> {
        let found = self.0.store.latest().get_versioned(&KEY_STATE, &device.key()).await?;
        let mut counts = KeyCounts::default();
        if let Some((Packed(state), version)) = found {
            counts.one_time = state.one_time.into_iter().map(|(kind, count)| (kind, u64::from(count))).collect();
            counts.unused_fallback = state.unused_fallback.into_iter().collect();
            counts.changed = version;
        }
        counts.one_time.entry(SIGNED_CURVE25519.to_owned()).or_default();
        Ok(counts)
    }

    /// Adds the end of a device's keys to the batch. It expects them as they are: nothing that is uploaded at the same
    /// moment stays behind.
    pub(crate) async fn end_keys(&self, batch: &mut Batch, device: DeviceRef) -> Result<(), AccountError> {
        let key = device.key();
        let state = self.0.store.latest().get_versioned(&KEY_STATE, &key).await?;
        batch.expect_version(&KEY_STATE, &key, state.as_ref().map(|(_, version)| *version));
        if state.is_some() {
            batch.delete(&KEY_STATE, &key);
            batch.delete(&DEVICE_KEYS, &key);
            forget_claimable(batch, device);
        }
        Ok(())
    }

    /// Adds the end of everything that a user published to the batch, and of what they signed.
    pub(crate) async fn end_all_keys(&self, batch: &mut Batch, user: UserNid) -> Result<(), AccountError> {
        end_own_keys(batch, user);
        self.end_signatures(batch, user).await
    }
}

/// Adds the end of the keys of a user and of all their devices to the batch.
pub(crate) fn end_own_keys(batch: &mut Batch, user: UserNid) {
    let key = user.get();
    batch.delete_prefix(&KEY_STATE, &key);
    batch.delete_prefix(&DEVICE_KEYS, &key);
    batch.delete_prefix(&ONE_TIME_KEYS, &key);
    batch.delete_prefix(&WAITING_KEYS, &key);
    batch.delete_prefix(&GIVEN_KEYS, &key);
    batch.delete_prefix(&FALLBACK_KEYS, &key);
    batch.delete_prefix(&CROSS_SIGNING_KEYS, &key);
}

/// Adds the end of a device's one-time and fallback keys to the batch.
fn forget_claimable(batch: &mut Batch, device: DeviceRef) {
    let key = device.key();
    batch.delete_prefix(&ONE_TIME_KEYS, &key);
    batch.delete_prefix(&WAITING_KEYS, &key);
    batch.delete_prefix(&GIVEN_KEYS, &key);
    batch.delete_prefix(&FALLBACK_KEYS, &key);
}
