//! The password again, or single sign-on, before something that cannot be undone (client-server API, section
//! "User-Interactive Authentication API").

use ruma::api::client::uiaa::{AuthData, AuthType};
use serde::Serialize;
use wardroom_accounts::{Session, UiaBinding, UiaOutcome};
use wardroom_sso::Sso;
use wardroom_web::{ApiError, Class};

use crate::ClientState;

/// Whether the caller has no password, because an identity provider says who they are.
pub(super) async fn has_only_single_sign_on(state: &ClientState, session: &Session) -> Result<bool, ApiError> {
    let Some(sso) = &state.sso else { return Ok(false) };
    let flows = state.accounts.reauthentication_flows(session.nid, &sso.issuers()).await?;
    Ok(flows.iter().all(|flow| !flow.stages.contains(&AuthType::Password)))
}

/// Goes on when the caller has proved again who they are, by password or single sign-on, for this operation with these parameters.
///
/// # Errors
/// 401 with what the client has to do next.
pub(crate) async fn require_password(
    state: &ClientState,
    session: &Session,
    operation: &'static str,
    parameters: &impl Serialize,
    auth: Option<&AuthData>,
) -> Result<(), ApiError> {
    let binding = UiaBinding::new(operation, Some(session.nid), parameters);
    let issuers = state.sso.as_ref().map(Sso::issuers).unwrap_or_default();
    let flows = state.accounts.reauthentication_flows(session.nid, &issuers).await?;
    if auth.is_some() {
        // A stolen token must not be a way to guess passwords.
        state.limits.check(Class::LoginFailed, session.user.as_str())?;
    }
    match state.accounts.interactive_auth(binding, flows, Some(&session.user), auth).await? {
        UiaOutcome::Complete => Ok(()),
        UiaOutcome::Challenge(info) => {
            if info.auth_error.is_some() {
                state.limits.take(Class::LoginFailed, session.user.as_str())?;
            }
            Err(ApiError::Uiaa(info))
        }
    }
}
