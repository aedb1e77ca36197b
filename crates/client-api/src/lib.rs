//! The client-server API: thin handlers that extract a request, call one service and answer.
//!
//! One endpoint is one function `(State<ClientState>, Ruma<T>) -> Result<Reply<_>, ApiError>`, listed in the
//! `routes()` of its module. What is not listed answers `404 M_UNRECOGNIZED`; there are no placeholders.

mod account;
mod caller;
mod calls;
mod dehydrated_device;
mod delayed_events;
mod discovery;
mod encryption;
mod error;
mod media;
mod moderation;
mod presence;
mod push;
mod retention;
mod room;
mod room_keys;
mod same_endpoint;
mod sights;
mod sliding_sync;
mod state;
mod sync;
mod user_directory;

use axum::Router;
use wardroom_web::Routes;

pub use self::{
    calls::{TurnCredentials, TurnServers},
    media::{MediaState, routes as media_routes},
    state::{ClientSettings, ClientState, DelayedEventLimits, Support},
};

/// The client-server API over `state`. Unknown paths are left to the listener's fallback.
pub fn router(state: ClientState) -> Router {
    routes().into_router(state)
}

/// The content repository over `state`: the part of the client-server API that a listener may serve apart.
pub fn media_router(state: MediaState) -> Router {
    media_routes().into_router(state)
}

/// Every endpoint of the client-server API, but for those of the content repository.
pub fn routes() -> Routes<ClientState> {
    discovery::routes()
        .merge(account::routes())
        .merge(room::routes())
        .merge(sync::routes())
        .merge(sliding_sync::routes())
        .merge(push::routes())
        .merge(user_directory::routes())
        .merge(encryption::routes())
        .merge(room_keys::routes())
        .merge(dehydrated_device::routes())
        .merge(presence::routes())
        .merge(calls::routes())
        .merge(delayed_events::routes())
        .merge(moderation::routes())
        .merge(retention::routes())
}
