//! `/_matrix/client/v3/room_keys/...`: key backups (client-server API, section "Server-side key backups").

mod keys;
mod listing;
mod version;

use http::StatusCode;
use ruma::api::error::{ErrorKind, WrongRoomKeysVersionErrorData};
use wardroom_accounts::BackupError;
use wardroom_web::{ApiError, Routes};

use crate::ClientState;

/// Every endpoint of this module.
pub(crate) fn routes() -> Routes<ClientState> {
    version::routes().merge(keys::routes())
}

/// What a client is told of a failure with its backup.
fn refusal(error: BackupError) -> ApiError {
    let sentence = error.to_string();
    match error {
        BackupError::NoBackup | BackupError::UnknownVersion => ApiError::not_found(sentence),
        BackupError::WrongVersion { current } => {
            let data = WrongRoomKeysVersionErrorData::new(current);
            ApiError::new(StatusCode::FORBIDDEN, ErrorKind::WrongRoomKeysVersion(data), sentence)
        }
        BackupError::Account(error) => error.into(),
    }
}

/// A count of keys on the wire.
fn count(count: u64) -> ruma::UInt {
    ruma::UInt::try_from(count).unwrap_or(ruma::UInt::MAX)
}
