//! Asking for identity keys: `POST /keys/query`.

use std::fmt;

use ruma::{OwnedDeviceId, UserId};
use serde_json::{Value, json, value::RawValue};
use wardroom_store::{Packed, Scan};

use super::{
    key_json::{stored, text},
    tables::DEVICE_KEYS,
};
use crate::{
    AccountError, Accounts,
    tables::{DEVICES, DeviceRow},
};

/// A device that has identity keys.
#[derive(Clone)]
pub struct QueriedDevice {
    /// The device.
    pub id: OwnedDeviceId,
    /// The signed object, with the device's display name in `unsigned`.
    pub keys: Box<RawValue>,
}

impl fmt::Debug for QueriedDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueriedDevice").finish_non_exhaustive()
    }
}

impl Accounts {
    /// Identity keys of a user's devices: of those named, or of all where none is. `None` for a user who does not exist
    /// on this server.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn query_device_keys(
        &self,
        user: &UserId,
        devices: &[OwnedDeviceId],
    ) -> Result<Option<Vec<QueriedDevice>>, AccountError> {
        let Some((nid, _, _)) = self.user_row(user).await? else { return Ok(None) };
        let view = self.0.store.latest();
        let rows: Vec<DeviceRow> = if devices.is_empty() {
            let rows = view.scan(&DEVICES, Scan::prefix(&nid.get())).await?;
            rows.into_iter().map(|(_, Packed(row))| row).collect()
        } else {
            let mut keys: Vec<_> = devices.iter().map(|device| self.device_key(nid, device)).collect();
            keys.sort_unstable();
            keys.dedup();
            let rows = view.multi_get(&DEVICES, &keys).await?;
            rows.into_iter().flatten().map(|Packed(row)| row).collect()
        };
        let keys: Vec<(u64, u64)> = rows.iter().map(|row| (nid.get(), row.nid)).collect();
        let mut queried = Vec::new();
        for (row, found) in rows.into_iter().zip(view.multi_get(&DEVICE_KEYS, &keys).await?) {
            let Some(Packed(found)) = found else { continue };
            let mut keys = stored(&found.json)?;
            let unsigned = match &row.display_name {
                Some(name) => json!({ "device_display_name": name }),
                None => Value::Object(serde_json::Map::new()),
            };
            keys.insert("unsigned".to_owned(), unsigned);
            let keys = RawValue::from_string(text(&keys)).map_err(|_| AccountError::Damaged("device keys"))?;
            queried.push(QueriedDevice { id: OwnedDeviceId::from(row.device_id.as_str()), keys });
        }
        Ok(Some(queried))
    }
}
