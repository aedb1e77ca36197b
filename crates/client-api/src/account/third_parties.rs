//! Third-party identifiers, which only administrators and identity providers give, and networks, of which this server has
//! none: `GET /account/3pid`
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

/// Nobody can add an e-mail address or a telephone number (capability `m.3pid_changes`): there are those that administrators
/// note, and those that an identity provider vouches for.
async fn get_3pids(
    State(state): State<ClientState>,
    request: Ruma<get_3pids::v3::Request>,
) -> Result<Json<Value>, ApiError> {
    let known = state.accounts.identities(request.session.nid).await?;
    let links = state.accounts.sso_links(request.session.nid).await?;
    let vouched = links.into_iter().filter_map(|link| Some((link.email?, link.linked_ms)));
    let vouched = vouched.map(|(address, since_ms)| {
        json!({ "medium": "email", "address": address, "validated_at": since_ms, "added_at": since_ms })
    });
    let mut threepids: Vec<Value> = vouched.collect();
    for noted in known.threepids {
        if !threepids.iter().any(|known| known["medium"] == noted.medium && known["address"] == noted.address) {
            threepids.push(json!(noted));
        }
    }
    Ok(Json(json!({ "threepids": threepids })))
}

/// Bridges to other networks are application services, which this server does not speak to.
async fn get_protocols(
    State(_): State<ClientState>,
    _request: Ruma<get_protocols::v3::Request>,
) -> Result<Reply<get_protocols::v3::Response>, ApiError> {
    Ok(Reply(get_protocols::v3::Response::new(BTreeMap::new())))
}
