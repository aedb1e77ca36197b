//! `POST /_matrix/client/v3/register` and `GET .../register/m.login.registration_token/validity`
//! (client-server API, sections "Account registration" and "Token-authenticated registration").

use axum::{Json, extract::State};
use http::StatusCode;
use ruma::{
    OwnedDeviceId, OwnedServerName, OwnedUserId, UserId,
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
use wardroom_accounts::{
    AccountError, Accounts, NewUser, Registered, RegistrationWish, Remembered, Session, UiaBinding, UiaOutcome,
};
use wardroom_web::{ApiError, Class, Reply, Routes, Ruma};
use zeroize::Zeroizing;

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
            let login = RegistrationWish { inhibit_login: false, ..wish_of(&body) };
            state.accounts.register(NewUser::guest(), login.login().as_ref()).await?
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
    let dialogue = body.auth.as_ref().and_then(|auth| auth.session());
    let mut wish = wish_of(body);
    match dialogue.and_then(|dialogue| accounts.remembered_registration(dialogue)) {
        Some(Remembered { wish: before, registered: Some(user) }) => {
            return registered_before(state, &user, wish, before).await;
        }
        Some(Remembered { wish: before, registered: None }) => wish = wish.or(before),
        None => {}
    }
    let guest = match &body.guest_access_token {
        Some(token) => Some(guest(state, wish.username.as_deref(), token).await?),
        None => None,
    };
    // What cannot work is said before the dialogue, not after it.
    if let (Some(name), None) = (&wish.username, &guest) {
        accounts.check_username(name).await?;
    }
    if let Some(password) = &wish.password {
        Accounts::check_password(password)?;
    }
    if body.auth.is_some() && wish.password.is_none() {
        return Err(ApiError::missing_param("`password` is missing."));
    }
    // Clients ask for the flows before somebody has typed a name; once there is one, the dialogue is about that name.
    let binding = |name: Option<&str>| UiaBinding::new("POST /register", None, &name);
    let binding = binding(wish.username.as_deref()).or_begun_with(binding(None));
    if let UiaOutcome::Challenge(info) = accounts.interactive_auth(binding, flows, None, body.auth.as_ref()).await? {
        if let Some(dialogue) = &info.session {
            accounts.remember_registration(dialogue, wish);
        }
        return Err(ApiError::Uiaa(info));
    }
    let registered = make_user_of(accounts, guest.as_ref(), &wish, body.auth.as_ref()).await?;
    if let Some(dialogue) = dialogue {
        // Who asks again is to be signed in on the same device.
        let device_id = registered.login.as_ref().map(|login| login.device.clone());
        accounts.note_registered(dialogue, binding, RegistrationWish { device_id, ..wish }, &registered.user.id);
    }
    Ok(registered)
}

/// Makes the user, and spends the token with which they were let register.
async fn make_user_of(
    accounts: &Accounts,
    guest: Option<&Session>,
    wish: &RegistrationWish,
    auth: Option<&AuthData>,
) -> Result<Registered, ApiError> {
    let Some(AuthData::RegistrationToken(auth)) = auth else { return make_user(accounts, guest, wish).await };
    if !accounts.spend_registration_token(&auth.token).await? {
        // Somebody else used it up since it was looked at.
        return Err(ApiError::forbidden("The registration token is not valid any more."));
    }
    let registered = make_user(accounts, guest, wish).await;
    if registered.is_err() {
        accounts.unspend_registration_token(&auth.token).await?;
    }
    registered
}

async fn make_user(
    accounts: &Accounts,
    guest: Option<&Session>,
    wish: &RegistrationWish,
) -> Result<Registered, ApiError> {
    let login = wish.login();
    let password = wish.password.as_ref().map(|password| password.as_str());
    if let (Some(guest), Some(password)) = (guest, password) {
        return Ok(accounts.upgrade_guest(&guest.user, password, login.as_ref()).await?);
    }
    let localpart = wish.username.as_deref();
    let new = NewUser { localpart, password, admin: false, guest: false, display_name: None };
    Ok(accounts.register(new, login.as_ref()).await?)
}

/// Answers a client that did not get the answer to its registration, and asks again with the same session: as if it
/// signed in with the password that it has chosen.
async fn registered_before(
    state: &ClientState,
    user: &UserId,
    wish: RegistrationWish,
    before: RegistrationWish,
) -> Result<Registered, ApiError> {
    let accounts = &state.accounts;
    let named = wish.username.as_deref().map(|name| accounts.typed_user(name));
    if named.is_some_and(|named| named.as_deref() != Some(user)) {
        let sentence = "auth.session: this authentication was begun for something else.";
        return Err(AccountError::AuthenticatedOtherwise(sentence).into());
    }
    let wish = wish.or(before);
    let password = wish.password.as_ref().map(|password| password.as_str()).unwrap_or_default();
    state.limits.check(Class::LoginFailed, user.as_str())?;
    if !accounts.verify_password(user, password).await? {
        state.limits.take(Class::LoginFailed, user.as_str())?;
        return Err(AccountError::WrongPassword.into());
    }
    let login = match wish.login() {
        Some(login) => Some(accounts.login_as(user, &login).await?),
        None => None,
    };
    let user = accounts.user(user).await?.ok_or(AccountError::UnknownUser)?;
    Ok(Registered { user, login })
}

/// The guest who wants to become an ordinary user. They have to name themselves (section "Guest Access").
async fn guest(state: &ClientState, username: Option<&str>, token: &str) -> Result<Session, ApiError> {
    let session = state.accounts.authenticate(token).await?;
    if !session.guest {
        return Err(ApiError::forbidden("guest_access_token: is not that of a guest."));
    }
    if username != Some(session.user.localpart()) {
        return Err(ApiError::forbidden("username: must be the guest's own name."));
    }
    Ok(session)
}

fn wish_of(body: &Request) -> RegistrationWish {
    RegistrationWish {
        username: body.username.clone(),
        password: body.password.clone().map(Zeroizing::new),
        device_id: body.device_id.clone(),
        device_name: body.initial_device_display_name.clone(),
        refresh: body.refresh_token,
        inhibit_login: body.inhibit_login,
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
