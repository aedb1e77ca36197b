//! `/_matrix/key/v2`: the keys of this server, and those of others as a notary ([Retrieving server keys][spec]).
//!
//! [spec]: https://spec.matrix.org/v1.19/server-server-api/#retrieving-server-keys

use axum::extract::State;
use ruma::api::federation::discovery::{get_remote_server_keys, get_remote_server_keys_batch, get_server_keys};
use wardroom_federation::{AskedKeys, NOTARY_SERVERS_MAX};
use wardroom_web::{ApiError, Class, Reply, Routes, Ruma};

use crate::{FederationState, requests::KeyOfAnother};

/// The path of old servers, which name the key that they want. All keys are in the answer.
const WITH_KEY_ID: &str = "/_matrix/key/v2/server/{key_id}";

pub(crate) fn routes() -> Routes<FederationState> {
    Routes::new()
        .endpoint(own)
        .endpoint_at(&[WITH_KEY_ID], own)
        .endpoint(of_one)
        .endpoint(one_of_one)
        .reading_endpoint(of_many)
}

async fn own(
    State(state): State<FederationState>,
    _: Ruma<get_server_keys::v2::Request>,
) -> Result<Reply<get_server_keys::v2::Response>, ApiError> {
    let document = state.federation.partners.key_document().map_err(|error| ApiError::internal(&error))?;
    Ok(Reply(get_server_keys::v2::Response::new(document)))
}

async fn of_one(
    State(state): State<FederationState>,
    Ruma { body, client_ip, .. }: Ruma<get_remote_server_keys::v2::Request>,
) -> Result<Reply<get_remote_server_keys::v2::Response>, ApiError> {
    state.limits.take(Class::UnknownKey, client_ip)?;
    let minimum_valid_until_ts = Some(body.minimum_valid_until_ts.0.into());
    let asked = AskedKeys { server: body.server_name, key_ids: Vec::new(), minimum_valid_until_ts };
    let documents = state.federation.partners.key_documents(vec![asked]).await;
    Ok(Reply(get_remote_server_keys::v2::Response::new(documents)))
}

async fn one_of_one(
    State(state): State<FederationState>,
    Ruma { body, client_ip, .. }: Ruma<KeyOfAnother>,
) -> Result<Reply<get_remote_server_keys::v2::Response>, ApiError> {
    state.limits.take(Class::UnknownKey, client_ip)?;
    let KeyOfAnother { server_name, key_id, minimum_valid_until_ts } = body;
    let asked = AskedKeys { server: server_name, key_ids: vec![key_id], minimum_valid_until_ts };
    let documents = state.federation.partners.key_documents(vec![asked]).await;
    Ok(Reply(get_remote_server_keys::v2::Response::new(documents)))
}

async fn of_many(
    State(state): State<FederationState>,
    Ruma { body, client_ip, .. }: Ruma<get_remote_server_keys_batch::v2::Request>,
) -> Result<Reply<get_remote_server_keys_batch::v2::Response>, ApiError> {
    if body.server_keys.len() > NOTARY_SERVERS_MAX {
        let sentence = format!("`server_keys` names more than {NOTARY_SERVERS_MAX} servers.");
        return Err(ApiError::invalid_param(sentence));
    }
    for _ in &body.server_keys {
        state.limits.take(Class::UnknownKey, client_ip)?;
    }
    let asked = body.server_keys.into_iter().map(|(server, keys)| {
        let until = keys.values().filter_map(|criteria| criteria.minimum_valid_until_ts).max();
        let minimum_valid_until_ts = until.map(|until| until.0.into());
        AskedKeys { server, key_ids: keys.into_keys().collect(), minimum_valid_until_ts }
    });
    let documents = state.federation.partners.key_documents(asked.collect()).await;
    Ok(Reply(get_remote_server_keys_batch::v2::Response::new(documents)))
}
