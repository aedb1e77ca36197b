//! Devices and keys of users of other servers, as far as they are followed (server-server API, "Device Management").
//!
//! A list is followed from the first look at it until no room is shared any more. Each change is told under an ascending
//! number; a list that misses one is *stale*: it answers questions where nothing better can be had, and waits in
//! [`STALE_LISTS`] to be fetched anew. Cross-signing keys stand in the same table as those of local users, so that local
//! users can sign them. What changes here is announced like a change of a local user's devices.

mod checks;

use std::fmt;

use ruma::{DeviceId, OwnedDeviceId, OwnedUserId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json, value::RawValue};
use wardroom_store::{Batch, Hash16, Packed, Position, Profile, Scan, Seal, Table};

use self::checks::{checked_remote, device_row};
use super::{
    cross_signing::{StoredKeys, Usage},
    device_keys::QueriedDevice,
    key_json::{Object, stored, text},
    tables::{CROSS_SIGNING_KEYS, CrossSigningRow},
};
use crate::{
    AccountError, Accounts, DEVICES_PER_USER_MAX, UserNid,
    error::{CONFLICT_ROUNDS_MAX, settled},
    tables::UserKey,
};

/// The first wait before a list is fetched again that could not be fetched, in milliseconds.
const RETRY_FIRST_MS: u64 = 30_000;
/// The wait after news of such a list, in milliseconds.
const RETRY_SOON_MS: u64 = 5_000;
/// The longest such wait, in milliseconds.
const RETRY_LONGEST_MS: u64 = 60 * 60 * 1_000;
/// Lists that are marked or dropped in one commit.
const LISTS_PER_COMMIT: usize = 100;

/// user -> [`ListRow`]. Everything that changes a list expects and writes this row.
pub(crate) const LISTS: Table<UserKey, Packed<ListRow>> =
    Table::new(0x0170, "remote_device_lists", Profile::Point, Seal::System);
/// (user, hash of the device id) -> [`RemoteDeviceRow`].
pub(crate) const REMOTE_DEVICES: Table<(UserKey, Hash16), Packed<RemoteDeviceRow>> =
    Table::new(0x0171, "remote_devices", Profile::Scan, Seal::System).compressed();
/// (milliseconds since the epoch from which on it may be fetched, user): exactly one per stale list.
pub(crate) const STALE_LISTS: Table<(u64, UserKey), ()> =
    Table::new(0x0172, "stale_remote_device_lists", Profile::Churn, Seal::System);

/// How far a list is followed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ListRow {
    /// The list holds all changes up to this one.
    stream_id: u64,
    /// The newest change that was heard of.
    newest: u64,
    stale: Option<Stale>,
}

/// Why a list is not up to date, and when it is fetched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stale {
    due_ms: u64,
    /// Attempts that failed.
    tries: u32,
}

/// A device at rest.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RemoteDeviceRow {
    device_id: String,
    display_name: Option<String>,
    /// The signed object as JSON without `unsigned`; none of a device that does not encrypt.
    keys: Option<String>,
}

/// A device of a user of another server.
#[derive(Clone)]
pub struct RemoteDevice {
    /// Its id.
    pub id: OwnedDeviceId,
    /// What its user calls it.
    pub display_name: Option<String>,
    /// Its identity keys.
    pub keys: Option<Box<RawValue>>,
}

/// All devices and cross-signing keys of a user, as the user's server tells them.
#[derive(Clone)]
pub struct DeviceSnapshot {
    /// The newest change that is in it.
    pub stream_id: u64,
    /// The devices.
    pub devices: Vec<RemoteDevice>,
    /// The user's identity.
    pub master: Option<Box<RawValue>>,
    /// Signs the user's devices.
    pub self_signing: Option<Box<RawValue>>,
}

/// A change of one device, as the user's server tells it.
#[derive(Clone)]
pub struct DeviceUpdate {
    /// The number of this change.
    pub stream_id: u64,
    /// The changes before it.
    pub prev_ids: Vec<u64>,
    /// The device as it is now.
    pub device: RemoteDevice,
    /// It is gone.
    pub deleted: bool,
}

macro_rules! opaque {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    )*};
}

opaque!(RemoteDeviceRow, RemoteDevice, DeviceSnapshot, DeviceUpdate);

/// How well a list is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListState {
    /// Nothing is known.
    Unknown,
    /// Changes are missing; the newest that was heard of is this one.
    Stale(u64),
    /// It is up to date.
    Fresh,
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Updated {
    /// The list has it now, or had it before.
    Done,
    /// The whole list has to be fetched.
    Stale,
}

impl ListRow {
    /// A list of which nothing is known yet.
    fn to_be_fetched(now_ms: u64) -> Self {
        let mut row = Self::default();
        row.spoil(now_ms);
        row
    }

    /// Marks the list as stale, to be fetched at once. One that could not be fetched is tried again soon: its server is
    /// there.
    fn spoil(&mut self, now_ms: u64) {
        let soon_ms = now_ms.saturating_add(RETRY_SOON_MS);
        let stale = self.stale.get_or_insert(Stale { due_ms: now_ms, tries: 0 });
        stale.due_ms = stale.due_ms.min(soon_ms);
    }

    fn put_off(&mut self, now_ms: u64) {
        let tries = self.stale.as_ref().map_or(0, |stale| stale.tries);
        let wait = RETRY_FIRST_MS.saturating_mul(1_u64.checked_shl(tries).unwrap_or(u64::MAX)).min(RETRY_LONGEST_MS);
        self.stale = Some(Stale { due_ms: now_ms.saturating_add(wait), tries: tries.saturating_add(1) });
    }

    /// Whether a change follows what the list holds.
    fn is_followed_by(&self, update: &DeviceUpdate) -> bool {
        // Numbers ascend: what is not newer than the list is in it.
        let known = |prev: &u64| *prev <= self.stream_id;
        self.stale.is_none()
            && update.stream_id > self.stream_id
            && !update.prev_ids.is_empty()
            && update.prev_ids.iter().all(known)
    }
}

type Versioned = Option<(ListRow, Position)>;

impl Accounts {
    /// How well the list of a user of another server is known.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn remote_list(&self, user: UserNid) -> Result<ListState, AccountError> {
        Ok(match self.list_row(user).await? {
            None => ListState::Unknown,
            Some((ListRow { stale: Some(_), newest, .. }, _)) => ListState::Stale(newest),
            Some(_) => ListState::Fresh,
        })
    }

    /// Identity keys of devices of a user of another server, as far as they are known: of those named, or of all where
    /// none is.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn remote_device_keys(
        &self,
        user: UserNid,
        devices: &[OwnedDeviceId],
    ) -> Result<Vec<QueriedDevice>, AccountError> {
        let rows = self.0.store.latest().scan(&REMOTE_DEVICES, Scan::prefix(&user.get())).await?;
        let mut queried = Vec::new();
        for (_, Packed(row)) in rows {
            if !devices.is_empty() && !devices.iter().any(|device| device.as_str() == row.device_id) {
                continue;
            }
            let Some(keys) = row.keys else { continue };
            let mut keys = stored(&keys)?;
            let unsigned = match row.display_name {
                Some(name) => json!({ "device_display_name": name }),
                None => Value::Object(Object::new()),
            };
            keys.insert("unsigned".to_owned(), unsigned);
            let keys = RawValue::from_string(text(&keys)).map_err(|_| AccountError::Damaged("device keys"))?;
            queried.push(QueriedDevice { id: OwnedDeviceId::from(row.device_id.as_str()), keys });
        }
        Ok(queried)
    }

    /// Keeps a list that was fetched, and announces it where it differs from what was known. `heard` is the newest
    /// change that was heard of when the fetching began: a newer one that is not in the list leaves it stale.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn keep_remote_list(
        &self,
        user: &UserId,
        snapshot: &DeviceSnapshot,
        heard: u64,
    ) -> Result<(), AccountError> {
        let nid = self.remote_nid(user).await?;
        let mut devices: Vec<RemoteDeviceRow> =
            snapshot.devices.iter().filter_map(|device| device_row(user, device)).collect();
        devices.truncate(DEVICES_PER_USER_MAX);
        let keys = [
            checked_remote(user, Usage::Master, snapshot.master.as_deref()),
            checked_remote(user, Usage::SelfSigning, snapshot.self_signing.as_deref()),
        ];
        let _lock = self.0.key_locks.lock(nid).await;
        for _ in 0..CONFLICT_ROUNDS_MAX {
            let found = self.list_row(nid).await?;
            let mut row = found.as_ref().map(|(row, _)| row.clone()).unwrap_or_default();
            let mut batch = Batch::default();
            let mut changed = found.is_none();
            changed |= self.replace_devices(&mut batch, nid, &devices).await?;
            let old = self.stored_cross_signing(nid).await?;
            for (usage, key) in [Usage::Master, Usage::SelfSigning].into_iter().zip(&keys) {
                changed |= self.replace_cross_signing(&mut batch, nid, &old, usage, key.as_ref()).await?;
            }
            let overtaken = row.newest > heard.max(snapshot.stream_id);
            row.stream_id = if overtaken { snapshot.stream_id } else { snapshot.stream_id.max(row.newest) };
            row.newest = row.newest.max(row.stream_id);
            if overtaken {
                row.put_off(self.now_ms());
            } else {
                row.stale = None;
            }
            put_list(&mut batch, nid, &row, found.as_ref());
            if changed {
                self.announce_devices(&mut batch, nid).await?;
            }
            if settled(self.0.store.commit(batch).await)?.is_some() {
                return Ok(());
            }
        }
        Err(AccountError::Contended)
    }

    /// Takes a change of one device of a user of another server, and announces it.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn update_remote_device(&self, user: &UserId, update: &DeviceUpdate) -> Result<Updated, AccountError> {
        let nid = self.remote_nid(user).await?;
        let _lock = self.0.key_locks.lock(nid).await;
        for _ in 0..CONFLICT_ROUNDS_MAX {
            let found = self.list_row(nid).await?;
            let mut row = found.as_ref().map(|(row, _)| row.clone()).unwrap_or_default();
            if found.is_some() && row.stale.is_none() && update.stream_id == row.stream_id {
                return Ok(Updated::Done);
            }
            let mut batch = Batch::default();
            let follows = found.is_some() && row.is_followed_by(update);
            row.newest = row.newest.max(update.stream_id);
            if follows {
                row.stream_id = update.stream_id;
                self.replace_device(&mut batch, nid, user, update).await?;
                self.announce_devices(&mut batch, nid).await?;
            } else {
                row.spoil(self.now_ms());
            }
            put_list(&mut batch, nid, &row, found.as_ref());
            if settled(self.0.store.commit(batch).await)?.is_some() {
                return Ok(if follows { Updated::Done } else { Updated::Stale });
            }
        }
        Err(AccountError::Contended)
    }

    /// Takes new cross-signing keys of a user of another server, and announces them. Keys that are not named stay.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn update_remote_cross_signing(
        &self,
        user: &UserId,
        master: Option<&RawValue>,
        self_signing: Option<&RawValue>,
    ) -> Result<Updated, AccountError> {
        let nid = self.remote_nid(user).await?;
        let keys = [
            (Usage::Master, checked_remote(user, Usage::Master, master)),
            (Usage::SelfSigning, checked_remote(user, Usage::SelfSigning, self_signing)),
        ];
        let _lock = self.0.key_locks.lock(nid).await;
        for _ in 0..CONFLICT_ROUNDS_MAX {
            let found = self.list_row(nid).await?;
            let mut row = found.as_ref().map(|(row, _)| row.clone()).unwrap_or_default();
            let is_fresh = found.is_some() && row.stale.is_none();
            let mut batch = Batch::default();
            if is_fresh {
                let old = self.stored_cross_signing(nid).await?;
                for (usage, key) in &keys {
                    if key.is_some() {
                        self.replace_cross_signing(&mut batch, nid, &old, *usage, key.as_ref()).await?;
                    }
                }
                self.announce_devices(&mut batch, nid).await?;
            } else {
                row.spoil(self.now_ms());
            }
            put_list(&mut batch, nid, &row, found.as_ref());
            if settled(self.0.store.commit(batch).await)?.is_some() {
                return Ok(if is_fresh { Updated::Done } else { Updated::Stale });
            }
        }
        Err(AccountError::Contended)
    }

    /// Users of other servers whose lists are stale and due to be fetched, the longest due first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn stale_remote_lists(&self, limit: usize) -> Result<Vec<OwnedUserId>, AccountError> {
        let scan = Scan::range(&(0_u64, 0_u64), &(self.now_ms().saturating_add(1), 0_u64)).limit(limit);
        let keys = self.0.store.latest().scan_keys(&STALE_LISTS, scan).await?;
        let mut users = Vec::with_capacity(keys.len());
        for (_, nid) in keys {
            users.push(self.user_id(UserNid::new(nid)).await?);
        }
        Ok(users)
    }

    /// When the next stale list is due, in milliseconds since the epoch.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn next_stale_remote_list(&self) -> Result<Option<u64>, AccountError> {
        let keys = self.0.store.latest().scan_keys(&STALE_LISTS, Scan::all().limit(1)).await?;
        Ok(keys.first().map(|(due_ms, _)| *due_ms))
    }

    /// Puts off a stale list that could not be fetched: longer each time.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn put_off_remote_list(&self, user: &UserId) -> Result<(), AccountError> {
        let now_ms = self.now_ms();
        let nid = self.remote_nid(user).await?;
        self.change_lists(&[nid], |row| {
            if let Some(row) = row.as_mut().filter(|row| row.stale.is_some()) {
                row.put_off(now_ms);
            }
        })
        .await
    }

    /// Marks lists that may have missed changes. Those that are not followed stay so.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn spoil_remote_lists(&self, users: &[UserNid]) -> Result<(), AccountError> {
        let now_ms = self.now_ms();
        for users in users.chunks(LISTS_PER_COMMIT) {
            self.change_lists(users, |row| {
                if let Some(row) = row {
                    row.spoil(now_ms);
                }
            })
            .await?;
        }
        Ok(())
    }

    /// Begins to follow users of other servers: their lists are fetched. Those that are followed stay as they are.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn follow_remote_lists(&self, users: &[UserNid]) -> Result<(), AccountError> {
        let now_ms = self.now_ms();
        for users in users.chunks(LISTS_PER_COMMIT) {
            self.change_lists(users, |row| {
                row.get_or_insert_with(|| ListRow::to_be_fetched(now_ms));
            })
            .await?;
        }
        Ok(())
    }

    /// Ends following users of other servers: what is known of their devices and keys goes.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn drop_remote_lists(&self, users: &[UserNid]) -> Result<(), AccountError> {
        for user in users {
            let _lock = self.0.key_locks.lock(*user).await;
            let Some((row, version)) = self.list_row(*user).await? else { continue };
            let mut batch = Batch::default();
            batch.expect_version(&LISTS, &user.get(), Some(version));
            batch.delete(&LISTS, &user.get());
            if let Some(stale) = &row.stale {
                batch.delete(&STALE_LISTS, &(stale.due_ms, user.get()));
            }
            batch.delete_prefix(&REMOTE_DEVICES, &user.get());
            // What local users signed stays: it is good again where the user comes back with the same master key.
            batch.delete_prefix(&CROSS_SIGNING_KEYS, &user.get());
            // Whoever got in between follows the user anew.
            settled(self.0.store.commit(batch).await)?;
        }
        Ok(())
    }

    /// Changes how lists are followed, without telling anybody.
    async fn change_lists(&self, users: &[UserNid], change: impl Fn(&mut Option<ListRow>)) -> Result<(), AccountError> {
        for _ in 0..CONFLICT_ROUNDS_MAX {
            let mut batch = Batch::default();
            let keys: Vec<u64> = users.iter().map(|user| user.get()).collect();
            let rows = self.0.store.latest().multi_get_versioned(&LISTS, &keys).await?;
            for (user, found) in users.iter().zip(rows) {
                let found = found.map(|(Packed(row), version)| (row, version));
                let before = found.as_ref().map(|(row, _)| row);
                let mut row = before.cloned();
                change(&mut row);
                if let Some(row) = row.filter(|row| Some(row) != before) {
                    put_list(&mut batch, *user, &row, found.as_ref());
                }
            }
            if batch.is_empty() || settled(self.0.store.commit(batch).await)?.is_some() {
                return Ok(());
            }
        }
        Err(AccountError::Contended)
    }

    async fn list_row(&self, user: UserNid) -> Result<Versioned, AccountError> {
        let found = self.0.store.latest().get_versioned(&LISTS, &user.get()).await?;
        Ok(found.map(|(Packed(row), version)| (row, version)))
    }

    /// The number of a user of another server, who shares or shared a room.
    async fn remote_nid(&self, user: &UserId) -> Result<UserNid, AccountError> {
        if self.is_local(user) {
            return Err(AccountError::UnknownUser);
        }
        self.user_nid(user).await?.ok_or(AccountError::UnknownUser)
    }

    fn remote_device_key(&self, user: UserNid, device: &DeviceId) -> (UserKey, Hash16) {
        self.device_key(user, device)
    }

    /// Adds what makes the devices exactly these to the batch; whether that changes anything.
    async fn replace_devices(
        &self,
        batch: &mut Batch,
        user: UserNid,
        devices: &[RemoteDeviceRow],
    ) -> Result<bool, AccountError> {
        let old = self.0.store.latest().scan(&REMOTE_DEVICES, Scan::prefix(&user.get())).await?;
        let mut changed = false;
        for device in devices {
            let key = self.remote_device_key(user, <&DeviceId>::from(device.device_id.as_str()));
            if !old.iter().any(|(old_key, Packed(row))| *old_key == key && row == device) {
                batch.put(&REMOTE_DEVICES, &key, &Packed(device.clone()));
                changed = true;
            }
        }
        for (key, Packed(row)) in &old {
            if !devices.iter().any(|device| device.device_id == row.device_id) {
                batch.delete(&REMOTE_DEVICES, key);
                changed = true;
            }
        }
        Ok(changed)
    }

    async fn replace_device(
        &self,
        batch: &mut Batch,
        user: UserNid,
        id: &UserId,
        update: &DeviceUpdate,
    ) -> Result<(), AccountError> {
        let key = self.remote_device_key(user, &update.device.id);
        if update.deleted {
            batch.delete(&REMOTE_DEVICES, &key);
            return Ok(());
        }
        let Some(row) = device_row(id, &update.device) else { return Ok(()) };
        let view = self.0.store.latest();
        let known = view.scan_keys(&REMOTE_DEVICES, Scan::prefix(&user.get())).await?;
        if known.len() < DEVICES_PER_USER_MAX || known.contains(&key) {
            batch.put(&REMOTE_DEVICES, &key, &Packed(row));
        }
        Ok(())
    }

    /// Adds what makes a cross-signing key this one to the batch; whether that changes anything.
    async fn replace_cross_signing(
        &self,
        batch: &mut Batch,
        user: UserNid,
        old: &StoredKeys,
        usage: Usage,
        new: Option<&CrossSigningRow>,
    ) -> Result<bool, AccountError> {
        let key = (user.get(), usage as u8);
        let before = old.get(usage);
        batch.expect_version(&CROSS_SIGNING_KEYS, &key, old.version(usage));
        let same = match (before, new) {
            (Some(before), Some(new)) => before.public_key == new.public_key && before.json == new.json,
            (None, None) => true,
            _ => false,
        };
        if same {
            return Ok(false);
        }
        let other_key = before.map(|row| &row.public_key) != new.map(|row| &row.public_key);
        if usage == Usage::Master && before.is_some() && other_key {
            // They are of a key that is gone.
            self.end_signatures_of(batch, user).await?;
        }
        match new {
            Some(row) => batch.put(&CROSS_SIGNING_KEYS, &key, &Packed(row.clone())),
            None => batch.delete(&CROSS_SIGNING_KEYS, &key),
        }
        Ok(true)
    }
}

/// Writes a list's row and its place among the stale ones.
fn put_list(batch: &mut Batch, user: UserNid, row: &ListRow, before: Option<&(ListRow, Position)>) {
    let key = user.get();
    batch.expect_version(&LISTS, &key, before.map(|(_, version)| *version));
    let old = before.and_then(|(row, _)| row.stale.as_ref());
    if old != row.stale.as_ref() {
        if let Some(old) = old {
            batch.delete(&STALE_LISTS, &(old.due_ms, key));
        }
        if let Some(stale) = &row.stale {
            batch.put(&STALE_LISTS, &(stale.due_ms, key), &());
        }
    }
    batch.put(&LISTS, &key, &Packed(row.clone()));
}
