//! `GET /_wardroom/admin/v1/attestations`: what other servers were told of the roles of this server's users, and what they
//! say of theirs.

use axum::Json;
use ruma::ServerName;
use serde_json::{Value, json};
use wardroom_accounts::AdminScope::Users;
use wardroom_web::ApiError;

use crate::{
    AdminState,
    endpoint::{Asked, Endpoints, next_place},
    error,
};

const ATTESTATIONS: &str = "/_wardroom/admin/v1/attestations";

pub(super) fn endpoints() -> Endpoints {
    let summary = "Lists which roles other servers were told of, and of which they tell; those of one `server`.";
    Endpoints::new().get(ATTESTATIONS, Users, summary, list)
}

/// Both lists are paged alike.
async fn list(state: AdminState, asked: Asked) -> Result<Json<Value>, ApiError> {
    let server = asked.get("server").map(<&ServerName>::try_from).transpose();
    let server = server.map_err(|_| ApiError::invalid_param("server: this is no server name."))?;
    let (from, limit) = asked.page()?;
    let handed = state.care.handed(server).await.map_err(error::of_care)?;
    let received = state.care.received(server);
    let next = next_place(from, limit, handed.len().max(received.len()));
    Ok(Json(json!({
        "handed_out": handed.iter().skip(from).take(limit).collect::<Vec<_>>(),
        "total_handed_out": handed.len(),
        "received": received.iter().skip(from).take(limit).collect::<Vec<_>>(),
        "total_received": received.len(),
        "next_token": next.map(|next| next.to_string()),
    })))
}
