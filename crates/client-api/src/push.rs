//! Push notifications: where they are sent to, and which there were (client-server API, section "Push Notifications").
//! The rules are among what belongs to the account.

mod notifications;
mod pushers;

use wardroom_push::PushError;
use wardroom_web::{ApiError, Routes};

use crate::{
    ClientState,
    error::{of_audit, of_room},
};

/// Every endpoint of this module.
pub(crate) fn routes() -> Routes<ClientState> {
    pushers::routes().merge(notifications::routes())
}

fn of_push(error: PushError) -> ApiError {
    match error {
        PushError::Invalid { .. } => ApiError::invalid_param(format!("{error}.")),
        PushError::Rooms(error) => of_room(error),
        PushError::Accounts(error) => error.into(),
        PushError::Audit(error) => of_audit(error),
        failure => ApiError::internal(&failure),
    }
}
