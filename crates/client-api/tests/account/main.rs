//! The account endpoints, over the router that listeners serve, without a socket.
#![expect(clippy::unwrap_used, reason = "tests")]

mod account_data;
mod devices;
mod junk;
mod login;
mod profile;
mod pushrules;
mod register;
mod world;
