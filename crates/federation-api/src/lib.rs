//! The server-server API: thin handlers that authenticate a server, extract a request, call one service and answer.
//!
//! One endpoint is one function `(State<FederationState>, Signed<T>) -> Result<Reply<_>, ApiError>`, listed in the
//! `routes()` of its module. What is not listed answers `404 M_UNRECOGNIZED`; there are no placeholders.

mod signed;
mod state;

use axum::Router;
use wardroom_web::Routes;

pub use self::{signed::Signed, state::FederationState};

/// The server-server API over `state`. Unknown paths are left to the listener's fallback.
pub fn router(state: FederationState) -> Router {
    routes().into_router(state)
}

/// Every endpoint of the server-server API.
pub fn routes() -> Routes<FederationState> {
    Routes::new()
}
