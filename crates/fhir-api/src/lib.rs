//! The FHIR API at `/_wardroom/fhir`: the audit trail for administrators, as `AuditEvent` resources (FHIR R4, IHE ITI-81) and as
//! exports of all of it (FHIR Bulk Data Access).
//!
//! Every answer but a file is `application/fhir+json`, errors as `OperationOutcome`. Reading takes the scope `audit`, exporting
//! `audit_export`, and each leaves a record before a byte of the answer leaves.

mod asked;
mod bulk;
mod capability;
mod files;
mod outcome;
mod search;

use std::sync::Arc;

use axum::{
    Router,
    routing::{any, get, post},
};
use wardroom_accounts::Accounts;
use wardroom_atna::Exports;
use wardroom_audit::AuditLog;
use wardroom_web::{ApiState, RateLimits};

use self::outcome::Refusal;

/// What every handler receives. Clones are cheap: everything inside is shared.
#[derive(Clone, Debug)]
pub struct FhirState {
    /// Who administrators are.
    pub accounts: Accounts,
    /// The audit trail.
    pub audit: AuditLog,
    /// Exports of it.
    pub exports: Exports,
    /// Rate limits, one set for all listeners.
    pub limits: Arc<RateLimits>,
    /// The name of this server, the source of every record.
    pub server_name: Arc<str>,
    /// Where this API is reached, without a slash at the end: `https://a.example/_wardroom/fhir`.
    pub base_url: Arc<str>,
}

impl ApiState for FhirState {
    fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    fn limits(&self) -> &RateLimits {
        &self.limits
    }
}

/// The FHIR API over `state`.
pub fn router(state: FhirState) -> Router {
    let root = "/_wardroom/fhir";
    let at = |path: &str| format!("{root}/{path}");
    Router::new()
        .route(&at("metadata"), get(capability::show).fallback(not_allowed))
        .route(&at("AuditEvent"), get(search::search).fallback(not_allowed))
        .route(&at("AuditEvent/_search"), post(search::search_by_post).fallback(not_allowed))
        .route(&at("AuditEvent/{id}"), get(search::read).fallback(not_allowed))
        .route(&at("$export"), get(bulk::begin).post(bulk::begin_by_post).fallback(not_allowed))
        .route(&at("exports/{id}"), get(bulk::status).delete(bulk::delete).fallback(not_allowed))
        .route(&at("exports/{id}/{file}"), get(bulk::file).fallback(not_allowed))
        .route(&at("{*rest}"), any(async || Refusal::new(404, "not-found", "This server has no such endpoint.")))
        .with_state(state)
}

async fn not_allowed() -> Refusal {
    Refusal::new(405, "not-supported", "This endpoint does not answer to that method.")
}
