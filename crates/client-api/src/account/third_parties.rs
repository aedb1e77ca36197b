//! Third-party identifiers, which only identity providers give, and networks, of which there are none: `GET /account/3pid`
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

/// Nobody can add an e-mail address or a telephone number (capability `m.3pid_changes`): there are those that an identity
/// provider vouches for.
async fn get_3pids(
    State(state): State<ClientState>,
    request: Ruma<get_3pids::v3::Request>,
) -> Result<Json<Value>, ApiError> {
    let links = state.accounts.sso_links(request.session.nid).await?;
    let addresses = links.into_iter().filter_map(|link| Some((link.email?, link.linked_ms)));
    let threepids: Vec<Value> = addresses
        .map(|(address, since_ms)| {
            json!({ "medium": "email", "address": address, "validated_at": since_ms, "added_at": since_ms })
        })
        .collect();
    Ok(Json(json!({ "threepids": threepids })))
}

/// Bridges to other networks are application services, which this server does not speak to.
async fn get_protocols(
    State(_): State<ClientState>,
    _request: Ruma<get_protocols::v3::Request>,
) -> Result<Reply<get_protocols::v3::Response>, ApiError> {
    Ok(Reply(get_protocols::v3::Response::new(BTreeMap::new())))
}
