//! Who calls, as the services know them.

use http::StatusCode;
use ruma::{UserId, api::error::ErrorKind};
use wardroom_accounts::Session;
use wardroom_rooms::{Actor, UserNid};
use wardroom_web::ApiError;

/// The caller, as the room engine knows users.
pub(crate) fn actor(session: &Session) -> Actor<'_> {
    Actor {
        user: &session.user,
        nid: UserNid::new(session.nid.get()),
        device: Some(&session.device),
        guest: session.guest,
    }
}

/// As [`actor`], for endpoints that guests may not use (client-server API, section "Guest Access").
pub(crate) fn registered(session: &Session) -> Result<Actor<'_>, ApiError> {
    if session.guest {
        let sentence = "Guests cannot do this; register an account first.";
        return Err(ApiError::new(StatusCode::FORBIDDEN, ErrorKind::GuestAccessForbidden, sentence));
    }
    Ok(actor(session))
}

/// Refuses what suspended users may not do (client-server API, section "Account suspension").
pub(crate) fn unsuspended(session: &Session) -> Result<(), ApiError> {
    if session.moderation.suspended {
        let sentence = "You cannot perform this action while suspended.";
        return Err(ApiError::new(StatusCode::FORBIDDEN, ErrorKind::UserSuspended, sentence));
    }
    Ok(())
}

/// Refuses callers who name somebody else in the path.
pub(crate) fn owner(session: &Session, user: &UserId) -> Result<(), ApiError> {
    if session.user == user { Ok(()) } else { Err(ApiError::forbidden("This belongs to another user.")) }
}
