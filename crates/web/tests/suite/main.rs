//! Requests through the whole of this crate: routes, extractor, errors, layers.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod malformed;
mod shell;
mod world;
