//! What witnesses keep, and what is kept of them (ids 0x0815 to 0x0819).

use serde::{Deserialize, Serialize};
use wardroom_store::{Hash16, Packed, Profile, Seal, Table};

use super::{Cosigner, Evidence, Watched};

/// The seed of the key that cosigns: one row. It signs nothing else.
pub(crate) const WITNESS_KEY: Table<(), Packed<[u8; 32]>> =
    Table::new(0x0815, "audit_witness_key", Profile::Point, Seal::System);

/// Servers whose trails this one watches.
pub(crate) const WATCHED: Table<Hash16, Packed<Watched>> =
    Table::new(0x0816, "audit_watched", Profile::Point, Seal::System);

/// What a server's trail was and is not any more, as (server, what was shown).
pub(crate) const EVIDENCE: Table<(Hash16, Hash16), Packed<Evidence>> =
    Table::new(0x0817, "audit_evidence", Profile::Scan, Seal::System);

/// Servers that watch this one's trail.
pub(crate) const COSIGNERS: Table<Hash16, Packed<Cosigner>> =
    Table::new(0x0818, "audit_cosigners", Profile::Point, Seal::System);

/// What they cosigned, as (size of the checkpoint, server). Kept for ever, as checkpoints are.
pub(crate) const COSIGNATURES: Table<(u64, Hash16), Packed<CosignatureRow>> =
    Table::new(0x0819, "audit_cosignatures", Profile::Scan, Seal::System);

/// What somebody cosigned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CosignatureRow {
    pub(crate) server: String,
    pub(crate) line: String,
    /// When, as the witness says, in seconds since 1970.
    pub(crate) seconds: u64,
    /// When it came, in milliseconds since 1970.
    pub(crate) at_ms: u64,
}
