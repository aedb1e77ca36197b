//! The layers that all routes of a listener share.

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use axum::{
    Router,
    extract::{MatchedPath, Request, State},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse as _, Response},
};
use futures_util::FutureExt as _;
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE,
    },
};
use tracing::{Instrument as _, debug, error, info_span};

use wardroom_audit::{Origin, Who, origin};

use crate::{ApiError, RequestMetrics, client_ip};

/// The route under which requests are counted that match none.
const NO_ROUTE: &str = "none";

/// How long a browser may remember the answer to a preflight request.
const PREFLIGHT_SECONDS: HeaderValue = HeaderValue::from_static("86400");

/// Wraps the routes of a listener: JSON answers for unknown paths and methods, CORS headers on every answer, preflight
/// requests, a span with a request id and the route's pattern, measurements, and the net under panics.
pub fn shell(routes: Router, metrics: Arc<RequestMetrics>) -> Router {
    routes
        .fallback(async || ApiError::unrecognized())
        .method_not_allowed_fallback(async || ApiError::method_not_allowed())
        .layer(from_fn_with_state(metrics, serve))
}

async fn serve(State(metrics): State<Arc<RequestMetrics>>, request: Request, next: Next) -> Response {
    static NEXT_ID: AtomicU64 = AtomicU64::new(1);
    // Keeps requests of one run of the server apart from those of others.
    static RUN: LazyLock<u32> = LazyLock::new(rand::random);

    if request.method() == Method::OPTIONS {
        return preflight();
    }
    let started = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or(NO_ROUTE, MatchedPath::as_str);
    let id = format!("{:08x}-{}", *RUN, NEXT_ID.fetch_add(1, Ordering::Relaxed));
    let span = info_span!("request", id, method = method.as_str(), route);

    let (parts, body) = request.into_parts();
    let who = Who { ip: Some(client_ip::of(&parts).to_string()), ..Who::default() };
    let origin = Origin { who, request: Some(id) };
    let request = Request::from_parts(parts, body);
    let _in_flight = metrics.enter();
    let answer =
        AssertUnwindSafe(origin::scope(origin, next.run(request))).catch_unwind().instrument(span.clone()).await;
    let mut response = answer.unwrap_or_else(|_panic| {
        // The panic hook has logged where; what it says may quote a client.
        span.in_scope(|| error!("a handler panicked"));
        ApiError::internal_unlogged().into_response()
    });
    let took = started.elapsed();
    metrics.record(&method, route, response.status(), took);
    span.in_scope(|| debug!(status = response.status().as_u16(), took_us = took.as_micros(), "answered"));
    allow_origins(response.headers_mut());
    response
}

fn preflight() -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    allow_origins(response.headers_mut());
    response.headers_mut().insert(ACCESS_CONTROL_MAX_AGE, PREFLIGHT_SECONDS);
    response
}

/// Client-server API, section "Web browser clients": on every answer.
fn allow_origins(headers: &mut HeaderMap) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    let methods = HeaderValue::from_static("GET, HEAD, POST, PUT, DELETE, OPTIONS");
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
    let allowed = HeaderValue::from_static("X-Requested-With, Content-Type, Authorization");
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, allowed);
}
