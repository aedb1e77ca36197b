//! What a device publishes: `POST /keys/upload`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use ruma::{
    DeviceId, UserId,
    encryption::{DeviceKeys, SignedKey},
};
use serde_json::{Value, value::RawValue};
use wardroom_store::{Batch, Hash16, Packed, Position, Scan};

use super::{
    DeviceRef, SIGNED_CURVE25519, forget_claimable,
    key_json::{Object, object, set_signatures, signatures_of, signed_part, stored, text},
    tables::{
        DEVICE_KEYS, DeviceKeysRow, FALLBACK_KEYS, FallbackKeyRow, GIVEN_KEYS, KEY_STATE, KeyStateRow, ONE_TIME_KEYS,
        OneTimeKeyRow, WAITING_KEYS,
    },
};
use crate::{
    AccountError, Accounts,
    error::{CONFLICT_ROUNDS_MAX, settled},
    tables::{DEVICES, domain},
};

/// Largest identity keys of a device, in bytes of JSON.
pub const DEVICE_KEYS_BYTES_MAX: usize = 32 * 1_024;
/// Largest one-time or fallback key, in bytes of JSON.
pub const ONE_TIME_KEY_BYTES_MAX: usize = 8 * 1_024;
/// Longest id of a key, in bytes.
pub const KEY_ID_BYTES_MAX: usize = 255;
/// One-time keys of a device that wait to be claimed. Clients keep some fifty.
pub const ONE_TIME_KEYS_PER_DEVICE_MAX: usize = 1_000;
/// Algorithms for which a device may have a fallback key.
pub const FALLBACK_KEYS_PER_DEVICE_MAX: usize = 16;

/// Keys given out of which a device's repeated upload is recognised.
const GIVEN_KEYS_REMEMBERED: usize = 1_000;

/// What a device uploads.
#[derive(Clone, Default)]
pub struct KeyUpload {
    /// Its identity keys.
    pub device_keys: Option<Box<RawValue>>,
    /// One-time keys by id, `<algorithm>:<name>`.
    pub one_time_keys: Vec<(String, Box<RawValue>)>,
    /// Fallback keys by id.
    pub fallback_keys: Vec<(String, Box<RawValue>)>,
}

impl fmt::Debug for KeyUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyUpload").field("one_time_keys", &self.one_time_keys.len()).finish_non_exhaustive()
    }
}

/// A one-time or fallback key of the right form.
struct CheckedKey<'a> {
    algorithm: &'a str,
    id: &'a str,
    json: String,
}

/// An upload of the right form.
struct Checked<'a> {
    device_keys: Option<Object>,
    one_time_keys: Vec<CheckedKey<'a>>,
    fallback_keys: Vec<CheckedKey<'a>>,
}

/// What an upload does to the identity keys.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Identity {
    Same,
    Changed,
    /// Other keys than before: the one-time keys belong to an identity that is gone.
    New,
}

impl Accounts {
    /// Keeps what a device publishes, and tells how many one-time keys it has then. `user` and `id` are whose `device`
    /// it is.
    ///
    /// Identity keys that differ from the ones before end the one-time and fallback keys of the device: those were
    /// signed by, and belong to, the old ones.
    ///
    /// # Errors
    /// [`AccountError::Malformed`], [`AccountError::Invalid`], [`AccountError::Limit`],
    /// [`AccountError::OneTimeKeyExists`], [`AccountError::UnknownDevice`], or the store's; nothing is kept then.
    pub async fn upload_keys(
        &self,
        user: &UserId,
        id: &DeviceId,
        device: DeviceRef,
        upload: &KeyUpload,
    ) -> Result<BTreeMap<String, u64>, AccountError> {
        let checked = Checked::new(user, id, upload)?;
        let _lock = self.0.key_locks.lock(device.user).await;
        for _ in 0..CONFLICT_ROUNDS_MAX {
            let mut batch = Batch::default();
            self.expect_device(&mut batch, id, device).await?;
            let view = self.0.store.latest();
            let found = view.get_versioned(&KEY_STATE, &device.key()).await?;
            batch.expect_version(&KEY_STATE, &device.key(), found.as_ref().map(|(_, version)| *version));
            let is_first = found.is_none();
            let before = found.map(|(Packed(state), _)| state).unwrap_or_default();
            let mut state = before.clone();
            let identity = match &checked.device_keys {
                Some(keys) => self.put_device_keys(&mut batch, user, device, keys).await?,
                None => Identity::Same,
            };
            if identity == Identity::New {
                forget_claimable(&mut batch, device);
                state = KeyStateRow::default();
            }
            let fresh = identity == Identity::New;
            self.put_one_time_keys(&mut batch, device, &checked.one_time_keys, &mut state, fresh).await?;
            let renewed = self.put_fallback_keys(&mut batch, device, &checked.fallback_keys, &mut state, fresh).await?;
            if is_first || state != before || renewed || identity != Identity::Same {
                batch.put(&KEY_STATE, &device.key(), &Packed(state));
                batch.touch(device.watch_key());
                if identity != Identity::Same {
                    self.announce_devices(&mut batch, device.user).await?;
                }
                if settled(self.0.store.commit(batch).await)?.is_none() {
                    continue;
                }
            }
            return Ok(self.key_counts(device).await?.one_time);
        }
        Err(AccountError::Contended)
    }

    /// Adds the keys of a device that the same batch makes.
    pub(crate) async fn put_first_keys(
        &self,
        batch: &mut Batch,
        user: &UserId,
        id: &DeviceId,
        device: DeviceRef,
        upload: &KeyUpload,
    ) -> Result<(), AccountError> {
        let checked = Checked::new(user, id, upload)?;
        let mut state = KeyStateRow::default();
        batch.expect_absent(&KEY_STATE, &device.key());
        if let Some(keys) = &checked.device_keys {
            self.put_device_keys(batch, user, device, keys).await?;
        }
        self.put_one_time_keys(batch, device, &checked.one_time_keys, &mut state, true).await?;
        self.put_fallback_keys(batch, device, &checked.fallback_keys, &mut state, true).await?;
        batch.put(&KEY_STATE, &device.key(), &Packed(state));
        Ok(())
    }

    /// The commit fails unless the device is there and as it is now.
    async fn expect_device(&self, batch: &mut Batch, id: &DeviceId, device: DeviceRef) -> Result<(), AccountError> {
        let key = self.device_key(device.user, id);
        let row = self.0.store.latest().get_versioned(&DEVICES, &key).await?;
        let row = row.filter(|(Packed(row), _)| row.nid == device.nid);
        let (_, version) = row.ok_or(AccountError::UnknownDevice)?;
        batch.expect_version(&DEVICES, &key, Some(version));
        Ok(())
    }

    async fn put_device_keys(
        &self,
        batch: &mut Batch,
        user: &UserId,
        device: DeviceRef,
        keys: &Object,
    ) -> Result<Identity, AccountError> {
        let old = self.0.store.latest().get(&DEVICE_KEYS, &device.key()).await?;
        let old = old.map(|Packed(row)| stored(&row.json)).transpose()?;
        let mut new = signed_part(keys);
        let mut signatures = Object::new();
        let mut identity = Identity::New;
        if let Some(old) = &old {
            if signed_part(old) == new {
                // What was signed still is: the user's self-signing key has vouched for it.
                signatures = signatures_of(old, user);
                identity = Identity::Changed;
            } else if old.get("keys") == new.get("keys") {
                identity = Identity::Changed;
            }
        }
        signatures.extend(signatures_of(keys, user));
        set_signatures(&mut new, user, signatures);
        new.entry("signatures").or_insert_with(|| Value::Object(Object::new()));
        if old.as_ref() == Some(&new) {
            return Ok(Identity::Same);
        }
        batch.put(&DEVICE_KEYS, &device.key(), &Packed(DeviceKeysRow { json: text(&new) }));
        // Nothing can be claimed of a device without identity keys, except by those who do not look at them.
        Ok(if old.is_none() { Identity::Changed } else { identity })
    }

    async fn put_one_time_keys(
        &self,
        batch: &mut Batch,
        device: DeviceRef,
        keys: &[CheckedKey<'_>],
        state: &mut KeyStateRow,
        fresh: bool,
    ) -> Result<(), AccountError> {
        if keys.is_empty() {
            return Ok(());
        }
        let (user, nid) = device.key();
        let rows: Vec<(u64, u64, Hash16)> = keys.iter().map(|key| (user, nid, self.key_hash(key.id))).collect();
        let found = self.0.store.latest().multi_get(&ONE_TIME_KEYS, &rows).await?;
        let mut waiting: usize = state.one_time.values().map(|count| *count as usize).sum();
        for ((key, row), found) in keys.iter().zip(rows).zip(found) {
            match found.map(|Packed(found)| found).filter(|_| !fresh) {
                Some(OneTimeKeyRow::Waiting { json, .. }) if same_json(&json, &key.json) => continue,
                Some(OneTimeKeyRow::Waiting { .. }) => {
                    return Err(AccountError::OneTimeKeyExists { id: key.id.to_owned() });
                }
                Some(OneTimeKeyRow::Given { content }) if content == self.content_hash(&key.json) => continue,
                Some(OneTimeKeyRow::Given { .. }) | None => {}
            }
            waiting += 1;
            if waiting > ONE_TIME_KEYS_PER_DEVICE_MAX {
                let what = "The number of one-time keys of the device";
                return Err(AccountError::Limit { what, limit: ONE_TIME_KEYS_PER_DEVICE_MAX });
            }
            *state.one_time.entry(key.algorithm.to_owned()).or_default() += 1;
            let waits = OneTimeKeyRow::Waiting { id: key.id.to_owned(), json: key.json.clone() };
            batch.put(&ONE_TIME_KEYS, &row, &Packed(waits));
            let order = (user, nid, self.algorithm_hash(key.algorithm), Position::COMMIT, row.2);
            batch.put(&WAITING_KEYS, &order, &());
        }
        if fresh { Ok(()) } else { self.forget_given(batch, device).await }
    }

    /// Forgets the keys that were given out longest ago, beyond those that are remembered.
    async fn forget_given(&self, batch: &mut Batch, device: DeviceRef) -> Result<(), AccountError> {
        let view = self.0.store.latest();
        let given = view.scan_keys(&GIVEN_KEYS, Scan::prefix(&device.key())).await?;
        let Some(beyond) = given.len().checked_sub(GIVEN_KEYS_REMEMBERED) else { return Ok(()) };
        let rows: Vec<(u64, u64, Hash16)> = given[..beyond].iter().map(|key| (key.0, key.1, key.3)).collect();
        let found = view.multi_get(&ONE_TIME_KEYS, &rows).await?;
        for ((order, row), found) in given.iter().zip(rows).zip(found) {
            batch.delete(&GIVEN_KEYS, order);
            // Another key may have been uploaded under the same id since.
            if let Some(Packed(OneTimeKeyRow::Given { .. })) = found {
                batch.delete(&ONE_TIME_KEYS, &row);
            }
        }
        Ok(())
    }

    /// Whether a key was put.
    async fn put_fallback_keys(
        &self,
        batch: &mut Batch,
        device: DeviceRef,
        keys: &[CheckedKey<'_>],
        state: &mut KeyStateRow,
        fresh: bool,
    ) -> Result<bool, AccountError> {
        if keys.is_empty() {
            return Ok(false);
        }
        let (user, nid) = device.key();
        let view = self.0.store.latest();
        let found = view.scan(&FALLBACK_KEYS, Scan::prefix(&device.key())).await?;
        let mut found: BTreeMap<Hash16, FallbackKeyRow> =
            found.into_iter().filter(|_| !fresh).map(|((_, _, algorithm), Packed(row))| (algorithm, row)).collect();
        let mut renewed = false;
        for key in keys {
            let algorithm = self.algorithm_hash(key.algorithm);
            let old = found.get(&algorithm);
            if old.is_some_and(|old| old.id == key.id && same_json(&old.json, &key.json)) {
                continue;
            }
            let row = FallbackKeyRow { id: key.id.to_owned(), json: key.json.clone(), used: false };
            batch.put(&FALLBACK_KEYS, &(user, nid, algorithm), &Packed(row.clone()));
            found.insert(algorithm, row);
            state.unused_fallback.insert(key.algorithm.to_owned());
            renewed = true;
        }
        if found.len() > FALLBACK_KEYS_PER_DEVICE_MAX {
            let what = "The number of fallback keys of the device";
            return Err(AccountError::Limit { what, limit: FALLBACK_KEYS_PER_DEVICE_MAX });
        }
        Ok(renewed)
    }

    pub(super) fn key_hash(&self, id: &str) -> Hash16 {
        self.0.store.keyed_hash(domain::KEY_ID, id.as_bytes())
    }

    pub(super) fn algorithm_hash(&self, algorithm: &str) -> Hash16 {
        self.0.store.keyed_hash(domain::KEY_ALGORITHM, algorithm.as_bytes())
    }

    /// Hash of a key; the same for the same key with its fields in another order.
    pub(super) fn content_hash(&self, json: &str) -> Hash16 {
        let value: Value = serde_json::from_str(json).unwrap_or_default();
        self.0.store.keyed_hash(domain::KEY_CONTENT, value.to_string().as_bytes())
    }
}

fn same_json(a: &str, b: &str) -> bool {
    let read = |json: &str| serde_json::from_str::<Value>(json).ok();
    a == b || read(a) == read(b)
}

impl<'a> Checked<'a> {
    fn new(user: &UserId, id: &DeviceId, upload: &'a KeyUpload) -> Result<Self, AccountError> {
        let device_keys = upload.device_keys.as_deref().map(|keys| device_keys(user, id, keys)).transpose()?;
        let one_time_keys = checked_keys("one_time_keys", &upload.one_time_keys)?;
        let fallback_keys = checked_keys("fallback_keys", &upload.fallback_keys)?;
        let algorithms: BTreeSet<&str> = fallback_keys.iter().map(|key| key.algorithm).collect();
        if algorithms.len() < fallback_keys.len() {
            let problem = "has two keys of one algorithm";
            return Err(AccountError::Invalid { field: "fallback_keys", problem });
        }
        Ok(Self { device_keys, one_time_keys, fallback_keys })
    }
}

fn device_keys(user: &UserId, id: &DeviceId, json: &RawValue) -> Result<Object, AccountError> {
    if json.get().len() > DEVICE_KEYS_BYTES_MAX {
        let what = "The size of device_keys, in bytes,";
        return Err(AccountError::Limit { what, limit: DEVICE_KEYS_BYTES_MAX });
    }
    let keys = object("device_keys", json.get())?;
    let typed: DeviceKeys = serde_json::from_str(json.get())
        .map_err(|error| AccountError::Malformed { field: "device_keys", problem: error.to_string() })?;
    if typed.user_id != user {
        return Err(AccountError::Invalid { field: "device_keys.user_id", problem: "is not who uploads the keys" });
    }
    if typed.device_id != id {
        return Err(AccountError::Invalid { field: "device_keys.device_id", problem: "is not the uploading device" });
    }
    let suffix = format!(":{id}");
    if !typed.keys.keys().all(|key| key.as_str().ends_with(&suffix)) {
        return Err(AccountError::Invalid { field: "device_keys.keys", problem: "names a key of another device" });
    }
    Ok(keys)
}

fn checked_keys<'a>(
    field: &'static str,
    keys: &'a [(String, Box<RawValue>)],
) -> Result<Vec<CheckedKey<'a>>, AccountError> {
    let checked = keys.iter().map(|(id, json)| {
        let Some((algorithm, name)) = id.split_once(':') else {
            return Err(AccountError::Invalid { field, problem: "has a key id that is not <algorithm>:<name>" });
        };
        if algorithm.is_empty() || name.is_empty() {
            return Err(AccountError::Invalid { field, problem: "has a key id without an algorithm or a name" });
        }
        if id.len() > KEY_ID_BYTES_MAX {
            return Err(AccountError::Limit { what: "The length of a key's id, in bytes,", limit: KEY_ID_BYTES_MAX });
        }
        if json.get().len() > ONE_TIME_KEY_BYTES_MAX {
            let what = "The size of a one-time or fallback key, in bytes,";
            return Err(AccountError::Limit { what, limit: ONE_TIME_KEY_BYTES_MAX });
        }
        let form = match algorithm {
            SIGNED_CURVE25519 => serde_json::from_str::<SignedKey>(json.get()).map(drop),
            _ => match json.get().as_bytes().first() {
                Some(b'{') => serde_json::from_str::<Object>(json.get()).map(drop),
                _ => serde_json::from_str::<String>(json.get()).map(drop),
            },
        };
        form.map_err(|error| AccountError::Malformed { field, problem: error.to_string() })?;
        Ok(CheckedKey { algorithm, id, json: json.get().to_owned() })
    });
    checked.collect()
}
