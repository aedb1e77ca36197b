//! What can go wrong with a directory.

use std::{io, time::Duration};

use wardroom_care::CareError;
use wardroom_outbound::OutboundError;

/// Why a list was not taken over. The sentences name no people.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// No connection came about, or it broke.
    #[error("it cannot be reached: {0}")]
    Unreachable(#[source] io::Error),
    /// It proved not to be who it should be, or speaks no TLS.
    #[error("TLS with it failed: {0}")]
    Tls(#[source] io::Error),
    /// It stayed silent for too long.
    #[error("it said nothing for {} seconds", .0.as_secs())]
    TimedOut(Duration),
    /// It was read for too long altogether.
    #[error("reading it took more than {} minutes", .0.as_secs() / 60)]
    TooSlow(Duration),
    /// It ended the connection.
    #[error("it ended the connection")]
    Ended,
    /// It answered with a result code of LDAP other than success (RFC 4511, section 4.1.9).
    #[error("it answered {what} with result code {code} ({})", meaning(*code))]
    Refused {
        /// What was asked.
        what: &'static str,
        /// The code.
        code: i32,
    },
    /// It answered with another status of HTTP than 200.
    #[error("it answered with status {0}")]
    Status(u16),
    /// The request failed.
    #[error("the request failed: {}", causes(.0))]
    Request(#[source] OutboundError),
    /// The answer is none of the protocol.
    #[error("it answered with {0}")]
    Malformed(&'static str),
    /// There is more than is taken in.
    #[error("it has more than {1} {0}")]
    TooMuch(&'static str, usize),
    /// It says itself that something is missing.
    #[error("its list is not complete")]
    Partial,
    /// Nobody is in a list that had somebody.
    #[error("it lists nobody, but did before")]
    Empty,
    /// No group is found where groups are looked for.
    #[error("it has no groups where they are looked for")]
    NoGroups,
    /// Nobody of the people who have roles is told of.
    #[error("it tells of roles and not of who has them")]
    NoPeople,
    /// A page leads to one that is not of this directory, or to one that was read already.
    #[error("a page of its list leads astray")]
    Astray,
    /// A file with a secret cannot be read.
    #[error("{key} cannot be read: {source}")]
    Secret {
        /// Which one.
        key: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A setting cannot work.
    #[error("{0}")]
    Setting(String),
    /// The list was not taken.
    #[error(transparent)]
    Care(#[from] CareError),
}

/// What a result code means, as the standard calls it.
fn meaning(code: i32) -> &'static str {
    match code {
        1 => "operationsError",
        2 => "protocolError",
        3 => "timeLimitExceeded",
        4 => "sizeLimitExceeded",
        7 => "authMethodNotSupported",
        8 => "strongerAuthRequired",
        10 => "referral",
        11 => "adminLimitExceeded",
        13 => "confidentialityRequired",
        32 => "noSuchObject",
        48 => "inappropriateAuthentication",
        49 => "invalidCredentials",
        50 => "insufficientAccessRights",
        51 => "busy",
        52 => "unavailable",
        53 => "unwillingToPerform",
        _ => "another failure",
    }
}

/// An error with what it came from.
fn causes(error: &dyn std::error::Error) -> String {
    let mut sentence = error.to_string();
    let mut cause = error.source();
    while let Some(one) = cause {
        sentence.push_str(": ");
        sentence.push_str(&one.to_string());
        cause = one.source();
    }
    sentence
}
