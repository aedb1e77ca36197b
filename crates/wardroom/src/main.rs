//! Wardroom, a Matrix homeserver for hospitals: the command line.
//!
//! Everything is wired in one place, [`wiring`]; nothing here knows a rule of Matrix.

mod attesters;
mod auditing;
mod background;
mod backing_up;
mod backup;
mod causes;
mod command;
mod config;
mod effective;
mod endings;
mod exporting;
mod forgetting;
mod holding;
mod identity;
mod inviting;
mod keys;
mod limits;
mod listeners;
mod log;
mod metrics;
mod serves;
mod signals;
mod start_error;
mod tables;
mod telling;
mod wiring;

use std::process::ExitCode;

use clap::Parser as _;

use crate::command::Arguments;

/// One allocator for Rust and for the storage engine. It is tuned for small memory in `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // The one TLS provider of the process, before anybody may ask for it. It fails only if there is one already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    command::run(arguments)
}
