//! `/_matrix/client/v3/devices`, `.../devices/{deviceId}` and `.../delete_devices` (client-server API, section "Device
//! Management").

use axum::extract::State;
use ruma::{
    MilliSecondsSinceUnixEpoch, OwnedDeviceId, UInt,
    api::client::{
        device::{Device, delete_device, delete_devices, get_device, get_devices, update_device},
        uiaa::AuthData,
    },
};
use wardroom_accounts::{AccountError, Session};
use wardroom_web::{ApiError, Class, Reply, Routes, Ruma};

use super::interactive_auth::require_password;
use crate::ClientState;

pub(crate) fn routes() -> Routes<ClientState> {
    Routes::new()
        .endpoint(get_devices)
        .endpoint(get_device)
        .endpoint(update_device)
        .endpoint(delete_device)
        .endpoint(delete_devices)
}

fn shown(device: wardroom_accounts::Device) -> Device {
    let mut shown = Device::new(device.id);
    shown.display_name = device.display_name;
    shown.last_seen_ip = device.last_seen_ip.map(|ip| ip.to_string());
    shown.last_seen_ts = device.last_seen_ms.and_then(UInt::new).map(MilliSecondsSinceUnixEpoch);
    shown
}

async fn get_devices(
    State(state): State<ClientState>,
    request: Ruma<get_devices::v3::Request>,
) -> Result<Reply<get_devices::v3::Response>, ApiError> {
    let devices = state.accounts.devices(request.session.nid).await?;
    Ok(Reply(get_devices::v3::Response::new(devices.into_iter().map(shown).collect())))
}

async fn get_device(
    State(state): State<ClientState>,
    request: Ruma<get_device::v3::Request>,
) -> Result<Reply<get_device::v3::Response>, ApiError> {
    let device = state.accounts.device(request.session.nid, &request.body.device_id).await?;
    Ok(Reply(get_device::v3::Response::new(shown(device.ok_or(AccountError::UnknownDevice)?))))
}

async fn update_device(
    State(state): State<ClientState>,
    request: Ruma<update_device::v3::Request>,
) -> Result<Reply<update_device::v3::Response>, ApiError> {
    let (user, device) = (request.session.nid, &request.body.device_id);
    state.limits.take(Class::Account, user)?;
    match &request.body.display_name {
        Some(name) => state.accounts.rename_device(user, device, Some(name)).await?,
        // Nothing to change, but the device has to exist.
        None => drop(state.accounts.device(user, device).await?.ok_or(AccountError::UnknownDevice)?),
    }
    Ok(Reply(update_device::v3::Response::new()))
}

async fn delete_device(
    State(state): State<ClientState>,
    request: Ruma<delete_device::v3::Request>,
) -> Result<Reply<delete_device::v3::Response>, ApiError> {
    let devices = [request.body.device_id];
    let operation = "DELETE /devices/{device_id}";
    delete(&state, &request.session, operation, &devices, request.body.auth.as_ref()).await?;
    Ok(Reply(delete_device::v3::Response::new()))
}

async fn delete_devices(
    State(state): State<ClientState>,
    request: Ruma<delete_devices::v3::Request>,
) -> Result<Reply<delete_devices::v3::Response>, ApiError> {
    let operation = "POST /delete_devices";
    delete(&state, &request.session, operation, &request.body.devices, request.body.auth.as_ref()).await?;
    Ok(Reply(delete_devices::v3::Response::new()))
}

async fn delete(
    state: &ClientState,
    session: &Session,
    operation: &'static str,
    devices: &[OwnedDeviceId],
    auth: Option<&AuthData>,
) -> Result<(), ApiError> {
    require_password(state, session, operation, &devices, auth).await?;
    Ok(state.accounts.delete_devices(session.nid, devices).await?)
}
