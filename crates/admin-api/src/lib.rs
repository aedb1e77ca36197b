//! The admin API: what operators and their scripts do with the server over HTTP.
//!
//! So far the registration with a shared secret and server notices, at the paths and in the shapes that existing scripts
//! know, the graphs of rooms, which servers may take part, and how sending to them fares.

mod federation_destinations;
mod federation_policy;
mod notices;
mod register;
mod room_graph;
mod send_server_notice;

use std::sync::Arc;

use axum::Router;
use wardroom_accounts::Accounts;
use wardroom_federation::Federation;
use wardroom_rooms::Rooms;
use wardroom_web::{ApiState, RateLimits, Routes};

pub use self::notices::{Notice, NoticeError, NoticeSettings, Notices};

/// The services, as every handler receives them. Clones are cheap: everything inside is shared.
#[derive(Clone, Debug)]
pub struct AdminState {
    /// Users, devices, tokens.
    pub accounts: Accounts,
    /// The rooms.
    pub rooms: Rooms,
    /// Other servers, where this one speaks to any.
    pub federation: Option<Federation>,
    /// Rate limits, one set for all listeners.
    pub limits: Arc<RateLimits>,
    /// Notices to users, where the operator wants any.
    pub notices: Option<Notices>,
}

impl ApiState for AdminState {
    fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    fn limits(&self) -> &RateLimits {
        &self.limits
    }
}

/// The admin API over `state`. Unknown paths are left to the listener's fallback.
pub fn router(state: AdminState) -> Router {
    routes().into_router(state)
}

/// Every endpoint of the admin API.
pub fn routes() -> Routes<AdminState> {
    register::routes()
        .merge(room_graph::routes())
        .merge(send_server_notice::routes())
        .merge(federation_policy::routes())
        .merge(federation_destinations::routes())
}
