//! The state that a group's earlier batches will have made when its later ones are applied.

use std::collections::HashMap;

use crate::{
    Position, Profile,
    batch::Batch,
    engine::{Change, Engine, Fault, Reach},
    sealing::Header,
};

/// Versions of rows as the accepted batches of the group leave them, over the engine's.
#[derive(Debug, Default)]
pub(crate) struct Overlay<'a> {
    /// Who wrote a key last; none if it was deleted.
    written: HashMap<&'a [u8], Option<Position>>,
    /// Ranges deleted before whatever `written` says of keys in them.
    wiped: Vec<(&'a [u8], &'a [u8])>,
}

/// The answer to a batch's preconditions.
#[derive(Debug, Copy, Clone, Eq, PartialEq)]
pub(crate) enum Verdict {
    Holds,
    /// This table's row is at another version.
    Conflict(&'static str),
}

impl<'a> Overlay<'a> {
    /// Checks a batch against the group so far.
    pub(crate) fn judge(&self, engine: &dyn Engine, batch: &Batch) -> Result<Verdict, Fault> {
        for (table, key, expected) in batch.expectations() {
            if self.version(engine, table.profile, key)? != expected {
                return Ok(Verdict::Conflict(table.name));
            }
        }
        Ok(Verdict::Holds)
    }

    /// Adds a batch that will be part of the group.
    pub(crate) fn add(&mut self, batch: &'a Batch, position: Position) {
        for change in batch.changes() {
            match change {
                Change::Put { key, .. } => drop(self.written.insert(key, Some(position))),
                Change::Delete { key, .. } => drop(self.written.insert(key, None)),
                Change::DeleteRange { start, end, .. } => {
                    self.written.retain(|key, _| !(start..end).contains(key));
                    self.wiped.push((start, end));
                }
            }
        }
    }

    fn version(&self, engine: &dyn Engine, profile: Profile, key: &[u8]) -> Result<Option<Position>, Fault> {
        if let Some(version) = self.written.get(key) {
            return Ok(*version);
        }
        if self.wiped.iter().any(|(start, end)| (*start..*end).contains(&key)) {
            return Ok(None);
        }
        match engine.get(profile, key, Reach::Disk)? {
            None => Ok(None),
            Some(sealed) => match Header::of(&sealed) {
                Ok(header) => Ok(Some(header.version)),
                Err(_) => Err(Fault::Engine("a row is too short for its header".into())),
            },
        }
    }
}
