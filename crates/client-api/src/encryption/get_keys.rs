//! `POST /keys/query` ([spec](https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysquery)).

use std::{collections::BTreeMap, time::Duration};

use axum::extract::State;
use ruma::{
    OwnedDeviceId, OwnedUserId,
    api::client::keys::get_keys::v3::{Request, Response},
    serde::Raw,
};
use wardroom_accounts::Session;
use wardroom_federation::Federation;
use wardroom_web::{ApiError, Reply, Routes, Ruma};

use super::unreachable_server;
use crate::{ClientState, error};

pub(super) fn routes() -> Routes<ClientState> {
    Routes::new().endpoint(get_keys)
}

async fn get_keys(
    State(state): State<ClientState>,
    Ruma { body, session, .. }: Ruma<Request>,
) -> Result<Reply<Response>, ApiError> {
    let mut answer = Response::new();
    let mut elsewhere = BTreeMap::new();
    for (user, devices) in body.device_keys {
        if !state.accounts.is_local(&user) {
            elsewhere.insert(user, devices);
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
    match &state.federation {
        Some(federation) if !elsewhere.is_empty() => {
            ask_elsewhere(&state, &session, federation, elsewhere, body.timeout, &mut answer).await?;
        }
        _ => answer.failures.extend(elsewhere.keys().map(|user| unreachable_server(user.server_name()))),
    }
    Ok(Reply(answer))
}

/// Adds keys of users of other servers.
async fn ask_elsewhere(
    state: &ClientState,
    session: &Session,
    federation: &Federation,
    wanted: BTreeMap<OwnedUserId, Vec<OwnedDeviceId>>,
    within: Option<Duration>,
    answer: &mut Response,
) -> Result<(), ApiError> {
    let found = federation.devices.query(wanted, within).await.map_err(error::of_federation)?;
    answer.failures.extend(found.failures.iter().map(|server| unreachable_server(server)));
    for (user, keys) in found.users {
        let (master, self_signing) = if keys.followed {
            // With the asker's own signature.
            let known = state.accounts.cross_signing_keys(session, &user).await?;
            (known.master, known.self_signing)
        } else {
            (keys.master, keys.self_signing)
        };
        answer.master_keys.extend(master.map(|key| (user.clone(), Raw::from_json(key))));
        answer.self_signing_keys.extend(self_signing.map(|key| (user.clone(), Raw::from_json(key))));
        let devices = keys.devices.into_iter().map(|device| (device.id, Raw::from_json(device.keys)));
        answer.device_keys.insert(user, devices.collect());
    }
    Ok(())
}
