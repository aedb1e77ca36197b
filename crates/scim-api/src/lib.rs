//! The SCIM API at `/scim/v2` (RFC 7644): authenticate a directory, extract, call one service, answer.
//!
//! Every answer is `application/scim+json`, errors in the RFC's form too. A directory is known by a bearer token of the
//! configuration; without one nothing is served.

mod answer;
mod discovery;
mod request;
mod resources;
mod tokens;

use std::sync::Arc;

use axum::{
    Router,
    middleware::from_fn_with_state,
    routing::{any, get, post},
};
use wardroom_audit::AuditLog;
use wardroom_provisioning::{Provisioning, ResourceKind};
use wardroom_web::RateLimits;

pub use self::tokens::{Token, TokenError};
use self::{answer::Refusal, resources::Path};

/// What every handler receives. Clones are cheap: everything inside is shared.
#[derive(Clone, Debug)]
pub struct ScimState {
    /// The directory's users and groups.
    pub provisioning: Provisioning,
    /// Who may push them.
    pub tokens: Arc<[Token]>,
    /// Rate limits, one set for all listeners.
    pub limits: Arc<RateLimits>,
    /// The audit trail.
    pub audit: AuditLog,
}

/// The SCIM API over `state`; no routes where no directory has a token.
pub fn router(state: ScimState) -> Router {
    if state.tokens.is_empty() {
        return Router::new();
    }
    let mut routes = Router::new()
        .route("/scim/v2/ServiceProviderConfig", get(discovery::provider).fallback(not_allowed))
        .route("/scim/v2/ResourceTypes", get(discovery::resource_types).fallback(not_allowed))
        .route("/scim/v2/ResourceTypes/{id}", get(discovery::resource_type).fallback(not_allowed))
        .route("/scim/v2/Schemas", get(discovery::schemas).fallback(not_allowed))
        .route("/scim/v2/Schemas/{id}", get(discovery::schema).fallback(not_allowed))
        .route("/scim/v2/.search", post(resources::search_all).fallback(not_allowed))
        .route("/scim/v2/Bulk", any(unsupported))
        .route("/scim/v2/Me", any(unsupported));
    for kind in [ResourceKind::User, ResourceKind::Group] {
        let root = format!("/scim/v2/{}", kind.endpoint());
        let list = get(move |state, request| resources::list(kind, state, request))
            .post(move |state, request| resources::create(kind, state, request))
            .fallback(not_allowed);
        let search = post(move |state, request| resources::search(kind, state, request)).fallback(not_allowed);
        let one = get(move |state, path: Path, request| resources::show(kind, state, path, request))
            .put(move |state, path: Path, request| resources::replace(kind, state, path, request))
            .patch(move |state, path: Path, request| resources::patch(kind, state, path, request))
            .delete(move |state, path: Path, request| resources::delete(kind, state, path, request))
            .fallback(not_allowed);
        routes =
            routes.route(&root, list).route(&format!("{root}/.search"), search).route(&format!("{root}/{{id}}"), one);
    }
    routes
        .route("/scim/v2/{*rest}", any(async || Refusal::new(404, None, "There is no such endpoint.")))
        .route_layer(from_fn_with_state(state.clone(), tokens::admit))
        .with_state(state)
}

async fn not_allowed() -> Refusal {
    Refusal::new(405, None, "This endpoint does not answer to that method.")
}

async fn unsupported() -> Refusal {
    Refusal::new(501, None, "This is not supported; /scim/v2/ServiceProviderConfig says what is.")
}
