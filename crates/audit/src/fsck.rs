//! Checks that the stored trail is what was recorded: every record against its hash, the hashes against the tree, the tree
//! against every checkpoint, and those against the key and each other.

mod cosigned;
mod readable;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use wardroom_store::{Packed, Position, Scan, Store, View};

use crate::{
    Checkpoint,
    checkpoint::origin_of,
    error::AuditError,
    note::{Note, NoteKey, NoteSigner},
    sequence::{State, hashes},
    tables::{CHECKPOINTS, KEY, NUMBERED, RECORDS, STATE, TILES},
    tree::{Hash, Place, TILE, Tree, leaf_hash},
};

/// Problems that are told at most.
const PROBLEMS_MAX: usize = 100;
/// Checkpoints that are read at once.
const CHECKPOINTS_AT_ONCE: usize = 1_000;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Records that have a number, deleted ones included.
    pub records: u64,
    /// Checkpoints.
    pub checkpoints: u64,
    /// What is wrong, the first of it.
    pub problems: Vec<String>,
}

struct Check {
    view: View,
    state: State,
    key: Option<NoteKey>,
    tree: Tree,
    report: Report,
    checkpoints: VecDeque<(u64, String)>,
    read_to: Option<u64>,
    previous: Option<Hash>,
}

/// Checks the trail of a store, as the server of this name keeps it.
///
/// # Errors
/// When the store cannot be read at all; what cannot be read of the trail is a problem in the report.
pub async fn fsck(store: &Store, server_name: &str) -> Result<Report, AuditError> {
    let view = store.latest();
    let mut problems = readable::problems(&view).await;
    let state = view.get(&STATE, &()).await.ok().flatten().map(|Packed(state)| state).unwrap_or_default();
    let seed = view.get(&KEY, &()).await.ok().flatten().map(|Packed(seed)| seed);
    problems.extend(cosigned::problems(&view).await);
    problems.truncate(PROBLEMS_MAX);
    let key = seed.map(|seed| NoteSigner::new(origin_of(server_name), &seed).key().clone());
    let mut check = Check {
        view,
        state,
        key,
        tree: Tree::default(),
        report: Report { records: state.size, problems, ..Report::default() },
        checkpoints: VecDeque::new(),
        read_to: None,
        previous: None,
    };
    let mut from = 0;
    while from < state.size && check.report.problems.len() < PROBLEMS_MAX {
        let end = state.size.min(from + TILE as u64);
        check.tile(from, end).await?;
        from = end;
    }
    check.edge().await;
    check.waiting().await;
    Ok(check.report)
}

impl Check {
    fn problem(&mut self, problem: String) {
        if self.report.problems.len() < PROBLEMS_MAX {
            self.report.problems.push(problem);
        }
    }

    /// Checks the records of a tile.
    async fn tile(&mut self, from: u64, end: u64) -> Result<(), AuditError> {
        let kept = self.leaves((0, from / TILE as u64), usize::try_from(end - from).unwrap_or(TILE)).await;
        let mut records = self.records(from.max(self.state.first), end).await;
        for number in from..end {
            let kept = kept.as_ref().and_then(|kept| kept.get(usize::try_from(number - from).ok()?)).copied();
            let found = records.remove(&number).flatten().map(|json| leaf_hash(&json));
            if let (Some(found), Some(kept)) = (found, kept)
                && found != kept
            {
                self.problem(format!("record {number} of the audit trail is not what was recorded"));
            }
            let mut full = Vec::new();
            let leaf = kept.or(found).unwrap_or_default();
            self.tree.push(leaf, |place, tile| full.push((place, tile.to_vec())));
            for (place, tile) in full.into_iter().filter(|((level, _), _)| *level > 0) {
                if self.leaves(place, TILE).await.is_some_and(|kept| kept != tile) {
                    self.problem(format!("hashes of the audit trail before record {} were changed", number + 1));
                }
            }
            self.checkpoint(number + 1).await?;
        }
        Ok(())
    }

    /// The hashes of a tile, if they can be read.
    async fn leaves(&mut self, place: Place, count: usize) -> Option<Vec<Hash>> {
        let row = self.view.get(&TILES, &place).await.ok().flatten();
        let kept = hashes(row.as_deref(), count);
        if kept.is_none() {
            let first = place.1 << (8 * (u32::from(place.0) + 1));
            self.problem(format!("hashes of the audit trail from record {first} on cannot be read"));
        }
        kept
    }

    /// The records between these numbers, those that can be read.
    async fn records(&mut self, from: u64, end: u64) -> BTreeMap<u64, Option<Bytes>> {
        let mut found = BTreeMap::new();
        for number in from..end {
            let key = match self.view.get(&NUMBERED, &number).await {
                Ok(Some(Packed((position, within)))) => Some((Position::new(position), within)),
                Ok(None) | Err(_) => None,
            };
            let json = match &key {
                Some(key) => self.view.get(&RECORDS, key).await.ok().flatten(),
                None => None,
            };
            if json.is_none() {
                self.problem(format!("record {number} of the audit trail is missing or cannot be read"));
            }
            found.insert(number, json);
        }
        found
    }

    /// Checks the checkpoint of this size, if there is one.
    async fn checkpoint(&mut self, size: u64) -> Result<(), AuditError> {
        if self.checkpoints.is_empty() {
            let scan = self.read_to.map_or_else(Scan::all, |read_to| Scan::all().after(&read_to));
            // What cannot be read was named before.
            let rows = self.view.scan(&CHECKPOINTS, scan.limit(CHECKPOINTS_AT_ONCE)).await.unwrap_or_default();
            self.read_to = Some(rows.last().map_or(u64::MAX, |(size, _)| *size));
            self.checkpoints.extend(rows);
        }
        let Some((_, note)) = self.checkpoints.pop_front_if(|(at, _)| *at <= size) else { return Ok(()) };
        self.report.checkpoints += 1;
        let checkpoint = match (&self.key, Note::parse(&note)) {
            (Some(key), Ok(note)) => Checkpoint::checked(&note, key).ok(),
            _ => None,
        };
        let Some(checkpoint) = checkpoint else {
            self.problem(format!("the checkpoint of the audit trail at {size} records is not signed by its key"));
            return Ok(());
        };
        if checkpoint.previous != self.previous {
            self.problem(format!("the checkpoint of the audit trail at {size} records does not name the one before"));
        }
        if (checkpoint.size, checkpoint.root) != (size, self.tree.root()) {
            self.problem(format!("records of the audit trail before {size} are not those of the checkpoint"));
        }
        self.previous = Some(checkpoint.hash());
        Ok(())
    }

    /// Checks the tiles that are not full, and that no checkpoint is behind the last record.
    async fn edge(&mut self) {
        let tiles: Vec<(Place, Vec<Hash>)> = self.tree.tiles().map(|(place, tile)| (place, tile.to_vec())).collect();
        for (place, tile) in tiles.into_iter().filter(|((level, _), _)| *level > 0) {
            if self.leaves(place, tile.len()).await.is_some_and(|kept| kept != tile) {
                self.problem("the newest hashes of the audit trail were changed".to_owned());
            }
        }
        let newest = self.view.scan(&CHECKPOINTS, Scan::all().reverse().limit(1)).await;
        match newest.map(|rows| rows.first().map(|(size, _)| *size)) {
            Ok(Some(size)) if size > self.state.size => {
                let first = self.state.size;
                self.problem(format!("records {first} to {} of the audit trail are missing", size - 1));
            }
            Ok(_) => {}
            Err(_) => self.problem("a checkpoint of the audit trail cannot be read".to_owned()),
        }
    }

    /// Checks that the records which have no number yet can be read, and that there is no other without a number.
    async fn waiting(&mut self) {
        let (position, within) = self.state.newest;
        let newest = (Position::new(position), within);
        let mut number = self.state.size;
        let mut after = None::<(Position, u32)>;
        let mut kept = 0;
        loop {
            let scan = after.map_or_else(Scan::all, |after| Scan::all().after(&after)).limit(1_000);
            let Ok(keys) = self.view.scan_keys(&RECORDS, scan).await else {
                return self.problem("the records of the audit trail cannot be listed".to_owned());
            };
            let Some(last) = keys.last() else { break };
            after = Some(*last);
            for key in keys {
                if self.state.size > 0 && key <= newest {
                    kept += 1;
                } else {
                    if !matches!(self.view.get(&RECORDS, &key).await, Ok(Some(_))) {
                        self.problem(format!("record {number} of the audit trail cannot be read"));
                    }
                    number += 1;
                }
            }
        }
        let expected = self.state.size - self.state.first.min(self.state.size);
        if kept > expected {
            self.problem(format!("{} records stand in the audit trail without a number", kept - expected));
        }
    }
}
