//! `POST /_matrix/federation/v1/user/keys/query` and `/user/keys/claim`
//! ([spec](https://spec.matrix.org/v1.19/server-server-api/#end-to-end-encryption)).

use axum::extract::State;
use ruma::{
    OwnedOneTimeKeyId,
    api::federation::keys::{claim_keys::v1 as claim_keys, get_keys::v1 as get_keys},
    serde::Raw,
};
use wardroom_accounts::AccountError;
use wardroom_web::{ApiError, Reply, Routes};

use crate::{FederationState, Signed, SignedRoutes as _, error};

/// Users that one request may ask for.
const USERS_MAX: usize = 10_000;
/// Keys that one request may claim.
const CLAIMS_MAX: usize = 10_000;

pub(crate) fn routes() -> Routes<FederationState> {
    Routes::new().signed(query).signed(claim)
}

/// Users of other servers are passed over: their servers speak for them.
async fn query(
    State(state): State<FederationState>,
    Signed { body, .. }: Signed<get_keys::Request>,
) -> Result<Reply<get_keys::Response>, ApiError> {
    if body.device_keys.len() > USERS_MAX {
        return Err(ApiError::invalid_param(format!("device_keys: names more than {USERS_MAX} users.")));
    }
    let mut answer = get_keys::Response::default();
    for (user, devices) in body.device_keys {
        let found = state.federation.edus.own_keys(&user, &devices).await.map_err(error::of_federation)?;
        let Some((devices, keys)) = found else { continue };
        answer.master_keys.extend(keys.master.map(|key| (user.clone(), Raw::from_json(key))));
        answer.self_signing_keys.extend(keys.self_signing.map(|key| (user.clone(), Raw::from_json(key))));
        let devices = devices.into_iter().map(|device| (device.id, Raw::from_json(device.keys)));
        answer.device_keys.insert(user, devices.collect());
        tokio::task::consume_budget().await;
    }
    Ok(Reply(answer))
}

async fn claim(
    State(state): State<FederationState>,
    Signed { body, .. }: Signed<claim_keys::Request>,
) -> Result<Reply<claim_keys::Response>, ApiError> {
    let mut wishes = Vec::new();
    for (user, devices) in body.one_time_keys {
        wishes.extend(devices.into_iter().map(|(device, kind)| (user.clone(), device, kind.to_string())));
    }
    if wishes.len() > CLAIMS_MAX {
        return Err(ApiError::invalid_param(format!("one_time_keys: claims more than {CLAIMS_MAX} keys.")));
    }
    let mut answer = claim_keys::Response::new(Default::default());
    // There are no devices of users of other servers here: wishes for their keys are passed over.
    for claimed in state.accounts.claim_keys(wishes).await? {
        let id = OwnedOneTimeKeyId::try_from(claimed.id).map_err(|_| AccountError::Damaged("one-time key"))?;
        let devices = answer.one_time_keys.entry(claimed.user).or_default();
        devices.entry(claimed.device).or_default().insert(id, Raw::from_json(claimed.key));
    }
    Ok(Reply(answer))
}
