//! The store: an ordered, encrypted key-value store with one log.
//!
//! Everything Wardroom keeps lives here, in typed [`Table`]s. A [`Batch`] collects changes of any number of tables
//! and [`Store::commit`] makes them visible at once, under the next [`Position`] of the one log. Invariants:
//!
//! - *Acknowledged means durable*: `commit` answers after the write is on stable storage (unless
//!   [`Options::sync`] is off).
//! - *One order*: positions are handed out by one committer thread, never twice, also across crashes. What a batch's
//!   [`Batch::on_commit`] hooks maintain in memory is never behind a published position.
//! - *Nothing readable at rest*: keys hold numbers and keyed hashes; values are compressed, then sealed with
//!   AES-256-GCM, bound to their table, key and version. Destroying a data key destroys what it sealed, also in copies of
//!   the database: the keys of scopes lie apart from it, with a journal of what was destroyed.
//! - *Reads do not block async threads*: what the block cache knows is answered inline, the rest on the blocking pool.
//!
//! Deliberately absent: transactions with read sets (callers serialise writers and use preconditions), secondary
//! indexes, and any knowledge of Matrix. Only this crate names RocksDB.

mod batch;
mod commit_error;
mod committer;
mod compaction;
mod disk;
mod engine;
mod internal;
mod interner;
mod key;
mod keyring;
mod keys;
mod marks;
mod open;
mod overlay;
mod position;
mod scan;
mod schema;
mod scopes;
mod sealing;
mod stats;
mod store;
mod table;
mod value;
mod vault;
mod view;
mod watch;

pub use batch::Batch;
pub use commit_error::CommitError;
pub use committer::{COMMIT_BYTES_MAX, GROUP_BATCHES_MAX, GROUP_BYTES_MAX};
pub use interner::Interner;
pub use key::{CodecError, Hash16, Key, KeyBuf};
pub use keys::{DataKey, MasterKey, MasterKeyError, Scope};
pub use open::{DATABASE_DIR, KEYS_DIR, OpenError, Options};
pub use position::{POSITION_LEAP, Position};
pub use scan::{SCAN_LIMIT_DEFAULT, Scan};
pub use schema::{Migration, MigrationError, MigrationRun};
pub use stats::Stats;
pub use store::{CheckpointError, Store};
pub use table::{Catalogue, CatalogueError, Profile, Seal, Table, TableSpec};
pub use value::{Json, Packed, Value};
pub use vault::{KeysCopy, replay_journal};
pub use view::{ReadError, View};
pub use watch::{Waiter, WatchKey, Watches};
