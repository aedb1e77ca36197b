//! Third-party identifiers, which only administrators note, and networks, of which this server has none: `GET /account/3pid`
//! ([spec](https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3account3pid)) and
//! `GET /thirdparty/protocols`
//! ([spec](https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3thirdpartyprotocols)).

use std::collections::BTreeMap;

use axum::{Json, extract::State};
use ruma::api::client::{account::get_3pids, thirdparty::get_protocols};
use serde_json::{Value, json};
use wardroom_web::{ApiError, Reply, Routes, Ruma};

use crate::ClientState;

pub(crate) fn routes() -> Routes<ClientState> {
    Routes::new().endpoint(get_3pids).endpoint(get_protocols)
}

/// Nobody can add an e-mail address or a telephone number (capability `m.3pid_changes`) but administrators.
async fn get_3pids(
    State(state): State<ClientState>,
    request: Ruma<get_3pids::v3::Request>,
) -> Result<Json<Value>, ApiError> {
    let known = state.accounts.identities(request.session.nid).await?;
    Ok(Json(json!({ "threepids": known.threepids })))
}

/// Bridges to other networks are application services, which this server does not speak to.
async fn get_protocols(
    State(_): State<ClientState>,
    _request: Ruma<get_protocols::v3::Request>,
) -> Result<Reply<get_protocols::v3::Response>, ApiError> {
    Ok(Reply(get_protocols::v3::Response::new(BTreeMap::new())))
}
