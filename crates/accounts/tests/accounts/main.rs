//! Accounts over an in-memory store.
#![expect(clippy::unwrap_used, reason = "tests")]

mod account_data;
mod devices;
mod login;
mod profiles;
mod push_rules;
mod refresh;
mod registration;
mod to_device;
mod uia;
mod world;
