//! The password again, before something that cannot be undone (client-server API, section "User-Interactive
//! Authentication API").

use ruma::api::client::uiaa::AuthData;
use serde::Serialize;
use wardroom_accounts::{Session, UiaBinding, UiaOutcome};
use wardroom_web::{ApiError, Class};

use crate::ClientState;

/// Goes on when the caller has proved that they know the password, for this operation with these parameters.
///
/// # Errors
/// 401 with what the client has to do next.
pub(crate) async fn require_password(
    state: &ClientState,
    session: &Session,
    operation: &str,
    parameters: &impl Serialize,
    auth: Option<&AuthData>,
) -> Result<(), ApiError> {
    let binding = UiaBinding::new(operation, Some(session.nid), parameters);
    let flows = state.accounts.password_flows();
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
