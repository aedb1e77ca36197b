//! `GET` and `POST /_matrix/client/v3/login` (client-server API, section "Login").

use std::time::Duration;

use axum::{Json, extract::State};
use http::StatusCode;
use ruma::api::{
    client::{
        session::{
            get_login_types::{
                self,
                v3::{LoginType, PasswordLoginType, TokenLoginType},
            },
            login::v3::{LoginInfo, Password, Request, Response},
        },
        uiaa::UserIdentifier,
    },
    error::ErrorKind,
};
use serde_json::{Value, json};
use wardroom_accounts::{AccountError, Login, LoginRequest};
use wardroom_sso::{ProviderSettings, Sso};
use wardroom_web::{ApiError, Class, Reply, Routes, Ruma};

use crate::ClientState;

pub(crate) fn routes() -> Routes<ClientState> {
    Routes::new().endpoint(get_login_types).endpoint(login)
}

async fn get_login_types(
    State(state): State<ClientState>,
    _request: Ruma<get_login_types::v3::Request>,
) -> Result<Json<Value>, ApiError> {
    let password = LoginType::Password(PasswordLoginType::new());
    let mut token = TokenLoginType::new();
    token.get_login_token = true;
    let flows = [password, LoginType::Token(token)].map(|flow| json!(flow)).into_iter();
    let flows: Vec<Value> = flows.chain(state.sso.as_ref().map(single_sign_on)).collect();
    Ok(Json(json!({ "flows": flows })))
}

/// The providers, as buttons. By hand: ruma writes `null` for what a button does not have.
fn single_sign_on(sso: &Sso) -> Value {
    let button = |provider: &ProviderSettings| {
        let mut button = json!({ "id": provider.id, "name": provider.name });
        if let Some(icon) = &provider.icon {
            button["icon"] = json!(icon);
        }
        if let Some(brand) = &provider.brand {
            button["brand"] = json!(brand);
        }
        button
    };
    json!({ "type": "m.login.sso", "identity_providers": sso.providers().map(button).collect::<Vec<_>>() })
}

async fn login(State(state): State<ClientState>, request: Ruma<Request>) -> Result<Reply<Response>, ApiError> {
    let password = match &request.body.login_info {
        LoginInfo::Password(password) => password,
        LoginInfo::Token(token) => {
            state.limits.take(Class::Login, request.client_ip)?;
            let login = state.accounts.login_with_token(&token.token, &asked(&request.body)).await?;
            return Ok(Reply(answer(&state, login)));
        }
        _ => {
            let sentence = "`type` is not a known way to log in.";
            return Err(ApiError::new(StatusCode::BAD_REQUEST, ErrorKind::Unknown, sentence));
        }
    };
    let name = user_name(password)?;
    // By the account that is meant, however it is written.
    let account = state.accounts.typed_user(name).map_or_else(|| name.to_owned(), |user| user.as_str().to_owned());
    state.limits.take(Class::Login, request.client_ip)?;
    state.limits.take(Class::Login, account.as_str())?;
    state.limits.check(Class::LoginFailed, account.as_str())?;
    let login = asked(&request.body);
    let login = match state.accounts.login_with_password(name, &password.password, &login).await {
        Ok(login) => login,
        Err(error) => {
            if matches!(error, AccountError::WrongPassword) {
                state.limits.take(Class::LoginFailed, account.as_str())?;
            }
            return Err(error.into());
        }
    };
    Ok(Reply(answer(&state, login)))
}

fn asked(body: &Request) -> LoginRequest<'_> {
    LoginRequest {
        device_id: body.device_id.as_deref(),
        display_name: body.initial_device_display_name.as_deref(),
        refresh: body.refresh_token,
    }
}

fn answer(state: &ClientState, login: Login) -> Response {
    let mut response = Response::new(login.user, login.access_token, login.device);
    response.refresh_token = login.refresh_token;
    response.expires_in = login.expires_in_ms.map(Duration::from_millis);
    #[expect(deprecated, reason = "clients of the time before r0.4 read it")]
    {
        response.home_server = Some(state.settings.server_name.clone());
    }
    response
}

/// What somebody typed as their name.
fn user_name(password: &Password) -> Result<&str, ApiError> {
    match &password.identifier {
        Some(UserIdentifier::Matrix(identifier)) => Ok(&identifier.user),
        Some(_) => {
            let sentence = "`identifier.type` must be m.id.user: this server knows no other names of its users.";
            Err(ApiError::new(StatusCode::BAD_REQUEST, ErrorKind::Unknown, sentence))
        }
        None => {
            #[expect(deprecated, reason = "clients of the time before r0.4 send it")]
            let user = password.user.as_deref();
            user.ok_or_else(|| ApiError::bad_json("`identifier` is missing."))
        }
    }
}
