//! Syncs over the in-memory store, with real rooms and accounts.
#![expect(clippy::unwrap_used, reason = "tests")]

mod consistency;
mod device_lists;
mod ephemeral;
mod filters;
mod lazy_members;
mod memberships;
mod sliding;
mod timelines;
mod unread;
mod waiting;
mod ward;
