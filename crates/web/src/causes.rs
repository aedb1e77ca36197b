//! Errors of the accounts and of the store, in the specification's codes. The one place that maps them.

use std::time::Duration;

use http::StatusCode;
use ruma::api::error::ErrorKind;
use wardroom_accounts::{AccountError, TokenError};
use wardroom_store::{CommitError, ReadError};

use crate::ApiError;

/// When to come back after a moment of overload.
const BUSY_RETRY: Duration = Duration::from_secs(2);

impl From<AccountError> for ApiError {
    fn from(error: AccountError) -> Self {
        let sentence = error.to_string();
        let bad = |kind| Self::new(StatusCode::BAD_REQUEST, kind, sentence.clone());
        let forbidden = |kind| Self::new(StatusCode::FORBIDDEN, kind, sentence.clone());
        match error {
            AccountError::InvalidUsername(_) => bad(ErrorKind::InvalidUsername),
            AccountError::UserInUse => bad(ErrorKind::UserInUse),
            AccountError::UnknownUser | AccountError::UnknownDevice | AccountError::UnknownPushRule => {
                Self::not_found(sentence)
            }
            AccountError::Locked => Self::locked(),
            AccountError::Deactivated => forbidden(ErrorKind::UserDeactivated),
            AccountError::WrongPassword
            | AccountError::UnknownLoginToken
            | AccountError::RegistrationClosed
            | AccountError::NotLinked
            | AccountError::OwnUser
            | AccountError::AuthenticatedOtherwise(_) => forbidden(ErrorKind::Forbidden),
            AccountError::UnusablePassword(_) => bad(ErrorKind::WeakPassword),
            AccountError::GuestsClosed | AccountError::GuestForbidden => forbidden(ErrorKind::GuestAccessForbidden),
            AccountError::ProfileTooLarge => bad(ErrorKind::ProfileTooLarge),
            AccountError::ProfileKeyTooLarge => bad(ErrorKind::KeyTooLarge),
            AccountError::UnknownRefreshToken => Self::unknown_token(false),
            AccountError::ExpiredRefreshToken => Self::unknown_token(true),
            AccountError::Limit { .. } => Self::too_large(sentence),
            AccountError::Invalid { .. } | AccountError::InvalidPushRule(_) => Self::invalid_param(sentence),
            // "This type of account data is controlled by the server" is 405 M_BAD_JSON in the specification.
            AccountError::ReservedAccountData => {
                Self::new(StatusCode::METHOD_NOT_ALLOWED, ErrorKind::BadJson, sentence)
            }
            AccountError::Malformed { .. } => Self::bad_json(sentence),
            AccountError::OneTimeKeyExists { .. } => Self::invalid_param(sentence),
            // A code that ruma has no type for.
            AccountError::InvalidSignature(_) => Self::json(
                StatusCode::BAD_REQUEST,
                serde_json::json!({ "errcode": "M_INVALID_SIGNATURE", "error": sentence }),
            ),
            AccountError::NoMasterKey => Self::missing_param(sentence),
            AccountError::KeyIdInUse => forbidden(ErrorKind::Forbidden),
            AccountError::SharedSecretDisabled | AccountError::UnknownNonce => bad(ErrorKind::Unknown),
            AccountError::IdentityInUse => Self::new(StatusCode::CONFLICT, ErrorKind::ThreepidInUse, sentence),
            AccountError::WrongMac => forbidden(ErrorKind::Unknown),
            AccountError::Busy | AccountError::Contended => Self::limit_exceeded(BUSY_RETRY),
            AccountError::Read(error) => error.into(),
            AccountError::Commit(error) => error.into(),
            AccountError::Settings(_) | AccountError::Stopped | AccountError::Damaged(_) => Self::internal(&error),
        }
    }
}

impl From<TokenError> for ApiError {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Unknown => Self::unknown_token(false),
            TokenError::Locked => Self::locked(),
            TokenError::Expired => Self::unknown_token(true),
            TokenError::Account(error) => error.into(),
        }
    }
}

impl From<CommitError> for ApiError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::DiskFull => Self::disk_full(),
            CommitError::TooLarge => Self::too_large("The request would change too much at once."),
            other => Self::internal(&other),
        }
    }
}

impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> Self {
        Self::internal(&error)
    }
}
