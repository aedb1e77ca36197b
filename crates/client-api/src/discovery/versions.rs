//! `GET /_matrix/client/versions` (client-server API, section "API versions").

use http::Method;
use ruma::api::client::discovery::get_supported_versions::Response;
use wardroom_web::{Reply, Routes};

use crate::ClientState;

/// Versions of the specification's client-server API whose everyday endpoints are there. Later ones are listed when
/// their own are: a client that reads v1.3 asks the server for relations, and with v1.4 for threads, instead of putting
/// them together by itself.
const VERSIONS: [&str; 3] = ["r0.6.1", "v1.1", "v1.2"];

/// Unstable features that are there, by the names under which clients look for them.
const UNSTABLE_FEATURES: &[&str] = &[
    "org.matrix.e2e_cross_signing",
    "org.matrix.msc3030",
    "org.matrix.msc3440.stable",
    "org.matrix.msc3715.stable",
    "org.matrix.msc3771",
    "org.matrix.msc3814",
    "org.matrix.msc3856.stable",
    "org.matrix.msc3916",
    "org.matrix.msc3916.stable",
    "org.matrix.msc3981",
    "org.matrix.msc4140",
    "org.matrix.msc4143",
    "org.matrix.msc4151",
    "org.matrix.msc4306",
    "org.matrix.msc4380",
    "org.matrix.simplified_msc3575",
    "uk.half-shot.msc2666.query_mutual_rooms",
    "uk.half-shot.msc2666.query_mutual_rooms.stable",
    "uk.tcpip.msc4133",
    "uk.tcpip.msc4133.stable",
];

pub(crate) fn routes() -> Routes<ClientState> {
    // Without ruma's request: clients ask this with a token that may have expired, and must get an answer.
    Routes::new().plain(Method::GET, "/_matrix/client/versions", get_versions)
}

async fn get_versions() -> Reply<Response> {
    let mut response = Response::new(VERSIONS.map(str::to_owned).to_vec());
    response.unstable_features = UNSTABLE_FEATURES.iter().map(|&feature| (feature.to_owned(), true)).collect();
    Reply(response)
}
