//! `GET /_matrix/client/v3/register/available` (client-server API, section "Account registration").

use axum::extract::State;
use ruma::api::client::account::get_username_availability::v3::{Request, Response};
use wardroom_accounts::AccountError;
use wardroom_web::{ApiError, Class, Reply, Routes, Ruma};

use crate::ClientState;

pub(crate) fn routes() -> Routes<ClientState> {
    Routes::new().endpoint(get_username_availability)
}

async fn get_username_availability(
    State(state): State<ClientState>,
    request: Ruma<Request>,
) -> Result<Reply<Response>, ApiError> {
    state.limits.take(Class::RegistrationQuery, request.client_ip)?;
    // Where nobody can register, nobody needs to know which names exist.
    if state.accounts.registration_flows().is_none() {
        return Err(AccountError::RegistrationClosed.into());
    }
    state.accounts.check_username(&request.body.username).await?;
    Ok(Reply(Response::new(true)))
}
