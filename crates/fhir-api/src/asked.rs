//! A request: who asks, and for what.

use axum::{body::Body, extract::Request};
use http::{
    HeaderMap,
    header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE},
    request::Parts,
};
use wardroom_accounts::{AdminScope, Session};
use wardroom_audit::{Act, Record};
use wardroom_web::{read_body, signed_in};

use crate::{FhirState, outcome::Refusal};

/// Largest body, in bytes.
const BODY_BYTES_MAX: usize = 256 * 1_024;

/// A request of an administrator who has the scope.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) session: Session,
    /// What stands behind the question mark, as it was sent.
    pub(crate) query: String,
    headers: HeaderMap,
}

impl Asked {
    /// Refuses who may not. The body comes beside it, unread.
    pub(crate) async fn of(state: &FhirState, request: Request, scope: AdminScope) -> Result<(Self, Body), Refusal> {
        let (parts, body) = request.into_parts();
        let session = match admitted(state, &parts, scope).await {
            Ok(session) => session,
            Err(refusal) => {
                if refusal.is_forbidden() {
                    let asked = format!("{} {}", parts.method, of_path(parts.uri.path()));
                    let record = Record::of(Act::AuditRead).detail(asked).why("not permitted");
                    state.audit.denied(record).await?;
                }
                return Err(refusal);
            }
        };
        let query = parts.uri.query().unwrap_or_default().to_owned();
        Ok((Self { session, query, headers: parts.headers }, body))
    }

    /// Parameters behind the question mark.
    pub(crate) fn parameters(&self) -> Vec<(String, String)> {
        parameters(self.query.as_bytes())
    }

    /// Whether the body is a form.
    pub(crate) fn has_form(&self) -> bool {
        let media_type = text(&self.headers, &CONTENT_TYPE).split(';').next().unwrap_or_default().trim();
        media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded")
    }

    /// Whether a header `Prefer` says this (RFC 7240).
    pub(crate) fn prefers(&self, what: &str) -> bool {
        let values = self.headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split([',', ';'])).any(|one| one.trim().eq_ignore_ascii_case(what))
    }

    /// Whether the answer may be compressed.
    pub(crate) fn takes_gzip(&self) -> bool {
        text(&self.headers, &ACCEPT_ENCODING).split(',').any(|one| {
            let mut parts = one.split(';').map(str::trim);
            let gzip = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
            gzip && !parts.any(|weight| matches!(weight, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
        })
    }

    /// Refuses who takes only other forms than JSON.
    pub(crate) fn takes_json(&self, format: Option<&str>) -> Result<(), Refusal> {
        let accept = text(&self.headers, &ACCEPT);
        let named =
            accept.is_empty() || accept.contains("json") || accept.contains("*/*") || accept.contains("application/*");
        match format {
            // A "+" of a query that was not written as %2B is a space.
            Some("json" | "application/json" | "text/json" | "application/fhir+json" | "application/fhir json") => {
                Ok(())
            }
            None if named => Ok(()),
            _ => Err(Refusal::new(406, "not-supported", "This server answers in application/fhir+json only.")),
        }
    }
}

/// What of a path is this server's own: the endpoint, without ids.
fn of_path(path: &str) -> &'static str {
    let path = path.trim_start_matches("/_wardroom/fhir/");
    let known = ["metadata", "AuditEvent/_search", "AuditEvent", "$export", "exports"];
    known.into_iter().find(|known| path.starts_with(known)).unwrap_or("fhir")
}

/// Reads a body within its limit.
pub(crate) async fn read(body: Body) -> Result<Vec<u8>, Refusal> {
    Ok(read_body(body, BODY_BYTES_MAX).await?.to_vec())
}

/// Parameters of a form.
pub(crate) fn parameters(form: &[u8]) -> Vec<(String, String)> {
    url::form_urlencoded::parse(form).into_owned().collect()
}

fn text<'a>(headers: &'a HeaderMap, name: &http::HeaderName) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

async fn admitted(state: &FhirState, parts: &Parts, scope: AdminScope) -> Result<Session, Refusal> {
    let session = signed_in(parts, state).await?;
    if !session.admin {
        return Err(Refusal::new(403, "forbidden", "You are no administrator of this server."));
    }
    let scopes = state.accounts.admin_scopes(session.nid).await.map_err(wardroom_web::ApiError::from)?;
    if scopes.has(scope) {
        return Ok(session);
    }
    let sentence = format!("Your administrator account does not have the scope `{scope}`.");
    Err(Refusal::new(403, "forbidden", sentence))
}
