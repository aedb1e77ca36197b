//! What may be wrong with a record.

use std::fmt;

use serde_json::Value;

use crate::tree::{Hash, leaf_hash};

/// What is wrong with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is another than the one that was recorded.
    Changed,
    /// It is no JSON.
    Json,
    /// It says the same, but not in the canonical form.
    Form,
    /// It is not there.
    Missing,
    /// It stands at another place.
    Order,
    /// It was never recorded.
    Added,
    /// Its hash among the exported ones was changed.
    Hash,
    /// Its hash is not there.
    NoHash,
    /// It has another hash than the exported one, and that is not the one of the checkpoint either.
    Both,
    /// It stands behind the newest checkpoint.
    Beyond,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Changed => "was changed",
            Self::Json => "was changed: it is no JSON",
            Self::Form => "was changed: it is not in the canonical form",
            Self::Missing => "is missing",
            Self::Order => "is out of order",
            Self::Added => "was never recorded",
            Self::Hash => "is right, but its hash in `leaves` was changed",
            Self::NoHash => "has no hash in `leaves`",
            Self::Both => "was changed, or it was recorded anew: its hash is not the one that was signed",
            Self::Beyond => "stands behind the newest checkpoint: nothing proves it",
        })
    }
}

impl Fault {
    /// What is wrong with what stands in the place of a record. `near` are the hashes of records around it with their numbers,
    /// `behind` is what stands in the next place.
    pub(super) fn of(number: u64, line: &[u8], near: &[(u64, Hash)], behind: Option<&[u8]>) -> Self {
        let place = |line: &[u8]| {
            let hash = leaf_hash(line);
            near.iter().find(|(_, known)| *known == hash).map(|(number, _)| *number)
        };
        let next = behind.and_then(place);
        match place(line) {
            Some(other) if other == number + 1 && next != Some(number) => return Self::Missing,
            Some(other) if other > number && next == Some(other + 1) => return Self::Missing,
            Some(_) => return Self::Order,
            None => {}
        }
        if next == Some(number) {
            return Self::Added;
        }
        let Ok(value) = serde_json::from_slice::<Value>(line) else { return Self::Json };
        // Keys of records are plain ASCII: sorted as bytes they are sorted as the canonical form wants them.
        if place(value.to_string().as_bytes()) == Some(number) { Self::Form } else { Self::Changed }
    }
}
