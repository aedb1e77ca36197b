//! `POST /keys/query` ([spec](https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysquery)).

use axum::extract::State;
use ruma::{
    api::client::keys::get_keys::v3::{Request, Response},
    serde::Raw,
};
use wardroom_web::{ApiError, Reply, Routes, Ruma};

use super::unreachable_server;
use crate::ClientState;

pub(super) fn routes() -> Routes<ClientState> {
    Routes::new().endpoint(get_keys)
}

/// `timeout` is for other servers, of which none is asked yet.
async fn get_keys(
    State(state): State<ClientState>,
    Ruma { body, session, .. }: Ruma<Request>,
) -> Result<Reply<Response>, ApiError> {
    let mut answer = Response::new();
    for (user, devices) in body.device_keys {
        if !state.accounts.is_local(&user) {
            answer.failures.extend([unreachable_server(user.server_name())]);
            continue;
        }
        let Some(queried) = state.accounts.query_device_keys(&user, &devices).await? else { continue };
        let keys = state.accounts.cross_signing_keys(&session, &user).await?;
        answer.master_keys.extend(keys.master.map(|key| (user.clone(), Raw::from_json(key))));
        answer.self_signing_keys.extend(keys.self_signing.map(|key| (user.clone(), Raw::from_json(key))));
        answer.user_signing_keys.extend(keys.user_signing.map(|key| (user.clone(), Raw::from_json(key))));
        let queried = queried.into_iter().map(|device| (device.id, Raw::from_json(device.keys)));
        answer.device_keys.insert(user, queried.collect());
        tokio::task::consume_budget().await;
    }
    Ok(Reply(answer))
}
