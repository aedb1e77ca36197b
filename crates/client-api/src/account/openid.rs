//! `POST /user/{userId}/openid/request_token`
//! ([spec](https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3useruseridopenidrequest_token)).

use axum::extract::State;
use ruma::{
    api::client::account::request_openid_token::v3::{Request, Response},
    authentication::TokenType,
};
use wardroom_accounts::OPENID_TOKEN_LIFETIME;
use wardroom_web::{ApiError, Class, Reply, Routes, Ruma};

use super::owner;
use crate::ClientState;

pub(crate) fn routes() -> Routes<ClientState> {
    Routes::new().endpoint(request_openid_token)
}

async fn request_openid_token(
    State(state): State<ClientState>,
    Ruma { body: request, session, .. }: Ruma<Request>,
) -> Result<Reply<Response>, ApiError> {
    owner(&session, &request.user_id)?;
    state.limits.take(Class::Account, session.nid)?;
    let token = state.accounts.new_openid_token(&session);
    let server = state.settings.server_name.clone();
    Ok(Reply(Response::new(token, TokenType::Bearer, server, OPENID_TOKEN_LIFETIME)))
}
