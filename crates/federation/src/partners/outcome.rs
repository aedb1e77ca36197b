//! What a request may cost, and how it can fail.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use ruma::OwnedServerName;

/// What a request may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Time for the whole request, its answer included.
    pub timeout: Duration,
    /// Bytes of the answer.
    pub answer_bytes_max: usize,
    /// Whether to ask although the server did not answer lately.
    pub ignore_backoff: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(30), answer_bytes_max: 10 * 1024 * 1024, ignore_backoff: false }
    }
}

/// Why another server could not be asked, or what is wrong with its answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PartnerError {
    /// Federation is off, or the policy does not admit the server.
    #[error("this server does not speak to {0}")]
    Denied(OwnedServerName),
    /// It did not answer lately and is left alone for a while.
    #[error("the server did not answer lately")]
    BackingOff,
    /// It cannot be found or reached; the sentence says where it failed.
    #[error("the server cannot be reached: {0}")]
    Unreachable(String),
    /// It answered with an error.
    #[error("the server answered {status}: {message}")]
    Refused {
        /// The status.
        status: StatusCode,
        /// `errcode`, where the answer has one.
        errcode: String,
        /// `error`, where the answer has one.
        message: String,
        /// The whole answer, where it is a JSON object.
        body: Option<Bytes>,
    },
    /// Its answer is not what the specification says.
    #[error("the server's answer makes no sense: {0}")]
    Malformed(String),
    /// Its answer is longer than it may be.
    #[error("the server's answer is longer than {0} bytes")]
    TooLong(usize),
    /// The store could not be read or written.
    #[error("the store failed: {0}")]
    Store(String),
    /// A setting is wrong.
    #[error("{0}")]
    Setting(String),
}

impl PartnerError {
    /// Reads an error answer.
    pub(super) fn refused(status: StatusCode, body: Bytes) -> Self {
        #[derive(serde::Deserialize)]
        struct Standard {
            #[serde(default)]
            errcode: String,
            #[serde(default)]
            error: String,
        }
        match serde_json::from_slice::<Standard>(&body) {
            Ok(Standard { errcode, error }) => Self::Refused { status, errcode, message: error, body: Some(body) },
            Err(_) => Self::Refused { status, errcode: String::new(), message: String::new(), body: None },
        }
    }
}
