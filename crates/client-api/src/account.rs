//! The account of a user: registration, login, devices, profile, account data, filters, push rules.
//!
//! Everything here works on the caller's own account; where a path names a user, `owner` refuses any other.

mod account_data;
mod capabilities;
mod change_password;
mod deactivate;
mod devices;
mod filter;
mod get_login_token;
mod interactive_auth;
mod login;
mod logout;
mod openid;
mod profile;
mod pushrules;
mod refresh_token;
mod register;
mod sso;
mod tags;
mod third_parties;
mod username_availability;
mod whoami;

use wardroom_web::{ApiError, Routes};

pub(crate) use self::interactive_auth::require_password;
use crate::{
    ClientState,
    caller::{actor, owner},
    error,
};

/// Every endpoint of this module.
pub(crate) fn routes() -> Routes<ClientState> {
    login::routes()
        .merge(register::routes())
        .merge(username_availability::routes())
        .merge(refresh_token::routes())
        .merge(logout::routes())
        .merge(whoami::routes())
        .merge(change_password::routes())
        .merge(deactivate::routes())
        .merge(devices::routes())
        .merge(profile::routes())
        .merge(account_data::routes())
        .merge(tags::routes())
        .merge(filter::routes())
        .merge(pushrules::routes())
        .merge(capabilities::routes())
        .merge(openid::routes())
        .merge(third_parties::routes())
        .merge(get_login_token::routes())
        .merge(sso::routes())
}

/// The number of a room that this server knows, for what an account keeps per room.
async fn room_number(state: &ClientState, room: &ruma::RoomId) -> Result<u64, ApiError> {
    let view = state.rooms.view(room).await.map_err(error::of_room)?;
    view.map(|view| view.nid.get()).ok_or_else(|| ApiError::not_found("This server does not know the room."))
}
