//! Events, rooms made of them, and what other implementations say about them.
#![expect(clippy::unwrap_used, reason = "tests")]

mod authorization;
mod client_format;
mod forks;
mod formats;
mod power;
mod properties;
mod redaction;
mod resolution;
mod room;
mod signatures;
