//! `POST /_matrix/client/v3/account/password` (client-server API, section "Password management").

use axum::extract::State;
use ruma::api::client::account::change_password::v3::{Request, Response};
use wardroom_accounts::{AccountError, Accounts, LogoutDevices};
use wardroom_web::{ApiError, Reply, Routes, Ruma};

use super::interactive_auth::{has_only_single_sign_on, require_password};
use crate::ClientState;

pub(crate) fn routes() -> Routes<ClientState> {
    Routes::new().endpoint(change_password)
}

async fn change_password(
    State(state): State<ClientState>,
    request: Ruma<Request>,
) -> Result<Reply<Response>, ApiError> {
    // Without a token only an e-mail address could tell whose password this is, and this server has none.
    let session = request.session.ok_or_else(ApiError::missing_token)?;
    let Request { new_password, logout_devices, auth, .. } = request.body;
    if session.guest {
        return Err(AccountError::GuestForbidden.into());
    }
    // A password of their own would be a way around the identity provider, and around what it demands.
    if has_only_single_sign_on(&state, &session).await? {
        let sentence = "You sign in with an identity provider: the password is changed there.";
        return Err(ApiError::forbidden(sentence));
    }
    Accounts::check_password(&new_password)?;
    let parameters = (&new_password, logout_devices);
    require_password(&state, &session, "POST /account/password", &parameters, auth.as_ref()).await?;
    let logout = if logout_devices { LogoutDevices::AllBut(Some(&session.device)) } else { LogoutDevices::Keep };
    state.accounts.set_password(&session.user, &new_password, logout).await?;
    Ok(Reply(Response::new()))
}
