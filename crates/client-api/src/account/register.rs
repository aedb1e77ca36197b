//! `POST /_matrix/client/v3/register` and `GET .../register/m.login.registration_token/validity`
//! (client-server API, sections "Account registration" and "Token-authenticated registration").

use axum::{Json, extract::State};
use http::StatusCode;
use ruma::{
    OwnedDeviceId, OwnedServerName, OwnedUserId,
    api::{
        client::{
            account::{
                check_registration_token_validity,
                register::{RegistrationKind, v3::Request},
            },
            uiaa::{AuthData, AuthType},
        },
        error::ErrorKind,
    },
};
use serde::Serialize;
use wardroom_accounts::{AccountError, Accounts, LoginRequest, NewUser, Registered, Session, UiaBinding, UiaOutcome};
use wardroom_web::{ApiError, Class, Reply, Routes, Ruma};

use crate::ClientState;

pub(crate) fn routes() -> Routes<ClientState> {
    Routes::new().endpoint(register).endpoint(check_registration_token_validity)
}

/// Body of the answer. ruma's would have a `device_id` of `null` when nobody signed in, and no `home_server`.
#[derive(Serialize)]
struct Answer {
    user_id: OwnedUserId,
    home_server: OwnedServerName,
    #[serde(flatten)]
    session: Option<NewSession>,
}

#[derive(Serialize)]
struct NewSession {
    device_id: OwnedDeviceId,
    access_token: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in_ms: Option<u64>,
}

async fn register(State(state): State<ClientState>, request: Ruma<Request>) -> Result<Json<Answer>, ApiError> {
    let client_ip = request.client_ip;
    let body = request.body;
    if body.login_type.is_some() {
        let sentence = "`type`: this server has no application services.";
        return Err(ApiError::new(StatusCode::BAD_REQUEST, ErrorKind::Unknown, sentence));
    }
    let registered = match body.kind {
        RegistrationKind::Guest => {
            state.limits.take(Class::Registration, client_ip)?;
            state.accounts.register(NewUser::guest(), Some(&login_of(&body))).await?
        }
        RegistrationKind::User => {
            // Looking is cheaper than trying: the first request only asks for the flows.
            let class = if body.auth.is_some() { Class::Registration } else { Class::RegistrationQuery };
            state.limits.take(class, client_ip)?;
            register_user(&state, &body).await?
        }
        _ => return Err(ApiError::invalid_param("`kind` must be user or guest.")),
    };
    let session = registered.login.map(|login| NewSession {
        device_id: login.device,
        access_token: login.access_token,
        refresh_token: login.refresh_token,
        expires_in_ms: login.expires_in_ms,
    });
    let home_server = state.settings.server_name.clone();
    Ok(Json(Answer { user_id: registered.user.id, home_server, session }))
}

async fn register_user(state: &ClientState, body: &Request) -> Result<Registered, ApiError> {
    let accounts = &state.accounts;
    let flows = accounts.registration_flows().ok_or(AccountError::RegistrationClosed)?;
    let guest = match &body.guest_access_token {
        Some(token) => Some(guest(state, body, token).await?),
        None => None,
    };
    // What cannot work is said before the dialogue, not after it.
    if let (Some(name), None) = (&body.username, &guest) {
        accounts.check_username(name).await?;
    }
    if let Some(password) = &body.password {
        Accounts::check_password(password)?;
    }
    if body.auth.is_some() && body.password.is_none() {
        return Err(ApiError::missing_param("`password` is missing."));
    }
    // Clients ask for the flows before somebody has typed a name; once there is one, the dialogue is about that name.
    let binding = |name: Option<&str>| UiaBinding::new("POST /register", None, &name);
    let binding = binding(body.username.as_deref()).or_begun_with(binding(None));
    if let UiaOutcome::Challenge(info) = accounts.interactive_auth(binding, flows, None, body.auth.as_ref()).await? {
        return Err(ApiError::Uiaa(info));
    }
    let token = match &body.auth {
        Some(AuthData::RegistrationToken(auth)) => Some(auth.token.as_str()),
        _ => None,
    };
    if let Some(token) = token
        && !accounts.spend_registration_token(token).await?
    {
        // Somebody else used it up since it was looked at.
        return Err(ApiError::forbidden("The registration token is not valid any more."));
    }
    let registered = make_user(accounts, body, guest.as_ref()).await;
    if let (Err(_), Some(token)) = (&registered, token) {
        accounts.unspend_registration_token(token).await?;
    }
    Ok(registered?)
}

async fn make_user(accounts: &Accounts, body: &Request, guest: Option<&Session>) -> Result<Registered, AccountError> {
    let login = login_of(body);
    let login = (!body.inhibit_login).then_some(&login);
    if let (Some(guest), Some(password)) = (guest, &body.password) {
        return accounts.upgrade_guest(&guest.user, password, login).await;
    }
    let new = NewUser {
        localpart: body.username.as_deref(),
        password: body.password.as_deref(),
        admin: false,
        guest: false,
        display_name: None,
    };
    accounts.register(new, login).await
}

/// The guest who wants to become an ordinary user. They have to name themselves (section "Guest Access").
async fn guest(state: &ClientState, body: &Request, token: &str) -> Result<Session, ApiError> {
    let session = state.accounts.authenticate(token).await?;
    if !session.guest {
        return Err(ApiError::forbidden("guest_access_token: is not that of a guest."));
    }
    if body.username.as_deref() != Some(session.user.localpart()) {
        return Err(ApiError::forbidden("username: must be the guest's own name."));
    }
    Ok(session)
}

fn login_of(body: &Request) -> LoginRequest<'_> {
    LoginRequest {
        device_id: body.device_id.as_deref(),
        display_name: body.initial_device_display_name.as_deref(),
        refresh: body.refresh_token,
    }
}

async fn check_registration_token_validity(
    State(state): State<ClientState>,
    request: Ruma<check_registration_token_validity::v1::Request>,
) -> Result<Reply<check_registration_token_validity::v1::Response>, ApiError> {
    state.limits.take(Class::RegistrationQuery, request.client_ip)?;
    let flows = state.accounts.registration_flows().unwrap_or_default();
    if !flows.iter().any(|flow| flow.stages.contains(&AuthType::RegistrationToken)) {
        return Err(AccountError::RegistrationClosed.into());
    }
    let valid = state.accounts.admits_registration(&request.body.token).await?;
    Ok(Reply(check_registration_token_validity::v1::Response::new(valid)))
}
