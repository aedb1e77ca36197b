//! `GET /metadata`: what this API can do (FHIR R4, `CapabilityStatement`). For everybody, as FHIR wants it.

use axum::{
    extract::State,
    response::{IntoResponse as _, Response},
};
use http::header::CONTENT_TYPE;
use serde_json::{Value, json};
use wardroom_atna::SEARCH_PARAMETERS;

use crate::{FhirState, outcome::FHIR_JSON};

/// When this statement was written last.
const DATE: &str = "2026-11-23";

pub(crate) async fn show(State(state): State<FhirState>) -> Response {
    let parameters: Vec<Value> = SEARCH_PARAMETERS
        .iter()
        .map(|(name, kind, what)| json!({ "name": name, "type": kind, "documentation": what }))
        .collect();
    let statement = json!({
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": DATE,
        "kind": "instance",
        "software": { "name": "Wardroom", "version": env!("CARGO_PKG_VERSION") },
        "implementation": { "description": "The audit trail of a Wardroom server", "url": &*state.base_url },
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json", "json"],
        "instantiates": ["http://hl7.org/fhir/uv/bulkdata/CapabilityStatement/bulk-data"],
        "rest": [{
            "mode": "server",
            "security": { "description": "An access token of an administrator in the header Authorization: Bearer" },
            "resource": [{
                "type": "AuditEvent",
                "interaction": [{ "code": "read" }, { "code": "search-type" }],
                "searchParam": parameters,
            }],
            "operation": [{
                "name": "export",
                "definition": "http://hl7.org/fhir/uv/bulkdata/OperationDefinition/export",
            }],
        }],
    });
    ([(CONTENT_TYPE, FHIR_JSON)], statement.to_string()).into_response()
}
