//! Why a request of the directory is not done, in the terms of RFC 7644, section 3.12.

use wardroom_accounts::AccountError;
use wardroom_care::CareError;
use wardroom_rooms::RoomError;
use wardroom_store::{CommitError, ReadError};

/// Why a request is not done.
#[derive(Debug, thiserror::Error)]
pub enum ScimError {
    /// The filter is malformed, too long or too deep, or compares what cannot be compared.
    #[error("filter: {0}")]
    InvalidFilter(String),
    /// Too much is asked for at once.
    #[error("{0}")]
    TooMany(String),
    /// Somebody else has this name.
    #[error("{0}")]
    Uniqueness(String),
    /// An attribute that only the server sets.
    #[error("{0}")]
    Mutability(String),
    /// The body is no JSON, or not of the form that the request has.
    #[error("{0}")]
    InvalidSyntax(String),
    /// A path that names no attribute.
    #[error("path: {0}")]
    InvalidPath(String),
    /// A path whose target is not there.
    #[error("path: {0}")]
    NoTarget(String),
    /// An attribute is missing, or its value is of a wrong type, too long or not acceptable here.
    #[error("{0}")]
    InvalidValue(String),
    /// There is no such resource.
    #[error("There is no such resource.")]
    NotFound,
    /// The resource is not at the version that the request names.
    #[error("If-Match: the resource has another version by now.")]
    Precondition,
    /// The account could not be changed.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// The roles could not be changed.
    #[error(transparent)]
    Care(#[from] CareError),
    /// The rooms of a user could not be read.
    #[error(transparent)]
    Room(#[from] RoomError),
    /// A stored row does not make sense.
    #[error("stored {0} is damaged")]
    Damaged(&'static str),
    /// Reading failed.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Writing failed.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

impl ScimError {
    /// The status of the answer, and the `scimType` where the RFC has one.
    pub fn code(&self) -> (u16, Option<&'static str>) {
        match self {
            Self::InvalidFilter(_) => (400, Some("invalidFilter")),
            Self::TooMany(_) => (400, Some("tooMany")),
            Self::Uniqueness(_) => (409, Some("uniqueness")),
            Self::Mutability(_) => (400, Some("mutability")),
            Self::InvalidSyntax(_) => (400, Some("invalidSyntax")),
            Self::InvalidPath(_) => (400, Some("invalidPath")),
            Self::NoTarget(_) => (400, Some("noTarget")),
            Self::InvalidValue(_) | Self::Account(AccountError::InvalidUsername(_)) => (400, Some("invalidValue")),
            Self::NotFound => (404, None),
            Self::Precondition => (412, None),
            Self::Account(_) | Self::Care(_) | Self::Room(_) | Self::Damaged(_) | Self::Read(_) | Self::Commit(_) => {
                (500, None)
            }
        }
    }
}
