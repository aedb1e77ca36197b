//! Witnesses: servers that look at each other's trails and say, signed, what they saw (C2SP `tlog-cosignature`).
//!
//! A witness asks the server that keeps a trail for its newest checkpoint, with the proof that it continues the one that
//! was cosigned last. Only what continues it is cosigned, and what is cosigned is durable before anybody gets the
//! signature: so a witness never signs for two pasts, whenever it dies. A trail that was rewritten cannot continue what was
//! cosigned; then both signed checkpoints are kept as evidence. All that leaves a server are hashes and signatures.
//!
//! Cosigning is recorded, but a checkpoint that would be about such records alone is not made: two servers that witness
//! each other would keep each other's trails growing for ever.

mod cosigners;
mod tables;
#[cfg(test)]
mod tests;
mod watching;

pub(crate) use self::tables::{COSIGNATURES, COSIGNERS, EVIDENCE, WATCHED, WITNESS_KEY};
pub use self::{
    cosigners::{Cosigner, Taken},
    watching::{Evidence, Fault, Faulty, Looked, Watched},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

use crate::tree::Hash;

/// Hashes in a proof of consistency at most: twice what a tree of 2^64 records is high.
const PROOF_HASHES_MAX: usize = 128;
/// Longest checkpoint that a witness reads, in bytes; it has four lines and a signature.
const SHOWN_BYTES_MAX: usize = 4 * 1_024;
/// A record tells of so many milliseconds of cosigning: a day.
const TOLD_EVERY_MS: u64 = 24 * 60 * 60 * 1_000;
/// Domain of the keyed hashes of servers.
const SERVER_DOMAIN: u8 = 0x83;
/// Domain of the keyed hashes of evidence.
const EVIDENCE_DOMAIN: u8 = 0x84;

/// The name under which a server cosigns.
pub fn witness_of(server_name: &str) -> String {
    format!("{server_name}/wardroom/witness")
}

/// What the server that keeps a trail shows to a witness.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// The key that signs its checkpoints.
    pub key: String,
    /// The newest checkpoint, a signed note.
    pub checkpoint: String,
    /// What proves that it continues the one that the witness asked from: hashes in base64.
    #[serde(default)]
    pub proof: Vec<String>,
}

/// What a witness says of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cosignature {
    /// The checkpoint, by its size.
    pub size: u64,
    /// The witness's key.
    pub key: String,
    /// The line of the signature, as it stands in a signed note.
    pub cosignature: String,
}

impl Shown {
    /// The hashes of the proof; none where it is none, or too long for any.
    fn path(&self) -> Option<Vec<Hash>> {
        if self.proof.len() > PROOF_HASHES_MAX {
            return None;
        }
        self.proof.iter().map(|hash| STANDARD.decode(hash).ok()?.try_into().ok()).collect()
    }
}

/// How often something happened since a record told of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Untold {
    count: u64,
    since_ms: u64,
}

impl Untold {
    /// Counts once more. Where a record is due: how often it happened, and since when.
    fn count(&mut self, now_ms: u64) -> Option<(u64, u64)> {
        self.count = self.count.saturating_add(1);
        let never = self.since_ms == 0;
        if !never && now_ms.abs_diff(self.since_ms) < TOLD_EVERY_MS {
            return None;
        }
        let told = (self.count, if never { now_ms } else { self.since_ms.min(now_ms) });
        *self = Self { count: 0, since_ms: now_ms };
        Some(told)
    }
}
