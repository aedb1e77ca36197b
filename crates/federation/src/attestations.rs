//! What other servers say of the roles of their users, signed
//! (`GET /_matrix/federation/unstable/org.wardroom/v1/attestation/{userId}`).
//!
//! A word counts only if a key signed it that its server publishes now: whoever takes an old key from a server must not
//! be able to say with it who has which role.

use std::{fmt::Write as _, sync::Arc, time::Duration};

use http::StatusCode;
use ruma::{RoomId, UserId};

use crate::{Limits, PartnerError, Partners, lanes::Lanes};

/// Path of the endpoint, before the user's id.
const PATH: &str = "/_matrix/federation/unstable/org.wardroom/v1/attestation";
/// How long a server may take.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// Longest answer: 200 roles of 255 bytes and what is around them.
const ANSWER_BYTES_MAX: usize = 128 * 1_024;
/// Questions to one server at the same time.
const ASKED_AT_ONCE: usize = 8;

/// Why there is no word about a user.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AttestationError {
    /// The user's server says nothing of them in that room.
    #[error("the server says nothing of the user")]
    Refused,
    /// The answer is not signed as it has to be.
    #[error("the server's answer is not signed as it has to be: {0}")]
    Unsigned(String),
    /// The server cannot be asked.
    #[error(transparent)]
    Partner(PartnerError),
}

/// Asks other servers about the roles of their users. Clones are cheap.
#[derive(Clone, Debug)]
pub struct RemoteAttestations {
    partners: Partners,
    lanes: Arc<Lanes>,
}

impl RemoteAttestations {
    pub(crate) fn new(partners: &Partners) -> Self {
        Self { partners: partners.clone(), lanes: Arc::new(Lanes::new(ASKED_AT_ONCE)) }
    }

    /// What a user's server says of them in a room, as canonical JSON without the signature, which was made with a key
    /// that the server publishes now. What it says has not been looked at.
    ///
    /// # Errors
    /// As [`AttestationError`] says.
    pub async fn ask(&self, user: &UserId, room: &RoomId) -> Result<Vec<u8>, AttestationError> {
        let server = user.server_name();
        let _lane = self.lanes.enter(server).await;
        let path = format!("{PATH}/{}?room_id={}", encoded(user.as_str()), encoded(room.as_str()));
        let limits = Limits { timeout: ANSWER_MAX, answer_bytes_max: ANSWER_BYTES_MAX, ignore_backoff: false };
        let body = self.partners.get_signed(server, &path, limits).await.map_err(|error| match error {
            PartnerError::Refused { status: StatusCode::FORBIDDEN, ref errcode, .. } if errcode == "M_FORBIDDEN" => {
                AttestationError::Refused
            }
            error => AttestationError::Partner(error),
        })?;
        self.partners.signed_now(server, &body).await.map_err(AttestationError::Unsigned)
    }
}

/// A text as it stands in paths and queries.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a text does not fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::encoded;

    #[test]
    fn ids_are_encoded_byte_by_byte() {
        assert_eq!(encoded("@b/ö:[::1]:8448"), "%40b%2F%C3%B6%3A%5B%3A%3A1%5D%3A8448");
    }
}
