//! What a listener serves.

use serde::{Deserialize, Serialize};

/// A part of the server that a listener can offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Serves {
    /// The client-server API.
    Client,
    /// The server-server API.
    Federation,
    /// Media of both APIs.
    Media,
    /// The administration API.
    Admin,
    /// The API of the hospital's directory (SCIM).
    Scim,
    /// The audit trail as FHIR resources.
    Fhir,
    /// Measurements for Prometheus; on a listener of its own.
    Metrics,
}

impl Serves {
    /// What a listener serves that does not say.
    pub(crate) const DEFAULT: [Self; 6] =
        [Self::Client, Self::Federation, Self::Media, Self::Admin, Self::Scim, Self::Fhir];
}
