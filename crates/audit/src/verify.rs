//! Checks a directory of exported records, without the server: only the files and the log's public key are needed.
//!
//! In the directory are [`KEY_FILE`], [`CHECKPOINTS_FILE`], [`LEAVES_FILE`] (the hashes of all records, one after the other),
//! files of records ([`records_file`]), and [`WITNESSES_FILE`] if others cosigned. The records are hashed anew, the tree over
//! them is built anew, and every checkpoint must have its root.

mod faults;
mod files;
mod signed;

use std::{io, path::Path};

pub use self::{
    faults::Fault,
    files::{
        CHECKPOINTS_FILE, KEY_FILE, LEAVES_FILE, RECORDS_PER_FILE, WITNESSES_FILE, records_file, records_files,
        split_notes,
    },
};
use self::{
    files::{Leaves, Lines},
    signed::{Point, points},
};
use crate::{
    NoteKey,
    tree::{Hash, Tree, leaf_hash},
};

/// Most records between two checkpoints; a server makes one every thousand.
const SEGMENT_MAX: u64 = 1_000_000;

/// What is known beforehand.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// The log's key; otherwise the one in the directory is believed.
    pub key: Option<NoteKey>,
    /// A checkpoint that the log must continue, a signed note.
    pub checkpoint: Option<String>,
    /// Keys of witnesses; of others, those in the directory are believed.
    pub witnesses: Vec<NoteKey>,
}

/// What a witness cosigned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cosigned {
    /// Its name.
    pub name: String,
    /// Records of the newest checkpoint that it cosigned.
    pub size: u64,
    /// How many it cosigned.
    pub checkpoints: u64,
    /// Whether its key was known beforehand.
    pub known: bool,
}

/// What was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The key that signed.
    pub key: String,
    /// Records.
    pub records: u64,
    /// The first of them, of which only the hashes are there: their time was over.
    pub deleted: u64,
    /// Root of the tree over all of them.
    pub root: Hash,
    /// Checkpoints.
    pub checkpoints: u64,
    /// Who cosigned.
    pub witnesses: Vec<Cosigned>,
}

/// The first thing that is wrong.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// A file cannot be read.
    #[error("{file}")]
    File {
        /// Its name.
        file: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The key is none, or not the one that is known.
    #[error("{file}: {why}")]
    Key {
        /// The file.
        file: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A checkpoint is wrong.
    #[error("{CHECKPOINTS_FILE}: checkpoint {number}: {why}")]
    Checkpoint {
        /// Which of them, from 0 on.
        number: usize,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A record, or its hash, is wrong.
    #[error("record {number} {fault}")]
    Record {
        /// The first that is wrong.
        number: u64,
        /// What is wrong with it.
        fault: Fault,
    },
    /// The log does not continue what is known.
    #[error("the log does not continue the checkpoint that is known: {0}")]
    Known(&'static str),
}

/// Checks a directory.
///
/// # Errors
/// The first thing that is wrong.
pub fn verify(dir: &Path, known: &Known) -> Result<Verified, VerifyError> {
    let signed = points(dir, known)?;
    let mut check = Check { tree: Tree::default(), leaves: Leaves::open(dir)?, lines: Lines::open(dir)? };
    for point in &signed.points {
        check.segment(point)?;
    }
    let records = check.tree.size();
    if let Some(number) = check.lines.next()?.map(|(number, _)| number).or(check.leaves.end()?) {
        return Err(VerifyError::Record { number, fault: Fault::Beyond });
    }
    Ok(Verified {
        key: signed.key.to_string(),
        records,
        deleted: check.lines.first().min(records),
        root: check.tree.root(),
        checkpoints: signed.count,
        witnesses: signed.witnesses,
    })
}

struct Check {
    tree: Tree,
    leaves: Leaves,
    lines: Lines,
}

/// What was read of the records up to a checkpoint.
#[derive(Default)]
struct Segment {
    /// The hashes as they were exported.
    leaves: Vec<Hash>,
    /// The hashes of the records themselves; that of a deleted one as it was exported.
    found: Vec<Hash>,
    /// The first record that has another hash, and what stands in its place.
    bad: Option<(u64, Vec<u8>)>,
    /// The first record in whose place there is nothing.
    missing: Option<u64>,
}

impl Check {
    /// Checks the records from the last checkpoint up to this one.
    fn segment(&mut self, point: &Point) -> Result<(), VerifyError> {
        let from = self.tree.size();
        if point.size - from > SEGMENT_MAX {
            return Err(point.wrong("is too far from the one before"));
        }
        let segment = self.read(from, point.size)?;
        let grown = |hashes: &[Hash]| {
            let mut tree = self.tree.clone();
            hashes.iter().for_each(|hash| tree.push(*hash, |_, _| {}));
            tree
        };
        let tree = grown(&segment.leaves);
        if tree.root() == point.root {
            self.tree = tree;
            return match (segment.bad, segment.missing) {
                (None, None) => Ok(()),
                (Some((number, line)), _) => Err(self.fault(number, &line)?),
                (None, Some(number)) => Err(VerifyError::Record { number, fault: Fault::Missing }),
            };
        }
        let differs = segment.leaves.iter().zip(&segment.found).position(|(leaf, found)| leaf != found);
        Err(match differs {
            Some(at) if grown(&segment.found).root() == point.root => {
                VerifyError::Record { number: from + at as u64, fault: Fault::Hash }
            }
            Some(at) => VerifyError::Record { number: from + at as u64, fault: Fault::Both },
            None => point.foreign(from),
        })
    }

    fn read(&mut self, from: u64, end: u64) -> Result<Segment, VerifyError> {
        let mut segment = Segment::default();
        for number in from..end {
            let Some(kept) = self.leaves.next()? else {
                return Err(VerifyError::Record { number, fault: Fault::NoHash });
            };
            let mut found = kept;
            // Of a deleted record only the hash is left.
            if number >= self.lines.first() {
                match self.lines.next()? {
                    Some((_, line)) => {
                        found = leaf_hash(line);
                        if found != kept && segment.bad.is_none() {
                            segment.bad = Some((number, line.to_vec()));
                        }
                    }
                    None => {
                        found = Hash::default();
                        segment.missing.get_or_insert(number);
                    }
                }
            }
            segment.leaves.push(kept);
            segment.found.push(found);
        }
        Ok(segment)
    }

    /// What is wrong with a record whose hash is another.
    fn fault(&mut self, number: u64, line: &[u8]) -> Result<VerifyError, VerifyError> {
        let near = self.leaves.near(number)?;
        Ok(VerifyError::Record { number, fault: Fault::of(number, line, &near, self.lines.behind(number)?.as_deref()) })
    }
}

#[cfg(test)]
mod tests;
