//! `POST /keys/upload` ([spec](https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysupload)).

use std::collections::BTreeMap;

use axum::extract::State;
use ruma::{
    OneTimeKeyAlgorithm, OwnedOneTimeKeyId, UInt,
    api::client::keys::upload_keys::v3::{Request, Response},
    encryption::OneTimeKey,
    serde::Raw,
};
use serde_json::value::RawValue;
use wardroom_accounts::KeyUpload;
use wardroom_web::{ApiError, Class, Reply, Routes, Ruma};

use crate::ClientState;

pub(super) fn routes() -> Routes<ClientState> {
    Routes::new().endpoint(upload_keys)
}

async fn upload_keys(
    State(state): State<ClientState>,
    Ruma { body, session, .. }: Ruma<Request>,
) -> Result<Reply<Response>, ApiError> {
    state.limits.take(Class::Keys, session.nid)?;
    let upload = KeyUpload {
        device_keys: body.device_keys.map(Raw::into_json),
        one_time_keys: by_id(body.one_time_keys),
        fallback_keys: by_id(body.fallback_keys),
    };
    let uploaded = state.accounts.upload_keys(&session.user, &session.device, session.device_ref(), &upload);
    let counts = uploaded.await?.into_iter();
    let counts = counts.map(|(kind, count)| (OneTimeKeyAlgorithm::from(kind), UInt::new_saturating(count)));
    Ok(Reply(Response::new(counts.collect())))
}

fn by_id(keys: BTreeMap<OwnedOneTimeKeyId, Raw<OneTimeKey>>) -> Vec<(String, Box<RawValue>)> {
    keys.into_iter().map(|(id, key)| (id.to_string(), key.into_json())).collect()
}
