//! `/_synapse/admin/v2/users/{user}/devices` and below.

use axum::{Json, response::IntoResponse};
use http::StatusCode;
use ruma::{DeviceId, OwnedDeviceId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wardroom_accounts::{AdminScope::Users, Device, User};
use wardroom_web::ApiError;

use crate::{
    AdminState,
    endpoint::{Asked, Endpoints},
};

/// Devices of a user.
const DEVICES: &str = "/_synapse/admin/v2/users/{user_id}/devices";
/// One of them.
const DEVICE: &str = "/_synapse/admin/v2/users/{user_id}/devices/{device_id}";

pub(super) fn endpoints() -> Endpoints {
    Endpoints::new()
        .get(DEVICES, Users, "Lists the devices of a user.", list)
        .post(DEVICES, Users, "Makes a device for a user.", make)
        .get(DEVICE, Users, "Tells of one device.", show)
        .put(DEVICE, Users, "Gives a device another display name.", rename)
        .delete(DEVICE, Users, "Signs a user out on one device.", delete_one)
        .post(
            "/_synapse/admin/v2/users/{user_id}/delete_devices",
            Users,
            "Signs a user out on several devices.",
            delete_many,
        )
}

#[derive(Serialize)]
struct Shown {
    device_id: OwnedDeviceId,
    display_name: Option<String>,
    last_seen_ip: Option<String>,
    last_seen_user_agent: Option<String>,
    last_seen_ts: Option<u64>,
    user_id: String,
    dehydrated: bool,
}

impl Shown {
    fn of(user: &User, device: Device) -> Self {
        Self {
            device_id: device.id,
            display_name: device.display_name,
            last_seen_ip: device.last_seen_ip.map(|ip| ip.to_string()),
            last_seen_user_agent: None,
            last_seen_ts: device.last_seen_ms,
            user_id: user.id.to_string(),
            dehydrated: false,
        }
    }
}

async fn list(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    let user = asked.local_user(&state, 0).await?;
    let devices = state.accounts.devices(user.nid).await?;
    let devices: Vec<Shown> = devices.into_iter().map(|device| Shown::of(&user, device)).collect();
    Ok(Json(json!({ "total": devices.len(), "devices": devices })))
}

async fn make(state: AdminState, asked: Asked) -> Result<impl IntoResponse, ApiError> {
    #[derive(Deserialize)]
    struct Body {
        device_id: String,
    }
    let Body { device_id } = asked.body()?;
    let user = asked.subject(&state, 0).await?;
    state.accounts.create_device(&user.id, <&DeviceId>::from(device_id.as_str())).await?;
    Ok((StatusCode::CREATED, Json(json!({}))))
}

async fn show(state: AdminState, asked: Asked) -> Result<Json<Shown>, ApiError> {
    let user = asked.local_user(&state, 0).await?;
    let device = state.accounts.device(user.nid, <&DeviceId>::from(asked.part(1))).await?;
    let device = device.ok_or_else(|| ApiError::not_found("device_id: the user has no such device."))?;
    Ok(Json(Shown::of(&user, device)))
}

async fn rename(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    #[derive(Deserialize)]
    struct Body {
        display_name: Option<String>,
    }
    let Body { display_name } = asked.body()?;
    let user = asked.subject(&state, 0).await?;
    if let Some(name) = display_name {
        state.accounts.rename_device(user.nid, <&DeviceId>::from(asked.part(1)), Some(&name)).await?;
    }
    Ok(Json(json!({})))
}

async fn delete_one(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    let user = asked.subject(&state, 0).await?;
    state.accounts.delete_devices(user.nid, &[OwnedDeviceId::from(asked.part(1))]).await?;
    Ok(Json(json!({})))
}

async fn delete_many(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    #[derive(Deserialize)]
    struct Body {
        devices: Vec<OwnedDeviceId>,
    }
    let Body { devices } = asked.body()?;
    let user = asked.subject(&state, 0).await?;
    state.accounts.delete_devices(user.nid, &devices).await?;
    Ok(Json(json!({})))
}
