//! The client-server API: thin handlers that extract a request, call one service and answer.
//!
//! One endpoint is one function `(State<ClientState>, Ruma<T>) -> Result<Reply<_>, ApiError>`, listed in the
//! `routes()` of its module. What is not listed answers `404 M_UNRECOGNIZED`; there are no placeholders.

mod account;
mod caller;
mod dehydrated_device;
mod discovery;
mod encryption;
mod error;
mod push;
mod room;
mod room_keys;
mod sliding_sync;
mod state;
mod sync;
mod user_directory;

use axum::Router;
use wardroom_web::Routes;

pub use self::state::{ClientSettings, ClientState, Support};

/// The client-server API over `state`. Unknown paths are left to the listener's fallback.
pub fn router(state: ClientState) -> Router {
    routes().into_router(state)
}

/// Every endpoint of the client-server API.
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
}
