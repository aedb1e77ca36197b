//! Black-box tests: the real binary, plain HTTP, and the Matrix specification as the judge.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod access;
mod accounts;
mod admin;
mod audit;
mod bad_input;
mod calls;
mod cli;
mod dehydrated_devices;
mod delayed_events;
mod durability;
mod encryption;
mod erasure;
mod federation;
mod full_disk;
mod ignoring;
mod key_backup;
mod listeners;
mod media;
mod moderation;
mod notices;
mod peeking;
mod plaintext;
mod presence;
mod profiles;
mod push;
mod relations;
mod retention;
mod rooms;
mod scim;
mod search;
mod sliding_sync;
mod spaces;
mod sso;
mod sync;
mod unserved;

use std::{sync::LazyLock, time::Duration};

use wardroom_testkit::{Config, Server};

/// The binary that Cargo built for these tests.
const BINARY: &str = env!("CARGO_BIN_EXE_wardroom");

/// How long a sync may take to show what another request was already acknowledged for. Generous: a slow machine is
/// no failure, a lost wake-up is.
const SOON: Duration = Duration::from_secs(20);

/// The server that tests share when they need no configuration of their own: each brings fresh users.
fn ward() -> &'static Server {
    // One failed start fails every test that needs it at once, instead of being tried again by each.
    static WARD: LazyLock<Server> = LazyLock::new(|| Server::start(BINARY));
    &WARD
}

/// A server of one test's own.
fn server_with(config: Config) -> Server {
    Server::start_with(BINARY, config)
}
