//! What is kept of the devices and keys that another server tells of.

use ruma::{DeviceId, UserId};
use serde_json::value::RawValue;

use super::{
    super::{
        cross_signing::{Usage, checked_key},
        key_json::{Object, object, set_signatures, signatures_of, signed_part, text},
        tables::CrossSigningRow,
        upload::DEVICE_KEYS_BYTES_MAX,
    },
    RemoteDevice, RemoteDeviceRow,
};
use crate::{DEVICE_DISPLAY_NAME_CHARS_MAX, DEVICE_ID_BYTES_MAX};

/// A device as it is kept; none for one that cannot be kept.
pub(super) fn device_row(user: &UserId, device: &RemoteDevice) -> Option<RemoteDeviceRow> {
    if device.id.as_str().is_empty() || device.id.as_str().len() > DEVICE_ID_BYTES_MAX {
        return None;
    }
    let keys = match &device.keys {
        Some(keys) => Some(text(&checked_device_keys(user, &device.id, keys)?)),
        None => None,
    };
    let cut = |name: &String| name.chars().take(DEVICE_DISPLAY_NAME_CHARS_MAX).collect();
    let display_name = device.display_name.as_ref().map(cut);
    Some(RemoteDeviceRow { device_id: device.id.to_string(), display_name, keys })
}

/// Keys that do not say to be another device's, without what their server adds.
fn checked_device_keys(user: &UserId, device: &DeviceId, keys: &RawValue) -> Option<Object> {
    if keys.get().len() > DEVICE_KEYS_BYTES_MAX {
        return None;
    }
    let mut keys = object("keys", keys.get()).ok()?;
    let is_or_lacks = |field: &str, wanted: &str| keys.get(field).is_none_or(|given| given.as_str() == Some(wanted));
    if !is_or_lacks("user_id", user.as_str()) || !is_or_lacks("device_id", device.as_str()) {
        return None;
    }
    keys.remove("unsigned");
    Some(keys)
}

/// A cross-signing key of the right form, with its user's signatures alone.
pub(super) fn checked_remote(user: &UserId, usage: Usage, json: Option<&RawValue>) -> Option<CrossSigningRow> {
    let checked = checked_key(user, usage, json?).ok()?;
    let signatures = signatures_of(&checked.object, user);
    let mut kept = signed_part(&checked.object);
    set_signatures(&mut kept, user, signatures);
    Some(CrossSigningRow { public_key: checked.public_key, json: text(&kept) })
}
