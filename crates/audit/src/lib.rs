//! The audit trail: who did what, who saw what, and the proof that nobody changed the answer.
//!
//! A mutation writes its record in its own batch ([`AuditLog::add`]): there is no action without its record, and no record
//! without its action. What only reads, and what is refused, writes a record by itself ([`AuditLog::write`]), which is durable
//! before the answer leaves; what is read all the time leaves one for five minutes ([`AuditLog::read`]). Records name people and rooms by their ids; they never hold what somebody wrote, a display
//! name or a token.
//!
//! Absent on purpose: what the codes of the standards for records are (that is for who exports them), and any way to change or
//! delete a record.

mod act;
mod error;
mod hash;
mod log;
pub mod origin;
mod reads;
mod record;
mod search;
mod sequence;
mod tables;

pub use self::{
    act::Act,
    error::AuditError,
    hash::hash,
    log::{AuditLog, AuditSettings, OnFailure},
    origin::{Origin, Who},
    reads::{Delivery, ReadMark, ReadOf, Sight},
    record::{Object, Outcome, Record},
    search::{ENTRIES_MAX, Entry, Query},
    tables::{TABLES, WATCH_AUDIT},
};
