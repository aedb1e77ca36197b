//! Why somebody was not signed in, or not signed out.

use wardroom_accounts::AccountError;
use wardroom_outbound::OutboundError;

use crate::TokenFault;

/// Why a sign-in with a provider came to nothing. The sentences are for the person who tries.
#[derive(Debug, thiserror::Error)]
pub enum SsoError {
    /// No such provider is configured.
    #[error("This server has no such identity provider.")]
    UnknownProvider,
    /// The URL to go back to is none, or one that nobody should be sent to.
    #[error("redirectUrl: {0}")]
    BadRedirect(&'static str),
    /// The attempt was never begun, is over, or was begun in another browser or with another provider.
    #[error("This sign-in was not begun in this browser, has been used already, or took too long. Please start again.")]
    UnknownAttempt,
    /// The provider says that it did not sign the person in.
    #[error("The identity provider did not sign you in ({0}).")]
    Declined(String),
    /// The provider cannot be reached, or does not answer as it should.
    #[error(
        "The identity provider cannot be reached at the moment, or does not answer as it should. Please try again later."
    )]
    Provider(#[from] ProviderFault),
    /// What the provider says cannot be believed.
    #[error("The answer of the identity provider cannot be trusted: {0}.")]
    Token(#[from] TokenFault),
    /// The provider did not ask for enough.
    #[error(
        "The identity provider did not check who you are as strictly as this server demands. Sign in there with a second \
         factor, and try again."
    )]
    TooWeak,
    /// The person signed in at the provider too long ago, and it did not ask them again.
    #[error("You signed in at the identity provider too long ago. Sign out there, and try again.")]
    TooLongAgo,
    /// No user name can be made of what the provider says.
    #[error("The identity provider did not say under which user name you are known.")]
    NoName,
    /// The person is somebody else than the user whose action is to be confirmed.
    #[error("You are signed in at the identity provider as somebody else than the user of this account.")]
    OtherUser,
    /// The action that was to be confirmed does not wait any more.
    #[error("The action that you wanted to confirm is over. Please start again.")]
    Over,
    /// The account cannot be used, or not be made.
    #[error(transparent)]
    Account(#[from] AccountError),
}

/// What is wrong with a provider. For the log: it names nothing that a person sent.
#[derive(Debug, thiserror::Error)]
pub enum ProviderFault {
    /// No whole answer came.
    #[error("{what} could not be read")]
    Unreachable {
        /// What was asked for.
        what: &'static str,
        /// Why.
        source: OutboundError,
    },
    /// An answer with another status than 200.
    #[error("{what} was answered with status {status}")]
    Status {
        /// What was asked for.
        what: &'static str,
        /// The status.
        status: u16,
    },
    /// An answer of the wrong shape.
    #[error("{0} is malformed")]
    Malformed(&'static str),
    /// The discovery document is that of somebody else.
    #[error("the discovery document names another issuer than the configuration")]
    OtherIssuer,
    /// It failed a moment ago, and is not asked again yet.
    #[error("{0} failed a moment ago")]
    FailedJustNow(&'static str),
}

/// Why nobody was signed out.
#[derive(Debug, thiserror::Error)]
pub enum LogoutError {
    /// No such provider is configured.
    #[error("There is no such identity provider.")]
    UnknownProvider,
    /// The token cannot be believed.
    #[error("logout_token: {0}")]
    Token(#[from] TokenFault),
    /// The provider's keys could not be read.
    #[error("The keys of the identity provider could not be read.")]
    Provider(#[from] ProviderFault),
    /// The sessions could not be ended.
    #[error(transparent)]
    Account(#[from] AccountError),
}
