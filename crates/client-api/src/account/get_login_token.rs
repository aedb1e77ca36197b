//! `POST /login/get_token`
//! ([spec](https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv1loginget_token)).

use axum::extract::State;
use ruma::api::client::session::get_login_token::v1::{Request, Response};
use wardroom_accounts::LOGIN_TOKEN_LIFETIME;
use wardroom_web::{ApiError, Class, Reply, Routes, Ruma};

use super::interactive_auth::require_password;
use crate::ClientState;

pub(crate) fn routes() -> Routes<ClientState> {
    Routes::new().endpoint(get_login_token)
}

/// Asks for the password again: a token that was found lying about must not make more of its kind.
async fn get_login_token(
    State(state): State<ClientState>,
    Ruma { body: request, session, .. }: Ruma<Request>,
) -> Result<Reply<Response>, ApiError> {
    state.limits.take(Class::Account, session.nid)?;
    require_password(&state, &session, "POST /login/get_token", &(), request.auth.as_ref()).await?;
    let token = state.accounts.new_login_token(&session);
    Ok(Reply(Response::new(LOGIN_TOKEN_LIFETIME, token)))
}
