//! Starts the real `wardroom` binary for black-box tests and plays its clients.
//!
//! Everything here speaks plain HTTP and JSON: it shares no types with the server, so that a wrong idea of the
//! specification cannot hide in code that both sides use. Calls block; a test that needs two things at once uses
//! threads. Assertions panic with the request, the answer and the end of the server's log.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test kit fails by panicking")]

mod actor;
mod config;
mod fault_proxy;
mod http;
mod identity_provider;
mod json;
mod name;
pub mod peer;
mod process;
mod register;
mod room_calls;
mod server;
mod sync;
mod tls;

use std::io::Write;

pub use serde_json::{self, Value, json};

pub use self::{
    actor::{Actor, Anonymous, User},
    config::{Config, Listener},
    fault_proxy::{FaultProxy, Faults},
    http::{Body, Http, Reply, Target, Unreachable, encode, raw, v1, v3},
    identity_provider::IdentityProvider,
    json::{bodies, event_ids, events, find_event, has_event, joined, same_set, text, timeline},
    name::unique,
    peer::Peer,
    process::{Ended, free_port, run},
    register::{dummy_auth, password_auth, shared_secret_mac},
    server::{Server, TlsVersion, command_in, wait_until},
    sync::Follower,
    tls::TlsFiles,
};

/// Says on the real standard error, past the test harness' capture, that a test did not run and why.
pub fn skip_loudly(test: &str, reason: &str) {
    let mut stderr = std::io::stderr().lock();
    drop(writeln!(stderr, "\n*** SKIPPED {test}: {reason}\n"));
}
