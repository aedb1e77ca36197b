//! `POST /keys/query` ([spec](https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysquery)).

use std::{collections::BTreeMap, time::Duration};

use axum::{Json, extract::State};
use ruma::{OwnedDeviceId, OwnedUserId, api::client::keys::get_keys::v3::Request};
use serde::Serialize;
use serde_json::{Value, value::RawValue};
use wardroom_accounts::Session;
use wardroom_federation::Federation;
use wardroom_web::{ApiError, Routes, Ruma};

use super::unreachable_server;
use crate::{ClientState, error};

pub(super) fn routes() -> Routes<ClientState> {
    Routes::new().endpoint(get_keys)
}

/// The answer. Clients expect `failures` also where there are none; ruma's type would leave it out.
#[derive(Default, Serialize)]
struct Answer {
    device_keys: BTreeMap<OwnedUserId, BTreeMap<OwnedDeviceId, Box<RawValue>>>,
    failures: BTreeMap<String, Value>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    master_keys: BTreeMap<OwnedUserId, Box<RawValue>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    self_signing_keys: BTreeMap<OwnedUserId, Box<RawValue>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    user_signing_keys: BTreeMap<OwnedUserId, Box<RawValue>>,
}

async fn get_keys(
    State(state): State<ClientState>,
    Ruma { body, session, .. }: Ruma<Request>,
) -> Result<Json<Answer>, ApiError> {
    let mut answer = Answer::default();
    let mut elsewhere = BTreeMap::new();
    for (user, devices) in body.device_keys {
        if !state.accounts.is_local(&user) {
            elsewhere.insert(user, devices);
            continue;
        }
        let Some(queried) = state.accounts.query_device_keys(&user, &devices).await? else { continue };
        let keys = state.accounts.cross_signing_keys(&session, &user).await?;
        answer.master_keys.extend(keys.master.map(|key| (user.clone(), key)));
        answer.self_signing_keys.extend(keys.self_signing.map(|key| (user.clone(), key)));
        answer.user_signing_keys.extend(keys.user_signing.map(|key| (user.clone(), key)));
        let queried = queried.into_iter().map(|device| (device.id, device.keys));
        answer.device_keys.insert(user, queried.collect());
        tokio::task::consume_budget().await;
    }
    match &state.federation {
        Some(federation) if !elsewhere.is_empty() => {
            ask_elsewhere(&state, &session, federation, elsewhere, body.timeout, &mut answer).await?;
        }
        _ => answer.failures.extend(elsewhere.keys().map(|user| unreachable_server(user.server_name()))),
    }
    Ok(Json(answer))
}

/// Adds keys of users of other servers.
async fn ask_elsewhere(
    state: &ClientState,
    session: &Session,
    federation: &Federation,
    wanted: BTreeMap<OwnedUserId, Vec<OwnedDeviceId>>,
    within: Option<Duration>,
    answer: &mut Answer,
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
        answer.master_keys.extend(master.map(|key| (user.clone(), key)));
        answer.self_signing_keys.extend(self_signing.map(|key| (user.clone(), key)));
        let devices = keys.devices.into_iter().map(|device| (device.id, device.keys));
        answer.device_keys.insert(user, devices.collect());
    }
    Ok(())
}
