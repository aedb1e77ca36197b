//! The server-server API: thin handlers that authenticate a server, extract a request, call one service and answer.
//!
//! One endpoint is one function `(State<FederationState>, Signed<T>) -> Result<Reply<_>, ApiError>`, listed in the
//! `routes()` of its module. What is not listed answers `404 M_UNRECOGNIZED`; there are no placeholders.

mod attestation;
mod audit;
mod directory;
mod disclosures;
mod error;
mod events;
mod hierarchy;
mod keys;
mod media;
mod membership;
mod openid;
mod policy;
mod profile;
mod query;
mod requests;
mod shared_room;
mod signed;
mod state;
mod stream;
mod third_party;
mod transactions;
mod user_devices;
mod user_keys;
mod version;
mod well_known;

use axum::Router;
use wardroom_web::Routes;

pub use self::{
    signed::{BODY_BYTES_MAX, Signed, SignedRoutes, TRANSACTION_BYTES_MAX},
    state::FederationState,
    transactions::Transactions,
};

/// The server-server API over `state`. Unknown paths are left to the listener's fallback.
pub fn router(state: FederationState) -> Router {
    routes().into_router(state)
}

/// Every endpoint of the server-server API.
pub fn routes() -> Routes<FederationState> {
    keys::routes()
        .merge(version::routes())
        .merge(transactions::routes())
        .merge(membership::routes())
        .merge(events::routes())
        .merge(attestation::routes())
        .merge(audit::routes())
        .merge(directory::routes())
        .merge(hierarchy::routes())
        .merge(media::routes())
        .merge(openid::routes())
        .merge(policy::routes())
        .merge(profile::routes())
        .merge(query::routes())
        .merge(third_party::routes())
        .merge(well_known::routes())
        .merge(user_devices::routes())
        .merge(user_keys::routes())
}
