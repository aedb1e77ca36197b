//! Answers in the RFC's forms (RFC 7644, sections 3.4.2 and 3.12).

use axum::response::{IntoResponse, Response};
use http::{
    HeaderValue, StatusCode,
    header::{CONTENT_TYPE, ETAG, LOCATION},
};
use serde_json::{Value, json};
use wardroom_provisioning::{Page, Resource, ScimError};

const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/scim+json");

/// An error as the RFC wants it.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: u16,
    kind: Option<&'static str>,
    detail: String,
}

impl Refusal {
    pub(crate) fn new(status: u16, kind: Option<&'static str>, detail: impl Into<String>) -> Self {
        Self { status, kind, detail: detail.into() }
    }
}

impl From<ScimError> for Refusal {
    fn from(error: ScimError) -> Self {
        let (status, kind) = error.code();
        if status >= 500 {
            tracing::error!(%error, "a request of the directory failed inside the server");
            return Self::new(status, None, "The server failed; what was asked may be done later by itself.");
        }
        Self::new(status, kind, error.to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut body = json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"],
            "status": self.status.to_string(),
            "detail": self.detail,
        });
        if let Some(kind) = self.kind {
            body["scimType"] = json!(kind);
        }
        json_answer(self.status, &body)
    }
}

/// A JSON answer.
pub(crate) fn json_answer(status: u16, body: &Value) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [(CONTENT_TYPE, MEDIA_TYPE)], body.to_string()).into_response()
}

/// A resource, with its version and place.
pub(crate) fn resource(status: u16, resource: &Resource) -> Response {
    let mut response = with_version(json_answer(status, &resource.value), resource);
    let location = HeaderValue::try_from(&resource.location).ok();
    response.headers_mut().extend(location.map(|location| (LOCATION, location)));
    response
}

/// The version of a resource alone.
pub(crate) fn version(status: StatusCode, resource: &Resource) -> Response {
    with_version(status.into_response(), resource)
}

fn with_version(mut response: Response, resource: &Resource) -> Response {
    let version = HeaderValue::try_from(&resource.version).ok();
    response.headers_mut().extend(version.map(|version| (ETAG, version)));
    response
}

/// A page of a list.
pub(crate) fn list(page: &Page) -> Response {
    let body = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"],
        "totalResults": page.total,
        "startIndex": page.start,
        "itemsPerPage": page.resources.len(),
        "Resources": page.resources,
    });
    json_answer(200, &body)
}
