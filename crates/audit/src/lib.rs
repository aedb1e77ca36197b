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
mod activity;
mod checkpoint;
mod error;
mod fsck;
mod hash;
mod hours;
mod index;
mod log;
mod note;
pub mod origin;
mod postings;
mod proofs;
mod reads;
mod record;
mod retention;
mod search;
mod sequence;
mod tables;
#[cfg(test)]
mod tests;
mod tree;
pub mod verify;
mod witness;

pub use self::{
    act::Act,
    activity::{Activity, BUCKETS_MAX, Bucket, Span, Step},
    checkpoint::{Checkpoint, origin_of},
    error::AuditError,
    fsck::{Report, fsck},
    hash::hash,
    log::{AuditLog, AuditSettings, OnFailure},
    note::{KeyKind, NOTE_BYTES_MAX, Note, NoteError, NoteKey, NoteSigner},
    origin::{Origin, Who},
    proofs::{CHECKPOINTS_MAX, LEAVES_MAX},
    reads::{Delivery, ReadMark, ReadOf, Sight},
    record::{Object, Outcome, Record},
    search::{ENTRIES_MAX, Entry, Page, Query},
    tables::{TABLES, WATCH_AUDIT},
    tree::{Hash, continues, empty_root, includes, leaf_hash, node_hash},
    witness::{Cosignature, Cosigner, Evidence, Fault, Faulty, Looked, Shown, Taken, Watched, witness_of},
};
