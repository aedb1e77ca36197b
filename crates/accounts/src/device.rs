//! Devices: section "Device Management".

use ruma::{DeviceId, OwnedDeviceId};
use wardroom_store::{Batch, Packed, Position, Scan};

use crate::{
    AccountError, Accounts, DeviceRef, Session, UserNid,
    deeds::Ending,
    dehydrated::DEHYDRATED,
    error::{CONFLICT_ROUNDS_MAX, settled},
    tables::{DEVICES, DEVICES_SEEN, DeviceKey, DeviceRow, SeenRow, domain},
};

/// Devices one user may be signed in on.
pub const DEVICES_PER_USER_MAX: usize = 1_000;
/// Longest device id, in bytes.
pub const DEVICE_ID_BYTES_MAX: usize = 255;
/// Longest display name of a device, in characters.
pub const DEVICE_DISPLAY_NAME_CHARS_MAX: usize = 100;

/// A signed-in client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Id, unique for its user only.
    pub id: OwnedDeviceId,
    /// Number, unique on this server and never used again.
    pub nid: u64,
    /// What the user calls it.
    pub display_name: Option<String>,
    /// Milliseconds since the epoch.
    pub created_ms: u64,
    /// Milliseconds since the epoch, some minutes old at most.
    pub last_seen_ms: Option<u64>,
    /// Address it was seen from.
    pub last_seen_ip: Option<std::net::IpAddr>,
}

impl Device {
    fn from_rows(row: DeviceRow, seen: Option<SeenRow>) -> Self {
        Self {
            id: OwnedDeviceId::from(row.device_id.as_str()),
            nid: row.nid,
            display_name: row.display_name,
            created_ms: row.created_ms,
            last_seen_ms: seen.as_ref().map(|seen| seen.at_ms),
            last_seen_ip: seen.and_then(|seen| seen.ip),
        }
    }
}

/// Refuses over-long display names.
pub(crate) fn check_display_name(name: &str) -> Result<(), AccountError> {
    if name.chars().count() > DEVICE_DISPLAY_NAME_CHARS_MAX {
        let what = "The length of the device's display name, in characters,";
        return Err(AccountError::Limit { what, limit: DEVICE_DISPLAY_NAME_CHARS_MAX });
    }
    Ok(())
}

impl Accounts {
    pub(crate) fn device_key(&self, user: UserNid, device: &DeviceId) -> DeviceKey {
        (user.get(), self.0.store.keyed_hash(domain::DEVICE_ID, device.as_str().as_bytes()))
    }

    /// All devices of a user, oldest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn devices(&self, user: UserNid) -> Result<Vec<Device>, AccountError> {
        let view = self.0.store.latest();
        let rows = view.scan(&DEVICES, Scan::prefix(&user.get())).await?;
        let keys: Vec<DeviceKey> = rows.iter().map(|(key, _)| *key).collect();
        let seen = view.multi_get(&DEVICES_SEEN, &keys).await?;
        let mut devices: Vec<Device> = rows
            .into_iter()
            .zip(seen)
            .map(|((key, Packed(row)), stored)| {
                let seen = self.0.last_seen.pending(&key).or(stored.map(|Packed(seen)| seen));
                Device::from_rows(row, seen)
            })
            .collect();
        devices.sort_by(|a, b| (a.created_ms, &a.id).cmp(&(b.created_ms, &b.id)));
        Ok(devices)
    }

    /// One device of a user.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn device(&self, user: UserNid, device: &DeviceId) -> Result<Option<Device>, AccountError> {
        let key = self.device_key(user, device);
        let view = self.0.store.latest();
        let Some(Packed(row)) = view.get(&DEVICES, &key).await? else { return Ok(None) };
        let seen = match self.0.last_seen.pending(&key) {
            Some(seen) => Some(seen),
            None => view.get(&DEVICES_SEEN, &key).await?.map(|Packed(seen)| seen),
        };
        Ok(Some(Device::from_rows(row, seen)))
    }

    /// Gives a device another display name.
    ///
    /// # Errors
    /// [`AccountError::UnknownDevice`], [`AccountError::Limit`], or the store's.
    pub async fn rename_device(
        &self,
        user: UserNid,
        device: &DeviceId,
        display_name: Option<&str>,
    ) -> Result<(), AccountError> {
        if let Some(name) = display_name {
            check_display_name(name)?;
        }
        let key = self.device_key(user, device);
        let _lock = self.0.key_locks.lock(user).await;
        for _ in 0..CONFLICT_ROUNDS_MAX {
            let found = self.0.store.latest().get_versioned(&DEVICES, &key).await?;
            let (Packed(mut row), version) = found.ok_or(AccountError::UnknownDevice)?;
            row.display_name = display_name.map(str::to_owned);
            let mut batch = Batch::default();
            batch.expect_version(&DEVICES, &key, Some(version));
            batch.put_sealed(&DEVICES, &key, &Packed(row), &self.person_key(user).await?);
            // The name stands beside the device's keys.
            self.announce_devices(&mut batch, user).await?;
            if settled(self.0.store.commit(batch).await)?.is_some() {
                return Ok(());
            }
        }
        Err(AccountError::Contended)
    }

    /// Logs devices out and forgets them; those the user does not have are passed over.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn delete_devices(&self, user: UserNid, devices: &[OwnedDeviceId]) -> Result<(), AccountError> {
        self.end_named(user, devices, Ending::Deleted).await
    }

    /// Ends these devices.
    pub(crate) async fn end_named(
        &self,
        user: UserNid,
        devices: &[OwnedDeviceId],
        ending: Ending,
    ) -> Result<(), AccountError> {
        let mut keys: Vec<DeviceKey> = devices.iter().map(|device| self.device_key(user, device)).collect();
        keys.sort_unstable();
        keys.dedup();
        let _lock = self.0.key_locks.lock(user).await;
        for _ in 0..CONFLICT_ROUNDS_MAX {
            let mut batch = Batch::default();
            for key in &keys {
                if let Some((Packed(row), version)) = self.0.store.latest().get_versioned(&DEVICES, key).await? {
                    self.end_device(&mut batch, key, &row, version, ending).await?;
                }
            }
            if !batch.is_empty() {
                self.end_pushers(&mut batch, user, |device| keys.iter().any(|(_, key)| key == device)).await?;
                self.announce_devices(&mut batch, user).await?;
            }
            if batch.is_empty() || settled(self.0.store.commit(batch).await)?.is_some() {
                return Ok(());
            }
        }
        Err(AccountError::Contended)
    }

    /// Ends the session's token and forgets its device.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn logout(&self, session: &Session) -> Result<(), AccountError> {
        self.end_named(session.nid, std::slice::from_ref(&session.device), Ending::Logout).await
    }

    /// Ends all tokens of a user and forgets all devices.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn logout_all(&self, user: UserNid) -> Result<(), AccountError> {
        let _lock = self.0.key_locks.lock(user).await;
        for _ in 0..CONFLICT_ROUNDS_MAX {
            let mut batch = Batch::default();
            self.end_devices(&mut batch, user, None, None, Ending::All).await?;
            if batch.is_empty() || settled(self.0.store.commit(batch).await)?.is_some() {
                return Ok(());
            }
        }
        Err(AccountError::Contended)
    }

    /// Adds the end of the user's devices to the batch: all but `kept`, and of those only the ones last changed before
    /// `before`.
    pub(crate) async fn end_devices(
        &self,
        batch: &mut Batch,
        user: UserNid,
        kept: Option<&DeviceId>,
        before: Option<Position>,
        ending: Ending,
    ) -> Result<(), AccountError> {
        let kept = kept.map(|device| self.device_key(user, device));
        let scan = Scan::prefix(&user.get());
        let mut ended = Vec::new();
        for (key, Packed(row), version) in self.0.store.latest().scan_versioned(&DEVICES, scan).await? {
            if Some(key) != kept && before.is_none_or(|before| version < before) {
                self.end_device(batch, &key, &row, version, ending).await?;
                ended.push(key.1);
            }
        }
        if ended.is_empty() {
            return Ok(());
        }
        self.end_pushers(batch, user, |device| ended.contains(device)).await?;
        self.announce_devices(batch, user).await
    }

    /// Logs out what was signed in before `position`, except `kept`.
    pub(crate) async fn log_out_older(
        &self,
        user: UserNid,
        kept: Option<&DeviceId>,
        position: Position,
    ) -> Result<(), AccountError> {
        let _lock = self.0.key_locks.lock(user).await;
        for _ in 0..CONFLICT_ROUNDS_MAX {
            let mut batch = Batch::default();
            self.end_devices(&mut batch, user, kept, Some(position), Ending::Password).await?;
            if batch.is_empty() || settled(self.0.store.commit(batch).await)?.is_some() {
                return Ok(());
            }
        }
        Err(AccountError::Contended)
    }

    /// Adds the end of one device to the batch. The batch expects the row as it was read: a refresh at the same moment
    /// would leave a token behind.
    pub(crate) async fn end_device(
        &self,
        batch: &mut Batch,
        key: &DeviceKey,
        row: &DeviceRow,
        version: Position,
        ending: Ending,
    ) -> Result<(), AccountError> {
        self.record_end(batch, key, row, ending).await?;
        batch.expect_version(&DEVICES, key, Some(version));
        batch.delete(&DEVICES, key);
        batch.delete(&DEVICES_SEEN, key);
        self.end_sso_origin(batch, key).await?;
        for pair in row.pairs() {
            self.end_pair(batch, pair);
        }
        batch.delete(&DEHYDRATED, &(key.0, row.nid));
        self.end_inbox(batch, row.nid);
        self.end_keys(batch, DeviceRef { user: UserNid::new(key.0), nid: row.nid }).await
    }
}
