//! `GET /_matrix/client/versions` (client-server API, section "API versions").

use http::Method;
use ruma::api::client::discovery::get_supported_versions::Response;
use wardroom_web::{Reply, Routes};

use crate::ClientState;

/// Versions of the specification whose client-server API this server follows, as far as it has the endpoints.
const VERSIONS: [&str; 15] = [
    "r0.6.1", "v1.1", "v1.2", "v1.3", "v1.4", "v1.5", "v1.6", "v1.7", "v1.8", "v1.9", "v1.10", "v1.11", "v1.12",
    "v1.13", "v1.14",
];

pub(crate) fn routes() -> Routes<ClientState> {
    // Without ruma's request: clients ask this with a token that may have expired, and must get an answer.
    Routes::new().plain(Method::GET, "/_matrix/client/versions", get_versions)
}

async fn get_versions() -> Reply<Response> {
    Reply(Response::new(VERSIONS.map(str::to_owned).to_vec()))
}
