//! `GET /_matrix/client/versions` (client-server API, section "API versions").

use http::Method;
use ruma::api::client::discovery::get_supported_versions::Response;
use wardroom_web::{Reply, Routes};

use crate::ClientState;

/// Versions of the specification's client-server API whose endpoints are there, but for those that stand with their
/// reasons in the inventory's test: what they leave to servers (OAuth 2.0, addresses of people, bridges) may be absent.
const VERSIONS: [&str; 20] = [
    "r0.6.1", "v1.1", "v1.2", "v1.3", "v1.4", "v1.5", "v1.6", "v1.7", "v1.8", "v1.9", "v1.10", "v1.11", "v1.12",
    "v1.13", "v1.14", "v1.15", "v1.16", "v1.17", "v1.18", "v1.19",
];

/// Unstable features that are there, by the names under which clients look for them.
const UNSTABLE_FEATURES: &[&str] = &[
    "org.matrix.e2e_cross_signing",
    "org.matrix.msc1763",
    "org.matrix.msc3030",
    "org.matrix.msc3440.stable",
    "org.matrix.msc3715.stable",
    "org.matrix.msc3771",
    "org.matrix.msc3814",
    "org.matrix.msc3856.stable",
    "org.matrix.msc3912",
    "org.matrix.msc3916",
    "org.matrix.msc3916.stable",
    "org.matrix.msc3981",
    "org.matrix.msc4140",
    "org.matrix.msc4143",
    "org.matrix.msc4151",
    "org.matrix.msc4380",
    "org.matrix.simplified_msc3575",
    "org.wardroom.break_glass",
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
