//! Telling other servers of changes of local users' devices and keys.
//!
//! What was told last is kept, as hashes; what differs from it is told, under the next number, in the batch that keeps
//! it. So it does not matter how often a change is looked at.

use ruma::{OwnedDeviceId, OwnedServerName, OwnedUserId, UserId};
use serde_json::value::{RawValue, to_raw_value};
use wardroom_accounts::{CrossSigningKeys, QueriedDevice, UserNid};
use wardroom_store::{Batch, CommitError, Hash16, Packed, Position};

use super::{
    Edus,
    tables::{CURSOR_DEVICES, CURSORS, DOMAIN_TOLD, TOLD_DEVICES, ToldRow},
    wire::{OutgoingDeviceUpdate, OutgoingSigningKeys},
};
use crate::{FederationError, OutgoingEdu};

/// Bytes that one commit queues, all servers together, unless a single change is more.
const BYTES_PER_COMMIT: usize = 2 * 1_024 * 1_024;

/// A local user's devices as other servers may know them.
pub(super) struct DeviceList {
    /// The number of the newest change that is in it.
    pub(super) stream_id: u64,
    pub(super) devices: Vec<QueriedDevice>,
    pub(super) cross_signing: CrossSigningKeys,
}

impl Edus {
    /// The position up to which changes of devices were told. What was before the first start is told to who asks.
    pub(super) async fn device_cursor(&self) -> Result<Position, FederationError> {
        let store = &self.0.store;
        if let Some(cursor) = store.latest().get(&CURSORS, &CURSOR_DEVICES).await? {
            return Ok(cursor);
        }
        let cursor = store.position();
        self.save_device_cursor(cursor).await?;
        Ok(cursor)
    }

    pub(super) async fn save_device_cursor(&self, cursor: Position) -> Result<(), FederationError> {
        let mut batch = Batch::default();
        batch.put(&CURSORS, &CURSOR_DEVICES, &cursor);
        self.0.store.commit(batch).await?;
        Ok(())
    }

    /// A local user's devices; none where there is no such user.
    pub(super) async fn device_list(
        &self,
        user: &UserId,
        nid: UserNid,
    ) -> Result<Option<(DeviceList, Option<(ToldRow, Position)>)>, FederationError> {
        // First this: what changes meanwhile is told under a higher number, and then a second time.
        let told = self.0.store.latest().get_versioned(&TOLD_DEVICES, &nid.get()).await?;
        let told = told.map(|(Packed(row), version)| (row, version));
        let Some(devices) = self.0.accounts.query_device_keys(user, &[]).await? else { return Ok(None) };
        let cross_signing = self.0.accounts.public_cross_signing_keys(user).await?;
        let stream_id = told.as_ref().map_or(ToldRow::default().stream_id, |(row, _)| row.stream_id);
        Ok(Some((DeviceList { stream_id, devices, cross_signing }, told)))
    }

    /// Tells of what changed of a user's devices and keys.
    pub(super) async fn tell_devices(&self, nid: UserNid) -> Result<(), FederationError> {
        let Some(user) = self.0.accounts.user_by_nid(nid).await? else { return Ok(()) };
        let servers = self.0.rooms.servers_of_acquaintances(&user.id).await?;
        loop {
            let Some((list, before)) = self.device_list(&user.id, nid).await? else { return Ok(()) };
            let version = before.as_ref().map(|(_, version)| *version);
            let mut told = before.map(|(row, _)| row).unwrap_or_default();
            let mut batch = Batch::default();
            batch.expect_version(&TOLD_DEVICES, &nid.get(), version);
            let (changed, finished) = self.queue_changes(&mut batch, &user.id, &list, &mut told, &servers).await?;
            if changed {
                batch.put(&TOLD_DEVICES, &nid.get(), &Packed(told));
                match self.0.store.commit(batch).await {
                    Ok(_) => {}
                    Err(CommitError::Conflict { .. }) => continue,
                    Err(error) => return Err(error.into()),
                }
            }
            if finished {
                return Ok(());
            }
        }
    }

    /// Queues what differs from what was told: whether anything does, and whether that was all.
    async fn queue_changes(
        &self,
        batch: &mut Batch,
        user: &UserId,
        list: &DeviceList,
        told: &mut ToldRow,
        servers: &[OwnedServerName],
    ) -> Result<(bool, bool), FederationError> {
        let (mut changed, mut bytes) = (false, 0);
        let mut gone = told.devices.clone();
        for device in &list.devices {
            gone.remove(device.id.as_str());
            let hash = self.told_hash(device.keys.get().as_bytes());
            if told.devices.get(device.id.as_str()) == Some(&hash) {
                continue;
            }
            if bytes >= BYTES_PER_COMMIT {
                return Ok((true, false));
            }
            told.devices.insert(device.id.to_string(), hash);
            let keys = without_unsigned(&device.keys);
            bytes += self.queue_update(batch, user, device.id.as_str(), keys.as_deref(), told, servers).await?;
            changed = true;
        }
        for device in gone.keys() {
            if bytes >= BYTES_PER_COMMIT {
                return Ok((true, false));
            }
            told.devices.remove(device);
            bytes += self.queue_update(batch, user, device, None, told, servers).await?;
            changed = true;
        }
        let keys = &list.cross_signing;
        let content = OutgoingSigningKeys {
            user_id: user,
            master_key: keys.master.as_deref(),
            self_signing_key: keys.self_signing.as_deref(),
        };
        if let Some(content) = to_raw_value(&content).ok().filter(|_| keys.master.is_some()) {
            let hash = self.told_hash(content.get().as_bytes());
            if told.cross_signing != Some(hash) {
                told.cross_signing = Some(hash);
                self.queue(batch, servers, "m.signing_key_update", &content).await?;
                changed = true;
            }
        }
        Ok((changed, true))
    }

    /// Queues a change of one device under the next number; none of the keys where the device is gone.
    async fn queue_update(
        &self,
        batch: &mut Batch,
        user: &UserId,
        device: &str,
        keys: Option<&RawValue>,
        told: &mut ToldRow,
        servers: &[OwnedServerName],
    ) -> Result<usize, FederationError> {
        let before = told.stream_id;
        told.stream_id += 1;
        let content = OutgoingDeviceUpdate {
            user_id: user,
            device_id: device,
            stream_id: told.stream_id,
            prev_id: vec![before],
            deleted: keys.is_none(),
            keys,
        };
        let Ok(content) = to_raw_value(&content) else { return Ok(0) };
        self.queue(batch, servers, "m.device_list_update", &content).await?;
        Ok(content.get().len() * servers.len())
    }

    /// Tells servers that now share a room with a user, and did not, that there are devices: they fetch the list.
    pub(super) async fn introduce(&self, user: &UserId, servers: &[OwnedServerName]) -> Result<(), FederationError> {
        let Some(nid) = self.0.accounts.user_nid(user).await? else { return Ok(()) };
        let Some((list, _)) = self.device_list(user, nid).await? else { return Ok(()) };
        let Some(device) = list.devices.first() else { return Ok(()) };
        let keys = without_unsigned(&device.keys);
        let content = OutgoingDeviceUpdate {
            user_id: user,
            device_id: device.id.as_str(),
            // Nothing changed: who has the list knows this number.
            stream_id: list.stream_id,
            prev_id: vec![list.stream_id.saturating_sub(1)],
            deleted: false,
            keys: keys.as_deref(),
        };
        let Ok(content) = to_raw_value(&content) else { return Ok(()) };
        let mut batch = Batch::default();
        self.queue(&mut batch, servers, "m.device_list_update", &content).await?;
        if !batch.is_empty() {
            self.0.store.commit(batch).await?;
        }
        Ok(())
    }

    async fn queue(
        &self,
        batch: &mut Batch,
        servers: &[OwnedServerName],
        kind: &'static str,
        content: &RawValue,
    ) -> Result<(), FederationError> {
        for server in servers {
            let edu = OutgoingEdu { kind, coalesce: None, content: content.to_owned() };
            match self.0.outbox.queue_edu(batch, server, edu).await {
                Err(error @ FederationError::TooLarge { .. }) => {
                    tracing::warn!(%server, %error, "a change of devices is not told");
                }
                done => done?,
            }
        }
        Ok(())
    }

    fn told_hash(&self, bytes: &[u8]) -> Hash16 {
        self.0.store.keyed_hash(DOMAIN_TOLD, bytes)
    }

    /// Keys of a local user's devices and the cross-signing keys, as another server may know them:
    /// `POST /user/keys/query`. None where there is no such user.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn own_keys(
        &self,
        user: &UserId,
        devices: &[OwnedDeviceId],
    ) -> Result<Option<(Vec<QueriedDevice>, CrossSigningKeys)>, FederationError> {
        let Some(found) = self.0.accounts.query_device_keys(user, devices).await? else { return Ok(None) };
        let found = found.into_iter().filter_map(|device| {
            let keys = without_unsigned(&device.keys)?;
            Some(QueriedDevice { id: device.id, keys })
        });
        Ok(Some((found.collect(), self.0.accounts.public_cross_signing_keys(user).await?)))
    }

    /// A local user's devices and cross-signing keys as another server may know them: `GET /user/devices`. None where
    /// there is no such user.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn own_device_list(&self, user: &UserId) -> Result<Option<OwnDeviceList>, FederationError> {
        if !self.is_own(user.server_name()) {
            return Ok(None);
        }
        let Some(nid) = self.0.accounts.user_nid(user).await? else { return Ok(None) };
        let Some((list, _)) = self.device_list(user, nid).await? else { return Ok(None) };
        let devices = list.devices.into_iter().filter_map(|device| {
            let keys = without_unsigned(&device.keys)?;
            Some(QueriedDevice { id: device.id, keys })
        });
        Ok(Some(OwnDeviceList {
            user: user.to_owned(),
            stream_id: list.stream_id,
            devices: devices.collect(),
            cross_signing: list.cross_signing,
        }))
    }
}

/// A local user's devices and cross-signing keys as other servers may know them.
#[derive(Clone, Debug)]
pub struct OwnDeviceList {
    /// The user.
    pub user: OwnedUserId,
    /// The number of the newest change that was told.
    pub stream_id: u64,
    /// Devices that encrypt, without what their user calls them.
    pub devices: Vec<QueriedDevice>,
    /// The keys, without the one that only their user may see.
    pub cross_signing: CrossSigningKeys,
}

/// Keys without what is for users of this server alone.
pub(crate) fn without_unsigned(keys: &RawValue) -> Option<Box<RawValue>> {
    let mut keys: serde_json::Map<String, serde_json::Value> = serde_json::from_str(keys.get()).ok()?;
    keys.remove("unsigned");
    to_raw_value(&keys).ok()
}
