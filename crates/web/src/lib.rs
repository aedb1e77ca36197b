//! Matrix endpoints over axum: what every API crate needs between a socket and a service call.
//!
//! An API crate writes plain async functions `(State<S>, Ruma<T>) -> Result<Reply<_>, ApiError>` and hands them to
//! [`Routes::endpoint`], which registers every path that ruma knows for `T`. The rest happens here, in one order for
//! all endpoints: who calls ([`Demand`]), whether guests may, the body within its limit, UTF-8 and JSON, ruma's types, then the handler.
//! [`shell`] puts the layers around the routes that every listener has: request spans, CORS, the net under panics,
//! and JSON answers for unknown paths and methods.
//!
//! Invariants: nothing a client sends makes this crate panic or grow without bound; every error answer is JSON with
//! the specification's `errcode`; no token, name or content reaches a log (the route pattern is logged, not the path).
//! Absent on purpose: multipart and streamed bodies (media routes are written on axum's bodies directly).

mod body;
mod caller;
mod causes;
mod client_ip;
mod content_disposition;
mod error;
mod guests;
mod json_path;
mod malformed;
mod metrics;
mod quirks;
mod rate_limits;
mod reply;
mod request;
mod routes;
mod session;
mod shell;
mod unwritten;

pub use self::{
    body::{BODY_TIMEOUT_SECONDS, JSON_BODY_BYTES_MAX, check_object, drain, read as read_body},
    caller::Caller,
    client_ip::{TrustedProxies, of as client_ip},
    content_disposition::of as content_disposition,
    error::ApiError,
    malformed::{Refused, explain},
    metrics::{DURATION_BUCKETS_MS, RequestMetrics, RouteSample},
    rate_limits::{Class, Quota, RateLimits, Subject},
    reply::Reply,
    request::Ruma,
    routes::{Route, Routes, to_the_end},
    session::{ApiState, Demand, signed_in},
    shell::shell,
    unwritten::Unwritten,
};
