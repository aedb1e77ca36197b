//! Registration, sessions, devices, profiles, account data, push rules.

mod account_data;
mod capabilities;
mod devices;
mod idleness;
mod password;
mod profile;
mod push_rules;
mod rate_limits;
mod refresh;
mod registration;
mod sessions;
mod shared_secret;
