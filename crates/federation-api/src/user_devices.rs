//! `GET /_matrix/federation/v1/user/devices/{userId}`
//! ([spec](https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1userdevicesuserid)).

use axum::extract::State;
use ruma::{
    UInt,
    api::federation::device::get_devices::v1::{Request, Response, UserDevice},
    serde::Raw,
};
use wardroom_web::{ApiError, Reply, Routes};

use crate::{FederationState, Signed, SignedRoutes as _, error};

pub(crate) fn routes() -> Routes<FederationState> {
    Routes::new().signed(user_devices)
}

/// What users call their devices is not told: it is for themselves and for this server.
async fn user_devices(
    State(state): State<FederationState>,
    Signed { body, .. }: Signed<Request>,
) -> Result<Reply<Response>, ApiError> {
    let list = state.federation.edus.own_device_list(&body.user_id).await.map_err(error::of_federation)?;
    let Some(list) = list else { return Err(ApiError::not_found("userId: there is no such user on this server.")) };
    let mut answer = Response::new(list.user, UInt::new_saturating(list.stream_id));
    let devices = list.devices.into_iter().map(|device| UserDevice::new(device.id, Raw::from_json(device.keys)));
    answer.devices = devices.collect();
    answer.master_key = list.cross_signing.master.map(Raw::from_json);
    answer.self_signing_key = list.cross_signing.self_signing.map(Raw::from_json);
    Ok(Reply(answer))
}
