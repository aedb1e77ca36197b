//! `PUT /sendToDevice/{eventType}/{txnId}`
//! ([spec](https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3sendtodeviceeventtypetxnid)).

use axum::extract::State;
use ruma::{
    api::client::to_device::send_event_to_device::v3::{Request, Response},
    serde::Raw,
    to_device::DeviceIdOrAllDevices,
};
use wardroom_accounts::{ToDeviceMessages, ToDeviceTarget};
use wardroom_web::{ApiError, Class, Reply, Routes, Ruma};

use crate::ClientState;

pub(super) fn routes() -> Routes<ClientState> {
    Routes::new().endpoint(send_event_to_device)
}

async fn send_event_to_device(
    State(state): State<ClientState>,
    Ruma { body, session, .. }: Ruma<Request>,
) -> Result<Reply<Response>, ApiError> {
    state.limits.take(Class::ToDevice, session.nid)?;
    let messages: ToDeviceMessages = body
        .messages
        .into_iter()
        .map(|(user, contents)| {
            let contents = contents.into_iter().map(|(target, content)| (to_target(target), Raw::into_json(content)));
            (user, contents.collect())
        })
        .collect();
    let kind = body.event_type.to_string();
    state.accounts.send_to_device(&session, &kind, body.txn_id.as_str(), &messages).await?;
    Ok(Reply(Response::new()))
}

fn to_target(target: DeviceIdOrAllDevices) -> ToDeviceTarget {
    match target {
        DeviceIdOrAllDevices::AllDevices => ToDeviceTarget::AllDevices,
        DeviceIdOrAllDevices::DeviceId(id) => ToDeviceTarget::Device(id),
    }
}
