//! Other servers: whether they are admitted, where they are, which keys they have, and requests to them.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::StatusCode;
use ruma::{
    OwnedServerName, ServerName,
    api::{OutgoingRequest, federation::authentication::ServerSignatures, path_builder::SinglePath},
};
use serde_json::value::RawValue as RawJsonValue;
use wardroom_event::{Pdu, RoomVersion};

use crate::Parts;

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
    /// A setting is wrong.
    #[error("{0}")]
    Setting(String),
}

/// What an operator decides about other servers.
#[derive(Clone, Debug, Default)]
pub struct PartnerSettings {
    /// Whether to speak to other servers at all.
    pub enabled: bool,
    /// Where connections may go.
    pub ranges: wardroom_outbound::Ranges,
    /// Certificate authorities beyond the system's, PEM files' contents.
    pub extra_ca: Vec<Vec<u8>>,
    /// Whether certificates are checked at all.
    pub verify_certificates: bool,
}

/// Other servers. Clones are cheap.
#[derive(Clone, Debug)]
pub struct Partners {
    _inner: Arc<()>,
}

/// An event of another server as it came, and what became of the check of its signatures.
pub type CheckedEvent = Result<Arc<Pdu>, String>;

impl Partners {
    /// The partners as the settings want them.
    pub(crate) fn new(_parts: &Parts, _settings: PartnerSettings) -> Result<Self, PartnerError> {
        Ok(Self { _inner: Arc::new(()) })
    }

    /// Whether the policy admits a server.
    pub fn admits(&self, _server: &ServerName) -> bool {
        true
    }

    /// Asks another server, with a signed request.
    ///
    /// # Errors
    /// As [`PartnerError`] says.
    pub async fn request<R>(
        &self,
        server: &ServerName,
        _request: R,
        _limits: Limits,
    ) -> Result<R::IncomingResponse, PartnerError>
    where
        R: OutgoingRequest<Authentication = ServerSignatures, PathBuilder = SinglePath>,
    {
        Err(PartnerError::Denied(server.to_owned()))
    }

    /// Asks another server with a signed GET, and leaves its answer to be read.
    ///
    /// # Errors
    /// As [`PartnerError`] says.
    #[expect(clippy::unused_async, reason = "a stub")]
    pub async fn stream(
        &self,
        server: &ServerName,
        _path_and_query: &str,
        _limits: Limits,
    ) -> Result<reqwest::Response, PartnerError> {
        Err(PartnerError::Denied(server.to_owned()))
    }

    /// Checks events of one room exactly as they came: format, signatures with the keys of their servers (fetched where
    /// need be, in parallel), content hash. Events whose hash is wrong come back in their redacted form. The answers are in the
    /// order of the events.
    pub async fn check_events(&self, _version: RoomVersion, events: Vec<Box<RawJsonValue>>) -> Vec<CheckedEvent> {
        events.iter().map(|_| Err(String::from("keys cannot be fetched"))).collect()
    }
}
