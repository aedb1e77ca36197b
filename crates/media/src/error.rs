//! Why something about media fails.

use std::{io, time::Duration};

use wardroom_holds::HoldId;
use wardroom_store::{CommitError, ReadError};

use crate::seal::Damaged;

/// Why something about media fails. The sentences are for clients; none holds content.
#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    /// There is nothing under this id, or nothing that may be seen.
    #[error("There is no such media on this server.")]
    NotFound,
    /// The id was created, its content has not arrived yet.
    #[error("The content has not been uploaded yet.")]
    NotYetUploaded,
    /// The id has its content already.
    #[error("mediaId: this media has been uploaded already.")]
    AlreadyUploaded,
    /// Somebody else created the id.
    #[error("mediaId: this media id was created by another user.")]
    NotCreator,
    /// The content is longer than it may be.
    #[error("The content is larger than {bytes_max} bytes.")]
    TooLarge {
        /// What is allowed.
        bytes_max: u64,
    },
    /// The content of another server is longer than what is taken from there.
    #[error("The content is larger than the {bytes_max} bytes that this server takes from others.")]
    RemoteTooLarge {
        /// What is taken.
        bytes_max: u64,
    },
    /// The user has stored as much as one user may.
    #[error("Your uploads have reached the limit of {bytes_max} bytes that this server sets for each user.")]
    QuotaReached {
        /// What is allowed.
        bytes_max: u64,
    },
    /// The file name is longer than it may be.
    #[error("filename: it is longer than {chars_max} characters.")]
    FilenameTooLong {
        /// What is allowed.
        chars_max: usize,
    },
    /// A legal hold keeps it from being deleted.
    #[error("The legal hold {0} keeps this from being deleted.")]
    Held(HoldId),
    /// Too much at once; to be tried again.
    #[error("Too much is going on at once.")]
    Busy {
        /// When to try again.
        retry_after: Duration,
    },
    /// The content is no image that thumbnails can be made of.
    #[error("Cannot generate thumbnails for the requested content.")]
    NotAnImage,
    /// The image is too large for a thumbnail.
    #[error("The content is too large to thumbnail.")]
    TooLargeToThumbnail,
    /// This server makes no previews.
    #[error("This server makes no previews of URLs.")]
    PreviewsOff,
    /// No previews are made of this address.
    #[error("url: {0}")]
    InvalidUrl(&'static str),
    /// No previews are made of this address.
    #[error("url: this server makes no previews of this address.")]
    RefusedUrl,
    /// The page could not be read.
    #[error("url: the page could not be read: {0}.")]
    Unreachable(&'static str),
    /// No space for more content.
    #[error("There is no space left for media.")]
    DiskFull,
    /// A file is missing or was changed.
    #[error("a file of the media directory is missing or damaged")]
    Damaged,
    /// The server stops.
    #[error("the work was interrupted")]
    Stopped,
    /// A file cannot be read or written.
    #[error("a file of the media directory cannot be used")]
    Io(#[source] io::Error),
    /// The store cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The store cannot be written.
    #[error(transparent)]
    Commit(CommitError),
}

impl From<io::Error> for MediaError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull,
            _ => Self::Io(error),
        }
    }
}

impl From<CommitError> for MediaError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::DiskFull => Self::DiskFull,
            other => Self::Commit(other),
        }
    }
}

impl From<Damaged> for MediaError {
    fn from(_: Damaged) -> Self {
        Self::Damaged
    }
}

impl From<tokio::task::JoinError> for MediaError {
    fn from(_: tokio::task::JoinError) -> Self {
        Self::Stopped
    }
}
