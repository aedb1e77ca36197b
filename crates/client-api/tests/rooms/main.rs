//! The room endpoints over the real services and a store in memory, without a socket: what each answers, to good
//! requests and to bad ones.
#![expect(clippy::unwrap_used, reason = "tests")]

mod creating;
mod directory;
mod membership;
mod reading;
mod sending;
mod signals;
mod syncing;
mod world;
