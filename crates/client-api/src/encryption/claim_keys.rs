//! `POST /keys/claim` ([spec](https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysclaim)).

use std::collections::BTreeMap;

use axum::{Json, extract::State};
use ruma::{
    OwnedDeviceId, OwnedOneTimeKeyId, OwnedUserId, api::client::keys::claim_keys::v3::Request, encryption::OneTimeKey,
    serde::Raw,
};
use serde::Serialize;
use serde_json::Value;
use wardroom_accounts::AccountError;
use wardroom_federation::KeyClaim;
use wardroom_web::{ApiError, Class, Routes, Ruma};

use super::unreachable_server;
use crate::ClientState;

pub(super) fn routes() -> Routes<ClientState> {
    Routes::new().endpoint(claim_keys)
}

/// The answer. Clients expect `failures` also where there are none; ruma's type would leave it out.
#[derive(Default, Serialize)]
struct Answer {
    one_time_keys: BTreeMap<OwnedUserId, BTreeMap<OwnedDeviceId, BTreeMap<OwnedOneTimeKeyId, Raw<OneTimeKey>>>>,
    failures: BTreeMap<String, Value>,
}

async fn claim_keys(
    State(state): State<ClientState>,
    Ruma { body, session, .. }: Ruma<Request>,
) -> Result<Json<Answer>, ApiError> {
    state.limits.take(Class::Keys, session.nid)?;
    let mut answer = Answer::default();
    let (mut wishes, mut elsewhere) = (Vec::new(), KeyClaim::new());
    for (user, devices) in body.one_time_keys {
        if !state.accounts.is_local(&user) {
            elsewhere.insert(user, devices);
            continue;
        }
        wishes.extend(devices.into_iter().map(|(device, kind)| (user.clone(), device, kind.to_string())));
    }
    for claimed in state.accounts.claim_keys(wishes).await? {
        let id = OwnedOneTimeKeyId::try_from(claimed.id).map_err(|_| AccountError::Damaged("one-time key"))?;
        let devices = answer.one_time_keys.entry(claimed.user).or_default();
        devices.entry(claimed.device).or_default().insert(id, Raw::from_json(claimed.key));
    }
    match &state.federation {
        Some(federation) if !elsewhere.is_empty() => {
            let claims = federation.devices.claim(elsewhere, body.timeout).await;
            answer.one_time_keys.extend(claims.keys);
            answer.failures.extend(claims.failures.iter().map(|server| unreachable_server(server)));
        }
        _ => answer.failures.extend(elsewhere.keys().map(|user| unreachable_server(user.server_name()))),
    }
    Ok(Json(answer))
}
