//! Accounts over an in-memory store.
#![expect(clippy::unwrap_used, reason = "tests")]

mod account_data;
mod backup;
mod devices;
mod idleness;
mod keys;
mod login;
mod profiles;
mod push_rules;
mod pushers;
mod refresh;
mod registration;
mod remote_devices;
mod sso;
mod to_device;
mod uia;
mod world;
