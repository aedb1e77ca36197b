//! What can go wrong with an account, in this crate's words.

use wardroom_store::{CommitError, ReadError};

/// Why an operation on an account failed. Absence is an `Option`, not an error, unless the operation needs the thing.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// Not a user name that this server gives out (appendix "User Identifiers").
    #[error("{0}")]
    InvalidUsername(&'static str),
    /// The name belongs, or belonged, to somebody.
    #[error("The user name is already taken.")]
    UserInUse,
    /// No such user on this server.
    #[error("There is no such user on this server.")]
    UnknownUser,
    /// The account was closed for good.
    #[error("This account has been deactivated.")]
    Deactivated,
    /// An administrator has locked the account.
    #[error("This account has been locked.")]
    Locked,
    /// Name and password do not belong together. Says deliberately not which of them is wrong.
    #[error("Wrong user name or password.")]
    WrongPassword,
    /// User-interactive authentication in another user's name, or with a dialogue that was begun for something else.
    #[error("{0}")]
    AuthenticatedOtherwise(&'static str),
    /// An empty or over-long new password.
    #[error("{0}")]
    UnusablePassword(&'static str),
    /// Somebody else has this address or identity.
    #[error("threepids, external_ids: somebody else has one of these already.")]
    IdentityInUse,
    /// Nobody may register (in this way).
    #[error("Registration is not open on this server.")]
    RegistrationClosed,
    /// Guests are not admitted.
    #[error("Guest accounts are not admitted on this server.")]
    GuestsClosed,
    /// A guest tried what only a registered user may.
    #[error("Guests cannot do this.")]
    GuestForbidden,
    /// The refresh token was never given out, or was used up, or its device is gone.
    #[error("The refresh token is not known.")]
    UnknownRefreshToken,
    /// The refresh token is too old; the device still exists.
    #[error("The refresh token has expired.")]
    ExpiredRefreshToken,
    /// The login token was never given out, was used, or is too old.
    #[error("The login token is not known.")]
    UnknownLoginToken,
    /// A person of an identity provider has no account, and the name that they would get is somebody else's.
    #[error("The user name that the identity provider has for you belongs to another account.")]
    NotLinked,
    /// Somebody wanted to sign in as a user that acts for the server, past what rooms require of people.
    #[error("This user acts for the server itself. Nobody signs in as it.")]
    OwnUser,
    /// The user has no such device.
    #[error("You have no such device.")]
    UnknownDevice,
    /// Something a client sent is too long or there are too many of it already.
    #[error("{what} exceeds the limit of {limit}.")]
    Limit {
        /// What is too large, a noun with its unit.
        what: &'static str,
        /// How large it may be.
        limit: usize,
    },
    /// A value that has to have a certain form does not have it.
    #[error("{field}: {problem}")]
    Invalid {
        /// Name of the field in the specification.
        field: &'static str,
        /// What is wrong with it, without repeating the value.
        problem: &'static str,
    },
    /// A value does not have the shape that the specification gives it.
    #[error("{field}: {problem}")]
    Malformed {
        /// Name of the field in the specification.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// A one-time key with this id is there, and is another one. Clients know the sentence by its beginning.
    #[error("One time key {id} already exists, with another content.")]
    OneTimeKeyExists {
        /// The key's id.
        id: String,
    },
    /// A key is not signed by the one that has to sign it.
    #[error("{0}: has no valid signature by the master key")]
    InvalidSignature(&'static str),
    /// A key came that a master key has to sign, and there is none.
    #[error("master_key: is missing, and no master key was uploaded before")]
    NoMasterKey,
    /// A cross-signing key would have the name of a device, or a device that of a cross-signing key.
    #[error("The id is in use by another key of yours.")]
    KeyIdInUse,
    /// The profile would be larger than [`PROFILE_BYTES_MAX`](crate::PROFILE_BYTES_MAX).
    #[error("The profile would be larger than 64 KiB.")]
    ProfileTooLarge,
    /// The key is longer than [`PROFILE_KEY_BYTES_MAX`](crate::PROFILE_KEY_BYTES_MAX).
    #[error("keyName: is longer than 255 bytes.")]
    ProfileKeyTooLarge,
    /// Account data which only the server writes.
    #[error("This type of account data is controlled by the server.")]
    ReservedAccountData,
    /// The push rule does not exist.
    #[error("There is no such push rule.")]
    UnknownPushRule,
    /// The push rule cannot be placed or removed so.
    #[error("{0}")]
    InvalidPushRule(&'static str),
    /// No shared secret is configured.
    #[error("Shared-secret registration is not enabled on this server.")]
    SharedSecretDisabled,
    /// The nonce was never given out, was used, or is older than a minute.
    #[error("Unrecognised nonce.")]
    UnknownNonce,
    /// The MAC was not made with the shared secret.
    #[error("HMAC incorrect.")]
    WrongMac,
    /// Too many passwords wait to be hashed; try again in some seconds.
    #[error("Too many sign-ins at the same time.")]
    Busy,
    /// Other changes to the same account kept getting in between.
    #[error("The account is being changed by too many requests at the same time.")]
    Contended,
    /// The settings cannot work.
    #[error("password.argon2: {0}")]
    Settings(String),
    /// A worker thread went away (the server is stopping).
    #[error("the password worker stopped")]
    Stopped,
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

/// Why an access token does not open the door.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Never given out, or its device was logged out: the session is destroyed.
    #[error("The access token is not known.")]
    Unknown,
    /// Too old, but the session still exists: refresh, or log in with the same device id ("soft logout").
    #[error("The access token has expired.")]
    Expired,
    /// An administrator has locked the account; the session still exists.
    #[error("This account has been locked.")]
    Locked,
    /// The answer is not known because the store failed.
    #[error(transparent)]
    Account(#[from] AccountError),
}

impl From<ReadError> for TokenError {
    fn from(error: ReadError) -> Self {
        Self::Account(error.into())
    }
}

/// How often an operation is tried again after another commit got in between. Each lost round means that somebody else
/// won it, so this is only reached under absurd contention on one account.
pub(crate) const CONFLICT_ROUNDS_MAX: usize = 16;

/// `Some` when the batch was committed, `None` when its preconditions failed and the operation has to be prepared anew.
pub(crate) fn settled<T>(result: Result<T, CommitError>) -> Result<Option<T>, AccountError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(CommitError::Conflict { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
