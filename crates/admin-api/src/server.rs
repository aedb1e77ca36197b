//! `GET /_synapse/admin/v1/server_version`, for everybody.

use axum::Json;
use http::Method;
use serde_json::{Value, json};
use wardroom_web::Routes;

use crate::endpoint::{Described, Endpoints};

/// Where the version is told.
const VERSION: &str = "/_synapse/admin/v1/server_version";

pub(crate) fn endpoints() -> Endpoints {
    let described =
        Described { method: Method::GET, path: VERSION, scope: None, summary: "Tells the version of the server." };
    Endpoints::new().with(Routes::new().plain(Method::GET, VERSION, version), vec![described])
}

async fn version() -> Json<Value> {
    Json(json!({ "server_version": concat!("Wardroom ", env!("CARGO_PKG_VERSION")) }))
}
