//! Errors as FHIR wants them.

use axum::response::{IntoResponse, Response};
use http::{
    HeaderName, HeaderValue, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use serde_json::{Value, json};
use wardroom_atna::{ExportError, Misunderstood};
use wardroom_audit::AuditError;
use wardroom_web::ApiError;

/// The media type of resources.
pub(crate) const FHIR_JSON: HeaderValue = HeaderValue::from_static("application/fhir+json");
/// When to come again, in seconds, where too much goes on.
const RETRY_SECONDS: HeaderValue = HeaderValue::from_static("60");

/// An error, as `OperationOutcome`.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: u16,
    /// Of the value set `issue-type`.
    code: &'static str,
    sentence: String,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Refusal {
    pub(crate) fn new(status: u16, code: &'static str, sentence: impl Into<String>) -> Self {
        Self { status, code, sentence: sentence.into(), headers: Vec::new() }
    }

    /// Whether it says that somebody may not.
    pub(crate) fn is_forbidden(&self) -> bool {
        self.status == 403
    }

    /// A request that cannot be understood.
    pub(crate) fn invalid(sentence: impl Into<String>) -> Self {
        Self::new(400, "invalid", sentence)
    }

    /// There is no such thing.
    pub(crate) fn not_found(sentence: impl Into<String>) -> Self {
        Self::new(404, "not-found", sentence)
    }

    fn broken(error: &dyn std::error::Error) -> Self {
        // Logs the causes.
        ApiError::internal(error).into()
    }
}

/// An `OperationOutcome` of one issue.
pub(crate) fn operation_outcome(severity: &str, code: &str, sentence: &str) -> Value {
    json!({
        "resourceType": "OperationOutcome",
        "issue": [{ "severity": severity, "code": code, "diagnostics": sentence }],
    })
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = operation_outcome("error", self.code, &self.sentence);
        let mut response = (status, [(CONTENT_TYPE, FHIR_JSON)], body.to_string()).into_response();
        response.headers_mut().extend(self.headers);
        response
    }
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        let (status, sentence) = (error.status(), error.sentence().to_owned());
        let code = match status.as_u16() {
            401 => "login",
            403 => "forbidden",
            404 => "not-found",
            413 => "too-long",
            429 => "throttled",
            400..=499 => "invalid",
            _ => "exception",
        };
        let mut headers = Vec::new();
        if status == StatusCode::UNAUTHORIZED {
            headers.push((WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")));
        }
        if status == StatusCode::TOO_MANY_REQUESTS {
            let wait = error.into_response().headers().get(RETRY_AFTER).cloned();
            headers.extend(wait.map(|wait| (RETRY_AFTER, wait)));
        }
        Self { status: status.as_u16(), code, sentence, headers }
    }
}

impl From<AuditError> for Refusal {
    fn from(error: AuditError) -> Self {
        match error {
            AuditError::DiskFull => ApiError::disk_full().into(),
            error => Self::broken(&error),
        }
    }
}

impl From<ExportError> for Refusal {
    fn from(error: ExportError) -> Self {
        match error {
            ExportError::TooMany => {
                let headers = vec![(RETRY_AFTER, RETRY_SECONDS)];
                Self { headers, ..Self::new(429, "throttled", format!("{error}.")) }
            }
            ExportError::TooLong => Self::new(400, "too-long", format!("{error}.")),
            ExportError::Audit(error) => error.into(),
            error => Self::broken(&error),
        }
    }
}

impl From<Misunderstood> for Refusal {
    fn from(error: Misunderstood) -> Self {
        Self::new(400, if error.unknown { "not-supported" } else { "invalid" }, error.to_string())
    }
}
