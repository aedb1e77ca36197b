//! Legal holds: what must not be deleted, by whose order, and until when.
//!
//! Invariants:
//!
//! - A hold is durable, in the store and in the journal beside its keys, before [`Holds::set`] answers, and from then on nothing it covers is destroyed. Whoever destroys
//!   anything takes a [`Guard`], asks it, commits, and drops it; [`Holds::set`] waits for the guards that there are.
//! - The journal outlives a restore of an older copy of the store: opening brings the two together ([`replay`]) before anything
//!   can be destroyed.
//! - A guard answers from memory, without I/O. Nobody takes a second one while holding one: a hold that is being set may wait
//!   between the two.
//! - A hold only keeps: it shows nobody what they did not see before.
//! - Holds and what became of them are never deleted, and each change leaves a record in its own batch.
//!
//! Absent on purpose: what rooms, accounts and files are. Who destroys them knows what they consist of, and asks for each part.

mod error;
mod fsck;
mod guard;
mod hold;
mod index;
mod journal;
mod service;
mod tables;
#[cfg(test)]
mod tests;

pub use self::{
    error::HoldError,
    fsck::{HoldsReport, fsck},
    guard::{Guard, Verdict},
    hold::{
        AUTHORITY_BYTES_MAX, Hold, HoldId, NewHold, REASON_BYTES_MAX, RELEASE_REASON_BYTES_MAX, Scope, State,
        TERM_MS_MAX,
    },
    journal::replay,
    service::{HOLDS_IN_FORCE_MAX, HoldSettings, Holds, PAGE_MAX, Page},
    tables::TABLES,
};
